/* One seeded run.
 *
 * A step is what the daemon's tick is: inputs, schedule, commit, answers, effects. The seed may
 * stop the machine between any two of these: then the core in memory is gone, reports under way
 * are lost, commands without an answer may or may not be done, and a new core is loaded from what
 * is committed while the engine's world goes on.
 *
 * Invariants of the run itself: the engine sees only what is committed; a command is answered only
 * after its commit; the digest of a loaded core is the one the last committed state had. */
#include "sim/sim_run.h"

#include "base/vec.h"
#include "sim/sim_services.h"
#include "sim/sim_trace.h"

#include <assert.h>
#include <string.h>

enum {
    INPUTS_MAX = 256,  /* of one step */
    CHECK_EVERY = 8,   /* steps between two full looks into the core */
    SHADOW_EVERY = 24, /* steps between two comparisons with a core loaded anew */
    DRAIN_ROUNDS_MAX = 4000,
    LEASE_ROUNDS = 500, /* of these, with replicas that pay for leases.. */
    LEASE_QUIET = 20,   /* ..the last so many without a decision */
    SETTLE_ROUNDS_MAX = 50,
};

/* Where a step is cut off. */
enum cut {
    CUT_NONE,
    CUT_BEFORE_SCHEDULE,
    CUT_BEFORE_COMMIT,
    CUT_BEFORE_ANSWER, /* committed, and nobody was told */
    CUT_BEFORE_EFFECTS,
    CUT_COUNT
};

struct sim {
    const struct sim_options *options;
    struct sim_profile profile;
    struct prng prng;
    struct sim_world world;
    struct sim_engine *engine;
    struct sim_store *store;
    struct core *core;
    struct core *shadow; /* loaded anew before this step, or NULL */
    struct invariants *inv;
    struct sim_trace trace;
    struct sim_txn txn;
    struct arena *arena; /* of this step's inputs */
    VEC(struct sim_input) inputs;
    VEC(struct sim_answer) answers;
    int64_t now_ms;
    int64_t core_ms; /* what time the core believes it is: the greatest it was told */
    int64_t steps;
    int64_t loads;
    int64_t next_ms; /* when the core wanted to be woken, when it was last asked; 0: not known */
    bool fresh;      /* the core was loaded and has not stored anything since */
    uint64_t digest; /* of the committed state, when the step can fail */
    enum cut cut;
    enum commit_fate fate;
    bool calm; /* the drain has begun */
    VEC(struct core_wanted) wanted, shadow_wanted;
    VEC(uint64_t) hopeless; /* services of which a replica was refused, when calm */
};

/* ---- loading --------------------------------------------------------------------------- */

static int check_core(const struct sim *sim, const struct core *core, struct error *err)
{
    if (core_check(core, err) < 0)
        return error_prefix(err, "core_check");
    return sim_store_compare(sim->store, core, err);
}

/* The machine was stopped or a commit failed: everything in memory is gone. */
static int sim_reload(struct sim *sim, const char *why, struct error *err)
{
    sim_trace_note(&sim->trace, sim->now_ms, "load again: %s", why);
    core_destroy(sim->core);
    sim->core = sim_store_load(sim->store, &sim->profile.core, err);
    sim->loads++;
    sim->fresh = true;
    sim->next_ms = 0;
    if (!sim->core)
        return error_prefix(err, "invariant 7: loading");
    if (core_digest(sim->core) != sim->digest)
        return error_set(err, ERR_CORRUPT, "invariant 7: the reloaded state is another one");
    if (check_core(sim, sim->core, err) < 0)
        return error_prefix(err, "invariant 7: after loading");
    return 0;
}

/* ---- inputs ---------------------------------------------------------------------------- */

static void add_input(struct sim *sim, const struct sim_input *input)
{
    if (sim->inputs.count < INPUTS_MAX)
        vec_push(&sim->inputs, *input);
}

static void gather_commands(struct sim *sim)
{
    struct sim_input input;
    int commands = sim_chance(&sim->prng, sim->profile.commands) ? 1 : 0;
    int submits = sim_chance(&sim->prng, sim->profile.submits) ? 1 : 0;
    if (submits && sim_chance(&sim->prng, 200))
        submits += (int)prng_below(&sim->prng, 4);
    for (int i = 0; i < submits; i++)
        if (sim_world_submit(&sim->world, sim->arena, sim->store, sim->now_ms, &input))
            add_input(sim, &input);
    if (commands && sim_chance(&sim->prng, 200))
        commands += (int)prng_below(&sim->prng, 3);
    for (int i = 0; i < commands; i++)
        if (sim_world_command(&sim->world, sim->arena, sim->store, sim->now_ms, &input))
            add_input(sim, &input);
}

static void gather_reports(struct sim *sim)
{
    struct sim_input input;
    while (sim->inputs.count < INPUTS_MAX && sim_engine_report(sim->engine, sim->now_ms, &input))
        add_input(sim, &input);
}

/* What the server's checks find out and its gateway measures. In the drain it gives up on what can
 * not be made. */
static void gather_services(struct sim *sim)
{
    struct sim_input input;
    for (size_t i = 0; i < sim_store_count(sim->store, ROW_REPLICA); i++) {
        const struct replica_row *replica = sim_store_at(sim->store, ROW_REPLICA, i);
        if (sim_replica_check(&sim->prng, sim->store, replica, sim->calm, sim->now_ms, &input))
            add_input(sim, &input);
        if (sim_replica_measure(&sim->prng, replica, &input))
            add_input(sim, &input);
    }
    for (size_t i = 0; i < sim->hopeless.count; i++) {
        input = (struct sim_input){.kind = INPUT_SERVICE_DELETE, .id = sim->hopeless.items[i]};
        add_input(sim, &input);
    }
    vec_clear(&sim->hopeless);
}

static void node_input(
    const struct sim *sim, const struct node_row *node, struct sim_input *ret_input)
{
    const struct pool_row *pool = sim_store_row(sim->store, ROW_POOL, node->pool);
    snprintf(ret_input->pool_name, sizeof ret_input->pool_name, "%.63s",
        sim_store_symbol(sim->store, pool->name));
    snprintf(ret_input->node_name, sizeof ret_input->node_name, "%.63s",
        sim_store_symbol(sim->store, node->name));
}

static void gather_node_wish(struct sim *sim, const struct node_row *node, enum node_wish wish)
{
    struct sim_input input = {.kind = INPUT_NODE_WISH, .wish = wish};
    node_input(sim, node, &input);
    add_input(sim, &input);
}

/* What a refused command and a stale report leave behind: nothing. */
static int check_nothing_done(struct sim *sim, const struct sim_input *input,
    const struct sim_answer *answer, uint64_t before, struct error *err)
{
    bool done = sim_input_is_report(input) ? answer->changed : answer->result == 0;
    if (done || before == sim_core_digest(sim->core))
        return 0;
    return error_set(err, ERR_CORRUPT, "invariant 2: an input that was refused changed the state");
}

static int apply_input(struct sim *sim, const struct sim_input *input, struct error *err)
{
    struct sim_answer answer, shadow_answer;
    bool look = sim_chance(&sim->prng, 60);
    uint64_t before = look ? sim_core_digest(sim->core) : 0;
    bool stale =
        input->kind == INPUT_ATTEMPT_REPORT && !core_attempt(sim->core, input->report.attempt);
    if (input->kind == INPUT_REPLICA_REPORT) {
        const struct job_row *job = core_job(sim->core, input->id);
        stale = !job || job->attempt != input->attempt || job->state != JOB_RUNNING;
    }
    sim_input_apply(sim->core, input, &answer);
    sim_trace_input(&sim->trace, sim->now_ms, input, &answer);
    vec_push(&sim->answers, answer);
    if (stale && answer.changed)
        return error_set(err, ERR_CORRUPT,
            "invariant 2: a report of attempt %llu, which is not"
            " live, changed something",
            (unsigned long long)(input->kind == INPUT_REPLICA_REPORT ? input->attempt
                                                                     : input->report.attempt));
    if (look && check_nothing_done(sim, input, &answer, before, err) < 0)
        return -1;
    if (!sim->shadow)
        return 0;
    sim_input_apply(sim->shadow, input, &shadow_answer);
    if (shadow_answer.result != answer.result || shadow_answer.id != answer.id ||
        shadow_answer.changed != answer.changed)
        return error_set(err, ERR_CORRUPT, "invariant 7: a core loaded anew answers otherwise");
    return 0;
}

/* Loading wakes the core: so that both schedule, the one that lives on is woken as well. */
static void gather_alarm(struct sim *sim)
{
    for (size_t i = 0; sim->shadow && i < sim_store_count(sim->store, ROW_NODE); i++) {
        const struct node_row *node = sim_store_at(sim->store, ROW_NODE, i);
        if (node->cordoned || node->draining || node->leaving)
            continue;
        gather_node_wish(sim, node, NODE_UNCORDON);
        return;
    }
}

static int apply_inputs(struct sim *sim, int64_t told_ms, struct error *err)
{
    vec_clear(&sim->answers);
    core_begin(sim->core, told_ms);
    if (sim->shadow)
        core_begin(sim->shadow, told_ms);
    for (size_t i = 0; i < sim->inputs.count; i++)
        if (apply_input(sim, &sim->inputs.items[i], err) < 0)
            return -1;
    return 0;
}

/* ---- replicas -------------------------------------------------------------------------- */

static void keep_wanted(void *context, const struct core_wanted *wanted)
{
    struct sim *sim = context;
    vec_push(&sim->wanted, *wanted);
}

static void keep_shadow_wanted(void *context, const struct core_wanted *wanted)
{
    struct sim *sim = context;
    vec_push(&sim->shadow_wanted, *wanted);
}

static int wanted_same(const struct sim *sim, struct error *err)
{
    bool same = sim->wanted.count == sim->shadow_wanted.count;
    for (size_t i = 0; same && i < sim->wanted.count; i++) {
        const struct core_wanted *a = &sim->wanted.items[i], *b = &sim->shadow_wanted.items[i];
        same = a->service == b->service && a->revision == b->revision && a->number == b->number &&
               a->arm == b->arm;
    }
    return same ? 0
                : error_set(
                      err, ERR_CORRUPT, "invariant 7: a core loaded anew wants other replicas");
}

static int apply_more(struct sim *sim, const struct sim_input *input, struct error *err)
{
    vec_push(&sim->inputs, *input);
    return apply_input(sim, input, err);
}

/* Makes the job of a replica, or says that it can not be made. */
static int answer_wanted(struct sim *sim, const struct core_wanted *wanted, struct error *err)
{
    struct sim_input input;
    const struct service_row *service = core_service(sim->core, wanted->service);
    const char *team = core_symbol(sim->core, core_team(sim->core, service->team)->name);
    sim_replica_make(sim->arena, arena_printf(sim->arena, "%s", team), wanted, &input);
    if (sim->calm || !sim_chance(&sim->prng, 50)) {
        if (apply_more(sim, &input, err) < 0)
            return -1;
        const struct sim_answer *answer = &sim->answers.items[sim->answers.count - 1];
        if (answer->result == 0)
            return 0;
        if (answer->error.code == ERR_CONFLICT) /* names are as new as the numbers are */
            return error_set(err, ERR_CORRUPT, "invariant 9: a replica is wanted and refused: %s",
                answer->error.text);
    }
    if (sim->calm)
        vec_push(&sim->hopeless, wanted->service);
    input = (struct sim_input){.kind = INPUT_REPLICA_REFUSED, .wanted = *wanted};
    return apply_more(sim, &input, err);
}

static int answer_all_wanted(struct sim *sim, struct error *err)
{
    vec_clear(&sim->wanted);
    vec_clear(&sim->shadow_wanted);
    core_service_wanted(sim->core, keep_wanted, sim);
    if (sim->shadow) {
        core_service_wanted(sim->shadow, keep_shadow_wanted, sim);
        if (wanted_same(sim, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < sim->wanted.count; i++)
        if (answer_wanted(sim, &sim->wanted.items[i], err) < 0)
            return -1;
    return 0;
}

/* Whether replicas are wanted that nobody was asked for yet: stopping others left room for them. */
static bool wants_more(struct sim *sim)
{
    vec_clear(&sim->wanted);
    core_service_wanted(sim->core, keep_wanted, sim);
    return sim->wanted.count > 0;
}

/* ---- schedule and commit ----------------------------------------------------------------- */

/* Nothing happened, and it is not yet the moment that the core named: it decides nothing. */
static int check_quiet(const struct sim *sim, struct error *err)
{
    if (sim->inputs.count || !sim->next_ms || sim->core_ms >= sim->next_ms ||
        !sim->txn.decisions.count)
        return 0;
    return error_set(err, ERR_CORRUPT, "the core decides %s at %lld, it named %lld",
        decision_names[sim->txn.decisions.items[0].kind], (long long)sim->core_ms,
        (long long)sim->next_ms);
}

/* How the decisions of the core that was loaded anew differ, for the message. */
static int shadow_differs(const struct sim *sim, const struct sim_txn *anew, struct error *err)
{
    const struct decision_list *live = &sim->txn.decisions, *other = &anew->decisions;
    size_t i = 0;
    while (i < live->count && i < other->count &&
           sim_trace_decision(0, &live->items[i]) == sim_trace_decision(0, &other->items[i]))
        i++;
    const struct core_decision none = {0};
    const struct core_decision *a = i < live->count ? &live->items[i] : &none;
    const struct core_decision *b = i < other->count ? &other->items[i] : &none;
    return error_set(err, ERR_CORRUPT,
        "invariant 7: a core loaded anew decides otherwise: %zu decisions and %zu, the first that"
        " differs %s of job %llu and %s of job %llu",
        live->count, other->count, a->at_ms ? decision_names[a->kind] : "nothing",
        (unsigned long long)a->job, b->at_ms ? decision_names[b->kind] : "nothing",
        (unsigned long long)b->job);
}

/* The shadow ends here: it has to have decided the same. */
static int schedule_shadow(struct sim *sim, struct error *err)
{
    struct sim_txn anew;
    int result = 0;
    core_schedule(sim->shadow);
    if (core_digest(sim->core) != core_digest(sim->shadow)) {
        sim_txn_init(&anew);
        sim_txn_collect(&anew, sim->shadow, sim->txn.tick);
        result = shadow_differs(sim, &anew, err);
        sim_txn_finish(&anew);
    }
    core_destroy(sim->shadow);
    sim->shadow = NULL;
    return result;
}

/* A rollout that moved may move again in the next tick. */
static bool rollout_moved(const struct sim *sim)
{
    for (size_t i = 0; i < sim->txn.decisions.count; i++) {
        enum decision_kind kind = sim->txn.decisions.items[i].kind;
        if (kind >= DECISION_ROLLOUT_BEGIN && kind <= DECISION_ROLLOUT_ABORT)
            return true;
    }
    return false;
}

static int schedule(struct sim *sim, struct error *err)
{
    core_schedule(sim->core);
    int64_t next_ms = core_next_ms(sim->core);
    sim_txn_collect(&sim->txn, sim->core, sim_store_next_tick(sim->store));
    if (next_ms <= sim->core_ms && !wants_more(sim) && !rollout_moved(sim))
        return error_set(err, ERR_CORRUPT, "it is %lld and the core wants to be woken at %lld",
            (long long)sim->core_ms, (long long)next_ms);
    sim_trace_txn(&sim->trace, sim->store, &sim->txn);
    if (check_quiet(sim, err) < 0)
        return -1;
    sim->next_ms = next_ms;
    return sim->shadow ? schedule_shadow(sim, err) : 0;
}

/* The two looks at a transaction that is, or turns out to be, stored. */
static int look_before(struct sim *sim, struct error *err)
{
    if (sim->fate == COMMIT_FAILS || sim->fate == COMMIT_UNKNOWN_LOST)
        return 0;
    return invariants_change(sim->inv, sim->store, &sim->txn, sim->core_ms, err);
}

static int look_after(struct sim *sim, struct error *err)
{
    if (invariants_state(sim->store, err) < 0)
        return -1;
    if (invariants_admission(sim->store, &sim->txn, sim->core_ms, err) < 0)
        return -1;
    return invariants_time(sim->store, sim->core_ms, err);
}

/* 1: the tick is stored and the core lives on; 0: the core was loaded again. *ret_stored says
 * whether the tick is stored, which answers may say. */
static int commit(struct sim *sim, bool *ret_stored, struct error *err)
{
    struct error outcome = {0};
    if (look_before(sim, err) < 0)
        return -1;
    if (sim_store_commit(sim->store, &sim->txn, sim->fate, &outcome) == 0) {
        *ret_stored = true;
        sim->fresh = false;
        core_end(sim->core);
        return look_after(sim, err) < 0 ? -1 : 1;
    }
    *ret_stored = outcome.code == ERR_UNKNOWN && sim_store_settle(sim->store, sim->txn.tick);
    if (*ret_stored) {
        core_end(sim->core);
        sim->digest = core_digest(sim->core);
        if (look_after(sim, err) < 0)
            return -1;
    }
    return sim_reload(sim, outcome.text, err) < 0 ? -1 : 0;
}

/* ---- answers --------------------------------------------------------------------------- */

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

/* ---- a step ---------------------------------------------------------------------------- */

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
    if (check_core(sim, sim->core, err) < 0)
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
    int alive = commit(sim, &stored, err);
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
    gather_reports(sim);
    gather_services(sim);
    gather_alarm(sim);
    if (apply_inputs(sim, told_ms, err) < 0 || answer_all_wanted(sim, err) < 0)
        return -1;
    if (sim->cut == CUT_BEFORE_SCHEDULE)
        return crash(sim, "crash before the schedule", err);
    if (schedule(sim, err) < 0)
        return -1;
    if (sim->cut == CUT_BEFORE_COMMIT)
        return crash(sim, "crash before the commit", err);
    return step_finish(sim, err);
}

/* Runs one step with the inputs gathered so far. */
static int step(struct sim *sim, struct error *err)
{
    int result = step_run(sim, err);
    vec_clear(&sim->inputs);
    arena_reset(sim->arena);
    sim->steps++;
    return result;
}

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

/* ---- the drain ------------------------------------------------------------------------- */

/* Of three rollouts one is promoted and one aborted; the third ends or pauses by itself. */
static void gather_verdicts(struct sim *sim)
{
    for (size_t i = 0; i < sim_store_count(sim->store, ROW_ROLLOUT); i++) {
        const struct rollout_row *rollout = sim_store_at(sim->store, ROW_ROLLOUT, i);
        static const enum rollout_command orders[] = {
            ROLLOUT_DO_PROMOTE, ROLLOUT_DO_ABORT, ROLLOUT_DO_RESUME};
        struct sim_input input = {.kind = INPUT_ROLLOUT, .id = rollout->service};
        input.rollout = orders[rollout->id % ARRAY_LEN(orders)];
        add_input(sim, &input);
    }
}

/* Every obstacle that people put up is taken away. */
static void gather_relief(struct sim *sim)
{
    gather_verdicts(sim);
    for (size_t i = 0; i < sim_store_count(sim->store, ROW_NODE); i++) {
        const struct node_row *node = sim_store_at(sim->store, ROW_NODE, i);
        struct sim_input input = {.kind = INPUT_NODE_RESERVE};
        node_input(sim, node, &input);
        add_input(sim, &input);
        gather_node_wish(sim, node, NODE_UNCORDON);
    }
    for (size_t i = 0; i < sim_store_count(sim->store, ROW_JOB); i++) {
        const struct job_row *job = sim_store_at(sim->store, ROW_JOB, i);
        struct sim_input input = {.kind = INPUT_JOB_RELEASE, .id = job->id};
        bool alone = job->service && !sim_replica_of(sim->store, job->id);
        if (alone)
            input.kind = INPUT_JOB_CANCEL;
        if (alone || job->state == JOB_HELD)
            add_input(sim, &input);
    }
}

/* Deleting a service has to be enough for its replicas. */
static void gather_cancels(struct sim *sim)
{
    for (size_t i = 0; i < sim_store_count(sim->store, ROW_SERVICE); i++) {
        struct sim_input input = {.kind = INPUT_SERVICE_DELETE,
            .id = sim_row_id(sim_store_at(sim->store, ROW_SERVICE, i))};
        add_input(sim, &input);
    }
    for (size_t i = 0; i < sim_store_count(sim->store, ROW_JOB); i++) {
        struct sim_input input = {
            .kind = INPUT_JOB_CANCEL, .id = sim_row_id(sim_store_at(sim->store, ROW_JOB, i))};
        if (!sim_replica_of(sim->store, input.id))
            add_input(sim, &input);
    }
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
        if (step(sim, err) < 0)
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
    gather_relief(sim);
    if (run_dry(sim, err) < 0 || check_preemptions(sim, preemptions, jobs, err) < 0)
        return -1;
    if (invariants_idle(sim->store, sim->now_ms, err) < 0 ||
        invariants_services_settled(sim->inv, sim->store, err) < 0)
        return -1;
    gather_cancels(sim);
    if (run_dry(sim, err) < 0)
        return -1;
    if (check_core(sim, sim->core, err) < 0)
        return -1;
    return invariants_final(sim->inv, sim->store, err);
}

/* ---- a run ----------------------------------------------------------------------------- */

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
        add_input(sim, &input);
    for (int i = 0; i < steps; i++) {
        if (i > 0)
            gather_commands(sim);
        if (step(sim, err) < 0)
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
