/* The decision benchmark: nodes of two kinds, jobs of ten shapes in turn, one team. */
#include "sim/sim_bench.h"

#include "base/memory.h"
#include "core/core.h"

#include <stdio.h>

#define GIB ((int64_t)1 << 30)

enum { PASSES_MAX = 1000 };

static const struct {
    int64_t cpu_milli, memory_gib, accelerator_milli;
} shapes[] = {
    {1000, 2, 0},
    {2000, 4, 0},
    {4000, 8, 0},
    {8000, 16, 0},
    {500, 1, 0},
    {4000, 16, 1000},
    {8000, 32, 2000},
    {16000, 64, 4000},
    {32000, 128, 8000},
    {2000, 8, 1000},
};

static int put_cluster(struct core *core, int64_t nodes, struct error *err)
{
    struct node kinds[] = {
        {.name = "gpu",
            .count = (nodes + 1) / 2,
            .type = "gpu",
            .capacity = {64000, 512 * GIB, 1000 * GIB, "a100", 8000}},
        {.name = "cpu",
            .count = nodes / 2,
            .type = "cpu",
            .capacity = {64000, 256 * GIB, 1000 * GIB, NULL, 0}},
    };
    struct pool pool = {.metadata = {.name = "bench"},
        .engine = ENGINE_SLURM,
        .nodes = {kinds, nodes > 1 ? 2 : 1},
        .prices = {.currency = "EUR"}};
    struct team team = {.metadata = {.name = "bench"},
        .weight_micro = 1000 * 1000,
        .borrow = true,
        .uid = -1,
        .jobs_max = INT64_C(100) * 1000 * 1000};
    if (core_pool_put(core, &pool, err) < 0)
        return -1;
    return core_team_put(core, &team, err);
}

static int submit(struct core *core, int64_t number, struct error *err)
{
    static const char *command[] = {"true"};
    char name[32];
    uint64_t id;
    size_t shape = (size_t)number % ARRAY_LEN(shapes);
    snprintf(name, sizeof name, "job-%lld", (long long)number);
    struct job job = {.metadata = {.name = name, .team = "bench"},
        .command = {command, 1},
        .gang = {1, 1, 1},
        .priority = PRIORITY_NORMAL,
        .preemptions_max = -1,
        .preemptible = true,
        .resources = {.cpu_milli = shapes[shape].cpu_milli,
            .memory_bytes = shapes[shape].memory_gib * GIB,
            .accelerator = shapes[shape].accelerator_milli ? "a100" : NULL,
            .accelerator_milli = shapes[shape].accelerator_milli}};
    return core_job_submit(core, &job, &id, err);
}

static void count_admission(void *context, const struct core_decision *decision)
{
    int64_t *count = context;
    *count += decision->kind == DECISION_ADMIT;
}

/* One pass. Returns how many attempts it admitted. */
static int64_t pass(struct core *core, int64_t (*clock_ns)(void), int64_t *schedule_ns)
{
    int64_t admitted = 0, begin_ns = clock_ns();
    core_schedule(core);
    *schedule_ns += clock_ns() - begin_ns;
    core_decisions(core, count_admission, &admitted);
    core_end(core);
    return admitted;
}

static int bench_run(struct core *core, int64_t nodes, int64_t jobs, int64_t (*clock_ns)(void),
    struct sim_bench_result *result, struct error *err)
{
    int64_t now_ms = INT64_C(1700000000000);
    struct core_counts counts;
    core_begin(core, now_ms);
    if (put_cluster(core, nodes, err) < 0)
        return -1;
    int64_t begin_ns = clock_ns();
    for (int64_t i = 0; i < jobs; i++)
        if (submit(core, i, err) < 0)
            return -1;
    result->submit_ns = clock_ns() - begin_ns;
    for (int i = 0; i < PASSES_MAX; i++) {
        int64_t admitted = pass(core, clock_ns, &result->schedule_ns);
        result->decisions += admitted;
        if (!admitted)
            break;
        core_begin(core, ++now_ms);
    }
    result->placed = result->decisions; /* gangs of one */
    core_count(core, &counts);
    result->jobs_live = counts.jobs_live;
    result->bytes = counts.bytes;
    return 0;
}

int sim_bench(int64_t nodes, int64_t jobs, int64_t (*clock_ns)(void),
    struct sim_bench_result *ret_result, struct error *err)
{
    struct sim_bench_result result = {0};
    struct core *core = core_create(NULL);
    int failed = core_load_end(core, err);
    if (failed == 0)
        failed = bench_run(core, nodes, jobs, clock_ns, &result, err);
    core_destroy(core);
    if (failed < 0)
        return -1;
    *ret_result = result;
    return 0;
}
