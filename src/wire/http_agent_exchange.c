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

enum { FRAMING_BYTES_MAX = 64 }; /* of put_framing, a number of any size included */

/* What a head is made of, judged and measured once; it is written after that, where it is sent
 * from. */
struct head_plan {
    size_t method_length, target_length;
    const char *host; /* NULL: it is among the fields */
    size_t host_length;
    size_t length; /* room for all of it */
};

/* Judges the fields and adds up what they take. False: one of them may not be sent. */
static bool plan_fields(struct head_plan *plan, const struct http_exchange_request *request)
{
    for (size_t i = 0; i < request->field_count; i++) {
        const struct http_field *field = &request->fields[i];
        struct http_field judged;
        if (!field->parsed) {
            judged = http_field_known(*field);
            field = &judged;
            if (!http_field_valid(field))
                return false;
        }
        assert(!http_name_among(field->known, AGENTS_OWN));
        if (field->known == HTTP_NAME_HOST)
            plan->host = NULL;
        plan->length += (size_t)field->name_length + field->value_length + 4;
    }
    return true;
}

/* False when it may not be sent: what comes from strangers could otherwise say something of its
 * own to the peer. Of a target all bytes have to be visible ASCII. */
static bool plan_head(struct head_plan *plan, const struct http_exchange_request *request,
    const struct http_endpoint *endpoint)
{
    static const char parts[] = "  HTTP/1.1\r\nHost: \r\n";
    size_t method = strlen(request->method), target = strlen(request->target);
    const char *host = endpoint->authority ? endpoint->authority : "muster";
    *plan = (struct head_plan){method, target, host, strlen(host), 0};
    plan->length = method + target + plan->host_length + sizeof parts + FRAMING_BYTES_MAX;
    return http_token_valid(request->method, method) && target > 0 &&
           http_visible_valid(request->target, target) && plan_fields(plan, request);
}

static char *put(char *at, const void *bytes, size_t length)
{
    memcpy(at, bytes, length);
    return at + length;
}

#define PUT_TEXT(at, text) put(at, text, sizeof(text) - 1)

static char *put_fields(char *at, const struct http_exchange_request *request)
{
    for (size_t i = 0; i < request->field_count; i++) {
        const struct http_field *field = &request->fields[i];
        at = put(at, field->name, field->parsed ? field->name_length : strlen(field->name));
        at = PUT_TEXT(at, ": ");
        at = put(at, field->value, field->parsed ? field->value_length : strlen(field->value));
        at = PUT_TEXT(at, "\r\n");
    }
    return at;
}

/* A request without a body says so where its method makes one expect one (RFC 9110 8.6). */
static bool method_expects_body(const char *method)
{
    return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
           strcmp(method, "PATCH") == 0;
}

static char *put_framing(char *at, const struct http_exchange_request *request)
{
    if (request->streamed && request->length < 0) {
        at = PUT_TEXT(at, "Transfer-Encoding: chunked\r\n");
    } else if (request->length > 0 || request->streamed || method_expects_body(request->method)) {
        char room[HTTP_DIGITS_MAX], *digits = http_digits(room, (uint64_t)request->length);
        at = PUT_TEXT(at, "Content-Length: ");
        at = put(at, digits, (size_t)(room + HTTP_DIGITS_MAX - digits));
        at = PUT_TEXT(at, "\r\n");
    }
    return PUT_TEXT(at, "\r\n");
}

/* Writes the head that was planned, with room behind it for `more` bytes. */
static void put_head(struct http_buffer *out, const struct head_plan *plan,
    const struct http_exchange_request *request, size_t more)
{
    char *start = http_buffer_reserve(out, plan->length + more), *at = start;
    at = put(at, request->method, plan->method_length);
    *at++ = ' ';
    at = put(at, request->target, plan->target_length);
    at = PUT_TEXT(at, " HTTP/1.1\r\n");
    at = put_fields(at, request);
    if (plan->host) {
        at = PUT_TEXT(at, "Host: ");
        at = put(at, plan->host, plan->host_length);
        at = PUT_TEXT(at, "\r\n");
    }
    at = put_framing(at, request);
    assert((size_t)(at - start) <= plan->length);
    out->end += (size_t)(at - start);
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
static void request_send(struct http_link *link, const struct head_plan *plan,
    const struct http_exchange_request *request)
{
    struct http_agent *agent = link_agent(link);
    size_t body = request->streamed ? 0 : (size_t)request->length;
    if (body >= DIRECT_BYTES) {
        struct http_buffer *head = &agent->head;
        http_buffer_consume(head, http_buffer_length(head));
        put_head(head, plan, request, 0);
        const struct iovec parts[] = {
            {head->bytes + head->start, http_buffer_length(head)},
            {(void *)request->body, body},
        };
        link_send(link, parts, ARRAY_LEN(parts));
        return;
    }
    spares_buffer(&agent->spares, &link->output);
    put_head(&link->output, plan, request, body);
    http_buffer_append(&link->output, request->body, body);
    link_attend(link);
}

struct http_exchange *http_exchange_begin(struct http_endpoint *endpoint,
    const struct http_exchange_request *request, const struct http_exchange_callbacks *callbacks,
    void *ctx)
{
    struct http_agent *agent = endpoint->agent;
    struct head_plan plan;
    assert(!endpoint->released);
    bool safe = plan_head(&plan, request, endpoint);
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
    request_send(link, &plan, request);
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
