/* muster simulate: the live scheduler on a trace, in virtual time. */
#include "base/memory.h"
#include "base/quantity.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "simulate/figures.h"
#include "simulate/report.h"
#include "simulate/run.h"
#include "trace/readers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SEEDS_MAX = 10000 };

static const struct option_spec options[] = {
    {"format", 'f', OPTION_TEXT, "NAME", "what the trace is written in: openb"},
    {"jobs", 'j', OPTION_TEXT, "FILE", "the jobs; may be compressed with gzip"},
    {"pods", 0, OPTION_TEXT, "FILE", "the same, as openb calls them"},
    {"nodes", 'n', OPTION_TEXT, "FILE", "the machines, in the trace's own format"},
    {"cluster", 'c', OPTION_TEXT, "NODESxDEVICES[:TYPE]",
        "equal machines instead of a file: 16x4 are 16 nodes of 4 accelerators"},
    {"policy", 'p', OPTION_TEXT, "NAME[+NAME]",
        "which node jobs get, and who runs; by default what the live scheduler does"},
    {"seeds", 's', OPTION_TEXT, "FIRST[-LAST]", "a run for each seed; default 42"},
    {"tune", 0, OPTION_TEXT, "SHARE",
        "openb: jobs arrive until they ask for this share of the accelerators; default 1.3"},
    {"steady", 0, OPTION_FLAG, NULL,
        "openb: jobs come and go at the trace's own times instead of arriving alone"},
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to show it", "table|json"},
    {NULL},
};

struct plan {
    const struct trace_format *format;
    const char *jobs;
    const char *policy;
    uint64_t first, last; /* seeds */
    int64_t tune_milli;
    struct run_options run;
    struct trace_cluster cluster;
    struct fragment_mix *mix;
    VEC(struct metrics) runs;
};

static int seeds_parse(const char *text, uint64_t *ret_first, uint64_t *ret_last, struct error *err)
{
    char *end;
    errno = 0;
    uint64_t first = strtoull(text, &end, 10), last = first;
    bool fine = *text >= '0' && *text <= '9';
    if (fine && *end == '-') {
        const char *second = end + 1;
        fine = *second >= '0' && *second <= '9';
        last = strtoull(second, &end, 10);
    }
    if (!fine || errno || *end || last < first || last - first >= SEEDS_MAX)
        return error_set(err, ERR_INVALID,
            "--seeds: expected a number or FIRST-LAST of at most %d seeds, got \"%.60s\"",
            SEEDS_MAX, text);
    *ret_first = first;
    *ret_last = last;
    return 0;
}

static bool placement_known(const char *name)
{
    for (size_t i = 0; core_placement_name(i); i++) {
        if (strcmp(core_placement_name(i), name) == 0)
            return true;
    }
    return false;
}

static int policy_unknown(const char *name, struct error *err)
{
    struct strbuf known = {0};
    for (size_t i = 0; core_placement_name(i); i++)
        strbuf_printf(&known, "%s%s", i ? ", " : "", core_placement_name(i));
    error_set(err, ERR_INVALID, "--policy: there is no policy %.60s; there are %s", name,
        strbuf_text(&known));
    strbuf_finish(&known);
    return -1;
}

static int policy_parse(struct cli *cli, struct plan *plan, struct error *err)
{
    plan->policy = arguments_text(cli->args, "policy");
    if (!plan->policy)
        plan->policy = "default";
    char *rest = arena_strdup(cli->arena, plan->policy), *name;
    while ((name = strsep(&rest, "+"))) {
        if (!placement_known(name))
            return policy_unknown(name, err);
        plan->run.core.placement = name;
    }
    return 0;
}

static int options_parse(struct cli *cli, struct plan *plan, struct error *err)
{
    const char *format = arguments_text(cli->args, "format");
    const char *seeds = arguments_text(cli->args, "seeds");
    const char *tune = arguments_text(cli->args, "tune");
    plan->format = format ? trace_format_find(format) : NULL;
    if (!plan->format)
        return error_set(
            err, ERR_INVALID, "--format: expected openb, got %s", format ? format : "none");
    plan->jobs = arguments_text(cli->args, "jobs");
    if (!plan->jobs)
        plan->jobs = arguments_text(cli->args, "pods");
    if (!plan->jobs)
        return error_set(err, ERR_INVALID, "--jobs: a file is needed");
    if (seeds_parse(seeds ? seeds : "42", &plan->first, &plan->last, err) < 0 ||
        policy_parse(cli, plan, err) < 0)
        return -1;
    if (quantity_parse_milli(tune ? tune : "1.3", &plan->tune_milli, err) < 0)
        return error_prefix(err, "--tune");
    bool steady = arguments_flag(cli->args, "steady");
    plan->run.mode = plan->format->arrivals && !steady ? RUN_ARRIVALS : RUN_EVENTS;
    return 0;
}

static int cluster_read(struct cli *cli, struct plan *plan, struct error *err)
{
    const char *nodes = arguments_text(cli->args, "nodes");
    const char *text = arguments_text(cli->args, "cluster");
    if (nodes && !plan->format->nodes)
        return error_set(err, ERR_INVALID,
            "--nodes: the format %s has no file of machines: say --cluster", plan->format->name);
    if (nodes)
        return plan->format->nodes(&plan->cluster, nodes, err);
    text = text ? text : plan->format->cluster;
    if (!text)
        return error_set(err, ERR_INVALID, "--nodes or --cluster: which machines?");
    return trace_cluster_parse(&plan->cluster, text, 0, 0, err);
}

/* Typical shapes are those of the whole list, whatever the seed draws from it. */
static int mix_read(struct plan *plan, struct error *err)
{
    struct trace_list *list = openb_pods_read(plan->jobs, err);
    if (!list)
        return -1;
    plan->mix = fragment_mix_create(list);
    trace_list_destroy(list);
    return 0;
}

static int run_seed(struct plan *plan, uint64_t seed, struct error *err)
{
    struct trace_options trace = {.jobs = plan->jobs,
        .seed = seed,
        .tune_milli = plan->tune_milli,
        .cluster_milli = trace_cluster_accelerator_milli(&plan->cluster),
        .steady = plan->run.mode == RUN_EVENTS};
    struct model_options model = {.cluster = &plan->cluster, .restart_ms = -1};
    struct run_options run = plan->run;
    struct metrics metrics;
    run.cluster = &plan->cluster;
    run.mix = plan->mix;
    run.seed = seed;
    run.model = model_fixed.create(&model, err);
    run.source = run.model ? plan->format->open(&trace, err) : NULL;
    int failed = run.source ? run_simulate(&run, &metrics, err) : -1;
    if (failed == 0)
        vec_push(&plan->runs, metrics);
    trace_close(run.source);
    if (run.model)
        run.model->type->destroy(run.model);
    return failed;
}

static int write_table(struct cli *cli, const struct report *report, struct error *err)
{
    SCOPED(table_scope) struct table *table = table_create();
    struct strbuf out = {0};
    table_add_column(table, "METRIC", false);
    table_add_column(table, "MEAN", true);
    const struct figure *figure = report->mode == RUN_ARRIVALS ? figures_arrivals : figures_events;
    for (; figure->name; figure++) {
        double value;
        if (!figure_mean(figure, report->runs, report->count, &value))
            continue;
        figure_text(&out, figure, value);
        table_add_cell(table, figure->title);
        table_add_cell(table, strbuf_text(&out));
        strbuf_clear(&out);
    }
    table_write(table, &out);
    int failed = cli_puts(cli, strbuf_text(&out), err);
    strbuf_finish(&out);
    return failed;
}

static int write_report(struct cli *cli, const struct plan *plan, struct error *err)
{
    const char *format = arguments_text(cli->args, "output");
    const struct report report = {.format = plan->format->name,
        .policy = plan->policy,
        .mode = plan->run.mode,
        .runs = plan->runs.items,
        .count = plan->runs.count};
    if (!format || strcmp(format, "table") == 0)
        return write_table(cli, &report, err);
    struct strbuf out = {0};
    report_json(&report, &out);
    int failed = cli_puts(cli, strbuf_text(&out), err);
    strbuf_finish(&out);
    return failed;
}

static void plan_finish(struct plan *plan)
{
    for (size_t i = 0; i < plan->runs.count; i++)
        metrics_finish(&plan->runs.items[i]);
    vec_free(&plan->runs);
    fragment_mix_destroy(plan->mix);
    trace_cluster_finish(&plan->cluster);
}

static int plan_run(struct cli *cli, struct plan *plan, struct error *err)
{
    if (options_parse(cli, plan, err) < 0 || cluster_read(cli, plan, err) < 0 ||
        mix_read(plan, err) < 0)
        return -1;
    for (uint64_t seed = plan->first;; seed++) {
        if (run_seed(plan, seed, err) < 0)
            return -1;
        if (seed == plan->last)
            return write_report(cli, plan, err);
    }
}

static int run(struct cli *cli, struct error *err)
{
    struct plan plan = {0};
    trace_cluster_init(&plan.cluster);
    plan.run.sample_ms = 3600 * 1000;
    int failed = plan_run(cli, &plan, err);
    plan_finish(&plan);
    return failed;
}

const struct verb verb_simulate = {
    .name = "simulate",
    .operands = "",
    .summary = "run the scheduler on a trace in virtual time",
    .description = "The scheduler that runs live is given the jobs of a trace and decides as it "
                   "would then; nothing but the time is simulated. What came of it is printed.",
    .examples = "muster simulate --format openb --nodes nodes.csv --pods pods.csv.gz --seeds 42-51",
    .options = options,
    .scope = VERB_ALONE,
    .run = run,
};
