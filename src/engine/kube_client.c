/* Requests to an API server: see kube_client.h. Invariants:
 *  1. a call is in exactly one of the lists `waiting` and `running`, and has an exchange in the
 * second;
 *  2. callbacks are called from the loop only, after the call has left its list;
 *  3. a token is never older than TOKEN_AGE_MS, and is read again at once after a 401. */
#include "engine/kube_client.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "wire/doc.h"
#include "wire/http_agent.h"
#include "wire/tls.h"
#include "wire/url.h"

#include <assert.h>
#include <event2/event.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

enum {
    TIMEOUT_MS = 30 * 1000,
    TOKEN_AGE_MS = 10 * 1000,
    TOKEN_BYTES_MAX = 64 * 1024,
    RETRY_AFTER_MAX_S = 300,
};

struct kube_call {
    TAILQ_ENTRY(kube_call) entry;
    struct kube_client *client;
    struct http_exchange *exchange; /* NULL while it waits */
    char *method, *target, *content_type, *body;
    size_t length;
    int64_t timeout_ms;
    kube_done_fn *done;
    kube_piece_fn *on_piece;
    void *ctx;
    int status;
    int64_t retry_after_ms;
    struct strbuf answer;
};

TAILQ_HEAD(call_list, kube_call);

struct kube_client {
    struct http_agent *agent;
    struct http_endpoint *endpoint;
    struct tls_client *tls;
    struct kube_config config;
    char *authority; /* of the Host field */
    int64_t timeout_ms;
    int64_t token_read_ms; /* 0: read it before the next request */
    struct call_list waiting, running;
    size_t running_count; /* without streams */
};

/* ---- who we are ---------------------------------------------------------------------------- */

/* A file that cannot be read leaves the token as it was: it may just be being replaced. */
static void token_refresh(struct kube_client *client)
{
    int64_t now = clock_monotonic_ns() / 1000000;
    SCOPED(mem_scope) char *text = NULL;
    size_t size;
    if (!client->config.token_file ||
        (client->token_read_ms && now - client->token_read_ms < TOKEN_AGE_MS))
        return;
    if (file_read(client->config.token_file, TOKEN_BYTES_MAX, &text, &size, NULL) < 0)
        return;
    text[strcspn(text, " \t\r\n")] = '\0';
    if (client->config.token)
        sodium_memzero(client->config.token, strlen(client->config.token));
    free(client->config.token);
    client->config.token = mem_strdup(text);
    sodium_memzero(text, size);
    client->token_read_ms = now;
}

/* ---- a call -------------------------------------------------------------------------------- */

static void call_free(struct kube_call *call)
{
    free(call->method);
    free(call->target);
    free(call->content_type);
    free(call->body);
    strbuf_finish(&call->answer);
    free(call);
}

static void call_remove(struct kube_call *call)
{
    struct kube_client *client = call->client;
    TAILQ_REMOVE(call->exchange ? &client->running : &client->waiting, call, entry);
    if (call->exchange && !call->on_piece)
        client->running_count--;
    call->exchange = NULL;
}

static void calls_start(struct kube_client *client);

/* Ends the call with its outcome. */
static void call_end(struct kube_call *call, const char *problem)
{
    struct kube_client *client = call->client;
    const struct kube_answer answer = {
        .status = problem ? 0 : call->status,
        .body = strbuf_text(&call->answer),
        .length = call->answer.length,
        .problem = problem,
        .retry_after_ms = call->retry_after_ms,
    };
    if (call->status == 401)
        client->token_read_ms = 0;
    call_remove(call);
    call->done(call->ctx, &answer);
    call_free(call);
    calls_start(client);
}

static bool is_streamed(const struct kube_call *call)
{
    return call->on_piece && call->status / 100 == 2;
}

/* May be the end of the call. */
static void hand_over(struct kube_call *call, const char *bytes, size_t length)
{
    struct kube_client *client = call->client;
    struct http_exchange *exchange = call->exchange;
    if (call->on_piece(call->ctx, bytes, length))
        return;
    http_exchange_cancel(exchange);
    call_remove(call);
    call_free(call);
    calls_start(client);
}

static void on_head(struct http_exchange *exchange, const struct http_answer *answer, void *ctx)
{
    struct kube_call *call = ctx;
    (void)exchange;
    call->status = answer->status;
    for (size_t i = 0; i < answer->field_count; i++) {
        long seconds = strcasecmp(answer->fields[i].name, "retry-after") == 0
                           ? strtol(answer->fields[i].value, NULL, 10)
                           : 0;
        if (seconds > 0)
            call->retry_after_ms =
                (seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S) * 1000;
    }
    if (is_streamed(call))
        hand_over(call, "", 0);
}

static void on_piece(struct http_exchange *exchange, const void *bytes, size_t length, void *ctx)
{
    struct kube_call *call = ctx;
    if (is_streamed(call)) {
        hand_over(call, bytes, length);
    } else if (call->answer.length + length <= KUBE_ANSWER_MAX) {
        strbuf_append(&call->answer, bytes, length);
    } else {
        http_exchange_cancel(exchange);
        call_end(call, "the answer is larger than 16 MiB");
    }
}

static void on_end(struct http_exchange *exchange, void *ctx)
{
    (void)exchange;
    call_end(ctx, NULL);
}

static void on_fail(struct http_exchange *exchange, enum http_failure failure, bool answered,
    const char *text, void *ctx)
{
    (void)exchange, (void)failure, (void)answered;
    call_end(ctx, text);
}

static void call_start(struct kube_call *call)
{
    static const struct http_exchange_callbacks callbacks = {
        on_head, on_piece, on_end, on_fail, NULL};
    struct kube_client *client = call->client;
    struct strbuf bearer = {0};
    struct http_field fields[5];
    size_t count = 0;
    token_refresh(client);
    fields[count++] = (struct http_field){"Host", client->authority};
    fields[count++] = (struct http_field){"User-Agent", "muster/" MUSTER_VERSION};
    fields[count++] = (struct http_field){"Accept", "application/json"};
    if (call->body)
        fields[count++] = (struct http_field){"Content-Type", call->content_type};
    if (client->config.token) {
        strbuf_printf(&bearer, "Bearer %s", client->config.token);
        fields[count++] = (struct http_field){"Authorization", bearer.text};
    }
    const struct http_exchange_request request = {
        .method = call->method,
        .target = call->target,
        .fields = fields,
        .field_count = count,
        .body = call->body,
        .length = (int64_t)call->length,
        .timeout_ms = call->timeout_ms,
    };
    TAILQ_REMOVE(&client->waiting, call, entry);
    TAILQ_INSERT_TAIL(&client->running, call, entry);
    client->running_count += !call->on_piece;
    call->exchange = http_exchange_begin(client->endpoint, &request, &callbacks, call);
    if (bearer.text)
        sodium_memzero(bearer.text, bearer.length);
    strbuf_finish(&bearer);
}

static void calls_start(struct kube_client *client)
{
    struct kube_call *call, *next;
    for (call = TAILQ_FIRST(&client->waiting); call; call = next) {
        next = TAILQ_NEXT(call, entry);
        if (!call->on_piece && client->running_count >= KUBE_CALLS_MAX)
            return;
        call_start(call);
    }
}

struct kube_call *kube_client_call(
    struct kube_client *client, const struct kube_request *request, kube_done_fn *done, void *ctx)
{
    struct kube_call *call = mem_alloc(1, sizeof *call);
    const char *type = request->content_type ? request->content_type : "application/json";
    call->client = client;
    call->method = mem_strdup(request->method);
    call->target = mem_strdup(request->target);
    call->content_type = mem_strdup(type);
    call->length = request->length;
    if (request->body) {
        call->body = mem_alloc(1, request->length + 1);
        memcpy(call->body, request->body, request->length);
    }
    call->timeout_ms = request->timeout_ms ? request->timeout_ms : client->timeout_ms;
    call->on_piece = request->on_piece;
    call->done = done;
    call->ctx = ctx;
    TAILQ_INSERT_TAIL(&client->waiting, call, entry);
    calls_start(client);
    return call;
}

void kube_call_cancel(struct kube_call *call)
{
    struct kube_client *client = call->client;
    if (call->exchange)
        http_exchange_cancel(call->exchange);
    call_remove(call);
    call_free(call);
    calls_start(client);
}

/* ---- the client ---------------------------------------------------------------------------- */

/* The agent connects to addresses; a name is looked up here, once. */
static int connect_point(struct kube_client *client, struct error *err)
{
    const struct tls_identity identity = {
        client->config.ca, client->config.certificate, client->config.key};
    struct url_endpoint endpoint;
    struct strbuf text = {0};
    if (tls_client_create_identity(&identity, &client->tls, err) < 0 ||
        url_endpoint_parse(client->config.server, &endpoint, err) < 0)
        return -1;
    url_endpoint_authority(&endpoint, &text);
    client->authority = strbuf_steal(&text);
    char host[URL_HOST_MAX + 1];
    memcpy(host, endpoint.host, sizeof host);
    if (strcmp(host, "localhost") == 0)
        memcpy(endpoint.host, "127.0.0.1", sizeof "127.0.0.1");
    url_endpoint_build(&endpoint, &text);
    int rc = http_endpoint_create_tls(
        client->agent, strbuf_text(&text), client->tls, host, &client->endpoint, err);
    strbuf_finish(&text);
    return rc;
}

struct kube_client *kube_client_create(
    struct event_base *base, struct kube_config *config, int64_t timeout_ms, struct error *err)
{
    struct kube_client *client = mem_alloc(1, sizeof *client);
    client->config = *config;
    *config = (struct kube_config){0};
    client->timeout_ms = timeout_ms ? timeout_ms : TIMEOUT_MS;
    const struct http_agent_options options = {.connect_ms = client->timeout_ms};
    client->agent = http_agent_create(base, &options);
    TAILQ_INIT(&client->waiting);
    TAILQ_INIT(&client->running);
    if (connect_point(client, err) == 0)
        return client;
    kube_client_destroy(client);
    return NULL;
}

void kube_client_destroy(struct kube_client *client)
{
    if (!client)
        return;
    struct call_list *lists[] = {&client->waiting, &client->running};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        while (!TAILQ_EMPTY(lists[i])) {
            struct kube_call *call = TAILQ_FIRST(lists[i]);
            TAILQ_REMOVE(lists[i], call, entry);
            call_free(call); /* its exchange goes with the agent */
        }
    }
    http_agent_destroy(client->agent);
    tls_client_destroy(client->tls);
    kube_config_finish(&client->config);
    free(client->authority);
    free(client);
}

const char *kube_client_namespace(const struct kube_client *client)
{
    return client->config.name_space;
}

int64_t kube_client_timeout_ms(const struct kube_client *client)
{
    return client->timeout_ms;
}

/* ---- answers ------------------------------------------------------------------------------- */

static enum error_code code_of(int status)
{
    static const struct {
        int status;
        enum error_code code;
    } codes[] = {{400, ERR_INVALID}, {401, ERR_UNAUTHENTICATED}, {403, ERR_DENIED},
        {404, ERR_NOT_FOUND}, {409, ERR_CONFLICT}, {410, ERR_CONFLICT}, {413, ERR_TOO_LARGE},
        {422, ERR_INVALID}, {429, ERR_BUSY}};
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        if (codes[i].status == status)
            return codes[i].code;
    }
    return status >= 500 || status == 0 ? ERR_UNAVAILABLE : ERR_INVALID;
}

/* The server's own sentence, where it gives one. */
static const char *status_message(const struct kube_answer *answer, struct arena *arena)
{
    const struct doc *status =
        doc_parse_json(arena, answer->body, answer->length, KUBE_ANSWER_MAX, NULL);
    const char *message = status ? doc_get_string(status, "message") : NULL;
    return message && *message ? message : "it gives no reason";
}

int kube_answer_check(const struct kube_answer *answer, const char *what, struct error *err)
{
    if (answer->status / 100 == 2)
        return 0;
    if (answer->status == 0)
        return error_set(err, ERR_UNAVAILABLE, "%s: %s", what, answer->problem);
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const char *message = status_message(answer, arena);
    bool full = answer->status == 403 &&
                (strstr(message, "exceeded quota") || strstr(message, "status unknown for quota"));
    return error_set(err, full ? ERR_FULL : code_of(answer->status),
        "%s: the API server answers %d: %.300s", what, answer->status, message);
}

const struct doc *kube_answer_doc(
    const struct kube_answer *answer, struct arena *arena, const char *what, struct error *err)
{
    if (kube_answer_check(answer, what, err) < 0)
        return NULL;
    const struct doc *doc = doc_parse_json_bounded(
        arena, answer->body, answer->length, KUBE_ANSWER_MAX, KUBE_ITEMS_MAX, err);
    if (!doc)
        error_prefix(err, "%s", what);
    return doc;
}

static const struct doc *walk(const struct doc *map, va_list keys)
{
    const char *key;
    while (map && (key = va_arg(keys, const char *)))
        map = doc_get(map, key);
    return map;
}

const struct doc *kube_at(const struct doc *map, ...)
{
    va_list keys;
    va_start(keys, map);
    map = walk(map, keys);
    va_end(keys);
    return map;
}

const char *kube_text(const struct doc *map, ...)
{
    va_list keys;
    va_start(keys, map);
    map = walk(map, keys);
    va_end(keys);
    return map && map->type == DOC_STRING ? map->text : "";
}
