/* Shapes: what a rank asks for and where it may go, stored once for all jobs that ask the same.
 *
 * Rules of one kind and key belong together: a node matches "in" when its value is one of theirs.
 * Two "in" requirements on one key are therefore intersected before they are stored. */
#include "core/shape.h"

#include "core/place.h"
#include "core/resource.h"
#include "core/socket.h"
#include "core/state.h"
#include "core/symbol.h"
#include "core/table.h"

#include <assert.h>

struct draft {
    struct shape_row row;
    VEC(struct rule_row) rules;
};

static void draft_rule(struct draft *draft, int32_t rule, uint32_t key, uint32_t value)
{
    for (size_t i = 0; i < draft->rules.count; i++) {
        const struct rule_row *same = &draft->rules.items[i];
        if (same->rule == rule && same->key == key && same->value == value)
            return;
    }
    vec_push(&draft->rules, ((struct rule_row){.rule = rule, .key = key, .value = value}));
}

static bool has_key(const struct draft *draft, int32_t rule, uint32_t key)
{
    for (size_t i = 0; i < draft->rules.count; i++) {
        if (draft->rules.items[i].rule == rule && draft->rules.items[i].key == key)
            return true;
    }
    return false;
}

static bool in_list(struct core *core, const struct text_list *list, uint32_t value)
{
    for (size_t i = 0; i < list->count; i++) {
        if (symbol_intern(core, list->items[i]) == value)
            return true;
    }
    return false;
}

/* Keeps of the values that key may have those that are in the list as well. When none is left, the
 * key itself stays, with value 0, which no label has: nothing matches. */
static void draft_intersect(
    struct core *core, struct draft *draft, uint32_t key, const struct text_list *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < draft->rules.count; i++) {
        struct rule_row rule = draft->rules.items[i];
        bool drop = rule.rule == LABEL_IN && rule.key == key && !in_list(core, list, rule.value);
        if (!drop)
            draft->rules.items[kept++] = rule;
    }
    draft->rules.count = kept;
    if (!has_key(draft, LABEL_IN, key))
        draft_rule(draft, LABEL_IN, key, 0);
}

static void draft_require(
    struct core *core, struct draft *draft, const struct node_requirement *require)
{
    uint32_t key = symbol_intern(core, require->key);
    if (require->operation == LABEL_EXISTS || require->operation == LABEL_ABSENT) {
        draft_rule(draft, require->operation, key, 0);
        return;
    }
    if (require->operation == LABEL_IN && has_key(draft, LABEL_IN, key)) {
        draft_intersect(core, draft, key, &require->values);
        return;
    }
    for (size_t i = 0; i < require->values.count; i++)
        draft_rule(draft, require->operation, key, symbol_intern(core, require->values.items[i]));
    if (require->values.count == 0 && require->operation == LABEL_IN)
        draft_rule(draft, LABEL_IN, key, 0);
}

/* Symbols are made in a stated order, here and everywhere: the order in which arguments and
 * initialisers are evaluated is the compiler's choice, and ids would depend on it. */
static void draft_pair(struct core *core, struct draft *draft, int32_t rule, const char *key_text,
    const char *value_text)
{
    uint32_t key = symbol_intern(core, key_text);
    uint32_t value = symbol_intern(core, value_text);
    draft_rule(draft, rule, key, value);
}

static void draft_labels(
    struct core *core, struct draft *draft, int32_t rule, const struct label_list *labels)
{
    for (size_t i = 0; i < labels->count; i++)
        draft_pair(core, draft, rule, labels->items[i].key, labels->items[i].value);
}

static void draft_make(struct core *core, const struct job *job, struct draft *draft)
{
    const struct placement *place = &job->placement;
    const struct resources *ask = &job->resources;
    draft->row = (struct shape_row){
        .cpu_milli = ask->cpu_milli,
        .memory_bytes = ask->memory_bytes,
        .disk_bytes = ask->disk_bytes,
        .accelerator_milli = ask->accelerator_milli,
        .spread = (int32_t)place->spread,
        .exclusive = place->exclusive,
        .spot = (int32_t)place->spot,
    };
    if (ask->accelerator_milli)
        draft->row.accelerator = symbol_intern(core, ask->accelerator);
    draft->row.pool = symbol_intern(core, place->pool);
    draft->row.node_type = symbol_intern(core, place->node_type);
    draft->row.jurisdiction = symbol_intern(core, place->jurisdiction);
    if (job->topology.within) {
        bool required = job->topology.mode == TOPOLOGY_REQUIRED;
        draft->row.topology = required ? WISH_REQUIRED : WISH_PREFERRED;
        draft->row.within = symbol_intern(core, job->topology.within);
    }
    for (size_t i = 0; i < place->require.count; i++)
        draft_require(core, draft, &place->require.items[i]);
    for (size_t i = 0; i < place->tolerations.count; i++)
        draft_pair(core, draft, RULE_TOLERATE, place->tolerations.items[i].key,
            place->tolerations.items[i].value);
    draft_labels(core, draft, RULE_NEAR, &place->near);
    draft_labels(core, draft, RULE_APART, &place->apart);
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash ^= value + 0x9e3779b97f4a7c15u + (hash << 6) + (hash >> 2);
    hash *= 0xbf58476d1ce4e5b9u;
    return hash ^ (hash >> 29);
}

static uint64_t shape_hash_row(const struct shape_row *row)
{
    uint64_t hash = mix(1, (uint64_t)row->cpu_milli);
    hash = mix(hash, (uint64_t)row->memory_bytes);
    hash = mix(hash, (uint64_t)row->disk_bytes);
    hash = mix(hash, (uint64_t)row->accelerator_milli);
    hash = mix(hash, (uint64_t)row->accelerator << 32 | row->pool);
    hash = mix(hash, (uint64_t)row->node_type << 32 | row->jurisdiction);
    hash = mix(hash, (uint64_t)row->topology << 32 | row->within);
    return mix(hash, (uint64_t)row->spot << 32 | (uint64_t)row->spread << 1 | row->exclusive);
}

static uint64_t shape_hash_rule(uint64_t hash, const struct rule_row *rule)
{
    hash = mix(hash, (uint64_t)rule->rule);
    return mix(hash, (uint64_t)rule->key << 32 | rule->value);
}

static bool same_row(const struct shape_row *a, const struct shape_row *b)
{
    return a->cpu_milli == b->cpu_milli && a->memory_bytes == b->memory_bytes &&
           a->disk_bytes == b->disk_bytes && a->accelerator_milli == b->accelerator_milli &&
           a->accelerator == b->accelerator && a->pool == b->pool && a->node_type == b->node_type &&
           a->jurisdiction == b->jurisdiction && a->spread == b->spread &&
           a->exclusive == b->exclusive && a->topology == b->topology && a->within == b->within &&
           a->spot == b->spot;
}

static bool same_shape(const struct live_shape *shape, const struct draft *draft)
{
    if (!same_row(&shape->row, &draft->row) || shape->barred.count)
        return false;
    const struct live_rule *rule = shape->rules;
    for (size_t i = 0; i < draft->rules.count; i++, rule = rule->next) {
        const struct rule_row *other = &draft->rules.items[i];
        if (!rule || rule->row.rule != other->rule || rule->row.key != other->key ||
            rule->row.value != other->value)
            return false;
    }
    return rule == NULL;
}

void shape_index(struct core *core, struct live_shape *shape)
{
    uint64_t hash = shape_hash_row(&shape->row);
    for (const struct live_rule *rule = shape->rules; rule; rule = rule->next) {
        hash = shape_hash_rule(hash, &rule->row);
        shape->near |= rule->row.rule == RULE_NEAR;
        shape->apart |= rule->row.rule == RULE_APART;
    }
    if (shape->row.accelerator_milli >= DEVICE_MILLI &&
        strcmp(core_symbol(core, shape->row.within), LEVEL_SOCKET) == 0)
        shape->socket = shape->row.topology;
    shape->hash = hash ? hash : 1;
    shape->same_hash = idmap_get(&core->shapes_by_hash, shape->hash);
    idmap_put(&core->shapes_by_hash, shape->hash, shape);
    /* A type that no node has gets no index: jobs could use the indexes up. */
    shape->resource =
        shape->row.accelerator ? resource_find_type(core, shape->row.accelerator) : -1;
    core->apart_shapes += shape->apart;
}

static uint64_t draft_hash(const struct draft *draft)
{
    uint64_t hash = shape_hash_row(&draft->row);
    for (size_t i = 0; i < draft->rules.count; i++)
        hash = shape_hash_rule(hash, &draft->rules.items[i]);
    return hash ? hash : 1;
}

static struct live_shape *shape_create(struct core *core, const struct draft *draft)
{
    struct live_shape *shape = mem_alloc(1, sizeof *shape);
    shape->row = draft->row;
    change_new(core, ROW_SHAPE, &shape->item);
    for (size_t i = 0; i < draft->rules.count; i++) {
        struct live_rule *rule = mem_alloc(1, sizeof *rule);
        rule->row = draft->rules.items[i];
        rule->row.shape = shape->row.id;
        change_new(core, ROW_RULE, &rule->item);
        LIST_APPEND(shape->rules, rule, next);
    }
    shape_index(core, shape);
    return shape;
}

struct live_shape *shape_intern(struct core *core, const struct job *job)
{
    struct draft draft = {0};
    draft_make(core, job, &draft);
    struct live_shape *shape = idmap_get(&core->shapes_by_hash, draft_hash(&draft));
    while (shape && !same_shape(shape, &draft))
        shape = shape->same_hash;
    if (!shape)
        shape = shape_create(core, &draft);
    vec_free(&draft.rules);
    shape->references++;
    return shape;
}

void shape_ref(struct core *core, struct live_shape *shape)
{
    (void)core;
    shape->references++;
}

struct live_shape *shape_without(
    struct core *core, const struct live_shape *shape, const struct live_pool *pool)
{
    struct draft draft = {.row = shape->row};
    for (const struct live_rule *rule = shape->rules; rule; rule = rule->next)
        vec_push(&draft.rules, rule->row);
    struct live_shape *own = shape_create(core, &draft);
    vec_free(&draft.rules);
    for (size_t i = 0; i < shape->barred.count; i++)
        vec_push(&own->barred, shape->barred.items[i]);
    vec_push(&own->barred, pool);
    own->references++;
    return own;
}

static void shape_unindex(struct core *core, struct live_shape *shape)
{
    struct live_shape *first = idmap_get(&core->shapes_by_hash, shape->hash);
    LIST_REMOVE(first, shape, same_hash);
    if (first)
        idmap_put(&core->shapes_by_hash, shape->hash, first);
    else
        idmap_remove(&core->shapes_by_hash, shape->hash);
    core->apart_shapes -= shape->apart;
}

void shape_unref(struct core *core, struct live_shape *shape)
{
    assert(shape->references > 0);
    if (--shape->references)
        return;
    shape_unindex(core, shape);
    for (struct live_rule *rule = shape->rules, *next; rule; rule = next) {
        next = rule->next;
        change_delete(core, &rule->item);
    }
    vec_free(&shape->candidates);
    vec_free(&shape->prices);
    vec_free(&shape->barred);
    score_forget(core, shape);
    gang_room_forget(core, shape);
    free(shape->packing);
    shape->packing = NULL;
    change_delete(core, &shape->item);
}

void shape_free(struct live_shape *shape)
{
    vec_free(&shape->candidates);
    vec_free(&shape->prices);
    vec_free(&shape->barred);
    free(shape->room);
    free(shape->packing);
    free(shape);
}

const struct shape_row *core_shape(const struct core *core, uint64_t id)
{
    const struct item *item = table_find(core, ROW_SHAPE, id);
    return item ? &((const struct live_shape *)item)->row : NULL;
}
