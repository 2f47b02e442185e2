/* Changing jobs over the API: cancelling, holding, releasing, forgetting; one job, or all elements
 * of an array. The core knows live jobs only; that there is such a job, the route has found. */
#include "base/log.h"
#include "base/vec.h"
#include "core/core.h"
#include "engine/engine.h"
#include "server/context.h"
#include "server/cost.h"
#include "server/engines.h"
#include "server/handlers.h"
#include "server/names.h"
#include "server/outputs.h"
#include "server/retention.h"
#include "store/store.h"

enum { ARRAY_ELEMENTS_MAX = 10000 };

/* ---- cancelling, holding, releasing --------------------------------------------------------- */

typedef int job_verb_fn(struct core *core, uint64_t job, struct error *err);

/* An array is changed as far as its elements let it: some may run, others have ended. It fails when
 * there was not one of them for which it was right. */
static int change_all(struct tick *tick, uint64_t array, job_verb_fn *verb, struct error *err)
{
    struct core *core = tick_core(tick);
    size_t live = 0, changed = 0;
    for (uint64_t id = array; id < array + ARRAY_ELEMENTS_MAX; id++) {
        const struct job_row *row = core_job(core, id);
        if (!row || row->array != array)
            continue;
        live++;
        changed += verb(core, id, err) == 0;
    }
    if (changed > 0)
        return 0;
    return live > 0 ? -1 : error_set(err, ERR_CONFLICT, "every element of the array has ended");
}

static int change(struct tick *tick, const struct call *call, job_verb_fn *verb, struct error *err)
{
    if (call->whole_array)
        return change_all(tick, call->job, verb, err);
    if (!core_job(tick_core(tick), call->job))
        return error_set(err, ERR_CONFLICT, "the job has ended already");
    return verb(tick_core(tick), call->job, err);
}

static int run_cancel(struct tick *tick, void *context, struct error *err)
{
    return change(tick, context, core_job_cancel, err);
}

static int run_hold(struct tick *tick, void *context, struct error *err)
{
    return change(tick, context, core_job_hold, err);
}

static int run_release(struct tick *tick, void *context, struct error *err)
{
    return change(tick, context, core_job_release, err);
}

void api_job_cancel(struct call *call)
{
    call_command(call, run_cancel, call_answer_empty);
}

void api_job_hold(struct call *call)
{
    call_command(call, run_hold, call_answer_empty);
}

void api_job_release(struct call *call)
{
    call_command(call, run_release, call_answer_empty);
}

/* ---- forgetting ------------------------------------------------------------------------------ */

typedef VEC(struct job_row) row_list;

/* Jobs whose files go once it is durable that the jobs are forgotten. */
struct forgotten {
    uint64_t *ids;
    size_t count;
};

static int take_row(void *context, const void *row, struct error *err)
{
    row_list *rows = context;
    (void)err;
    vec_push(rows, *(const struct job_row *)row);
    return 0;
}

static int find_rows(struct call *call, row_list *rows, struct error *err)
{
    struct row_condition conditions[] = {{"array", ROW_EQUAL, (int64_t)call->job},
        {"id", ROW_LESS, (int64_t)call->job + ARRAY_ELEMENTS_MAX}};
    struct row_query query = {.kind = ROW_JOB,
        .conditions = conditions,
        .condition_count = ARRAY_LEN(conditions),
        .after = call->job - 1,
        .limit = ARRAY_ELEMENTS_MAX};
    struct job_row row;
    if (reader_row(call->server->reader, ROW_JOB, call->job, &row, err) < 0)
        return -1;
    if (row.array != call->job)
        return take_row(rows, &row, err);
    return reader_rows(call->server->reader, &query, take_row, rows, err);
}

/* The elements of an array share the manifest of the first, which is why that one goes with the
 * last of them only. */
static int check_forget(
    struct tick *tick, const struct call *call, const row_list *rows, struct error *err)
{
    if (!call->whole_array && rows->count > 1)
        return error_set(err, ERR_CONFLICT,
            "the first element of an array has the manifest of all of them: forget the array as a "
            "whole");
    for (size_t i = 0; i < rows->count; i++) {
        const struct job_row *row = &rows->items[i];
        if (core_job(tick_core(tick), row->id))
            return error_set(err, ERR_CONFLICT, "the job is live; cancel it first");
        /* It ended in this very tick, whose changes come after what is forgotten. */
        if (!job_state_ended(row->state))
            return error_set(err, ERR_BUSY, "the job is ending; try again in a moment");
        if (outputs_pending(call->server, row->array ? row->array : row->id))
            return error_set(err, ERR_CONFLICT, "what the job wrote is still being taken in");
    }
    return 0;
}

static void forget(struct tick *tick, struct call *call, const row_list *rows)
{
    struct forgotten *forgotten = call->data;
    forgotten->ids = arena_alloc(call->arena, rows->count, sizeof *forgotten->ids);
    forgotten->count = rows->count;
    for (size_t i = 0; i < rows->count; i++) {
        const struct job_row *row = &rows->items[i];
        forgotten->ids[i] = row->id;
        cost_keep(tick, row);
        outputs_forget(tick, row);
        retention_note_files(tick, row->id);
        store_txn_forget_job(tick_txn(tick), row->id);
        tick_audit(tick, "job-forget", "job", reader_symbol(call->server->reader, row->name),
            call->team, NULL);
    }
}

static int run_forget(struct tick *tick, void *context, struct error *err)
{
    struct call *call = context;
    row_list rows = {0};
    int rc = find_rows(call, &rows, err);
    if (rc == 0)
        rc = check_forget(tick, call, &rows, err);
    if (rc == 0)
        forget(tick, call, &rows);
    vec_free(&rows);
    return rc;
}

static void answer_forget(struct call *call)
{
    const struct forgotten *forgotten = call->data;
    struct error err;
    /* The first element of an array has the outputs of all of them: it goes last. */
    for (size_t i = forgotten->count; i-- > 0;) {
        if (engines_purge(call->server, forgotten->ids[i], &err) < 0)
            log_warn("the files of a forgotten job stay for now: %s", err.text);
    }
    call_answer_empty(call);
}

void api_job_delete(struct call *call)
{
    call->data = arena_alloc(call->arena, 1, sizeof(struct forgotten));
    call_command(call, run_forget, answer_forget);
}
