/* Preemption: making a place for a job that does not fit.
 *
 * In each pool the attempts that may be stopped (victim.c) are put in three orders: least loss
 * first, least loss for each rank that comes free first, and node by node, the cheapest node first.
 * Following an order, attempts are taken away on trial until the gang fits; then, dearest first,
 * each is put back if the gang fits without its going. Of the sets found in all pools the one that
 * loses least is taken, of equals the smaller, of those the first.
 *
 * What is lost is the time since the newest checkpoint (or the start), times the dominant share of
 * the cluster that the attempt holds. Attempts that are stopping already go for nothing. The trial
 * changes node accounts and puts every one of them back before anything is decided. */
#include "core/preempt.h"
#include "core/attempt.h"
#include "core/job.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/resource.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/team.h"

#include <assert.h>

enum { VICTIMS_MAX = 16384 }; /* looked at in a pool */

struct victim {
    struct live_attempt *attempt;
    int64_t loss;
    int64_t gain;       /* ranks that come free when it goes alone */
    int64_t node_order; /* its node's turn; INT64_MAX: none */
};

typedef VEC(struct live_attempt *) attempt_vec;

struct search {
    struct core *core;
    struct live_job *job;
    struct victim_rules rules;
    struct live_node *const *nodes; /* of one pool, that match */
    size_t node_count;
    int32_t *caps; /* ranks that fit each of them now */
    int64_t total;
    int32_t size; /* ranks wanted */
    VEC(struct victim) victims;
    attempt_vec leaving; /* stopping already */
    attempt_vec chosen;  /* away on trial */
};

struct verdict {
    attempt_vec victims;
    int64_t loss;
    size_t first_node, node_count; /* the pool's nodes */
    bool found;
};

/* ---- the trial --------------------------------------------------------------------------- */

static void search_recount(struct search *search, struct live_node *node)
{
    if (node->search_mark != search->core->mark)
        return;
    int32_t cap = fit_ranks(search->core, search->job, node, search->size);
    search->total += cap - search->caps[node->search_at];
    search->caps[node->search_at] = cap;
}

static void trial_move(struct search *search, struct live_attempt *attempt, bool away)
{
    attempt_set_away(attempt, away);
    for (struct live_placement *one = attempt->placements; one; one = one->next)
        search_recount(search, one->node);
}

static void trial_take(struct search *search, struct live_attempt *attempt)
{
    trial_move(search, attempt, true);
    victim_choose(attempt, 1);
    vec_push(&search->chosen, attempt);
}

static void trial_put_back(struct search *search, size_t at)
{
    struct live_attempt *attempt = search->chosen.items[at];
    trial_move(search, attempt, false);
    victim_choose(attempt, -1);
    vec_remove(&search->chosen, at);
}

static void trial_clear(struct search *search)
{
    while (search->chosen.count)
        trial_put_back(search, search->chosen.count - 1);
}

static bool fits(const struct search *search)
{
    return search->total >= search->size;
}

/* ---- the pool ---------------------------------------------------------------------------- */

static void search_see(struct search *search, struct live_attempt *attempt)
{
    if (attempt->mark == search->core->mark)
        return;
    attempt->mark = search->core->mark;
    if (attempt->row.stop_reason != END_NONE) {
        vec_push(&search->leaving, attempt);
        return;
    }
    if (search->victims.count >= VICTIMS_MAX ||
        !victim_allowed(search->core, &search->rules, attempt))
        return;
    struct victim victim = {.attempt = attempt, .node_order = INT64_MAX};
    victim.loss = attempt_loss(search->core, attempt);
    vec_push(&search->victims, victim);
}

static void search_open(struct search *search)
{
    struct core *core = search->core;
    journal_trial(core, 1);
    core->mark++;
    search->caps = mem_alloc(search->node_count, sizeof *search->caps);
    for (size_t i = 0; i < search->node_count; i++) {
        struct live_node *node = search->nodes[i];
        node->search_mark = core->mark;
        node->search_at = i;
        search_recount(search, node);
        for (size_t p = 0; p < node->placements.count; p++)
            search_see(search, node->placements.items[p]->attempt);
    }
    for (size_t i = 0; i < search->leaving.count; i++)
        trial_move(search, search->leaving.items[i], true);
}

static void search_close(struct search *search)
{
    trial_clear(search);
    for (size_t i = search->leaving.count; i-- > 0;)
        trial_move(search, search->leaving.items[i], false);
    journal_trial(search->core, -1);
    free(search->caps);
    vec_free(&search->victims);
    vec_free(&search->leaving);
    vec_free(&search->chosen);
}

/* ---- orders ------------------------------------------------------------------------------ */

static int by_loss(const void *a, const void *b, const void *context)
{
    (void)context;
    const struct victim *left = a, *right = b;
    int order = compare_i64(left->loss, right->loss);
    /* Of equals the youngest goes: it has waited least. */
    return order ? order : -compare_u64(left->attempt->row.id, right->attempt->row.id);
}

static int by_gain(const void *a, const void *b, const void *context)
{
    const struct victim *left = a, *right = b;
    if ((left->gain > 0) != (right->gain > 0))
        return left->gain > 0 ? -1 : 1;
    __int128 x = (__int128)left->loss * right->gain, y = (__int128)right->loss * left->gain;
    if (x != y)
        return x < y ? -1 : 1;
    return by_loss(a, b, context);
}

static int by_node(const void *a, const void *b, const void *context)
{
    const struct victim *left = a, *right = b;
    int order = compare_i64(left->node_order, right->node_order);
    return order ? order : by_loss(a, b, context);
}

static void measure_gains(struct search *search)
{
    for (size_t i = 0; i < search->victims.count; i++) {
        struct victim *victim = &search->victims.items[i];
        int64_t before = search->total;
        trial_move(search, victim->attempt, true);
        victim->gain = search->total - before;
        trial_move(search, victim->attempt, false);
    }
}

/* What it costs to empty a node as far as needed. */
struct node_offer {
    struct live_node *node;
    int64_t loss;
    int64_t gain;
    size_t order;
};

static int by_offer(const void *a, const void *b, const void *context)
{
    (void)context;
    const struct node_offer *left = a, *right = b;
    if ((left->gain > 0) != (right->gain > 0))
        return left->gain > 0 ? -1 : 1;
    __int128 x = (__int128)left->loss * right->gain, y = (__int128)right->loss * left->gain;
    if (x != y)
        return x < y ? -1 : 1;
    return compare_u64(left->order, right->order);
}

typedef VEC(struct victim *) victim_vec;

/* The victims on a node, least loss first. */
static void victims_on(
    const struct live_node *node, const struct idmap *by_attempt, victim_vec *ret)
{
    vec_clear(ret);
    for (size_t i = 0; i < node->placements.count; i++) {
        const struct live_attempt *attempt = node->placements.items[i]->attempt;
        struct victim *victim = idmap_get(by_attempt, attempt->row.id);
        bool again = ret->count && ret->items[ret->count - 1] == victim;
        if (victim && !again)
            vec_push(ret, victim);
    }
    sort_pointers((void **)ret->items, ret->count, by_loss, NULL);
}

/* Takes away what is on the node until it has room for the gang, or nothing is left there; puts
 * back what was not needed for that, and tells what it costs. */
static void offer_make(struct search *search, struct node_offer *offer, const victim_vec *on)
{
    size_t at = offer->node->search_at;
    int32_t before = search->caps[at];
    for (size_t i = 0; i < on->count && search->caps[at] < search->size; i++) {
        if (!on->items[i]->attempt->away)
            trial_take(search, on->items[i]->attempt);
    }
    int32_t reached = search->caps[at];
    for (size_t i = search->chosen.count; i-- > 0;) {
        struct live_attempt *attempt = search->chosen.items[i];
        trial_put_back(search, i);
        if (search->caps[at] < reached)
            trial_take(search, attempt);
    }
    offer->gain = reached - before;
    for (size_t i = 0; i < search->chosen.count; i++)
        offer->loss += attempt_loss(search->core, search->chosen.items[i]);
    trial_clear(search);
}

static void order_nodes(struct search *search)
{
    size_t count = search->node_count;
    struct idmap by_attempt = {0};
    victim_vec on = {0};
    SCOPED(mem_scope) struct node_offer *offers = mem_alloc(count, sizeof *offers);
    SCOPED(mem_scope) struct node_offer **sorted = mem_alloc(count, sizeof *sorted);
    for (size_t i = 0; i < search->victims.count; i++)
        idmap_put(&by_attempt, search->victims.items[i].attempt->row.id, &search->victims.items[i]);
    for (size_t i = 0; i < count; i++) {
        offers[i] = (struct node_offer){.node = search->nodes[i], .order = i};
        sorted[i] = &offers[i];
        victims_on(offers[i].node, &by_attempt, &on);
        offer_make(search, &offers[i], &on);
    }
    sort_pointers((void **)sorted, count, by_offer, NULL);
    for (size_t i = 0; i < count; i++) {
        victims_on(sorted[i]->node, &by_attempt, &on);
        for (size_t v = 0; v < on.count; v++)
            on.items[v]->node_order = least(on.items[v]->node_order, (int64_t)i);
    }
    vec_free(&on);
    idmap_finish(&by_attempt);
}

/* ---- following an order ------------------------------------------------------------------ */

static void follow(struct search *search, struct victim *const *order, size_t count)
{
    for (size_t i = 0; i < count && !fits(search); i++) {
        struct live_attempt *attempt = order[i]->attempt;
        if (!attempt->away && victim_allowed(search->core, &search->rules, attempt))
            trial_take(search, attempt);
    }
}

/* Dearest first, puts back whatever is not needed. */
static void prune(struct search *search)
{
    size_t count = search->chosen.count;
    if (!count)
        return;
    SCOPED(mem_scope) struct victim *chosen = mem_alloc(count, sizeof *chosen);
    SCOPED(mem_scope) struct victim **sorted = mem_alloc(count, sizeof *sorted);
    for (size_t i = 0; i < count; i++) {
        chosen[i].attempt = search->chosen.items[i];
        chosen[i].loss = attempt_loss(search->core, chosen[i].attempt);
        sorted[i] = &chosen[i];
    }
    sort_pointers((void **)sorted, count, by_loss, NULL);
    for (size_t i = count; i-- > 0;) {
        size_t at = 0;
        while (search->chosen.items[at] != sorted[i]->attempt)
            at++;
        trial_put_back(search, at);
        if (!fits(search))
            trial_take(search, sorted[i]->attempt);
    }
}

static bool all_stay_out(const struct search *search)
{
    for (size_t i = 0; i < search->chosen.count; i++) {
        if (!victim_stays_out(&search->rules, search->chosen.items[i]))
            return false;
    }
    return true;
}

static void judge(struct search *search, struct verdict *verdict, size_t first_node)
{
    if (!fits(search) || !all_stay_out(search))
        return;
    int64_t loss = 0;
    for (size_t i = 0; i < search->chosen.count; i++)
        loss += attempt_loss(search->core, search->chosen.items[i]);
    bool better = !verdict->found || loss < verdict->loss ||
                  (loss == verdict->loss && search->chosen.count < verdict->victims.count);
    if (!better)
        return;
    verdict->found = true;
    verdict->loss = loss;
    verdict->first_node = first_node;
    verdict->node_count = search->node_count;
    vec_clear(&verdict->victims);
    for (size_t i = 0; i < search->chosen.count; i++)
        vec_push(&verdict->victims, search->chosen.items[i]);
}

static void try_orders(struct search *search, struct verdict *verdict, size_t first_node)
{
    static order_fn *const orders[] = {by_loss, by_gain, by_node};
    size_t count = search->victims.count;
    SCOPED(mem_scope) struct victim **sorted = mem_alloc(count + 1, sizeof *sorted);
    for (size_t i = 0; i < count; i++)
        sorted[i] = &search->victims.items[i];
    if (search->size > 1) {
        sort_pointers((void **)sorted, count, by_loss, NULL);
        follow(search, sorted, count);
        bool possible = fits(search);
        trial_clear(search);
        if (!possible)
            return;
    }
    measure_gains(search);
    order_nodes(search);
    /* For a single rank the order of nodes covers that of losses. */
    for (size_t o = search->size > 1 ? 0 : 1; o < ARRAY_LEN(orders); o++) {
        sort_pointers((void **)sorted, count, orders[o], NULL);
        follow(search, sorted, count);
        prune(search);
        judge(search, verdict, first_node);
        trial_clear(search);
    }
}

static struct search search_make(
    struct core *core, struct live_job *job, struct live_node *const *nodes, size_t count)
{
    struct search search = {.core = core, .job = job, .nodes = nodes, .node_count = count};
    search.size = job->row.size_min;
    victim_rules_init(&search.rules, job);
    return search;
}

static void search_pool(
    struct core *core, struct live_job *job, size_t begin, size_t end, struct verdict *verdict)
{
    struct search search =
        search_make(core, job, job->shape->candidates.items + begin, end - begin);
    search_open(&search);
    if (fits(&search))
        judge(&search, verdict, begin);
    else
        try_orders(&search, verdict, begin);
    core->wake_ms = least(core->wake_ms, search.rules.protected_ms);
    search_close(&search);
}

/* The place as it will be when the victims are gone. */
static bool plan_verdict(
    struct core *core, struct live_job *job, const struct verdict *verdict, struct plan *plan)
{
    struct search search = search_make(
        core, job, job->shape->candidates.items + verdict->first_node, verdict->node_count);
    search_open(&search);
    for (size_t i = 0; i < verdict->victims.count; i++)
        trial_take(&search, verdict->victims.items[i]);
    bool made =
        plan_make_pool(core, job, search.nodes, search.node_count, search.size, search.size, plan);
    search_close(&search);
    struct amounts amounts;
    if (made)
        plan_amounts(plan, job, &amounts);
    return made && quota_allows(job->team, &amounts);
}

bool preempt_for(struct core *core, struct live_job *job)
{
    assert(!job->attempt && !job->claims);
    struct verdict verdict = {0};
    struct plan plan = {0};
    shape_candidates(core, job->shape);
    size_t count = job->shape->candidates.count;
    for (size_t begin = 0, end; begin < count; begin = end) {
        end = plan_pool_end(job->shape->candidates.items, begin, count);
        search_pool(core, job, begin, end, &verdict);
    }
    bool decided = verdict.found && plan_verdict(core, job, &verdict, &plan);
    if (decided) {
        for (size_t i = 0; i < verdict.victims.count; i++)
            attempt_stop(core, verdict.victims.items[i], END_PREEMPTED, job);
        claims_make(core, job, &plan);
    }
    plan_finish(&plan);
    vec_free(&verdict.victims);
    return decided;
}
