/* The ticker: commands in, one transaction out, answers after the commit.
 *
 * Commands and engine reports wait in a queue. A tick takes what waits, runs it on the core, lets
 * the core schedule, and hands all that changed to the commit thread as one transaction. While it
 * commits, new commands only queue up. Every answer, good or bad, goes out after the commit, since
 * even a refusal may rest on a change of the same tick.
 *
 * A commit that failed, or whose outcome is unknown and turns out to be "not stored", takes the
 * whole tick back: the core and the catalogue are loaded again from the store, the tick's commands
 * are answered with the failure, and those that queued meanwhile with "unavailable", because they
 * were let in by a state that never was. */
#pragma once

#include "base/error.h"
#include "base/memory.h"
#include "core/core.h"
#include "store/store.h"

struct server;
struct ticker;
struct tick;

/* Does the command's work. On -1 it has changed nothing, neither in the core nor in the
 * transaction; if it cannot keep that, it calls tick_spoil. */
typedef int command_run_fn(struct tick *tick, void *context, struct error *err);
/* Called once for every accepted command, after the commit; err is NULL when it was done. The
 * context is the callee's to free. */
typedef void command_answer_fn(void *context, const struct error *err);

/* Idle until the first command or poke. */
struct ticker *ticker_create(struct server *server);
/* Whether a commit is under way: the loop goes on until it is not, before anything is destroyed. */
bool ticker_busy(const struct ticker *ticker);
/* Answers everything that waits with ERR_UNAVAILABLE. Not while busy. */
void ticker_destroy(struct ticker *ticker); /* NULL is fine */
/* Queues a command of `actor` (copied); answer may be NULL. ERR_BUSY when the
 * queue is full, ERR_UNAVAILABLE while the store does not answer: the context stays the caller's.
 */
MUST_CHECK int ticker_submit(struct ticker *ticker, const char *actor, command_run_fn *run,
    command_answer_fn *answer, void *context, struct error *err);
/* As ticker_submit for what the server itself has to tell the core: never refused, never answered;
 * free_context (may be NULL) gets the context at the end. */
void ticker_report(struct ticker *ticker, const char *actor, command_run_fn *run,
    void (*free_context)(void *), void *context);
/* Makes a tick happen soon although nobody asked for anything. */
void ticker_poke(struct ticker *ticker);
/* NULL while commands are accepted, else why not: "storage-full" (until a write succeeds again,
 * which is tried every second), "unavailable", "stopping". */
const char *ticker_trouble(const struct ticker *ticker);

struct ticker_stats {
    int64_t ticks;
    int64_t commands;
    int64_t commits_failed;
    int64_t commits_unknown;
    int64_t reloads;
    int64_t queued;    /* now */
    int64_t last_tick; /* the newest committed */
    int64_t commit_ns; /* summed */
};
/* Figures since the start. */
void ticker_stats(const struct ticker *ticker, struct ticker_stats *ret_stats);

/* ---- for commands, while they run ------------------------------------------------------- */

/* What the tick works on. The arena lives until the next tick. */
struct server *tick_server(const struct tick *tick);
struct core *tick_core(const struct tick *tick);
struct store_txn *tick_txn(const struct tick *tick);
struct arena *tick_arena(const struct tick *tick);
int64_t tick_now(const struct tick *tick);
const char *tick_actor(const struct tick *tick);
/* Adds an event to the audit chain, by the command's actor. */
void tick_audit(struct tick *tick, const char *action, const char *kind, const char *name,
    const char *team, const char *detail);
/* Leaves a value (not NULL, valid until the commands are answered) for later commands of the same
 * tick, which do not see in the store what this one did. */
void tick_note(struct tick *tick, const char *key, void *value);
/* What an earlier command of this tick left under the key, or NULL. */
void *tick_noted(const struct tick *tick, const char *key);
/* The command failed half done: the tick will be thrown away, everything loaded again, and the
 * tick's other commands run anew without this one. */
void tick_spoil(struct tick *tick);
/* Whether a command that might have to spoil the tick may go ahead. Loading everything again is
 * dear, and a caller can provoke it: a few times a second, no more. */
bool tick_may_spoil(const struct tick *tick);
