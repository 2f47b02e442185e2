/* Rows for tables, and CSV. Figures at points (arrivals alone) are rows of their own. */
#include "simulate/report.h"

#include "simulate/figures.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const struct figure *report_figures(const struct report *report)
{
    return report->mode == RUN_ARRIVALS ? figures_arrivals : figures_events;
}

/* Least, mean and most of the runs that have the figure. */
struct range {
    double least, mean, most;
    size_t having;
};

static void range_add(struct range *range, double value)
{
    if (!range->having || value < range->least)
        range->least = value;
    if (!range->having || value > range->most)
        range->most = value;
    range->mean += value;
    range->having++;
}

static void range_row(const struct report *report, const struct figure *figure,
    const struct range *range, report_row_fn *row, void *context)
{
    struct strbuf texts[3] = {{0}};
    const double values[3] = {
        range->having ? range->mean / (double)range->having : 0, range->least, range->most};
    if (!range->having)
        return;
    for (int i = 0; i < 3; i++)
        figure_text(&texts[i], figure, values[i]);
    bool several = report->count > 1;
    row(context, figure->title, texts[0].text, several ? texts[1].text : NULL,
        several ? texts[2].text : NULL);
    for (int i = 0; i < 3; i++)
        strbuf_finish(&texts[i]);
}

static void points_rows(const struct report *report, const char *what, figure_point_fn *get,
    report_row_fn *row, void *context)
{
    for (int p = 0; p < METRICS_POINTS; p++) {
        struct range range = {0};
        char title[64];
        double value;
        snprintf(title, sizeof title, "%s when %d%% arrived", what, metrics_points[p]);
        for (size_t i = 0; i < report->count; i++) {
            if (get(&report->runs[i], p, &value))
                range_add(&range, value);
        }
        const struct figure figure = {.title = title, .unit = FIGURE_PERCENT};
        range_row(report, &figure, &range, row, context);
    }
}

void report_rows(const struct report *report, report_row_fn *row, void *context)
{
    for (const struct figure *figure = report_figures(report); figure->name; figure++) {
        struct range range = {0};
        double value;
        for (size_t i = 0; i < report->count; i++) {
            if (figure->get(&report->runs[i], &value))
                range_add(&range, value);
        }
        range_row(report, figure, &range, row, context);
    }
    if (report->mode != RUN_ARRIVALS)
        return;
    points_rows(report, "allocated", figure_allocated, row, context);
    points_rows(report, "fragmented", figure_fragmented, row, context);
}

/* ---- CSV ------------------------------------------------------------------------------- */

static void csv_value(struct strbuf *out, bool there, double value)
{
    strbuf_putc(out, ',');
    if (there)
        figure_json(out, value);
}

static void csv_points(const struct metrics *run, figure_point_fn *get, struct strbuf *out)
{
    for (int p = 0; p < METRICS_POINTS; p++) {
        double value = 0;
        bool there = get(run, p, &value);
        csv_value(out, there, value);
    }
}

static void csv_header(const struct report *report, struct strbuf *out)
{
    strbuf_puts(out, "format,policy,seed");
    for (const struct figure *figure = report_figures(report); figure->name; figure++)
        strbuf_printf(out, ",%s", figure->name);
    if (report->mode == RUN_ARRIVALS) {
        for (int p = 0; p < METRICS_POINTS; p++)
            strbuf_printf(out, ",allocated_percent_%d", metrics_points[p]);
        for (int p = 0; p < METRICS_POINTS; p++)
            strbuf_printf(out, ",fragmented_percent_%d", metrics_points[p]);
    }
    strbuf_putc(out, '\n');
}

void report_csv(const struct report *report, struct strbuf *out)
{
    csv_header(report, out);
    for (size_t i = 0; i < report->count; i++) {
        const struct metrics *run = &report->runs[i];
        strbuf_printf(out, "%s,%s,%" PRIu64, report->format, report->policy, run->seed);
        for (const struct figure *figure = report_figures(report); figure->name; figure++) {
            double value = 0;
            bool there = figure->get(run, &value);
            csv_value(out, there, value);
        }
        if (report->mode == RUN_ARRIVALS) {
            csv_points(run, figure_allocated, out);
            csv_points(run, figure_fragmented, out);
        }
        strbuf_putc(out, '\n');
    }
}

/* ---- jobs ------------------------------------------------------------------------------ */

const char run_job_csv_header[] =
    "run,number,name,team,model,ranks,submit,start,end,waited,took,ran,lost,duration,deadline,"
    "starts,preemptions,fairness,result\n";

/* RFC 4180. */
static void csv_text(struct strbuf *out, const char *text)
{
    if (!text[strcspn(text, ",\"\r\n")]) {
        strbuf_puts(out, text);
        return;
    }
    strbuf_putc(out, '"');
    for (; *text; text++) {
        if (*text == '"')
            strbuf_putc(out, '"');
        strbuf_putc(out, *text);
    }
    strbuf_putc(out, '"');
}

/* Milliseconds as seconds; there: else the field is empty. */
static void csv_seconds(struct strbuf *out, bool there, int64_t ms)
{
    strbuf_putc(out, ',');
    if (there)
        strbuf_printf(out, "%" PRId64 ".%03d", ms / 1000, (int)(ms % 1000));
}

void run_job_csv(struct strbuf *out, uint64_t number, const struct run_job *job)
{
    bool started = job->start_ms >= 0;
    strbuf_printf(out, "%" PRIu64 ",%" PRIu64 ",", number, job->number);
    csv_text(out, job->name);
    strbuf_putc(out, ',');
    csv_text(out, job->team);
    strbuf_putc(out, ',');
    csv_text(out, job->model);
    strbuf_printf(out, ",%d", job->ranks);
    csv_seconds(out, true, job->submit_ms);
    csv_seconds(out, started, job->start_ms);
    csv_seconds(out, true, job->end_ms);
    csv_seconds(out, started, job->start_ms - job->submit_ms);
    csv_seconds(out, true, job->end_ms - job->submit_ms);
    csv_seconds(out, true, job->run_ms);
    csv_seconds(out, true, job->lost_ms);
    csv_seconds(out, true, job->duration_ms);
    csv_seconds(out, job->deadline_ms != 0, job->deadline_ms);
    strbuf_printf(out, ",%d,%d,", job->starts, job->preemptions);
    if (job->fairness_micro)
        figure_json(out, (double)job->fairness_micro / 1e6);
    strbuf_printf(out, ",%s\n", end_reason_names[job->reason]);
}
