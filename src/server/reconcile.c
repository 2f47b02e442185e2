/* Reconciliation: see reconcile.h. Two lists sorted by attempt id, what the core wants and what an
 * engine has, are walked side by side, for one engine after the other. */
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

struct wish {
    struct attempt_row attempt;
    struct attempt_wish wish;
    struct engine *engine; /* NULL: its pool has none now, and it waits for one */
};

struct wishes {
    struct server *server;
    VEC(struct wish) list;
};

/* What is launched at a site in one run: the rest comes with the next, and meanwhile others are
 * answered. */
enum { LAUNCHES_A_RUN = 128 };

struct reconciler {
    struct server *server;
    size_t launches;       /* at sites, in this run */
    struct engine *engine; /* whose attempts are walked */
    struct idmap launched; /* attempts that this process started: value as below */
    struct idmap
        stopping; /* attempts that were told to stop: value is not used but for its being */
};

struct reconciler *reconciler_create(struct server *server)
{
    struct reconciler *reconciler = mem_alloc(1, sizeof *reconciler);
    reconciler->server = server;
    return reconciler;
}

void reconciler_destroy(struct reconciler *reconciler)
{
    if (!reconciler)
        return;
    idmap_finish(&reconciler->launched);
    idmap_finish(&reconciler->stopping);
    free(reconciler);
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

/* ---- the walk ------------------------------------------------------------------------------- */

static void take_wish(
    void *context, const struct attempt_row *attempt, const struct attempt_wish *wish)
{
    struct wishes *wishes = context;
    struct wish item = {*attempt, *wish, engines_of_attempt(wishes->server, attempt->id)};
    vec_push(&wishes->list, item);
}

static void end_unstarted(
    struct server *server, uint64_t attempt, enum engine_end_reason reason, const char *text)
{
    struct attempt_end end = {.reason = reason, .rank = -1};
    snprintf(end.text, sizeof end.text, "%.*s", (int)sizeof end.text - 1, text);
    tell_end(server, attempt, &end);
}

/* The engine does not know it: start it, unless it ran once or is not wanted any more. Where its
 * inputs are not there yet nothing happens: what brings them pokes the ticker. */
static void reconcile_unknown(struct reconciler *reconciler, const struct wish *wish)
{
    struct server *server = reconciler->server;
    struct error err;
    int launched;
    if (wish->attempt.state == ATTEMPT_STARTED) {
        end_unstarted(server, wish->attempt.id, ENGINE_END_LOST, "the engine has no trace of it");
    } else if (wish->wish.stop) {
        end_unstarted(
            server, wish->attempt.id, ENGINE_END_STOPPED, "it was stopped before it started");
        artifacts_set_wait(server->artifacts, wish->attempt.job, NULL);
    } else if (artifacts_waits_still(server->artifacts, wish->attempt.job)) {
        return;
    } else if (wish->engine != server->engine && reconciler->launches++ >= LAUNCHES_A_RUN) {
        return;
    } else if ((launched = launch_attempt(server, wish->engine, &wish->attempt, &err)) < 0 &&
               err.code == ERR_BUSY && wish->engine != server->engine) {
        return; /* a site takes no more for now: it is asked again */
    } else if (launched < 0) {
        log_warn("attempt %" PRIx64 " cannot start: %s", wish->attempt.id, err.text);
        end_unstarted(server, wish->attempt.id, ENGINE_END_START_FAILED, err.text);
    } else if (launched == 0) {
        idmap_put(&reconciler->launched, wish->attempt.id, reconciler);
        if (wish->attempt.state == ATTEMPT_ADMITTED)
            tell_kind(server, wish->attempt.id, REPORT_SUBMITTED);
    }
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

static void stop_once(struct reconciler *reconciler, const struct wish *wish)
{
    struct error err;
    if (idmap_get(&reconciler->stopping, wish->attempt.id))
        return;
    if (engine_stop(reconciler->engine, wish->attempt.id, (uint64_t)wish->wish.grace_ms, &err) < 0)
        log_warn("attempt %" PRIx64 " cannot be stopped: %s", wish->attempt.id, err.text);
    else
        idmap_put(&reconciler->stopping, wish->attempt.id, reconciler);
}

static void reconcile_known(
    struct reconciler *reconciler, const struct wish *wish, const struct attempt_view *view)
{
    struct server *server = reconciler->server;
    struct error err;
    if (view->state == ENGINE_ATTEMPT_ENDED && !wish->wish.stop &&
        never_ran(reconciler, view->attempt, &view->end) &&
        engine_forget(reconciler->engine, view->attempt, &err) == 0) {
        reconcile_unknown(reconciler, wish);
        return;
    }
    if (view->state == ENGINE_ATTEMPT_ENDED) {
        tell_end(server, view->attempt, &view->end);
        return;
    }
    if (view->state != ENGINE_ATTEMPT_STARTING && wish->attempt.state != ATTEMPT_STARTED)
        tell_kind(server, view->attempt, REPORT_STARTED);
    if (wish->wish.stop &&
        (!server->services || services_may_stop(server->services, &wish->attempt)))
        stop_once(reconciler, wish);
}

/* The core has no such attempt: its end is stored, or it never was. */
static void reconcile_surplus(struct reconciler *reconciler, const struct attempt_view *view)
{
    struct server *server = reconciler->server;
    struct error err;
    if (view->state != ENGINE_ATTEMPT_ENDED) {
        log_warn("attempt %" PRIx64 " runs and is not wanted: killing it", view->attempt);
        if (engine_kill(reconciler->engine, view->attempt, &err) < 0)
            log_warn("attempt %" PRIx64 " cannot be killed: %s", view->attempt, err.text);
        return;
    }
    idmap_remove(&reconciler->launched, view->attempt);
    idmap_remove(&reconciler->stopping, view->attempt);
    usage_remove(server->usage, view->attempt);
    progress_forget(server->progress, view->job);
    if (engine_forget(reconciler->engine, view->attempt, &err) < 0)
        log_warn("attempt %" PRIx64 " cannot be cleaned up: %s", view->attempt, err.text);
}

/* The wishes for an engine and what it has, side by side. */
static void walk(struct reconciler *reconciler, const struct wishes *wishes)
{
    struct attempt_view *views;
    size_t view_count, v = 0;
    engine_observe(reconciler->engine, &views, &view_count);
    for (size_t w = 0; w < wishes->list.count; w++) {
        const struct wish *wish = &wishes->list.items[w];
        if (wish->engine != reconciler->engine)
            continue;
        for (; v < view_count && views[v].attempt < wish->attempt.id; v++)
            reconcile_surplus(reconciler, &views[v]);
        if (v < view_count && views[v].attempt == wish->attempt.id)
            reconcile_known(reconciler, wish, &views[v++]);
        else
            reconcile_unknown(reconciler, wish);
    }
    for (; v < view_count; v++)
        reconcile_surplus(reconciler, &views[v]);
    free(views);
}

void reconciler_run(struct reconciler *reconciler)
{
    struct server *server = reconciler->server;
    struct wishes wishes = {.server = server};
    reconciler->launches = 0;
    engines_follow(server);
    core_attempt_each(server->core, take_wish, &wishes);
    for (size_t i = 0; (reconciler->engine = engines_at(server, i)); i++)
        walk(reconciler, &wishes);
    if (reconciler->launches > LAUNCHES_A_RUN)
        ticker_poke(server->ticker);
    vec_free(&wishes.list);
}

/* ---- reports -------------------------------------------------------------------------------- */

void reconciler_report(void *context, const struct report *report)
{
    struct server *server = context;
    switch (report->kind) {
    case ENGINE_REPORT_STARTED: tell_kind(server, report->attempt, REPORT_STARTED); break;
    case ENGINE_REPORT_ENDED:
        if (never_ran(server->reconciler, report->attempt, &report->ended))
            ticker_poke(server->ticker); /* the tick's reconciliation launches it again */
        else
            tell_end(server, report->attempt, &report->ended);
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
