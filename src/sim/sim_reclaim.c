/* Reclaiming a guarantee. Two teams, each guaranteed a part of the devices; the first fills the
 * cluster with small preemptible jobs, then the second asks for its part. */
#include "sim/sim_reclaim.h"

#include "sim/invariants.h"
#include "sim/sim_engine.h"

#include <stdio.h>

#define GIB ((int64_t)1 << 30)

enum { ROUNDS_MAX = 60, QUIET_ROUNDS = 30, ROUND_MS = 5000, GRACE_MS = 10 * 1000 };

struct reclaim {
    struct prng prng;
    struct core *core;
    struct sim_store *store;
    struct sim_engine *engine;
    struct sim_txn txn;
    int64_t now_ms;
    int64_t nodes, devices; /* devices of a node */
    int64_t guarantees[2];
    int64_t preempted;
    int64_t named;
};

static const char *const team_names[] = {"borrower", "owner"};

static int put_cluster(struct reclaim *reclaim, struct error *err)
{
    struct node node = {.name = "n",
        .count = reclaim->nodes,
        .type = "gpu",
        .capacity = {64000, 256 * GIB, 256 * GIB, "a100", reclaim->devices * 1000}};
    struct pool pool = {.metadata = {.name = "pool"},
        .engine = ENGINE_SLURM,
        .nodes = {&node, 1},
        .prices = {.currency = "EUR"}};
    if (core_pool_put(reclaim->core, &pool, err) < 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        struct quota quota = {
            .resource = "accelerators", .guarantee = reclaim->guarantees[i] * 1000, .limit = -1};
        struct team team = {.metadata = {.name = team_names[i]},
            .weight_micro = 1000 * 1000,
            .borrow = true,
            .quotas = {&quota, 1},
            .uid = -1,
            .jobs_max = 100000};
        if (core_team_put(reclaim->core, &team, err) < 0)
            return -1;
    }
    return 0;
}

/* Jobs of one device each, as many as the devices given. */
static int submit(struct reclaim *reclaim, int team, int64_t devices, struct error *err)
{
    static const char *command[] = {"true"};
    char name[32];
    uint64_t id;
    for (int64_t i = 0; i < devices; i++) {
        snprintf(name, sizeof name, "job-%lld", (long long)reclaim->named++);
        struct job job = {.metadata = {.name = name, .team = team_names[team]},
            .command = {command, 1},
            .gang = {1, 1, 1},
            .priority = PRIORITY_NORMAL,
            .preemptible = true,
            .preemptions_max = -1,
            .grace_ms = GRACE_MS,
            .resources = {.cpu_milli = 1000,
                .memory_bytes = GIB,
                .accelerator = "a100",
                .accelerator_milli = 1000}};
        if (core_job_submit(reclaim->core, &job, &id, err) < 0)
            return -1;
    }
    return 0;
}

static int round_finish(struct reclaim *reclaim, struct error *err)
{
    core_schedule(reclaim->core);
    sim_txn_collect(&reclaim->txn, reclaim->core, sim_store_next_tick(reclaim->store));
    for (size_t i = 0; i < reclaim->txn.decisions.count; i++)
        reclaim->preempted += reclaim->txn.decisions.items[i].kind == DECISION_STOP;
    if (sim_store_commit(reclaim->store, &reclaim->txn, COMMIT_DONE, err) < 0)
        return -1;
    core_end(reclaim->core);
    sim_engine_reconcile(reclaim->engine, reclaim->core, reclaim->store, reclaim->now_ms);
    if (sim_engine_check(reclaim->engine, err) < 0)
        return -1;
    if (invariants_state(reclaim->store, err) < 0)
        return -1;
    return invariants_admission(reclaim->store, &reclaim->txn, reclaim->now_ms, err);
}

static void round_begin(struct reclaim *reclaim)
{
    struct sim_input input;
    struct sim_answer answer;
    reclaim->now_ms += ROUND_MS;
    sim_engine_advance(reclaim->engine, reclaim->store, reclaim->now_ms);
    core_begin(reclaim->core, reclaim->now_ms);
    while (sim_engine_report(reclaim->engine, reclaim->now_ms, &input))
        sim_input_apply(reclaim->core, &input, &answer);
}

static int rounds(struct reclaim *reclaim, int count, struct error *err)
{
    for (int i = 0; i < count; i++) {
        round_begin(reclaim);
        if (round_finish(reclaim, err) < 0)
            return -1;
    }
    return 0;
}

/* Devices that the team's attempts hold. */
static int64_t held(const struct reclaim *reclaim, int team)
{
    uint64_t id = core_team_find(reclaim->core, team_names[team]);
    int64_t devices = 0;
    for (size_t i = 0; i < sim_store_count(reclaim->store, ROW_ATTEMPT); i++) {
        const struct attempt_row *attempt = sim_store_at(reclaim->store, ROW_ATTEMPT, i);
        const struct job_row *job = sim_store_row(reclaim->store, ROW_JOB, attempt->job);
        devices += job->team == id && attempt->stop_reason == END_NONE;
    }
    return devices;
}

static int fill(struct reclaim *reclaim, struct error *err)
{
    int64_t all = reclaim->nodes * reclaim->devices;
    round_begin(reclaim);
    if (put_cluster(reclaim, err) < 0 || submit(reclaim, 0, all + 2, err) < 0 ||
        round_finish(reclaim, err) < 0 || rounds(reclaim, 4, err) < 0)
        return -1;
    if (held(reclaim, 0) != all)
        return error_set(err, ERR_CORRUPT, "of %lld idle devices %lld are lent", (long long)all,
            (long long)held(reclaim, 0));
    return 0;
}

/* The owner asks; returns the rounds that it took, or -1. */
static int64_t reclaim_guarantee(struct reclaim *reclaim, struct error *err)
{
    round_begin(reclaim);
    if (submit(reclaim, 1, reclaim->guarantees[1], err) < 0 || round_finish(reclaim, err) < 0)
        return -1;
    for (int64_t round = 1; round <= ROUNDS_MAX; round++) {
        if (held(reclaim, 1) >= reclaim->guarantees[1])
            return round;
        if (rounds(reclaim, 1, err) < 0)
            return -1;
    }
    return error_set(err, ERR_CORRUPT,
        "invariant 4: after %d rounds %lld of %lld devices came back", ROUNDS_MAX,
        (long long)held(reclaim, 1), (long long)reclaim->guarantees[1]);
}

static int run(struct reclaim *reclaim, struct sim_reclaim_result *result, struct error *err)
{
    if (fill(reclaim, err) < 0)
        return -1;
    result->rounds = reclaim_guarantee(reclaim, err);
    if (result->rounds < 0 || rounds(reclaim, QUIET_ROUNDS, err) < 0)
        return -1;
    int64_t needed = reclaim->guarantees[1];
    result->preempted = reclaim->preempted;
    if (reclaim->preempted > needed)
        return error_set(err, ERR_CORRUPT,
            "invariant 6: %lld attempts are stopped for %lld devices",
            (long long)reclaim->preempted, (long long)needed);
    if (held(reclaim, 0) < reclaim->guarantees[0] || held(reclaim, 1) < reclaim->guarantees[1])
        return error_set(err, ERR_CORRUPT, "invariant 4: in the end %lld and %lld devices are held",
            (long long)held(reclaim, 0), (long long)held(reclaim, 1));
    return 0;
}

int sim_reclaim(uint64_t seed, struct sim_reclaim_result *ret_result, struct error *err)
{
    static const struct sim_faults calm = {.report_delay_ms_max = 3000, .ignores_term = 300};
    struct reclaim reclaim = {.prng = {seed}, .now_ms = INT64_C(1700000000000)};
    struct sim_reclaim_result result = {0};
    reclaim.nodes = sim_between(&reclaim.prng, 1, 4);
    reclaim.devices = sim_between(&reclaim.prng, 2, 8);
    result.devices = reclaim.nodes * reclaim.devices;
    reclaim.guarantees[1] = sim_between(&reclaim.prng, 1, result.devices - 1);
    reclaim.guarantees[0] = sim_between(&reclaim.prng, 0, result.devices - reclaim.guarantees[1]);
    result.guaranteed = reclaim.guarantees[1];
    reclaim.store = sim_store_create();
    reclaim.engine = sim_engine_create(prng_next(&reclaim.prng), &calm);
    sim_engine_set_run_max(reclaim.engine, INT64_C(1000000000000));
    sim_txn_init(&reclaim.txn);
    reclaim.core = sim_store_load(reclaim.store, NULL, err);
    int failed = reclaim.core ? run(&reclaim, &result, err) : -1;
    core_destroy(reclaim.core);
    sim_txn_finish(&reclaim.txn);
    sim_engine_destroy(reclaim.engine);
    sim_store_destroy(reclaim.store);
    if (failed < 0)
        return -1;
    *ret_result = result;
    return 0;
}
