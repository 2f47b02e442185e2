/* Tiresias (Gu et al., "Tiresias: A GPU Cluster Manager for Distributed Deep Learning", NSDI 2019):
 * least attained service in two dimensions, discretised to two queues.
 *
 * A job's attained service is the time it ran times its accelerators. New jobs are at the end of
 * the first queue; one that attained LEVEL_DEVICE_MS moves to the end of the second and stays
 * there. In a round the first queue, then the second, is gone through in order: a job whose gang
 * fits in what is left runs, else it waits, and a later, smaller one may still run. Nothing is
 * known of how long jobs take, and sizes are what jobs asked for.
 *
 * Memory: level is the queue, level_ms the round in which it moved there. */
#include "core/allot.h"
#include "core/allot_policies.h"
#include "core/sort.h"

#include <stdbool.h>

#define LEVEL_DEVICE_MS ((int64_t)57600 * 1000) /* 16 device-hours */

/* First queue in order of acceptance; second in order of arrival there, those of one round in order
 * of the first. */
static int by_queue(const void *a, const void *b, const void *context)
{
    (void)context;
    const struct allot_job *left = a, *right = b;
    int order = compare_i64(left->level, right->level);
    if (!order)
        order = compare_i64(left->level_ms, right->level_ms);
    return order ? order : compare_u64(left->row->id, right->row->id);
}

void allot_tiresias(struct allot_round *round)
{
    int64_t left = allot_begin(round);
    for (size_t i = 0; i < round->count; i++) {
        struct allot_job *job = round->jobs[i];
        if (job->level == 0 && job->served_device_ms >= LEVEL_DEVICE_MS) {
            job->level = 1;
            job->level_ms = round->now_ms;
        }
    }
    sort_pointers((void **)round->jobs, round->count, by_queue, NULL);
    for (size_t i = 0; i < round->count; i++) {
        struct allot_job *job = round->jobs[i];
        int64_t need = (int64_t)job->row->size * job->devices;
        if (job->fixed || need > left)
            continue;
        job->target = job->row->size;
        left -= need;
    }
}
