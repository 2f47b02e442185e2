/* What runs came to, written down. */
#pragma once

#include "base/strbuf.h"
#include "simulate/metrics.h"
#include "simulate/run.h"

/* Runs of one trace with one policy, differing in their seeds. */
struct report {
    const char *format, *policy, *jobs; /* as they were asked for */
    enum run_mode mode;
    const struct metrics *runs;
    size_t count;
};

struct figure;
/* The figures that its runs have, beside those at points. */
const struct figure *report_figures(const struct report *report);

/* Calls row for each figure that a run has, in order: its title and its mean with the unit; with
 * several runs also the least and the largest, else NULL. */
typedef void report_row_fn(
    void *context, const char *title, const char *mean, const char *least, const char *most);
void report_rows(const struct report *report, report_row_fn *row, void *context);
/* A line for each run, figures by their names. */
void report_csv(const struct report *report, struct strbuf *out);
/* {"runs": [{"seed": .., figures ..}, ..], "mean": {figures ..}}, a line feed at its end. */
void report_json(const struct report *report, struct strbuf *out);
/* A page that opens without a network: the figures, and how they went over time. */
void report_html(const struct report *report, struct strbuf *out);

/* Jobs one a line, as --csv writes them; number is that of the run, from 1. */
extern const char run_job_csv_header[];
void run_job_csv(struct strbuf *out, uint64_t number, const struct run_job *job);
