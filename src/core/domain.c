/* How a gang is spread over domains: from the outermost level inwards, as few domains as can be of
 * each. Largest first is the least number of domains of one level, since no other so many hold
 * more; the last of them is the tightest that takes what is left. */
#include "core/limits.h"
#include "core/pool.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/topology.h"

#include <assert.h>
#include <string.h>

/* Neighbouring choices of one domain. */
struct group {
    size_t begin, end;
    int64_t ranks; /* that fit */
    bool used;
};

typedef VEC(struct group) group_vec;

struct spreading {
    struct choice *choices;
    const struct live_pool *pool;
    int32_t wish; /* the level that the shape names, or that of nodes */
    bool spread;  /* over nodes, within the innermost domains */
};

static int by_path(const void *a, const void *b, const void *context)
{
    const struct choice *left = a, *right = b;
    int32_t levels = *(const int32_t *)context;
    for (int32_t i = 0; i < levels; i++) {
        int order = compare_u64(left->node->domains[i], right->node->domains[i]);
        if (order)
            return order;
    }
    return compare_u64(left->order, right->order);
}

static void sort_choices(struct choice *choices, size_t count, int32_t levels)
{
    SCOPED(mem_scope) struct choice *copy = mem_alloc(count, sizeof *copy);
    SCOPED(mem_scope) struct choice **sorted = mem_alloc(count, sizeof *sorted);
    memcpy(copy, choices, count * sizeof *copy);
    for (size_t i = 0; i < count; i++)
        sorted[i] = &copy[i];
    sort_pointers((void **)sorted, count, by_path, &levels);
    for (size_t i = 0; i < count; i++)
        choices[i] = *sorted[i];
}

/* Whether two neighbours are in one domain of the level; below all levels, each is alone. */
static bool together(const struct spreading *in, size_t a, size_t b, int32_t level)
{
    return level < in->pool->level_count &&
           in->choices[a].node->domains[level] == in->choices[b].node->domains[level];
}

static void groups_make(
    const struct spreading *in, size_t begin, size_t end, int32_t level, group_vec *ret)
{
    vec_clear(ret);
    for (size_t at = begin; at < end;) {
        struct group group = {.begin = at};
        for (; at < end && (at == group.begin || together(in, group.begin, at, level)); at++)
            group.ranks += in->choices[at].ranks;
        group.end = at;
        vec_push(ret, group);
    }
}

static int by_ranks(const void *a, const void *b, const void *context)
{
    (void)context;
    const struct group *left = a, *right = b;
    int order = -compare_i64(left->ranks, right->ranks);
    return order ? order : compare_u64(left->begin, right->begin);
}

/* How many domains of the wished level so many ranks take of a group, at least. */
static int32_t group_domains(const struct spreading *in, const struct group *group, int64_t size)
{
    group_vec inner = {0};
    int32_t domains = 0;
    groups_make(in, group->begin, group->end, in->wish, &inner);
    SCOPED(mem_scope) struct group **sorted = mem_alloc(inner.count, sizeof *sorted);
    for (size_t i = 0; i < inner.count; i++)
        sorted[i] = &inner.items[i];
    sort_pointers((void **)sorted, inner.count, by_ranks, NULL);
    for (; size > 0; domains++)
        size -= sorted[domains]->ranks;
    vec_free(&inner);
    return domains;
}

/* The group that should take all of `size`, or NULL when none can alone. */
static struct group *pick_whole(
    const struct spreading *in, group_vec *groups, int32_t level, int64_t size)
{
    struct group *best = NULL;
    int32_t best_domains = 0;
    for (size_t i = 0; i < groups->count; i++) {
        struct group *group = &groups->items[i];
        if (group->used || group->ranks < size)
            continue;
        int32_t domains = level < in->wish ? group_domains(in, group, size) : 1;
        if (best &&
            (domains > best_domains || (domains == best_domains && group->ranks >= best->ranks)))
            continue;
        best = group;
        best_domains = domains;
    }
    return best;
}

static struct group *pick_largest(group_vec *groups)
{
    struct group *best = NULL;
    for (size_t i = 0; i < groups->count; i++) {
        struct group *group = &groups->items[i];
        if (!group->used && (!best || group->ranks > best->ranks))
            best = group;
    }
    return best;
}

/* The depth is at most LEVELS_MAX. */
static void spread_out(struct spreading *in, size_t begin, size_t end, int32_t level, int32_t size)
{
    if (level == in->pool->level_count) {
        choices_use(in->choices + begin, end - begin, size, in->spread);
        return;
    }
    group_vec groups = {0};
    groups_make(in, begin, end, level, &groups);
    while (size > 0) {
        struct group *group = pick_whole(in, &groups, level, size);
        if (!group)
            group = pick_largest(&groups);
        assert(group);
        int32_t share = (int32_t)least(group->ranks, size);
        group->used = true;
        spread_out(in, group->begin, group->end, level + 1, share);
        size -= share;
    }
    vec_free(&groups);
}

static int32_t domains_used(const struct spreading *in, size_t count)
{
    int32_t domains = 0;
    size_t last = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        if (in->choices[i].use == 0)
            continue;
        domains += last == SIZE_MAX || !together(in, last, i, in->wish);
        last = i;
    }
    return domains;
}

int32_t topology_distribute(const struct core *core, const struct live_shape *shape,
    struct choice *choices, size_t count, int32_t size)
{
    assert(count > 0);
    const struct live_pool *pool = choices[0].node->pool;
    int32_t level = topology_level(core, pool, shape);
    struct spreading in = {
        .choices = choices,
        .pool = pool,
        .wish = level == LEVEL_NONE ? pool->level_count : level,
        .spread = shape->row.spread == SPREAD_SPREAD,
    };
    sort_choices(choices, count, pool->level_count);
    spread_out(&in, 0, count, 0, size);
    return domains_used(&in, count);
}
