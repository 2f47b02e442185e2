/* Where a gang goes. A gang stays within one pool, since one engine runs it; there it takes as few
 * nodes as it can (pack) or as many as it can (spread), and of equal choices the one that leaves
 * the least behind. Every comparison ends with the node's place in the list of candidates, which
 * is in order of ids: nothing depends on addresses.
 *
 * Nothing is held while a plan is made: either all parts of it are admitted afterwards or none. */
#include "core/place.h"
#include "core/backfill.h"
#include "core/broker.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/packing.h"
#include "core/pool.h"
#include "core/resource.h"
#include "core/score.h"
#include "core/shape.h"
#include "core/socket.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/topology.h"

#include <assert.h>

/* Above all scores of policies: a rank is split over sockets that wants to be in one; and above
 * that, what is promised is used. */
#define SCORE_SPLIT    ((int64_t)1 << 61)
#define SCORE_PROMISED ((int64_t)1 << 62)

struct choices {
    VEC(struct choice) list;
    int64_t total; /* ranks that fit, all nodes together */
};

void plan_finish(struct plan *plan)
{
    vec_free(&plan->parts);
    *plan = (struct plan){0};
}

void plan_clear(struct plan *plan)
{
    struct plan clear = {.parts = plan->parts};
    vec_clear(&clear.parts);
    *plan = clear;
}

static int by_ranks(const void *a, const void *b, const void *context)
{
    (void)context;
    const struct choice *left = a, *right = b;
    int order = -compare_i64(left->ranks, right->ranks);
    if (!order)
        order = compare_i64(left->score, right->score);
    return order ? order : compare_u64(left->order, right->order);
}

/* Spread: the emptiest first. */
static int by_room(const void *a, const void *b, const void *context)
{
    (void)context;
    const struct choice *left = a, *right = b;
    int order = -compare_i64(left->score, right->score);
    return order ? order : compare_u64(left->order, right->order);
}

/* What choices are scored for. */
struct scoring {
    const struct core *core;
    const struct live_job *job;
    int32_t size_max;
    /* The score of idle nodes of a kind: most that a large gang could go to are such. */
    uint32_t kind; /* 1 + its number; 0: none was scored yet */
    int32_t used;
    int64_t score;
};

static int64_t score_like(struct scoring *scoring, const struct live_node *node, int32_t used)
{
    const struct core *core = scoring->core;
    const struct scores *scores = &core->scores;
    if (core->packing->per_job || scores->version != core->topology_version || !node_unused(node))
        return packing_score(core, scoring->job, node, used);
    uint32_t kind = 1 + scores->kind_of.items[node->ordinal];
    if (kind != scoring->kind || used != scoring->used)
        scoring->score = packing_score(core, scoring->job, node, used);
    scoring->kind = kind;
    scoring->used = used;
    return scoring->score;
}

/* Nodes on which a rank would be split come last. */
static int64_t socket_score(
    const struct live_shape *shape, const struct choice *choice, int32_t ranks, bool spread)
{
    int64_t score = choice->score / 4; /* below SCORE_SPLIT, whatever the policy's scores are */
    if (sockets_whole(choice->node, &shape->row, ranks))
        return score;
    return spread ? score - SCORE_SPLIT : score + SCORE_SPLIT;
}

static void choice_score(struct scoring *scoring, struct choice *choice)
{
    if (choice->scored)
        return;
    const struct live_shape *shape = scoring->job->shape;
    bool spread = shape->row.spread == SPREAD_SPREAD;
    int32_t used = spread ? 1 : (int32_t)least(choice->ranks, scoring->size_max);
    choice->scored = true;
    choice->score = score_like(scoring, choice->node, used);
    if (shape->socket)
        choice->score = socket_score(shape, choice, used, spread);
    /* What is promised is used last. */
    if (choice->node->promises)
        choice->score += spread ? -SCORE_PROMISED : SCORE_PROMISED;
}

static void choices_score(struct scoring *scoring, struct choice *choices, size_t count)
{
    for (size_t i = 0; i < count; i++)
        choice_score(scoring, &choices[i]);
}

/* How many ranks the node has room for that is used next: of those that can take all that remains
 * the tightest, else the one that takes most. 0: all are used. */
static int32_t pick_ranks(const struct choice *choices, size_t count, int32_t remaining)
{
    int32_t all = INT32_MAX, most_ranks = 0;
    for (size_t i = 0; i < count; i++) {
        int32_t ranks = choices[i].use > 0 ? 0 : choices[i].ranks;
        if (ranks >= remaining && ranks < all)
            all = ranks;
        if (ranks > most_ranks)
            most_ranks = ranks;
    }
    return all < INT32_MAX ? all : most_ranks;
}

/* The node that is used next; by_ranks orders equals. So only those are scored that have room for
 * as many ranks. NULL when all are used. */
static struct choice *pick_packed(
    struct scoring *scoring, struct choice *choices, size_t count, int32_t remaining)
{
    enum { AHEAD = 12 };
    struct choice *best = NULL;
    int32_t ranks = pick_ranks(choices, count, remaining);
    for (size_t i = 0; i < count && ranks > 0; i++) {
        struct choice *one = &choices[i];
        if (i + AHEAD < count && choices[i + AHEAD].ranks == ranks)
            __builtin_prefetch(&choices[i + AHEAD].node->room);
        if (one->use > 0 || one->ranks != ranks)
            continue;
        choice_score(scoring, one);
        if (!best || by_ranks(one, best, NULL) < 0)
            best = one;
    }
    return best;
}

/* By looking at all for each node that is used. Returns what remains when that were many. */
static int32_t use_few(struct scoring *scoring, struct choice *choices, size_t count, int32_t size)
{
    enum { NODES_FEW = 8 };
    for (int used = 0; used < NODES_FEW && size > 0; used++) {
        struct choice *choice = pick_packed(scoring, choices, count, size);
        assert(choice);
        choice->use = (int32_t)least(choice->ranks, size);
        size -= choice->use;
    }
    return size;
}

/* Where in the sorted list the node is that should take all that remains: the tightest of those
 * that can; SIZE_MAX when none can alone. */
static size_t pick_last(struct choice **sorted, size_t begin, size_t end, int32_t remaining)
{
    size_t best = SIZE_MAX;
    for (size_t i = begin; i < end && sorted[i]->ranks >= remaining; i++) {
        if (best == SIZE_MAX || sorted[i]->ranks < sorted[best]->ranks)
            best = i;
    }
    return best;
}

static void use_packed(struct choice **sorted, size_t count, int32_t remaining)
{
    size_t next = 0;
    while (remaining > 0) {
        assert(next < count);
        size_t last = pick_last(sorted, next, count, remaining);
        struct choice *choice = last != SIZE_MAX ? sorted[last] : sorted[next++];
        choice->use = (int32_t)least(choice->ranks, remaining);
        remaining -= choice->use;
    }
}

static void use_spread(struct choice **sorted, size_t count, int32_t size)
{
    for (int32_t remaining = size; remaining > 0;) {
        int32_t before = remaining;
        for (size_t i = 0; i < count && remaining > 0; i++) {
            if (sorted[i]->use == sorted[i]->ranks)
                continue;
            sorted[i]->use++;
            remaining--;
        }
        assert(remaining < before);
        (void)before;
    }
}

static void use(
    struct scoring *scoring, struct choice *choices, size_t count, int32_t size, bool spread)
{
    if (!spread && (size = use_few(scoring, choices, count, size)) == 0)
        return;
    choices_score(scoring, choices, count);
    SCOPED(mem_scope) struct choice **sorted = mem_alloc(count, sizeof *sorted);
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        if (choices[i].use == 0)
            sorted[left++] = &choices[i];
    }
    count = left;
    sort_pointers((void **)sorted, count, spread ? by_room : by_ranks, NULL);
    if (spread)
        use_spread(sorted, count, size);
    else
        use_packed(sorted, count, size);
}

void choices_use(struct choice *choices, size_t count, int32_t size, bool spread)
{
    use(NULL, choices, count, size, spread);
}

/* A gang of one rank: the best node, without sorting. */
static void use_best(struct choices *choices, bool spread)
{
    struct choice *best = NULL;
    for (size_t i = 0; i < choices->list.count; i++) {
        struct choice *choice = &choices->list.items[i];
        if (!best || (spread ? choice->score > best->score : choice->score < best->score))
            best = choice;
    }
    assert(best);
    best->use = 1;
}

static const struct live_node *plan_view(const struct core *core, const struct live_job *job,
    const struct live_node *node, struct node_view *view)
{
    return node->promises ? promise_view(core, job, node, view) : node;
}

static void part_shares(const struct core *core, const struct live_job *job,
    const struct choice *choice, struct plan *plan)
{
    int64_t milli = job->shape->row.accelerator_milli;
    int16_t taken[DEVICES_MAX] = {0};
    struct node_view view;
    const struct live_node *node = plan_view(core, job, choice->node, &view);
    for (int32_t rank = 0; rank < choice->use; rank++) {
        int32_t device = packing_device(core, job, node, taken);
        assert(device >= 0);
        taken[device] = (int16_t)(taken[device] + milli);
        vec_push(&plan->parts, ((struct plan_part){choice->node, (uint64_t)1 << device, milli, 1}));
    }
}

void plan_devices(const struct live_node *view, struct live_node *node,
    const struct shape_row *shape, int32_t ranks, struct plan *plan)
{
    if (view->sockets) {
        sockets_plan(view, node, shape, ranks, plan);
        return;
    }
    uint64_t devices = device_pick_whole(view, shape, ranks);
    vec_push(&plan->parts, ((struct plan_part){node, devices, DEVICE_MILLI, ranks}));
}

static void part_add(const struct core *core, const struct live_job *job,
    const struct choice *choice, struct plan *plan)
{
    const struct shape_row *shape = &job->shape->row;
    if (shape->accelerator_milli > 0 && shape->accelerator_milli < DEVICE_MILLI) {
        part_shares(core, job, choice, plan);
        return;
    }
    if (shape->accelerator_milli) {
        struct node_view view;
        const struct live_node *node = plan_view(core, job, choice->node, &view);
        plan_devices(node, choice->node, shape, choice->use, plan);
        return;
    }
    vec_push(&plan->parts, ((struct plan_part){.node = choice->node, .ranks = choice->use}));
}

static void choice_add(struct choices *choices, struct live_node *node, int32_t ranks, size_t order)
{
    struct choice choice = {.node = node, .ranks = ranks, .order = (uint32_t)order};
    if (ranks == 0)
        return;
    vec_push(&choices->list, choice);
    choices->total += ranks;
}

/* Whether nothing but room says how many ranks fit a node that nothing binds. */
static bool room_is_all(const struct core *core, const struct live_job *job)
{
    const struct live_shape *shape = job->shape;
    int64_t milli = shape->row.accelerator_milli;
    return (milli == 0 || milli >= DEVICE_MILLI) && !shape->row.exclusive && !shape->socket &&
           !shape->near && !job_spot(job) && core->apart_shapes == 0 &&
           core->reservation_next_ms == MOMENT_NEVER;
}

/* By rooms: nodes without are not looked at, for most have none for a gang that waits, and are in
 * no cache; nor are those of which nothing else counts. Ordinals are in the order of candidates. */
static void choices_by_rooms(const struct core *core, const struct live_job *job, uint32_t begin,
    uint32_t last, const int32_t *rooms, int32_t ask, struct choices *choices)
{
    bool all = room_is_all(core, job);
    for (uint32_t i = begin; i <= last; i++) {
        if (rooms[i] <= 0)
            continue;
        struct live_node *node = core->scores.nodes.items[i];
        bool known = all && !(rooms[i] & ROOM_BOUND);
        int32_t ranks = known ? (int32_t)least(rooms[i], ask) : fit_ranks(core, job, node, ask);
        choice_add(choices, node, ranks, i);
    }
}

/* rooms: NULL where they are not known. */
static void choices_collect(struct core *core, const struct live_job *job,
    struct live_node *const *nodes, size_t count, const int32_t *rooms, int32_t size_max,
    struct choices *choices)
{
    /* How tight a domain is takes all the room of its nodes. */
    int32_t ask = job->shape->row.topology ? GANG_SIZE_MAX : size_max;
    /* Where a level is required, candidates are in the order of domains. */
    if (rooms && job->shape->row.topology != WISH_REQUIRED) {
        choices_by_rooms(
            core, job, nodes[0]->ordinal, nodes[count - 1]->ordinal, rooms, ask, choices);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (!rooms || rooms[nodes[i]->ordinal] != 0)
            choice_add(choices, nodes[i], fit_ranks(core, job, nodes[i], ask), i);
    }
}

/* A gang that is packed goes to one node if one can hold it: then the others are not looked at, and
 * to score them would be most of the work. */
static void choices_narrow(const struct live_job *job, int32_t size_max, struct choices *choices)
{
    struct choice *items = choices->list.items;
    size_t kept = 0;
    if (job->shape->row.topology || job->shape->row.spread)
        return;
    for (size_t i = 0; i < choices->list.count; i++) {
        if (items[i].ranks == size_max)
            items[kept++] = items[i];
    }
    if (kept > 0)
        choices->list.count = kept;
}

/* Gives the plan's ranks to choices. */
static void choices_share(const struct core *core, const struct live_job *job, int32_t size_max,
    struct choices *choices, struct plan *plan)
{
    struct choice *items = choices->list.items;
    size_t count = choices->list.count;
    bool spread = job->shape->row.spread == SPREAD_SPREAD;
    struct scoring scoring = {.core = core, .job = job, .size_max = size_max};
    if (plan->size > 1 && !job->shape->row.topology) {
        use(&scoring, items, count, plan->size, spread);
        return;
    }
    choices_score(&scoring, items, count);
    if (plan->size == 1)
        use_best(choices, spread);
    else
        plan->domains = topology_distribute(core, job->shape, items, count, plan->size);
}

static bool plan_pool(struct core *core, const struct live_job *job, struct live_node *const *nodes,
    size_t count, const int32_t *rooms, int32_t size_min, int32_t size_max, struct plan *plan)
{
    struct choices choices = {0};
    packing_ready(core, job->shape);
    choices_collect(core, job, nodes, count, rooms, size_max, &choices);
    bool fits = choices.total >= size_min;
    plan->most = choices.total;
    if (fits) {
        choices_narrow(job, size_max, &choices);
        plan->size = (int32_t)least(choices.total, size_max);
        choices_share(core, job, size_max, &choices, plan);
        if (job->shape->row.topology == WISH_REQUIRED)
            plan->left = choices.total - plan->size;
        for (size_t i = 0; i < choices.list.count; i++) {
            if (choices.list.items[i].use > 0)
                part_add(core, job, &choices.list.items[i], plan);
        }
    }
    vec_free(&choices.list);
    return fits;
}

bool plan_make_pool(struct core *core, const struct live_job *job, struct live_node *const *nodes,
    size_t count, int32_t size_min, int32_t size_max, struct plan *plan)
{
    return plan_pool(core, job, nodes, count, NULL, size_min, size_max, plan);
}

/* Nodes of a pool stand together: the end is between one of it and one that is not. */
static size_t pool_end(struct live_node *const *nodes, size_t begin, size_t count)
{
    size_t inside = begin, end = count;
    while (end - inside > 1) {
        size_t middle = inside + (end - inside) / 2;
        if (nodes[middle]->pool == nodes[begin]->pool)
            inside = middle;
        else
            end = middle;
    }
    return end;
}

size_t plan_pool_end(const struct core *core, const struct live_shape *shape,
    struct live_node *const *nodes, size_t begin, size_t count)
{
    size_t end = begin;
    if (shape->row.topology != WISH_REQUIRED)
        return pool_end(nodes, begin, count);
    while (end < count && nodes[end]->pool == nodes[begin]->pool &&
           topology_same(core, shape, nodes[begin], nodes[end]))
        end++;
    return end;
}

static const struct live_pool *plan_in(const struct plan *plan)
{
    return plan->parts.items[0].node->pool;
}

static bool plan_better(
    struct core *core, const struct live_job *job, const struct plan *plan, const struct plan *than)
{
    if (plan->size != than->size)
        return plan->size > than->size;
    if (plan_in(plan) != plan_in(than) && broker_orders(core, job))
        return broker_before(core, job, plan_in(plan), plan_in(than));
    if (plan->domains != than->domains)
        return plan->domains < than->domains;
    if (plan->parts.count != than->parts.count)
        return plan->parts.count < than->parts.count;
    return plan->left < than->left;
}

struct live_node *plan_node(struct core *core, const struct live_job *job)
{
    struct live_node *best = score_best(core, job);
    struct live_node *kept = promise_best(core, job, best);
    return kept ? kept : best;
}

/* A gang of one: the best of the remembered scores. */
static bool plan_one(struct core *core, const struct live_job *job, struct plan *plan)
{
    struct choice choice = {.node = plan_node(core, job), .ranks = 1, .use = 1};
    if (!choice.node)
        return false;
    part_add(core, job, &choice, plan);
    plan->size = 1;
    return true;
}

static bool plan_any(struct core *core, const struct live_job *job, int32_t size_min,
    int32_t size_max, struct plan *plan)
{
    struct live_shape *shape = job->shape;
    /* A gang that waits for whole nodes is asked for at every end of a job: that no node has room
     * for one of its ranks is known from the scores. */
    if (!job->shape->socket && score_usable(core, job) && !plan_node(core, job))
        return false;
    if (size_min > 1 && !gang_room_for(core, shape, size_min)) {
        plan->most = size_min - 1;
        return false;
    }
    shape_candidates(core, shape);
    bool found = false;
    int64_t most_ranks = 0;
    const int32_t *rooms = gang_room_now(core, shape);
    size_t count = shape->candidates.count;
    for (size_t begin = 0, end; begin < count; begin = end) {
        struct live_node *const *nodes = shape->candidates.items;
        end = plan_pool_end(core, shape, nodes, begin, count);
        struct plan other = {0};
        if (!plan_pool(core, job, nodes + begin, end - begin, rooms, size_min, size_max, &other)) {
            most_ranks = most(most_ranks, other.most);
            continue;
        }
        if (found && !plan_better(core, job, &other, plan)) {
            plan_finish(&other);
            continue;
        }
        plan_finish(plan);
        *plan = other;
        found = true;
    }
    if (!found)
        plan->most = most_ranks;
    return found;
}

bool plan_make(struct core *core, const struct live_job *job, int32_t size_min, int32_t size_max,
    struct plan *plan)
{
    assert(size_min >= 1 && size_min <= size_max);
    if (size_max == 1 && !job_spot(job) && !job->shape->socket && score_usable(core, job))
        return plan_one(core, job, plan);
    return plan_any(core, job, size_min, size_max, plan);
}

void plan_amounts(const struct plan *plan, const struct live_job *job, struct amounts *ret)
{
    if (plan->parts.count == 1) {
        const struct plan_part *only = &plan->parts.items[0];
        amounts_of_shape(job->shape, only->ranks, only->node->resource, ret);
        return;
    }
    *ret = (struct amounts){0};
    for (size_t i = 0; i < plan->parts.count; i++) {
        struct amounts part;
        amounts_of_shape(
            job->shape, plan->parts.items[i].ranks, plan->parts.items[i].node->resource, &part);
        for (int r = 0; r < RESOURCE_MAX; r++)
            ret->of[r] += part.of[r];
    }
}
