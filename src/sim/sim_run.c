/* One seeded run: steps with faults (sim_step.c), and then the drain, in which nothing fails and
 * every obstacle is taken away, until nothing is left. */
#include "sim/sim_run.h"

#include "sim/sim_services.h"
#include "sim/sim_state.h"

enum {
    DRAIN_ROUNDS_MAX = 4000,
    LEASE_ROUNDS = 500, /* of these, with replicas that pay for leases.. */
    LEASE_QUIET = 20,   /* ..the last so many without a decision */
};

static void pass_time(struct sim *sim)
{
    int64_t next_ms = core_next_ms(sim->core);
    uint64_t how = prng_below(&sim->prng, 100);
    if (how < 15)
        return;
    if (how < 40 && next_ms < sim->now_ms + 15 * sim->profile.step_ms_max) {
        if (next_ms > sim->now_ms)
            sim->now_ms = next_ms;
    } else if (how < 95)
        sim->now_ms += sim_between(&sim->prng, 0, sim->profile.step_ms_max);
    else
        sim->now_ms += sim_between(&sim->prng, 0, 15 * sim->profile.step_ms_max);
}

/* Replicas under a burst policy pay for one lease after the other, for ever. */
static bool anybody_pays(const struct sim *sim)
{
    bool pays = false;
    for (size_t i = 0; i < sim_store_count(sim->store, ROW_BROKER); i++)
        pays |= ((const struct broker_row *)sim_store_at(sim->store, ROW_BROKER, i))->lease_ms > 0;
    return pays;
}

/* Goes from event to event until nothing more happens, or nothing but paying has for a while. */
static int run_dry(struct sim *sim, struct error *err)
{
    int quiet = 0;
    for (int round = 0; round < DRAIN_ROUNDS_MAX; round++) {
        if (sim_step(sim, err) < 0)
            return -1;
        quiet = sim->txn.decisions.count ? 0 : quiet + 1;
        if (round > LEASE_ROUNDS && quiet > LEASE_QUIET && anybody_pays(sim))
            return 0;
        int64_t next_ms = core_next_ms(sim->core);
        int64_t world_ms = sim_engine_next_ms(sim->engine);
        int64_t ready_ms = sim_replicas_next_ms(sim->store, sim->now_ms);
        if (world_ms < next_ms)
            next_ms = world_ms;
        if (ready_ms < next_ms)
            next_ms = ready_ms;
        bool left =
            sim_store_count(sim->store, ROW_JOB) || sim_store_count(sim->store, ROW_SERVICE);
        if (next_ms == INT64_MAX || !left)
            return 0;
        if (next_ms > sim->now_ms)
            sim->now_ms = next_ms;
        else
            sim->now_ms++;
    }
    return error_set(err, ERR_CORRUPT,
        "invariant 1: %zu jobs are left after %d rounds without"
        " faults",
        sim_store_count(sim->store, ROW_JOB), DRAIN_ROUNDS_MAX);
}

/* Without faults, jobs preempt each other a few times at most and then run to their ends. */
static int check_preemptions(const struct sim *sim, uint64_t before, size_t jobs, struct error *err)
{
    uint64_t preemptions = invariants_count(sim->inv)->preemptions - before;
    if (preemptions <= 2 * jobs + 8)
        return 0;
    return error_set(err, ERR_CORRUPT, "invariant 6: %llu preemptions among %zu jobs",
        (unsigned long long)preemptions, jobs);
}

static size_t replicas_at_most(const struct sim *sim)
{
    size_t count = 0;
    for (size_t i = 0; i < sim_store_count(sim->store, ROW_SERVICE); i++) {
        const struct service_row *service = sim_store_at(sim->store, ROW_SERVICE, i);
        count += (size_t)(ARM_COUNT * service->replicas + service->surge);
    }
    return count;
}

static int drain(struct sim *sim, struct error *err)
{
    uint64_t preemptions = invariants_count(sim->inv)->preemptions;
    size_t jobs = sim_store_count(sim->store, ROW_JOB) + replicas_at_most(sim);
    sim_trace_note(&sim->trace, sim->now_ms, "the faults end");
    sim->calm = true;
    sim_engine_calm(sim->engine, sim->now_ms);
    sim_gather_relief(sim);
    if (run_dry(sim, err) < 0 || check_preemptions(sim, preemptions, jobs, err) < 0)
        return -1;
    if (invariants_idle(sim->store, sim->now_ms, err) < 0 ||
        invariants_services_settled(sim->inv, sim->store, err) < 0)
        return -1;
    sim_gather_cancels(sim);
    if (run_dry(sim, err) < 0)
        return -1;
    if (sim_check_core(sim, sim->core, err) < 0)
        return -1;
    return invariants_final(sim->inv, sim->store, err);
}

static const struct sim_profile *choose_profile(const struct sim_options *options)
{
    size_t count = 0;
    if (options->profile)
        return options->profile;
    while (sim_profiles[count].name)
        count++;
    return &sim_profiles[options->seed % count];
}

static void sim_init(struct sim *sim, const struct sim_options *options)
{
    *sim = (struct sim){.options = options, .profile = *choose_profile(options)};
    if (options->jobs_live_max)
        sim->profile.jobs_live_max = options->jobs_live_max;
    struct prng seeds = {options->seed};
    sim->prng.state = prng_next(&seeds);
    sim_world_init(&sim->world, &sim->profile, prng_next(&seeds));
    sim->engine = sim_engine_create(prng_next(&seeds), &sim->profile.faults);
    sim_engine_set_run_max(sim->engine, sim->profile.run_ms_max);
    sim->store = sim_store_create();
    sim->inv = invariants_create();
    sim->arena = arena_create();
    sim_txn_init(&sim->txn);
    sim_trace_init(&sim->trace, options->trace);
    sim->now_ms = INT64_C(1700000000000);
}

static void sim_finish(struct sim *sim)
{
    core_destroy(sim->shadow);
    core_destroy(sim->core);
    sim_store_destroy(sim->store);
    sim_engine_destroy(sim->engine);
    invariants_destroy(sim->inv);
    sim_txn_finish(&sim->txn);
    sim_trace_finish(&sim->trace);
    arena_destroy(sim->arena);
    vec_free(&sim->inputs);
    vec_free(&sim->answers);
    vec_free(&sim->wanted);
    vec_free(&sim->shadow_wanted);
    vec_free(&sim->hopeless);
}

static int sim_steps(struct sim *sim, struct error *err)
{
    struct sim_input input;
    int steps = sim->options->steps ? sim->options->steps : sim->profile.steps;
    for (int i = 0; sim_world_setup(&sim->world, sim->arena, i, &input); i++)
        sim_add(sim, &input);
    for (int i = 0; i < steps; i++) {
        if (i > 0)
            sim_gather_commands(sim);
        if (sim_step(sim, err) < 0)
            return -1;
        pass_time(sim);
    }
    return drain(sim, err);
}

int sim_run(const struct sim_options *options, struct sim_result *ret_result, struct error *err)
{
    struct sim sim;
    sim_init(&sim, options);
    sim.core = sim_store_load(sim.store, &sim.profile.core, err);
    int result = sim.core ? sim_steps(&sim, err) : -1;
    if (result < 0) {
        error_prefix(err, "step %lld", (long long)sim.steps);
        sim_trace_note(&sim.trace, sim.now_ms, "%s", err ? err->text : "failed");
    }
    *ret_result = (struct sim_result){.digest = sim.trace.digest,
        .steps = sim.steps,
        .loads = sim.loads,
        .counts = *invariants_count(sim.inv)};
    sim_finish(&sim);
    return result;
}
