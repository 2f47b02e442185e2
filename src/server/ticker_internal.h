/* What the files of the ticker share; nobody else includes it. Invariants: see ticker.c. */
#pragma once

#include "base/map.h"
#include "base/vec.h"
#include "server/ticker.h"

#include <event2/event.h>

#define NS_PER_S 1000000000LL

enum { SPOILS_A_SECOND = 4 };

struct command {
    command_run_fn *run;
    command_answer_fn *answer;
    void (*free_context)(void *);
    void *context;
    char *actor;
    struct error error;
    bool report; /* of the server itself */
    bool failed;
    bool spoiled;
    size_t decisions_end; /* decisions taken when it had run */
};

struct tick {
    struct ticker *ticker;
    struct command *command;
    struct store_txn *txn;
    struct arena *arena;
    int64_t now_ms;
    bool spoiled;
};

typedef VEC(struct command *) command_list;

enum ticker_state {
    TICKER_IDLE,
    TICKER_COMMITTING,
    TICKER_RECOVERING, /* the store does not say what became of a commit, or cannot be loaded */
};

/* What the commit thread works on. */
struct commit {
    struct ticker *ticker;
    struct store *store;
    struct store_txn *txn;
    int64_t tick;
    int64_t started_ns;
    bool stored;
    bool unknown; /* the outcome was unknown at first */
    bool settled; /* the outcome is known now */
    struct error error;
};

struct ticker {
    struct server *server;
    enum ticker_state state;
    command_list queue;
    command_list running; /* of the tick that commits */
    struct event *soon;
    struct event *timer;
    struct arena *arena;
    struct strmap notes;     /* of the tick that runs: what its commands left for each other */
    struct effects *effects; /* of the tick that commits */
    struct commit *commit;
    bool full;        /* the last commit failed for want of room: looked for again now and then */
    int64_t spoil_ns; /* since when spoiled ticks are counted */
    int64_t spoil_count;
    struct ticker_stats stats;
};

/* ---- ticker.c -------------------------------------------------------------------------------- */

/* Answers a command, with what is wrong or NULL, and frees it. */
void ticker_answer(struct command *command, const struct error *err);
/* Answers all with err, or each with its own where err is NULL; the list is empty then. */
void ticker_answer_all(command_list *list, const struct error *err);
void ticker_wake_in(struct ticker *ticker, int64_t ms);
/* The tick is durable (or had nothing to store): answers go out, then effects. */
void ticker_done(struct ticker *ticker);

/* ---- ticker_commit.c ------------------------------------------------------------------------- */

/* Has the commit thread store what the tick changed; txn is the commit's from then on. Ends in
 * ticker_done or ticker_failed, maybe before it returns. */
void ticker_commit(struct ticker *ticker, struct store_txn *txn, int64_t tick);
void ticker_commit_free(struct commit *commit); /* NULL is fine */

/* ---- ticker_recover.c ------------------------------------------------------------------------ */

/* Nothing of the tick is stored, or nobody knows yet: its commands and those that wait are answered
 * with that, and everything is loaded again as soon as the store says what became of it. */
void ticker_failed(struct ticker *ticker, const struct error *err);
/* Tries to, in TICKER_RECOVERING; where it can not it is tried again in a moment. */
void ticker_recover(struct ticker *ticker);
/* Loads everything again and queues the commands of a spoiled tick anew, but for the one that
 * spoiled it. */
void ticker_rerun_spoiled(struct ticker *ticker);
