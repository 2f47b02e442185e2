/* Elastic allotment: ranks go where they bring ends nearest.
 *
 * For each job and each number of ranks the time to its end is what is left of its work by the
 * speed that it reported (allot_rate_milli), and, for a number other than what it runs with, what
 * the change costs. The worth of a size is that time to the power of -2/3, and devices are given
 * out rank by rank (more exactly, along the upper concave hull of each job's worth) to whom a
 * device is worth most, until none is left or wanted. So short jobs go first, as with shortest
 * remaining time, but a job gets no more than what still speeds it up: an in-between that Berg,
 * Vesilo and Harchol-Balter ("heSRPT: Optimal Parallel Scheduling of Jobs With Known Sizes",
 * SIGMETRICS 2020) show to be optimal when speed-up is a power of the ranks; the exponent here is
 * a constant because speeds are measured curves and jobs arrive. Nobody starves by it: while a
 * job waits, long jobs' worth is small but positive, and the oldest wait is bounded (WAIT_MS_MAX).
 *
 * Hysteresis: a change is counted as RESTARTS of its price, since who is changed once will be
 * again; a size that is kept costs nothing.
 *
 * A job that does not say what is left is taken to be half done or to have UNKNOWN_MS of one rank
 * to go, whichever is longer: of service times with a heavy tail, what was attained is the best
 * guess. A job that never said how fast it is is taken to be as fast as it has ranks, so that it
 * gets what it asks for when devices are free. "elastic-attained" never looks at what is left.
 *
 * Whole numbers throughout: times in milliseconds, worth as a 62-bit fraction. */
#include "base/memory.h"
#include "core/allot.h"
#include "core/allot_policies.h"
#include "core/limits.h"
#include "core/sort.h"

#include <assert.h>

enum {
    RESTARTS = 4,              /* times its price that a change counts */
    TIME_FLOOR_MS = 60000,     /* added to every time: rounds are not finer */
    WAIT_MS_MAX = 4 * 3600000, /* who waits so long comes first, with its smallest gang */
    RANKS_SEEN_MAX = 1024,     /* sizes of a job that are compared, from its smallest on */
};
#define UNKNOWN_MS ((int64_t)1000 * 1000)
#define TIME_MAX   ((int64_t)1 << 38)

/* A piece of a job's hull: from so many ranks to so many, worth so much in all. */
struct piece {
    struct allot_job *job;
    int32_t from, to;
    int64_t worth;
};

typedef VEC(struct piece) piece_vec;

/* floor(cbrt(value)) */
static int64_t cube_root(unsigned __int128 value)
{
    int64_t low = 0, high = (int64_t)1 << 24;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if ((unsigned __int128)middle * (uint64_t)middle * (uint64_t)middle <= value)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* time^(-2/3) in units that leave all digits that matter; at least 1. */
static int64_t worth_of(int64_t time_ms)
{
    time_ms = least(most(time_ms, 1), TIME_MAX);
    int64_t root = cube_root((unsigned __int128)time_ms << 32);
    return most(((int64_t)1 << 62) / (root * root), 1);
}

/* ---- a job -------------------------------------------------------------------------------- */

/* Milliseconds to its end with so many ranks, restarts apart. */
static int64_t time_left_ms(
    const struct allot_round *round, const struct allot_job *job, int32_t ranks, bool attained_only)
{
    int64_t one = allot_rate_milli(job, 1, round->node_devices);
    int64_t rate = allot_rate_milli(job, ranks, round->node_devices);
    if (rate == 0 || one == 0)
        one = 1, rate = ranks;
    if (job->remaining >= 0 && job->speed_count && !attained_only) {
        __int128 time = (__int128)job->remaining * 1000000 / rate;
        return time > TIME_MAX ? TIME_MAX : (int64_t)time;
    }
    int64_t alone_ms = most(job->served_device_ms / most(job->devices, 1) / 2, UNKNOWN_MS);
    __int128 time = (__int128)least(alone_ms, TIME_MAX) * one / rate;
    return time > TIME_MAX ? TIME_MAX : (int64_t)time;
}

static int64_t size_worth(
    const struct allot_round *round, const struct allot_job *job, int32_t ranks, bool attained_only)
{
    int64_t time_ms = time_left_ms(round, job, ranks, attained_only) + TIME_FLOOR_MS;
    if (job->size == 0)
        time_ms += job->restart_ms;
    else if (job->size != ranks)
        time_ms += least(job->restart_ms, TIME_MAX / RESTARTS) * RESTARTS;
    return worth_of(time_ms);
}

/* The pieces of its hull: each begins where the last ended, and is the steepest from there. Sizes
 * below the smallest are worth nothing. */
static void add_pieces(
    const struct allot_round *round, struct allot_job *job, bool attained_only, piece_vec *pieces)
{
    int64_t ranks_max = least(job->size_max, round->devices / job->devices);
    ranks_max = least(ranks_max, (int64_t)job->size_min - 1 + RANKS_SEEN_MAX);
    if (ranks_max < job->size_min)
        return;
    SCOPED(mem_scope) int64_t *worth = mem_alloc((size_t)ranks_max + 1, sizeof *worth);
    for (int32_t n = job->size_min; n <= ranks_max; n++)
        worth[n] = size_worth(round, job, n, attained_only);
    for (int32_t at = 0, to; at < ranks_max; at = to) {
        to = 0;
        for (int32_t n = at + 1; n <= ranks_max; n++) {
            if (n < job->size_min || worth[n] <= worth[at])
                continue;
            if (to == 0 || (__int128)(worth[n] - worth[at]) * (to - at) >
                               (__int128)(worth[to] - worth[at]) * (n - at))
                to = n;
        }
        if (to == 0)
            return;
        vec_push(pieces, ((struct piece){job, at, to, worth[to] - worth[at]}));
    }
}

/* ---- all jobs ----------------------------------------------------------------------------- */

static int64_t piece_devices(const struct piece *piece)
{
    return (int64_t)(piece->to - piece->from) * piece->job->devices;
}

/* What a device is worth; then by job, then in order of the hull. */
static int by_worth(const void *a, const void *b, const void *context)
{
    (void)context;
    const struct piece *left = a, *right = b;
    __int128 x = (__int128)left->worth * piece_devices(right);
    __int128 y = (__int128)right->worth * piece_devices(left);
    if (x != y)
        return x > y ? -1 : 1;
    int order = compare_u64(left->job->row->id, right->job->row->id);
    return order ? order : compare_i64(left->from, right->from);
}

/* The first pieces of the dearest jobs; what is left over does not fit a whole piece and goes to a
 * part of it. */
static void give_out(struct allot_round *round, piece_vec *pieces, int64_t left)
{
    size_t count = pieces->count;
    SCOPED(mem_scope) struct piece **sorted = mem_alloc(count + 1, sizeof *sorted);
    for (size_t i = 0; i < count; i++)
        sorted[i] = &pieces->items[i];
    sort_pointers((void **)sorted, count, by_worth, NULL);
    for (size_t i = 0; i < count && left > 0; i++) {
        struct allot_job *job = sorted[i]->job;
        int64_t fit = sorted[i]->from + left / job->devices;
        int32_t to = (int32_t)least(sorted[i]->to, fit);
        if (job->target < sorted[i]->from || to <= job->target || to < job->size_min)
            continue;
        left -= (int64_t)(to - job->target) * job->devices;
        job->target = to;
    }
    (void)round;
}

static bool waits_too_long(const struct allot_round *round, const struct allot_job *job)
{
    return job->size == 0 && round->now_ms - job->row->queued_ms > WAIT_MS_MAX;
}

/* What can not be changed keeps its size, and who waited too long gets its smallest gang, the
 * longest first: ids are in order of acceptance. */
static int64_t give_first(struct allot_round *round)
{
    int64_t left = allot_begin(round);
    for (size_t i = 0; i < round->count; i++) {
        struct allot_job *job = round->jobs[i];
        int64_t need = (int64_t)job->size_min * job->devices;
        if (job->fixed || need > left || !waits_too_long(round, job))
            continue;
        job->target = job->size_min;
        left -= need;
    }
    return left;
}

static void allot_by_worth(struct allot_round *round, bool attained_only)
{
    piece_vec pieces = {0};
    int64_t left = give_first(round);
    for (size_t i = 0; i < round->count; i++) {
        if (!round->jobs[i]->fixed)
            add_pieces(round, round->jobs[i], attained_only, &pieces);
    }
    give_out(round, &pieces, left);
    vec_free(&pieces);
}

void allot_elastic(struct allot_round *round)
{
    allot_by_worth(round, false);
}

void allot_elastic_attained(struct allot_round *round)
{
    allot_by_worth(round, true);
}
