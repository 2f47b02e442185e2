/* Fuzz target: answers, in the pieces that the first bytes decide, on a connection that is used as
 * long as the agent keeps it. Callbacks come in order and end once; what the second byte says
 * decides about pauses, HEAD and streamed requests. */
#include "wire/http_agent_internal.h"

#include "wire/http_text.h"

#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CUTS = 4, OPTIONS = CUTS, START, TURNS = 8, INPUT_MAX = 2048 };

struct state {
    struct http_exchange *exchange;
    bool headed, pausing;
};

static void on_head(struct http_exchange *exchange, const struct http_answer *answer, void *ctx)
{
    struct state *state = ctx;
    assert(exchange == state->exchange && !state->headed);
    assert(answer->status >= 200 && answer->status <= 599 && answer->length >= -1);
    for (size_t i = 0; i < answer->field_count; i++) {
        const struct http_field *field = &answer->fields[i];
        assert(http_token_valid(field->name, strlen(field->name)));
        assert(http_value_valid(field->value, strlen(field->value)));
    }
    state->headed = true;
    if (state->pausing)
        http_exchange_pause(exchange);
}

static void on_piece(struct http_exchange *exchange, const void *bytes, size_t length, void *ctx)
{
    struct state *state = ctx;
    (void)bytes;
    assert(exchange == state->exchange && state->headed && length > 0);
    if (state->pausing)
        http_exchange_pause(exchange);
}

static void on_end(struct http_exchange *exchange, void *ctx)
{
    struct state *state = ctx;
    assert(exchange == state->exchange && state->headed);
    *state = (struct state){.pausing = state->pausing};
}

static void on_fail(struct http_exchange *exchange, enum http_failure failure, bool answered,
    const char *text, void *ctx)
{
    struct state *state = ctx;
    (void)failure;
    assert(exchange == state->exchange && answered == state->headed && text[0]);
    *state = (struct state){.pausing = state->pausing};
}

static void begin(struct http_endpoint *endpoint, struct state *state, uint8_t options)
{
    static const struct http_exchange_callbacks callbacks = {
        .on_head = on_head, .on_piece = on_piece, .on_end = on_end, .on_fail = on_fail};
    bool streamed = options & 4;
    const struct http_exchange_request request = {.method = options & 2 ? "HEAD" : "POST",
        .target = "/",
        .streamed = streamed,
        .length = streamed ? -1 : 0};
    state->exchange = http_exchange_begin(endpoint, &request, &callbacks, state);
    if (streamed)
        (void)http_exchange_write(state->exchange, "abc", 3);
    if (streamed && (options & 8))
        http_exchange_end_body(state->exchange);
}

static void turn(struct event_base *base, struct state *state)
{
    event_base_loop(base, EVLOOP_NONBLOCK);
    if (state->exchange)
        http_exchange_resume(state->exchange);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int pair[2];
    if (size < START || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0)
        return 0;
    struct state state = {.pausing = data[OPTIONS] & 1};
    const struct http_agent_options limits = {.head_bytes_max = INPUT_MAX, .idle_max = 1};
    struct event_base *base = event_base_new();
    struct http_agent *agent = http_agent_create(base, &limits);
    struct http_endpoint *endpoint;
    if (http_endpoint_create(agent, "unix:/nonexistent", (uid_t)-1, &endpoint, NULL) < 0)
        abort();
    struct http_link *link = link_create(endpoint, pair[0]);
    (void)link;
    const uint8_t *next = data + START, *end = data + size;
    for (int i = 0; i <= CUTS; i++) {
        size_t left = (size_t)(end - next);
        size_t piece = i < CUTS ? left * data[i] / 256 : left;
        if (!state.exchange && agent->stats.idle > 0)
            begin(endpoint, &state, data[OPTIONS]);
        ssize_t sent = send(pair[1], next, piece, MSG_NOSIGNAL);
        next += sent > 0 ? sent : 0;
        turn(base, &state);
    }
    close(pair[1]);
    for (int i = 0; i < TURNS || state.exchange; i++)
        turn(base, &state);
    assert(agent->stats.exchanges == 0 && agent->stats.connections == 0);
    http_agent_destroy(agent);
    event_base_free(base);
    return 0;
}
