/* Policies that others published, to compare with: see docs/scheduling.md for what they reach. */
#include "core/allot.h"
#include "core/allot_plan.h"
#include "core/allot_policies.h"
#include "core/sort.h"

#include <stdlib.h>

/* ---- earliest deadline first --------------------------------------------------------------- */

static int by_deadline(const void *a, const void *b, const void *context)
{
    (void)context;
    const struct job_row *left = ((const struct allot_job *)a)->row;
    const struct job_row *right = ((const struct allot_job *)b)->row;
    int order = compare_i64(left->deadline_ms == 0, right->deadline_ms == 0);
    if (!order)
        order = compare_i64(left->deadline_ms, right->deadline_ms);
    return order ? order : compare_u64(left->id, right->id);
}

/* Each gets as many ranks as speed it up, of what is left. */
void allot_edf(struct allot_round *round)
{
    int64_t left = allot_begin(round);
    struct plan_job *one = mem_alloc(1, sizeof *one);
    sort_pointers((void **)round->jobs, round->count, by_deadline, NULL);
    for (size_t i = 0; i < round->count; i++) {
        struct allot_job *job = round->jobs[i];
        if (job->fixed)
            continue;
        plan_job_open(one, job, round);
        int level = plan_level(one, left / job->devices);
        job->target = level < 0 ? 0 : one->levels[level];
        left -= (int64_t)job->target * job->devices;
    }
    free(one);
}

/* ---- gangs as asked for, in an order ------------------------------------------------------- */

/* Each gets what it asks for while that is left. */
static void fill_in_order(struct allot_round *round, int64_t left)
{
    for (size_t i = 0; i < round->count; i++) {
        struct allot_job *job = round->jobs[i];
        int64_t need = (int64_t)job->row->size * job->devices;
        if (job->fixed || need > left)
            continue;
        job->target = job->row->size;
        left -= need;
    }
}

/* ---- equal shares of time ------------------------------------------------------------------ */

enum { SHARES_LAST_MS = 1000 * 1000 }; /* shares are reckoned anew at most so often */

/* Memory: level is how many jobs there were when shares were reckoned, 0 before that; level_ms when
 * that was; note what the job had run then. */
static int by_share(const void *a, const void *b, const void *context)
{
    (void)context;
    const struct allot_job *left = a, *right = b;
    int order = compare_i64(left->level == 0, right->level == 0);
    if (!order)
        order = compare_i64(left->served_ms - left->note, right->served_ms - right->note);
    return order ? order : compare_u64(left->row->id, right->row->id);
}

/* Whether jobs came or went since shares were reckoned, and that is long enough ago. */
static bool shares_due(const struct allot_round *round)
{
    bool changed = false;
    int64_t last_ms = INT64_MIN / 2;
    for (size_t i = 0; i < round->count; i++) {
        changed = changed || round->jobs[i]->level != (int32_t)round->count;
        if (round->jobs[i]->level)
            last_ms = most(last_ms, round->jobs[i]->level_ms);
    }
    return changed && round->now_ms - last_ms >= SHARES_LAST_MS;
}

/* Who ran least for its share, whatever its size, runs next; new jobs when shares are reckoned
 * again, before that on what is left over. Sizes are what jobs ask for. */
void allot_gandiva_fair(struct allot_round *round)
{
    int64_t left = allot_begin(round);
    bool due = shares_due(round);
    for (size_t i = 0; due && i < round->count; i++) {
        struct allot_job *job = round->jobs[i];
        job->level = (int32_t)round->count;
        job->level_ms = round->now_ms;
        job->note = job->served_ms;
    }
    sort_pointers((void **)round->jobs, round->count, by_share, NULL);
    fill_in_order(round, left);
}

/* ---- max-min fairness ---------------------------------------------------------------------- */

/* What it had of accelerators' time for each moment since it came, the least first. */
static int by_attained_share(const void *a, const void *b, const void *context)
{
    const struct allot_job *left = a, *right = b;
    int64_t now_ms = *(const int64_t *)context;
    __int128 x = (__int128)left->served_device_ms * most(now_ms - right->row->submitted_ms, 1);
    __int128 y = (__int128)right->served_device_ms * most(now_ms - left->row->submitted_ms, 1);
    if (x != y)
        return x < y ? -1 : 1;
    return compare_u64(left->row->id, right->row->id);
}

void allot_max_min(struct allot_round *round)
{
    int64_t left = allot_begin(round);
    sort_pointers((void **)round->jobs, round->count, by_attained_share, &round->now_ms);
    fill_in_order(round, left);
}
