/* muster model: versions of models, sent, fetched and compared. */
#include "base/memory.h"
#include "cli/api.h"
#include "cli/artifact.h"
#include "cli/verbs.h"
#include "cli/view.h"

#include <stdio.h>
#include <string.h>

static const struct option_spec push_options[] = {
    ARTIFACT_TEAM_OPTION,
    {"create", 'c', OPTION_FLAG, NULL, "make the Model when there is none"},
    {"runtime", 0, OPTION_TEXT, "NAME", "with --create: the runtime that serves it"},
    {"description", 0, OPTION_TEXT, "TEXT", "with --create: what it is"},
    {"parent", 0, OPTION_TEXT, "MODEL", "the version that it is a variant of"},
    {"relation", 0, OPTION_CHOICE, "HOW", "with --parent: what it is of it",
        "quantized|pruned|distilled"},
    {NULL},
};

static const struct option_spec team_options[] = {ARTIFACT_TEAM_OPTION, {NULL}};

static const struct option_spec list_options[] = {
    ARTIFACT_TEAM_OPTION,
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to show it", "table|wide|json|yaml|csv"},
    {NULL},
};

/* ---- variants -------------------------------------------------------------------------------- */

enum { METRIC_COLUMNS_MAX = 24, FIXED_COLUMNS = 10 };

struct variant_table {
    struct view_column *columns;
    size_t count;
    struct doc *seen; /* titles that are taken */
};

/* A column for each metric at the path of any item; a figure of a gate's evaluation has another
 * title than what the training reported under the same name. */
static void add_metrics(struct cli *cli, struct variant_table *table, const struct doc *items,
    const char *path, const char *prefix)
{
    for (const struct doc *item = items->first; item; item = item->next) {
        const struct doc *metrics = view_at(item, path);
        for (const struct doc *metric = metrics ? metrics->first : NULL;
             metric && table->count < FIXED_COLUMNS + METRIC_COLUMNS_MAX; metric = metric->next) {
            const char *title = arena_printf(cli->arena, "%s%s", prefix, metric->key);
            /* A path would take a name with a dot or a bar in it for several. */
            if (doc_get(table->seen, title) || strpbrk(metric->key, ".|"))
                continue;
            doc_set_bool(cli->arena, table->seen, title, true);
            table->columns[table->count++] = (struct view_column){.title = title,
                .path = arena_printf(cli->arena, "%s.%s", path, metric->key),
                .right = true};
        }
    }
}

/* The columns that every variant has, then one for each metric that any of them has. Those of
 * serving are "-" for what no request was answered by; see docs/cost.md for what they mean. */
static const struct view_column *variant_columns(struct cli *cli, const struct doc *items)
{
    static const struct view_column fixed[FIXED_COLUMNS] = {
        {"MODEL", "name"},
        {"VERSION", "version", .right = true},
        {"RELATION", "parent.relation", .fallback = "original"},
        {"STAGE", "stage"},
        {"SIZE", "bytes", VIEW_BYTES, .right = true},
        {"REQUESTS", "serving.requests", .right = true},
        {"MEAN-MS", "serving.latencyMeanMs", .right = true},
        {"MEDIAN-MS<=", "serving.latencyMedianMsAtMost", .right = true, .wide = true},
        {"P95-MS<=", "serving.latencyP95MsAtMost", .right = true},
        {"PER-1000", "serving.costPer1000", .right = true},
    };
    struct variant_table table = {
        .columns =
            arena_alloc(cli->arena, FIXED_COLUMNS + METRIC_COLUMNS_MAX + 1, sizeof *table.columns),
        .count = FIXED_COLUMNS,
        .seen = doc_map(cli->arena)};
    memcpy(table.columns, fixed, sizeof fixed);
    add_metrics(cli, &table, items, "source.metrics", "");
    add_metrics(cli, &table, items, "evaluation.metrics", "evaluated:");
    return table.columns;
}

static int run_variants(struct cli *cli, struct error *err)
{
    struct reference reference;
    struct strbuf target = {0};
    const struct doc *answer = NULL;
    struct api *api = cli_api(cli, err);
    if (!api || artifact_reference(cli, arguments_operand(cli->args, 0), &reference, err) < 0)
        return -1;
    artifact_append_version(&target, KIND_MODEL, &reference, "/variants");
    int rc = api_get(api, cli->arena, target.text, &answer, err);
    strbuf_finish(&target);
    if (rc < 0)
        return -1;
    const struct doc *items = doc_get(answer, "items");
    if (!items)
        items = doc_list(cli->arena);
    return view_write_items(
        cli, variant_columns(cli, items), items, arguments_text(cli->args, "output"), err);
}

static const struct verb actions[] = {
    {.name = "push",
        .operands = "NAME SOURCE",
        .summary = "make the next version of a folder or a URL",
        .description = ARTIFACT_PUSH_TEXT,
        .examples = "muster model push vision/digits ./out --create --runtime xgboost\n"
                    "muster model push digits-small ./int8 --parent digits:3 --relation quantized",
        .options = push_options,
        .scope = VERB_REMOTE,
        .run = artifact_run_push},
    {.name = "pull",
        .operands = "NAME DIR",
        .summary = "fetch a version into a folder",
        .description =
            "NAME is [TEAM/]NAME for the newest version, [TEAM/]NAME:VERSION, or "
            "[TEAM/]NAME@STAGE. Every byte is checked; what is there already stays, and a pull "
            "that broke off goes on when it is repeated.",
        .options = team_options,
        .scope = VERB_REMOTE,
        .run = artifact_run_pull},
    ARTIFACT_VERSIONS(list_options),
    {.name = "variants",
        .operands = "NAME",
        .summary = "compare a version with its parent and with what was made smaller of it",
        .description =
            "Side by side: sizes, metrics (of the training, and evaluated: by a gate), and where "
            "they are served how many requests they had, how long those took and what 1,000 "
            "answers cost. Counters of time double, so P95-MS<= says within what 95 of 100 were "
            "over, and is at most twice the true figure.",
        .options = list_options,
        .scope = VERB_REMOTE,
        .run = run_variants},
    ARTIFACT_VERIFY(team_options),
    ARTIFACT_DELETE(team_options),
    {NULL},
};

const struct verb verb_model = {
    .name = "model",
    .operands = "ACTION",
    .summary = "send, fetch, list and compare versions of models",
    .description = "A version is a folder of files that never changes, named by its content. Jobs "
                   "make versions (outputs), services serve them.",
    .actions = actions,
    .scope = VERB_REMOTE,
};
