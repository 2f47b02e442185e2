/* GET /v1/cost and GET /v1/top: what things cost, and what runs now. */
#include "base/quantity.h"
#include "core/core.h"
#include "server/context.h"
#include "server/cost.h"
#include "server/cost_serving.h"
#include "server/handlers.h"
#include "server/names.h"
#include "server/progress.h"
#include "server/serving_usage.h"
#include "server/status.h"
#include "server/usage.h"
#include "store/store.h"

#include <string.h>

enum { TOP_ROWS_MAX = 1000 };

static int read_time(struct call *call, const char *name, int64_t *ret_ms, struct error *err)
{
    const char *text = http_request_query(call->request, name);
    *ret_ms = 0;
    if (!text)
        return 0;
    if (quantity_parse_time(text, ret_ms, err) < 0)
        return error_prefix(err, "?%s=", name);
    return 0;
}

static int read_query(struct call *call, struct cost_query *query, struct error *err)
{
    const char *job = http_request_query(call->request, "job");
    char team[128];
    *query = (struct cost_query){.by = http_request_query(call->request, "by"),
        .team = call->team,
        .service = http_request_query(call->request, "service"),
        .model = http_request_query(call->request, "model"),
        .now_ms = server_now_ms()};
    const char *answers = http_request_query(call->request, "answers");
    if (answers && strcmp(answers, "true") != 0 && strcmp(answers, "false") != 0)
        return error_set(err, ERR_INVALID, "?answers=: expected true or false");
    query->answers = answers && strcmp(answers, "true") == 0;
    if (read_time(call, "from", &query->from_ms, err) < 0 ||
        read_time(call, "to", &query->to_ms, err) < 0)
        return -1;
    if (!job)
        return 0;
    if (names_find_job(call->server, job, &query->job, team, err) < 0)
        return -1;
    /* A job that the caller may not see is not told apart from one that does not exist. */
    if (identity_role(call->server->catalog, &call->identity, team) < ROLE_VIEWER)
        return names_job_missing(job, err);
    return 0;
}

static void answer_cost(void *context)
{
    struct call *call = context;
    struct cost_query query;
    struct doc *report;
    struct error err;
    if (read_query(call, &query, &err) < 0 ||
        cost_report(call->server, call->arena, &call->identity, &query, &report, &err) < 0)
        call_fail(call, &err);
    else
        call_answer(call, 200, report);
}

/* Reports on services wait a moment for what the gateway has counted until now. Where that cannot
 * be had they say until when they are complete. */
void api_cost(struct call *call)
{
    const char *by = http_request_query(call->request, "by");
    bool serving = by ? cost_is_serving(by) || strcmp(by, "key") == 0 ||
                            http_request_query(call->request, "answers")
                      : http_request_query(call->request, "service") ||
                            http_request_query(call->request, "model") ||
                            http_request_query(call->request, "answers");
    struct error ignored;
    if (!serving ||
        serving_usage_refresh(call->server->serving_usage, answer_cost, call, &ignored) < 0)
        answer_cost(call);
}

static int add_running(void *context, const void *data, struct error *err)
{
    struct call *call = context;
    const struct attempt_row *row = data;
    struct server *server = call->server;
    struct job_row job;
    (void)err;
    if (reader_row(server->reader, ROW_JOB, row->job, &job, NULL) < 0)
        return 0;
    const char *team = arena_strdup(call->arena, names_team(server, job.team));
    if (identity_role(server->catalog, &call->identity, team) < ROLE_VIEWER ||
        (call->team && job.team != core_team_find(server->core, call->team)))
        return 0;
    char id[JOB_ID_TEXT];
    struct doc *item = doc_append(call->data, doc_map(call->arena));
    doc_set_string(call->arena, item, "id", names_job_id(job.id, id));
    doc_set_string(call->arena, item, "name", reader_symbol(server->reader, job.name));
    doc_set_string(call->arena, item, "team", team);
    doc_set_string(call->arena, item, "state", job_state_names[job.state]);
    doc_set_int(call->arena, item, "attempt", row->number);
    doc_set_int(call->arena, item, "size", row->size);
    status_set_time(call->arena, item, "started", row->started_ms);
    status_set_money(
        call->arena, item, "costPerHour", core_attempt_hour_micro(server->core, row->id) * 1000);
    struct doc *usage = usage_doc(server->usage, call->arena, row->id);
    if (usage)
        doc_set(call->arena, item, "usage", usage);
    const struct doc *last = progress_last(server, call->arena, job.id);
    if (last && doc_get(last, "data"))
        doc_set(call->arena, item, "progress", doc_copy(call->arena, doc_get(last, "data")));
    return 0;
}

void api_top(struct call *call)
{
    struct error err;
    struct row_condition live = {"live", ROW_EQUAL, 1};
    struct row_query query = {
        .kind = ROW_ATTEMPT, .conditions = &live, .condition_count = 1, .limit = TOP_ROWS_MAX};
    call->data = doc_list(call->arena);
    if (reader_rows(call->server->reader, &query, add_running, call, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    struct doc *body = doc_map(call->arena);
    doc_set(call->arena, body, "items", call->data);
    call_answer(call, 200, body);
}
