/* Why a job waits: see why.h. The core says what it is, here it becomes a sentence; it holds for
 * the moment of the question and promises nothing. */
#include "server/why.h"

#include "base/memory.h"
#include "base/quantity.h"
#include "base/strbuf.h"
#include "core/core.h"
#include "server/context.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

struct sentence {
    const struct core *core;
    const struct job_row *job;
    const struct core_block *block;
    struct strbuf *out;
};

static char *amount_text(const char *resource, int64_t amount, char out[QUANTITY_TEXT])
{
    bool bytes = strcmp(resource, "memory") == 0 || strcmp(resource, "disk") == 0;
    return bytes ? quantity_bytes(amount, out) : quantity_milli(amount, out);
}

static const char *team_name(const struct sentence *say)
{
    const struct team_row *team = core_team(say->core, say->block->team);
    return team ? core_symbol(say->core, team->name) : "";
}

static void say_held(const struct sentence *say)
{
    strbuf_puts(say->out, "it is held until somebody releases it (muster release)");
}

static void say_dependency(const struct sentence *say)
{
    const struct job_row *on = core_job(say->core, say->block->job);
    strbuf_printf(
        say->out, "it waits for %s", on ? core_symbol(say->core, on->name) : "another job");
    if (say->block->other_jobs > 0)
        strbuf_printf(say->out, " and %" PRId64 " more", say->block->other_jobs);
}

static void say_moment(const struct sentence *say)
{
    char text[QUANTITY_TEXT];
    strbuf_printf(say->out, say->job->failures > 0 ? "it is tried again at %s" : "it starts at %s",
        quantity_time(say->block->until_ms, text));
}

static void say_claim(const struct sentence *say)
{
    const struct node_row *node = core_node(say->core, say->block->node);
    strbuf_printf(say->out, "a place is being made for it on %s: who runs there is stopping",
        node ? core_symbol(say->core, node->name) : "a node");
}

static void say_impossible(const struct sentence *say)
{
    const struct core_block *block = say->block;
    if (block->level) {
        strbuf_printf(say->out, "no %s holds %" PRId64 " %s any more, not even idle", block->level,
            block->need, block->resource);
        if (block->domain)
            strbuf_printf(
                say->out, "; the largest, %s, holds %" PRId64, block->domain, block->held);
        return;
    }
    strbuf_printf(say->out,
        "no pool could hold it any more, not even idle: it needs %" PRId32 " %s that fit "
        "spec.resources and spec.placement",
        say->job->size_min, say->job->size_min == 1 ? "rank" : "ranks at once");
}

static void say_closed(const struct sentence *say)
{
    strbuf_puts(say->out, "all nodes that could hold it are cordoned, draining or lost");
}

static void say_array(const struct sentence *say)
{
    strbuf_printf(say->out, "its array runs %" PRId64 " of at most %" PRId64 " elements at once",
        say->block->held, say->block->limit);
}

static void say_limit(const struct sentence *say)
{
    const struct core_block *block = say->block;
    char held[QUANTITY_TEXT], limit[QUANTITY_TEXT], need[QUANTITY_TEXT];
    strbuf_printf(say->out, "the team %s is at its limit: it holds %s of %s %s, and this needs %s",
        team_name(say), amount_text(block->resource, block->held, held),
        amount_text(block->resource, block->limit, limit), block->resource,
        amount_text(block->resource, block->need, need));
}

static void say_guarantee(const struct sentence *say)
{
    const struct core_block *block = say->block;
    char need[QUANTITY_TEXT];
    strbuf_printf(say->out,
        "it can not be preempted, and the %s %s that it needs beyond what the team %s is "
        "guaranteed "
        "are guaranteed to others",
        amount_text(block->resource, block->need, need), block->resource, team_name(say));
}

static void say_until(const struct sentence *say)
{
    char text[QUANTITY_TEXT];
    strbuf_printf(say->out, "%s", quantity_time(say->block->until_ms, text));
    if (say->block->until_open)
        strbuf_puts(say->out, " at the earliest, and when the jobs without a time limit that run "
                              "there have ended");
}

static void say_promise(const struct sentence *say)
{
    const struct node_row *node = core_node(say->core, say->block->node);
    strbuf_printf(say->out,
        "there is no room now: %" PRId64 " of its %" PRId64 " ranks would fit; a place is kept "
        "for it on %s",
        say->block->held, say->block->need, node ? core_symbol(say->core, node->name) : "a node");
    if (say->block->other_nodes > 0)
        strbuf_printf(say->out, " and %" PRId64 " more", say->block->other_nodes);
    strbuf_puts(say->out, " from ");
    say_until(say);
}

/* The job that it waits for. Who reads this may not see the jobs of other teams. */
static const char *other_job(const struct sentence *say)
{
    const struct job_row *job = core_job(say->core, say->block->job);
    bool own = job && job->team == say->job->team;
    return own ? core_symbol(say->core, job->name) : "another team's job";
}

static void say_checkpoint(const struct sentence *say)
{
    char due[QUANTITY_TEXT], until[QUANTITY_TEXT];
    strbuf_printf(say->out, "it lets %s", other_job(say));
    if (say->block->other_jobs > 0)
        strbuf_printf(say->out, " and %" PRId64 " more", say->block->other_jobs);
    strbuf_printf(say->out,
        " go on to the next checkpoint, due at %s, and then takes the place; it waits for such "
        "until %s at the latest",
        quantity_time(say->block->due_ms, due), quantity_time(say->block->until_ms, until));
}

static void say_kept(const struct sentence *say)
{
    strbuf_printf(say->out, "the room there is is kept for %s from ", other_job(say));
    say_until(say);
    strbuf_puts(say->out, say->job->time_limit_ms
                              ? "; its own time limit does not end before that"
                              : "; with a time limit (spec.timeLimit) it could run until then");
}

static void say_again(const struct sentence *say, const char *otherwise)
{
    char text[QUANTITY_TEXT];
    if (say->block->until_ms)
        strbuf_puts(say->out, quantity_time(say->block->until_ms, text));
    else
        strbuf_puts(say->out, otherwise);
}

static void say_spot(const struct sentence *say)
{
    strbuf_printf(say->out,
        "it waits for spot capacity (%s): %" PRId64 " of its %" PRId64
        " ranks would fit there now; it is looked at again ",
        say->block->policy, say->block->held, say->block->need);
    if (say->block->until_ms)
        strbuf_puts(say->out, "when some comes, or at ");
    say_again(say, "when some comes");
}

static void say_round(const struct sentence *say)
{
    strbuf_printf(say->out,
        "who runs is decided in rounds (%s), and the last gave it %" PRId64 " ranks; %" PRId64
        " of at least %" PRId64 " would fit now; the next round is ",
        say->block->policy, say->block->target, say->block->held, say->block->need);
    say_again(say, "held when something changes");
}

static void say_room(const struct sentence *say)
{
    strbuf_printf(say->out, "there is no room now: %" PRId64 " of its %" PRId64 " ranks would fit",
        say->block->held, say->block->need);
}

static void say_turn(const struct sentence *say)
{
    strbuf_puts(say->out, "others have their turn before it");
}

typedef void say_fn(const struct sentence *say);

static say_fn *const sentences[] = {
    [BLOCK_HELD] = say_held,
    [BLOCK_DEPENDENCY] = say_dependency,
    [BLOCK_MOMENT] = say_moment,
    [BLOCK_CLAIM] = say_claim,
    [BLOCK_IMPOSSIBLE] = say_impossible,
    [BLOCK_CLOSED] = say_closed,
    [BLOCK_ARRAY] = say_array,
    [BLOCK_LIMIT] = say_limit,
    [BLOCK_GUARANTEE] = say_guarantee,
    [BLOCK_CHECKPOINT] = say_checkpoint,
    [BLOCK_PROMISE] = say_promise,
    [BLOCK_KEPT] = say_kept,
    [BLOCK_SPOT] = say_spot,
    [BLOCK_ROUND] = say_round,
    [BLOCK_ROOM] = say_room,
    [BLOCK_TURN] = say_turn,
};
static_assert(ARRAY_LEN(sentences) == BLOCK_TURN + 1, "a sentence for each");

const char *why_job_waits(struct server *server, struct arena *arena, const struct job_row *job)
{
    struct core_block block;
    SCOPED(strbuf_finish) struct strbuf out = {0};
    core_job_blocked(server->core, job->id, &block);
    if (block.kind == BLOCK_NONE)
        return NULL;
    struct sentence say = {server->core, job, &block, &out};
    sentences[block.kind](&say);
    return arena_strdup(arena, strbuf_text(&out));
}
