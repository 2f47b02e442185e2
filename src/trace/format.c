/* The table of formats. */
#include "trace/readers.h"

#include <string.h>

static const struct trace_format formats[] = {
    {.name = "csv",
        .summary = "muster's own, with columns by name",
        .nodes = csv_nodes,
        .open = csv_open},
    {.name = "openb",
        .summary = "nodes and pods of Alibaba's GPU-sharing cluster",
        .arrivals = true,
        .nodes = openb_nodes,
        .open = openb_open},
    {.name = "philly",
        .summary = "Microsoft's Philly clusters, a job a line",
        .cluster = "321x8",
        .open = philly_open},
    {.name = "pollux",
        .summary = "workloads of Pollux's evaluation",
        .cluster = "16x4",
        .open = pollux_open},
    {.name = "shockwave",
        .summary = "traces of Shockwave and Gavel",
        .cluster = "8x4:v100",
        .open = shockwave_open},
    {.name = "elasticflow",
        .summary = "ten production clusters, with deadlines",
        .cluster = "64x8",
        .open = elasticflow_open},
    {.name = "gaia",
        .summary = "a year of PAI, Azure or Mustang jobs, times in hours",
        .cluster = "100x0/64",
        .open = gaia_open},
    {.name = "gaia-week",
        .summary = "a week of PAI jobs, times in seconds",
        .cluster = "8x0/8",
        .open = gaia_week_open},
    {.name = "synthetic",
        .summary = "as many jobs as --jobs says, drawn from the seed",
        .cluster = "5000x8",
        .open = synthetic_open},
};

const struct trace_format *trace_format_at(size_t i)
{
    return i < ARRAY_LEN(formats) ? &formats[i] : NULL;
}

const struct trace_format *trace_format_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    }
    return NULL;
}
