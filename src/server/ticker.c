/* The ticker: see ticker.h. Commands wait here, ticks run and end; ticker_tick.c is what commands
 * see of one, ticker_commit.c stores what it changed, ticker_recover.c takes it back.
 *
 * Invariants:
 * 1. The core is touched only while no commit is under way; so between ticks it is what the store
 *    holds, and during a commit it is that plus exactly one tick.
 * 2. A command is answered once, after the commit of the tick that ran it.
 * 3. A report of the server itself is never answered and never lost: what a failed tick took back
 *    is told again after the reload, and reconciliation finds what was not even queued. */
#include "server/ticker_internal.h"

#include "base/clock.h"
#include "server/context.h"
#include "server/effects.h"
#include "server/forecasts.h"
#include "server/planner_link.h"
#include "server/services.h"

#include <assert.h>
#include <string.h>

enum {
    QUEUE_MAX = 20000, /* commands of callers that may wait */
    TICK_COMMANDS_MAX = 8192,
    ROOM_BYTES = 16 * 1024,
    WAKE_MAX_MS = 60000, /* the core is asked again at least this often */
};

/* ---- commands ------------------------------------------------------------------------------ */

static void command_free(struct command *command)
{
    free(command->actor);
    free(command);
}

void ticker_answer(struct command *command, const struct error *err)
{
    if (command->answer)
        command->answer(command->context, err);
    else if (command->free_context)
        command->free_context(command->context);
    command_free(command);
}

void ticker_answer_all(command_list *list, const struct error *err)
{
    command_list done = *list;
    *list = (command_list){0};
    for (size_t i = 0; i < done.count; i++) {
        struct command *command = done.items[i];
        const struct error *own = command->failed ? &command->error : NULL;
        ticker_answer(command, err ? err : own);
    }
    vec_free(&done);
}

void ticker_wake_in(struct ticker *ticker, int64_t ms)
{
    struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    event_add(ticker->timer, &delay);
}

void ticker_poke(struct ticker *ticker)
{
    event_active(ticker->soon, EV_TIMEOUT, 0);
}

static struct command *command_create(const char *actor, command_run_fn *run, void *context)
{
    struct command *command = mem_alloc(1, sizeof *command);
    command->actor = mem_strdup(actor);
    command->run = run;
    command->context = context;
    return command;
}

int ticker_submit(struct ticker *ticker, const char *actor, command_run_fn *run,
    command_answer_fn *answer, void *context, struct error *err)
{
    if (ticker->state == TICKER_RECOVERING || ticker->server->stopping)
        return error_set(
            err, ERR_UNAVAILABLE, "the store does not accept changes now; try again in a moment");
    if (ticker->queue.count >= QUEUE_MAX)
        return error_set(err, ERR_BUSY, "too many commands wait; try again in a moment");
    struct command *command = command_create(actor, run, context);
    command->answer = answer;
    vec_push(&ticker->queue, command);
    ticker->stats.commands++;
    ticker_poke(ticker);
    return 0;
}

void ticker_report(struct ticker *ticker, const char *actor, command_run_fn *run,
    void (*free_context)(void *), void *context)
{
    struct command *command = command_create(actor, run, context);
    command->report = true;
    command->free_context = free_context;
    vec_push(&ticker->queue, command);
    ticker_poke(ticker);
}

/* ---- a tick -------------------------------------------------------------------------------- */

static void on_change(void *context, const struct core_change *change)
{
    struct tick *tick = context;
    switch (change->change) {
    case CHANGE_PUT: store_txn_put_row(tick->txn, change->kind, change->row); break;
    case CHANGE_RETIRE: store_txn_retire_row(tick->txn, change->kind, change->row); break;
    case CHANGE_DELETE:
        store_txn_delete_row(tick->txn, change->kind, *(const uint64_t *)change->row);
        break;
    }
    effects_change(tick->ticker->effects, change);
    planner_link_change(tick->ticker->server->planner, change);
}

/* Decisions come in the order they were taken; those of a command are its actor's. */
struct decision_walk {
    struct tick *tick;
    size_t index;
    size_t command;
};

static void on_decision(void *context, const struct core_decision *decision)
{
    struct decision_walk *walk = context;
    command_list *running = &walk->tick->ticker->running;
    while (walk->command < running->count &&
           running->items[walk->command]->decisions_end <= walk->index)
        walk->command++;
    walk->tick->command = walk->command < running->count ? running->items[walk->command] : NULL;
    effects_decision(walk->tick->ticker->effects, walk->tick, decision);
    walk->index++;
}

static void run_commands(struct tick *tick, command_list *commands)
{
    for (size_t i = 0; i < commands->count && !tick->spoiled; i++) {
        struct command *command = tick->command = commands->items[i];
        command->failed = command->run(tick, command->context, &command->error) < 0;
        command->decisions_end = core_decision_count(tick_core(tick));
    }
    tick->command = NULL;
}

static void take_commands(struct ticker *ticker)
{
    assert(ticker->running.count == 0);
    size_t count =
        ticker->queue.count < TICK_COMMANDS_MAX ? ticker->queue.count : TICK_COMMANDS_MAX;
    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++)
        vec_push(&ticker->running, ticker->queue.items[i]);
    memmove(ticker->queue.items, ticker->queue.items + count,
        (ticker->queue.count - count) * sizeof *ticker->queue.items);
    ticker->queue.count -= count;
}

static void schedule_wake(struct ticker *ticker)
{
    int64_t next_ms = core_next_ms(ticker->server->core);
    int64_t wait_ms = next_ms == INT64_MAX ? WAKE_MAX_MS : next_ms - clock_wall_ms();
    if (wait_ms < 1)
        wait_ms = 1;
    ticker_wake_in(ticker, wait_ms < WAKE_MAX_MS ? wait_ms : WAKE_MAX_MS);
}

/* Makes the tick write something although it may have nothing to say, about as much as a busy one.
 */
static void look_for_room(struct tick *tick)
{
    char text[ROOM_BYTES + 3];
    memset(text, ' ', sizeof text);
    text[0] = '"';
    text[ROOM_BYTES + 1] = '"';
    text[ROOM_BYTES + 2] = '\0';
    store_txn_put_document(tick->txn, "store", "room", "", text, tick->now_ms);
}

static void run_tick(struct ticker *ticker)
{
    struct server *server = ticker->server;
    int64_t number = store_next_tick(server->store);
    struct tick tick = {.ticker = ticker,
        .txn = store_txn_create(store_epoch(server->store), number),
        .arena = ticker->arena,
        .now_ms = clock_wall_ms()};
    arena_reset(ticker->arena);
    strmap_finish(&ticker->notes);
    ticker->stats.ticks++;
    take_commands(ticker);
    ticker->effects = effects_create(server, number);
    planner_link_begin(server->planner);
    core_begin(server->core, tick.now_ms);
    run_commands(&tick, &ticker->running);
    if (tick.spoiled) {
        store_txn_destroy(tick.txn);
        effects_destroy(ticker->effects);
        ticker->effects = NULL;
        ticker_rerun_spoiled(ticker);
        return;
    }
    if (server->services)
        services_run(server->services, &tick);
    forecasts_run(server->forecasts, server->core);
    core_schedule(server->core);
    core_changes(server->core, on_change, &tick);
    core_decisions(server->core, on_decision, &(struct decision_walk){.tick = &tick});
    core_end(server->core);
    if (ticker->full)
        look_for_room(&tick);
    if (store_txn_empty(tick.txn)) {
        store_txn_destroy(tick.txn);
        ticker_done(ticker);
        return;
    }
    ticker_commit(ticker, tick.txn, number);
}

void ticker_done(struct ticker *ticker)
{
    ticker_commit_free(ticker->commit);
    ticker->commit = NULL;
    ticker->state = TICKER_IDLE;
    struct effects *effects = ticker->effects;
    ticker->effects = NULL;
    ticker_answer_all(&ticker->running, NULL);
    effects_apply(effects);
    effects_destroy(effects);
    schedule_wake(ticker);
    if (ticker->queue.count > 0)
        ticker_poke(ticker);
}

static void on_soon(evutil_socket_t fd, short what, void *context)
{
    struct ticker *ticker = context;
    (void)fd, (void)what;
    if (ticker->state == TICKER_IDLE)
        run_tick(ticker);
    else if (ticker->state == TICKER_RECOVERING)
        ticker_recover(ticker);
}

/* ---- life ---------------------------------------------------------------------------------- */

struct ticker *ticker_create(struct server *server)
{
    struct ticker *ticker = mem_alloc(1, sizeof *ticker);
    ticker->server = server;
    ticker->arena = arena_create();
    ticker->soon = event_new(server->base, -1, 0, on_soon, ticker);
    ticker->timer = event_new(server->base, -1, EV_TIMEOUT, on_soon, ticker);
    assert(ticker->soon && ticker->timer);
    ticker->stats.last_tick = store_next_tick(server->store) - 1;
    return ticker;
}

void ticker_destroy(struct ticker *ticker)
{
    if (!ticker)
        return;
    struct error err;
    error_set(&err, ERR_UNAVAILABLE, "the server is stopping");
    ticker_answer_all(&ticker->running, &err);
    ticker_answer_all(&ticker->queue, &err);
    effects_destroy(ticker->effects);
    ticker_commit_free(ticker->commit);
    event_free(ticker->soon);
    event_free(ticker->timer);
    arena_destroy(ticker->arena);
    strmap_finish(&ticker->notes);
    free(ticker);
}

const char *ticker_trouble(const struct ticker *ticker)
{
    if (ticker->server->stopping)
        return "stopping";
    if (ticker->full)
        return "storage-full";
    return ticker->state == TICKER_RECOVERING ? "unavailable" : NULL;
}

bool ticker_busy(const struct ticker *ticker)
{
    return ticker->state == TICKER_COMMITTING;
}

void ticker_stats(const struct ticker *ticker, struct ticker_stats *ret_stats)
{
    *ret_stats = ticker->stats;
    ret_stats->queued = (int64_t)ticker->queue.count;
}
