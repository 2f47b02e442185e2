/* Rows of remembered scores: see score.c for what they are.
 *
 * A row is right about every node that the rank fits now, and only about those: who finds one that
 * it does not fit any more takes it out (score.c). So of all nodes that changed only those matter
 * that the rank fits, and whether it may is known from eight bytes of each (free_key). */
#include "core/score_row.h"
#include "base/lanes.h"
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
    BLOCK = SCORE_BLOCK, /* scores under a bound */
    LIKELY_SOME = 128,   /* nodes looked at together */
};

/* key_enough for four keys: all bits or none. */
#define KEYS4_ENOUGH(keys, least)                                                                  \
    ((words4)((((least) + FREE_MOST - UWORDS4(keys)) & FREE_GUARDS) == 0))

/* ---- one score --------------------------------------------------------------------------------
 */

static int64_t need(int64_t ask)
{
    return ask > 0 ? ask : FREE_ANY;
}

static struct needs needs_of(const struct shape_row *ask)
{
    int64_t milli = ask->accelerator_milli;
    int64_t devices = milli < DEVICE_MILLI ? milli : milli / DEVICE_MILLI * FREE_DEVICE;
    struct needs needs = {
        .least = {{need(ask->cpu_milli), need(ask->memory_bytes), need(ask->disk_bytes)},
            need(devices)},
        .exclusive = ask->exclusive,
    };
    needs.key = free_key(&needs.least);
    needs.sure = KEY_NEVER;
    return needs;
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

int64_t score_now(const struct core *core, const struct live_job *job, const struct live_node *node)
{
    struct needs needs = needs_of(&job->shape->row);
    struct node_free free = node_free_of(node);
    bool fits = enough(&free, &needs.least) && (!needs.exclusive || fit_shares(job->shape, node));
    return fits ? packing_score(core, job, node, 1) : SCORE_NO_ROOM;
}

bool row_fits(const struct scores *scores, const struct live_shape *shape, uint32_t ordinal)
{
    const struct needs *needs = &shape->scores->needs;
    return enough(&scores->free.items[ordinal], &needs->least) &&
           (!needs->exclusive || fit_shares(shape, scores->nodes.items[ordinal]));
}

/* ---- bounds -----------------------------------------------------------------------------------
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

/* The less of each pair. */
LANES_PART void words4_least(const words4 *a, const words4 *b, words4 *ret)
{
    words4 less = *a < *b;
    *ret = (*a & less) | (*b & ~less);
}

/* The least of four numbers, four times. */
LANES_PART void least_everywhere(words4 *four)
{
    words4 other = __builtin_shufflevector(*four, *four, 2, 3, 0, 1);
    words4_least(four, &other, four);
    other = __builtin_shufflevector(*four, *four, 1, 0, 3, 2);
    words4_least(four, &other, four);
}

/* Where the first is of up to 64 numbers that equals those four, which one does. There is no branch
 * until it is found, for nobody could foresee it. */
LANES_PART uint32_t equal_first(const int64_t *values, uint32_t count, const words4 *four)
{
    uwords4 bits = {1, 2, 4, 8}, found = {0};
    for (uint32_t i = 0; i < count; i += 4, bits <<= 4)
        found |= (uwords4)(WORDS4(values + i) == *four) & bits;
    return (uint32_t)__builtin_ctzll(found[0] | found[1] | found[2] | found[3]);
}

/* Where the least of some numbers is, of equals the first; four of them, or a multiple of that. */
LANES_PART uint32_t least_at(const int64_t *values, uint32_t count)
{
    words4 least = WORDS4(values);
    for (uint32_t i = 4; i < count; i += 4)
        words4_least(&WORDS4(values + i), &least, &least);
    least_everywhere(&least);
    return equal_first(values, count, &least);
}

/* The same of up to 64, however many they are; most often it is a full block. */
LANES static uint32_t least_find(const int64_t *values, uint32_t count)
{
    if (count == BLOCK)
        return least_at(values, BLOCK);
    uint32_t fours = count / 4 * 4, found = fours > 0 ? least_at(values, fours) : 0;
    for (uint32_t i = fours; i < count; i++)
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

/* Takes out the scores of a block's nodes that by their keys the rank does not fit, and returns
 * where the least of the others is, of equals the first. */
LANES static uint32_t scores_sweep(int64_t *scores, const uint64_t *keys, uint64_t key)
{
    words4 least = {0};
    least += SCORE_NONE;
    for (int i = 0; i < BLOCK; i += 4) {
        words4 held = KEYS4_ENOUGH(keys + i, key), none = ~held & SCORE_NO_ROOM;
        words4 value = (WORDS4(scores + i) & held) | none;
        *(words4 *)(scores + i) = value;
        words4_least(&value, &least, &least);
    }
    least_everywhere(&least);
    return equal_first(scores, BLOCK, &least);
}

void row_correct_block(const struct scores *scores, struct score_row *row, uint32_t block)
{
    int64_t *block_scores = &row->scores[block * BLOCK];
    uint32_t at = scores_sweep(block_scores, &scores->keys.items[block * BLOCK], row->needs.key);
    row->blocks.least[block] = block_scores[at];
    row->blocks.at[block] = (uint8_t)at;
}

void row_correct_segment(const struct scores *scores, struct score_row *row, uint32_t segment)
{
    const struct score_segment *blocks = &scores->segments.items[segment];
    bound_correct(&row->segments, segment, &row->blocks.least[blocks->block],
        blocks->block_end - blocks->block);
}

/* ---- which nodes ------------------------------------------------------------------------------
 */

/* Nodes that by their keys the rank may fit, and whether it is sure that it fits them all. */
struct likely {
    size_t count;
    uint64_t unsure; /* FREE_GUARDS that a key did not pass */
    uint32_t ordinals[LIKELY_SOME];
};

/* Adds those of some nodes that have their bits set; nodes NULL: numbered from `first` on. */
LANES_PART void likely_add(struct likely *likely, uint64_t bits, const uint32_t *nodes,
    uint32_t first, const uint64_t *keys, uint64_t sure)
{
    size_t count = likely->count;
    uint64_t unsure = likely->unsure;
    for (; bits; bits &= bits - 1) {
        uint32_t at = (uint32_t)__builtin_ctzll(bits);
        likely->ordinals[count++] = nodes ? nodes[at] : first + at;
        unsure |= sure + FREE_MOST - keys[at];
    }
    likely->count = count;
    likely->unsure = unsure;
}

/* Keeps those nodes of some that match and that one rank fits, and returns how many. Affinity and
 * reservations apart. */
static size_t keep_fitting(
    const struct scores *scores, const struct live_shape *shape, uint32_t *ordinals, size_t count)
{
    const struct score_row *row = shape->scores;
    const struct node_free *free = scores->free.items, least = row->needs.least;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t ordinal = ordinals[i];
        ordinals[kept] = ordinal;
        kept += enough(&free[ordinal], &least) & row_matches(row, scores->kind_of.items[ordinal]);
    }
    if (!row->needs.exclusive)
        return kept;
    count = kept;
    kept = 0;
    for (size_t i = 0; i < count; i++) {
        ordinals[kept] = ordinals[i];
        kept += fit_shares(shape, scores->nodes.items[ordinals[i]]);
    }
    return kept;
}

/* A bit for each of up to 64 keys, a multiple of eight: whether the rank may fit it. From the last
 * to the first, so that bits only move along. */
LANES_PART uint64_t keys_enough(const uint64_t *keys, uint32_t count, uint64_t least)
{
    uwords4 low = {1, 2, 4, 8}, high = {16, 32, 64, 128}, found = {0};
    for (uint32_t i = count; i > 0; i -= 8) {
        found = found << 8 | ((uwords4)KEYS4_ENOUGH(keys + i - 8, least) & low) |
                ((uwords4)KEYS4_ENOUGH(keys + i - 4, least) & high);
    }
    return found[0] | found[1] | found[2] | found[3];
}

/* A bit for each of up to TOPS_SOME blocks: whether the rank may fit one of its nodes. */
LANES static uint64_t blocks_fitting(const uint64_t *tops, size_t count, uint64_t least)
{
    uint64_t end = count < TOPS_SOME ? count : TOPS_SOME;
    return keys_enough(tops, TOPS_SOME, least) & ~(uint64_t)0 >> (TOPS_SOME - end);
}

/* Takes out all scores of a block, and adds its nodes that by their keys the rank may fit. */
LANES static void block_open(int64_t *scores, const uint64_t *keys, const struct needs *needs,
    uint32_t first, struct likely *ret)
{
    for (int i = 0; i < BLOCK; i++)
        scores[i] = SCORE_NO_ROOM;
    likely_add(ret, keys_enough(keys, BLOCK, needs->key), NULL, first, keys, needs->sure);
}

/* The next nodes that changed from *at on, which moves behind them, and that the rank may fit. All
 * keys of a word are looked at, for how many are asked for nobody could foresee. */
LANES static void changed_fitting(
    const struct journal *journal, const struct needs *needs, uint64_t *at, struct likely *ret)
{
    uint64_t change = *at;
    ret->count = ret->unsure = 0;
    while (change < journal->end && ret->count <= LIKELY_SOME - JOURNAL_SOME) {
        struct journal_word word = journal_word(journal, &change);
        const uint64_t *keys = &journal->keys[word.base];
        word.last &= keys_enough(keys, JOURNAL_SOME, needs->key);
        likely_add(ret, word.last, &journal->ring[word.base], 0, keys, needs->sure);
    }
    *at = change;
}

/* ---- all of a row -----------------------------------------------------------------------------
 */

/* At least one: where kinds are shared their bits are one word, also of no kinds. */
static size_t kinds_words(const struct scores *scores)
{
    return (size_t)most((int64_t)(scores->kinds.count + 63) / 64, 1);
}

static size_t kinds_scored(const struct scores *scores)
{
    return kinds_shared(scores) ? scores->kinds.count : 0;
}

static size_t whole_lines(size_t bytes)
{
    enum { LINE_BYTES = 64 };
    return (bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
}

static size_t bounds_count(const struct scores *scores)
{
    return scores->segment_of.count + scores->segments.count;
}

/* Where the scores begin: with a line of the cache, so that a block of them has no more lines than
 * it needs. */
static size_t row_scores_at(const struct scores *scores)
{
    size_t words = kinds_words(scores) + bounds_count(scores) + kinds_scored(scores);
    return whole_lines(sizeof(struct score_row) + words * sizeof(int64_t));
}

size_t row_bytes(const struct scores *scores)
{
    return row_scores_at(scores) +
           whole_lines(scores->nodes.count * sizeof(int64_t) + bounds_count(scores));
}

/* What every search looks at is side by side, in front of the scores. */
static void row_lay_out(const struct scores *scores, struct score_row *row)
{
    assert(row->bytes == row_bytes(scores));
    row->matches = (uint64_t *)(row + 1);
    row->segments.least = (int64_t *)(row->matches + kinds_words(scores));
    row->blocks.least = row->segments.least + scores->segments.count;
    row->kinds = row->blocks.least + scores->segment_of.count;
    row->scores = (int64_t *)((char *)row + row_scores_at(scores));
    row->blocks.at = (uint8_t *)(row->scores + scores->nodes.count);
    row->segments.at = row->blocks.at + scores->segment_of.count;
}

/* Nodes of a kind match alike. */
static void row_match(struct core *core, struct live_shape *shape)
{
    const struct scores *scores = &core->scores;
    uint64_t *matches = shape->scores->matches;
    assert(matches < (const uint64_t *)shape->scores->segments.least);
    if (kinds_shared(scores)) {
        matches[0] = kinds_matching(core, shape);
        return;
    }
    memset(matches, 0, kinds_words(scores) * sizeof *matches);
    for (size_t i = 0; i < scores->kinds.count; i++) {
        uint64_t match = fit_matches(core, shape, scores->kinds.items[i].like);
        matches[i / 64] |= match << i % 64;
    }
}

/* Whether nodes that the rank does not match are too small for it, too. */
static bool matches_large(const struct scores *scores, const struct score_row *row)
{
    for (uint32_t i = 0; i < scores->kinds.count; i++) {
        const struct node_row *whole = &scores->kinds.items[i].like->row;
        struct node_free free = {{whole->cpu_milli, whole->memory_bytes, whole->disk_bytes},
            (int64_t)whole->devices * FREE_DEVICE};
        if (!row_matches(row, i) && key_enough(free_key(&free), row->needs.key))
            return false;
    }
    return true;
}

/* Everything else is of the nodes that there are. */
static void row_open(struct core *core, struct live_shape *shape)
{
    const struct scores *scores = &core->scores;
    struct score_row *row = shape->scores;
    row_lay_out(scores, row);
    row_match(core, shape);
    row->found = 0;
    row->needs = needs_of(&shape->row);
    if (!row->needs.exclusive && matches_large(scores, row))
        row->needs.sure = free_key_sure(&row->needs.least);
    int64_t *at = row->scores, *end = at + scores->nodes.count;
    for (; at < end; at++)
        *at = SCORE_NO_ROOM;
}

/* Computes the scores of those nodes that the rank fits, which are left. */
static void likely_score(
    const struct core *core, const struct live_job *job, struct likely *likely, int64_t *ret)
{
    if (likely->unsure & FREE_GUARDS)
        likely->count = keep_fitting(&core->scores, job->shape, likely->ordinals, likely->count);
    if (likely->count > 0)
        packing_scores(core, job, likely->ordinals, likely->count, ret);
}

/* Fills in the scores of nodes. */
static void fill_some(const struct core *core, const struct live_job *job, struct likely *likely)
{
    int64_t now[LIKELY_SOME];
    likely_score(core, job, likely, now);
    for (size_t i = 0; i < likely->count; i++)
        job->shape->scores->scores[likely->ordinals[i]] = now[i];
    likely->count = likely->unsure = 0;
}

/* Blocks without a node that the rank may fit keep their scores, without a bound: whoever corrects
 * them takes those out. */
static void row_fill(const struct core *core, const struct live_job *job)
{
    const struct scores *scores = &core->scores;
    struct score_row *row = job->shape->scores;
    size_t blocks = scores->segment_of.count;
    struct likely likely;
    likely.count = likely.unsure = 0;
    for (size_t i = 0; i < blocks; i++)
        row->blocks.least[i] = SCORE_NONE;
    memset(row->blocks.at, 0, blocks);
    for (uint32_t begin = 0; begin < blocks; begin += TOPS_SOME) {
        uint64_t open = blocks_fitting(&scores->tops.items[begin], blocks - begin, row->needs.key);
        for (uint64_t bits = open; bits; bits &= bits - 1) {
            uint32_t first = (begin + (uint32_t)__builtin_ctzll(bits)) * BLOCK;
            block_open(
                &row->scores[first], &scores->keys.items[first], &row->needs, first, &likely);
            if (likely.count > LIKELY_SOME - BLOCK)
                fill_some(core, job, &likely);
        }
        fill_some(core, job, &likely);
        for (; open; open &= open - 1) {
            uint32_t block = begin + (uint32_t)__builtin_ctzll(open);
            bound_correct(&row->blocks, block, &row->scores[block * BLOCK], BLOCK);
        }
    }
    for (uint32_t s = 0; s < scores->segments.count; s++)
        row_correct_segment(scores, row, s);
    for (size_t i = 0; i < kinds_scored(scores); i++)
        row->kinds[i] = SCORE_UNKNOWN;
}

/* What is written of the node's score. */
static void row_prefetch(const struct score_row *row, uint32_t ordinal)
{
    __builtin_prefetch(&row->scores[ordinal]);
    __builtin_prefetch(&row->blocks.least[ordinal / BLOCK]);
}

/* The block that had the least when last asked is the one that most often is looked at again. */
static void found_prefetch(const struct score_row *row)
{
    const char *scores = (const char *)&row->scores[row->found / BLOCK * BLOCK];
    for (size_t i = 0; i < BLOCK * sizeof *row->scores; i += 64)
        __builtin_prefetch(scores + i);
}

static void row_follow(const struct core *core, const struct live_job *job)
{
    const struct scores *scores = &core->scores;
    struct score_row *row = job->shape->scores;
    struct likely likely;
    int64_t now[LIKELY_SOME];
    found_prefetch(row);
    for (uint64_t at = row->at; at < scores->journal.end;) {
        changed_fitting(&scores->journal, &row->needs, &at, &likely);
        for (size_t i = 0; i < likely.count; i++)
            row_prefetch(row, likely.ordinals[i]);
        likely_score(core, job, &likely, now);
        for (size_t i = 0; i < likely.count; i++)
            row_set(scores, row, likely.ordinals[i], now[i]);
    }
}

bool row_current(const struct core *core, const struct score_row *row)
{
    return row->version == core->topology_version && core->scores.version == row->version &&
           row->at >= core->scores.journal.begin;
}

void row_update(struct core *core, const struct live_job *job)
{
    struct score_row *row = job->shape->scores;
    packing_ready(core, job->shape);
    nodes_follow(&core->scores);
    bool current = row_current(core, row);
    if (!current)
        row_open(core, job->shape);
    if (current && row->packing == core->packing_version)
        row_follow(core, job);
    else {
        tops_correct(&core->scores);
        row_fill(core, job);
    }
    row->version = core->topology_version;
    row->packing = core->packing_version;
    row->at = core->scores.journal.end;
    row->used = ++core->scores.clock;
}
