/* Policies for spot capacity under a deadline, on real traces of spot nodes: `spot [-o json]
 * FILE...` runs one job after the other through each trace, with every policy, and prints what it
 * cost on average and how many deadlines were missed.
 *
 * A job needs so many nodes at once; spot capacity is there while the trace has as many. Jobs
 * differ in length, in how tight their deadline is, in what a start costs, in how many nodes they
 * need and in when they begin; the trace is repeated where it ends. On-demand capacity is always
 * there. "optimum" knows the future: the cheapest way there is, by dynamic programming over time
 * and work. All times are whole steps of a minute. */
#include "core/spot.h"
#include "base/prng.h"
#include "base/vec.h"
#include "trace/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEP_MS = 60000, POLICIES_MAX = 8, STARTS = 8 };
enum { SPOT_PRICE = 910, DEMAND_PRICE = 3060 }; /* thousandths of a dollar, an hour of a node */

struct series {
    VEC(int32_t) there; /* nodes, each step */
};

static void series_make(struct series *series, const struct trace_events *events)
{
    int32_t there = 0;
    int64_t at_ms = 0;
    for (size_t i = 0; i < events->items.count; i++) {
        const struct trace_event *event = &events->items.items[i];
        for (; at_ms + STEP_MS <= event->at_ms; at_ms += STEP_MS)
            vec_push(&series->there, there);
        there += event->up ? 1 : -1;
    }
    vec_push(&series->there, there);
}

struct task {
    const struct series *series;
    int32_t need;  /* nodes */
    int64_t begin; /* steps, all of these */
    int64_t work, span, change;
};

static bool spot_there(const struct task *job, int64_t step)
{
    int64_t count = (int64_t)job->series->there.count;
    return job->series->there.items[(job->begin + step) % count] >= job->need;
}

/* What was seen of the capacity from the beginning of the trace: steps with it and without, and how
 * often it went after it had stayed for a changeover at least. */
struct seen {
    int64_t up, down, losses;
    int64_t since; /* steps it has been as it is */
    bool there;
};

static void see(struct seen *seen, bool there, int64_t worth)
{
    if (there != seen->there) {
        seen->losses += seen->there && seen->since >= worth;
        seen->there = there;
        seen->since = 0;
    }
    seen->up += there;
    seen->down += !there;
    seen->since++;
}

static struct seen seen_before(const struct task *job)
{
    struct seen seen = {0};
    int64_t count = (int64_t)job->series->there.count;
    for (int64_t i = 0; i < job->begin; i++)
        see(&seen, job->series->there.items[i % count] >= job->need, job->change);
    return seen;
}

struct outcome {
    int64_t spot, demand; /* steps paid */
    bool missed;
};

static struct spot_case case_of(
    const struct task *job, const struct seen *seen, enum spot_place at, int64_t step, int64_t left)
{
    int64_t losses = seen->losses ? seen->losses : 1;
    bool known = seen->losses > 0;
    return (struct spot_case){
        .at = at,
        .there = seen->there,
        .left_ms = (job->span - step) * STEP_MS,
        .work_ms = left * STEP_MS,
        .total_ms = job->work * STEP_MS,
        .span_ms = job->span * STEP_MS,
        .change_ms = job->change * STEP_MS,
        .up_ms = known ? seen->up * STEP_MS / losses : 0,
        .down_ms = known ? seen->down * STEP_MS / losses : 0,
        .spot_price = SPOT_PRICE,
        .demand_price = DEMAND_PRICE,
    };
}

static struct outcome run_job(const struct task *job, const struct spot_policy *policy)
{
    struct outcome outcome = {0};
    struct seen seen = seen_before(job);
    enum spot_place at = SPOT_NOWHERE;
    int64_t left = job->work, starting = 0, step = 0;
    for (; left > 0 && step < 4 * job->span; step++) {
        bool there = spot_there(job, step);
        if (at == SPOT_ON_SPOT && !there)
            at = SPOT_NOWHERE;
        see(&seen, there, job->change);
        struct spot_case now = case_of(job, &seen, at, step, left);
        enum spot_place to = policy->choose(&now).to;
        if (to == SPOT_ON_SPOT && !there)
            to = SPOT_NOWHERE;
        if (to != at)
            starting = job->change;
        at = to;
        outcome.spot += at == SPOT_ON_SPOT;
        outcome.demand += at == SPOT_ON_DEMAND;
        if (at != SPOT_NOWHERE && starting > 0)
            starting--;
        else if (at != SPOT_NOWHERE)
            left--;
    }
    outcome.missed = step > job->span;
    return outcome;
}

/* ---- the optimum ------------------------------------------------------------------------- */

static int64_t least3(int64_t a, int64_t b, int64_t c)
{
    a = a < b ? a : b;
    return a < c ? a : c;
}

#define NEVER (INT64_MAX / 4)

/* cost[step][place][left]: the least that remains to be paid. */
static int64_t optimum(const struct task *job)
{
    size_t wide = (size_t)job->work + 1, row = 3 * wide;
    int64_t *cost = mem_alloc(((size_t)job->span + 1) * row, sizeof *cost);
    int64_t result;
    VEC(int64_t) stays = {0}; /* steps that spot capacity stays from here */
    vec_reserve(&stays, (size_t)job->span + 1);
    stays.items[job->span] = 0;
    for (int64_t t = job->span; t-- > 0;)
        stays.items[t] = spot_there(job, t) ? stays.items[t + 1] + 1 : 0;
    for (int64_t t = job->span; t >= 0; t--) {
        for (int64_t left = 0; left <= job->work; left++) {
            int64_t *here = cost + (size_t)t * row;
            int64_t wait = NEVER, demand = NEVER, spot = NEVER, go_demand = NEVER, go_spot = NEVER;
            if (left == 0)
                wait = demand = spot = go_demand = go_spot = 0;
            else if (t < job->span) {
                const int64_t *next = here + row;
                wait = next[left];
                demand = DEMAND_PRICE + next[2 * wide + (size_t)left - 1];
                if (stays.items[t] > 0)
                    spot = SPOT_PRICE + next[wide + (size_t)left - 1];
                if (t + job->change <= job->span) {
                    const int64_t *then = here + (size_t)job->change * row;
                    go_demand = job->change * DEMAND_PRICE + then[2 * wide + (size_t)left];
                    if (stays.items[t] >= job->change)
                        go_spot = job->change * SPOT_PRICE + then[wide + (size_t)left];
                }
            }
            if (job->change == 0) {
                go_demand = demand;
                go_spot = spot;
            }
            here[left] = least3(wait, go_spot, go_demand);
            here[wide + (size_t)left] = least3(here[left], spot, NEVER);
            here[2 * wide + (size_t)left] = least3(here[left], demand, NEVER);
        }
    }
    result = cost[job->work];
    free(cost);
    vec_free(&stays);
    return result;
}

/* ---- tables ------------------------------------------------------------------------------ */

struct sums {
    int64_t jobs;
    __int128 cost[POLICIES_MAX + 1]; /* the last: the optimum */
    int64_t missed[POLICIES_MAX];
};

static void run_one(const struct task *job, struct sums *sums)
{
    int p = 0;
    for (const struct spot_policy *policy; (policy = spot_policy_at(p)); p++) {
        struct outcome outcome = run_job(job, policy);
        sums->cost[p] += outcome.spot * SPOT_PRICE + outcome.demand * DEMAND_PRICE;
        sums->missed[p] += outcome.missed;
    }
    sums->cost[POLICIES_MAX] += optimum(job);
    sums->jobs++;
}

/* The number of nodes that the trace has for that part of the time, in per cent. */
static int32_t need_for(const struct series *series, int percent)
{
    for (int32_t need = 1;; need++) {
        size_t there = 0;
        for (size_t i = 0; i < series->there.count; i++)
            there += series->there.items[i] >= need;
        if (there * 100 < series->there.count * (size_t)percent)
            return need > 1 ? need - 1 : 1;
    }
}

static void run_trace(const struct series *series, uint64_t seed, struct sums *sums)
{
    static const int shares[] = {25, 50, 75, 90};
    static const int64_t works[] = {60, 180, 360};
    static const int tightness[] = {110, 125, 150, 175, 200};
    static const int64_t changes[] = {3, 6, 12};
    struct prng prng = {seed};
    int32_t last = 0;
    for (size_t n = 0; n < ARRAY_LEN(shares); n++) {
        int32_t need = need_for(series, shares[ARRAY_LEN(shares) - 1 - n]);
        if (need == last)
            continue;
        last = need;
        for (size_t w = 0; w < ARRAY_LEN(works); w++) {
            for (size_t t = 0; t < ARRAY_LEN(tightness); t++) {
                for (size_t c = 0; c < ARRAY_LEN(changes); c++) {
                    for (int s = 0; s < STARTS; s++) {
                        struct task job = {.series = series, .need = need, .work = works[w]};
                        job.change = changes[c];
                        job.span = works[w] * tightness[t] / 100;
                        if (job.span < job.work + 2 * job.change)
                            job.span = job.work + 2 * job.change;
                        job.begin = (int64_t)prng_below(&prng, series->there.count);
                        run_one(&job, sums);
                    }
                }
            }
        }
    }
}

static void print_sums(const char *name, const struct sums *sums)
{
    /* Of the cost of on-demand capacity alone: the last policy. */
    int count = 0;
    while (spot_policy_at(count))
        count++;
    double whole = (double)sums->cost[count - 1];
    printf("%-52.52s %6lld", name, (long long)sums->jobs);
    for (int p = 0; p < count; p++)
        printf("  %6.2f%% %4lld", 100 * (double)sums->cost[p] / whole, (long long)sums->missed[p]);
    printf("  %6.2f%%\n", 100 * (double)sums->cost[POLICIES_MAX] / whole);
}

int main(int argc, char **argv)
{
    struct sums all = {0};
    uint64_t seed = 1;
    printf("%-52s %6s", "cost, of on-demand alone; deadlines missed", "jobs");
    for (int p = 0; spot_policy_at(p); p++)
        printf(" %13.13s", spot_policy_at(p)->name);
    printf("  optimum\n");
    for (int i = 1; i < argc; i++) {
        struct trace_events events = {0};
        struct series series = {0};
        struct sums sums = {0};
        struct error err;
        if (strncmp(argv[i], "--seed=", 7) == 0) {
            seed = strtoull(argv[i] + 7, NULL, 10);
            continue;
        }
        if (trace_events_read(&events, argv[i], &err) < 0) {
            fprintf(stderr, "spot: %s\n", err.text);
            return 1;
        }
        series_make(&series, &events);
        run_trace(&series, seed, &sums);
        const char *base = strrchr(argv[i], '/');
        print_sums(base ? base + 1 : argv[i], &sums);
        all.jobs += sums.jobs;
        for (int p = 0; p <= POLICIES_MAX; p++)
            all.cost[p] += sums.cost[p];
        for (int p = 0; p < POLICIES_MAX; p++)
            all.missed[p] += sums.missed[p];
        trace_events_finish(&events);
        vec_free(&series.there);
    }
    print_sums("all", &all);
    return 0;
}
