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
 * Whether it fits them is asked of what is free, by number (node_order.c), and only those that it
 * fits get a score, many at once: the nodes themselves are not looked at. When nodes come, go or
 * stop taking work, all its scores are computed again: what nodes that are alike have in common
 * once for all of them. When the tables of the placement policy change, those of nodes that have
 * room are.
 *
 * Idle nodes of a kind score the same, so that the first of them is enough (node_order.c); the row
 * has a score for each kind, and searches look at all kinds of a pool that have an idle node.
 *
 * Rows take memory in proportion to nodes times shapes, which is bounded: a new row may take the
 * place of one that was not used for long, and where every row is in use the shape gets none. Only
 * shapes whose fit depends on nothing else (no affinity anywhere, no reservations) have rows.
 * Without a row a shape is placed by looking at every node. Both ways give the same place, and
 * core_check compares. */
#include "core/score.h"
#include "base/lanes.h"
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
#define SCORE_NO_ROOM  (INT64_MAX - 1)     /* nothing is free of it; or it is idle: see its kind */
static_assert(SCORE_NO_MATCH == SCORE_NO_ROOM + 1, "a match is one less");
#define SCORE_NONE    SCORE_NO_ROOM /* from here on there is none */
#define SCORE_UNKNOWN INT64_MIN     /* of a kind: it matches; to be computed */

/* Of up to BLOCK numbers each: the least, or less, and where it is, exactly if that number equals
 * it. */
struct bounds {
    int64_t *least;
    uint8_t *at; /* counted from the first of them */
};

struct score_row {
    uint64_t version; /* of the topology that it is for, .. */
    uint64_t packing; /* ..and of the policy's tables */
    uint64_t at;      /* in the journal */
    uint64_t used;    /* core->scores.clock at the last search */
    size_t bytes;
    int64_t *scores;        /* by ordinal */
    int64_t *kinds;         /* of an idle node, by kind; none where kinds are not shared */
    struct bounds blocks;   /* by ordinal / BLOCK: of scores */
    struct bounds segments; /* by segment: of blocks */
};

/* ---- one score --------------------------------------------------------------------------------
 */

/* What a rank needs of what is free of a node. */
struct needs {
    struct node_free least;
    bool exclusive;
};

static int64_t need(int64_t ask)
{
    return ask > 0 ? ask : FREE_ANY;
}

static struct needs needs_of(const struct shape_row *ask)
{
    int64_t milli = ask->accelerator_milli;
    int64_t devices = milli < DEVICE_MILLI ? milli : milli / DEVICE_MILLI * FREE_DEVICE;
    return (struct needs){
        .least = {{need(ask->cpu_milli), need(ask->memory_bytes), need(ask->disk_bytes)},
            need(devices)},
        .exclusive = ask->exclusive,
    };
}

/* 1 where nothing of what is needed is less than that free, else 0: whether no difference is
 * negative. There is no branch, for nobody could foresee it. A whole device is more than any share;
 * where devices have no shares the nodes do not match who asks for one. */
static uint64_t enough(const struct node_free *free, const struct node_free *least)
{
    int64_t cpu = free->all.cpu_milli - least->all.cpu_milli;
    int64_t memory = free->all.memory_bytes - least->all.memory_bytes;
    int64_t disk = free->all.disk_bytes - least->all.disk_bytes;
    return (uint64_t) ~(cpu | memory | disk | (free->devices - least->devices)) >> 63;
}

static int64_t score_now(
    const struct core *core, const struct live_job *job, const struct live_node *node)
{
    struct needs needs = needs_of(&job->shape->row);
    struct node_free free = node_free_of(node);
    bool fits = enough(&free, &needs.least) && (!needs.exclusive || fit_shares(job->shape, node));
    return fits ? packing_score(core, job, node, 1) : SCORE_NO_ROOM;
}

/* ---- a row ------------------------------------------------------------------------------------
 */

static bool bound_lower(const struct bounds *bounds, uint32_t bound, int64_t value, uint32_t at)
{
    int64_t least = bounds->least[bound];
    if (value > least || (value == least && at >= bounds->at[bound]))
        return false;
    bounds->least[bound] = value;
    bounds->at[bound] = (uint8_t)at;
    return true;
}

static void row_set(
    const struct scores *scores, struct score_row *row, uint32_t ordinal, int64_t score)
{
    row->scores[ordinal] = score;
    uint32_t block = ordinal / BLOCK, segment = scores->segment_of.items[block];
    if (bound_lower(&row->blocks, block, score, ordinal % BLOCK))
        bound_lower(&row->segments, segment, score, block - scores->segments.items[segment].block);
}

static uint32_t segment_end(const struct scores *scores, size_t segment)
{
    return segment + 1 < scores->segments.count ? scores->segments.items[segment + 1].block
                                                : (uint32_t)scores->segment_of.count;
}

/* The least of four by four, and behind which of them it comes; of equals the first. */
LANES_PART void least_by_four(const int64_t *values, uint32_t count, words4 *least, words4 *at)
{
    words4 four = {0, 1, 2, 3};
    *at = four;
    *least = WORDS4(values);
    for (uint32_t i = 4; i + 4 <= count; i += 4) {
        words4 value = WORDS4(values + i), less = value < *least;
        four += 4;
        *least = (value & less) | (*least & ~less);
        *at = (four & less) | (*at & ~less);
    }
}

/* Where the least of some numbers is, of equals the first. */
LANES static uint32_t least_find(const int64_t *values, uint32_t count)
{
    uint32_t found = 0, rest = 1;
    if (count >= 4) {
        words4 least, at;
        least_by_four(values, count, &least, &at);
        found = (uint32_t)at[0];
        for (uint32_t i = 1; i < 4; i++) {
            bool first =
                least[i] < values[found] || (least[i] == values[found] && (uint32_t)at[i] < found);
            found = first ? (uint32_t)at[i] : found;
        }
        rest = count / 4 * 4;
    }
    for (uint32_t i = rest; i < count; i++)
        found = values[i] < values[found] ? i : found;
    return found;
}

static void bound_correct(
    const struct bounds *bounds, uint32_t bound, const int64_t *values, uint32_t count)
{
    uint32_t at = least_find(values, count);
    bounds->least[bound] = values[at];
    bounds->at[bound] = (uint8_t)at;
}

static void block_correct(struct score_row *row, uint32_t block)
{
    bound_correct(&row->blocks, block, &row->scores[block * BLOCK], BLOCK);
}

static void segment_correct(const struct scores *scores, struct score_row *row, uint32_t segment)
{
    uint32_t begin = scores->segments.items[segment].block, end = segment_end(scores, segment);
    bound_correct(&row->segments, segment, &row->blocks.least[begin], end - begin);
}

static size_t row_bytes(const struct scores *scores)
{
    size_t kinds = kinds_shared(scores) ? scores->kinds.count : 0;
    return sizeof(struct score_row) + (scores->nodes.count + kinds) * sizeof(int64_t) +
           (scores->segment_of.count + scores->segments.count) *
               (sizeof(int64_t) + sizeof(uint8_t));
}

static void row_lay_out(const struct scores *scores, struct score_row *row)
{
    assert(row->bytes == row_bytes(scores));
    row->scores = (int64_t *)(row + 1);
    row->kinds = row->scores + scores->nodes.count;
    row->blocks.least = row->kinds + (kinds_shared(scores) ? scores->kinds.count : 0);
    row->segments.least = row->blocks.least + scores->segment_of.count;
    row->blocks.at = (uint8_t *)(row->segments.least + scores->segments.count);
    row->segments.at = row->blocks.at + scores->segment_of.count;
}

/* Keeps those nodes of some that one rank fits, and returns how many; what the row says of the
 * others is put right. Affinity and reservations apart. */
static size_t keep_fitting(const struct scores *scores, const struct live_shape *shape,
    const struct needs *needs, uint32_t *ordinals, size_t count)
{
    int64_t *row = shape->scores->scores;
    const struct node_free *free = scores->free.items, least = needs->least;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t ordinal = ordinals[i];
        uint64_t fits = enough(&free[ordinal], &least);
        int64_t before = row[ordinal], floor[] = {SCORE_NO_ROOM, INT64_MIN};
        row[ordinal] = most(before, floor[fits]);
        ordinals[kept] = ordinal;
        kept += fits & (before != SCORE_NO_MATCH);
    }
    return kept;
}

/* Of those that are left, the ones that an exclusive rank may share. */
static size_t keep_sharing(
    const struct scores *scores, const struct live_shape *shape, uint32_t *ordinals, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (fit_shares(shape, scores->nodes.items[ordinals[i]]))
            ordinals[kept++] = ordinals[i];
        else
            shape->scores->scores[ordinals[i]] = SCORE_NO_ROOM;
    }
    return kept;
}

/* The scores of those nodes of some that one rank fits, which are kept; how many. */
static size_t scores_now(const struct core *core, const struct live_job *job,
    const struct needs *needs, uint32_t *ordinals, size_t count, int64_t *ret)
{
    count = keep_fitting(&core->scores, job->shape, needs, ordinals, count);
    if (needs->exclusive)
        count = keep_sharing(&core->scores, job->shape, ordinals, count);
    if (count > 0)
        packing_scores(core, job, ordinals, count, ret);
    return count;
}

static void segments_correct(const struct scores *scores, struct score_row *row)
{
    for (uint32_t s = 0; s < scores->segments.count; s++)
        segment_correct(scores, row, s);
}

/* Nodes of a kind match alike. */
static void kinds_match(struct core *core, const struct live_shape *shape)
{
    struct scores *scores = &core->scores;
    vec_clear(&scores->kind_matches);
    for (size_t i = 0; i < scores->kinds.count; i++)
        vec_push(&scores->kind_matches, fit_matches(core, shape, scores->kinds.items[i].like));
}

/* Sets the scores of those nodes of a block that have one, in order, and the block's bound. */
static void block_set(struct score_row *row, uint32_t block, const uint32_t *ordinals,
    const int64_t *now, size_t count)
{
    int64_t *scores = row->scores, least = SCORE_NONE;
    uint32_t at = block * BLOCK;
    for (size_t i = 0; i < count; i++) {
        scores[ordinals[i]] = now[i];
        at = now[i] < least ? ordinals[i] : at;
        least = now[i] < least ? now[i] : least;
    }
    row->blocks.least[block] = least;
    row->blocks.at[block] = (uint8_t)(at % BLOCK);
}

static void block_fill(
    const struct core *core, const struct live_job *job, const struct needs *needs, uint32_t block)
{
    const struct scores *scores = &core->scores;
    const bool *matches = scores->kind_matches.items;
    const uint32_t *kinds = &scores->kind_of.items[block * BLOCK];
    const struct node_free *free = &scores->free.items[block * BLOCK];
    int64_t *row = &job->shape->scores->scores[block * BLOCK], now[BLOCK];
    uint32_t ordinals[BLOCK + 1];
    size_t count = 0;
    for (uint32_t i = 0; i < BLOCK; i++) {
        bool match = matches[kinds[i]];
        row[i] = SCORE_NO_MATCH - match;
        ordinals[count] = block * BLOCK + i;
        count += match & (free[i].devices != FREE_NONE);
    }
    count = scores_now(core, job, needs, ordinals, count, now);
    block_set(job->shape->scores, block, ordinals, now, count);
}

static void row_fill(struct core *core, const struct live_job *job)
{
    const struct scores *scores = &core->scores;
    struct score_row *row = job->shape->scores;
    struct needs needs = needs_of(&job->shape->row);
    row_lay_out(scores, row);
    kinds_match(core, job->shape);
    for (uint32_t block = 0; block < scores->segment_of.count; block++)
        block_fill(core, job, &needs, block);
    for (size_t i = 0; i < scores->kinds.count && kinds_shared(scores); i++)
        row->kinds[i] = scores->kind_matches.items[i] ? SCORE_UNKNOWN : SCORE_NO_MATCH;
    segments_correct(scores, row);
}

static void block_refresh(const struct core *core, const struct live_job *job, uint32_t block)
{
    const int64_t *row = &job->shape->scores->scores[block * BLOCK];
    uint32_t ordinals[BLOCK + 1];
    int64_t now[BLOCK];
    size_t count = 0;
    for (uint32_t i = 0; i < BLOCK; i++) {
        ordinals[count] = block * BLOCK + i;
        count += row[i] < SCORE_NONE;
    }
    if (count > 0)
        packing_scores(core, job, ordinals, count, now);
    block_set(job->shape->scores, block, ordinals, now, count);
}

/* The tables changed and the nodes did not: what fits still does, and scores something else. */
static void row_refresh(const struct core *core, const struct live_job *job)
{
    const struct scores *scores = &core->scores;
    struct score_row *row = job->shape->scores;
    for (uint32_t block = 0; block < scores->segment_of.count; block++) {
        if (row->blocks.least[block] < SCORE_NONE)
            block_refresh(core, job, block);
    }
    segments_correct(scores, row);
    for (size_t i = 0; i < scores->kinds.count && kinds_shared(scores); i++)
        row->kinds[i] = row->kinds[i] == SCORE_NO_MATCH ? SCORE_NO_MATCH : SCORE_UNKNOWN;
}

static void row_follow(const struct core *core, const struct live_job *job)
{
    const struct scores *scores = &core->scores;
    struct score_row *row = job->shape->scores;
    struct needs needs = needs_of(&job->shape->row);
    uint32_t changed[JOURNAL_SOME];
    int64_t now[JOURNAL_SOME];
    for (uint64_t at = row->at; at < scores->journal.end;) {
        size_t count = journal_some(&scores->journal, &at, changed);
        for (size_t i = 0; i < count; i++)
            __builtin_prefetch(&row->scores[changed[i]]);
        count = scores_now(core, job, &needs, changed, count, now);
        for (size_t i = 0; i < count; i++)
            row_set(scores, row, changed[i], now[i]);
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
static uint32_t segment_node(const struct scores *scores, struct score_row *row, uint32_t segment)
{
    int64_t least = row->segments.least[segment];
    uint32_t block = scores->segments.items[segment].block + row->segments.at[segment];
    if (row->blocks.least[block] == least) {
        uint32_t ordinal = block * BLOCK + row->blocks.at[block];
        if (row->scores[ordinal] == least)
            return ordinal;
        block_correct(row, block);
    }
    segment_correct(scores, row, segment);
    return NODE_NONE;
}

/* The best of the nodes of a pool that are not idle: the segments are its own. */
static struct best busy_best(
    const struct scores *scores, struct score_row *row, uint32_t begin, uint32_t end)
{
    const int64_t *least = row->segments.least;
    for (;;) {
        uint32_t best = begin;
        for (uint32_t s = begin + 1; s < end; s++)
            best = least[s] < least[best] ? s : best;
        if (least[best] >= SCORE_NONE)
            return (struct best){SCORE_NONE, NODE_NONE};
        uint32_t ordinal = segment_node(scores, row, best);
        if (ordinal != NODE_NONE)
            return (struct best){row->scores[ordinal], ordinal};
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

/* The best node of the pool that begins with that segment; *segment moves on to the next pool. */
static uint32_t pool_best(struct core *core, const struct live_job *job, uint32_t *segment)
{
    const struct scores *scores = &core->scores;
    uint32_t begin = *segment, end = begin;
    while (end < scores->segments.count && scores->segments.items[end].pool == begin)
        end++;
    *segment = end;
    struct best best = busy_best(scores, job->shape->scores, begin, end);
    struct score_segment pool = scores->segments.items[begin];
    uint32_t kinds_end = kinds_shared(scores) ? pool.kinds_end : pool.kinds_begin;
    const int64_t *kinds = job->shape->scores->kinds;
    for (uint32_t k = pool.kinds_begin; k < kinds_end; k++) {
        if (scores->idle_first.items[k] != NODE_NONE && kinds[k] <= best.score)
            idle_better(core, job, k, &best);
    }
    return best.score < SCORE_NONE ? best.ordinal : NODE_NONE;
}

/* Brings the row up to date with the nodes and with the policy's tables. */
static void row_update(struct core *core, const struct live_job *job)
{
    struct score_row *row = job->shape->scores;
    packing_ready(core, job->shape);
    nodes_follow(&core->scores);
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
    for (uint32_t segment = 0; segment < scores->segments.count && (ordered || !best);) {
        uint32_t ordinal = pool_best(core, job, &segment);
        struct live_node *node = ordinal != NODE_NONE ? scores->nodes.items[ordinal] : NULL;
        if (node && (!best || broker_before(core, job, node->pool, best->pool)))
            best = node;
    }
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

static bool bounds_hold(const struct scores *scores, const struct score_row *row)
{
    for (uint32_t b = 0; b < scores->segment_of.count; b++) {
        if (!bound_holds(&row->blocks, b, &row->scores[b * BLOCK], BLOCK))
            return false;
    }
    for (uint32_t s = 0; s < scores->segments.count; s++) {
        uint32_t begin = scores->segments.items[s].block, end = segment_end(scores, s);
        if (!bound_holds(&row->segments, s, &row->blocks.least[begin], end - begin))
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
    if (!node || !node_takes_work(node))
        return score >= SCORE_NONE;
    if ((score == SCORE_NO_MATCH) != !fit_matches(core, shape, node))
        return false;
    if (score == SCORE_NO_MATCH)
        return true;
    if (scores->noted.items[ordinal].last > row->at)
        return true;
    if (idle_is(scores, ordinal)) {
        int64_t kind = row->kinds[scores->kind_of.items[ordinal]];
        return score == SCORE_NO_ROOM &&
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
