/* Reconciliation: see reconcile.h. Attempts that something was heard of are looked at, one by one:
 * what the core wants of it against what engines have of it. One that could not be brought to where
 * it is wanted stays open, and is looked at again in the next run. */
#include "server/reconcile.h"

#include "base/log.h"
#include "base/map.h"
#include "base/vec.h"
#include "core/core.h"
#include "server/artifacts.h"
#include "server/context.h"
#include "server/engines.h"
#include "server/exec.h"
#include "server/launch.h"
#include "server/names.h"
#include "server/progress.h"
#include "server/services.h"
#include "server/ticker.h"
#include "server/usage.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* An attempt that is looked at. */
struct wish {
    struct attempt_row attempt;
    struct attempt_wish wish;
    struct engine *engine; /* that it is for */
};

enum {
    /* What is launched at a site in one run: the rest comes with the next, and meanwhile others are
     * answered. */
    LAUNCHES_A_RUN = 128,
    WHOLE_MS = 60 * 1000, /* everything is compared this often, whatever was heard of */
};

/* What became of looking at an attempt. */
enum outcome {
    SETTLED, /* the next is heard of: a changed row, or a report */
    OPEN,
    LEFT,        /* for the next run */
    TURNED_AWAY, /* its site takes no more for now */
};

struct reconciler {
    struct server *server;
    VEC(uint64_t) open, turned_away; /* attempts to be looked at; the second ones after the first */
    struct idmap is_open;            /* those of both: value is not used but for its being */
    bool whole;                      /* all are */
    int64_t whole_ms;                /* when all were, boot clock */
    uint64_t generation;             /* of the engines, then */
    size_t tried, launches;          /* at sites, in this run */
    struct idmap launched;           /* attempts that this process started: value as above */
    struct idmap stopping;           /* attempts that were told to stop: value as above */
};

struct reconciler *reconciler_create(struct server *server)
{
    struct reconciler *reconciler = mem_alloc(1, sizeof *reconciler);
    reconciler->server = server;
    reconciler->whole = true;
    return reconciler;
}

void reconciler_destroy(struct reconciler *reconciler)
{
    if (!reconciler)
        return;
    vec_free(&reconciler->open);
    vec_free(&reconciler->turned_away);
    idmap_finish(&reconciler->is_open);
    idmap_finish(&reconciler->launched);
    idmap_finish(&reconciler->stopping);
    free(reconciler);
}

void reconciler_touch(struct reconciler *reconciler, uint64_t attempt)
{
    if (idmap_get(&reconciler->is_open, attempt))
        return;
    idmap_put(&reconciler->is_open, attempt, reconciler);
    vec_push(&reconciler->open, attempt);
}

void reconciler_touch_all(struct reconciler *reconciler)
{
    reconciler->whole = true;
}

/* ---- telling the core ----------------------------------------------------------------------- */

/* A report on its way into a tick. */
struct note {
    struct core_report report;
    char *detail; /* JSON for the attempt's document, or NULL */
};

static void note_free(void *context)
{
    struct note *note = context;
    free(note->detail);
    free(note);
}

static void store_detail(struct tick *tick, const struct note *note)
{
    char key[DOCUMENT_KEY_TEXT], number[16];
    const struct attempt_row *attempt = core_attempt(tick_core(tick), note->report.attempt);
    const struct job_row *job = attempt ? core_job(tick_core(tick), attempt->job) : NULL;
    if (!job)
        return;
    snprintf(number, sizeof number, "%d", (int)attempt->number);
    names_document_key(job->id, number, key);
    store_txn_put_document(tick_txn(tick), "job-attempt", key, "", note->detail, tick_now(tick));
}

static int run_note(struct tick *tick, void *context, struct error *err)
{
    const struct note *note = context;
    (void)err;
    if (note->detail)
        store_detail(tick, note);
    core_attempt_report(tick_core(tick), &note->report);
    return 0;
}

static void tell_core(struct server *server, const struct core_report *report, char *detail)
{
    struct note *note = mem_alloc(1, sizeof *note);
    *note = (struct note){*report, detail};
    ticker_report(server->ticker, "engine", run_note, note_free, note);
}

/* How the core speaks of what the engine saw. That an attempt was told to stop the core knows
 * itself. */
static enum end_reason core_reason(enum engine_end_reason reason)
{
    static const enum end_reason reasons[ENGINE_END_COUNT] = {
        [ENGINE_END_NONE] = END_LOST,
        [ENGINE_END_SUCCEEDED] = END_SUCCEEDED,
        [ENGINE_END_EXITED] = END_EXIT,
        [ENGINE_END_SIGNALLED] = END_SIGNAL,
        [ENGINE_END_OUT_OF_MEMORY] = END_OUT_OF_MEMORY,
        [ENGINE_END_DISK_QUOTA] = END_DISK_QUOTA,
        [ENGINE_END_TIME_LIMIT] = END_TIME_LIMIT,
        [ENGINE_END_START_FAILED] = END_START_FAILED,
        [ENGINE_END_STOPPED] = END_SIGNAL,
        [ENGINE_END_KILLED] = END_SIGNAL,
        [ENGINE_END_LOST] = END_LOST,
        [ENGINE_END_NODE_LOST] = END_NODE_LOST,
        [ENGINE_END_PREEMPTED] = END_PREEMPTED,
        [ENGINE_END_DRAINED] = END_DRAINED,
        [ENGINE_END_WALLTIME] = END_HANDED_OVER,
        [ENGINE_END_CANCELLED] = END_LOST,
    };
    assert(reason < ENGINE_END_COUNT);
    return reasons[reason];
}

static char *detail_json(struct server *server, uint64_t attempt, const struct attempt_end *end)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct doc *doc = doc_map(arena);
    if (end->text[0])
        doc_set_string(arena, doc, "detail", end->text);
    if (end->rank >= 0)
        doc_set_int(arena, doc, "rank", end->rank);
    doc_set_string(arena, doc, "engineReason", engine_end_reason_name(end->reason));
    struct engine_where where;
    const struct engine *engine = engines_with(server, attempt);
    if (engine != server->engine && engine_where(engine, attempt, &where, NULL) == 0) {
        struct doc *site = doc_set(arena, doc, "site", doc_map(arena));
        doc_set_string(arena, site, "id", where.id);
        doc_set_string(arena, site, "nodes", where.nodes);
    }
    struct doc *usage = usage_doc(server->usage, arena, attempt);
    if (usage)
        doc_set(arena, doc, "usage", usage);
    struct strbuf json = {0};
    doc_write_json(doc, 0, &json);
    return strbuf_steal(&json);
}

static void tell_kind(struct server *server, uint64_t attempt, enum report_kind kind)
{
    tell_core(server, &(struct core_report){.attempt = attempt, .kind = kind}, NULL);
}

/* That it started may not have been heard of: the server was down meanwhile. */
static void tell_end(struct server *server, uint64_t attempt, const struct attempt_end *end)
{
    if (end->started_ms > 0)
        tell_kind(server, attempt, REPORT_STARTED);
    struct core_report report = {
        .attempt = attempt,
        .kind = REPORT_ENDED,
        .reason = core_reason(end->reason),
        .exit_status = end->code,
        .complete = end->reason == ENGINE_END_SUCCEEDED,
    };
    tell_core(server, &report, detail_json(server, attempt, end));
}

/* ---- one attempt ------------------------------------------------------------------------------
 */

static void end_unstarted(
    struct server *server, uint64_t attempt, enum engine_end_reason reason, const char *text)
{
    struct attempt_end end = {.reason = reason, .rank = -1};
    snprintf(end.text, sizeof end.text, "%.*s", (int)sizeof end.text - 1, text);
    tell_end(server, attempt, &end);
}

static enum outcome start(struct reconciler *reconciler, const struct wish *wish)
{
    struct server *server = reconciler->server;
    bool site = wish->engine != server->engine;
    struct error err;
    if (site && reconciler->tried++ >= LAUNCHES_A_RUN)
        return LEFT;
    int launched = launch_attempt(server, wish->engine, &wish->attempt, &err);
    if (launched < 0 && err.code == ERR_BUSY && site)
        return TURNED_AWAY;
    if (launched < 0) {
        log_warn("attempt %" PRIx64 " cannot start: %s", wish->attempt.id, err.text);
        end_unstarted(server, wish->attempt.id, ENGINE_END_START_FAILED, err.text);
    } else if (launched == 0) {
        reconciler->launches += site;
        idmap_put(&reconciler->launched, wish->attempt.id, reconciler);
        if (wish->attempt.state == ATTEMPT_ADMITTED)
            tell_kind(server, wish->attempt.id, REPORT_SUBMITTED);
    }
    return launched > 0 ? OPEN : SETTLED;
}

/* The engine does not know it: start it, unless it ran once or is not wanted any more. Where its
 * inputs are not there yet nothing happens: what brings them pokes the ticker. */
static enum outcome reconcile_unknown(struct reconciler *reconciler, const struct wish *wish)
{
    struct server *server = reconciler->server;
    if (wish->attempt.state == ATTEMPT_STARTED) {
        end_unstarted(server, wish->attempt.id, ENGINE_END_LOST, "the engine has no trace of it");
    } else if (wish->wish.stop) {
        end_unstarted(
            server, wish->attempt.id, ENGINE_END_STOPPED, "it was stopped before it started");
        artifacts_set_wait(server->artifacts, wish->attempt.job, NULL);
    } else if (artifacts_waits_still(server->artifacts, wish->attempt.job)) {
        return OPEN;
    } else {
        return start(reconciler, wish);
    }
    return SETTLED;
}

/* A server that was killed while it launched an attempt leaves one of which nothing ever ran, which
 * is no reason for a job to fail. Once only: what this process launched itself is not launched
 * again. */
static bool never_ran(
    const struct reconciler *reconciler, uint64_t id, const struct attempt_end *end)
{
    const struct attempt_row *attempt = core_attempt(reconciler->server->core, id);
    return end->reason == ENGINE_END_LOST && end->started_ms == 0 && attempt &&
           attempt->state != ATTEMPT_STARTED && attempt->stop_reason == END_NONE &&
           !idmap_get(&reconciler->launched, id);
}

static enum outcome stop_once(struct reconciler *reconciler, const struct wish *wish)
{
    struct error err;
    if (idmap_get(&reconciler->stopping, wish->attempt.id))
        return SETTLED;
    if (engine_stop(wish->engine, wish->attempt.id, (uint64_t)wish->wish.grace_ms, &err) < 0) {
        log_warn("attempt %" PRIx64 " cannot be stopped: %s", wish->attempt.id, err.text);
        return OPEN;
    }
    idmap_put(&reconciler->stopping, wish->attempt.id, reconciler);
    return SETTLED;
}

static enum outcome reconcile_known(
    struct reconciler *reconciler, const struct wish *wish, const struct attempt_view *view)
{
    struct server *server = reconciler->server;
    struct error err;
    if (view->state == ENGINE_ATTEMPT_ENDED && !wish->wish.stop &&
        never_ran(reconciler, view->attempt, &view->end) &&
        engine_forget(wish->engine, view->attempt, &err) == 0)
        return reconcile_unknown(reconciler, wish);
    if (view->state == ENGINE_ATTEMPT_ENDED) {
        tell_end(server, view->attempt, &view->end);
        return SETTLED;
    }
    if (view->state != ENGINE_ATTEMPT_STARTING && wish->attempt.state != ATTEMPT_STARTED)
        tell_kind(server, view->attempt, REPORT_STARTED);
    if (!wish->wish.stop)
        return SETTLED;
    if (server->services && !services_may_stop(server->services, &wish->attempt))
        return OPEN;
    return stop_once(reconciler, wish);
}

/* The core has no such attempt for this engine: its end is stored, or it never was. */
static enum outcome reconcile_surplus(
    struct reconciler *reconciler, struct engine *engine, const struct attempt_view *view)
{
    struct server *server = reconciler->server;
    struct error err;
    if (view->state != ENGINE_ATTEMPT_ENDED) {
        log_warn("attempt %" PRIx64 " runs and is not wanted: killing it", view->attempt);
        if (engine_kill(engine, view->attempt, &err) == 0)
            return SETTLED;
        log_warn("attempt %" PRIx64 " cannot be killed: %s", view->attempt, err.text);
        return OPEN;
    }
    idmap_remove(&reconciler->launched, view->attempt);
    idmap_remove(&reconciler->stopping, view->attempt);
    usage_remove(server->usage, view->attempt);
    progress_forget(server->progress, view->job);
    if (engine_forget(engine, view->attempt, &err) == 0)
        return SETTLED;
    log_warn("attempt %" PRIx64 " cannot be cleaned up: %s", view->attempt, err.text);
    return OPEN;
}

static enum outcome reconcile(struct reconciler *reconciler, uint64_t id)
{
    struct server *server = reconciler->server;
    struct wish wish = {0};
    const struct attempt_row *attempt = core_attempt_wanted(server->core, id, &wish.wish);
    enum outcome outcome = SETTLED;
    struct engine *engine;
    if (attempt) {
        wish.attempt = *attempt;
        wish.engine = engines_of_attempt(server, id); /* NULL: its pool has none, and it waits */
    }
    for (size_t i = 0; (engine = engines_at(server, i)); i++) {
        struct attempt_view view;
        bool known = engine_view(engine, id, &view);
        enum outcome one = engine == wish.engine
                               ? (known ? reconcile_known(reconciler, &wish, &view)
                                        : reconcile_unknown(reconciler, &wish))
                           : known ? reconcile_surplus(reconciler, engine, &view)
                                   : SETTLED;
        outcome = one == SETTLED ? outcome : one;
    }
    return outcome;
}

/* ---- all that are open ------------------------------------------------------------------------
 */

static void touch_wanted(
    void *context, const struct attempt_row *attempt, const struct attempt_wish *wish)
{
    (void)wish;
    reconciler_touch(context, attempt->id);
}

static void touch_everything(struct reconciler *reconciler)
{
    const struct engine *engine;
    core_attempt_each(reconciler->server->core, touch_wanted, reconciler);
    for (size_t i = 0; (engine = engines_at(reconciler->server, i)); i++) {
        SCOPED(mem_scope) struct attempt_view *views = NULL;
        size_t count;
        engine_observe(engine, &views, &count);
        for (size_t v = 0; v < count; v++)
            reconciler_touch(reconciler, views[v].attempt);
    }
}

static bool is_whole(struct reconciler *reconciler, int64_t now_ms)
{
    uint64_t generation = engines_generation(reconciler->server);
    bool whole = reconciler->whole || generation != reconciler->generation ||
                 now_ms - reconciler->whole_ms >= WHOLE_MS;
    reconciler->whole = false;
    reconciler->generation = generation;
    reconciler->whole_ms = whole ? now_ms : reconciler->whole_ms;
    return whole;
}

void reconciler_run(struct reconciler *reconciler, int64_t now_ms)
{
    bool left = false;
    engines_follow(reconciler->server);
    if (is_whole(reconciler, now_ms))
        touch_everything(reconciler);
    for (size_t i = 0; i < reconciler->turned_away.count; i++)
        vec_push(&reconciler->open, reconciler->turned_away.items[i]);
    vec_clear(&reconciler->turned_away);
    reconciler->tried = reconciler->launches = 0;
    size_t count = reconciler->open.count, kept = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t id = reconciler->open.items[i];
        enum outcome outcome = reconcile(reconciler, id);
        left |= outcome == LEFT;
        if (outcome == SETTLED)
            idmap_remove(&reconciler->is_open, id);
        else if (outcome == TURNED_AWAY)
            vec_push(&reconciler->turned_away, id);
        else
            reconciler->open.items[kept++] = id;
    }
    assert(reconciler->open.count == count);
    reconciler->open.count = kept;
    if (left && reconciler->launches > 0)
        ticker_poke(reconciler->server->ticker);
}

/* ---- reports -------------------------------------------------------------------------------- */

void reconciler_report(void *context, const struct report *report)
{
    struct server *server = context;
    switch (report->kind) {
    case ENGINE_REPORT_STARTED: tell_kind(server, report->attempt, REPORT_STARTED); break;
    case ENGINE_REPORT_ENDED:
        if (core_attempt(server->core, report->attempt) &&
            !never_ran(server->reconciler, report->attempt, &report->ended)) {
            tell_end(server, report->attempt, &report->ended);
            break;
        }
        /* The tick's reconciliation launches it again, or cleans up after it. */
        reconciler_touch(server->reconciler, report->attempt);
        ticker_poke(server->ticker);
        break;
    case ENGINE_REPORT_SAMPLE: usage_put(server->usage, report->attempt, &report->sample); break;
    case ENGINE_REPORT_METRICS: {
        const struct attempt_row *attempt = core_attempt(server->core, report->attempt);
        if (attempt)
            progress_line(server->progress, report->job, attempt->number, report->metrics.line,
                report->metrics.length, report->metrics.offset, report->at_ms);
        break;
    }
    case ENGINE_REPORT_CHECKPOINT:
        tell_core(server,
            &(struct core_report){.attempt = report->attempt,
                .kind = REPORT_CHECKPOINT,
                .at_ms = report->checkpoint.newest_ms},
            NULL);
        break;
    case ENGINE_REPORT_SITE_END:
        tell_core(server,
            &(struct core_report){
                .attempt = report->attempt, .kind = REPORT_SITE_END, .at_ms = report->site_end_ms},
            NULL);
        break;
    case ENGINE_REPORT_EXEC_ENDED: exec_ended(server->execs, report); break;
    case ENGINE_REPORT_QUEUED: /* asked for when somebody looks: engine_where */
    case ENGINE_REPORT_SITE: break;
    }
}
