/* Scores remembered for each shape: how well one rank of it fits every node, so that the best node
 * for a job of one rank is found without looking at the nodes.
 *
 * A shape has a row: a score for each node, in the order of candidates, and above it two levels of
 * lower bounds, one for 32 scores (a block) and one for up to 32 blocks of a pool (a segment). A
 * score that falls moves the bounds along. One that rises leaves them: they are too low then, which
 * the search notices on its way down, and corrects. So a search is a few comparisons for each
 * segment and, for what changed, one look at 32 numbers.
 *
 * The journal has the nodes in the order in which something that is held or claimed of them changed
 * last; a shape brings its row up to date with those that changed since it last did, each once.
 * When nodes come, go or stop taking work, or the tables of the placement policy change, all its
 * scores are computed again: what nodes that are alike have in common once for all of them.
 *
 * Rows take memory in proportion to nodes times shapes, which is bounded: a new row may take the
 * place of one that was not used for long, and where every row is in use the shape gets none. Only
 * shapes whose fit depends on nothing else (no affinity anywhere, no reservations) have rows.
 * Without a row a shape is placed by looking at every node. Both ways give the same place, and
 * core_check compares. */
#include "core/score.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/packing.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/shape.h"
#include "core/state.h"
#include "core/table.h"

#include <assert.h>

enum {
    BLOCK = SCORE_BLOCK,   /* scores under a bound, and blocks under one of the second level */
    JOURNAL_MAX = 1 << 16, /* changes kept; a power of two */
    CHANGES_AHEAD = 64,
    ROW_REST = 8, /* a row that others were used that often before is given up */
};

#define ROW_BYTES_MAX  ((size_t)128 << 20) /* of all rows */
#define SCORE_NO_MATCH INT64_MAX           /* the node never fits the shape */
#define SCORE_NO_ROOM  (INT64_MAX - 1)     /* it matches and is full */

/* The least of some numbers, or less, and where it is: exactly if that number equals it. */
struct bound {
    int64_t least;
    uint32_t at; /* ordinal of a node; of the second level: a block */
};

struct score_row {
    uint64_t version; /* of the topology that it is for, .. */
    uint64_t packing; /* ..and of the policy's tables */
    uint64_t at;      /* in the journal */
    uint64_t used;    /* core->scores.clock at the last search */
    size_t bytes;
    int64_t *scores;        /* by ordinal */
    struct bound *blocks;   /* by ordinal / BLOCK */
    struct bound *segments; /* by segment */
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
    vec_push(&scores->noted, 0);
    vec_push(&scores->kind_of, kind);
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
    uint32_t pool_at = (uint32_t)scores->segments.count;
    for (size_t i = 0; i < pool->nodes.count; i++) {
        uint32_t block = (uint32_t)scores->nodes.count / BLOCK;
        if (i % (BLOCK * BLOCK) == 0)
            vec_push(&scores->segments, ((struct score_segment){block, pool_at}));
        if (i % BLOCK == 0)
            vec_push(&scores->segment_of, (uint32_t)scores->segments.count - 1);
        node_number(scores, by_hash, pool->nodes.items[i]);
    }
    while (scores->nodes.count % BLOCK)
        number_add(scores, NULL, 0);
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
    vec_clear(&scores->kinds);
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool)
        pool_number(scores, &by_hash, pool);
    idmap_finish(&by_hash);
    scores->version = core->topology_version;
    scores->journal.begin = scores->journal.end;
    scores->journal.open = true;
}

/* ---- the journal ------------------------------------------------------------------------------
 */

void journal_note(struct live_node *node)
{
    struct scores *scores = node->scores;
    struct journal *journal = &scores->journal;
    scores->promised |= node->promises != NULL;
    node->empty_key = 0;
    node->changes++;
    if (!journal->open || journal->trials)
        return;
    if (!journal->ring)
        journal->ring = mem_alloc(JOURNAL_MAX, sizeof *journal->ring);
    uint64_t *noted = &scores->noted.items[node->ordinal];
    if (*noted > journal->begin)
        journal->ring[(*noted - 1) % JOURNAL_MAX] = NODE_NONE;
    journal->ring[journal->end % JOURNAL_MAX] = node->ordinal;
    *noted = ++journal->end;
    if (journal->end - journal->begin > JOURNAL_MAX)
        journal->begin++;
}

uint32_t journal_change(const struct journal *journal, uint64_t at)
{
    assert(at >= journal->begin && at < journal->end);
    return journal->ring[at % JOURNAL_MAX];
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

/* ---- one score --------------------------------------------------------------------------------
 */

/* What a rank needs of a node's room; what it does not ask for it takes for granted. */
struct needs {
    struct bundle all;
    int64_t whole, largest;
    bool exclusive;
};

static int64_t need(int64_t ask)
{
    return ask > 0 ? ask : INT64_MIN;
}

static struct needs needs_of(const struct shape_row *ask)
{
    int64_t milli = ask->accelerator_milli;
    return (struct needs){
        .all = {need(ask->cpu_milli), need(ask->memory_bytes), need(ask->disk_bytes)},
        .whole = need(milli / DEVICE_MILLI),
        .largest = need(milli < DEVICE_MILLI ? milli : 0),
        .exclusive = ask->exclusive,
    };
}

/* Whether one rank fits, affinity and reservations apart: fit_ranks() > 0 without divisions, and
 * without branches, which nobody could foresee. What jobs may use of a node that is promised
 * depends on the job: see promise_best. */
static bool fits_one(
    const struct needs *needs, const struct live_shape *shape, const struct live_node *node)
{
    const struct node_room *room = &node->room;
    bool fits = (room->all.cpu_milli >= needs->all.cpu_milli) &
                (room->all.memory_bytes >= needs->all.memory_bytes) &
                (room->all.disk_bytes >= needs->all.disk_bytes) & (room->whole >= needs->whole) &
                (room->largest >= needs->largest) &
                ((node->exclusive_held | node->exclusive_claimed) == 0) & !node->promises;
    return fits && (!needs->exclusive || fit_shares(shape, node));
}

static int64_t score_of(const struct core *core, const struct live_job *job,
    const struct needs *needs, const struct live_node *node)
{
    return fits_one(needs, job->shape, node) ? packing_score(core, job, node, 1) : SCORE_NO_ROOM;
}

static int64_t score_now(
    const struct core *core, const struct live_job *job, const struct live_node *node)
{
    struct needs needs = needs_of(&job->shape->row);
    return score_of(core, job, &needs, node);
}

/* ---- a row ------------------------------------------------------------------------------------
 */

static bool bound_lower(struct bound *bound, int64_t value, uint32_t at)
{
    if (value > bound->least || (value == bound->least && at >= bound->at))
        return false;
    *bound = (struct bound){value, at};
    return true;
}

static void row_set(
    const struct scores *scores, struct score_row *row, uint32_t ordinal, int64_t score)
{
    row->scores[ordinal] = score;
    uint32_t block = ordinal / BLOCK;
    if (bound_lower(&row->blocks[block], score, ordinal))
        bound_lower(&row->segments[scores->segment_of.items[block]], score, block);
}

static size_t segment_end(const struct scores *scores, size_t segment)
{
    return segment + 1 < scores->segments.count ? scores->segments.items[segment + 1].block
                                                : scores->segment_of.count;
}

static void block_correct(struct score_row *row, size_t block)
{
    const int64_t *scores = &row->scores[block * BLOCK];
    int64_t least[4] = {scores[0], scores[1], scores[2], scores[3]};
    for (size_t i = 4; i < BLOCK; i += 4) {
        for (size_t k = 0; k < 4; k++)
            least[k] = scores[i + k] < least[k] ? scores[i + k] : least[k];
    }
    for (size_t k = 1; k < 4; k++)
        least[0] = least[k] < least[0] ? least[k] : least[0];
    uint32_t at = 0;
    while (scores[at] != least[0])
        at++;
    row->blocks[block] = (struct bound){least[0], (uint32_t)(block * BLOCK) + at};
}

static void segment_correct(const struct scores *scores, struct score_row *row, size_t segment)
{
    size_t begin = scores->segments.items[segment].block, end = segment_end(scores, segment);
    int64_t least = row->blocks[begin].least;
    uint32_t at = (uint32_t)begin;
    for (size_t b = begin + 1; b < end; b++)
        least = row->blocks[b].least < least ? row->blocks[b].least : least;
    while (row->blocks[at].least != least)
        at++;
    row->segments[segment] = (struct bound){least, at};
}

static size_t row_bytes(const struct scores *scores)
{
    return sizeof(struct score_row) + scores->nodes.count * sizeof(int64_t) +
           (scores->segment_of.count + scores->segments.count) * sizeof(struct bound);
}

static void row_lay_out(const struct scores *scores, struct score_row *row)
{
    assert(row->bytes == row_bytes(scores));
    row->scores = (int64_t *)(row + 1);
    row->blocks = (struct bound *)(row->scores + scores->nodes.count);
    row->segments = row->blocks + scores->segment_of.count;
}

/* Nothing is held or claimed of the node. */
static bool node_idle(const struct live_node *node)
{
    const struct bundle *all = &node->room.all;
    return all->cpu_milli == node->row.cpu_milli && all->memory_bytes == node->row.memory_bytes &&
           all->disk_bytes == node->row.disk_bytes && node->room.whole == node->row.devices &&
           node->placements.count == 0 && node->claims.count == 0 && !node->promises;
}

/* What nodes of a kind have in common is computed once for a shape. */
static int64_t score_first(struct core *core, const struct live_job *job, size_t ordinal)
{
    const struct live_node *node = core->scores.nodes.items[ordinal];
    if (!node || !node_takes_work(node))
        return SCORE_NO_MATCH;
    struct kind_score *kind = &core->scores.kind_scores.items[core->scores.kind_of.items[ordinal]];
    if (!kind->known) {
        kind->known = true;
        kind->matches = fit_matches(core, job->shape, node);
    }
    if (!kind->matches)
        return SCORE_NO_MATCH;
    if (!node_idle(node))
        return score_now(core, job, node);
    if (!kind->idle_known) {
        kind->idle_known = true;
        kind->idle = score_now(core, job, node);
    }
    return kind->idle;
}

static void row_fill(struct core *core, const struct live_job *job)
{
    struct scores *scores = &core->scores;
    struct score_row *row = job->shape->scores;
    row_lay_out(scores, row);
    vec_clear(&scores->kind_scores);
    for (size_t i = 0; i < scores->kinds.count; i++)
        vec_push(&scores->kind_scores, ((struct kind_score){0}));
    for (size_t i = 0; i < scores->nodes.count; i++)
        row->scores[i] = score_first(core, job, i);
    for (size_t b = 0; b < scores->segment_of.count; b++)
        block_correct(row, b);
    for (size_t s = 0; s < scores->segments.count; s++)
        segment_correct(scores, row, s);
}

/* Some nodes that changed from change *at on, which moves on; how many. They are asked for ahead of
 * their use: together they come sooner than one after the other. No branch depends on which
 * changes are out of date. */
static size_t changes_next(const struct scores *scores, const struct score_row *row, uint64_t *at,
    uint32_t changed[static CHANGES_AHEAD])
{
    const struct journal *journal = &scores->journal;
    size_t count = 0;
    for (; *at < journal->end && count < CHANGES_AHEAD; ++*at) {
        changed[count] = journal->ring[*at % JOURNAL_MAX];
        count += changed[count] != NODE_NONE;
    }
    for (size_t i = 0; i < count; i++) {
        __builtin_prefetch(&row->scores[changed[i]]);
        __builtin_prefetch(&scores->nodes.items[changed[i]]->room);
    }
    return count;
}

static void row_follow(const struct core *core, const struct live_job *job)
{
    const struct scores *scores = &core->scores;
    struct score_row *row = job->shape->scores;
    struct needs needs = needs_of(&job->shape->row);
    uint32_t changed[CHANGES_AHEAD];
    for (uint64_t at = row->at; at < scores->journal.end;) {
        size_t count = changes_next(scores, row, &at, changed);
        for (size_t i = 0; i < count; i++) {
            int64_t before = row->scores[changed[i]];
            if (before == SCORE_NO_MATCH)
                continue;
            int64_t score = score_of(core, job, &needs, scores->nodes.items[changed[i]]);
            if (score != before)
                row_set(scores, row, changed[i], score);
        }
    }
}

static bool row_current(const struct core *core, const struct score_row *row)
{
    return row->version == core->topology_version && core->scores.version == row->version &&
           row->packing == core->packing_version && row->at >= core->scores.journal.begin;
}

/* ---- which shapes have rows -------------------------------------------------------------------
 */

void score_forget(struct core *core, struct live_shape *shape)
{
    struct scores *scores = &core->scores;
    if (!shape->scores)
        return;
    scores->bytes -= shape->scores->bytes;
    size_t at = 0;
    while (scores->shapes.items[at] != shape)
        at++;
    vec_remove(&scores->shapes, at);
    free(shape->scores);
    shape->scores = NULL;
}

/* Gives up the row that was not used for longest, if it was not for long enough. */
static bool row_give_up(struct core *core)
{
    struct scores *scores = &core->scores;
    struct live_shape *oldest = NULL;
    for (size_t i = 0; i < scores->shapes.count; i++) {
        struct live_shape *shape = scores->shapes.items[i];
        if (!oldest || shape->scores->used < oldest->scores->used)
            oldest = shape;
    }
    if (!oldest || scores->clock - oldest->scores->used < scores->shapes.count * ROW_REST)
        return false;
    score_forget(core, oldest);
    return true;
}

/* Whether the shape has a row of the size that the nodes ask for, or could be given one. */
static bool row_provide(struct core *core, struct live_shape *shape)
{
    struct scores *scores = &core->scores;
    nodes_number(core);
    size_t bytes = row_bytes(scores);
    if (shape->scores && shape->scores->bytes == bytes)
        return true;
    score_forget(core, shape);
    scores->clock++;
    while (scores->bytes + bytes > ROW_BYTES_MAX) {
        if (!row_give_up(core))
            return false;
    }
    shape->scores = mem_alloc(1, bytes);
    shape->scores->bytes = bytes;
    scores->bytes += bytes;
    vec_push(&scores->shapes, shape);
    return true;
}

static bool score_defined(const struct core *core, const struct live_shape *shape)
{
    return !core->packing->per_job && core->apart_shapes == 0 && !shape->near &&
           core->reservation_next_ms == MOMENT_NEVER && shape->row.spread == SPREAD_PACK;
}

bool score_usable(struct core *core, const struct live_job *job)
{
    return score_defined(core, job->shape) && row_provide(core, job->shape);
}

/* ---- searching --------------------------------------------------------------------------------
 */

/* The node of a segment's bound; UINT32_MAX when a bound was too low and is corrected now. */
static uint32_t segment_node(const struct scores *scores, struct score_row *row, size_t segment)
{
    const struct bound *top = &row->segments[segment];
    const struct bound *block = &row->blocks[top->at];
    if (block->least != top->least) {
        segment_correct(scores, row, segment);
        return UINT32_MAX;
    }
    if (row->scores[block->at] != block->least) {
        block_correct(row, top->at);
        return UINT32_MAX;
    }
    return block->at;
}

/* The best node of the pool that begins with that segment; *segment moves on to the next pool. */
static uint32_t pool_best(const struct scores *scores, struct score_row *row, size_t *segment)
{
    size_t begin = *segment, end = begin;
    while (end < scores->segments.count && scores->segments.items[end].pool == begin)
        end++;
    *segment = end;
    for (;;) {
        size_t best = begin;
        for (size_t s = begin + 1; s < end; s++)
            best = row->segments[s].least < row->segments[best].least ? s : best;
        if (row->segments[best].least >= SCORE_NO_ROOM)
            return UINT32_MAX;
        uint32_t ordinal = segment_node(scores, row, best);
        if (ordinal != UINT32_MAX)
            return ordinal;
    }
}

struct live_node *score_best(struct core *core, const struct live_job *job)
{
    const struct scores *scores = &core->scores;
    struct live_shape *shape = job->shape;
    struct score_row *row = shape->scores;
    assert(row && score_defined(core, shape));
    packing_ready(core, shape);
    if (row_current(core, row))
        row_follow(core, job);
    else
        row_fill(core, job);
    row->version = core->topology_version;
    row->packing = core->packing_version;
    row->at = scores->journal.end;
    row->used = ++core->scores.clock;
    for (size_t segment = 0; segment < scores->segments.count;) {
        uint32_t ordinal = pool_best(scores, row, &segment);
        if (ordinal != UINT32_MAX)
            return scores->nodes.items[ordinal];
    }
    return NULL;
}

/* ---- checking ---------------------------------------------------------------------------------
 */

/* No bound is above what it is a bound of. */
static bool bounds_hold(const struct scores *scores, const struct score_row *row)
{
    for (size_t i = 0; i < scores->nodes.count; i++) {
        const struct bound *block = &row->blocks[i / BLOCK];
        if (row->scores[i] < block->least ||
            (row->scores[i] == block->least && row->scores[block->at] == block->least &&
                i < block->at))
            return false;
    }
    for (size_t b = 0; b < scores->segment_of.count; b++) {
        const struct bound *segment = &row->segments[scores->segment_of.items[b]];
        if (row->blocks[b].least < segment->least ||
            (row->blocks[b].least == segment->least &&
                row->blocks[segment->at].least == segment->least && b < segment->at))
            return false;
    }
    return true;
}

/* What the node would score if nothing were remembered of it: policies know nothing of a copy. */
static int64_t score_afresh(
    const struct core *core, const struct live_job *job, const struct live_node *node)
{
    struct live_node copy = *node;
    return score_now(core, job, &copy);
}

/* Scores that were brought up to date and not touched by the journal since are what they would be
 * if they were computed now. */
bool score_check(const struct core *core, const struct live_shape *shape)
{
    const struct scores *scores = &core->scores;
    const struct score_row *row = shape->scores;
    struct live_job like = {.shape = (struct live_shape *)shape};
    if (!row || !row_current(core, row) || !score_defined(core, shape))
        return true;
    for (size_t i = 0; i < scores->nodes.count; i++) {
        const struct live_node *node = scores->nodes.items[i];
        bool matches = node && node_takes_work(node) && fit_matches(core, shape, node);
        bool pending = node && scores->noted.items[i] > row->at;
        if (matches != (row->scores[i] != SCORE_NO_MATCH) ||
            (matches && !pending && row->scores[i] != score_afresh(core, &like, node)))
            return false;
    }
    return bounds_hold(scores, row);
}

void scores_free(struct scores *scores)
{
    vec_free(&scores->nodes);
    vec_free(&scores->noted);
    vec_free(&scores->kind_of);
    free(scores->journal.ring);
    scores->journal.ring = NULL;
    vec_free(&scores->segments);
    vec_free(&scores->segment_of);
    vec_free(&scores->shapes);
    vec_free(&scores->kinds);
    vec_free(&scores->kind_scores);
}
