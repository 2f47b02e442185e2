/* Forward projection: where and when a gang fits first, if nothing starts there before.
 *
 * Every node has steps: the moments at which attempts leave it, by time limit, by deadline or
 * because they are stopping; after all moments one step at which its attempts without a limit have
 * left. The steps of all nodes are followed in order until the ranks that fit reach the size, and
 * the plan is made as if it were that moment. Of places that wait for attempts without a limit,
 * nodes with few of them come first. A service without a limit never leaves. A node with
 * maintenance ahead counts from its end on.
 *
 * Nodes are looked at as copies, the state is not touched. Where more than EXACT_MAX placements are
 * on the nodes, only those are followed that are empty first: the moment may be later than it could
 * be, and the cost stays in proportion to nodes and placements. */
#include "core/attempt.h"
#include "core/backfill.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/packing.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"

#include <assert.h>

enum { EXACT_MAX = 4096 };

/* Keys order steps: moments, then what is open, by how much of it has to end. */
#define KEY_OPEN ((int64_t)1 << 50)

static int64_t sum_ms(int64_t a, int64_t b)
{
    return a > MOMENT_NEVER - b ? MOMENT_NEVER : a + b;
}

static int64_t leaves_ms(const struct job_row *job, int64_t admitted_ms)
{
    int64_t end_ms =
        job->time_limit_ms > 0 ? sum_ms(admitted_ms, job->time_limit_ms) : MOMENT_NEVER;
    if (job->deadline_ms > 0)
        end_ms = least(end_ms, job->deadline_ms);
    return sum_ms(end_ms, job->grace_ms);
}

int64_t attempt_leaves_ms(const struct live_attempt *attempt)
{
    const struct job_row *job = &attempt->job->row;
    int64_t leaves = leaves_ms(job, attempt->row.admitted_ms);
    if (attempt->row.stop_reason != END_NONE)
        leaves = least(leaves, sum_ms(attempt->row.stop_ms, job->grace_ms));
    return leaves;
}

int64_t job_leaves_ms(const struct core *core, const struct live_job *job)
{
    return leaves_ms(&job->row, core->now_ms);
}

bool attempt_unbounded(const struct live_attempt *attempt)
{
    const struct job_row *job = &attempt->job->row;
    return leaves_ms(job, attempt->row.admitted_ms) == MOMENT_NEVER && !job->service;
}

bool attempt_open(const struct live_attempt *attempt)
{
    return attempt_unbounded(attempt) && attempt->row.stop_reason == END_NONE;
}

bool projection_before(bool open_a, int64_t begin_a_ms, bool open_b, int64_t begin_b_ms)
{
    return open_a != open_b ? open_b : begin_a_ms < begin_b_ms;
}

/* A node as it will be: what has left is taken out of its accounts. */
struct future {
    struct live_node node; /* first: a plan's nodes are cast back */
    struct live_node *of;
    int16_t held[DEVICES_MAX];
    struct live_placement **left; /* its placements, who leaves first in front */
    size_t count, gone;
    int64_t base_ms; /* it counts from here on */
    int64_t open;    /* placements without a limit */
    int32_t cap;     /* ranks that fit, as it is now */
};

struct step {
    int64_t key;
    size_t at; /* of the future */
    int32_t cap;
};

struct forecast {
    struct core *core;
    const struct live_job *job;
    int32_t size;
    struct future *futures;
    size_t count;
    struct live_placement **placements; /* of all futures, one after the other */
    VEC(struct step) steps;
};

/* ---- one node ---------------------------------------------------------------------------- */

static int64_t leave_key(const struct future *future, const struct live_placement *one)
{
    if (attempt_open(one->attempt))
        return KEY_OPEN + future->open;
    return most(attempt_leaves_ms(one->attempt), future->base_ms);
}

static int by_leaving(const void *a, const void *b, const void *context)
{
    const struct live_placement *left = a, *right = b;
    int order = compare_i64(leave_key(context, left), leave_key(context, right));
    return order ? order : compare_u64(left->row.id, right->row.id);
}

static void future_init(struct future *future, const struct core *core, struct live_node *node,
    struct live_placement **placements)
{
    *future = (struct future){.node = *node, .of = node, .left = placements};
    future->base_ms = core->now_ms;
    for (const struct live_reservation *one = node->reservations; one; one = one->next)
        future->base_ms = most(future->base_ms, one->row.end_ms);
    future->node.reservations = NULL;
    future->node.promises = NULL;
    memcpy(future->held, node->device_held, sizeof future->held);
    future->node.device_held = future->held;
    future->count = node->placements.count;
    for (size_t i = 0; i < future->count; i++) {
        placements[i] = node->placements.items[i];
        future->open += attempt_open(placements[i]->attempt);
    }
    sort_pointers((void **)placements, future->count, by_leaving, future);
    future->node.placements.items = placements;
}

static void future_take_out(struct future *future, const struct live_placement *one)
{
    const struct shape_row *shape = &one->attempt->job->shape->row;
    struct bundle part = bundle_of_shape(shape, one->row.ranks);
    future->node.held.cpu_milli -= part.cpu_milli;
    future->node.held.memory_bytes -= part.memory_bytes;
    future->node.held.disk_bytes -= part.disk_bytes;
    future->node.exclusive_held -= shape->exclusive;
    for (int32_t d = 0; d < future->node.row.devices; d++) {
        if (one->row.devices >> d & 1)
            future->held[d] = (int16_t)(future->held[d] - one->row.device_milli);
    }
}

/* Takes out everything that has left by that key. */
static void future_advance(struct future *future, int64_t key)
{
    while (future->gone < future->count && leave_key(future, future->left[future->gone]) <= key)
        future_take_out(future, future->left[future->gone++]);
    future->node.placements.items = future->left + future->gone;
    future->node.placements.count = future->count - future->gone;
    node_room_derive(&future->node);
}

static void future_step(struct forecast *forecast, struct future *future, int64_t key)
{
    future_advance(future, key);
    int32_t cap = fit_ranks(forecast->core, forecast->job, &future->node, forecast->size);
    if (cap == future->cap)
        return;
    future->cap = cap;
    size_t at = (size_t)(future - forecast->futures);
    vec_push(&forecast->steps, ((struct step){.key = key, .at = at, .cap = cap}));
}

/* All steps of a node, up to where the whole gang fits it. */
static void future_follow(struct forecast *forecast, struct future *future)
{
    future_step(forecast, future, future->base_ms);
    while (future->gone < future->count && future->cap < forecast->size) {
        int64_t key = leave_key(future, future->left[future->gone]);
        if (key == MOMENT_NEVER)
            break;
        future_step(forecast, future, key);
    }
}

/* ---- all nodes --------------------------------------------------------------------------- */

static int by_step(const void *a, const void *b, const void *context)
{
    (void)context;
    const struct step *left = a, *right = b;
    int order = compare_i64(left->key, right->key);
    if (!order)
        order = compare_u64(left->at, right->at);
    return order ? order : compare_i64(left->cap, right->cap);
}

static void forecast_open(struct forecast *forecast, struct live_node *const *nodes)
{
    size_t placements = 0;
    for (size_t i = 0; i < forecast->count; i++)
        placements += nodes[i]->placements.count;
    forecast->futures = mem_alloc(forecast->count + 1, sizeof *forecast->futures);
    forecast->placements = mem_alloc(placements + 1, sizeof *forecast->placements);
    placements = 0;
    for (size_t i = 0; i < forecast->count; i++) {
        struct future *future = &forecast->futures[i];
        future_init(future, forecast->core, nodes[i], forecast->placements + placements);
        placements += future->count;
    }
}

static void forecast_close(struct forecast *forecast)
{
    free(forecast->futures);
    free(forecast->placements);
    vec_free(&forecast->steps);
}

/* The key at which the size is reached, or MOMENT_NEVER. */
static int64_t forecast_key(struct forecast *forecast)
{
    for (size_t i = 0; i < forecast->count; i++)
        future_follow(forecast, &forecast->futures[i]);
    size_t count = forecast->steps.count;
    SCOPED(mem_scope) struct step **sorted = mem_alloc(count + 1, sizeof *sorted);
    SCOPED(mem_scope) int32_t *caps = mem_alloc(forecast->count + 1, sizeof *caps);
    for (size_t i = 0; i < count; i++)
        sorted[i] = &forecast->steps.items[i];
    sort_pointers((void **)sorted, count, by_step, NULL);
    int64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += sorted[i]->cap - caps[sorted[i]->at];
        caps[sorted[i]->at] = sorted[i]->cap;
        if (total >= forecast->size)
            return sorted[i]->key;
    }
    return MOMENT_NEVER;
}

/* Every node as it will be at the key. */
static void forecast_rewind(struct forecast *forecast, int64_t key)
{
    for (size_t i = 0; i < forecast->count; i++) {
        struct future *future = &forecast->futures[i];
        future_init(future, forecast->core, future->of, future->left);
        future_advance(future, key);
    }
}

/* What the place of a plan waits for. */
static void forecast_wait(const struct forecast *forecast, struct projection *ret)
{
    ret->begin_ms = forecast->core->now_ms;
    for (size_t i = 0; i < ret->plan.parts.count; i++) {
        struct future *future = (struct future *)ret->plan.parts.items[i].node;
        ret->begin_ms = most(ret->begin_ms, future->base_ms);
        for (size_t p = 0; p < future->gone; p++) {
            int64_t key = leave_key(future, future->left[p]);
            ret->begin_ms = key < KEY_OPEN ? most(ret->begin_ms, key) : ret->begin_ms;
            ret->open |= key >= KEY_OPEN;
        }
    }
    for (size_t i = 0; i < ret->plan.parts.count; i++)
        ret->plan.parts.items[i].node = ((struct future *)ret->plan.parts.items[i].node)->of;
}

static bool forecast_plan(struct forecast *forecast, int64_t key, struct projection *ret)
{
    SCOPED(mem_scope) struct live_node **nodes = mem_alloc(forecast->count + 1, sizeof *nodes);
    size_t count = 0;
    forecast_rewind(forecast, key);
    for (size_t i = 0; i < forecast->count; i++) {
        if (key >= forecast->futures[i].base_ms)
            nodes[count++] = &forecast->futures[i].node;
    }
    *ret = (struct projection){0};
    bool made = plan_make_pool(
        forecast->core, forecast->job, nodes, count, forecast->size, forecast->size, &ret->plan);
    if (made)
        forecast_wait(forecast, ret);
    return made;
}

/* ---- many nodes -------------------------------------------------------------------------- */

struct drain {
    int64_t key; /* when the node is empty */
    size_t at;
};

/* Remembered until what is held of the node, or for how long, changes. */
static int64_t empty_key(struct live_node *node)
{
    if (node->empty_key)
        return node->empty_key;
    int64_t key = 1, open = 0;
    for (size_t i = 0; i < node->placements.count; i++) {
        const struct live_attempt *attempt = node->placements.items[i]->attempt;
        if (attempt_open(attempt))
            open++;
        else
            key = most(key, attempt_leaves_ms(attempt));
    }
    node->empty_key = open && key < KEY_OPEN ? KEY_OPEN + open : key;
    return node->empty_key;
}

static bool drains_before(const struct drain *a, const struct drain *b)
{
    return a->key != b->key ? a->key < b->key : a->at < b->at;
}

/* Of a heap whose first element may be out of place. */
static void drains_sink(struct drain *drains, size_t count, size_t at)
{
    if (at >= count)
        return;
    struct drain moved = drains[at];
    for (size_t child; (child = at * 2 + 1) < count; at = child) {
        if (child + 1 < count && drains_before(&drains[child + 1], &drains[child]))
            child++;
        if (!drains_before(&drains[child], &moved))
            break;
        drains[at] = drains[child];
    }
    drains[at] = moved;
}

/* The nodes that are empty first, as many as hold the gang twice, in their order of before. */
static size_t narrow(const struct core *core, const struct live_job *job,
    struct live_node *const *nodes, size_t count, struct live_node **ret_nodes)
{
    SCOPED(mem_scope) struct drain *drains = mem_alloc(count, sizeof *drains);
    SCOPED(mem_scope) bool *chosen = mem_alloc(count, sizeof *chosen);
    int64_t want = (int64_t)job->row.size_min * 2;
    for (size_t i = 0; i < count; i++)
        drains[i] = (struct drain){most(empty_key(nodes[i]), core->now_ms), i};
    for (size_t i = count / 2 + 1; i-- > 0;)
        drains_sink(drains, count, i);
    for (size_t left = count; left > 0 && want > 0 && drains[0].key != MOMENT_NEVER;) {
        size_t at = drains[0].at;
        want -= fit_idle_ranks(&job->shape->row, nodes[at], job->row.size_min);
        chosen[at] = true;
        drains[0] = drains[--left];
        drains_sink(drains, left, 0);
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (chosen[i])
            ret_nodes[kept++] = nodes[i];
    }
    return kept;
}

static size_t count_placements(struct live_node *const *nodes, size_t count)
{
    size_t placements = 0;
    for (size_t i = 0; i < count && placements <= EXACT_MAX; i++)
        placements += nodes[i]->placements.count;
    return placements;
}

bool project(struct core *core, const struct live_job *job, struct live_node *const *nodes,
    size_t count, struct projection *ret)
{
    struct forecast forecast = {.core = core, .job = job, .size = job->row.size_min};
    SCOPED(mem_scope) struct live_node **near = NULL;
    assert(count > 0);
    packing_ready(core, job->shape); /* what it keeps of nodes is copied with them */
    if (count_placements(nodes, count) > EXACT_MAX) {
        near = mem_alloc(count, sizeof(struct live_node *));
        count = narrow(core, job, nodes, count, near);
        nodes = near;
    }
    forecast.count = count;
    forecast_open(&forecast, nodes);
    int64_t key = forecast_key(&forecast);
    bool found = key != MOMENT_NEVER && forecast_plan(&forecast, key, ret);
    forecast_close(&forecast);
    return found;
}
