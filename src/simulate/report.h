/* What runs came to, written down. */
#pragma once

#include "base/strbuf.h"
#include "simulate/metrics.h"
#include "simulate/run.h"

/* Runs of one trace with one policy, differing in their seeds. */
struct report {
    const char *format, *policy; /* as they were asked for */
    enum run_mode mode;
    const struct metrics *runs;
    size_t count;
};

/* {"runs": [{"seed": .., figures ..}, ..], "mean": {figures ..}}, a line feed at its end. */
void report_json(const struct report *report, struct strbuf *out);
