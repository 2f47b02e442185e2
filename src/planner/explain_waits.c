/* What a job waits for, as facts: which of the scheduler's reasons holds, and the figures beside
 * it. A reason has its line in two tables below. */
#include "planner/explain_parts.h"

#include <assert.h>
#include <string.h>

enum { CLOSED_MAX = 5 };

static const char *const kind_names[] = {
    [BLOCK_NONE] = "none",
    [BLOCK_HELD] = "held",
    [BLOCK_DEPENDENCY] = "dependency",
    [BLOCK_MOMENT] = "moment",
    [BLOCK_CLAIM] = "claim",
    [BLOCK_IMPOSSIBLE] = "impossible",
    [BLOCK_CLOSED] = "closed",
    [BLOCK_ARRAY] = "array",
    [BLOCK_LIMIT] = "limit",
    [BLOCK_GUARANTEE] = "guarantee",
    [BLOCK_CHECKPOINT] = "checkpoint",
    [BLOCK_PROMISE] = "promise",
    [BLOCK_KEPT] = "kept",
    [BLOCK_SPOT] = "spot",
    [BLOCK_ROUND] = "round",
    [BLOCK_ROOM] = "room",
    [BLOCK_TURN] = "turn",
};

static_assert(ARRAY_LEN(kind_names) == BLOCK_TURN + 1, "a name for each");

const char *explain_kind(int kind)
{
    assert(kind >= 0 && kind < (int)ARRAY_LEN(kind_names) && kind_names[kind]);
    return kind_names[kind];
}

/* ---- names --------------------------------------------------------------------------------- */

static void set_node(const struct explain *in, struct doc *map, uint64_t id)
{
    const struct node_row *node = core_node(in->core, id);
    const struct pool_row *pool = node ? core_pool(in->core, node->pool) : NULL;
    if (!pool)
        return;
    doc_set_string(in->arena, map, "node", core_symbol(in->core, node->name));
    doc_set_string(in->arena, map, "pool", core_symbol(in->core, pool->name));
}

void explain_set_job(const struct explain *in, struct doc *map, uint64_t id)
{
    const struct job_row *job = core_job(in->core, id);
    const struct team_row *team = job ? core_team(in->core, job->team) : NULL;
    doc_set_int(in->arena, map, "job", (int64_t)id);
    if (!team)
        return;
    doc_set_string(in->arena, map, "name", core_symbol(in->core, job->name));
    doc_set_string(in->arena, map, "team", core_symbol(in->core, team->name));
}

/* ---- what it waits for --------------------------------------------------------------------- */

static void set_nearest(const struct explain *in, struct doc *waits)
{
    struct core_nearest nearest;
    core_job_nearest(in->core, in->job->id, &nearest);
    const struct pool_row *pool = core_pool(in->core, nearest.pool);
    if (pool && nearest.ranks < nearest.need) {
        struct doc *ranks = doc_set(in->arena, waits, "ranks", doc_map(in->arena));
        doc_set_string(in->arena, ranks, "pool", core_symbol(in->core, pool->name));
        doc_set_int(in->arena, ranks, "most", nearest.ranks);
    }
    if (!nearest.node || nearest.lack_count == 0)
        return;
    struct doc *map = doc_set(in->arena, waits, "nearest", doc_map(in->arena));
    struct doc *lacks = doc_set(in->arena, map, "lacks", doc_list(in->arena));
    set_node(in, map, nearest.node);
    for (size_t i = 0; i < nearest.lack_count; i++) {
        const struct core_lack *lack = &nearest.lacks[i];
        struct doc *item = doc_append(lacks, doc_map(in->arena));
        doc_set_string(in->arena, item, "what", lack->what);
        if (lack->need_text) {
            doc_set_string(in->arena, item, "need", lack->need_text);
            doc_set_string(in->arena, item, "has", lack->has_text);
        } else {
            doc_set_int(in->arena, item, "need", lack->need);
            doc_set_int(in->arena, item, "has", lack->has);
        }
    }
}

static const char *closed_why(const struct node_row *node)
{
    if (node->state == NODE_LOST)
        return "lost";
    if (node->draining)
        return "draining";
    if (node->leaving)
        return "leaving";
    return node->cordoned ? "cordoned" : NULL;
}

struct node_look {
    const struct explain *in;
    struct doc *closed;
    int64_t matching, open;
};

static void look_at_node(void *context, enum row_kind kind, const void *row)
{
    struct node_look *look = context;
    const struct node_row *node = row;
    (void)kind;
    if (!core_job_matches(look->in->core, look->in->job->id, node->id))
        return;
    const char *why = closed_why(node);
    look->matching++;
    look->open += !why;
    if (!why || look->closed->count >= CLOSED_MAX)
        return;
    struct doc *item = doc_append(look->closed, doc_map(look->in->arena));
    set_node(look->in, item, node->id);
    doc_set_string(look->in->arena, item, "why", why);
}

static void set_nodes(const struct explain *in, struct doc *waits)
{
    struct doc *nodes = doc_set(in->arena, waits, "nodes", doc_map(in->arena));
    struct node_look look = {in, doc_list(in->arena), 0, 0};
    core_row_each(in->core, ROW_NODE, look_at_node, &look);
    doc_set_int(in->arena, nodes, "matching", look.matching);
    doc_set_int(in->arena, nodes, "open", look.open);
    if (look.closed->count > 0)
        doc_set(in->arena, nodes, "closed", look.closed);
}

static void set_amounts(const struct explain *in, struct doc *waits)
{
    const struct core_block *block = &in->block;
    const struct team_row *team = core_team(in->core, block->team);
    if (team)
        doc_set_string(in->arena, waits, "team", core_symbol(in->core, team->name));
    if (block->resource)
        doc_set_string(in->arena, waits, "resource", block->resource);
    doc_set_int(in->arena, waits, "held", block->held);
    if (block->need)
        doc_set_int(in->arena, waits, "need", block->need);
    if (block->limit)
        doc_set_int(in->arena, waits, "limit", block->limit);
}

static void set_on(const struct explain *in, struct doc *waits)
{
    explain_set_job(in, doc_set(in->arena, waits, "on", doc_map(in->arena)), in->block.job);
}

static void set_until(const struct explain *in, struct doc *waits)
{
    doc_set_int(in->arena, waits, "until", in->block.until_ms);
    if (in->block.until_open)
        doc_set_bool(in->arena, waits, "orLater", true);
}

/* A level of topology that no domain has enough of. */
static void set_level(const struct explain *in, struct doc *waits)
{
    if (!in->block.level)
        return;
    doc_set_string(in->arena, waits, "level", in->block.level);
    doc_set_string(in->arena, waits, "domain", in->block.domain);
    doc_set_string(in->arena, waits, "what", in->block.resource);
    doc_set_int(in->arena, waits, "need", in->block.need);
    doc_set_int(in->arena, waits, "held", in->block.held);
}

/* Which policy it waits for, and until when as far as that goes by time. */
static void set_policy(const struct explain *in, struct doc *waits)
{
    bool spot = in->block.kind == BLOCK_SPOT;
    doc_set_string(in->arena, waits, "policy", in->block.policy);
    doc_set_int(in->arena, waits, spot ? "elsewhere" : "target",
        spot ? in->block.elsewhere : in->block.target);
    if (in->block.until_ms)
        set_until(in, waits);
}

static void set_more_jobs(const struct explain *in, struct doc *waits)
{
    doc_set_int(in->arena, waits, "more", in->block.other_jobs);
}

static void set_more_nodes(const struct explain *in, struct doc *waits)
{
    doc_set_int(in->arena, waits, "more", in->block.other_nodes);
}

static void set_due(const struct explain *in, struct doc *waits)
{
    doc_set_int(in->arena, waits, "due", in->block.due_ms);
}

static void set_retry(const struct explain *in, struct doc *waits)
{
    doc_set_bool(in->arena, waits, "retry", in->job->failures > 0);
}

static void set_time_limit(const struct explain *in, struct doc *waits)
{
    doc_set_bool(in->arena, waits, "timeLimit", in->job->time_limit_ms > 0);
}

static void set_block_node(const struct explain *in, struct doc *waits)
{
    set_node(in, waits, in->block.node);
}

typedef void set_fn(const struct explain *in, struct doc *waits);

enum { FACTS_MAX = 7 };

/* What is said beside each reason, in this order; docs/explain.md has the same table. */
static set_fn *const facts[][FACTS_MAX] = {
    [BLOCK_DEPENDENCY] = {set_on, set_more_jobs},
    [BLOCK_MOMENT] = {set_until, set_retry},
    [BLOCK_CLAIM] = {set_block_node},
    [BLOCK_IMPOSSIBLE] = {set_nearest, set_level},
    [BLOCK_CLOSED] = {set_nodes},
    [BLOCK_ARRAY] = {set_amounts},
    [BLOCK_LIMIT] = {set_amounts},
    [BLOCK_GUARANTEE] = {set_amounts},
    [BLOCK_CHECKPOINT] = {set_on, set_more_jobs, set_due, set_until, set_amounts, set_nodes},
    [BLOCK_PROMISE] = {set_block_node, set_until, set_more_nodes, set_amounts, set_nodes},
    [BLOCK_KEPT] = {set_on, set_block_node, set_until, set_time_limit},
    [BLOCK_SPOT] = {set_policy, set_amounts, set_nodes},
    [BLOCK_ROUND] = {set_policy, set_amounts, set_nodes},
    [BLOCK_ROOM] = {set_amounts, set_nodes},
    [BLOCK_TURN] = {set_amounts, set_nodes},
};

static_assert(ARRAY_LEN(facts) == ARRAY_LEN(kind_names), "the last is there, and so are all");

struct doc *explain_waits(const struct explain *in)
{
    struct doc *waits = doc_map(in->arena);
    enum block_kind kind = in->block.kind;
    doc_set_string(in->arena, waits, "kind", explain_kind((int)kind));
    for (int i = 0; i < FACTS_MAX && facts[kind][i]; i++)
        facts[kind][i](in, waits);
    return waits;
}
