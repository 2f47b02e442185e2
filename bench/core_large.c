/* Large decisions: a gang, a reclaim, and the verdict that a job can never run. */
#include "core_world.h"

#include <string.h>

static void count_kind(void *context, const struct core_decision *decision)
{
    int64_t *counts = context;
    counts[decision->kind]++;
}

/* Nodes of one kind with 8 devices; 4 in an NVLink domain, 16 in a rack, 128 in a block. */
static void plain_open(struct bench *bench, int64_t nodes)
{
    bench_open(bench, "ten", 2);
    struct error err;
    struct node node = {.name = "g",
        .count = nodes,
        .type = "gpu",
        .capacity = {64000, 512 * GIB, 1000 * GIB, "a100", 8000}};
    struct topology_level levels[] = {{.name = "block", .nodes = 128},
        {.name = "rack", .nodes = 16}, {.name = "nvlink", .nodes = 4}};
    struct pool pool = {.metadata = {.name = "large"},
        .engine = ENGINE_SLURM,
        .levels = {levels, 3},
        .nodes = {&node, 1},
        .prices = {.currency = "EUR"}};
    core_begin(bench->core, ++bench->now_ms);
    must(core_pool_put(bench->core, &pool, &err), &err);
    core_end(bench->core);
}

/* level NULL: no topology; devices of each rank. */
static int gang_measure(int64_t nodes, int64_t ranks, int64_t devices, const char *level)
{
    struct bench bench;
    int64_t counts[DECISION_KIND_COUNT] = {0};
    plain_open(&bench, nodes);
    struct job job = {.gang = {.size = ranks},
        .resources = {.cpu_milli = 4000,
            .memory_bytes = 16 * GIB,
            .accelerator_milli = devices * 1000},
        .placement = {.pool = "large"},
        .topology = {.within = level}};
    core_begin(bench.core, ++bench.now_ms);
    bench_submit(&bench, &job);
    int64_t begin_ns = bench_clock_ns();
    core_schedule(bench.core);
    int64_t ns = bench_clock_ns() - begin_ns;
    core_decisions(bench.core, count_kind, counts);
    printf("{\"nodes\": %lld, \"ranks\": %lld, \"admitted\": %lld, \"ms\": %.3f}\n",
        (long long)nodes, (long long)ranks, (long long)counts[DECISION_ADMIT], (double)ns / 1e6);
    bench_finish(&bench);
    return 0;
}

int bench_gang(int64_t nodes, int64_t ranks, const char *level)
{
    return gang_measure(nodes, ranks, 1, level);
}

int bench_whole(int64_t nodes, int64_t ranks)
{
    return gang_measure(nodes, ranks, 8, NULL);
}

/* Every device is taken for an hour or so. A gang has waited for long enough: it gets its promise.
 * The second figure is a pass later on that tries the gang and a small job in vain. */
int bench_promise(int64_t nodes, int64_t ranks)
{
    struct bench bench;
    int64_t counts[DECISION_KIND_COUNT] = {0};
    plain_open(&bench, nodes);
    struct job job = {.gang = {.size = 1},
        .resources = {.cpu_milli = 4000, .memory_bytes = 16 * GIB, .accelerator_milli = 1000},
        .placement = {.pool = "large"}};
    for (int64_t i = 0; i < nodes * 8; i++) {
        job.time_limit_ms = 3600000 + i * 7919 % 3600000;
        bench_submit(&bench, &job);
    }
    bench_tick(&bench);
    job.gang.size = ranks;
    bench_submit(&bench, &job);
    bench_tick(&bench);
    core_begin(bench.core, bench.now_ms += 600000);
    int64_t begin_ns = bench_clock_ns();
    core_schedule(bench.core);
    int64_t ns = bench_clock_ns() - begin_ns;
    core_decisions(bench.core, count_kind, counts);
    core_end(bench.core);
    job.gang.size = 1;
    job.time_limit_ms = 0;
    bench_submit(&bench, &job);
    int64_t later_ns = bench_tick(&bench);
    printf("{\"nodes\": %lld, \"ranks\": %lld, \"promises\": %lld, \"ms\": %.3f, \"later_ms\": "
           "%.3f}\n",
        (long long)nodes, (long long)ranks, (long long)counts[DECISION_PROMISE], (double)ns / 1e6,
        (double)later_ns / 1e6);
    bench_finish(&bench);
    return 0;
}

typedef VEC(uint64_t) id_vec;

static void attempt_note(
    void *context, const struct attempt_row *attempt, const struct attempt_wish *wish)
{
    id_vec *running = context;
    (void)wish;
    vec_push(running, attempt->id);
}

/* Jobs of one device, some of which end before the promise's moment and start around it. */
static void backfill_fill(struct bench *bench, struct job *job, int64_t waiting)
{
    static const int64_t devices[] = {1, 2, 4, 8};
    core_begin(bench->core, ++bench->now_ms);
    for (int64_t i = 0; i < waiting; i++) {
        job->resources.accelerator_milli = devices[i % 4] * 1000;
        job->time_limit_ms = (1 + i % 50) * 600000;
        bench_submit(bench, job);
    }
    core_end(bench->core);
}

__attribute__((noinline)) static int64_t backfill_run(
    struct bench *bench, const id_vec *running, size_t ends)
{
    struct prng prng = {3};
    int64_t ns = 0;
    for (size_t i = 0; i < ends; i++) {
        struct core_report report = {
            .attempt = running->items[prng_below(&prng, running->count)],
            .kind = REPORT_ENDED,
            .reason = END_EXIT,
            .complete = true};
        core_begin(bench->core, ++bench->now_ms);
        int64_t begin_ns = bench_clock_ns();
        core_attempt_report(bench->core, &report);
        core_schedule(bench->core);
        core_end(bench->core);
        ns += bench_clock_ns() - begin_ns;
    }
    return ns;
}

/* Every device is taken, a gang of half of them has its promise, and so many jobs of 200 kinds wait
 * around it: what an end of a job costs then. */
int bench_backfill(int64_t nodes, int64_t waiting)
{
    enum { ENDS = 500 };
    struct bench bench;
    int64_t counts[DECISION_KIND_COUNT] = {0};
    id_vec running = {0};
    plain_open(&bench, nodes);
    struct job job = {.gang = {.size = 1},
        .resources = {.cpu_milli = 4000, .memory_bytes = 16 * GIB, .accelerator_milli = 1000},
        .placement = {.pool = "large"}};
    for (int64_t i = 0; i < nodes * 8; i++) {
        job.time_limit_ms = 3600000 + i * 7919 % 3600000;
        bench_submit(&bench, &job);
    }
    bench_tick(&bench);
    core_attempt_each(bench.core, attempt_note, &running);
    job.gang.size = nodes * 4;
    bench_submit(&bench, &job);
    bench_tick(&bench);
    core_begin(bench.core, bench.now_ms += 600000);
    core_schedule(bench.core);
    core_decisions(bench.core, count_kind, counts);
    core_end(bench.core);
    job.gang.size = 1;
    backfill_fill(&bench, &job, waiting);
    int64_t first_ns = bench_tick(&bench);
    int64_t ns = backfill_run(&bench, &running, ENDS);
    printf("{\"nodes\": %lld, \"waiting\": %lld, \"promises\": %lld, \"first_ms\": %.3f, "
           "\"ends\": %d, \"us_per_end\": %.3f}\n",
        (long long)nodes, (long long)waiting, (long long)counts[DECISION_PROMISE],
        (double)first_ns / 1e6, ENDS, (double)ns / 1e3 / ENDS);
    vec_free(&running);
    bench_finish(&bench);
    return 0;
}

__attribute__((noinline)) static int64_t reclaim_pass(struct core *core)
{
    int64_t begin_ns = bench_clock_ns();
    core_schedule(core);
    return bench_clock_ns() - begin_ns;
}

/* A team that borrows has every device with jobs of one; another asks for all it is guaranteed,
 * with gangs of that many ranks. Timed are the passes until all of it was claimed. */
int bench_reclaim(int64_t nodes, int64_t ranks)
{
    struct bench bench;
    int64_t counts[DECISION_KIND_COUNT] = {0}, before = -1, ns = 0, devices = nodes * 8;
    plain_open(&bench, nodes);
    core_begin(bench.core, ++bench.now_ms);
    bench_team(&bench, "owner", "accelerators", devices * 1000);
    struct job job = {.gang = {.size = 1},
        .resources = {.cpu_milli = 4000, .memory_bytes = 16 * GIB, .accelerator_milli = 1000},
        .placement = {.pool = "large"}};
    for (int64_t i = 0; i < devices; i++)
        bench_submit(&bench, &job);
    bench_tick(&bench);
    core_begin(bench.core, bench.now_ms += 600000);
    job.metadata.team = "owner";
    job.gang.size = ranks;
    for (int64_t i = 0; i < devices / ranks; i++)
        bench_submit(&bench, &job);
    int passes = 0;
    while (counts[DECISION_CLAIM] != before) {
        before = counts[DECISION_CLAIM];
        ns += reclaim_pass(bench.core);
        core_decisions(bench.core, count_kind, counts);
        core_end(bench.core);
        core_begin(bench.core, ++bench.now_ms);
        passes++;
    }
    printf(
        "{\"nodes\": %lld, \"ranks\": %lld, \"stopped\": %lld, \"claims\": %lld, \"passes\": %d, "
        "\"ms\": %.3f}\n",
        (long long)nodes, (long long)ranks, (long long)counts[DECISION_STOP],
        (long long)counts[DECISION_CLAIM], passes, (double)ns / 1e6);
    bench_finish(&bench);
    return 0;
}

int bench_never(const char *mix, int64_t nodes)
{
    enum { TIMES = 100 };
    struct bench bench;
    uint64_t id;
    char name[32];
    struct error err;
    bench_open(&bench, mix, nodes);
    core_begin(bench.core, ++bench.now_ms);
    int64_t worst_ns = 0, sum_ns = 0;
    for (int i = 0; i < TIMES; i++) {
        snprintf(name, sizeof name, "never-%d", i);
        struct job job = {.metadata = {.name = name, .team = "bench"},
            .gang = {.size = 1 + i % 64},
            .priority = PRIORITY_NORMAL,
            .resources = {
                .cpu_milli = 1000000 + i, .memory_bytes = GIB, .accelerator_milli = 8000}};
        int64_t begin_ns = bench_clock_ns();
        int refused = core_job_submit(bench.core, &job, &id, &err);
        int64_t ns = bench_clock_ns() - begin_ns;
        if (refused == 0)
            return 1;
        sum_ns += ns;
        worst_ns = ns > worst_ns ? ns : worst_ns;
    }
    printf("{\"mix\": \"%s\", \"nodes\": %lld, \"times\": %d, \"ms\": %.4f, \"worst_ms\": %.4f}\n",
        mix, (long long)nodes, TIMES, (double)sum_ns / 1e6 / TIMES, (double)worst_ns / 1e6);
    bench_finish(&bench);
    return 0;
}
