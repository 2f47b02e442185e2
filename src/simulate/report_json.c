/* JSON of runs: figures by their names, those at points as objects by the point. */
#include "simulate/figures.h"
#include "simulate/report.h"

#include <inttypes.h>

/* The mean over the runs that reached the point. */
static bool point_mean(const struct report *report, figure_point_fn *get, int point, double *ret)
{
    double sum = 0, value;
    size_t having = 0;
    for (size_t i = 0; i < report->count; i++) {
        if (get(&report->runs[i], point, &value)) {
            sum += value;
            having++;
        }
    }
    if (having)
        *ret = sum / (double)having;
    return having > 0;
}

/* run: NULL for the means. */
static void points_json(const struct report *report, const struct metrics *run, const char *name,
    figure_point_fn *get, struct strbuf *out)
{
    strbuf_printf(out, ", \"%s\": {", name);
    bool first = true;
    for (int i = 0; i < METRICS_POINTS; i++) {
        double value;
        if (!(run ? get(run, i, &value) : point_mean(report, get, i, &value)))
            continue;
        strbuf_printf(out, "%s\"%d\": ", first ? "" : ", ", metrics_points[i]);
        figure_json(out, value);
        first = false;
    }
    strbuf_putc(out, '}');
}

static void figures_json(const struct report *report, const struct metrics *run, struct strbuf *out)
{
    const struct figure *figures = report_figures(report);
    for (const struct figure *figure = figures; figure->name; figure++) {
        double value;
        bool there = run ? figure->get(run, &value)
                         : figure_mean(figure, report->runs, report->count, &value);
        bool first = !run && figure == figures;
        strbuf_printf(out, "%s\"%s\": ", first ? "" : ", ", figure->name);
        if (there)
            figure_json(out, value);
        else
            strbuf_puts(out, "null");
    }
    if (report->mode != RUN_ARRIVALS)
        return;
    points_json(report, run, "allocated_percent", figure_allocated, out);
    points_json(report, run, "fragmented_percent", figure_fragmented, out);
}

void report_json(const struct report *report, struct strbuf *out)
{
    strbuf_puts(out, "{\"format\": ");
    strbuf_json(out, report->format);
    strbuf_puts(out, ", \"policy\": ");
    strbuf_json(out, report->policy);
    strbuf_puts(out, ",\n \"runs\": [");
    for (size_t i = 0; i < report->count; i++) {
        strbuf_printf(out, "%s{\"seed\": %" PRIu64, i ? ",\n          " : "", report->runs[i].seed);
        figures_json(report, &report->runs[i], out);
        strbuf_putc(out, '}');
    }
    strbuf_puts(out, "],\n \"mean\": {");
    figures_json(report, NULL, out);
    strbuf_puts(out, "}}\n");
}
