/* Fairness over time: finish-time fairness, makespan and completion times together.
 *
 * A job's finish-time fairness is the time from its submission to its end over the time it would
 * have taken with its fair share all along (Themis, Mahajan et al., NSDI 2020); with more jobs than
 * accelerators a fair share makes each take that many times as long (Shockwave, Zheng et al.,
 * NSDI 2023). Shockwave plans such shares for tens of rounds with an integer program. Here three
 * observations do, for each round anew:
 *
 * - The whole of the work on all devices takes at least some time, the horizon. A job that needs
 *   nearly all of it by itself decides when everything ends: it runs now, the longest first.
 * - A job that can not wait much longer without taking more than FAIR_MILLI of its fair time is
 *   urgent: it runs before what is not, the one with the least room first.
 * - Among the others waiting is shortest when those that hold devices least long go first. One that
 *   runs is preferred by KEEP_MILLI, for a change costs a restart.
 *
 * Nobody starves: room shrinks with every moment of waiting, and a job whose room is used up by its
 * whole time goes before all others of its priority band. Bands come before everything, as they do
 * in the queue.
 *
 * What a job has left comes from what it reports: remaining work by its speed now, so a job whose
 * batch grows is thought longer than it will be. Without reports it is its time limit, and without
 * that what it ran already: such jobs take turns as under least attained service, with turns that
 * double. A gang has the ranks it asks for, fewer where only fewer are free; what is left over goes
 * to gangs that start in this round, because growing one that runs costs a restart. */
#include "core/allot.h"
#include "core/allot_policies.h"
#include "core/queue.h"
#include "core/sort.h"

#include <stdlib.h>

enum {
    FAIR_MILLI = 1200,   /* of the fair time: what a job may take before it is urgent */
    HORIZON_MILLI = 900, /* of the horizon: a job that needs so much by itself decides it */
    KEEP_MILLI = 800,    /* of its need: what a running job is ordered by */
    MARGIN_ROUNDS = 2,   /* that an urgent job's room may still hold */
};

enum precedence { TURN_OVERDUE, TURN_LONGEST, TURN_URGENT, TURN_SHORTEST };

struct standing {
    struct allot_job *job;
    int32_t band;
    enum precedence turn;
    int64_t left_ms; /* with the ranks it asks for */
    int64_t key;     /* within its turn, ascending */
};

static int64_t bounded(__int128 value)
{
    return value < INT64_MAX / 4 ? (int64_t)value : INT64_MAX / 4;
}

static int64_t left_ms(const struct allot_round *round, const struct allot_job *job)
{
    int64_t rate_milli = allot_rate_milli(job, job->row->size, round->node_devices);
    int64_t left = job->served_ms;
    if (job->remaining >= 0 && rate_milli > 0)
        left = bounded((__int128)job->remaining * 1000000 / rate_milli);
    else if (job->row->time_limit_ms > 0)
        left = job->row->time_limit_ms - job->served_ms;
    return most(left, round->round_ms);
}

static int64_t gang_devices(const struct allot_job *job)
{
    return (int64_t)job->row->size * job->devices;
}

/* The time that all there is to do takes on all devices. */
static int64_t horizon_ms(const struct allot_round *round, const struct standing *all)
{
    __int128 work = 0;
    for (size_t i = 0; i < round->count; i++)
        work += (__int128)all[i].left_ms * gang_devices(all[i].job);
    return bounded(work / most(round->devices, 1));
}

static void stand(const struct allot_round *round, int64_t horizon, struct standing *one)
{
    const struct allot_job *job = one->job;
    int64_t crowd_milli = most(1000, (int64_t)round->count * 1000 / most(round->devices, 1));
    __int128 alone_ms = (__int128)job->served_ms + one->left_ms;
    __int128 fair_ms = alone_ms * crowd_milli / 1000 * FAIR_MILLI / 1000;
    __int128 room_ms = fair_ms - (round->now_ms - job->row->submitted_ms) - one->left_ms;
    int64_t room_milli = (int64_t)(room_ms * 1000 / alone_ms);
    one->band = priority_band(job->row->priority);
    if (room_ms <= -alone_ms) {
        one->turn = TURN_OVERDUE;
        one->key = room_milli;
    } else if ((__int128)one->left_ms * 1000 >= (__int128)horizon * HORIZON_MILLI) {
        one->turn = TURN_LONGEST;
        one->key = -one->left_ms;
    } else if (room_ms <= MARGIN_ROUNDS * round->round_ms) {
        one->turn = TURN_URGENT;
        one->key = room_milli;
    } else {
        __int128 need = (__int128)one->left_ms * gang_devices(job);
        one->turn = TURN_SHORTEST;
        one->key = bounded(job->size ? need * KEEP_MILLI / 1000 : need);
    }
}

static int by_standing(const void *a, const void *b, const void *context)
{
    (void)context;
    const struct standing *left = a, *right = b;
    int order = compare_i64(right->band, left->band);
    if (!order)
        order = compare_i64(left->turn, right->turn);
    if (!order)
        order = compare_i64(left->key, right->key);
    return order ? order : compare_u64(left->job->row->id, right->job->row->id);
}

/* Ranks that a gang gets of the devices left: what it runs with if that is at least what it asks
 * for, else what it asks for, else what fits. */
static int32_t gang(const struct allot_job *job, int64_t devices)
{
    int64_t fit = devices / job->devices;
    int64_t ranks = least(most(job->size, job->row->size), fit);
    return ranks < job->size_min ? 0 : (int32_t)least(ranks, job->size_max);
}

static void share_out(struct allot_round *round)
{
    int64_t left = allot_begin(round);
    for (size_t i = 0; i < round->count; i++) {
        struct allot_job *job = round->jobs[i];
        if (job->fixed)
            continue;
        job->target = gang(job, left);
        left -= (int64_t)job->target * job->devices;
    }
    for (size_t i = 0; i < round->count && left > 0; i++) {
        struct allot_job *job = round->jobs[i];
        if (job->target == 0 || job->size)
            continue;
        int64_t more = least(left / job->devices, job->size_max - job->target);
        job->target += (int32_t)more;
        left -= more * job->devices;
    }
}

void allot_fairness(struct allot_round *round)
{
    struct standing *all = mem_alloc(round->count + 1, sizeof *all);
    void **order = mem_alloc(round->count + 1, sizeof *order);
    for (size_t i = 0; i < round->count; i++) {
        all[i] = (struct standing){.job = round->jobs[i]};
        all[i].left_ms = left_ms(round, round->jobs[i]);
        order[i] = &all[i];
    }
    int64_t horizon = horizon_ms(round, all);
    for (size_t i = 0; i < round->count; i++)
        stand(round, horizon, &all[i]);
    sort_pointers(order, round->count, by_standing, NULL);
    for (size_t i = 0; i < round->count; i++)
        round->jobs[i] = ((const struct standing *)order[i])->job;
    share_out(round);
    free(order);
    free(all);
}
