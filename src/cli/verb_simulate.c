/* muster simulate: the live scheduler on a trace, in virtual time. */
#include "base/memory.h"
#include "cli/cli.h"
#include "cli/simulate_plan.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "simulate/figures.h"
#include "simulate/report.h"

#include <string.h>

typedef VEC(struct metrics) metrics_list;

struct rows {
    struct table *table;
    bool several; /* runs */
};

static void table_row(
    void *context, const char *title, const char *mean, const char *least, const char *most)
{
    struct rows *rows = context;
    table_add_cell(rows->table, title);
    table_add_cell(rows->table, mean);
    if (!rows->several)
        return;
    table_add_cell(rows->table, least);
    table_add_cell(rows->table, most);
}

static int write_table(struct cli *cli, const struct report *report, struct error *err)
{
    SCOPED(table_scope) struct table *table = table_create();
    struct rows rows = {table, report->count > 1};
    struct strbuf out = {0};
    table_add_column(table, "", false);
    table_add_column(table, rows.several ? "MEAN" : "VALUE", true);
    if (rows.several) {
        table_add_column(table, "LEAST", true);
        table_add_column(table, "MOST", true);
    }
    report_rows(report, table_row, &rows);
    table_write(table, &out);
    int failed = cli_puts(cli, strbuf_text(&out), err);
    strbuf_finish(&out);
    return failed;
}

static int write_report(struct cli *cli, const struct report *report, struct error *err)
{
    const char *format = arguments_text(cli->args, "output");
    struct strbuf out = {0};
    if (!format || strcmp(format, "table") == 0)
        return write_table(cli, report, err);
    if (strcmp(format, "json") == 0)
        report_json(report, &out);
    else
        report_csv(report, &out);
    int failed = cli_puts(cli, strbuf_text(&out), err);
    strbuf_finish(&out);
    return failed;
}

static int run_seeds(
    struct cli *cli, const struct simulate_plan *plan, metrics_list *runs, struct error *err)
{
    const struct run_observer observer = {0};
    (void)cli;
    for (uint64_t seed = plan->first_seed;; seed++) {
        struct metrics metrics;
        if (simulate_plan_run(plan, seed, &observer, &metrics, err) < 0)
            return -1;
        vec_push(runs, metrics);
        if (seed == plan->last_seed)
            return 0;
    }
}

static int run(struct cli *cli, struct error *err)
{
    struct simulate_plan plan;
    metrics_list runs = {0};
    int failed = simulate_plan_make(cli, &plan, err);
    if (failed == 0)
        failed = run_seeds(cli, &plan, &runs, err);
    const struct report report = {
        plan.format ? plan.format->name : NULL, plan.policy, plan.run.mode, runs.items, runs.count};
    if (failed == 0)
        failed = write_report(cli, &report, err);
    for (size_t i = 0; i < runs.count; i++)
        metrics_finish(&runs.items[i]);
    vec_free(&runs);
    simulate_plan_finish(&plan);
    return failed;
}

const struct verb verb_simulate = {
    .name = "simulate",
    .operands = "",
    .summary = "run the scheduler on a trace in virtual time",
    .description =
        "The scheduler that runs live is given the jobs of a trace and decides as it would then; "
        "nothing but the time is simulated. Prints how long jobs waited and took, how full and how "
        "fragmented the machines were, and what was lost.\n\n"
        "docs/simulate.md has the formats and where to get the public traces, what each figure "
        "means, and what the models assume.",
    .examples = "muster simulate --format csv --nodes examples/simulate/nodes.csv "
                "--jobs examples/simulate/jobs.csv\n"
                "muster simulate --format openb --nodes NODES.csv --pods PODS.csv.gz --seeds 42-51 "
                "-o json\n"
                "muster simulate --format synthetic --jobs 100000 --cluster 500x8",
    .options = simulate_options,
    .scope = VERB_ALONE,
    .run = run,
};
