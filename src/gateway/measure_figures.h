/* What services' requests took, in Prometheus' text form: for each service and version a histogram
 * with fixed bounds, and gauges of p50, p95 and p99 since the gateway began. */
#pragma once

struct service_state;
struct strbuf;

/* Appends those of all services from `first` on, NULL: none. */
void measure_figures_write(const struct service_state *first, struct strbuf *out);
