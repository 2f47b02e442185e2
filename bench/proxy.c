/* The smallest proxy that the HTTP layer allows: the server in front, the agent behind, nothing in
 * between but back-pressure.
 *
 *   proxy PORT unix:/path
 *
 * One thread, until it is ended by a signal. */
#include "wire/http_agent.h"

#include "base/memory.h"

#include <event2/event.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { FIELDS_MAX = 64 };

struct passage {
    struct http_request *request;
    struct http_exchange *exchange;
};

static struct http_endpoint *endpoint;

static void on_head(struct http_exchange *exchange, const struct http_answer *answer, void *ctx)
{
    struct passage *passage = ctx;
    struct http_field fields[FIELDS_MAX];
    size_t count = 0;
    (void)exchange;
    for (size_t i = 0; i < answer->field_count && count < FIELDS_MAX; i++) {
        if (strcasecmp(answer->fields[i].name, "date") != 0)
            fields[count++] = answer->fields[i];
    }
    http_respond_begin(passage->request, answer->status, fields, count, answer->length);
}

static void on_piece(struct http_exchange *exchange, const void *bytes, size_t length, void *ctx)
{
    struct passage *passage = ctx;
    if (!http_respond_write(passage->request, bytes, length))
        http_exchange_pause(exchange);
}

static void on_end(struct http_exchange *exchange, void *ctx)
{
    struct passage *passage = ctx;
    (void)exchange;
    http_respond_end(passage->request);
}

static void on_fail(struct http_exchange *exchange, enum http_failure failure, bool answered,
    const char *text, void *ctx)
{
    struct passage *passage = ctx;
    (void)exchange, (void)failure;
    if (answered)
        http_request_abort(passage->request);
    else
        http_respond(passage->request, 502, NULL, 0, text, strlen(text));
}

static void on_client_drained(void *ctx)
{
    http_exchange_resume(((struct passage *)ctx)->exchange);
}

static void on_client_gone(void *ctx)
{
    http_exchange_cancel(((struct passage *)ctx)->exchange);
}

static bool passes(const char *name)
{
    static const char *const own[] = {"connection", "keep-alive", "te", "trailer", "upgrade",
        "transfer-encoding", "content-length", "proxy-connection", "expect"};
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        if (strcasecmp(name, own[i]) == 0)
            return false;
    }
    return true;
}

/* Only requests without a body: the benchmark has no others. */
static void handle(struct http_request *request, void *ctx)
{
    static const struct http_exchange_callbacks callbacks = {
        .on_head = on_head, .on_piece = on_piece, .on_end = on_end, .on_fail = on_fail};
    struct passage *passage = arena_alloc(http_request_arena(request), 1, sizeof *passage);
    struct http_field fields[FIELDS_MAX], field;
    size_t count = 0;
    (void)ctx;
    for (size_t i = 0; http_request_header_at(request, i, &field); i++) {
        if (passes(field.name))
            fields[count++] = field;
    }
    const struct http_exchange_request passed = {.method = http_request_method(request),
        .target = http_request_target(request),
        .fields = fields,
        .field_count = count};
    passage->request = request;
    http_request_on_cancel(request, on_client_gone, passage);
    http_request_on_drain(request, on_client_drained, passage);
    passage->exchange = http_exchange_begin(endpoint, &passed, &callbacks, passage);
}

int main(int argc, char **argv)
{
    struct event_base *base = event_base_new();
    const struct http_server_options options = {
        .handler = handle, .connections_max = 2048, .connections_per_peer_max = 2048};
    const struct http_agent_options agent_options = {.idle_max = 512};
    struct http_server *server = http_server_create(base, &options);
    struct http_agent *agent = http_agent_create(base, &agent_options);
    struct error err = {0};
    char address[32];
    if (argc != 3) {
        fprintf(stderr, "usage: proxy PORT unix:/path\n");
        return 2;
    }
    snprintf(address, sizeof address, "127.0.0.1:%.5s", argv[1]);
    if (http_endpoint_create(agent, argv[2], (uid_t)-1, &endpoint, &err) < 0 ||
        http_server_listen_tcp(server, address, NULL, NULL, &err) < 0) {
        fprintf(stderr, "proxy: %s\n", err.text);
        return 1;
    }
    event_base_dispatch(base);
    return 0;
}
