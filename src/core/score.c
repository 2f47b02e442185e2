/* Scores remembered for each shape: how well one rank of it fits every node, so that the best node
 * for a job of one rank is found without looking at the nodes.
 *
 * A shape has a row: a score for each node that is not idle, in the order of candidates, and above
 * it two levels of lower bounds, one for 32 scores (a block) and one for up to 32 blocks of a pool
 * (a segment). A score that falls moves the bounds along. One that rises leaves them: they are too
 * low then, which the search notices on its way down, and corrects. So does it with the score of a
 * node that the rank does not fit any more: that one is left as it was until the search comes to
 * it. So a search is a few comparisons for each segment and, for what changed, one look at 32
 * numbers.
 *
 * The journal has the nodes in the order in which something that is held or claimed of them changed
 * last; a shape brings its row up to date with those that changed since it last did, each once.
 * Whether it fits them is asked of what is free, by number (node_order.c), and only those that it
 * fits get a score, many at once: neither the nodes themselves nor the row are looked at for the
 * others. When nodes come, go or stop taking work, all its scores are computed again: what nodes
 * that are alike have in common once for all of them. When the tables of the placement policy
 * change, those of nodes that have room are.
 *
 * Idle nodes of a kind score the same, so that the first of them is enough (node_order.c); the row
 * has a score for each kind, and searches look at all kinds of a pool that have an idle node.
 *
 * Rows take memory in proportion to nodes times shapes, which is bounded: a new row may take the
 * place of one that was not used for long, and where every row is in use the shape gets none. Only
 * shapes whose fit depends on nothing else (no affinity anywhere, no reservations) have rows.
 * Without a row a shape is placed by looking at every node. Both ways give the same place, and
 * core_check compares. */
#include "core/broker.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/packing.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/score_row.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"

#include <assert.h>

enum {
    BLOCK = SCORE_BLOCK, /* scores under a bound, and blocks under one of the second level */
    ROW_REST = 8,        /* a row that others were used that often before is given up */
};

#define ROW_BYTES_MAX ((size_t)128 << 20) /* of all rows */

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
    slab_free(&scores->rows, shape->scores);
    shape->scores = NULL;
}

void scores_forget(struct core *core)
{
    struct scores *scores = &core->scores;
    while (scores->shapes.count > 0)
        score_forget(core, scores->shapes.items[scores->shapes.count - 1]);
    slab_finish(&scores->rows);
    scores->row_bytes = 0;
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
    if (shape->scores && shape->scores->version == core->topology_version)
        return true;
    nodes_number(core);
    size_t bytes = row_bytes(scores);
    if (scores->row_bytes != bytes)
        scores_forget(core);
    if (shape->scores)
        return true;
    scores->row_bytes = bytes;
    scores->clock++;
    while (scores->bytes + bytes > ROW_BYTES_MAX) {
        if (!row_give_up(core))
            return false;
    }
    shape->scores = slab_take(&scores->rows, bytes); /* row_update fills it */
    *shape->scores = (struct score_row){.bytes = bytes};
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

struct best {
    int64_t score;
    uint32_t ordinal;
};

/* The node of a segment's bound; NODE_NONE when a bound was too low, or the rank does not fit the
 * node any more, which is corrected now. */
static uint32_t segment_node(
    const struct scores *scores, const struct live_shape *shape, uint32_t segment)
{
    struct score_row *row = shape->scores;
    int64_t least = row->segments.least[segment];
    uint32_t block = scores->segments.items[segment].block + row->segments.at[segment];
    if (row->blocks.least[block] == least) {
        uint32_t ordinal = block * BLOCK + row->blocks.at[block];
        bool fits = row_fits(scores, shape, ordinal);
        if (fits && row->scores[ordinal] == least)
            return ordinal;
        if (!fits)
            row->scores[ordinal] = SCORE_NO_ROOM;
        row_correct_block(scores, row, block);
    }
    row_correct_segment(scores, row, segment);
    return NODE_NONE;
}

/* The best of the nodes of a pool that are not idle: the segments are its own. */
static struct best busy_best(
    const struct scores *scores, const struct live_shape *shape, uint32_t begin, uint32_t end)
{
    struct score_row *row = shape->scores;
    const int64_t *least = row->segments.least;
    for (;;) {
        uint32_t best = begin;
        int64_t score = least[begin];
        for (uint32_t s = begin + 1; s < end; s++) {
            best = least[s] < score ? s : best;
            score = least[s] < score ? least[s] : score;
        }
        if (score >= SCORE_NONE)
            return (struct best){SCORE_NONE, NODE_NONE};
        uint32_t ordinal = segment_node(scores, shape, best);
        if (ordinal == NODE_NONE)
            continue;
        row->found = ordinal;
        return (struct best){score, ordinal};
    }
}

/* The better of it and the first idle node of a kind. */
static void idle_better(
    struct core *core, const struct live_job *job, uint32_t kind, struct best *best)
{
    int64_t *score = &job->shape->scores->kinds[kind];
    uint32_t ordinal = core->scores.idle_first.items[kind];
    if (*score == SCORE_UNKNOWN)
        *score = score_now(core, job, core->scores.nodes.items[ordinal]);
    if (*score < best->score || (*score == best->score && ordinal < best->ordinal))
        *best = (struct best){*score, ordinal};
}

static uint64_t kinds_of_pool(const struct score_segment *pool)
{
    uint32_t count = pool->kinds_end - pool->kinds_begin;
    assert(count > 0 && pool->kinds_end <= KINDS_SHARED_MAX);
    return ~(uint64_t)0 >> (KINDS_SHARED_MAX - count) << pool->kinds_begin;
}

/* The better of it and the first idle node of each kind of the pool. */
static void kinds_better(struct core *core, const struct live_job *job,
    const struct score_segment *pool, struct best *best)
{
    const struct score_row *row = job->shape->scores;
    uint64_t kinds = core->scores.kinds_idle & row->matches[0] & kinds_of_pool(pool);
    for (; kinds; kinds &= kinds - 1) {
        uint32_t kind = (uint32_t)__builtin_ctzll(kinds);
        if (row->kinds[kind] <= best->score)
            idle_better(core, job, kind, best);
    }
}

/* The best node of the pool that begins with that segment; *segment moves on to the next pool. */
static uint32_t pool_best(struct core *core, const struct live_job *job, uint32_t *segment)
{
    const struct scores *scores = &core->scores;
    const struct score_segment *first = &scores->segments.items[*segment];
    struct best best = busy_best(scores, job->shape, *segment, first->pool_end);
    if (scores->kinds_idle)
        kinds_better(core, job, first, &best);
    *segment = first->pool_end;
    return best.score < SCORE_NONE ? best.ordinal : NODE_NONE;
}

/* Whoever asked looks at all that is known of the node, which lies in a few lines. */
static void node_prefetch(const struct live_node *node)
{
    for (size_t i = 0; i < offsetof(struct live_node, pool); i += 64)
        __builtin_prefetch((const char *)node + i);
}

struct live_node *score_best(struct core *core, const struct live_job *job)
{
    const struct scores *scores = &core->scores;
    assert(job->shape->scores && score_defined(core, job->shape));
    row_update(core, job);
    bool ordered = broker_orders(core, job);
    struct live_node *best = NULL;
    for (uint32_t segment = 0; segment < scores->segments.count && (ordered || !best);) {
        uint32_t ordinal = pool_best(core, job, &segment);
        struct live_node *node = ordinal != NODE_NONE ? scores->nodes.items[ordinal] : NULL;
        if (node && (!best || broker_before(core, job, node->pool, best->pool)))
            best = node;
    }
    if (best)
        node_prefetch(best);
    return best;
}

/* ---- checking ---------------------------------------------------------------------------------
 */

/* No bound is above what it is a bound of, and what it is of is the first of its equals. */
static bool bound_holds(
    const struct bounds *bounds, uint32_t bound, const int64_t *values, uint32_t count)
{
    int64_t least = bounds->least[bound];
    uint32_t at = bounds->at[bound];
    for (uint32_t i = 0; i < count; i++) {
        if (values[i] < least || (values[i] == least && values[at] == least && i < at))
            return false;
    }
    return at < count;
}

/* A block's bound is of the nodes that the rank fits, and that did not change since. */
static bool block_holds(const struct scores *scores, const struct live_shape *shape, uint32_t block)
{
    const struct score_row *row = shape->scores;
    int64_t values[BLOCK];
    for (uint32_t i = 0; i < BLOCK; i++) {
        uint32_t ordinal = block * BLOCK + i;
        bool counts = scores->noted.items[ordinal].last <= row->at &&
                      scores->nodes.items[ordinal] && row_fits(scores, shape, ordinal);
        values[i] = counts ? row->scores[ordinal] : SCORE_NO_ROOM;
    }
    return bound_holds(&row->blocks, block, values, BLOCK);
}

static bool bounds_hold(const struct scores *scores, const struct live_shape *shape)
{
    const struct score_row *row = shape->scores;
    for (uint32_t b = 0; b < scores->segment_of.count; b++) {
        if (!block_holds(scores, shape, b))
            return false;
    }
    for (uint32_t s = 0; s < scores->segments.count; s++) {
        const struct score_segment *segment = &scores->segments.items[s];
        uint32_t count = segment->block_end - segment->block;
        if (!bound_holds(&row->segments, s, &row->blocks.least[segment->block], count))
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

/* Whether the remembered score of a node that takes work is what it would be now. */
static bool entry_holds(const struct core *core, const struct live_shape *shape, uint32_t ordinal)
{
    const struct scores *scores = &core->scores;
    const struct score_row *row = shape->scores;
    const struct live_node *node = scores->nodes.items[ordinal];
    struct live_job like = {.shape = (struct live_shape *)shape, .links = &job_links_none};
    uint32_t kind = scores->kind_of.items[ordinal];
    int64_t score = row->scores[ordinal];
    if (row_matches(row, kind) != fit_matches(core, shape, node))
        return false;
    if (!row_matches(row, kind))
        return score == SCORE_NO_ROOM;
    if (scores->noted.items[ordinal].last > row->at)
        return true;
    if (idle_is(scores, ordinal))
        return row->kinds[kind] == SCORE_UNKNOWN ||
               row->kinds[kind] == score_afresh(core, &like, node);
    return !row_fits(scores, shape, ordinal) || score == score_afresh(core, &like, node);
}

/* Scores that were brought up to date and not touched by the journal since are what they would be
 * if they were computed now. */
bool score_check(const struct core *core, const struct live_shape *shape)
{
    const struct score_row *row = shape->scores;
    if (!row || !row_current(core, row) || row->packing != core->packing_version ||
        !score_defined(core, shape))
        return true;
    for (uint32_t i = 0; i < core->scores.nodes.count; i++) {
        const struct live_node *node = core->scores.nodes.items[i];
        if (node && node_takes_work(node) && !entry_holds(core, shape, i))
            return false;
    }
    return bounds_hold(&core->scores, shape);
}
