/* Pacing of batches: see batch_pace.h. Whole numbers alone: nanoseconds, rows, and sums that fit
 * 128 bits. */
#include "gateway/batch_pace.h"

#include "base/memory.h"

#include <assert.h>
#include <string.h>

enum {
    CALLS_LEARNED = 4,      /* before so many nothing is expected */
    OUTLIER_DEVIATIONS = 4, /* of the median deviation: what lies farther off does not count */
    DEPTH_CALLS = 48,       /* a measure of the rate */
    DEPTH_PATIENCE_MAX = 64,
    DEPTH_GAIN_PERCENT = 7, /* a depth has to be so much better to be taken */
    GROWTH =
        2, /* a batch may be so many times the largest seen: what a larger one takes is a guess */
    GROWTH_FROM = 8,
    BUSY_PERCENT = 60,
};

static const int64_t SECOND_NS = 1000000000;

/* ---- usual values
 * --------------------------------------------------------------------------------- */

/* By insertion, as the lists are short. */
static void sort(int64_t *values, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        int64_t value = values[i];
        size_t place = i;
        for (; place > 0 && values[place - 1] > value; place--)
            values[place] = values[place - 1];
        values[place] = value;
    }
}

static void gaps_add(struct batch_gaps *gaps, int64_t ns)
{
    gaps->ns[gaps->next] = ns;
    gaps->next = (gaps->next + 1) % BATCH_PACE_GAPS;
    if (gaps->count < BATCH_PACE_GAPS)
        gaps->count++;
}

/* INT64_MAX while little is known. Not the median: where two clients take turns most of the gaps
 * are those between two batches. */
static int64_t gaps_usual(const struct batch_gaps *gaps)
{
    int64_t sorted[BATCH_PACE_GAPS];
    if (gaps->count < BATCH_PACE_GAPS)
        return INT64_MAX;
    memcpy(sorted, gaps->ns, sizeof sorted);
    sort(sorted, gaps->count);
    return sorted[gaps->count / 4];
}

/* Whether calls were under way for most of the time lately. A machine that stutters makes requests
 * come in bursts at any load: that alone is no reason to hold them. */
static bool is_busy(const struct batch_pace *pace)
{
    int64_t busy = 0, all = 0;
    for (size_t i = 0; i < pace->spans.count; i++) {
        busy += pace->busy.ns[i];
        all += pace->spans.ns[i];
    }
    return pace->spans.count == BATCH_PACE_GAPS && busy / BUSY_PERCENT >= all / 100;
}

/* ---- what a call takes ----------------------------------------------------------------------- */

/* Sums over the calls that count. */
struct sums {
    int64_t count, rows;
    __int128 ns, rows_rows, rows_ns;
};

static void sums_add(struct sums *sums, int64_t rows, int64_t ns)
{
    sums->count++;
    sums->rows += rows;
    sums->ns += ns;
    sums->rows_rows += (__int128)rows * rows;
    sums->rows_ns += (__int128)rows * ns;
}

/* The line through the sums. Calls that all have nearly as many rows say little about the slope: it
 * is drawn to what was known of it, by a weight that counts while the rows' deviation is below an
 * eighth of their mean. */
static void fit(struct batch_pace *pace, const struct sums *sums)
{
    __int128 n = sums->count;
    __int128 spread = n * sums->rows_rows - (__int128)sums->rows * sums->rows;
    __int128 weight = n * n + (__int128)sums->rows * sums->rows / 64;
    __int128 slope = n * sums->rows_ns - sums->rows * sums->ns + weight * pace->b_ns;
    int64_t most = (int64_t)(sums->ns / sums->rows);
    int64_t b = (int64_t)(slope / (spread + weight));
    pace->b_ns = b < 0 ? 0 : b > most ? most : b;
    pace->a_ns = (int64_t)((sums->ns - (__int128)pace->b_ns * sums->rows) / n);
}

static int64_t distance(const struct batch_pace *pace, size_t i)
{
    int64_t off = pace->calls[i].ns - pace->a_ns - pace->b_ns * pace->calls[i].rows;
    return off < 0 ? -off : off;
}

/* Fits through all, then through those that are not far off: a machine that was busy with something
 * else says nothing about the model. */
static void learn(struct batch_pace *pace)
{
    int64_t distances[BATCH_PACE_CALLS];
    struct sums all = {0}, near = {0};
    pace->rows_seen = 0;
    for (size_t i = 0; i < pace->call_count; i++) {
        sums_add(&all, pace->calls[i].rows, pace->calls[i].ns);
        if (pace->calls[i].rows > pace->rows_seen)
            pace->rows_seen = pace->calls[i].rows;
    }
    fit(pace, &all);
    for (size_t i = 0; i < pace->call_count; i++)
        distances[i] = distance(pace, i);
    sort(distances, pace->call_count);
    int64_t bound = OUTLIER_DEVIATIONS * distances[pace->call_count / 2];
    for (size_t i = 0; i < pace->call_count; i++) {
        if (distance(pace, i) <= bound)
            sums_add(&near, pace->calls[i].rows, pace->calls[i].ns);
    }
    if (near.count >= CALLS_LEARNED)
        fit(pace, &near);
}

int64_t batch_pace_expect(const struct batch_pace *pace, int64_t rows)
{
    return pace->call_count < CALLS_LEARNED ? 0 : pace->a_ns + pace->b_ns * rows;
}

/* ---- how many at once ------------------------------------------------------------------------ */

int batch_pace_depth(const struct batch_pace *pace)
{
    return pace->depth.now ? pace->depth.now : 1;
}

/* Which depth is measured next: the best, but now and then its neighbours. */
static void choose_depth(struct batch_depth *depth)
{
    if (depth->now != depth->best) {
        bool better = depth->rows_per_s[depth->now] * 100 >
                      depth->rows_per_s[depth->best] * (100 + DEPTH_GAIN_PERCENT);
        depth->patience = better ? 1 : depth->patience * 2;
        if (depth->patience > DEPTH_PATIENCE_MAX)
            depth->patience = DEPTH_PATIENCE_MAX;
        if (better)
            depth->best = depth->now;
        depth->now = depth->best;
        depth->pause = depth->patience;
        return;
    }
    if (depth->pause-- > 0)
        return;
    /* The one below in its turn: what was better once may not be so any more. */
    bool lower = depth->best > 1 && depth->patience % 3 == 2;
    depth->now = lower ? depth->best - 1 : depth->best + 1;
    if (depth->now > BATCH_PACE_DEPTH_MAX)
        depth->now = depth->best;
}

/* The rate counts only while there was always something to send. */
static void measure_depth(struct batch_depth *depth, int64_t now_ns, int64_t rows, bool backlog)
{
    if (depth->best == 0)
        *depth = (struct batch_depth){.now = 1, .best = 1, .pause = 1, .patience = 1};
    if (!backlog) {
        /* More at once than there is to send: that is no rate of the replica's. */
        depth->calls = 0;
        depth->now = depth->best;
        return;
    }
    if (depth->calls++ == 0) {
        depth->began_ns = now_ns;
        depth->rows = 0;
        return;
    }
    depth->rows += rows;
    if (depth->calls <= DEPTH_CALLS || now_ns <= depth->began_ns)
        return;
    depth->rows_per_s[depth->now] =
        (int64_t)((__int128)depth->rows * SECOND_NS / (now_ns - depth->began_ns));
    depth->calls = 0;
    choose_depth(depth);
}

/* ---- what happens ---------------------------------------------------------------------------- */

void batch_pace_arrived(struct batch_pace *pace, int64_t now_ns)
{
    if (pace->arrived_ns)
        gaps_add(&pace->gaps, now_ns - pace->arrived_ns);
    if (pace->done_ns)
        gaps_add(&pace->returns, now_ns - pace->done_ns);
    pace->arrived_ns = now_ns;
    pace->done_ns = 0;
}

void batch_pace_done(
    struct batch_pace *pace, int64_t now_ns, int64_t rows, int64_t took_ns, bool backlog)
{
    assert(rows > 0 && took_ns >= 0);
    pace->calls[pace->call_next].rows = rows;
    pace->calls[pace->call_next].ns = took_ns;
    pace->call_next = (pace->call_next + 1) % BATCH_PACE_CALLS;
    if (pace->call_count < BATCH_PACE_CALLS)
        pace->call_count++;
    pace->done_ns = now_ns;
    if (pace->before_ns) {
        int64_t span = now_ns - pace->before_ns;
        gaps_add(&pace->busy, took_ns < span ? took_ns : span);
        gaps_add(&pace->spans, span);
    }
    pace->before_ns = now_ns;
    if (pace->call_count >= CALLS_LEARNED)
        learn(pace);
    measure_depth(&pace->depth, now_ns, rows, backlog);
}

/* ---- decisions ------------------------------------------------------------------------------- */

/* Rows for which a call stays within a time. */
static int64_t rows_within(const struct batch_pace *pace, int64_t ns)
{
    if (ns <= pace->a_ns)
        return 1;
    return pace->b_ns == 0 ? INT64_MAX : (ns - pace->a_ns) / pace->b_ns;
}

int64_t batch_pace_rows(
    const struct batch_pace *pace, const struct batch_waiting *waiting, int64_t now_ns)
{
    const struct batch_limits *limits = &pace->limits;
    int64_t waited = now_ns - waiting->oldest_ns;
    int64_t rows = limits->rows_max;
    if (limits->goal_ns == 0 || pace->call_count < CALLS_LEARNED)
        return limits->goal_ns == 0 || rows < GROWTH_FROM ? rows : GROWTH_FROM;
    /* A request waits for up to one call before its own: half the goal is for either. Once requests
     * wait longer than that the queue grows, and only larger batches make it shrink. */
    int64_t budget = waited > limits->goal_ns / 2 ? limits->goal_ns : limits->goal_ns / 2;
    int64_t fit_rows = rows_within(pace, budget - budget / 10);
    int64_t grown = pace->rows_seen * GROWTH < GROWTH_FROM ? GROWTH_FROM : pace->rows_seen * GROWTH;
    rows = fit_rows < rows ? fit_rows : rows;
    rows = grown < rows ? grown : rows;
    return rows < 1 ? 1 : rows;
}

/* When the next request is expected, counted from `*ret_from`. */
static int64_t next_arrival(const struct batch_pace *pace, int64_t *ret_from)
{
    *ret_from = pace->done_ns ? pace->done_ns : pace->arrived_ns;
    return gaps_usual(pace->done_ns ? &pace->returns : &pace->gaps);
}

int64_t batch_pace_wait(
    const struct batch_pace *pace, const struct batch_waiting *waiting, int64_t now_ns)
{
    const struct batch_limits *limits = &pace->limits;
    int64_t from, gap = next_arrival(pace, &from);
    if (pace->call_count < CALLS_LEARNED || !is_busy(pace) ||
        waiting->rows >= batch_pace_rows(pace, waiting, now_ns))
        return 0;
    if (gap >= pace->a_ns || (waiting->requests + 1) * gap >= pace->a_ns)
        return 0;
    /* The last of those who come back are slower than the usual: they are waited for as long as
     * that has cost at most half of the call that it saves. */
    int64_t patience = pace->a_ns / (2 * (waiting->requests + 1));
    int64_t until = from + (patience > 2 * gap ? patience : 2 * gap);
    int64_t last = waiting->oldest_ns + limits->delay_max_ns;
    if (limits->goal_ns > 0) {
        int64_t call = batch_pace_expect(pace, waiting->rows + 1);
        int64_t latest = waiting->oldest_ns + limits->goal_ns - limits->goal_ns / 10 - call;
        last = latest < last ? latest : last;
    }
    until = last < until ? last : until;
    return until > now_ns ? until : 0;
}

bool batch_pace_gathers(const struct batch_pace *pace)
{
    int64_t gap = gaps_usual(&pace->returns);
    return pace->call_count >= CALLS_LEARNED && is_busy(pace) && gap < pace->a_ns / 2;
}
