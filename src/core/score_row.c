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
    BLOCK = SCORE_BLOCK,            /* scores under a bound */
    FOLLOW_SOME = 2 * JOURNAL_SOME, /* changes looked at together */
    FILL_SOME = 32,                 /* blocks looked at together */
};

/* key_enough for four keys: all bits or none. */
#define KEYS4_ENOUGH(keys, least)                                                                  \
    ((words4)((((UWORDS4(keys) | FREE_GUARDS) - (least)) & FREE_GUARDS) == FREE_GUARDS))

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

uint32_t segment_end(const struct scores *scores, size_t segment)
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

/* Takes out the scores of a block's nodes that by their keys the rank does not fit. */
LANES static void scores_sweep(int64_t *scores, const uint64_t *keys, uint64_t least)
{
    for (int i = 0; i < BLOCK; i += 4) {
        words4 held = KEYS4_ENOUGH(keys + i, least), none = ~held & SCORE_NO_ROOM;
        *(words4 *)(scores + i) = (WORDS4(scores + i) & held) | none;
    }
}

void row_correct_block(const struct scores *scores, struct score_row *row, uint32_t block)
{
    int64_t *block_scores = &row->scores[block * BLOCK];
    scores_sweep(block_scores, &scores->keys.items[block * BLOCK], row->needs.key);
    bound_correct(&row->blocks, block, block_scores, BLOCK);
}

void row_correct_segment(const struct scores *scores, struct score_row *row, uint32_t segment)
{
    uint32_t begin = scores->segments.items[segment].block, end = segment_end(scores, segment);
    bound_correct(&row->segments, segment, &row->blocks.least[begin], end - begin);
}

/* ---- which nodes ------------------------------------------------------------------------------
 */

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

/* A bit for each of some keys, from one of four by four on: whether the rank may fit it. */
LANES_PART uint64_t keys_enough(const uint64_t *keys, uint32_t begin, uint32_t end, uint64_t least)
{
    uwords4 bit = (uwords4){1, 2, 4, 8} << begin, found = {0};
    for (uint32_t i = begin; i < end; i += 4) {
        found |= (uwords4)KEYS4_ENOUGH(keys + i, least) & bit;
        bit <<= 4;
    }
    return found[0] | found[1] | found[2] | found[3];
}

/* A bit for each node of some blocks: whether by its key the rank may fit it. */
LANES static void blocks_enough(const uint64_t *keys, size_t blocks, uint64_t least, uint32_t *ret)
{
    for (size_t i = 0; i < blocks; i++)
        ret[i] = (uint32_t)keys_enough(keys + i * BLOCK, 0, BLOCK, least);
}

/* Those nodes of the block whose bits are set, in order. */
static size_t block_nodes(uint32_t block, uint32_t bits, uint32_t ret[static BLOCK])
{
    size_t count = 0;
    for (; bits; bits &= bits - 1)
        ret[count++] = block * BLOCK + (uint32_t)__builtin_ctz(bits);
    return count;
}

/* The next nodes that changed from *at on, which moves behind them, and that the rank may fit. */
LANES static size_t changed_fitting(
    const struct journal *journal, uint64_t least, uint64_t *at, uint32_t ret[static FOLLOW_SOME])
{
    size_t count = 0;
    while (*at < journal->end && count <= FOLLOW_SOME - JOURNAL_SOME) {
        uint32_t first = *at % JOURNAL_SOME & ~(uint32_t)3;
        struct journal_word word = journal_word(journal, at);
        word.last &= keys_enough(&journal->keys[word.base], first, word.end, least);
        for (; word.last; word.last &= word.last - 1)
            ret[count++] = journal->ring[word.base + (size_t)__builtin_ctzll(word.last)];
    }
    return count;
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

size_t row_bytes(const struct scores *scores)
{
    size_t bounds = scores->segment_of.count + scores->segments.count;
    size_t words = kinds_words(scores) + scores->nodes.count + kinds_scored(scores) + bounds;
    size_t places = (bounds + sizeof(int64_t) - 1) / sizeof(int64_t);
    return sizeof(struct score_row) + (words + places) * sizeof(int64_t);
}

/* What every search looks at is side by side, in front of the scores. */
static void row_lay_out(const struct scores *scores, struct score_row *row)
{
    assert(row->bytes == row_bytes(scores));
    row->matches = (uint64_t *)(row + 1);
    row->segments.least = (int64_t *)(row->matches + kinds_words(scores));
    row->blocks.least = row->segments.least + scores->segments.count;
    row->kinds = row->blocks.least + scores->segment_of.count;
    row->scores = row->kinds + kinds_scored(scores);
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

/* Everything else is of the nodes that there are. */
static void row_open(struct core *core, struct live_shape *shape)
{
    const struct scores *scores = &core->scores;
    struct score_row *row = shape->scores;
    row_lay_out(scores, row);
    row_match(core, shape);
    row->needs = needs_of(&shape->row);
    for (size_t i = 0; i < scores->nodes.count; i++)
        row->scores[i] = SCORE_NO_ROOM;
    for (size_t i = 0; i < scores->segment_of.count; i++) {
        row->blocks.least[i] = SCORE_NONE;
        row->blocks.at[i] = 0;
    }
}

/* Computes the scores of those nodes of a block that have their bits set, if the rank fits them;
 * the others have none. */
static void block_score(
    const struct core *core, const struct live_job *job, uint32_t block, uint32_t bits)
{
    struct score_row *row = job->shape->scores;
    int64_t now[BLOCK], least = SCORE_NONE, *scores = &row->scores[block * BLOCK];
    uint32_t ordinals[BLOCK], at = 0;
    size_t count = block_nodes(block, bits, ordinals);
    count = keep_fitting(&core->scores, job->shape, ordinals, count);
    if (count > 0)
        packing_scores(core, job, ordinals, count, now);
    for (uint32_t i = 0; i < BLOCK; i++)
        scores[i] = SCORE_NO_ROOM;
    for (size_t i = 0; i < count; i++) {
        row->scores[ordinals[i]] = now[i];
        at = now[i] < least ? ordinals[i] : at;
        least = now[i] < least ? now[i] : least;
    }
    row->blocks.least[block] = least;
    row->blocks.at[block] = (uint8_t)(at % BLOCK);
}

static void row_fill(const struct core *core, const struct live_job *job)
{
    const struct scores *scores = &core->scores;
    struct score_row *row = job->shape->scores;
    uint32_t bits[FILL_SOME];
    for (uint32_t block = 0; block < scores->segment_of.count; block++) {
        if (block % FILL_SOME == 0)
            blocks_enough(&scores->keys.items[block * BLOCK],
                (size_t)least((int64_t)scores->segment_of.count - block, FILL_SOME), row->needs.key,
                bits);
        if (bits[block % FILL_SOME] || row->blocks.least[block] < SCORE_NONE)
            block_score(core, job, block, bits[block % FILL_SOME]);
    }
    for (uint32_t s = 0; s < scores->segments.count; s++)
        row_correct_segment(scores, row, s);
    for (size_t i = 0; i < kinds_scored(scores); i++)
        row->kinds[i] = SCORE_UNKNOWN;
}

static void row_follow(const struct core *core, const struct live_job *job)
{
    const struct scores *scores = &core->scores;
    struct score_row *row = job->shape->scores;
    uint32_t changed[FOLLOW_SOME];
    int64_t now[FOLLOW_SOME];
    for (uint64_t at = row->at; at < scores->journal.end;) {
        size_t count = changed_fitting(&scores->journal, row->needs.key, &at, changed);
        count = keep_fitting(scores, job->shape, changed, count);
        if (count == 0)
            continue;
        for (size_t i = 0; i < count; i++)
            __builtin_prefetch(&row->scores[changed[i]]);
        packing_scores(core, job, changed, count, now);
        for (size_t i = 0; i < count; i++)
            row_set(scores, row, changed[i], now[i]);
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
    else
        row_fill(core, job);
    row->version = core->topology_version;
    row->packing = core->packing_version;
    row->at = core->scores.journal.end;
    row->used = ++core->scores.clock;
}
