/* muster cost: what results cost, and what was idle or lost. */
#include "base/memory.h"
#include "base/quantity.h"
#include "cli/api.h"
#include "cli/job.h"
#include "cli/verbs.h"
#include "cli/view.h"
#include "wire/url.h"

#include <string.h>

static const struct view_column columns[] = {
    {"NAME", "name|key"},
    {"TEAM", "team"},
    {"STATE", "state", VIEW_STATE},
    {"RUNS", "attempts", .right = true},
    {"COST", "cost", .right = true},
    {"WASTED", "wasted", .right = true},
    {"HELD", "heldSeconds", VIEW_SECONDS, .right = true},
    {"ACCELERATORS", "acceleratorSeconds", VIEW_SECONDS, .right = true},
    {"KEY", "key", .wide = true},
    {NULL},
};

/* Of services, models and versions. PER-1000 and the like are "-" where nothing was answered. */
static const struct view_column serving_columns[] = {
    {"NAME", "key"},
    {"COST", "cost", .right = true},
    {"REPLICAS", "replicas", .right = true},
    {"IDLE", "idleReplicas", VIEW_COUNT, .right = true},
    {"REQUESTS", "requests", .right = true},
    {"SUCCEEDED", "succeeded", .right = true},
    {"PER-1000", "costPer1000", .right = true},
    {"PER-SUCCESS", "costPerSuccess", .right = true},
    {"CACHE-HITS", "cacheHits", .right = true, .wide = true},
    {"SAVED", "cacheSaved", .right = true, .wide = true},
    {"BATCH", "batchSizeMean", .right = true, .wide = true},
    {"QUEUE-MS", "queueMeanMs", .right = true, .wide = true},
    {"MODEL-MS", "modelMeanMs", .right = true, .wide = true},
    {"MEAN-MS", "latencyMeanMs", .right = true, .wide = true},
    {"P95-MS<=", "latencyP95MsAtMost", .right = true, .wide = true},
    {"TRAINING", "training", .right = true},
    {"SERVING", "servingToDate", .right = true, .wide = true},
    {"SHARE", "servingShare", .right = true, .wide = true},
    {"EVALUATION", "evaluation", .right = true, .wide = true},
    {"PER-TOKEN", "costPerOutputToken", .right = true, .wide = true},
    {"HELD", "heldSeconds", VIEW_SECONDS, .right = true, .wide = true},
    {"IDLE-FOR", "idleSecondsAtLeast", VIEW_SECONDS, .right = true, .wide = true},
    {"WASTED", "wasted", .right = true, .wide = true},
    {NULL},
};

/* Of answers: who asked, for what. */
static const struct view_column answers_columns[] = {
    {"NAME", "key"},
    {"COST", "cost", .right = true},
    {"REQUESTS", "requests", .right = true},
    {"SUCCEEDED", "succeeded", .right = true},
    {"PER-1000-OK", "costPer1000Succeeded", .right = true},
    {"CACHE-HITS", "cacheHits", .right = true},
    {"SAVED", "cacheSaved", .right = true},
    {"BATCH", "batchSizeMean", .right = true},
    {"QUEUE-MS", "queueMeanMs", .right = true},
    {"MODEL-MS", "modelMeanMs", .right = true},
    {"IN-TOKENS", "inputTokens", .right = true, .wide = true},
    {"OUT-TOKENS", "outputTokens", .right = true, .wide = true},
    {"FAILED", "failed", .right = true, .wide = true},
    {"REFUSED", "refused", .right = true, .wide = true},
    {"MEAN-MS", "latencyMeanMs", .right = true, .wide = true},
    {"P95-MS<=", "latencyP95MsAtMost", .right = true, .wide = true},
    {NULL},
};

static const struct option_spec options[] = {
    {"by", 'b', OPTION_TEXT, "WHAT",
        "job, team, class, pool, user, label:KEY, service, model or version; by job unless said "
        "otherwise. Of answers: key, team, label:NAME, service, model or version"},
    {"answers", 'A', OPTION_FLAG, NULL,
        "what requests cost those who made them: team and label are the requests'; by service "
        "unless said otherwise"},
    {"team", 't', OPTION_TEXT, "TEAM", "only this team and those below"},
    {"job", 'j', OPTION_TEXT, "JOB", "only this job"},
    {"service", 0, OPTION_TEXT, "[TEAM/]NAME", "only replicas of this service; by service"},
    {"model", 0, OPTION_TEXT, "[TEAM/]NAME[:V]", "only replicas that serve this model; by version"},
    {"from", 0, OPTION_MOMENT, "TIME", "only what was held after, such as 2026-01-01T00:00:00Z"},
    {"to", 0, OPTION_MOMENT, "TIME", "only what was held before"},
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to show it", "table|wide|json|yaml|csv"},
    {NULL},
};

static bool is_of_answers(const struct cli *cli)
{
    const char *by = arguments_text(cli->args, "by");
    return arguments_flag(cli->args, "answers") || (by && !strcmp(by, "key"));
}

/* What is asked for by name and nothing else is shown by that. */
static const char *told_apart_by(const struct cli *cli)
{
    const char *by = arguments_text(cli->args, "by");
    if (by)
        return by;
    if (arguments_text(cli->args, "model"))
        return "version";
    return arguments_text(cli->args, "service") || is_of_answers(cli) ? "service" : "job";
}

static bool is_serving(const char *by)
{
    return !strcmp(by, "service") || !strcmp(by, "model") || !strcmp(by, "version");
}

static void append_filters(const struct cli *cli, struct strbuf *target)
{
    static const char *const names[] = {"team", "service", "model", "from", "to"};
    const char *job = arguments_text(cli->args, "job");
    url_add_query(target, "by", told_apart_by(cli));
    if (is_of_answers(cli))
        url_add_query(target, "answers", "true");
    if (job)
        url_add_query(target, "job", job_reference(cli, job));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *text = arguments_text(cli->args, names[i]);
        if (text)
            url_add_query(target, names[i], text);
    }
}

/* The total as the last row of the table. */
static const struct doc *with_total(struct arena *arena, const struct doc *answer)
{
    const struct doc *given = view_at(answer, "items"), *sum = view_at(answer, "total");
    struct doc *items = given ? doc_copy(arena, given) : doc_list(arena);
    if (sum && sum->type == DOC_MAP) {
        struct doc *total = doc_copy(arena, sum);
        const char *currency = view_text(answer, "currency");
        const char *name =
            currency && *currency ? arena_printf(arena, "total %s", currency) : "total";
        doc_set_string(arena, total, "name", name);
        if (is_serving(view_text(answer, "by")) || view_at(answer, "answers"))
            doc_set_string(arena, total, "key", name);
        doc_append(items, total);
    }
    const char *idle = view_text(answer, "idle");
    if (idle) {
        struct doc *rest = doc_append(items, doc_map(arena));
        doc_set_string(arena, rest, "name", "idle capacity");
        doc_set(arena, rest, "cost", doc_number(arena, idle));
    }
    return items;
}

static int run(struct cli *cli, struct error *err)
{
    struct api *api = cli_api(cli, err);
    if (!api)
        return -1;
    struct strbuf target = {0};
    strbuf_puts(&target, "/v1/cost");
    append_filters(cli, &target);
    const struct doc *answer = NULL;
    int failed = api_get(api, cli->arena, target.text, &answer, err);
    strbuf_finish(&target);
    if (failed)
        return -1;
    const char *format = arguments_text(cli->args, "output");
    if (format && (!strcmp(format, "json") || !strcmp(format, "yaml")))
        return cli_write_doc(cli, answer, format, err);
    const struct view_column *shown = is_of_answers(cli)               ? answers_columns
                                      : is_serving(told_apart_by(cli)) ? serving_columns
                                                                       : columns;
    return view_write_items(cli, shown, with_total(cli->arena, answer), format, err);
}

const struct verb verb_cost = {
    .name = "cost",
    .operands = "",
    .summary = "show what jobs, teams, services and versions cost",
    .description =
        "Everything a job holds is metered by the second at its pool's prices. Wasted is what was "
        "held for work that a preemption or a failure lost: from the last checkpoint on. Idle is "
        "capacity that nobody held. What each epoch of a job cost is shown by muster "
        "describe job. By service, model or version the cost of the replicas stands beside what "
        "they answered, and of versions what it cost to make them; times are then widened to "
        "full hours. IDLE counts replicas that nobody asked. With --answers what replicas cost is "
        "shared out over those who asked them, by the time that their requests took there.",
    .examples = "muster cost --by team\n"
                "muster cost --by label:model --from 2026-01-01T00:00:00Z -o csv\n"
                "muster cost --by version\n"
                "muster cost --service vision/digits -o json\n"
                "muster cost --answers --by label:project",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
