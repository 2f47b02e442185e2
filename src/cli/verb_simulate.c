/* muster simulate: the live scheduler on a trace, in virtual time. */
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/quantity.h"
#include "cli/cli.h"
#include "cli/simulate_plan.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "simulate/figures.h"
#include "simulate/report.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

/* ---- while it runs --------------------------------------------------------------------- */

struct watch {
    struct cli *cli;
    uint64_t seed, seeds; /* the how manieth, of so many */
    FILE *jobs;           /* --csv; NULL: none */
    struct strbuf line;
    int64_t shown_ms;
    bool bar, drawn;
};

static void bar_clear(struct watch *watch)
{
    if (watch->drawn)
        fputs("\r\033[K", stderr);
    watch->drawn = false;
}

static void bar_draw(void *context, int64_t jobs, int64_t expected, int64_t now_ms)
{
    enum { CELLS = 30, EVERY_MS = 200 };
    struct watch *watch = context;
    int64_t moment_ms = clock_boot_ms();
    char done[CELLS + 1], time[QUANTITY_TEXT];
    if (moment_ms - watch->shown_ms < EVERY_MS)
        return;
    watch->shown_ms = moment_ms;
    watch->drawn = true;
    int filled = expected > 0 && jobs <= expected ? (int)(jobs * CELLS / expected) : 0;
    for (int i = 0; i < CELLS; i++)
        done[i] = i < filled ? '#' : '.';
    done[CELLS] = '\0';
    fprintf(stderr, "\r\033[K[%s] %" PRId64 " jobs, %s", done, jobs,
        quantity_human_duration(now_ms, time));
    if (watch->seeds > 1)
        fprintf(stderr, ", run %" PRIu64 " of %" PRIu64, watch->seed, watch->seeds);
    fflush(stderr);
}

static void job_write(void *context, const struct run_job *job)
{
    struct watch *watch = context;
    strbuf_clear(&watch->line);
    run_job_csv(&watch->line, watch->seed, job);
    fputs(strbuf_text(&watch->line), watch->jobs);
}

static int watch_begin(struct cli *cli, struct watch *watch, struct error *err)
{
    const char *path = arguments_text(cli->args, "csv");
    *watch = (struct watch){.cli = cli, .bar = isatty(STDERR_FILENO) == 1};
    if (!path)
        return 0;
    watch->jobs = fopen(path, "we");
    if (!watch->jobs)
        return error_set_errno(err, "--csv: %s", path);
    fputs(run_job_csv_header, watch->jobs);
    return 0;
}

static int watch_end(struct watch *watch, struct error *err)
{
    bool failed = watch->jobs && ferror(watch->jobs);
    bar_clear(watch);
    strbuf_finish(&watch->line);
    if (watch->jobs && (fclose(watch->jobs) != 0 || failed))
        return error_set_errno(err, "--csv");
    return 0;
}

static int run_seeds(
    struct cli *cli, const struct simulate_plan *plan, metrics_list *runs, struct error *err)
{
    struct watch watch;
    if (watch_begin(cli, &watch, err) < 0)
        return -1;
    const struct run_observer observer = {.context = &watch,
        .job = watch.jobs ? job_write : NULL,
        .progress = watch.bar ? bar_draw : NULL};
    int failed = 0;
    watch.seeds = plan->last_seed - plan->first_seed + 1;
    for (uint64_t i = 0; failed == 0 && i < watch.seeds; i++) {
        struct metrics metrics;
        watch.seed = i + 1;
        failed = simulate_plan_run(plan, plan->first_seed + i, &observer, &metrics, err);
        if (failed == 0)
            vec_push(runs, metrics);
    }
    return watch_end(&watch, failed < 0 ? NULL : err) < 0 ? -1 : failed;
}

/* Into what is there, be it a pipe or a device: file_write would put a file in its place. */
static int page_write(const char *path, const struct strbuf *page, struct error *err)
{
    SCOPED(fd_scope) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return error_set_errno(err, "%s", path);
    return file_write_all(fd, page->text, page->length, err) < 0 ? error_prefix(err, "%s", path)
                                                                 : 0;
}

static int write_html(struct cli *cli, const struct report *report, struct error *err)
{
    const char *path = arguments_text(cli->args, "html");
    struct strbuf out = {0};
    if (!path)
        return 0;
    report_html(report, &out);
    int failed = page_write(path, &out, err);
    strbuf_finish(&out);
    return failed < 0 ? error_prefix(err, "--html") : 0;
}

static int run(struct cli *cli, struct error *err)
{
    struct simulate_plan plan;
    metrics_list runs = {0};
    int failed = simulate_plan_make(cli, &plan, err);
    if (failed == 0)
        failed = run_seeds(cli, &plan, &runs, err);
    if (failed == 0) {
        const struct report report = {.format = plan.format->name,
            .policy = plan.policy,
            .jobs = plan.jobs,
            .mode = plan.run.mode,
            .runs = runs.items,
            .count = runs.count};
        failed = write_html(cli, &report, err) < 0 ? -1 : write_report(cli, &report, err);
    }
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
