/* Scores remembered for each shape: how well one rank of it fits every node, so that the best node
 * for a job of one rank is the least of an array.
 *
 * Whenever what is held or claimed of a node changes, the node goes into the journal; a shape
 * brings its scores up to date from the journal before it uses them. When nodes come, go, or stop
 * taking work, the journal starts anew and every shape computes all its scores again. Only shapes
 * whose fit depends on nothing else (no affinity anywhere, no reservations) use this; others are
 * placed by looking at every node. Both ways give the same place, and core_check compares. */
#include "core/job.h"
#include "core/limits.h"
#include "core/packing.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/shape.h"
#include "core/state.h"
#include "core/table.h"

#include <assert.h>

enum { JOURNAL_MAX = 1 << 16, SCORED_SHAPES_MAX = 512 };

#define SCORE_NO_MATCH INT64_MAX       /* the node never fits the shape */
#define SCORE_NO_ROOM  (INT64_MAX - 1) /* it matches and is full */

void journal_note(struct live_node *node)
{
    struct journal *journal = node->journal;
    if (journal->nodes.count >= JOURNAL_MAX)
        journal_restart(journal);
    vec_push(&journal->nodes, node);
}

void journal_restart(struct journal *journal)
{
    journal->base += journal->nodes.count + 1;
    vec_clear(&journal->nodes);
}

/* Numbers the nodes in the order of candidates: pools by id, then nodes by id. */
static void number_nodes(struct core *core)
{
    if (core->ordinals_version == core->topology_version)
        return;
    vec_clear(&core->by_ordinal);
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool) {
        for (size_t i = 0; i < pool->nodes.count; i++) {
            pool->nodes.items[i]->ordinal = core->by_ordinal.count;
            vec_push(&core->by_ordinal, pool->nodes.items[i]);
        }
    }
    core->ordinals_version = core->topology_version;
}

bool score_usable(const struct core *core, const struct live_job *job)
{
    const struct live_shape *shape = job->shape;
    return !core->packing->per_job && core->apart_shapes == 0 && !shape->near &&
           core->reservation_next_ms == MOMENT_NEVER && shape->row.spread == SPREAD_PACK &&
           (shape->scores || core->scored_shapes < SCORED_SHAPES_MAX);
}

static int64_t score_now(
    const struct core *core, const struct live_job *job, const struct live_node *node)
{
    if (fit_ranks(core, job, node, 1) == 0)
        return SCORE_NO_ROOM;
    return packing_score(core, job, node, 1);
}

static void score_all(struct core *core, const struct live_job *job)
{
    struct live_shape *shape = job->shape;
    core->scored_shapes += shape->scores == NULL;
    shape->scores = mem_resize(shape->scores, core->by_ordinal.count + 1, sizeof *shape->scores);
    for (size_t i = 0; i < core->by_ordinal.count; i++)
        shape->scores[i] = SCORE_NO_MATCH;
    for (size_t i = 0; i < shape->candidates.count; i++) {
        const struct live_node *node = shape->candidates.items[i];
        shape->scores[node->ordinal] = score_now(core, job, node);
    }
    shape->scores_version = core->topology_version;
}

static void score_changed(struct core *core, const struct live_job *job)
{
    struct live_shape *shape = job->shape;
    const struct journal *journal = &core->journal;
    for (size_t i = shape->scores_at - journal->base; i < journal->nodes.count; i++) {
        const struct live_node *node = journal->nodes.items[i];
        if (shape->scores[node->ordinal] != SCORE_NO_MATCH)
            shape->scores[node->ordinal] = score_now(core, job, node);
    }
}

static void score_refresh(struct core *core, const struct live_job *job)
{
    struct live_shape *shape = job->shape;
    number_nodes(core);
    shape_candidates(core, shape);
    uint64_t packing_version = packing_ready(core, shape);
    bool stale = !shape->scores || shape->scores_version != core->topology_version ||
                 shape->scores_packing != packing_version || shape->scores_at < core->journal.base;
    shape->scores_packing = packing_version;
    if (stale)
        score_all(core, job);
    else
        score_changed(core, job);
    shape->scores_at = core->journal.base + core->journal.nodes.count;
}

/* The least of scores[begin .. end), the first of equals. */
static size_t least_score(const int64_t *scores, size_t begin, size_t end)
{
    int64_t best = SCORE_NO_ROOM;
    for (size_t i = begin; i < end; i++)
        best = scores[i] < best ? scores[i] : best;
    if (best == SCORE_NO_ROOM)
        return SIZE_MAX;
    size_t at = begin;
    while (scores[at] != best)
        at++;
    return at;
}

struct live_node *score_best(struct core *core, const struct live_job *job)
{
    assert(score_usable(core, job));
    score_refresh(core, job);
    size_t begin = 0;
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool) {
        size_t end = begin + pool->nodes.count;
        size_t at = least_score(job->shape->scores, begin, end);
        if (at != SIZE_MAX)
            return core->by_ordinal.items[at];
        begin = end;
    }
    return NULL;
}

/* Scores that were brought up to date and not touched by the journal since are what they would be
 * if they were computed now. */
bool score_check(const struct core *core, const struct live_shape *shape)
{
    const struct journal *journal = &core->journal;
    struct live_job like = {.shape = (struct live_shape *)shape};
    if (!shape->scores || shape->scores_packing != core->packing_version ||
        shape->scores_version != core->topology_version || shape->scores_at < journal->base ||
        !score_usable(core, &like))
        return true;
    SCOPED(mem_scope) bool *pending = mem_alloc(core->by_ordinal.count + 1, sizeof *pending);
    for (size_t i = shape->scores_at - journal->base; i < journal->nodes.count; i++)
        pending[journal->nodes.items[i]->ordinal] = true;
    for (size_t i = 0; i < core->by_ordinal.count; i++) {
        int64_t score = shape->scores[i];
        if (!pending[i] && score != SCORE_NO_MATCH &&
            score != score_now(core, &like, core->by_ordinal.items[i]))
            return false;
    }
    return true;
}

void score_forget(struct core *core, struct live_shape *shape)
{
    core->scored_shapes -= shape->scores != NULL;
    free(shape->scores);
    shape->scores = NULL;
}
