/* The order of nodes, their kinds, the journal of what changes of them, which are idle, and what is
 * free of the others.
 *
 * Nodes have numbers in the order of candidates, given anew when nodes come, go or stop taking
 * work. Nodes that are alike are of one kind, and those of a kind of which nothing is held are the
 * same for everybody: score.c asks for the first of them. Each kind has a heap of its idle nodes by
 * number; one that is not idle any more stays in it until it is on top. Where there are more than
 * KINDS_SHARED_MAX kinds no node counts as idle, so that a search looks at few. */
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/score.h"
#include "core/shape.h"
#include "core/state.h"
#include "core/table.h"

#include <assert.h>

/* ---- the order of nodes -----------------------------------------------------------------------
 */

static bool labels_alike(const struct live_node *a, const struct live_node *b)
{
    const struct live_node_label *x = a->labels, *y = b->labels;
    for (; x && y; x = x->next, y = y->next) {
        if (x->row.effect != y->row.effect || x->row.key != y->row.key ||
            x->row.value != y->row.value)
            return false;
    }
    return x == y;
}

static bool nodes_alike(const struct live_node *a, const struct live_node *b)
{
    const struct node_row *x = &a->row, *y = &b->row;
    return a->pool == b->pool && x->type == y->type && x->accelerator == y->accelerator &&
           x->devices == y->devices && x->fractional == y->fractional &&
           x->cpu_milli == y->cpu_milli && x->memory_bytes == y->memory_bytes &&
           x->disk_bytes == y->disk_bytes && labels_alike(a, b);
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 29);
}

static uint64_t kind_hash(const struct live_node *node)
{
    const struct node_row *row = &node->row;
    uint64_t hash = mix(row->pool, (uint64_t)row->type << 32 | row->accelerator);
    hash = mix(hash, (uint64_t)row->devices << 1 | row->fractional);
    hash = mix(hash, (uint64_t)row->cpu_milli);
    hash = mix(mix(hash, (uint64_t)row->memory_bytes), (uint64_t)row->disk_bytes);
    for (const struct live_node_label *label = node->labels; label; label = label->next)
        hash = mix(mix(hash, (uint64_t)label->row.effect),
            (uint64_t)label->row.key << 32 | label->row.value);
    return hash ? hash : 1;
}

/* by_hash has kinds as pointers to a number: 1 + its place. */
static uint32_t kind_of(struct scores *scores, struct idmap *by_hash, const struct live_node *node)
{
    uint64_t hash = kind_hash(node);
    uint32_t first = (uint32_t)(uintptr_t)idmap_get(by_hash, hash);
    for (uint32_t kind = first; kind; kind = scores->kinds.items[kind - 1].same_hash) {
        if (nodes_alike(scores->kinds.items[kind - 1].like, node))
            return kind - 1;
    }
    vec_push(&scores->kinds, ((struct node_kind){.like = node, .same_hash = first}));
    vec_push(&scores->idle_first, NODE_NONE);
    idmap_put(by_hash, hash, (void *)(uintptr_t)scores->kinds.count);
    return (uint32_t)scores->kinds.count - 1;
}

static const struct node_free free_none = {{FREE_NONE, FREE_NONE, FREE_NONE}, FREE_NONE};

static void number_add(struct scores *scores, struct live_node *node, uint32_t kind)
{
    vec_push(&scores->nodes, node);
    vec_push(&scores->noted, ((struct node_noted){0}));
    vec_push(&scores->kind_of, kind);
    vec_push(&scores->idle, 0);
    vec_push(&scores->known, 0);
}

/* What scores are brought up to date by. */
static void free_forget(struct scores *scores)
{
    vec_large(&scores->free, scores->nodes.count);
    vec_large(&scores->keys, scores->nodes.count);
    for (size_t i = 0; i < scores->nodes.count; i++) {
        scores->free.items[i] = free_none;
        scores->keys.items[i] = 0;
    }
}

static void node_number(struct scores *scores, struct idmap *by_hash, struct live_node *node)
{
    node->ordinal = (uint32_t)scores->nodes.count;
    uint32_t kind = kind_of(scores, by_hash, node);
    scores->kinds.items[kind].staying += !node->row.leaving;
    number_add(scores, node, kind);
}

/* One more of the last segment. */
static void block_add(struct scores *scores)
{
    vec_push(&scores->segment_of, (uint32_t)scores->segments.count - 1);
    scores->segments.items[scores->segments.count - 1].block_end =
        (uint32_t)scores->segment_of.count;
}

/* In the order of candidates: pools by id, then nodes by id. A pool begins a block, so that no
 * bound is about two pools; numbers left out have no node. */
static void pool_number(struct scores *scores, struct idmap *by_hash, struct live_pool *pool)
{
    uint32_t pool_at = (uint32_t)scores->segments.count, kinds = (uint32_t)scores->kinds.count;
    for (size_t i = 0; i < pool->nodes.count; i++) {
        uint32_t block = (uint32_t)scores->nodes.count / SCORE_BLOCK;
        if (i % (SCORE_BLOCK * SCORE_BLOCK) == 0)
            vec_push(&scores->segments,
                ((struct score_segment){block, .pool = pool_at, .kinds_begin = kinds}));
        if (i % SCORE_BLOCK == 0)
            block_add(scores);
        node_number(scores, by_hash, pool->nodes.items[i]);
    }
    while (scores->nodes.count % SCORE_BLOCK)
        number_add(scores, NULL, 0);
    for (size_t s = pool_at; s < scores->segments.count; s++) {
        scores->segments.items[s].pool_end = (uint32_t)scores->segments.count;
        scores->segments.items[s].kinds_end = (uint32_t)scores->kinds.count;
    }
}

static void kinds_clear(struct scores *scores)
{
    for (size_t i = 0; i < scores->kinds.count; i++)
        vec_free(&scores->kinds.items[i].idle);
    vec_clear(&scores->kinds);
    vec_clear(&scores->idle_first);
}

void nodes_number(struct core *core)
{
    struct scores *scores = &core->scores;
    if (scores->version == core->topology_version)
        return;
    struct idmap by_hash = {0};
    vec_clear(&scores->nodes);
    vec_clear(&scores->noted);
    vec_clear(&scores->kind_of);
    vec_clear(&scores->segments);
    vec_clear(&scores->segment_of);
    kinds_clear(scores);
    vec_clear(&scores->idle);
    vec_clear(&scores->tops);
    vec_clear(&scores->known);
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool)
        pool_number(scores, &by_hash, pool);
    free_forget(scores);
    while (scores->tops.count < scores->segment_of.count || scores->tops.count % TOPS_SOME)
        vec_push(&scores->tops, 0);
    idmap_finish(&by_hash);
    scores->version = core->topology_version;
    scores->followed = false;
    scores->journal.begin = scores->journal.end;
    scores->journal.open = true;
}

/* ---- the journal ------------------------------------------------------------------------------
 */

static void last_set(struct journal *journal, uint64_t change, bool last)
{
    uint64_t *word = &journal->last[change % JOURNAL_MAX / 64];
    uint64_t bit = (uint64_t)1 << change % 64;
    *word = last ? *word | bit : *word & ~bit;
}

void journal_note(struct live_node *node)
{
    struct scores *scores = node->scores;
    struct journal *journal = &scores->journal;
    scores->promised |= node->promises != NULL;
    node->empty_key = 0;
    node->changes++;
    if (!journal->open || journal->trials)
        return;
    if (!journal->ring) {
        journal->ring = mem_alloc(JOURNAL_MAX, sizeof *journal->ring);
        journal->keys = mem_large(JOURNAL_MAX * sizeof *journal->keys);
        journal->last = mem_alloc(JOURNAL_MAX / 64, sizeof *journal->last);
    }
    struct node_noted *noted = &scores->noted.items[node->ordinal];
    if (noted->last > journal->begin)
        last_set(journal, noted->last - 1, false);
    last_set(journal, journal->end, true);
    journal->ring[journal->end % JOURNAL_MAX] = node->ordinal;
    noted->last = ++journal->end;
    if (journal->end - journal->begin > JOURNAL_MAX)
        journal->begin++;
}

void journal_close(struct scores *scores)
{
    scores->journal.open = false;
}

void journal_trial(struct core *core, int sign)
{
    core->scores.journal.trials += sign;
    assert(core->scores.journal.trials >= 0);
}

/* ---- idle nodes -------------------------------------------------------------------------------
 */

uint64_t kinds_matching(const struct core *core, struct live_shape *shape)
{
    const struct scores *scores = &core->scores;
    assert(kinds_shared(scores) && scores->version == core->topology_version);
    if (shape->kinds_version == scores->version)
        return shape->kinds;
    shape->kinds_version = scores->version;
    shape->kinds = 0;
    for (size_t i = 0; i < scores->kinds.count; i++) {
        uint64_t match = fit_matches(core, shape, scores->kinds.items[i].like);
        shape->kinds |= match << i;
    }
    return shape->kinds;
}

/* What is most often different is looked at first: each line of a node may be far away. */
static bool node_idle(const struct live_node *node)
{
    const struct bundle *all = &node->room.all;
    return all->cpu_milli == node->row.cpu_milli && all->memory_bytes == node->row.memory_bytes &&
           all->disk_bytes == node->row.disk_bytes && node->room.whole == node->row.devices &&
           node->placements.count == 0 && node->claims.count == 0 && !node->promises &&
           node->exclusive_held == 0 && node->exclusive_claimed == 0 && node_takes_work(node);
}

static void heap_push(struct node_kind *kind, uint32_t ordinal)
{
    vec_push(&kind->idle, ordinal);
    uint32_t *heap = kind->idle.items;
    size_t at = kind->idle.count - 1;
    for (; at > 0 && heap[(at - 1) / 2] > ordinal; at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = ordinal;
}

static void heap_pop(struct node_kind *kind)
{
    uint32_t *heap = kind->idle.items, last = heap[kind->idle.count - 1];
    size_t at = 0, count = --kind->idle.count;
    for (size_t child; (child = at * 2 + 1) < count; at = child) {
        child += child + 1 < count && heap[child + 1] < heap[child];
        if (heap[child] >= last)
            break;
        heap[at] = heap[child];
    }
    heap[at] = last;
}

/* The first idle node of the kind, on top of its heap. */
static void kind_idle(struct scores *scores, uint32_t at)
{
    struct node_kind *kind = &scores->kinds.items[at];
    while (kind->idle.count > 0 && !idle_is(scores, kind->idle.items[0])) {
        scores->idle.items[kind->idle.items[0]] = 0;
        heap_pop(kind);
    }
    scores->idle_first.items[at] = kind->idle.count > 0 ? kind->idle.items[0] : NODE_NONE;
    assert(at < KINDS_SHARED_MAX);
    uint64_t bit = (uint64_t)1 << at;
    scores->kinds_idle =
        kind->idle.count > 0 ? scores->kinds_idle | bit : scores->kinds_idle & ~bit;
}

static void idle_set(struct scores *scores, uint32_t ordinal, bool now)
{
    uint8_t *idle = &scores->idle.items[ordinal];
    uint32_t kind = scores->kind_of.items[ordinal];
    if (!now && !*idle)
        return;
    if (now && !(*idle & IDLE_QUEUED))
        heap_push(&scores->kinds.items[kind], ordinal);
    *idle = IDLE_QUEUED | (now ? IDLE_NOW : 0);
    kind_idle(scores, kind);
}

/* ---- what is free -----------------------------------------------------------------------------
 */

/* What jobs may use of a node that is promised depends on the job: see promise_best. */
struct node_free node_free_of(const struct live_node *node)
{
    const struct node_room *room = &node->room;
    if (node->promises || node->exclusive_held || node->exclusive_claimed || !node_takes_work(node))
        return free_none;
    return (struct node_free){room->all, room->whole * FREE_DEVICE + room->largest};
}

/* 0 for what is not there. Larger numbers keep ten bits, behind the place of the first. */
static uint64_t key_part(int64_t free)
{
    enum { KEPT = 10 };
    if (free <= 0)
        return 0;
    int cut = 64 - KEPT - __builtin_clzll((uint64_t)free);
    if (cut <= 0)
        return (uint64_t)free;
    return ((uint64_t)cut << (KEPT - 1)) + ((uint64_t)free >> cut);
}

static uint64_t key_of(uint64_t cpu, uint64_t memory, uint64_t disk, uint64_t devices)
{
    return cpu << 48 | memory << 32 | disk << 16 | devices;
}

uint64_t free_key(const struct node_free *free)
{
    return key_of(key_part(free->all.cpu_milli), key_part(free->all.memory_bytes),
        key_part(free->all.disk_bytes), key_part(free->devices));
}

/* The least part that nothing less than this has. */
static uint64_t key_part_sure(int64_t least)
{
    return least > 0 ? key_part(least - 1) + 1 : 0;
}

uint64_t free_key_sure(const struct node_free *least)
{
    uint64_t key =
        key_of(key_part_sure(least->all.cpu_milli), key_part_sure(least->all.memory_bytes),
            key_part_sure(least->all.disk_bytes), key_part_sure(least->devices));
    return key > 0 ? key : KEY_NEVER;
}

static void top_raise(struct scores *scores, uint32_t ordinal)
{
    uint64_t *top = &scores->tops.items[ordinal / SCORE_BLOCK];
    *top = key_most(*top, scores->keys.items[ordinal]);
}

void tops_correct(struct scores *scores)
{
    enum { CHANGES_FEW = 4 }; /* a part of the nodes */
    if (scores->journal.end - scores->tops_at < scores->nodes.count / CHANGES_FEW)
        return;
    scores->tops_at = scores->journal.end;
    for (size_t i = 0; i < scores->tops.count; i++) /* of a cluster without nodes there are none */
        scores->tops.items[i] = 0;
    for (uint32_t i = 0; i < scores->nodes.count; i++)
        top_raise(scores, i);
}

static void node_follow(struct scores *scores, uint32_t ordinal)
{
    const struct live_node *node = scores->nodes.items[ordinal];
    bool idle = kinds_shared(scores) && node_idle(node);
    idle_set(scores, ordinal, idle);
    struct node_free free = idle ? free_none : node_free_of(node);
    scores->free.items[ordinal] = free;
    scores->keys.items[ordinal] = free_key(&free);
    top_raise(scores, ordinal);
    scores->known.items[ordinal] = 0;
}

static void nodes_find(struct scores *scores)
{
    for (size_t i = 0; i < scores->kinds.count; i++)
        vec_clear(&scores->kinds.items[i].idle);
    for (size_t i = 0; i < scores->kinds.count; i++)
        scores->idle_first.items[i] = NODE_NONE;
    scores->kinds_idle = 0;
    if (scores->idle.count > 0)
        memset(scores->idle.items, 0, scores->idle.count);
    for (uint32_t i = 0; i < scores->nodes.count; i++) {
        if (scores->nodes.items[i])
            node_follow(scores, i);
    }
    scores->followed = true;
}

void nodes_follow(struct scores *scores)
{
    const struct journal *journal = &scores->journal;
    if (!scores->followed || scores->followed_at < journal->begin) {
        nodes_find(scores);
        scores->followed_at = journal->begin;
    }
    while (scores->followed_at < journal->end) {
        struct journal_word word = journal_word(journal, &scores->followed_at);
        for (; word.last; word.last &= word.last - 1) {
            size_t at = word.base + (size_t)__builtin_ctzll(word.last);
            node_follow(scores, journal->ring[at]);
            journal->keys[at] = scores->keys.items[journal->ring[at]];
        }
    }
}

static bool free_same(const struct node_free *a, const struct node_free *b)
{
    return a->all.cpu_milli == b->all.cpu_milli && a->all.memory_bytes == b->all.memory_bytes &&
           a->all.disk_bytes == b->all.disk_bytes && a->devices == b->devices;
}

/* What is known of a node that did not change since is what it is. */
static bool node_check(const struct scores *scores, uint32_t ordinal)
{
    const struct live_node *node = scores->nodes.items[ordinal];
    bool idle = kinds_shared(scores) && node && node_idle(node);
    struct node_free now = idle || !node ? free_none : node_free_of(node);
    return scores->noted.items[ordinal].last > scores->followed_at ||
           (idle == idle_is(scores, ordinal) && free_same(&now, &scores->free.items[ordinal]) &&
               scores->keys.items[ordinal] == free_key(&now) &&
               key_enough(scores->tops.items[ordinal / SCORE_BLOCK], free_key(&now)));
}

static bool kind_check(const struct scores *scores, uint32_t at)
{
    const struct node_kind *kind = &scores->kinds.items[at];
    uint32_t first = scores->idle_first.items[at];
    if (kinds_shared(scores) && (scores->kinds_idle >> at & 1) != (kind->idle.count > 0))
        return false;
    for (size_t i = 1; i < kind->idle.count; i++) {
        if (kind->idle.items[i] <= kind->idle.items[(i - 1) / 2])
            return false;
    }
    return kind->idle.count == 0 ? first == NODE_NONE
                                 : first == kind->idle.items[0] && idle_is(scores, first);
}

bool nodes_check(const struct core *core)
{
    const struct scores *scores = &core->scores;
    size_t queued = 0, heaps = 0;
    if (!scores->followed || scores->version != core->topology_version)
        return true;
    for (uint32_t i = 0; i < scores->nodes.count; i++) {
        if (!node_check(scores, i))
            return false;
        queued += scores->idle.items[i] != 0;
    }
    for (uint32_t k = 0; k < scores->kinds.count; k++) {
        if (!kind_check(scores, k))
            return false;
        heaps += scores->kinds.items[k].idle.count;
    }
    return queued == heaps;
}

void scores_free(struct scores *scores)
{
    kinds_clear(scores);
    vec_free(&scores->kinds);
    vec_free(&scores->nodes);
    vec_free(&scores->noted);
    vec_free(&scores->kind_of);
    vec_free(&scores->idle);
    vec_free(&scores->idle_first);
    vec_free(&scores->free);
    vec_free(&scores->keys);
    vec_free(&scores->tops);
    vec_free(&scores->known);
    free(scores->journal.ring);
    free(scores->journal.keys);
    free(scores->journal.last);
    scores->journal = (struct journal){0};
    vec_free(&scores->segments);
    vec_free(&scores->segment_of);
    vec_free(&scores->shapes);
}
