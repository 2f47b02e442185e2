/* Places for what an allotment policy decided: as plan_make finds them, or, for a policy that says
 * so, from the emptiest nodes first: the gang takes all it can of the node with most room, of
 * equals the first, then of the next. */
#include "core/allot.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"

#include <assert.h>

struct room {
    struct live_node *node;
    int32_t ranks;
    size_t order;
};

static int by_room(const void *a, const void *b, const void *context)
{
    (void)context;
    const struct room *left = a, *right = b;
    int order = -compare_i64(left->ranks, right->ranks);
    return order ? order : compare_u64(left->order, right->order);
}

/* In one pool, whose matching nodes are given. Whole devices only: see allot_governs. */
static bool widest_in_pool(struct core *core, const struct live_job *job,
    struct live_node *const *nodes, size_t count, int32_t size_min, int32_t size_max,
    struct plan *plan)
{
    int64_t total = 0;
    SCOPED(mem_scope) struct room *rooms = mem_alloc(count, sizeof *rooms);
    SCOPED(mem_scope) struct room **sorted = mem_alloc(count, sizeof *sorted);
    for (size_t i = 0; i < count; i++) {
        rooms[i] = (struct room){nodes[i], fit_ranks(core, job, nodes[i], DEVICES_MAX), i};
        sorted[i] = &rooms[i];
        total += rooms[i].ranks;
    }
    if (total < size_min)
        return false;
    sort_pointers((void **)sorted, count, by_room, NULL);
    plan->size = (int32_t)least(total, size_max);
    int32_t left = plan->size;
    for (size_t i = 0; left > 0; i++) {
        int32_t use = (int32_t)least(sorted[i]->ranks, left);
        if (use > 0)
            plan_devices(sorted[i]->node, sorted[i]->node, &job->shape->row, use, plan);
        left -= use;
    }
    return true;
}

static bool plan_widest(struct core *core, const struct live_job *job, int32_t size_min,
    int32_t size_max, struct plan *plan)
{
    shape_candidates(core, job->shape);
    size_t count = job->shape->candidates.count;
    for (size_t begin = 0, end; begin < count; begin = end) {
        struct live_node *const *nodes = job->shape->candidates.items;
        end = plan_pool_end(core, job->shape, nodes, begin, count);
        if (widest_in_pool(core, job, nodes + begin, end - begin, size_min, size_max, plan))
            return true;
    }
    return false;
}

bool allot_plan(struct core *core, const struct live_job *job, int32_t size_min, int32_t size_max,
    struct plan *plan)
{
    assert(size_min >= 1 && size_min <= size_max);
    if (core->allotment->widest)
        return plan_widest(core, job, size_min, size_max, plan);
    return plan_make(core, job, size_min, size_max, plan);
}

void plan_claim(const struct live_job *job, const struct plan *plan, int sign)
{
    for (size_t i = 0; i < plan->parts.count; i++) {
        const struct plan_part *part = &plan->parts.items[i];
        node_claim(
            part->node, &job->shape->row, part->devices, part->device_milli, part->ranks, sign);
    }
}
