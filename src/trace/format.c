/* The table of formats. */
#include "trace/readers.h"

#include <string.h>

static const struct trace_format openb = {.name = "openb",
    .summary = "nodes and pods of Alibaba's GPU-sharing cluster",
    .arrivals = true,
    .nodes = openb_nodes,
    .open = openb_open};

const struct trace_format *const trace_formats[] = {&openb, NULL};

const struct trace_format *trace_format_find(const char *name)
{
    for (size_t i = 0; trace_formats[i]; i++) {
        if (strcmp(trace_formats[i]->name, name) == 0)
            return trace_formats[i];
    }
    return NULL;
}
