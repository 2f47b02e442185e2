/* Pools with a burst policy: who may come, why, and within which budget.
 *
 * A job comes when every other pool makes it wait for longer than the policy says: what it has
 * waited in the queue plus what is foreseen; when it would miss its deadline elsewhere; or when no
 * other pool could hold it. What is foreseen is when those that run leave room for it by their time
 * limits (project.c), plus the work of those that wait before it, spread over the nodes that it may
 * use. Nothing is foreseen of attempts without a time limit: then only what it has waited counts.
 * Where somebody runs the state forward, a fresh forecast decides in place of that
 * (burst_forecast.c).
 *
 * Invariants:
 * - When a job comes, what has been spent in the period, what is reserved for those that run and
 *   what it may cost at most (its place until its time limit or deadline and grace, its egress) are
 *   within the budget together. A job without either bound does not come.
 * - The reservation is a column of the job's row and lasts as long as its attempt; then what the
 *   attempt did cost is spent. So a budget is passed only by what engines take longer to stop.
 * - It comes at once, from the queue: it has no claim, and nobody is stopped for it. So it never
 *   starts in two pools, nor are others preempted for it elsewhere.
 * - Refusals by budget, missing bound or jurisdiction are decisions, which are audited, once until
 *   the verdict changes. A look costs a walk over nodes, so looks of a job are LOOK_MS apart, and
 *   there is none while nothing changed that may undo the verdict. */
#include "core/burst.h"
#include "core/attempt.h"
#include "core/broker.h"
#include "core/copies.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/preempt.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/table.h"

#include <assert.h>

enum {
    SEEKS_PER_PASS = 16, /* jobs that are looked at in a pass */
    LOOK_MS = 30 * 1000, /* between two looks at a job */
    LOOK_SHARE = 8,      /* or this share of what the policy says, if that is longer */
    SHORT_MS = 1000,     /* for those that a pass did not come to */
};
#define NANO_MICRO 1000

void burst_judge(
    struct core *core, struct live_job *job, struct live_pool *pool, struct core_pool_view *view)
{
    struct elsewhere elsewhere = burst_elsewhere(core, job);
    struct burst_answer answer;
    burst_ask(core, job, &elsewhere, pool, &answer);
    plan_finish(&answer.plan);
    view->burst = answer.verdict;
    view->wait_ms = elsewhere.wait_ms;
    view->forecast_ms = elsewhere.forecast_ms;
    view->start_ms = elsewhere.start_ms;
    view->unsure = elsewhere.sure_ms > 0;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static bool comes(enum burst_verdict verdict)
{
    return verdict >= BURST_FOR_WAIT;
}

/* Whether a is the better answer: one that lets it come before one that does not, of those the
 * cheaper, where that can be compared; of refusals the one that came furthest. */
static bool answer_better(const struct burst_answer *a, const struct burst_answer *b)
{
    if (comes(a->verdict) && comes(b->verdict))
        return a->pool->row.currency == b->pool->row.currency &&
               a->reserve_micro < b->reserve_micro;
    return a->verdict > b->verdict;
}

/* When the answer may become another by time alone, or MOMENT_NEVER. */
static int64_t changes_ms(const struct core *core, const struct live_job *job,
    const struct elsewhere *elsewhere, const struct burst_answer *answer)
{
    const struct pool_row *pool = &answer->pool->row;
    int64_t after_ms = pool->burst_after_ms;
    int64_t look_ms = core->now_ms + most(LOOK_MS, after_ms / LOOK_SHARE);
    if (elsewhere->sure_ms)
        look_ms = least(look_ms, elsewhere->sure_ms);
    else if (elsewhere->forecast_ms && !core->forward)
        look_ms = least(look_ms, elsewhere->forecast_ms + CORE_FORECAST_FRESH_MS + 1);
    if (answer->verdict == BURST_SOON)
        return least(burst_since_ms(job) + after_ms + 1, look_ms);
    /* A period that is over counts as a new one already. */
    int64_t end_ms = pool->burst_begin_ms + pool->burst_period_ms;
    if (answer->verdict == BURST_OVER_BUDGET && pool->burst_spent_micro && end_ms > core->now_ms)
        return end_ms;
    return MOMENT_NEVER;
}

/* The best answer of all pools with a policy; *ret_due_ms: when the first of them may give another
 * by time alone. */
static struct burst_answer ask_all(struct core *core, const struct live_job *job,
    const struct elsewhere *elsewhere, int64_t *ret_due_ms)
{
    struct burst_answer best = {.verdict = BURST_NONE};
    *ret_due_ms = MOMENT_NEVER;
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool) {
        struct burst_answer answer;
        if (!pool->row.burst_budget_micro)
            continue;
        burst_ask(core, job, elsewhere, pool, &answer);
        *ret_due_ms = least(*ret_due_ms, changes_ms(core, job, elsewhere, &answer));
        bool better = answer_better(&answer, &best);
        plan_finish(better ? &best.plan : &answer.plan);
        best = better ? answer : best;
    }
    return best;
}

static struct live_broker *row_of(struct core *core, struct live_job *job)
{
    if (!job->links->broker) {
        struct live_broker *broker = mem_alloc(1, sizeof *broker);
        broker->row.job = job->row.id;
        change_new(core, ROW_BROKER, &broker->item);
        job_link(core, job)->broker = broker;
    }
    return job->links->broker;
}

static void burst_decide(struct core *core, const struct live_job *job, enum decision_kind kind,
    const struct burst_answer *answer, const struct elsewhere *elsewhere)
{
    decide(core, (struct core_decision){.kind = kind,
                     .job = job->row.id,
                     .team = job->row.team,
                     .attempt = job->row.attempt,
                     .pool = answer->pool->row.id,
                     .burst = (int32_t)answer->verdict,
                     .wait_ms = elsewhere->wait_ms,
                     .cost_micro = answer->reserve_micro,
                     .forecast_ms = elsewhere->forecast_ms});
}

void burst_period_settle(struct core *core, struct live_pool *pool)
{
    struct pool_row *row = &pool->row;
    int64_t passed_ms = core->now_ms - row->burst_begin_ms;
    if (!row->burst_period_ms || passed_ms < row->burst_period_ms)
        return;
    row->burst_begin_ms += passed_ms / row->burst_period_ms * row->burst_period_ms;
    row->burst_spent_micro = 0;
    change_put(core, &pool->item);
}

static void burst_admit(struct core *core, struct live_job *job, const struct burst_answer *answer,
    const struct elsewhere *elsewhere)
{
    struct broker_row *row = &job->links->broker->row;
    struct live_pool *pool = answer->pool;
    burst_period_settle(core, pool);
    assert(answer->reserve_micro <= burst_left_micro(core, pool) && !row->pool);
    row->pool = pool->row.id;
    row->reserved_micro = answer->reserve_micro;
    row->egress_micro = answer->egress_micro;
    row->look_ms = row->due_ms = 0;
    row->booked_micro = 0;
    row->forecast_ms = elsewhere->forecast_ms;
    row->start_ms = elsewhere->start_ms;
    pool->burst_reserved_micro += row->reserved_micro;
    burst_lease_begin(core, job);
    attempt_admit(core, job, &answer->plan);
    burst_decide(core, job, DECISION_BURST, answer, elsewhere);
}

int64_t burst_due_ms(const struct core *core, const struct live_job *job)
{
    if (!core->burst_pools || job->links->claims || (job->row.service && !burst_leases(job)) ||
        burst_recalls(job))
        return MOMENT_NEVER;
    const struct live_broker *broker = job->links->broker;
    if (!broker || broker->row.seen != burst_stirs(core))
        return broker ? broker->row.look_ms : core->now_ms;
    return broker->row.due_ms ? broker->row.due_ms : MOMENT_NEVER;
}

/* Writes down what came of asking; whether a refusal has to be audited. */
static bool note_answer(struct core *core, struct live_broker *broker,
    const struct burst_answer *answer, const struct elsewhere *elsewhere, int64_t due_ms)
{
    struct broker_row *row = &broker->row;
    uint64_t refused_by = answer->pool && !comes(answer->verdict) ? answer->pool->row.id : 0;
    bool audited = answer->verdict >= BURST_OVER_BUDGET && refused_by &&
                   ((int32_t)answer->verdict != row->verdict || refused_by != row->refused_by);
    row->verdict = (int32_t)answer->verdict;
    row->refused_by = refused_by;
    row->wait_ms = elsewhere->wait_ms;
    row->look_ms = elsewhere->sure_ms ? elsewhere->sure_ms : core->now_ms + LOOK_MS;
    row->due_ms = due_ms == MOMENT_NEVER ? 0 : due_ms;
    row->seen = burst_stirs(core);
    change_put(core, &broker->item);
    return audited;
}

bool burst_seek(struct core *core, struct live_job *job, int32_t *seeks)
{
    int64_t due_ms = burst_due_ms(core, job);
    if (due_ms <= core->now_ms && *seeks >= SEEKS_PER_PASS)
        due_ms = core->now_ms + SHORT_MS;
    if (due_ms > core->now_ms) {
        core->wake_ms = least(core->wake_ms, due_ms);
        return false;
    }
    ++*seeks;
    struct elsewhere elsewhere = burst_elsewhere(core, job);
    struct burst_answer answer = ask_all(core, job, &elsewhere, &due_ms);
    struct live_broker *broker = row_of(core, job);
    bool came = comes(answer.verdict);
    if (note_answer(core, broker, &answer, &elsewhere, due_ms))
        burst_decide(core, job, DECISION_BURST_REFUSED, &answer, &elsewhere);
    if (came)
        burst_admit(core, job, &answer, &elsewhere);
    else
        core->wake_ms = least(core->wake_ms, due_ms);
    plan_finish(&answer.plan);
    return came;
}

/* ---- the life of a budget ---------------------------------------------------------------------
 */

int64_t burst_left_micro(const struct core *core, const struct live_pool *pool)
{
    const struct pool_row *row = &pool->row;
    bool over = core->now_ms - row->burst_begin_ms >= row->burst_period_ms;
    int64_t spent_micro = over ? 0 : row->burst_spent_micro;
    return row->burst_budget_micro - spent_micro - pool->burst_reserved_micro;
}

int64_t burst_stirs(const struct core *core)
{
    return 1 + (core->stirs ? core->stirs->row.last : 0);
}

void burst_stirred(struct core *core)
{
    if (!core->burst_pools || core->stirs_version == core->free_version)
        return;
    core->stirs_version = core->free_version;
    counter_mark(core, &core->stirs, "stir", burst_stirs(core));
}

int64_t burst_since_ms(const struct live_job *job)
{
    const struct live_broker *broker = job->links->broker;
    return most(job->row.queued_ms, broker ? broker->row.since_ms : 0);
}

void burst_requeued(struct core *core, struct live_job *job)
{
    if (!core->burst_pools)
        return;
    struct live_broker *broker = row_of(core, job);
    broker->row.since_ms = core->now_ms;
    change_put(core, &broker->item);
}

int64_t burst_cost_micro(
    const struct core *core, const struct live_attempt *attempt, const struct broker_row *row)
{
    __int128 micro = ((__int128)attempt_cost_nano(core, attempt) + NANO_MICRO - 1) / NANO_MICRO;
    int64_t cost_micro = micro > BROKER_COST_MAX ? BROKER_COST_MAX : (int64_t)micro;
    return most(cost_micro - row->booked_micro, 0) + row->egress_micro;
}

void burst_started(struct core *core, struct live_attempt *attempt)
{
    int64_t egress_micro = copies_come(core, attempt);
    struct live_broker *broker = attempt->job->links->broker;
    if (!broker || !broker->row.pool || egress_micro >= broker->row.egress_micro)
        return;
    int64_t spared_micro = broker->row.egress_micro - egress_micro;
    broker->row.egress_micro = egress_micro;
    broker->row.reserved_micro -= spared_micro;
    attempt->placements->node->pool->burst_reserved_micro -= spared_micro;
    core->free_version++; /* the budget has room that it had not */
    core->pass_wanted = true;
    change_put(core, &broker->item);
}

void burst_ended(struct core *core, struct live_attempt *attempt)
{
    struct live_broker *broker = attempt->job->links->broker;
    if (!broker || !broker->row.pool)
        return;
    struct live_pool *pool = attempt->placements->node->pool;
    assert(pool->row.id == broker->row.pool);
    burst_period_settle(core, pool);
    if (!attempt->row.started_ms)
        broker->row.egress_micro = 0; /* nothing is known to have come */
    int64_t cost_micro = burst_cost_micro(core, attempt, &broker->row);
    burst_lease_end(core, attempt->job);
    pool->row.burst_spent_micro = least(pool->row.burst_spent_micro + cost_micro, BROKER_COST_MAX);
    pool->burst_reserved_micro -= broker->row.reserved_micro;
    broker->row.pool = 0;
    broker->row.reserved_micro = broker->row.egress_micro = broker->row.booked_micro = 0;
    broker->row.forecast_ms = broker->row.start_ms = 0;
    broker->row.seen = 0;
    change_put(core, &pool->item);
    change_put(core, &broker->item);
}

void burst_pool_put(struct core *core, struct live_pool *live, const struct burst *policy)
{
    struct pool_row *row = &live->row;
    bool was = row->burst_budget_micro > 0, is = policy->budget_micro > 0;
    core->burst_pools += is - was;
    row->burst_budget_micro = policy->budget_micro;
    row->burst_after_ms = is ? policy->after_ms : 0;
    row->burst_period_ms = is ? policy->period_ms : 0;
    if (is && !was)
        row->burst_begin_ms = core->now_ms;
    for (size_t i = 0; is && !was && i < live->nodes.count; i++)
        claims_release_node(core, live->nodes.items[i]);
    TABLE_EACH (core, ROW_BROKER, struct live_broker, broker) {
        if (broker->row.look_ms <= core->now_ms)
            continue;
        broker->row.look_ms = 0;
        change_put(core, &broker->item);
    }
}

bool burst_check(const struct core *core)
{
    int64_t pools = 0, leases = 0;
    TABLE_EACH (core, ROW_BROKER, struct live_broker, row)
        leases += row->row.lease_ms > 0;
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool) {
        int64_t reserved_micro = 0;
        TABLE_EACH (core, ROW_BROKER, struct live_broker, broker)
            reserved_micro += broker->row.pool == pool->row.id ? broker->row.reserved_micro : 0;
        if (reserved_micro != pool->burst_reserved_micro)
            return false;
        pools += pool->row.burst_budget_micro > 0;
    }
    return pools == core->burst_pools && leases == core->leases;
}
