/* The readers, one for each kind of file: what the table of formats is made of. See trace_format
 * for what each does. */
#pragma once

#include "trace/trace.h"

/* Alibaba's GPU-sharing cluster: nodes, and pods in the order of FGD's evaluation or of time. */
int openb_nodes(struct trace_cluster *cluster, const char *path, struct error *err);
struct trace_source *openb_open(const struct trace_options *options, struct error *err);
/* The pods as the file lists them. NULL with err. */
struct trace_list *openb_pods_read(const char *path, struct error *err);

/* Papers' traces. All but openb's arrivals are in order of time. */
struct trace_source *pollux_open(const struct trace_options *options, struct error *err);
struct trace_source *shockwave_open(const struct trace_options *options, struct error *err);
struct trace_source *elasticflow_open(const struct trace_options *options, struct error *err);
struct trace_source *philly_open(const struct trace_options *options, struct error *err);
/* Times in hours; those of the week's sample in seconds. */
struct trace_source *gaia_open(const struct trace_options *options, struct error *err);
struct trace_source *gaia_week_open(const struct trace_options *options, struct error *err);

/* Our own. */
int csv_nodes(struct trace_cluster *cluster, const char *path, struct error *err);
struct trace_source *csv_open(const struct trace_options *options, struct error *err);

/* Drawn, not read: options->jobs says how many. */
struct trace_source *synthetic_open(const struct trace_options *options, struct error *err);
