/* What pods use, as a cluster says it in either of two ways: the metrics API (metrics.k8s.io, which
 * a metrics-server answers), and the summary of a kubelet. */
#pragma once

#include "wire/doc.h"

#include <stdbool.h>
#include <stdint.h>

struct kube_sample {
    const char *name_space, *name; /* of the pod, never NULL; valid for the call only */
    int64_t at_ms;                 /* wall clock of the cluster, > 0 */
    int64_t window_ms;             /* over which a rate is a mean; 0: not known */
    bool total;                    /* cpu_nano is a sum since its start, or the CPUs used now */
    uint64_t cpu_nano;             /* nanoseconds, or billionths of a CPU */
    uint64_t memory_bytes;         /* its working set */
};

typedef void kube_sample_fn(void *ctx, const struct kube_sample *sample);

/* Of a PodMetricsList; what has no time or cannot be read is passed over. list NULL is fine. */
void kube_metrics_read(const struct doc *list, kube_sample_fn *take, void *ctx);
/* The CPU time that a rate says was used since the sample before, which was at last_ms (of the
 * cluster's clock). The first one, last_ms 0, holds since the start: at started_ms, running_ms ago,
 * both of our clock, which may be minutes apart from the cluster's. Nanoseconds. */
uint64_t kube_sample_used_ns(
    const struct kube_sample *sample, int64_t last_ms, int64_t started_ms, int64_t running_ms);
/* Of a kubelet's /stats/summary, in the same way. */
void kube_metrics_read_summary(const struct doc *summary, kube_sample_fn *take, void *ctx);
