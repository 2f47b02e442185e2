/* The ticker: see ticker.h.
 *
 * Invariants:
 * 1. The core is touched only while no commit is under way; so between ticks it is what the store
 *    holds, and during a commit it is that plus exactly one tick.
 * 2. A command is answered once, after the commit of the tick that ran it.
 * 3. A report of the server itself is never answered and never lost: what a failed tick took back
 *    is told again after the reload, and reconciliation finds what was not even queued. */
#include "server/ticker.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/vec.h"
#include "engine/worker.h"
#include "server/context.h"
#include "server/effects.h"
#include "server/forecasts.h"
#include "server/planner_link.h"
#include "server/services.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_S 1000000000LL

enum {
    QUEUE_MAX = 20000, /* commands of callers that may wait */
    TICK_COMMANDS_MAX = 8192,
    SETTLE_RETRY_MS = 1000,
    ROOM_RETRY_MS = 1000,
    ROOM_BYTES = 16 * 1024,
    SPOILS_A_SECOND = 4,
    WAKE_MAX_MS = 60000, /* the core is asked again at least this often */
};

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

/* ---- what commands see --------------------------------------------------------------------- */

struct server *tick_server(const struct tick *tick)
{
    return tick->ticker->server;
}

struct core *tick_core(const struct tick *tick)
{
    return tick->ticker->server->core;
}

struct store_txn *tick_txn(const struct tick *tick)
{
    return tick->txn;
}

struct arena *tick_arena(const struct tick *tick)
{
    return tick->arena;
}

int64_t tick_now(const struct tick *tick)
{
    return tick->now_ms;
}

const char *tick_actor(const struct tick *tick)
{
    return tick->command ? tick->command->actor : "scheduler";
}

void tick_audit(struct tick *tick, const char *action, const char *kind, const char *name,
    const char *team, const char *detail)
{
    struct audit_event event = {
        .at_ms = tick->now_ms,
        .actor = tick_actor(tick),
        .action = action,
        .kind = kind,
        .name = name,
        .team = team ? team : "",
        .detail = detail,
    };
    store_txn_audit(tick->txn, &event);
}

void tick_note(struct tick *tick, const char *key, void *value)
{
    assert(value);
    strmap_put(&tick->ticker->notes, key, value);
}

void *tick_noted(const struct tick *tick, const char *key)
{
    return strmap_get(&tick->ticker->notes, key);
}

void tick_spoil(struct tick *tick)
{
    assert(tick->command);
    tick->spoiled = true;
    tick->command->spoiled = true;
}

bool tick_may_spoil(const struct tick *tick)
{
    const struct ticker *ticker = tick->ticker;
    return ticker->spoil_count < SPOILS_A_SECOND ||
           clock_monotonic_ns() - ticker->spoil_ns >= NS_PER_S;
}

static void count_spoiled(struct ticker *ticker)
{
    int64_t now_ns = clock_monotonic_ns();
    if (now_ns - ticker->spoil_ns >= NS_PER_S) {
        ticker->spoil_ns = now_ns;
        ticker->spoil_count = 0;
    }
    ticker->spoil_count++;
}

/* ---- commands ------------------------------------------------------------------------------ */

static void command_free(struct command *command)
{
    free(command->actor);
    free(command);
}

static void command_finish(struct command *command, const struct error *err)
{
    if (command->answer)
        command->answer(command->context, err);
    else if (command->free_context)
        command->free_context(command->context);
    command_free(command);
}

/* Answers all with err, or each with its own where err is NULL. */
static void commands_finish(command_list *list, const struct error *err)
{
    command_list done = *list;
    *list = (command_list){0};
    for (size_t i = 0; i < done.count; i++) {
        struct command *command = done.items[i];
        const struct error *own = command->failed ? &command->error : NULL;
        command_finish(command, err ? err : own);
    }
    vec_free(&done);
}

static void wake_in(struct ticker *ticker, int64_t ms)
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
    wake_in(ticker, wait_ms < WAKE_MAX_MS ? wait_ms : WAKE_MAX_MS);
}

static void tick_done(struct ticker *ticker);
static void tick_failed(struct ticker *ticker, const struct error *err);

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

static void commit_free(struct commit *commit)
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
        tick_done(ticker);
        return;
    }
    ticker->stats.commits_failed++;
    if (!ticker->full || commit->error.code != ERR_FULL)
        log_error("commit of tick %lld failed: %s", (long long)commit->tick, commit->error.text);
    ticker->full = commit->error.code == ERR_FULL;
    struct error err = commit->error;
    tick_failed(ticker, &err);
}

static void start_commit(struct ticker *ticker, struct store_txn *txn, int64_t tick)
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

/* Loads everything again and queues the commands of a spoiled tick anew, but for the one that
 * spoiled it. */
static void rerun_spoiled(struct ticker *ticker)
{
    command_list again = ticker->running;
    ticker->running = (command_list){0};
    ticker->stats.reloads++;
    count_spoiled(ticker);
    if (effects_reload(ticker->server) < 0) {
        ticker->running = again;
        struct error err;
        error_set(&err, ERR_UNAVAILABLE, "the store could not be read; try again in a moment");
        tick_failed(ticker, &err);
        return;
    }
    command_list later = ticker->queue;
    ticker->queue = (command_list){0};
    for (size_t i = 0; i < again.count; i++) {
        if (again.items[i]->spoiled)
            command_finish(again.items[i], &again.items[i]->error);
        else
            vec_push(&ticker->queue, again.items[i]);
    }
    for (size_t i = 0; i < later.count; i++)
        vec_push(&ticker->queue, later.items[i]);
    vec_free(&again);
    vec_free(&later);
    ticker_poke(ticker);
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
        rerun_spoiled(ticker);
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
        tick_done(ticker);
        return;
    }
    start_commit(ticker, tick.txn, number);
}

/* The tick is durable (or had nothing to store): answers go out, then effects. */
static void tick_done(struct ticker *ticker)
{
    commit_free(ticker->commit);
    ticker->commit = NULL;
    ticker->state = TICKER_IDLE;
    struct effects *effects = ticker->effects;
    ticker->effects = NULL;
    commands_finish(&ticker->running, NULL);
    effects_apply(effects);
    effects_destroy(effects);
    schedule_wake(ticker);
    if (ticker->queue.count > 0)
        ticker_poke(ticker);
}

static void recover(struct ticker *ticker)
{
    struct commit *commit = ticker->commit;
    struct error err;
    if (commit && !commit->settled) {
        if (store_settle(ticker->server->store, commit->tick, &commit->stored, &err) < 0) {
            log_error("the store still does not answer: %s", err.text);
            wake_in(ticker, SETTLE_RETRY_MS);
            return;
        }
        commit->settled = true;
    }
    ticker->stats.reloads++;
    if (effects_reload(ticker->server) < 0) {
        wake_in(ticker, SETTLE_RETRY_MS);
        return;
    }
    commit_free(commit);
    ticker->commit = NULL;
    ticker->state = TICKER_IDLE;
    if (ticker->full) {
        wake_in(ticker, ROOM_RETRY_MS);
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

static void tick_failed(struct ticker *ticker, const struct error *err)
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
    commands_finish(&ticker->running, err);
    commands_finish(&ticker->queue, &queued);
    vec_free(&ticker->queue);
    ticker->queue = reports;
    recover(ticker);
}

static void on_soon(evutil_socket_t fd, short what, void *context)
{
    struct ticker *ticker = context;
    (void)fd, (void)what;
    if (ticker->state == TICKER_IDLE)
        run_tick(ticker);
    else if (ticker->state == TICKER_RECOVERING)
        recover(ticker);
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
    commands_finish(&ticker->running, &err);
    commands_finish(&ticker->queue, &err);
    effects_destroy(ticker->effects);
    commit_free(ticker->commit);
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
