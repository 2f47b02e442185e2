/* The workloads of Kueue's own performance tests (kubernetes-sigs/kueue,
 * test/performance/scheduler, configs/baseline and large-scale) in virtual time: queues with a
 * quota in cohorts whose members borrow from each other, three sizes of workloads, each created at
 * its interval and done after its time. A workload that is preempted begins anew. */
#include "base/map.h"
#include "core_world.h"

enum { KINDS = 3, TIMES_MAX = 1024, QUOTA = 20, NODE_CPUS = 100 };

struct workload {
    int64_t count, interval_ms, runtime_ms, priority, cpus;
};

static const struct workload baseline[KINDS] = {
    {350, 100, 200, 50, 1}, {100, 500, 500, 100, 5}, {50, 1200, 1000, 200, 20}};
static const struct workload large[KINDS] = {
    {33, 20, 50, 50, 1}, {12, 50, 100, 100, 5}, {5, 200, 200, 200, 20}};

struct kueue {
    struct bench bench;
    const struct workload *kinds;
    int64_t cohorts, queues; /* of each cohort */
    int64_t created, admitted, preempted, done, all;
    struct idmap kind_of;          /* by job: 1 + its kind */
    VEC(uint64_t) ends[TIMES_MAX]; /* attempts by the moment at which they are done */
    VEC(uint64_t) stops, starts, start_jobs;
};

static void put_team(
    struct kueue *kueue, const char *name, const char *parent, int64_t guarantee, int64_t limit)
{
    struct error err;
    struct quota quota = {.resource = "cpu", .guarantee = guarantee * 1000, .limit = limit * 1000};
    struct team team = {.metadata = {.name = name},
        .parent = parent,
        .weight_micro = 1000 * 1000,
        .borrow = true,
        .uid = -1,
        .quotas = {&quota, 1},
        .jobs_max = 1000 * 1000};
    must(core_team_put(kueue->bench.core, &team, &err), &err);
}

static void kueue_open(struct kueue *kueue)
{
    struct bench *bench = &kueue->bench;
    struct error err;
    char cohort[32], queue[32];
    bench_open(bench, "ten", 2);
    core_begin(bench->core, ++bench->now_ms);
    struct node node = {.name = "k",
        .count = kueue->cohorts * kueue->queues * QUOTA * 2 / NODE_CPUS,
        .type = "cpu",
        .capacity = {NODE_CPUS * 1000, 512 * GIB, 0, NULL, 0}};
    struct pool pool = {.metadata = {.name = "kueue"},
        .engine = ENGINE_KUBERNETES,
        .nodes = {&node, 1},
        .prices = {.currency = "EUR"}};
    must(core_pool_put(bench->core, &pool, &err), &err);
    for (int64_t c = 0; c < kueue->cohorts; c++) {
        snprintf(cohort, sizeof cohort, "cohort-%d", (int)c);
        put_team(kueue, cohort, NULL, kueue->queues * QUOTA, kueue->queues * QUOTA);
        for (int64_t q = 0; q < kueue->queues; q++) {
            snprintf(queue, sizeof queue, "cq-%d-%d", (int)c, (int)q);
            put_team(kueue, queue, cohort, QUOTA, QUOTA + 100);
        }
    }
    core_end(bench->core);
}

static void create(struct kueue *kueue, int64_t cohort, int64_t queue, int kind)
{
    char name[32];
    snprintf(name, sizeof name, "cq-%d-%d", (int)cohort, (int)queue);
    struct job job = {.metadata = {.team = name},
        .priority = (int64_t)kueue->kinds[kind].priority,
        .resources = {.cpu_milli = kueue->kinds[kind].cpus * 1000, .memory_bytes = MIB},
        .placement = {.pool = "kueue"}};
    uint64_t id = bench_submit(&kueue->bench, &job);
    idmap_put(&kueue->kind_of, id, (void *)(uintptr_t)(kind + 1));
    kueue->created++;
}

/* Those of every queue whose moment it is. */
static void create_due(struct kueue *kueue, int64_t ms)
{
    for (int kind = 0; kind < KINDS; kind++) {
        const struct workload *of = &kueue->kinds[kind];
        if (ms % of->interval_ms || ms / of->interval_ms >= of->count)
            continue;
        for (int64_t c = 0; c < kueue->cohorts; c++)
            for (int64_t q = 0; q < kueue->queues; q++)
                create(kueue, c, q, kind);
    }
}

static void hear(void *context, const struct core_decision *decision)
{
    struct kueue *kueue = context;
    if (decision->kind == DECISION_ADMIT) {
        vec_push(&kueue->starts, decision->attempt);
        vec_push(&kueue->start_jobs, decision->job);
    } else if (decision->kind == DECISION_STOP) {
        vec_push(&kueue->stops, decision->attempt);
    } else if (decision->kind == DECISION_JOB_END) {
        kueue->done++;
    }
}

static void report(
    struct kueue *kueue, uint64_t attempt, enum report_kind kind, enum end_reason reason)
{
    struct core_report report = {
        .attempt = attempt, .kind = kind, .reason = reason, .complete = reason == END_SUCCEEDED};
    core_attempt_report(kueue->bench.core, &report);
}

/* The part of the engines: what was admitted runs from now on, what was told to stop has. */
static void obey(struct kueue *kueue, int64_t ms)
{
    for (size_t i = 0; i < kueue->starts.count; i++) {
        int kind = (int)(uintptr_t)idmap_get(&kueue->kind_of, kueue->start_jobs.items[i]) - 1;
        report(kueue, kueue->starts.items[i], REPORT_STARTED, END_NONE);
        vec_push(
            &kueue->ends[(ms + kueue->kinds[kind].runtime_ms) % TIMES_MAX], kueue->starts.items[i]);
    }
    for (size_t i = 0; i < kueue->stops.count; i++)
        report(kueue, kueue->stops.items[i], REPORT_ENDED, END_SIGNAL);
    kueue->admitted += (int64_t)kueue->starts.count;
    kueue->preempted += (int64_t)kueue->stops.count;
    vec_clear(&kueue->starts);
    vec_clear(&kueue->start_jobs);
    vec_clear(&kueue->stops);
}

static void kueue_tick(struct kueue *kueue, int64_t ms)
{
    struct core *core = kueue->bench.core;
    core_begin(core, ++kueue->bench.now_ms);
    create_due(kueue, ms);
    for (size_t i = 0; i < kueue->ends[ms % TIMES_MAX].count; i++)
        report(kueue, kueue->ends[ms % TIMES_MAX].items[i], REPORT_ENDED, END_SUCCEEDED);
    vec_clear(&kueue->ends[ms % TIMES_MAX]);
    core_schedule(core);
    core_decisions(core, hear, kueue);
    core_end(core);
    obey(kueue, ms);
}

int bench_kueue(int64_t cohorts, int64_t queues)
{
    enum { MS_MAX = 1000 * 1000 };
    struct kueue *kueue = mem_alloc(1, sizeof *kueue);
    int64_t ms = 0;
    kueue->kinds = queues < 50 ? baseline : large;
    kueue->cohorts = cohorts;
    kueue->queues = queues;
    kueue_open(kueue);
    for (int kind = 0; kind < KINDS; kind++)
        kueue->all += kueue->kinds[kind].count * cohorts * queues;
    int64_t begin_ns = bench_clock_ns();
    for (; kueue->done < kueue->all && ms < MS_MAX; ms++)
        kueue_tick(kueue, ms);
    int64_t ns = bench_clock_ns() - begin_ns;
    printf("{\"queues\": %lld, \"workloads\": %lld, \"done\": %lld, \"admitted\": %lld, "
           "\"preempted\": %lld, \"virtual_s\": %.3f, \"workloads_per_s\": %.0f}\n",
        (long long)(cohorts * queues), (long long)kueue->all, (long long)kueue->done,
        (long long)kueue->admitted, (long long)kueue->preempted, (double)ms / 1e3,
        (double)kueue->done / ((double)ns / 1e9));
    for (int i = 0; i < TIMES_MAX; i++)
        vec_free(&kueue->ends[i]);
    vec_free(&kueue->starts);
    vec_free(&kueue->start_jobs);
    vec_free(&kueue->stops);
    idmap_finish(&kueue->kind_of);
    bench_finish(&kueue->bench);
    free(kueue);
    return 0;
}
