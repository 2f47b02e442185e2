/* A step is what the daemon's tick is: inputs, schedule, commit, answers, effects. The seed may
 * stop the machine between any two of these: then the core in memory is gone, reports under way
 * are lost, commands without an answer may or may not be done, and a new core is loaded from what
 * is committed while the engine's world goes on.
 *
 * Invariants: the engine sees only what is committed; a command is answered only after its commit.
 */
#include "sim/sim_state.h"

#include <string.h>

enum {
    CHECK_EVERY = 8,   /* steps between two full looks into the core */
    SHADOW_EVERY = 24, /* steps between two comparisons with a core loaded anew */
};

static const char *input_subject(const struct sim_input *input)
{
    if (input->kind == INPUT_POOL_PUT)
        return input->pool.metadata.name;
    if (input->kind == INPUT_TEAM_PUT)
        return input->team.metadata.name;
    return input->name ? input->name : "";
}

/* One names its service, the other has its id: they may be about the same one. */
static bool sizes_both(const struct sim_input *a, const struct sim_input *b)
{
    return (a->kind == INPUT_SERVICE_PUT && b->kind == INPUT_SERVICE_SCALE) ||
           (a->kind == INPUT_SERVICE_SCALE && b->kind == INPUT_SERVICE_PUT);
}

/* Whether a later command of the same step is about the same thing. */
static bool is_overtaken(const struct sim *sim, size_t i)
{
    const struct sim_input *input = &sim->inputs.items[i];
    for (size_t k = i + 1; k < sim->inputs.count; k++) {
        const struct sim_input *later = &sim->inputs.items[k];
        if (sizes_both(input, later))
            return true;
        if (!sim_input_is_report(later) && later->id == input->id &&
            strcmp(input_subject(later), input_subject(input)) == 0)
            return true;
    }
    return false;
}

static int answer_commands(struct sim *sim, struct error *err)
{
    for (size_t i = 0; i < sim->inputs.count; i++) {
        const struct sim_input *input = &sim->inputs.items[i];
        if (sim_input_is_report(input) || sim->answers.items[i].result < 0 ||
            (input->kind != INPUT_JOB_SUBMIT && input->kind != INPUT_REPLICA_SUBMIT &&
                is_overtaken(sim, i)))
            continue;
        if (invariants_answered(sim->inv, sim->store, input, &sim->answers.items[i], err) < 0)
            return -1;
    }
    return 0;
}

static void choose_cut(struct sim *sim)
{
    const struct sim_faults *faults = &sim->profile.faults;
    sim->cut = CUT_NONE;
    sim->fate = COMMIT_DONE;
    if (sim->calm || sim->steps == 0)
        return;
    if (sim_chance(&sim->prng, faults->crash))
        sim->cut = (enum cut)sim_between(&sim->prng, CUT_NONE + 1, CUT_COUNT - 1);
    else if (sim_chance(&sim->prng, faults->commit_fails))
        sim->fate = COMMIT_FAILS;
    else if (sim_chance(&sim->prng, faults->commit_unknown))
        sim->fate = sim_chance(&sim->prng, 500) ? COMMIT_UNKNOWN_DONE : COMMIT_UNKNOWN_LOST;
}

static int crash(struct sim *sim, const char *where, struct error *err)
{
    core_destroy(sim->shadow);
    sim->shadow = NULL;
    sim_engine_disconnect(sim->engine);
    return sim_reload(sim, where, err);
}

static int look_inside(struct sim *sim, struct error *err)
{
    if (sim->steps % CHECK_EVERY != 0)
        return 0;
    if (sim_check_core(sim, sim->core, err) < 0)
        return -1;
    if (sim->steps % SHADOW_EVERY != 0)
        return 0;
    sim->shadow = sim_store_load(sim->store, &sim->profile.core, err);
    if (!sim->shadow)
        return error_prefix(err, "invariant 7: loading");
    return core_digest(sim->shadow) == core_digest(sim->core)
               ? 0
               : error_set(err, ERR_CORRUPT, "invariant 7: a core loaded anew is another one");
}

/* From the commit on. */
static int step_finish(struct sim *sim, struct error *err)
{
    bool stored = false;
    int alive = sim_commit(sim, &stored, err);
    if (alive < 0)
        return -1;
    if (sim->cut == CUT_BEFORE_ANSWER) {
        sim->digest = core_digest(sim->core);
        return crash(sim, "crash before the answers", err);
    }
    if (stored && answer_commands(sim, err) < 0)
        return -1;
    if (sim->cut == CUT_BEFORE_EFFECTS) {
        sim->digest = core_digest(sim->core);
        return crash(sim, "crash before the effects", err);
    }
    sim_engine_reconcile(sim->engine, sim->core, sim->store, sim->now_ms);
    return sim_engine_check(sim->engine, err);
}

static int step_run(struct sim *sim, struct error *err)
{
    int64_t told_ms = sim->now_ms;
    choose_cut(sim);
    if (look_inside(sim, err) < 0)
        return -1;
    if (sim->cut != CUT_NONE || sim->fate != COMMIT_DONE)
        sim->digest = core_digest(sim->core);
    if (!sim->calm && !sim->fresh && !sim->shadow &&
        sim_chance(&sim->prng, sim->profile.faults.clock_back))
        told_ms -= sim_between(&sim->prng, 1, 3600 * 1000);
    if (told_ms > sim->core_ms)
        sim->core_ms = told_ms;
    sim_engine_advance(sim->engine, sim->store, sim->now_ms);
    sim_gather_reports(sim);
    sim_gather_services(sim);
    sim_gather_alarm(sim);
    if (sim_apply(sim, told_ms, err) < 0 || sim_answer_wanted(sim, err) < 0)
        return -1;
    if (sim->cut == CUT_BEFORE_SCHEDULE)
        return crash(sim, "crash before the schedule", err);
    if (sim_schedule(sim, err) < 0)
        return -1;
    if (sim->cut == CUT_BEFORE_COMMIT)
        return crash(sim, "crash before the commit", err);
    return step_finish(sim, err);
}

int sim_step(struct sim *sim, struct error *err)
{
    int result = step_run(sim, err);
    vec_clear(&sim->inputs);
    arena_reset(sim->arena);
    sim->steps++;
    return result;
}
