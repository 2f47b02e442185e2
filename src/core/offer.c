/* What one node could offer a job by preemption.
 *
 * The attempts on the node that may go (victim.c) are taken in two orders, least loss first and
 * least loss for what they hold first, until one more rank fits; then, dearest first, each is put
 * back that was not needed. The cheaper of the two sets is the offer. A node holds few attempts, so
 * this is cheap, and it touches no other node: of an attempt on several nodes only the placements
 * here are taken away. */
#include "core/attempt.h"
#include "core/job.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/search.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"

#include <assert.h>

struct candidate {
    struct live_attempt *attempt;
    int64_t loss;
    int64_t held; /* of the node: devices, or CPU where the job asks for none */
    bool taken;
};

struct bench {
    struct core *core;
    struct victim_rules *rules;
    struct live_node *node;
    int32_t size;
    VEC(struct candidate) list;
    VEC(struct candidate *) order;
    attempt_vec leaving;
};

static void move_here(struct bench *bench, struct live_attempt *attempt, bool away)
{
    assert(attempt->away != away);
    attempt->away = away;
    for (size_t i = 0; i < bench->node->placements.count; i++) {
        const struct live_placement *one = bench->node->placements.items[i];
        if (one->attempt == attempt)
            node_hold(bench->node, &attempt->job->shape->row, one->row.devices,
                one->row.device_milli, one->row.ranks, away ? -1 : 1);
    }
}

static void take(struct bench *bench, struct candidate *candidate, bool taken)
{
    candidate->taken = taken;
    move_here(bench, candidate->attempt, taken);
    victim_choose(candidate->attempt, taken ? 1 : -1);
}

static int32_t fit_now(const struct bench *bench)
{
    return fit_ranks(bench->core, bench->rules->job, bench->node, bench->size);
}

static void candidate_add(struct bench *bench, struct live_attempt *attempt,
    const struct live_placement *here, bool shared)
{
    struct candidate candidate = {.attempt = attempt};
    bool devices = bench->rules->job->shape->row.accelerator_milli > 0;
    int64_t ranks = 0;
    for (const struct live_placement *one = here; one; one = one->next) {
        if (one->node == bench->node)
            ranks += one->row.ranks;
    }
    const struct shape_row *shape = &attempt->job->shape->row;
    candidate.held = ranks * (devices ? shape->accelerator_milli : shape->cpu_milli);
    candidate.loss = victim_cost(bench->core, bench->rules, attempt);
    if (shared)
        candidate.loss = candidate.loss / attempt->row.size * ranks;
    vec_push(&bench->list, candidate);
}

static void bench_open(struct bench *bench, bool shared)
{
    journal_trial(bench->core, 1);
    bench->core->mark++;
    for (size_t i = 0; i < bench->node->placements.count; i++) {
        const struct live_placement *one = bench->node->placements.items[i];
        struct live_attempt *attempt = one->attempt;
        if (attempt->away || attempt->mark == bench->core->mark)
            continue;
        attempt->mark = bench->core->mark;
        if (attempt->row.stop_reason != END_NONE)
            vec_push(&bench->leaving, attempt);
        else if (victim_allowed(bench->core, bench->rules, attempt))
            candidate_add(bench, attempt, one, shared);
    }
    for (size_t i = 0; i < bench->leaving.count; i++)
        move_here(bench, bench->leaving.items[i], true);
    for (size_t i = 0; i < bench->list.count; i++)
        vec_push(&bench->order, &bench->list.items[i]);
}

static void bench_close(struct bench *bench)
{
    for (size_t i = bench->leaving.count; i-- > 0;)
        move_here(bench, bench->leaving.items[i], false);
    journal_trial(bench->core, -1);
    vec_free(&bench->list);
    vec_free(&bench->order);
    vec_free(&bench->leaving);
}

static int by_loss(const void *a, const void *b, const void *context)
{
    (void)context;
    const struct candidate *left = a, *right = b;
    int order = compare_i64(left->loss, right->loss);
    /* Of equals the youngest goes: it has waited least. */
    return order ? order : -compare_u64(left->attempt->row.id, right->attempt->row.id);
}

static int by_density(const void *a, const void *b, const void *context)
{
    const struct candidate *left = a, *right = b;
    __int128 x = (__int128)left->loss * right->held, y = (__int128)right->loss * left->held;
    if (x != y)
        return x < y ? -1 : 1;
    if (left->held != right->held)
        return left->held > right->held ? -1 : 1;
    return by_loss(a, b, context);
}

static void take_until(struct bench *bench, int32_t ranks)
{
    for (size_t i = 0; i < bench->order.count && fit_now(bench) < ranks; i++) {
        struct candidate *candidate = bench->order.items[i];
        /* What is chosen already may have brought its team down to its guarantee. */
        if (i == 0 || victim_allowed(bench->core, bench->rules, candidate->attempt))
            take(bench, candidate, true);
    }
}

/* Dearest first. */
static void put_back_unneeded(struct bench *bench, int32_t ranks)
{
    sort_pointers((void **)bench->order.items, bench->order.count, by_loss, NULL);
    for (size_t i = bench->order.count; i-- > 0;) {
        struct candidate *candidate = bench->order.items[i];
        if (!candidate->taken)
            continue;
        take(bench, candidate, false);
        if (fit_now(bench) < ranks)
            take(bench, candidate, true);
    }
}

static bool all_stay_out(const struct bench *bench)
{
    for (size_t i = 0; i < bench->list.count; i++) {
        const struct candidate *one = &bench->list.items[i];
        if (one->taken && !victim_stays_out(bench->rules, one->attempt))
            return false;
    }
    return true;
}

/* What is taken now, as an offer, and nothing is taken any more. */
static struct offer settle(struct bench *bench, int32_t before, attempt_vec *taken)
{
    struct offer offer = {.gain = fit_now(bench) - before};
    if (!all_stay_out(bench))
        offer.gain = 0;
    if (taken)
        vec_clear(taken);
    for (size_t i = 0; i < bench->list.count; i++) {
        struct candidate *candidate = &bench->list.items[i];
        if (!candidate->taken)
            continue;
        offer.loss += candidate->loss;
        offer.count++;
        if (taken)
            vec_push(taken, candidate->attempt);
        take(bench, candidate, false);
    }
    return offer;
}

int offer_compare(const struct offer *a, const struct offer *b)
{
    if ((a->gain > 0) != (b->gain > 0))
        return a->gain > 0 ? -1 : 1;
    __int128 x = (__int128)a->loss * b->gain, y = (__int128)b->loss * a->gain;
    if (x != y)
        return x < y ? -1 : 1;
    return compare_i64((int64_t)a->count * b->gain, (int64_t)b->count * a->gain);
}

struct offer offer_make(struct core *core, struct victim_rules *rules, struct live_node *node,
    int32_t size, bool shared, attempt_vec *taken)
{
    static order_fn *const orders[] = {by_loss, by_density};
    struct bench bench = {.core = core, .rules = rules, .node = node, .size = size};
    struct offer best = {0};
    attempt_vec other = {0};
    int32_t before = fit_now(&bench);
    bench_open(&bench, shared);
    for (size_t o = 0; o < ARRAY_LEN(orders); o++) {
        sort_pointers((void **)bench.order.items, bench.order.count, orders[o], NULL);
        take_until(&bench, before + 1);
        put_back_unneeded(&bench, before + 1);
        struct offer offer = settle(&bench, before, taken ? &other : NULL);
        if (offer_compare(&offer, &best) >= 0)
            continue;
        best = offer;
        if (taken) {
            attempt_vec swap = *taken;
            *taken = other;
            other = swap;
        }
    }
    bench_close(&bench);
    vec_free(&other);
    return best;
}

int32_t offer_reach(
    struct core *core, struct victim_rules *rules, struct live_node *node, int32_t size)
{
    struct bench bench = {.core = core, .rules = rules, .node = node, .size = size};
    bench_open(&bench, false);
    for (size_t i = 0; i < bench.list.count; i++)
        move_here(&bench, bench.list.items[i].attempt, true);
    int32_t reach = fit_now(&bench);
    for (size_t i = bench.list.count; i-- > 0;)
        move_here(&bench, bench.list.items[i].attempt, false);
    bench_close(&bench);
    return reach;
}
