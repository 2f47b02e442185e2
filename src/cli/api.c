/* Asking the server: see api.h. */
#include "cli/api.h"

#include "gateway/trace_context.h"
#include "wire/url.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct api {
    struct http_client *http;
    const char *address;
    struct arena *arena; /* of the problem */
    const struct doc *problem;
};

enum { ANSWER_BYTES_MAX = 64 * 1024 * 1024 };

struct api *api_create(const struct endpoint *endpoint, struct error *err)
{
    struct http_client_options options = {.endpoint = endpoint->address,
        .ca_path = endpoint->ca,
        .bearer_token = endpoint->token,
        .user_agent = "muster"};
    struct http_client *http;
    if (http_client_create(&options, &http, err) < 0)
        return NULL;
    struct api *api = mem_alloc(1, sizeof *api);
    api->http = http;
    api->arena = arena_create();
    api->address = endpoint->address;
    return api;
}

void api_destroy(struct api *api)
{
    if (!api)
        return;
    http_client_destroy(api->http);
    arena_destroy(api->arena);
    free(api);
}

void api_make_key(char out[API_KEY_TEXT])
{
    unsigned char bytes[(API_KEY_TEXT - 1) / 2];
    randombytes_buf(bytes, sizeof bytes);
    sodium_bin2hex(out, API_KEY_TEXT, bytes, sizeof bytes);
}

struct http_client *api_http(struct api *api)
{
    return api->http;
}

const struct doc *api_problem(const struct api *api)
{
    return api->problem;
}

/* The code a problem document names, else the one its status stands for. */
static enum error_code problem_code(const struct doc *problem, int status)
{
    const char *type = doc_get_string(problem, "type");
    const char *name = type ? strrchr(type, ':') : NULL;
    for (int code = ERR_NONE + 1; code < ERR_COUNT; code++) {
        if (name && !strcmp(name + 1, error_name((enum error_code)code)))
            return (enum error_code)code;
    }
    for (int code = ERR_NONE + 1; code < ERR_COUNT; code++) {
        if (error_http_status((enum error_code)code) == status)
            return (enum error_code)code;
    }
    return status < 500 ? ERR_INVALID : ERR_INTERNAL;
}

static int fail_with_problem(
    struct api *api, const struct http_client_response *response, struct error *err)
{
    arena_reset(api->arena);
    const struct doc *problem =
        doc_parse_json(api->arena, response->body, response->body_length, ANSWER_BYTES_MAX, NULL);
    if (problem && problem->type != DOC_MAP)
        problem = NULL;
    api->problem = problem;
    const char *detail = doc_get_string(problem, "detail");
    if (!detail || !*detail)
        detail = doc_get_string(problem, "title");
    enum error_code code = problem_code(problem, response->status);
    if (!detail)
        return error_set(err, code, "the server answered %d %s", response->status,
            http_status_phrase(response->status));
    return error_set(err, code, "%s", detail);
}

static int exchange(struct api *api, const struct http_client_request *request, bool repeatable,
    struct http_client_response *response, struct error *err)
{
    api->problem = NULL;
    struct error first;
    if (http_client_exchange(api->http, request, response, &first) == 0)
        return 0;
    /* Repeated once: a server that restarts closes connections at any moment. */
    if (first.code == ERR_UNKNOWN && repeatable &&
        http_client_exchange(api->http, request, response, &first) == 0)
        return 0;
    if (first.code == ERR_UNAVAILABLE)
        return error_set(err, first.code, "no server answers at %s: %s", api->address, first.text);
    return error_set(err, first.code, "%s: %s", api->address, first.text);
}

static int read_answer(struct arena *arena, const struct http_client_response *response,
    const struct doc **ret_answer, struct error *err)
{
    const struct doc *answer = NULL;
    if (ret_answer && response->body_length > 0) {
        answer =
            doc_parse_json(arena, response->body, response->body_length, ANSWER_BYTES_MAX, err);
        if (!answer)
            return error_prefix(err, "the server's answer cannot be read");
    }
    if (ret_answer)
        *ret_answer = answer;
    return 0;
}

static int finish_call(struct api *api, struct arena *arena,
    const struct http_client_request *request, bool repeatable, const struct doc **ret_answer,
    struct error *err)
{
    struct http_client_response response = {0};
    if (exchange(api, request, repeatable, &response, err) < 0)
        return -1;
    int failed = response.status >= 300 ? fail_with_problem(api, &response, err)
                                        : read_answer(arena, &response, ret_answer, err);
    http_client_response_finish(&response);
    return failed;
}

/* What is submitted belongs to the trace that the environment names, if it names one as the
 * recommendation says. At most two; how many.
 * text: of the first. */
static size_t trace_fields(struct http_field *ret, char text[TRACE_PARENT_TEXT])
{
    const char *parent = getenv("TRACEPARENT"), *state = getenv("TRACESTATE");
    struct trace_context context;
    if (!parent || !trace_parent_read(parent, &context))
        return 0;
    trace_parent_write(&context, text);
    ret[0] = (struct http_field){"traceparent", text};
    if (!state || !trace_state_valid(state))
        return 1;
    ret[1] = (struct http_field){"tracestate", state};
    return 2;
}

int api_call(struct api *api, struct arena *arena, const char *method, const char *target,
    const struct doc *body, const char *key, const struct doc **ret_answer, struct error *err)
{
    struct strbuf json = {0};
    if (body)
        doc_write_json(body, 0, &json);
    struct http_field fields[4];
    char parent[TRACE_PARENT_TEXT];
    size_t count = 0;
    if (body)
        fields[count++] = (struct http_field){"Content-Type", "application/json"};
    if (key)
        fields[count++] = (struct http_field){"Idempotency-Key", key};
    if (!strcmp(method, "POST"))
        count += trace_fields(fields + count, parent);
    struct http_client_request request = {.method = method,
        .target = target,
        .fields = fields,
        .field_count = count,
        .body = json.text,
        .body_length = json.length,
        .collect_max = ANSWER_BYTES_MAX};
    bool repeatable = key || !strcmp(method, "GET");
    int failed = finish_call(api, arena, &request, repeatable, ret_answer, err);
    strbuf_finish(&json);
    return failed;
}

int api_get(struct api *api, struct arena *arena, const char *target, const struct doc **ret_answer,
    struct error *err)
{
    return api_call(api, arena, "GET", target, NULL, NULL, ret_answer, err);
}

int api_list(struct api *api, struct arena *arena, const char *target, const struct doc **ret_items,
    struct error *err)
{
    struct doc *items = doc_list(arena);
    struct strbuf page = {0};
    const char *after = NULL;
    int failed = 0;
    do {
        const struct doc *answer = NULL;
        strbuf_clear(&page);
        strbuf_puts(&page, target);
        url_add_query(&page, "limit", arena_printf(arena, "%d", API_PAGE));
        if (after)
            url_add_query(&page, "after", after);
        failed = api_get(api, arena, page.text, &answer, err);
        if (failed)
            break;
        const struct doc *list = doc_get(answer, "items");
        for (const struct doc *item = list ? list->first : NULL; item; item = item->next)
            doc_append(items, doc_copy(arena, item));
        const struct doc *cursor = doc_get(answer, "next");
        const char *next = cursor && cursor->type != DOC_NULL ? cursor->text : NULL;
        /* A cursor that does not move would never end. */
        if (next && after && !strcmp(next, after))
            next = NULL;
        after = next;
    } while (after && items->count < API_ITEMS_MAX);
    strbuf_finish(&page);
    if (!failed)
        *ret_items = items;
    return failed;
}

int api_stream(struct api *api, struct arena *arena, const char *target, int64_t io_ms,
    http_client_sink *sink, void *ctx, struct error *err)
{
    assert(sink);
    struct http_client_request request = {
        .method = "GET", .target = target, .sink = sink, .sink_ctx = ctx, .io_ms = io_ms};
    return finish_call(api, arena, &request, false, NULL, err);
}

int api_upload(struct api *api, struct arena *arena, const char *target, http_client_source *source,
    void *ctx, const struct doc **ret_answer, struct error *err)
{
    struct http_field type = {"Content-Type", "application/x-tar"};
    struct http_client_request request = {.method = "POST",
        .target = target,
        .fields = &type,
        .field_count = 1,
        .source = source,
        .source_ctx = ctx};
    return finish_call(api, arena, &request, false, ret_answer, err);
}

int api_send(struct api *api, struct arena *arena, const char *method, const char *target,
    const char *type, const void *bytes, size_t length, int64_t io_ms, bool repeatable,
    const struct doc **ret_answer, struct error *err)
{
    struct http_field field = {"Content-Type", type};
    struct http_client_request request = {.method = method,
        .target = target,
        .fields = &field,
        .field_count = 1,
        .body = bytes,
        .body_length = length,
        .io_ms = io_ms};
    return finish_call(api, arena, &request, repeatable, ret_answer, err);
}

int api_fetch(struct api *api, const char *target, size_t most, char **ret_bytes,
    size_t *ret_length, struct error *err)
{
    struct http_client_request request = {.method = "GET", .target = target, .collect_max = most};
    struct http_client_response response = {0};
    if (exchange(api, &request, true, &response, err) < 0)
        return -1;
    int failed = response.status >= 300 ? fail_with_problem(api, &response, err) : 0;
    if (!failed) {
        *ret_bytes = response.body;
        *ret_length = response.body_length;
        response.body = NULL;
    }
    http_client_response_finish(&response);
    return failed;
}

int api_upgrade(struct api *api, const char *target, const char *protocol, struct error *err)
{
    struct http_client_request request = {.method = "GET", .target = target};
    struct http_client_response response = {0};
    api->problem = NULL;
    if (http_client_upgrade(api->http, &request, protocol, &response, err) < 0)
        return -1;
    int failed = 0;
    if (response.status != 101 && response.status < 300)
        failed = error_set(err, ERR_INVALID, "the server does not speak %s", protocol);
    else if (response.status != 101)
        failed = fail_with_problem(api, &response, err);
    http_client_response_finish(&response);
    return failed;
}

void api_problem_write(const struct doc *problem, struct strbuf *out)
{
    const struct doc *errors = doc_get(problem, "errors");
    for (const struct doc *item = errors ? errors->first : NULL; item; item = item->next) {
        const char *path = doc_get_string(item, "path");
        const char *detail = doc_get_string(item, "detail");
        strbuf_printf(
            out, "%s%s%s\n", path ? path : "", path && *path ? ": " : "", detail ? detail : "");
    }
}

const char *api_advice(enum error_code code)
{
    static const char *const advice[ERR_COUNT] = {
        [ERR_UNAUTHENTICATED] = "set MUSTER_TOKEN or --token-file; an administrator makes tokens "
                                "with muster token create",
        [ERR_DENIED] =
            "what you may do follows from your role in the team (members of its manifest)",
        [ERR_BUSY] = "wait a little and try again",
        [ERR_FULL] = "nothing was changed; make space on the server's disk and try again",
        [ERR_UNAVAILABLE] = "start a server with muster up, or name another with --endpoint",
        [ERR_UNKNOWN] = "look with muster get before trying again: it may have been done",
        [ERR_INTERNAL] = "a defect of muster: the server's log has more",
    };
    assert(code >= ERR_NONE && code < ERR_COUNT);
    return advice[code];
}
