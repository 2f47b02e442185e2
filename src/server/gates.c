/* Gates: see gates.h. */
#include "server/gates.h"

#include "base/memory.h"
#include "spec/decimal.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Everything a check may look at, and where its reasons go. */
struct gate_check {
    struct arena *arena;
    const struct gate_case *what;
    struct doc *refusals;
};

static void refuse(const struct gate_check *check, const char *format, ...) PRINTF_LIKE(2, 3);

static void refuse(const struct gate_check *check, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    doc_append(check->refusals, doc_string(check->arena, arena_strdup(check->arena, text)));
}

const struct gate *gate_find(const struct model *model, const char *stage)
{
    for (size_t i = 0; i < model->gates.count; i++) {
        if (strcmp(model->gates.items[i].stage_name, stage) == 0)
            return &model->gates.items[i];
    }
    return NULL;
}

/* ---- metrics ---------------------------------------------------------------------------- */

/* A metric as it is written in a map of metrics, NULL when it is not there or no number. Some
 * writers give numbers, some texts: both are the text of the number here. */
static const char *metric_of(const struct doc *metrics, const char *name)
{
    const struct doc *value = metrics ? doc_get(metrics, name) : NULL;
    const char *text =
        value && (value->type == DOC_NUMBER || value->type == DOC_STRING) ? value->text : NULL;
    return text && decimal_valid(text) ? text : NULL;
}

static const struct doc *training_metrics(const struct doc *version)
{
    const struct doc *source = version ? doc_get(version, "source") : NULL;
    return source ? doc_get(source, "metrics") : NULL;
}

static const struct doc *metrics_of(const struct gate_case *what, enum metric_source source)
{
    return source == METRIC_EVALUATION ? what->evaluation : training_metrics(what->version);
}

static const struct doc *holder_metrics_of(const struct gate_case *what, enum metric_source source)
{
    return source == METRIC_EVALUATION ? what->holder_evaluation : training_metrics(what->holder);
}

/* With a lower bound, or none, more is better; with an upper bound alone, less is. */
static bool more_is_better(const struct gate_metric *metric)
{
    return metric->min || !metric->max;
}

/* A holder without the metric sets no bar: it came before the gate asked for it. */
static void check_not_worse(
    const struct gate_check *check, const struct gate_metric *metric, const char *value)
{
    const char *held = metric_of(holder_metrics_of(check->what, metric->source), metric->name);
    if (!metric->not_worse || !held)
        return;
    int compared = decimal_compare(value, held);
    if (more_is_better(metric) ? compared < 0 : compared > 0)
        refuse(check, "metric %s is %s, worse than the %s of the version that holds the stage",
            metric->name, value, held);
}

static void check_metric(const struct gate_check *check, const struct gate_metric *metric)
{
    static const char *const sources[] = {
        [METRIC_TRAINING] = "training", [METRIC_EVALUATION] = "evaluation"};
    if (metric->source == METRIC_EVALUATION && !check->what->evaluated)
        return;
    const char *value = metric_of(metrics_of(check->what, metric->source), metric->name);
    if (!value) {
        refuse(
            check, "metric %s is not among those of its %s", metric->name, sources[metric->source]);
        return;
    }
    if (metric->min && decimal_compare(value, metric->min) < 0)
        refuse(check, "metric %s is %s, below %s", metric->name, value, metric->min);
    if (metric->max && decimal_compare(value, metric->max) > 0)
        refuse(check, "metric %s is %s, above %s", metric->name, value, metric->max);
    check_not_worse(check, metric, value);
}

/* ---- owners and consent ------------------------------------------------------------------ */

static void check_owner(const struct gate_check *check, const char *role)
{
    const struct model_owners *owners = &check->what->model->owners;
    const struct {
        const char *role;
        const char *owner;
    } named[] = {{"dataset", owners->dataset}, {"approval", owners->approval},
        {"bill", owners->bill}, {"onCall", owners->on_call}};
    for (size_t i = 0; i < ARRAY_LEN(named); i++) {
        if (strcmp(named[i].role, role) != 0)
            continue;
        if (!named[i].owner || !*named[i].owner)
            refuse(check, "the model names nobody in spec.owners.%s", role);
        return;
    }
    assert(!"a role that the kind's table knows");
}

static bool is_allowed(const struct text_list *allowed, const char *label)
{
    for (size_t i = 0; i < allowed->count; i++) {
        if (strcmp(allowed->items[i], label) == 0)
            return true;
    }
    return false;
}

/* The labels of everything it was made from are recorded with the version. */
static void check_consent(const struct gate_check *check)
{
    const struct text_list *allowed = &check->what->gate->consent;
    const struct doc *labels = doc_get(check->what->version, "consent");
    if (allowed->count == 0)
        return;
    for (const struct doc *label = labels ? labels->first : NULL; label; label = label->next) {
        if (label->type == DOC_STRING && !is_allowed(allowed, label->text))
            refuse(check,
                "it was made from data with the consent label \"%.64s\", which the gate "
                "does not take",
                label->text);
    }
}

struct doc *gate_refusals(struct arena *arena, const struct gate_case *what)
{
    assert(what->model && what->gate && what->version);
    const struct gate_check check = {.arena = arena, .what = what, .refusals = doc_list(arena)};
    for (size_t i = 0; i < what->gate->metrics.count; i++)
        check_metric(&check, &what->gate->metrics.items[i]);
    for (size_t i = 0; i < what->gate->owners.count; i++)
        check_owner(&check, what->gate->owners.items[i]);
    check_consent(&check);
    return check.refusals;
}

const struct doc *gate_evaluation_of(const struct doc *version, const char *dataset)
{
    const struct doc *evaluations = version ? doc_get(version, "evaluations") : NULL;
    const struct doc *found = NULL;
    for (const struct doc *one = evaluations ? evaluations->first : NULL; one; one = one->next) {
        const struct doc *of = doc_get(one, "dataset");
        if (of && of->type == DOC_STRING && strcmp(of->text, dataset) == 0)
            found = doc_get(one, "metrics");
    }
    return found;
}
