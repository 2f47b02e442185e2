/* A tick's transaction on its way through the commit thread: see ticker.h. */
#include "server/ticker_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "engine/worker.h"
#include "server/context.h"
#include "server/planner_link.h"

#include <assert.h>

static void commit_work(void *context)
{
    struct commit *commit = context;
    commit->stored = store_commit(commit->store, commit->txn, &commit->error) == 0;
    commit->settled = commit->stored || commit->error.code != ERR_UNKNOWN;
    commit->unknown = !commit->settled;
    if (commit->unknown) {
        struct error ignored;
        commit->settled = store_settle(commit->store, commit->tick, &commit->stored, &ignored) == 0;
    }
    if (commit->stored)
        store_checkpoint(commit->store);
}

void ticker_commit_free(struct commit *commit)
{
    if (commit)
        store_txn_destroy(commit->txn);
    free(commit);
}

static void commit_done(void *context)
{
    struct commit *commit = context;
    struct ticker *ticker = commit->ticker;
    assert(ticker->state == TICKER_COMMITTING && ticker->commit == commit);
    ticker->stats.commit_ns += clock_monotonic_ns() - commit->started_ns;
    ticker->stats.commits_unknown += commit->unknown;
    if (commit->stored && commit->settled) {
        ticker->stats.last_tick = commit->tick;
        if (ticker->full)
            log_info("there is room in the store again");
        ticker->full = false;
        planner_link_committed(ticker->server->planner, commit->tick);
        ticker_done(ticker);
        return;
    }
    ticker->stats.commits_failed++;
    if (!ticker->full || commit->error.code != ERR_FULL)
        log_error("commit of tick %lld failed: %s", (long long)commit->tick, commit->error.text);
    ticker->full = commit->error.code == ERR_FULL;
    struct error err = commit->error;
    ticker_failed(ticker, &err);
}

void ticker_commit(struct ticker *ticker, struct store_txn *txn, int64_t tick)
{
    struct commit *commit = mem_alloc(1, sizeof *commit);
    *commit = (struct commit){.ticker = ticker,
        .store = ticker->server->store,
        .txn = txn,
        .tick = tick,
        .started_ns = clock_monotonic_ns()};
    ticker->commit = commit;
    ticker->state = TICKER_COMMITTING;
    struct error err;
    if (worker_run(ticker->server->commits, commit_work, commit_done, commit, &err) < 0) {
        commit->error = err;
        commit->settled = true;
        commit_done(commit);
    }
}
