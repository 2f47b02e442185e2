/* The figures of a gateway, as GET /status and GET /metrics show them. */
#pragma once

#include "gateway/table.h"
#include "gateway/trace.h"
#include "gateway/worker.h"

#include <stdbool.h>
#include <stdint.h>

struct strbuf;

struct figures {
    int64_t generation;
    const char *incarnation, *listen;
    bool tls, draining;
    int workers;
    int64_t uptime_ms;
    uint64_t of[FIGURES]; /* of all workers */
    uint64_t log_lines_dropped;
    bool traces; /* there is a collector, and spans */
    struct tracer_counts spans;
    const struct replica_states *states;
    const char *old_states; /* of the gateway that was replaced, written; "": none */
};

/* Adds a worker's. */
void figures_add(struct figures *figures, const struct worker_figures *worker);
/* The document of GET /status. */
void figures_write_json(const struct figures *figures, struct strbuf *out);
/* Prometheus' text exposition format, version 0.0.4. */
void figures_write_metrics(const struct figures *figures, struct strbuf *out);
