/* The mix of jobs: see packing_mix.h. */
#include "core/packing_mix.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/score.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/table.h"

#include <assert.h>

static int64_t differs(const struct live_shape *shape)
{
    int64_t by = shape->ranks - shape->row.mix;
    return by < 0 ? -by : by;
}

void mix_count(struct core *core, struct live_shape *shape, int64_t ranks)
{
    core->mix.drift -= differs(shape);
    shape->ranks += ranks;
    assert(shape->ranks >= 0);
    core->mix.drift += differs(shape);
}

/* ---- the mix ----------------------------------------------------------------------------------
 */

void mix_learn(struct core *core)
{
    if (core->mix.drift < most(core->mix.ranks, MIX_RANKS_MIN) ||
        (core->options.mix_once && core->mix.ranks > 0))
        return;
    core->mix.topology_version = 0;
    core->mix.ranks = 0;
    core->mix.drift = 0;
    TABLE_EACH (core, ROW_SHAPE, struct live_shape, shape) {
        bool was = shape->row.mix > 0, is = shape->ranks > 0;
        if (shape->row.mix != shape->ranks) {
            shape->row.mix = shape->ranks;
            change_put(core, &shape->item);
        }
        core->mix.ranks += shape->row.mix;
        if (is && !was)
            shape_ref(core, shape); /* a shape of the mix is in use by that */
        if (was && !is)
            shape_unref(core, shape);
    }
}

/* The most asked for first; of equals, the one that came first. */
static int by_ranks(const void *a, const void *b, const void *context)
{
    (void)context;
    const struct live_shape *left = a, *right = b;
    int order = -compare_i64(left->row.mix, right->row.mix);
    return order ? order : compare_u64(left->row.id, right->row.id);
}

static void items_make(struct core *core)
{
    VEC(struct live_shape *) shapes = {0};
    TABLE_EACH (core, ROW_SHAPE, struct live_shape, shape) {
        if (shape->row.mix > 0)
            vec_push(&shapes, shape);
    }
    sort_pointers((void **)shapes.items, shapes.count, by_ranks, NULL);
    vec_clear(&core->mix.items);
    for (size_t i = 0; i < shapes.count && i < MIX_ITEMS_MAX; i++) {
        struct mix_item item = {.shape = shapes.items[i], .ranks = shapes.items[i]->row.mix};
        vec_push(&core->mix.items, item);
    }
    vec_free(&shapes);
}

/* ---- classes ----------------------------------------------------------------------------------
 */

static uint64_t hash_add(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 29);
}

static uint64_t class_hash(const struct mix_class *class)
{
    const struct node_row *row = &class->like->row;
    uint64_t hash = hash_add(1, (uint64_t)row->cpu_milli);
    hash = hash_add(hash, (uint64_t)row->memory_bytes);
    hash = hash_add(hash, (uint64_t)row->disk_bytes);
    hash = hash_add(hash, (uint64_t)row->devices << 1 | row->fractional);
    for (size_t i = 0; i < ARRAY_LEN(class->allowed); i++)
        hash = hash_add(hash, class->allowed[i]);
    return hash;
}

static bool class_same(const struct mix_class *a, const struct mix_class *b)
{
    const struct node_row *left = &a->like->row, *right = &b->like->row;
    return a->hash == b->hash && left->cpu_milli == right->cpu_milli &&
           left->memory_bytes == right->memory_bytes && left->disk_bytes == right->disk_bytes &&
           left->devices == right->devices && left->fractional == right->fractional &&
           memcmp(a->allowed, b->allowed, sizeof a->allowed) == 0;
}

/* Asked of the node itself only where too many kinds are there to remember them. */
static bool matches(
    const struct core *core, struct live_shape *shape, const struct live_node *node, uint32_t kind)
{
    return kinds_shared(&core->scores) ? kinds_matching(core, shape) >> kind & 1
                                       : fit_matches(core, shape, node);
}

static struct mix_class class_describe(const struct core *core, const struct live_node *node)
{
    struct mix_class class = {.like = node};
    uint32_t kind = core->scores.kind_of.items[node->ordinal];
    for (size_t i = 0; i < core->mix.items.count; i++) {
        uint64_t match = matches(core, core->mix.items.items[i].shape, node, kind);
        class.allowed[i / 64] |= match << i % 64;
    }
    class.hash = class_hash(&class);
    return class;
}

/* What all nodes are that come after the last class: anything goes there. */
static struct mix_class class_of_rest(const struct live_node *node)
{
    struct mix_class class = {.like = node, .hash = 1};
    memset(class.allowed, 0xff, sizeof class.allowed);
    return class;
}

static int32_t class_find(const struct mix *mix, const struct mix_class *class)
{
    for (size_t i = 0; i < mix->classes.count; i++) {
        if (class_same(&mix->classes.items[i], class))
            return (int32_t)i;
    }
    return -1;
}

/* The class of nodes that are like this one. */
static int32_t class_provide(struct core *core, const struct live_node *node)
{
    struct mix *mix = &core->mix;
    struct mix_class class = class_describe(core, node);
    int32_t found = class_find(mix, &class);
    if (found >= 0)
        return found;
    if (mix->classes.count == MIX_CLASSES_MAX)
        vec_push(&mix->classes, class_of_rest(node));
    else if (mix->classes.count < MIX_CLASSES_MAX)
        vec_push(&mix->classes, class);
    return (int32_t)mix->classes.count - 1;
}

static void kinds_find(struct core *core)
{
    struct mix *mix = &core->mix;
    const struct scores *scores = &core->scores;
    SCOPED(mem_scope) size_t *found = mem_alloc(scores->kinds.count + 1, sizeof *found);
    vec_clear(&mix->kinds);
    TABLE_EACH (core, ROW_NODE, struct live_node, node) {
        assert(scores->nodes.items[node->ordinal] == node);
        uint32_t kind = scores->kind_of.items[node->ordinal];
        if (!found[kind]) {
            vec_push(&mix->kinds, ((struct mix_kind){.like = node, .kind = kind, .class = -1}));
            found[kind] = mix->kinds.count;
        }
        mix->kinds.items[found[kind] - 1].nodes++;
    }
    mix->numbered = scores->version;
}

static void nodes_classify(struct core *core)
{
    const struct mix *mix = &core->mix;
    const struct scores *scores = &core->scores;
    SCOPED(mem_scope) int32_t *class_of = mem_alloc(scores->kinds.count + 1, sizeof *class_of);
    for (size_t i = 0; i < mix->kinds.count; i++)
        class_of[mix->kinds.items[i].kind] = mix->kinds.items[i].class;
    TABLE_EACH (core, ROW_NODE, struct live_node, node)
        node->packing_class = class_of[scores->kind_of.items[node->ordinal]];
}

/* Nodes of a kind are in one class, so that only the first of each needs a look, and all only where
 * a kind is in another class than before. */
static void classes_make(struct core *core)
{
    struct mix *mix = &core->mix;
    bool moved = false;
    nodes_number(core);
    if (mix->numbered != core->scores.version)
        kinds_find(core);
    vec_clear(&mix->classes);
    for (size_t i = 0; i < mix->kinds.count; i++) {
        struct mix_kind *kind = &mix->kinds.items[i];
        int32_t class = class_provide(core, kind->like);
        mix->classes.items[class].nodes += kind->nodes;
        moved |= class != kind->class;
        kind->class = class;
    }
    if (moved)
        nodes_classify(core);
    mix->topology_version = core->topology_version;
}

static bool item_limited(const struct mix *mix, size_t item)
{
    const struct shape_row *shape = &mix->items.items[item].shape->row;
    for (size_t i = 0; i < mix->classes.count; i++) {
        const struct mix_class *class = &mix->classes.items[i];
        if (!mix_allows(class, item) && fit_idle_ranks(shape, class->like, 1) > 0)
            return true;
    }
    return false;
}

bool mix_refresh(struct core *core)
{
    struct mix *mix = &core->mix;
    if (mix->topology_version == core->topology_version)
        return false;
    items_make(core);
    classes_make(core);
    for (size_t i = 0; i < mix->items.count; i++)
        mix->items.items[i].limited = item_limited(mix, i);
    return true;
}

bool mix_knows(const struct core *core, const struct live_node *node)
{
    return (size_t)node->packing_class < core->mix.classes.count;
}

const struct mix_class *mix_class_of(const struct core *core, const struct live_node *node)
{
    assert((size_t)node->packing_class < core->mix.classes.count);
    return &core->mix.classes.items[node->packing_class];
}

/* ---- loading, checking ------------------------------------------------------------------------
 */

void mix_index(struct core *core)
{
    core->mix.ranks = 0;
    core->mix.drift = 0;
    TABLE_EACH (core, ROW_JOB, struct live_job, job)
        job->shape->ranks += job->row.size;
    TABLE_EACH (core, ROW_SHAPE, struct live_shape, shape) {
        core->mix.ranks += shape->row.mix;
        core->mix.drift += differs(shape);
        if (shape->row.mix > 0)
            shape_ref(core, shape);
    }
}

bool mix_check(const struct core *core)
{
    int64_t ranks = 0, mix = 0, drift = 0;
    TABLE_EACH (core, ROW_JOB, struct live_job, job)
        ranks += job->row.size;
    TABLE_EACH (core, ROW_SHAPE, struct live_shape, shape) {
        ranks -= shape->ranks;
        mix += shape->row.mix;
        drift += differs(shape);
    }
    return ranks == 0 && mix == core->mix.ranks && drift == core->mix.drift;
}

void mix_free(struct mix *mix)
{
    vec_free(&mix->kinds);
    vec_free(&mix->items);
    vec_free(&mix->classes);
}
