/* Calls and their answers: see call.h. */
#include "server/call.h"

#include "base/strbuf.h"
#include "server/context.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct http_field json_fields[] = {{"Content-Type", "application/json"}};
static const struct http_field problem_fields[] = {{"Content-Type", "application/problem+json"}};
static const struct http_field busy_fields[] = {
    {"Content-Type", "application/problem+json"}, {"Retry-After", "1"}};
static const struct http_field unauthenticated_fields[] = {
    {"Content-Type", "application/problem+json"}, {"WWW-Authenticate", "Bearer realm=\"muster\""}};

static void respond_doc(struct call *call, int status, const struct http_field *fields,
    size_t field_count, const struct doc *body)
{
    struct strbuf text = {0};
    doc_write_json(body, 0, &text);
    strbuf_putc(&text, '\n');
    http_respond(call->request, status, fields, field_count, strbuf_text(&text), text.length);
    strbuf_finish(&text);
}

void call_answer(struct call *call, int status, const struct doc *body)
{
    respond_doc(call, status, json_fields, ARRAY_LEN(json_fields), body);
}

void call_answer_empty(struct call *call)
{
    call_answer(call, 200, doc_map(call->arena));
}

void call_answer_page(struct call *call, struct doc *items, const char *next)
{
    struct doc *body = doc_map(call->arena);
    doc_set(call->arena, body, "items", items);
    doc_set_string(call->arena, body, "next", next);
    call_answer(call, 200, body);
}

void call_answer_text(struct call *call, const char *content_type, const char *text, size_t length)
{
    struct http_field field = {"Content-Type", content_type};
    http_respond(call->request, 200, &field, 1, text, length);
}

struct doc *problem_doc(
    struct arena *arena, const struct error *err, const struct doc *field_errors)
{
    struct doc *problem = doc_map(arena);
    int status = error_http_status(err->code);
    doc_set_string(arena, problem, "type", arena_printf(arena, "muster:%s", error_name(err->code)));
    doc_set_string(arena, problem, "title", http_status_phrase(status));
    doc_set_int(arena, problem, "status", status);
    doc_set_string(arena, problem, "detail", err->text);
    if (field_errors)
        doc_set(arena, problem, "errors", doc_copy(arena, field_errors));
    return problem;
}

static void fail_with(struct call *call, const struct error *err, const struct doc *field_errors)
{
    const struct http_field *fields = problem_fields;
    size_t count = ARRAY_LEN(problem_fields);
    if (err->code == ERR_BUSY || err->code == ERR_UNAVAILABLE) {
        fields = busy_fields;
        count = ARRAY_LEN(busy_fields);
    } else if (err->code == ERR_UNAUTHENTICATED) {
        fields = unauthenticated_fields;
        count = ARRAY_LEN(unauthenticated_fields);
    }
    respond_doc(call, error_http_status(err->code), fields, count,
        problem_doc(call->arena, err, field_errors));
}

void call_fail(struct call *call, const struct error *err)
{
    fail_with(call, err, NULL);
}

void call_fail_fields(struct call *call, const struct field_errors *errors)
{
    struct error err;
    field_errors_summary(errors, &err);
    fail_with(call, &err, field_errors_doc(errors, call->arena));
}

/* What a collected body goes on to. */
struct body_wait {
    struct call *call;
    call_body_handler *then;
    size_t limit;
};

static void on_body(struct http_request *request, const char *body, size_t length, void *ctx)
{
    struct body_wait *wait = ctx;
    struct call *call = wait->call;
    (void)request;
    if (length == 0) {
        wait->then(call, NULL);
        return;
    }
    struct error err;
    struct doc *doc = doc_parse_json(call->arena, body, length, wait->limit, &err);
    if (!doc) {
        error_prefix(&err, "the body is not JSON as expected");
        call_fail(call, &err);
        return;
    }
    wait->then(call, doc);
}

void call_body(struct call *call, size_t limit, call_body_handler *then)
{
    struct body_wait *wait = arena_alloc(call->arena, 1, sizeof *wait);
    *wait = (struct body_wait){call, then, limit};
    http_request_collect(call->request, limit, on_body, wait);
}

int call_query_int(
    const struct call *call, const char *name, int64_t fallback, int64_t *ret, struct error *err)
{
    const char *text = http_request_query(call->request, name);
    if (!text) {
        *ret = fallback;
        return 0;
    }
    size_t length = strlen(text);
    if (length == 0 || length > 18 || strspn(text, "0123456789") != length)
        return error_set(
            err, ERR_INVALID, "?%s=: expected a whole number, got \"%.40s\"", name, text);
    *ret = strtoll(text, NULL, 10);
    return 0;
}

int call_limit(const struct call *call, size_t *ret_limit, struct error *err)
{
    int64_t limit;
    if (call_query_int(call, "limit", 100, &limit, err) < 0)
        return -1;
    if (limit < 1 || limit > 1000)
        return error_set(err, ERR_INVALID, "?limit=: expected a number from 1 to 1000");
    *ret_limit = (size_t)limit;
    return 0;
}

int call_one_job(const struct call *call, struct error *err)
{
    if (!call->whole_array)
        return 0;
    return error_set(err, ERR_INVALID,
        "%.150s is an array: name one of its elements, such as %.150s[0]", call->parameters[0],
        call->parameters[0]);
}

bool call_query_flag(const struct call *call, const char *name)
{
    const char *text = http_request_query(call->request, name);
    return text && strcmp(text, "false") != 0 && strcmp(text, "0") != 0;
}

struct call_wait {
    struct call *call;
    command_run_fn *run;
    call_handler *done;
};

static int run_call(struct tick *tick, void *context, struct error *err)
{
    struct call_wait *wait = context;
    return wait->run(tick, wait->call, err);
}

static void answer_call(void *context, const struct error *err)
{
    struct call_wait *wait = context;
    if (err)
        call_fail(wait->call, err);
    else
        wait->done(wait->call);
}

void call_command(struct call *call, command_run_fn *run, call_handler *done)
{
    struct call_wait *wait = arena_alloc(call->arena, 1, sizeof *wait);
    *wait = (struct call_wait){call, run, done};
    struct error err;
    if (ticker_submit(
            call->server->ticker, call->identity.user, run_call, answer_call, wait, &err) < 0)
        call_fail(call, &err);
}
