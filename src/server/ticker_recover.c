/* Ticks that are taken back, since a command spoiled them or the store did not take them: see
 * ticker.h. What nobody may lose, the server's own reports, is told again. */
#include "server/ticker_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "server/context.h"
#include "server/effects.h"

enum { SETTLE_RETRY_MS = 1000, ROOM_RETRY_MS = 1000 };

/* ---- spoiled by a command -------------------------------------------------------------------- */

static void count_spoiled(struct ticker *ticker)
{
    int64_t now_ns = clock_monotonic_ns();
    if (now_ns - ticker->spoil_ns >= NS_PER_S) {
        ticker->spoil_ns = now_ns;
        ticker->spoil_count = 0;
    }
    ticker->spoil_count++;
}

void ticker_rerun_spoiled(struct ticker *ticker)
{
    command_list again = ticker->running;
    ticker->running = (command_list){0};
    ticker->stats.reloads++;
    count_spoiled(ticker);
    if (effects_reload(ticker->server) < 0) {
        ticker->running = again;
        struct error err;
        error_set(&err, ERR_UNAVAILABLE, "the store could not be read; try again in a moment");
        ticker_failed(ticker, &err);
        return;
    }
    command_list later = ticker->queue;
    ticker->queue = (command_list){0};
    for (size_t i = 0; i < again.count; i++) {
        if (again.items[i]->spoiled)
            ticker_answer(again.items[i], &again.items[i]->error);
        else
            vec_push(&ticker->queue, again.items[i]);
    }
    for (size_t i = 0; i < later.count; i++)
        vec_push(&ticker->queue, later.items[i]);
    vec_free(&again);
    vec_free(&later);
    ticker_poke(ticker);
}

/* ---- not stored ------------------------------------------------------------------------------ */

void ticker_recover(struct ticker *ticker)
{
    struct commit *commit = ticker->commit;
    struct error err;
    if (commit && !commit->settled) {
        if (store_settle(ticker->server->store, commit->tick, &commit->stored, &err) < 0) {
            log_error("the store still does not answer: %s", err.text);
            ticker_wake_in(ticker, SETTLE_RETRY_MS);
            return;
        }
        commit->settled = true;
    }
    ticker->stats.reloads++;
    if (effects_reload(ticker->server) < 0) {
        ticker_wake_in(ticker, SETTLE_RETRY_MS);
        return;
    }
    ticker_commit_free(commit);
    ticker->commit = NULL;
    ticker->state = TICKER_IDLE;
    if (ticker->full) {
        ticker_wake_in(ticker, ROOM_RETRY_MS);
        return;
    }
    log_info("the state was loaded again from the store");
    ticker_poke(ticker);
}

/* Takes the server's own reports out of a list: they are told again once the state is loaded. A
 * report that turns out to be stale then changes nothing. */
static void take_reports(command_list *list, command_list *reports)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        struct command *command = list->items[i];
        if (command->report)
            vec_push(reports, command);
        else
            list->items[kept++] = command;
    }
    list->count = kept;
}

void ticker_failed(struct ticker *ticker, const struct error *err)
{
    command_list reports = {0};
    struct error queued;
    error_set(&queued, ERR_UNAVAILABLE,
        "a write to the store failed while this waited, so it was not done: %.300s", err->text);
    effects_destroy(ticker->effects);
    ticker->effects = NULL;
    ticker->state = TICKER_RECOVERING;
    take_reports(&ticker->running, &reports);
    take_reports(&ticker->queue, &reports);
    ticker_answer_all(&ticker->running, err);
    ticker_answer_all(&ticker->queue, &queued);
    vec_free(&ticker->queue);
    ticker->queue = reports;
    ticker_recover(ticker);
}
