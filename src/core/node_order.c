/* The order of nodes, their kinds, the journal of what changes of them, and which are idle.
 *
 * Nodes have numbers in the order of candidates, given anew when nodes come, go or stop taking
 * work. Nodes that are alike are of one kind, and those of a kind of which nothing is held are the
 * same for everybody: score.c asks for the first of them. Each kind has a heap of its idle nodes by
 * number; one that is not idle any more stays in it until it is on top. Where there are more than
 * KINDS_SHARED_MAX kinds no node counts as idle, so that a search looks at few. */
#include "core/limits.h"
#include "core/pool.h"
#include "core/score.h"
#include "core/state.h"
#include "core/table.h"

#include <assert.h>

enum {
    KINDS_SHARED_MAX = 64,
};

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
    idmap_put(by_hash, hash, (void *)(uintptr_t)scores->kinds.count);
    return (uint32_t)scores->kinds.count - 1;
}

static void number_add(struct scores *scores, struct live_node *node, uint32_t kind)
{
    vec_push(&scores->nodes, node);
    vec_push(&scores->noted, ((struct node_noted){0}));
    vec_push(&scores->kind_of, kind);
    vec_push(&scores->idle, 0);
}

static void node_number(struct scores *scores, struct idmap *by_hash, struct live_node *node)
{
    node->ordinal = (uint32_t)scores->nodes.count;
    uint32_t kind = kind_of(scores, by_hash, node);
    scores->kinds.items[kind].staying += !node->row.leaving;
    number_add(scores, node, kind);
}

/* In the order of candidates: pools by id, then nodes by id. A pool begins a block, so that no
 * bound is about two pools; numbers left out have no node. */
static void pool_number(struct scores *scores, struct idmap *by_hash, struct live_pool *pool)
{
    uint32_t pool_at = (uint32_t)scores->segments.count, kinds = (uint32_t)scores->kinds.count;
    for (size_t i = 0; i < pool->nodes.count; i++) {
        uint32_t block = (uint32_t)scores->nodes.count / SCORE_BLOCK;
        if (i % (SCORE_BLOCK * SCORE_BLOCK) == 0)
            vec_push(&scores->segments, ((struct score_segment){block, pool_at, kinds, kinds}));
        if (i % SCORE_BLOCK == 0)
            vec_push(&scores->segment_of, (uint32_t)scores->segments.count - 1);
        node_number(scores, by_hash, pool->nodes.items[i]);
    }
    while (scores->nodes.count % SCORE_BLOCK)
        number_add(scores, NULL, 0);
    for (size_t s = pool_at; s < scores->segments.count; s++)
        scores->segments.items[s].kinds_end = (uint32_t)scores->kinds.count;
}

static void kinds_clear(struct scores *scores)
{
    for (size_t i = 0; i < scores->kinds.count; i++)
        vec_free(&scores->kinds.items[i].idle);
    vec_clear(&scores->kinds);
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
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool)
        pool_number(scores, &by_hash, pool);
    idmap_finish(&by_hash);
    scores->version = core->topology_version;
    scores->idle_known = false;
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

void journal_note(struct live_node *node, bool gained)
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
        journal->last = mem_alloc(JOURNAL_MAX / 64, sizeof *journal->last);
    }
    struct node_noted *noted = &scores->noted.items[node->ordinal];
    if (noted->last > journal->begin)
        last_set(journal, noted->last - 1, false);
    last_set(journal, journal->end, true);
    journal->ring[journal->end % JOURNAL_MAX] = node->ordinal;
    noted->last = ++journal->end;
    if (gained)
        noted->gained = noted->last;
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

bool kinds_shared(const struct scores *scores)
{
    return scores->kinds.count <= KINDS_SHARED_MAX;
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

static void idle_set(struct scores *scores, uint32_t ordinal)
{
    uint8_t *idle = &scores->idle.items[ordinal];
    if (!node_idle(scores->nodes.items[ordinal])) {
        *idle &= (uint8_t)~IDLE_NOW;
        return;
    }
    if (!(*idle & IDLE_QUEUED))
        heap_push(&scores->kinds.items[scores->kind_of.items[ordinal]], ordinal);
    *idle = IDLE_NOW | IDLE_QUEUED;
}

static void idle_find(struct scores *scores)
{
    for (size_t i = 0; i < scores->kinds.count; i++)
        vec_clear(&scores->kinds.items[i].idle);
    if (scores->idle.count > 0)
        memset(scores->idle.items, 0, scores->idle.count);
    for (uint32_t i = 0; i < scores->nodes.count && kinds_shared(scores); i++) {
        if (scores->nodes.items[i])
            idle_set(scores, i);
    }
    scores->idle_known = true;
}

static void idle_follow_some(struct scores *scores)
{
    uint32_t changed[JOURNAL_SOME];
    size_t count = journal_some(&scores->journal, &scores->idle_at, changed);
    for (size_t i = 0; i < count; i++)
        idle_set(scores, changed[i]);
}

void idle_follow(struct scores *scores)
{
    const struct journal *journal = &scores->journal;
    if (!scores->idle_known || scores->idle_at < journal->begin) {
        idle_find(scores);
        scores->idle_at = journal->end;
    }
    while (scores->idle_at < journal->end) {
        if (kinds_shared(scores))
            idle_follow_some(scores);
        else
            scores->idle_at = journal->end;
    }
}

uint32_t idle_first(struct scores *scores, uint32_t at)
{
    struct node_kind *kind = &scores->kinds.items[at];
    while (kind->idle.count > 0) {
        uint32_t ordinal = kind->idle.items[0];
        if (idle_is(scores, ordinal))
            return ordinal;
        scores->idle.items[ordinal] = 0;
        heap_pop(kind);
    }
    return NODE_NONE;
}

bool idle_check(const struct core *core)
{
    const struct scores *scores = &core->scores;
    size_t queued = 0, heaps = 0;
    if (!scores->idle_known || scores->version != core->topology_version)
        return true;
    for (uint32_t i = 0; i < scores->nodes.count; i++) {
        const struct live_node *node = scores->nodes.items[i];
        bool idle = kinds_shared(scores) && node && node_idle(node);
        if (idle != idle_is(scores, i) && scores->noted.items[i].last <= scores->idle_at)
            return false;
        queued += scores->idle.items[i] != 0;
    }
    for (size_t k = 0; k < scores->kinds.count; k++) {
        const struct node_kind *kind = &scores->kinds.items[k];
        heaps += kind->idle.count;
        for (size_t i = 1; i < kind->idle.count; i++) {
            if (kind->idle.items[i] <= kind->idle.items[(i - 1) / 2])
                return false;
        }
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
    free(scores->journal.ring);
    free(scores->journal.last);
    scores->journal = (struct journal){0};
    vec_free(&scores->segments);
    vec_free(&scores->segment_of);
    vec_free(&scores->shapes);
    vec_free(&scores->kind_scores);
}
