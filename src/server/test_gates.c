/* Gates: every kind of reason against a promotion, and that there is none without one. */
#include "base/memory.h"
#include "base/test.h"
#include "server/gates.h"

#include <string.h>

static const struct doc *parse(struct arena *arena, const char *text)
{
    if (!text)
        return NULL;
    struct error err;
    const struct doc *doc = doc_parse_json(arena, text, strlen(text), DOC_BYTES_MAX, &err);
    if (!doc)
        fail_msg("%s: %s", text, err.text);
    return doc;
}

#define TRAINED(value) "{\"source\":{\"metrics\":{\"accuracy\":\"" value "\"}}}"

/* One gate, one version, and what it says: says NULL is "nothing against it". */
struct case_row {
    struct gate_metric metric; /* without a name: no metric is asked */
    const char *version, *holder, *evaluation, *holder_evaluation;
    bool evaluated;
    const char *owner;   /* a role that has to be named */
    const char *consent; /* the one label that is taken */
    const char *says;
};

static const struct case_row rows[] = {
    {.version = "{}"},
    /* bounds, at and beyond */
    {.metric = {"accuracy", METRIC_TRAINING, "0.95", NULL, false}, .version = TRAINED("0.95")},
    {.metric = {"accuracy", METRIC_TRAINING, "0.95", NULL, false},
        .version = TRAINED("0.9499"),
        .says = "metric accuracy is 0.9499, below 0.95"},
    {.metric = {"accuracy", METRIC_TRAINING, NULL, "1e-1", false}, .version = TRAINED("0.1")},
    {.metric = {"accuracy", METRIC_TRAINING, NULL, "1e-1", false},
        .version = TRAINED("0.11"),
        .says = "above 1e-1"},
    /* numbers as numbers; texts that are none */
    {.metric = {"accuracy", METRIC_TRAINING, "0.9", NULL, false},
        .version = "{\"source\":{\"metrics\":{\"accuracy\":0.91}}}"},
    {.metric = {"accuracy", METRIC_TRAINING, "0.9", NULL, false},
        .version = TRAINED("NaN"),
        .says = "metric accuracy is not among those of its training"},
    {.metric = {"recall", METRIC_TRAINING, "0.9", NULL, false},
        .version = TRAINED("1"),
        .says = "metric recall is not among"},
    {.metric = {"accuracy", METRIC_TRAINING, "0.9", NULL, false},
        .version = "{}",
        .says = "not among"},
    /* against the holder */
    {.metric = {"accuracy", METRIC_TRAINING, NULL, NULL, true},
        .version = TRAINED("0.9"),
        .holder = TRAINED("0.90")},
    {.metric = {"accuracy", METRIC_TRAINING, NULL, NULL, true},
        .version = TRAINED("0.9"),
        .holder = TRAINED("0.91"),
        .says = "worse than the 0.91"},
    {.metric = {"accuracy", METRIC_TRAINING, NULL, NULL, true}, .version = TRAINED("0.9")},
    {.metric = {"accuracy", METRIC_TRAINING, NULL, NULL, true},
        .version = TRAINED("0.9"),
        .holder = "{}"},
    {.metric = {"accuracy", METRIC_TRAINING, NULL, "9", true},
        .version = TRAINED("3"),
        .holder = TRAINED("2"),
        .says = "worse than the 2"},
    {.metric = {"accuracy", METRIC_TRAINING, NULL, "9", true},
        .version = TRAINED("1"),
        .holder = TRAINED("2")},
    /* evaluations: not looked at before there is one */
    {.metric = {"f1", METRIC_EVALUATION, "0.5", NULL, false}, .version = "{}"},
    {.metric = {"f1", METRIC_EVALUATION, "0.5", NULL, false},
        .version = "{}",
        .evaluated = true,
        .says = "not among those of its evaluation"},
    {.metric = {"f1", METRIC_EVALUATION, "0.5", NULL, true},
        .version = "{}",
        .evaluated = true,
        .evaluation = "{\"f1\":\"0.6\"}",
        .holder_evaluation = "{\"f1\":\"0.7\"}",
        .says = "worse than the 0.7"},
    {.metric = {"f1", METRIC_EVALUATION, "0.5", NULL, true},
        .version = "{}",
        .evaluated = true,
        .evaluation = "{\"f1\":\"0.6\"}",
        .holder_evaluation = "{\"f1\":\"0.6\"}"},
    /* owners */
    {.version = "{}", .owner = "bill"},
    {.version = "{}", .owner = "onCall", .says = "names nobody in spec.owners.onCall"},
    /* consent */
    {.version = "{\"consent\":[\"open\"]}", .consent = "open"},
    {.version = "{\"consent\":[\"open\",\"research-only\"]}",
        .consent = "open",
        .says = "label \"research-only\""},
};

static void each_reason_is_given_and_no_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct case_row *row = &rows[i];
        SCOPED(arena_scope) struct arena *arena = arena_create();
        struct gate_metric metric = row->metric;
        const char *owner = row->owner, *consent = row->consent;
        struct gate gate = {.stage_name = "production",
            .metrics = {&metric, metric.name ? 1 : 0},
            .owners = {&owner, owner ? 1 : 0},
            .consent = {&consent, consent ? 1 : 0}};
        const struct model model = {.owners = {.bill = "finance"}, .gates = {&gate, 1}};
        const struct gate_case what = {.model = &model,
            .gate = gate_find(&model, "production"),
            .version = parse(arena, row->version),
            .holder = parse(arena, row->holder),
            .evaluation = parse(arena, row->evaluation),
            .holder_evaluation = parse(arena, row->holder_evaluation),
            .evaluated = row->evaluated};
        const struct doc *refusals = gate_refusals(arena, &what);
        if (refusals->count != (row->says ? 1 : 0))
            fail_msg("row %zu: %zu reasons, the first \"%s\"", i, refusals->count,
                refusals->first ? refusals->first->text : "");
        if (row->says && !strstr(refusals->first->text, row->says))
            fail_msg("row %zu: \"%s\" does not say \"%s\"", i, refusals->first->text, row->says);
    }
}

static void every_reason_is_given_at_once(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct gate_metric metrics[] = {{.name = "a", .min = "1"}, {.name = "b", .max = "1"}};
    const char *owners[] = {"dataset", "approval"};
    struct gate gate = {.stage_name = "staging", .metrics = {metrics, 2}, .owners = {owners, 2}};
    const struct model model = {.gates = {&gate, 1}};
    const struct gate_case what = {.model = &model, .gate = &gate, .version = parse(arena, "{}")};
    assert_int_equal(gate_refusals(arena, &what)->count, 4);
    assert_null(gate_find(&model, "production"));
}

static void the_last_evaluation_on_a_dataset_counts(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *version =
        parse(arena, "{\"evaluations\":[{\"dataset\":\"v/test:1\",\"metrics\":{\"f1\":\"0.1\"}},"
                     "{\"dataset\":\"v/test:2\",\"metrics\":{\"f1\":\"0.2\"}},"
                     "{\"dataset\":\"v/test:1\",\"metrics\":{\"f1\":\"0.3\"}}]}");
    assert_string_equal(doc_get_string(gate_evaluation_of(version, "v/test:1"), "f1"), "0.3");
    assert_null(gate_evaluation_of(version, "v/test:3"));
    assert_null(gate_evaluation_of(NULL, "v/test:1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_reason_is_given_and_no_other),
        cmocka_unit_test(every_reason_is_given_at_once),
        cmocka_unit_test(the_last_evaluation_on_a_dataset_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
