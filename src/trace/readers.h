/* The readers, one for each kind of file, and what they share. */
#pragma once

#include "trace/trace.h"

enum { TRACE_PRIORITY = 500 }; /* where a trace says none: normal */

/* See trace_format. */
int openb_nodes(struct trace_cluster *cluster, const char *path, struct error *err);
struct trace_source *openb_open(const struct trace_options *options, struct error *err);
/* The pods as the file lists them. NULL with err. */
struct trace_list *openb_pods_read(const char *path, struct error *err);
