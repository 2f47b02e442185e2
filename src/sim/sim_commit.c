/* Scheduling and the commit: what a tick decided becomes stored or is lost, and the core that comes
 * out of either is the one that the store describes. Invariants: the core decides nothing before
 * the moment it named unless something happened; a core that was loaded anew decides the same; the
 * digest of a loaded core is the one that the last committed state had. */
#include "sim/sim_state.h"

int sim_check_core(const struct sim *sim, const struct core *core, struct error *err)
{
    if (core_check(core, err) < 0)
        return error_prefix(err, "core_check");
    return sim_store_compare(sim->store, core, err);
}

int sim_reload(struct sim *sim, const char *why, struct error *err)
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
    if (sim_check_core(sim, sim->core, err) < 0)
        return error_prefix(err, "invariant 7: after loading");
    return 0;
}

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

int sim_schedule(struct sim *sim, struct error *err)
{
    core_schedule(sim->core);
    int64_t next_ms = core_next_ms(sim->core);
    sim_txn_collect(&sim->txn, sim->core, sim_store_next_tick(sim->store));
    if (next_ms <= sim->core_ms && !sim_wants_more(sim) && !rollout_moved(sim))
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

int sim_commit(struct sim *sim, bool *ret_stored, struct error *err)
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
