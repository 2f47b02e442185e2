/* Scores remembered for each shape: how well one rank of it fits every node, so that the best node
 * for a job of one rank is found without looking at the nodes.
 *
 * A shape has a row: a score for each node that is not idle, in the order of candidates, and above
 * it two levels of lower bounds, one for 32 scores (a block) and one for up to 32 blocks of a pool
 * (a segment). A score that falls moves the bounds along. One that rises leaves them: they are too
 * low then, which the search notices on its way down, and corrects. So a search is a few
 * comparisons for each segment and, for what changed, one look at 32 numbers.
 *
 * The journal has the nodes in the order in which something that is held or claimed of them changed
 * last; a shape brings its row up to date with those that changed since it last did, each once.
 * When nodes come, go or stop taking work, all its scores are computed again: what nodes that are
 * alike have in common once for all of them. When the tables of the placement policy change, those
 * of nodes that have room are.
 *
 * Idle nodes of a kind score the same, so that the first of them is enough (node_order.c); the row
 * has a score for each kind, and searches look at all kinds of a pool.
 *
 * Rows take memory in proportion to nodes times shapes, which is bounded: a new row may take the
 * place of one that was not used for long, and where every row is in use the shape gets none. Only
 * shapes whose fit depends on nothing else (no affinity anywhere, no reservations) have rows.
 * Without a row a shape is placed by looking at every node. Both ways give the same place, and
 * core_check compares. */
#include "core/score.h"
#include "core/broker.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/packing.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"

#include <assert.h>

enum {
    BLOCK = SCORE_BLOCK, /* scores under a bound, and blocks under one of the second level */
    ROW_REST = 8,        /* a row that others were used that often before is given up */
};

#define ROW_BYTES_MAX  ((size_t)128 << 20) /* of all rows */
#define SCORE_NO_MATCH INT64_MAX           /* the node never fits the shape */
#define SCORE_NO_ROOM  (INT64_MAX - 1)     /* it matches and is full */
#define SCORE_IDLE     (INT64_MAX - 2)     /* it matches and is idle: its kind has the score */
#define SCORE_NONE     SCORE_IDLE          /* from here on there is none */
#define SCORE_UNKNOWN  INT64_MIN           /* of a kind: it matches; to be computed */

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
    int64_t *kinds;         /* of an idle node, by kind; none where kinds are not shared */
    struct bound *blocks;   /* by ordinal / BLOCK */
    struct bound *segments; /* by segment */
};

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

/* The scores of some nodes, by ordinal, as things are now. */
static void scores_now(const struct core *core, const struct live_job *job,
    const struct needs *needs, const uint32_t *ordinals, size_t count,
    int64_t ret[static JOURNAL_SOME])
{
    const struct scores *scores = &core->scores;
    const struct live_node *nodes[JOURNAL_SOME];
    int64_t scored[JOURNAL_SOME];
    size_t at[JOURNAL_SOME], fitting = 0;
    assert(count <= JOURNAL_SOME);
    nodes[0] = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct live_node *node = scores->nodes.items[ordinals[i]];
        bool idle = idle_is(scores, ordinals[i]);
        ret[i] = idle ? SCORE_IDLE : SCORE_NO_ROOM;
        nodes[fitting] = node;
        at[fitting] = i;
        fitting += !idle && fits_one(needs, job->shape, node);
    }
    if (fitting > 0)
        packing_scores(core, job, nodes, fitting, scored);
    for (size_t i = 0; i < fitting; i++)
        ret[at[i]] = scored[i];
}

static int64_t score_now(
    const struct core *core, const struct live_job *job, const struct live_node *node)
{
    struct needs needs = needs_of(&job->shape->row);
    return fits_one(&needs, job->shape, node) ? packing_score(core, job, node, 1) : SCORE_NO_ROOM;
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
    size_t kinds = kinds_shared(scores) ? scores->kinds.count : 0;
    return sizeof(struct score_row) + (scores->nodes.count + kinds) * sizeof(int64_t) +
           (scores->segment_of.count + scores->segments.count) * sizeof(struct bound);
}

static void row_lay_out(const struct scores *scores, struct score_row *row)
{
    assert(row->bytes == row_bytes(scores));
    row->scores = (int64_t *)(row + 1);
    row->kinds = row->scores + scores->nodes.count;
    row->blocks = (struct bound *)(row->kinds + (kinds_shared(scores) ? scores->kinds.count : 0));
    row->segments = row->blocks + scores->segment_of.count;
}

/* What nodes of a kind have in common is computed once for a shape. */
static int64_t score_first(struct core *core, const struct live_job *job, uint32_t ordinal)
{
    const struct scores *scores = &core->scores;
    bool idle = idle_is(scores, ordinal);
    const struct live_node *node = scores->nodes.items[ordinal];
    if (!idle && (!node || !node_takes_work(node)))
        return SCORE_NO_MATCH;
    struct kind_score *kind = &scores->kind_scores.items[scores->kind_of.items[ordinal]];
    if (!kind->known) {
        kind->known = true;
        kind->matches = fit_matches(core, job->shape, node);
    }
    if (!kind->matches)
        return SCORE_NO_MATCH;
    return idle ? SCORE_IDLE : score_now(core, job, node);
}

static void bounds_make(const struct scores *scores, struct score_row *row)
{
    for (size_t b = 0; b < scores->segment_of.count; b++)
        block_correct(row, b);
    for (size_t s = 0; s < scores->segments.count; s++)
        segment_correct(scores, row, s);
}

static void row_fill(struct core *core, const struct live_job *job)
{
    struct scores *scores = &core->scores;
    struct score_row *row = job->shape->scores;
    row_lay_out(scores, row);
    vec_clear(&scores->kind_scores);
    for (size_t i = 0; i < scores->kinds.count; i++)
        vec_push(&scores->kind_scores, ((struct kind_score){0}));
    for (uint32_t i = 0; i < scores->nodes.count; i++)
        row->scores[i] = score_first(core, job, i);
    for (size_t i = 0; i < scores->kinds.count && kinds_shared(scores); i++)
        row->kinds[i] = scores->kind_scores.items[i].matches ? SCORE_UNKNOWN : SCORE_NO_MATCH;
    bounds_make(scores, row);
}

static void block_refresh(
    const struct core *core, const struct live_job *job, const struct needs *needs, uint32_t block)
{
    struct score_row *row = job->shape->scores;
    uint32_t begin = block * BLOCK, scored[JOURNAL_SOME];
    int64_t now[JOURNAL_SOME];
    size_t count = 0;
    static_assert((int)BLOCK <= (int)JOURNAL_SOME, "a block is scored at once");
    scored[0] = begin;
    for (uint32_t i = begin; i < begin + BLOCK; i++) {
        scored[count] = i;
        count += row->scores[i] < SCORE_NONE;
    }
    scores_now(core, job, needs, scored, count, now);
    for (size_t i = 0; i < count; i++)
        row->scores[scored[i]] = now[i];
    block_correct(row, block);
}

/* The tables changed and the nodes did not: what fits still does, and scores something else. */
static void row_refresh(const struct core *core, const struct live_job *job)
{
    const struct scores *scores = &core->scores;
    struct score_row *row = job->shape->scores;
    struct needs needs = needs_of(&job->shape->row);
    for (uint32_t block = 0; block < scores->segment_of.count; block++) {
        if (row->blocks[block].least < SCORE_NONE)
            block_refresh(core, job, &needs, block);
    }
    for (size_t s = 0; s < scores->segments.count; s++)
        segment_correct(scores, row, s);
    for (size_t i = 0; i < scores->kinds.count && kinds_shared(scores); i++)
        row->kinds[i] = row->kinds[i] == SCORE_NO_MATCH ? SCORE_NO_MATCH : SCORE_UNKNOWN;
}

/* Whether a change may have given the node another score: it can take the shape at all, and it had
 * room or has got some since. */
static bool concerned(const struct scores *scores, const struct score_row *row, uint32_t ordinal)
{
    int64_t before = row->scores[ordinal];
    return before < SCORE_NO_ROOM ||
           (before == SCORE_NO_ROOM && scores->noted.items[ordinal].gained > row->at);
}

/* Some nodes that changed from change *at on, which moves on, and that the row is concerned with;
 * how many. They are asked for ahead of their use: together they come sooner than one after the
 * other. */
static size_t changes_next(const struct scores *scores, const struct score_row *row, uint64_t *at,
    uint32_t changed[static JOURNAL_SOME])
{
    size_t count = journal_some(&scores->journal, at, changed), kept = 0;
    for (size_t i = 0; i < count; i++)
        __builtin_prefetch(&row->scores[changed[i]]);
    for (size_t i = 0; i < count; i++) {
        uint32_t ordinal = changed[i];
        changed[kept] = ordinal;
        if (!concerned(scores, row, ordinal))
            continue;
        __builtin_prefetch(&scores->nodes.items[ordinal]->room);
        kept++;
    }
    return kept;
}

static void row_follow(const struct core *core, const struct live_job *job)
{
    const struct scores *scores = &core->scores;
    struct score_row *row = job->shape->scores;
    struct needs needs = needs_of(&job->shape->row);
    uint32_t changed[JOURNAL_SOME];
    int64_t now[JOURNAL_SOME];
    for (uint64_t at = row->at; at < scores->journal.end;) {
        size_t count = changes_next(scores, row, &at, changed);
        if (count == 0)
            continue;
        scores_now(core, job, &needs, changed, count, now);
        for (size_t i = 0; i < count; i++) {
            if (now[i] != row->scores[changed[i]])
                row_set(scores, row, changed[i], now[i]);
        }
    }
}

/* Whether the row is about the nodes that there are, and the journal has what changed of them. */
static bool row_current(const struct core *core, const struct score_row *row)
{
    return row->version == core->topology_version && core->scores.version == row->version &&
           row->at >= core->scores.journal.begin;
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

struct best {
    int64_t score;
    uint32_t ordinal;
};

/* The node of a segment's bound; NODE_NONE when a bound was too low and is corrected now. */
static uint32_t segment_node(const struct scores *scores, struct score_row *row, size_t segment)
{
    const struct bound *top = &row->segments[segment];
    const struct bound *block = &row->blocks[top->at];
    if (block->least != top->least) {
        segment_correct(scores, row, segment);
        return NODE_NONE;
    }
    if (row->scores[block->at] != block->least) {
        block_correct(row, top->at);
        return NODE_NONE;
    }
    return block->at;
}

/* The best of the nodes of a pool that are not idle: the segments are its own. */
static struct best busy_best(
    const struct scores *scores, struct score_row *row, size_t begin, size_t end)
{
    for (;;) {
        size_t best = begin;
        for (size_t s = begin + 1; s < end; s++)
            best = row->segments[s].least < row->segments[best].least ? s : best;
        if (row->segments[best].least >= SCORE_NONE)
            return (struct best){SCORE_NONE, NODE_NONE};
        uint32_t ordinal = segment_node(scores, row, best);
        if (ordinal != NODE_NONE)
            return (struct best){row->scores[ordinal], ordinal};
    }
}

/* The better of it and the idle nodes of a kind. */
static void idle_better(
    struct core *core, const struct live_job *job, uint32_t kind, struct best *best)
{
    int64_t *score = &job->shape->scores->kinds[kind];
    if (*score > best->score)
        return;
    uint32_t ordinal = idle_first(&core->scores, kind);
    if (ordinal == NODE_NONE)
        return;
    if (*score == SCORE_UNKNOWN)
        *score = score_now(core, job, core->scores.nodes.items[ordinal]);
    if (*score < best->score || (*score == best->score && ordinal < best->ordinal))
        *best = (struct best){*score, ordinal};
}

/* The best node of the pool that begins with that segment; *segment moves on to the next pool. */
static uint32_t pool_best(struct core *core, const struct live_job *job, size_t *segment)
{
    const struct scores *scores = &core->scores;
    size_t begin = *segment, end = begin;
    while (end < scores->segments.count && scores->segments.items[end].pool == begin)
        end++;
    *segment = end;
    struct best best = busy_best(scores, job->shape->scores, begin, end);
    struct score_segment pool = scores->segments.items[begin];
    uint32_t kinds_end = kinds_shared(scores) ? pool.kinds_end : pool.kinds_begin;
    for (uint32_t k = pool.kinds_begin; k < kinds_end; k++)
        idle_better(core, job, k, &best);
    return best.score < SCORE_NONE ? best.ordinal : NODE_NONE;
}

/* Brings the row up to date with the nodes and with the policy's tables. */
static void row_update(struct core *core, const struct live_job *job)
{
    struct score_row *row = job->shape->scores;
    packing_ready(core, job->shape);
    idle_follow(&core->scores);
    if (!row_current(core, row)) {
        row_fill(core, job);
    } else {
        row_follow(core, job);
        if (row->packing != core->packing_version)
            row_refresh(core, job);
    }
    row->version = core->topology_version;
    row->packing = core->packing_version;
    row->at = core->scores.journal.end;
    row->used = ++core->scores.clock;
}

struct live_node *score_best(struct core *core, const struct live_job *job)
{
    const struct scores *scores = &core->scores;
    assert(job->shape->scores && score_defined(core, job->shape));
    row_update(core, job);
    bool ordered = broker_orders(core, job);
    struct live_node *best = NULL;
    for (size_t segment = 0; segment < scores->segments.count && (ordered || !best);) {
        uint32_t ordinal = pool_best(core, job, &segment);
        struct live_node *node = ordinal != NODE_NONE ? scores->nodes.items[ordinal] : NULL;
        if (node && (!best || broker_before(core, job, node->pool, best->pool)))
            best = node;
    }
    return best;
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

/* Whether the remembered score of a node is what it would be now. */
static bool entry_holds(const struct core *core, const struct live_shape *shape, uint32_t ordinal)
{
    const struct scores *scores = &core->scores;
    const struct score_row *row = shape->scores;
    const struct live_node *node = scores->nodes.items[ordinal];
    struct live_job like = {.shape = (struct live_shape *)shape, .links = &job_links_none};
    int64_t score = row->scores[ordinal];
    if (!node || !node_takes_work(node) || !fit_matches(core, shape, node))
        return score == SCORE_NO_MATCH;
    if (score == SCORE_NO_MATCH)
        return false;
    if (scores->noted.items[ordinal].last > row->at)
        return true;
    if (idle_is(scores, ordinal)) {
        int64_t kind = row->kinds[scores->kind_of.items[ordinal]];
        return score == SCORE_IDLE &&
               (kind == SCORE_UNKNOWN || kind == score_afresh(core, &like, node));
    }
    return score == score_afresh(core, &like, node);
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
        if (!entry_holds(core, shape, i))
            return false;
    }
    return bounds_hold(&core->scores, row);
}
