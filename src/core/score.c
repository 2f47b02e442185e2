/* Scores remembered for each shape: how well one rank of it fits every node, so that the best node
 * for a job of one rank is found without looking at the nodes.
 *
 * A shape has a row: a score for each node, in the order of candidates, and above it two levels of
 * lower bounds, one for 32 scores (a block) and one for up to 32 blocks of a pool (a segment). A
 * score that falls moves the bounds along. One that rises leaves them: they are too low then, which
 * the search notices on its way down, and corrects. So a search is a few comparisons for each
 * segment and, for what changed, one look at 32 numbers.
 *
 * What is held or claimed of a node goes into the journal; a shape brings its row up to date from
 * where it last read the journal, each changed node once. When nodes come, go or stop taking work,
 * the tables of the placement policy change, or the journal has lapped the shape, all its scores
 * are computed again.
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
    JOURNAL_MAX = 1 << 16, /* entries kept; a power of two */
    BLOCK = 32,            /* scores under a bound, and blocks under one of the second level */
    ROW_REST = 8,          /* a row that others were used that often before is given up */
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

/* Numbers the nodes in the order of candidates: pools by id, then nodes by id. A pool begins a
 * block, so that no bound is about two pools; numbers left out have no node. */
static void number_nodes(struct core *core)
{
    struct scores *scores = &core->scores;
    if (scores->version == core->topology_version)
        return;
    vec_clear(&scores->slots);
    vec_clear(&scores->segments);
    vec_clear(&scores->segment_of);
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool) {
        uint32_t pool_at = (uint32_t)scores->segments.count;
        for (size_t i = 0; i < pool->nodes.count; i++) {
            struct live_node *node = pool->nodes.items[i];
            node->ordinal = (uint32_t)scores->slots.count;
            if (i % (BLOCK * BLOCK) == 0)
                vec_push(
                    &scores->segments, ((struct score_segment){node->ordinal / BLOCK, pool_at}));
            if (i % BLOCK == 0)
                vec_push(&scores->segment_of, (uint32_t)scores->segments.count - 1);
            vec_push(&scores->slots, ((struct score_slot){.node = node}));
        }
        while (scores->slots.count % BLOCK)
            vec_push(&scores->slots, ((struct score_slot){0}));
    }
    scores->version = core->topology_version;
    scores->journal.begin = scores->journal.end;
    scores->journal.open = true;
}

void journal_note(struct live_node *node)
{
    struct scores *scores = node->scores;
    struct journal *journal = &scores->journal;
    scores->promised |= node->promises != NULL;
    if (!journal->open || journal->trials)
        return;
    if (!journal->ring)
        journal->ring = mem_alloc(JOURNAL_MAX, sizeof *journal->ring);
    journal->ring[journal->end % JOURNAL_MAX] = node->ordinal;
    scores->slots.items[node->ordinal].noted = journal->end;
    journal->end++;
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

/* ---- one score --------------------------------------------------------------------------------
 */

/* Whether one rank fits, affinity and reservations apart: fit_ranks() > 0 without divisions. */
static bool fits_one(const struct live_shape *shape, const struct live_node *node)
{
    const struct shape_row *ask = &shape->row;
    const struct node_room *room = &node->room;
    if ((ask->cpu_milli > 0 && room->all.cpu_milli < ask->cpu_milli) ||
        (ask->memory_bytes > 0 && room->all.memory_bytes < ask->memory_bytes) ||
        (ask->disk_bytes > 0 && room->all.disk_bytes < ask->disk_bytes))
        return false;
    int64_t milli = ask->accelerator_milli;
    if (milli >= DEVICE_MILLI && room->whole * DEVICE_MILLI < milli)
        return false;
    if (milli > 0 && milli < DEVICE_MILLI && (!node->row.fractional || room->largest < milli))
        return false;
    return fit_shares(shape, node);
}

static int64_t score_now(
    const struct core *core, const struct live_job *job, const struct live_node *node)
{
    /* What jobs may use of a node that is promised depends on the job: see promise_best. */
    return !node->promises && fits_one(job->shape, node) ? packing_score(core, job, node, 1) : SCORE_NO_ROOM;
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
    struct bound least = {SCORE_NO_MATCH, (uint32_t)(block * BLOCK)};
    for (uint32_t i = 0; i < BLOCK; i++) {
        int64_t score = row->scores[block * BLOCK + i];
        if (score < least.least)
            least = (struct bound){score, (uint32_t)(block * BLOCK) + i};
    }
    row->blocks[block] = least;
}

static void segment_correct(const struct scores *scores, struct score_row *row, size_t segment)
{
    size_t begin = scores->segments.items[segment].block, end = segment_end(scores, segment);
    struct bound least = {SCORE_NO_MATCH, (uint32_t)begin};
    for (size_t b = begin; b < end; b++) {
        if (row->blocks[b].least < least.least)
            least = (struct bound){row->blocks[b].least, (uint32_t)b};
    }
    row->segments[segment] = least;
}

static size_t row_bytes(const struct scores *scores)
{
    return sizeof(struct score_row) + scores->slots.count * sizeof(int64_t) +
           (scores->segment_of.count + scores->segments.count) * sizeof(struct bound);
}

static void row_lay_out(const struct scores *scores, struct score_row *row)
{
    assert(row->bytes == row_bytes(scores));
    row->scores = (int64_t *)(row + 1);
    row->blocks = (struct bound *)(row->scores + scores->slots.count);
    row->segments = row->blocks + scores->segment_of.count;
}

static void row_fill(const struct core *core, const struct live_job *job)
{
    const struct scores *scores = &core->scores;
    struct score_row *row = job->shape->scores;
    row_lay_out(scores, row);
    for (size_t i = 0; i < scores->slots.count; i++) {
        const struct live_node *node = scores->slots.items[i].node;
        bool matches = node && node_takes_work(node) && fit_matches(core, job->shape, node);
        row->scores[i] = matches ? score_now(core, job, node) : SCORE_NO_MATCH;
    }
    for (size_t b = 0; b < scores->segment_of.count; b++)
        block_correct(row, b);
    for (size_t s = 0; s < scores->segments.count; s++)
        segment_correct(scores, row, s);
}

static void row_follow(const struct core *core, const struct live_job *job)
{
    const struct scores *scores = &core->scores;
    struct score_row *row = job->shape->scores;
    for (uint64_t i = row->at; i < scores->journal.end; i++) {
        uint32_t ordinal = scores->journal.ring[i % JOURNAL_MAX];
        const struct score_slot *slot = &scores->slots.items[ordinal];
        if (slot->noted == i && row->scores[ordinal] != SCORE_NO_MATCH)
            row_set(scores, row, ordinal, score_now(core, job, slot->node));
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
    number_nodes(core);
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
            return scores->slots.items[ordinal].node;
    }
    return NULL;
}

/* ---- checking ---------------------------------------------------------------------------------
 */

/* No bound is above what it is a bound of. */
static bool bounds_hold(const struct scores *scores, const struct score_row *row)
{
    for (size_t i = 0; i < scores->slots.count; i++) {
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

/* Scores that were brought up to date and not touched by the journal since are what they would be
 * if they were computed now. */
bool score_check(const struct core *core, const struct live_shape *shape)
{
    const struct scores *scores = &core->scores;
    const struct score_row *row = shape->scores;
    struct live_job like = {.shape = (struct live_shape *)shape};
    if (!row || !row_current(core, row) || !score_defined(core, shape))
        return true;
    for (size_t i = 0; i < scores->slots.count; i++) {
        const struct live_node *node = scores->slots.items[i].node;
        bool matches = node && node_takes_work(node) && fit_matches(core, shape, node);
        bool pending = node && scores->slots.items[i].noted >= row->at;
        if (matches != (row->scores[i] != SCORE_NO_MATCH) ||
            (matches && !pending && row->scores[i] != score_now(core, &like, node)))
            return false;
    }
    return bounds_hold(scores, row);
}

void scores_free(struct scores *scores)
{
    vec_free(&scores->slots);
    vec_free(&scores->segments);
    vec_free(&scores->segment_of);
    vec_free(&scores->shapes);
    free(scores->journal.ring);
    scores->journal.ring = NULL;
}
