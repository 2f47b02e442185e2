/* Requests: the public calls of an exchange, see http_agent.h. */
#include "wire/http_agent_internal.h"

#include "wire/http_text.h"

#include <string.h>

/* ------- the head of a request ------- */

/* What the agent itself writes, or does not pass on. */
#define AGENTS_OWN                                                                                 \
    (HTTP_NAME_BIT(HTTP_NAME_CONTENT_LENGTH) | HTTP_NAME_BIT(HTTP_NAME_TRANSFER_ENCODING) |        \
        HTTP_NAME_BIT(HTTP_NAME_CONNECTION) | HTTP_NAME_BIT(HTTP_NAME_KEEP_ALIVE) |                \
        HTTP_NAME_BIT(HTTP_NAME_TE) | HTTP_NAME_BIT(HTTP_NAME_TRAILER) |                           \
        HTTP_NAME_BIT(HTTP_NAME_UPGRADE) | HTTP_NAME_BIT(HTTP_NAME_PROXY_CONNECTION))

/* Whether all bytes of a target may be sent: visible ASCII. */
static bool target_valid(const char *target)
{
    size_t length = strlen(target);
    return length > 0 && http_visible_valid(target, length);
}

static void put_host(struct http_buffer *out, const char *authority)
{
    if (!authority) {
        http_buffer_puts(out, "Host: muster\r\n");
        return;
    }
    http_buffer_puts(out, "Host: ");
    http_buffer_puts(out, authority);
    http_buffer_puts(out, "\r\n");
}

static bool put_fields(struct http_buffer *out, const struct http_exchange_request *request,
    const struct http_endpoint *endpoint)
{
    bool has_host = false;
    for (size_t i = 0; i < request->field_count; i++) {
        struct http_field field = http_field_known(request->fields[i]);
        assert(!http_name_among(field.known, AGENTS_OWN));
        if (!http_field_valid(&field))
            return false;
        has_host |= field.known == HTTP_NAME_HOST;
        http_buffer_put_field(out, field.name, field.name_length, field.value, field.value_length);
    }
    if (!has_host)
        put_host(out, endpoint->authority);
    return true;
}

/* A request without a body says so where its method makes one expect one (RFC 9110 8.6). */
static bool method_expects_body(const char *method)
{
    return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
           strcmp(method, "PATCH") == 0;
}

static void put_framing(struct http_buffer *out, const struct http_exchange_request *request)
{
    if (request->streamed && request->length < 0)
        http_buffer_puts(out, "Transfer-Encoding: chunked\r\n");
    else if (request->length > 0 || request->streamed || method_expects_body(request->method))
        http_buffer_put_length(out, (uint64_t)request->length);
    http_buffer_append(out, "\r\n", 2);
}

/* False when it may not be sent: what comes from strangers could otherwise say something of its
 * own to the peer. */
static bool put_head(struct http_buffer *out, const struct http_exchange_request *request,
    const struct http_endpoint *endpoint)
{
    if (!http_token_valid(request->method, strlen(request->method)) ||
        !target_valid(request->target))
        return false;
    http_buffer_puts(out, request->method);
    http_buffer_append(out, " ", 1);
    http_buffer_puts(out, request->target);
    http_buffer_puts(out, " HTTP/1.1\r\n");
    if (!put_fields(out, request, endpoint))
        return false;
    put_framing(out, request);
    return true;
}

/* ------- an exchange ------- */

static void exchange_init(struct http_exchange *exchange,
    const struct http_exchange_request *request, const struct http_exchange_callbacks *callbacks,
    void *ctx)
{
    assert(!exchange->open && callbacks->on_head && callbacks->on_piece && callbacks->on_end &&
           callbacks->on_fail);
    assert(request->streamed ? !request->body && request->length >= -1
                             : request->length >= 0 && (request->body || request->length == 0));
    *exchange = (struct http_exchange){
        .open = true,
        .callbacks = *callbacks,
        .ctx = ctx,
        .timeout_ms = request->timeout_ms ? request->timeout_ms : 60 * 1000,
        .to_head = strcmp(request->method, "HEAD") == 0,
        .streamed = request->streamed,
        .chunked = request->streamed && request->length < 0,
        .body_left = request->streamed && request->length > 0 ? (uint64_t)request->length : 0,
        .request_complete = !request->streamed,
    };
}

/* The link used last: its caches are warm, and those that are not needed run out of time. */
static struct http_link *link_reuse(struct http_endpoint *endpoint)
{
    struct http_link *link = LIST_FIRST(&endpoint->idle);
    LIST_REMOVE(link, idle);
    endpoint->idle_count--;
    endpoint->agent->stats.idle--;
    endpoint->agent->stats.reused++;
    link->state = LINK_BUSY;
    return link;
}

static struct http_link *link_get(struct http_endpoint *endpoint)
{
    struct http_agent *agent = endpoint->agent;
    if (!LIST_EMPTY(&endpoint->idle))
        return link_reuse(endpoint);
    struct http_link *link = link_create(endpoint, -1);
    link->give_up_ms = link_now_ms() + agent->options.connect_ms;
    return link;
}

/* A large body is sent at once, from where it is. What is small waits for the end of the loop's
 * turn, with what other links have by then: the requests reach the peer in a row, and it is woken
 * once. So does the head of a streamed request, whose first piece most likely follows at once. */
static void request_send(
    struct http_link *link, const struct http_exchange_request *request, struct http_buffer *head)
{
    size_t body = request->streamed ? 0 : (size_t)request->length;
    const struct iovec parts[] = {
        {head->bytes + head->start, http_buffer_length(head)},
        {(void *)request->body, body},
    };
    if (body >= DIRECT_BYTES) {
        link_send(link, parts, ARRAY_LEN(parts));
        return;
    }
    spares_buffer(&link_agent(link)->spares, &link->output);
    http_buffer_append(&link->output, parts[0].iov_base, parts[0].iov_len);
    http_buffer_append(&link->output, request->body, body);
    link_attend(link);
}

struct http_exchange *http_exchange_begin(struct http_endpoint *endpoint,
    const struct http_exchange_request *request, const struct http_exchange_callbacks *callbacks,
    void *ctx)
{
    struct http_agent *agent = endpoint->agent;
    struct http_buffer *head = &agent->head;
    assert(!endpoint->released);
    http_buffer_consume(head, http_buffer_length(head));
    bool safe = put_head(head, request, endpoint);
    struct http_link *link = safe ? link_get(endpoint) : link_create(endpoint, -1);
    struct http_exchange *exchange = &link->exchange;
    exchange_init(exchange, request, callbacks, ctx);
    agent->stats.exchanges++;
    agent->now_ms = link_now_ms();
    exchange->unsafe = !safe;
    if (exchange->unsafe) {
        link_attend(link);
        return exchange;
    }
    if (link->state == LINK_CONNECTING)
        link_dial(link);
    link->deadline_ms = 0;
    request_send(link, request, head);
    link_settle(link);
    return exchange;
}

/* ------- its body ------- */

bool http_exchange_write(struct http_exchange *exchange, const void *bytes, size_t length)
{
    struct http_link *link = exchange_link(exchange);
    char size[HTTP_DIGITS_MAX];
    assert(exchange->open && exchange->streamed && !exchange->request_complete);
    assert(exchange->chunked || length <= exchange->body_left);
    if (length == 0 || exchange->unsafe)
        return !exchange->wants_drain;
    exchange->body_left -= exchange->chunked ? 0 : length;
    size_t digits = exchange->chunked ? http_chunk_size(size, length) : 0;
    const struct iovec parts[] = {
        {size, digits},
        {(void *)bytes, length},
        {(void *)"\r\n", exchange->chunked ? 2 : 0},
    };
    if (length >= DIRECT_BYTES) {
        link_send(link, parts, ARRAY_LEN(parts));
    } else if (!link->write_broken) {
        for (size_t i = 0; i < ARRAY_LEN(parts); i++)
            http_buffer_append(&link->output, parts[i].iov_base, parts[i].iov_len);
        link_attend(link);
    }
    exchange->wants_drain =
        http_buffer_length(&link->output) >= link_agent(link)->options.output_bytes_high;
    return !exchange->wants_drain;
}

void http_exchange_end_body(struct http_exchange *exchange)
{
    struct http_link *link = exchange_link(exchange);
    assert(exchange->open && exchange->streamed && !exchange->request_complete);
    assert(exchange->body_left == 0);
    exchange->request_complete = true;
    if (exchange->chunked && !link->write_broken)
        http_buffer_append(&link->output, "0\r\n\r\n", 5);
    link_attend(link);
}

void http_exchange_pause(struct http_exchange *exchange)
{
    assert(exchange->open);
    exchange->paused = true;
}

void http_exchange_resume(struct http_exchange *exchange)
{
    assert(exchange->open);
    exchange->paused = false;
    link_attend(exchange_link(exchange));
}

int64_t http_exchange_now_ns(const struct http_exchange *exchange)
{
    const struct http_agent *agent = link_agent(exchange_link(exchange));
    assert(agent->serving);
    return agent->now_ns;
}

void http_exchange_cancel(struct http_exchange *exchange)
{
    assert(exchange->open);
    link_destroy(exchange_link(exchange));
}
