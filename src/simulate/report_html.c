/* One page with everything in it: figures as a table, plots as SVG. No script, no font, nothing
 * from a network; colours follow the reader's light or dark setting. */
#include "simulate/figures.h"
#include "simulate/plot.h"
#include "simulate/report.h"

#include <inttypes.h>

enum { RUNS_SHOWN_MAX = 8, QUANTILES = 200 };

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fcfcfb;--fg:#1c2024;--dim:#6b7280;--rule:#e3e5e8;"
    "--card:#fff;--c0:#2563c9;--c1:#c2410c;--c2:#0f766e;--c3:#7e22ce}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#14171a;--fg:#e6e8ea;--dim:#9aa3ad;"
    "--rule:#2b3138;--card:#1b1f24;--c0:#6ea8ff;--c1:#fb923c;--c2:#4fd1c5;--c3:#c792f5}}\n"
    "*{box-sizing:border-box}body{margin:0 auto;padding:2rem 1rem 4rem;max-width:76rem;"
    "background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}\n"
    "h1{font-size:1.5rem;margin:0 0 .25rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}\n"
    "p{margin:.25rem 0;color:var(--dim)}\n"
    ".plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(22rem,1fr));gap:1rem}\n"
    "figure{margin:0;padding:1rem;background:var(--card);border:1px solid var(--rule);"
    "border-radius:8px}figcaption{font-weight:600;margin-bottom:.5rem}\n"
    "svg{width:100%;height:auto;display:block}svg text{fill:var(--dim);font-size:11px}\n"
    ".grid{stroke:var(--rule)}.line{fill:none;stroke-width:1.75;stroke-linejoin:round}\n"
    ".c0{stroke:var(--c0)}.c1{stroke:var(--c1)}.c2{stroke:var(--c2)}.c3{stroke:var(--c3)}\n"
    ".legend span::before{content:\"\";display:inline-block;width:.9em;height:.25em;"
    "margin:0 .4em .25em 1em;background:currentColor}\n"
    ".k0{color:var(--c0)}.k1{color:var(--c1)}.k2{color:var(--c2)}.k3{color:var(--c3)}\n"
    "table{border-collapse:collapse;background:var(--card)}"
    "td,th{padding:.3rem .9rem;border-bottom:1px solid var(--rule);text-align:right}"
    "td:first-child,th:first-child{text-align:left}th{color:var(--dim);font-weight:500}\n"
    ".scroll{overflow-x:auto}\n";

static size_t shown(const struct report *report)
{
    return report->count < RUNS_SHOWN_MAX ? report->count : RUNS_SHOWN_MAX;
}

static void point_push(struct plot_line *line, double x, double y)
{
    if (line)
        vec_push(&line->points, ((struct plot_point){x, y}));
}

static double share(int64_t part, int64_t whole)
{
    return whole > 0 ? 100 * (double)part / (double)whole : 0;
}

static void plot_arrivals(const struct report *report, struct strbuf *out)
{
    struct plot plot = {.title = "Allocated and fragmented accelerators as jobs arrive",
        .x_label = "accelerators asked for so far, % of the cluster",
        .y_label = "% of the cluster",
        .y_most = 100};
    for (size_t i = 0; i < shown(report); i++) {
        const struct metrics *run = &report->runs[i];
        struct plot_line *allocated = plot_add(&plot, "allocated", 0);
        struct plot_line *fragmented = plot_add(&plot, "fragmented", 1);
        for (int32_t p = 0; p < run->curve_count; p++) {
            point_push(allocated, p, share(run->curve_allocated_milli[p], run->accelerator_milli));
            point_push(
                fragmented, p, share(run->curve_fragmented_milli[p], run->accelerator_milli));
        }
    }
    plot_svg(&plot, out);
    plot_finish(&plot);
}

static void series_line(struct plot *plot, const struct series *series, int of, const char *name,
    int colour, double unit_ms)
{
    struct plot_line *line = plot_add(plot, name, colour);
    for (int32_t i = 0; i < series->count; i++)
        point_push(
            line, (double)i * (double)series->period_ms / unit_ms, series_mean(series, of, i));
}

/* Hours, or days for what takes long. */
static double unit_of(const struct report *report, const char **ret_label)
{
    enum { HOUR_MS = 3600 * 1000, LONG_HOURS = 72 };
    int64_t longest_ms = 0;
    for (size_t i = 0; i < report->count; i++) {
        const struct series *series = &report->runs[i].series;
        int64_t length_ms = series->period_ms * series->count;
        longest_ms = length_ms > longest_ms ? length_ms : longest_ms;
    }
    bool days = longest_ms > (int64_t)LONG_HOURS * HOUR_MS;
    *ret_label = days ? "days" : "hours";
    return days ? 24.0 * HOUR_MS : HOUR_MS;
}

static void plot_held(const struct report *report, struct strbuf *out)
{
    struct plot plot = {.title = "How full the machines were", .y_label = "% held", .y_most = 100};
    double unit_ms = unit_of(report, &plot.x_label);
    for (size_t i = 0; i < shown(report); i++)
        series_line(&plot, &report->runs[i].series, 0,
            report->runs[i].by_cpu ? "CPUs held" : "accelerators held", 0, unit_ms);
    plot_svg(&plot, out);
    plot_finish(&plot);
}

static void plot_jobs(const struct report *report, struct strbuf *out)
{
    struct plot plot = {.title = "Jobs that ran and that waited", .y_label = "jobs"};
    double unit_ms = unit_of(report, &plot.x_label);
    for (size_t i = 0; i < shown(report); i++) {
        series_line(&plot, &report->runs[i].series, 1, "running", 2, unit_ms);
        series_line(&plot, &report->runs[i].series, 2, "waiting", 1, unit_ms);
    }
    plot_svg(&plot, out);
    plot_finish(&plot);
}

static void quantile_line(
    struct plot *plot, const struct quantile *quantile, const char *name, int colour)
{
    struct plot_line *line = quantile->count ? plot_add(plot, name, colour) : NULL;
    for (int i = 0; line && i <= QUANTILES; i++) {
        double seconds = (double)quantile_at(quantile, i * 1000 / QUANTILES) / 1000;
        point_push(line, seconds > 1 ? seconds : 1, 100.0 * i / QUANTILES);
    }
}

static void plot_times(const struct report *report, struct strbuf *out)
{
    struct plot plot = {.title = "How long jobs took and waited",
        .x_label = "seconds, at least 1",
        .y_label = "% of jobs at most so long",
        .log_x = true,
        .y_most = 100};
    for (size_t i = 0; i < shown(report); i++) {
        quantile_line(&plot, &report->runs[i].completion_ms, "submission to end (JCT)", 0);
        quantile_line(&plot, &report->runs[i].waiting_ms, "submission to start", 1);
    }
    plot_svg(&plot, out);
    plot_finish(&plot);
}

struct html_rows {
    struct strbuf *out;
    bool several;
};

static void cell(struct strbuf *out, const char *text)
{
    strbuf_puts(out, "<td>");
    html_text(out, text ? text : "-");
    strbuf_puts(out, "</td>");
}

static void html_row(
    void *context, const char *title, const char *mean, const char *least, const char *most)
{
    const struct html_rows *rows = context;
    strbuf_puts(rows->out, "<tr>");
    cell(rows->out, title);
    cell(rows->out, mean);
    if (rows->several) {
        cell(rows->out, least);
        cell(rows->out, most);
    }
    strbuf_puts(rows->out, "</tr>\n");
}

static void figures_table(const struct report *report, struct strbuf *out)
{
    struct html_rows rows = {out, report->count > 1};
    strbuf_puts(out, "<h2>Figures</h2>\n<div class=\"scroll\"><table>\n<tr><th></th><th>");
    strbuf_puts(out, rows.several ? "mean</th><th>least</th><th>most" : "value");
    strbuf_puts(out, "</th></tr>\n");
    report_rows(report, html_row, &rows);
    strbuf_puts(out, "</table></div>\n");
}

static void heading(const struct report *report, struct strbuf *out)
{
    strbuf_puts(out, "<h1>Simulation: ");
    html_text(out, report->format);
    strbuf_puts(out, ", policy ");
    html_text(out, report->policy);
    strbuf_puts(out, "</h1>\n<p>");
    html_text(out, report->jobs);
    const struct metrics *runs = report->runs;
    strbuf_printf(out, "; %" PRId64 " %s; seed%s %" PRIu64, runs[0].capacity_milli / 1000,
        runs[0].by_cpu ? "CPUs" : "accelerators", report->count > 1 ? "s" : "", runs[0].seed);
    if (report->count > 1)
        strbuf_printf(out, " to %" PRIu64, runs[report->count - 1].seed);
    if (report->count > RUNS_SHOWN_MAX)
        strbuf_printf(out, "; plots show the first %d", RUNS_SHOWN_MAX);
    strbuf_puts(out, "</p>\n");
}

void report_html(const struct report *report, struct strbuf *out)
{
    strbuf_puts(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                     "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                     "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                     "style-src 'unsafe-inline'\">\n<title>Simulation: ");
    html_text(out, report->format);
    strbuf_printf(out, "</title>\n<style>\n%s</style></head>\n<body>\n", style);
    heading(report, out);
    strbuf_puts(out, "<div class=\"plots\">\n");
    if (report->mode == RUN_ARRIVALS) {
        plot_arrivals(report, out);
    } else {
        plot_held(report, out);
        plot_jobs(report, out);
        plot_times(report, out);
    }
    strbuf_puts(out, "</div>\n");
    figures_table(report, out);
    strbuf_puts(out, "<p>What each figure means, and what the models assume, is in "
                     "docs/simulate.md.</p>\n</body></html>\n");
}
