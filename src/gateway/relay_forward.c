/* The exchange with a replica: the request is passed on, the answer streamed back, both as fast as
 * the slower side takes them; what fails before a byte of the answer may be tried elsewhere. */
#include "gateway/answer.h"
#include "gateway/relay.h"
#include "gateway/relay_batch.h"
#include "gateway/relay_care.h"
#include "gateway/relay_trace.h"
#include "gateway/relay_usage.h"

#include "base/clock.h"
#include "base/memory.h"
#include "wire/http.h"
#include "wire/http_agent.h"
#include "wire/http_text.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the request's head ---------------------------------------------------------------------- */

/* Fields that end here: hop by hop (RFC 9110, 7.6.1), the agent's to write, or the client's proof
 * of who it is, which no replica needs to see. */
#define DROPPED_OF_REQUEST                                                                         \
    (HTTP_NAME_BIT(HTTP_NAME_CONNECTION) | HTTP_NAME_BIT(HTTP_NAME_KEEP_ALIVE) |                   \
        HTTP_NAME_BIT(HTTP_NAME_PROXY_CONNECTION) | HTTP_NAME_BIT(HTTP_NAME_PROXY_AUTHORIZATION) | \
        HTTP_NAME_BIT(HTTP_NAME_PROXY_AUTHENTICATE) | HTTP_NAME_BIT(HTTP_NAME_TE) |                \
        HTTP_NAME_BIT(HTTP_NAME_TRAILER) | HTTP_NAME_BIT(HTTP_NAME_TRANSFER_ENCODING) |            \
        HTTP_NAME_BIT(HTTP_NAME_UPGRADE) | HTTP_NAME_BIT(HTTP_NAME_CONTENT_LENGTH) |               \
        HTTP_NAME_BIT(HTTP_NAME_HOST) | HTTP_NAME_BIT(HTTP_NAME_EXPECT) |                          \
        HTTP_NAME_BIT(HTTP_NAME_AUTHORIZATION) | HTTP_NAME_BIT(HTTP_NAME_X_API_KEY) |              \
        HTTP_NAME_BIT(HTTP_NAME_X_REQUEST_ID))
/* The server writes these, or they say something about the connection to the replica, or about all
 * of the gateway's address, which is not for one team's replica to say. */
#define DROPPED_OF_ANSWER                                                                          \
    (HTTP_NAME_BIT(HTTP_NAME_CONNECTION) | HTTP_NAME_BIT(HTTP_NAME_KEEP_ALIVE) |                   \
        HTTP_NAME_BIT(HTTP_NAME_PROXY_CONNECTION) | HTTP_NAME_BIT(HTTP_NAME_PROXY_AUTHENTICATE) |  \
        HTTP_NAME_BIT(HTTP_NAME_TE) | HTTP_NAME_BIT(HTTP_NAME_TRAILER) |                           \
        HTTP_NAME_BIT(HTTP_NAME_TRANSFER_ENCODING) | HTTP_NAME_BIT(HTTP_NAME_UPGRADE) |            \
        HTTP_NAME_BIT(HTTP_NAME_CONTENT_LENGTH) | HTTP_NAME_BIT(HTTP_NAME_DATE) |                  \
        HTTP_NAME_BIT(HTTP_NAME_X_REQUEST_ID) | HTTP_NAME_BIT(HTTP_NAME_X_CONTENT_TYPE_OPTIONS) |  \
        HTTP_NAME_BIT(HTTP_NAME_ALT_SVC) | HTTP_NAME_BIT(HTTP_NAME_CLEAR_SITE_DATA) |              \
        HTTP_NAME_BIT(HTTP_NAME_STRICT_TRANSPORT_SECURITY))

/* Every Connection field names fields that are for one hop only. */
static bool connection_names(const struct http_request *request, const char *name)
{
    struct http_field field;
    for (size_t i = 0; http_request_header_at(request, i, &field); i++) {
        if (field.known == HTTP_NAME_CONNECTION &&
            http_list_has(field.value, field.value_length, name))
            return true;
    }
    return false;
}

/* Answers of the OpenAI API say what is to be counted, and guards read them: they are not to be
 * compressed. */
static uint64_t dropped_of_request(const struct relay *relay)
{
    bool read = relay->target.protocol == PROTOCOL_OPENAI || relay->terms->guards_answers ||
                (relay->care && relay->care->part == CARE_SMALL);
    return DROPPED_OF_REQUEST | (read ? HTTP_NAME_BIT(HTTP_NAME_ACCEPT_ENCODING) : 0);
}

/* Whoever gave it the name, it may be sent: see set_id. */
static struct http_field id_field(const struct relay *relay)
{
    static const char name[] = "X-Request-ID";
    return (struct http_field){
        name, relay->id, true, HTTP_NAME_X_REQUEST_ID, sizeof name - 1, relay->id_length};
}

static struct http_field *request_fields(struct relay *relay, size_t *ret_count)
{
    struct http_field field;
    size_t all = 0, count = 0;
    while (http_request_header_at(relay->request, all, &field))
        all++;
    struct http_field *fields = arena_alloc(
        http_request_arena(relay->request), all + 2 + RELAY_TRACE_FIELDS, sizeof *fields);
    bool connection = http_request_known(relay->request, HTTP_NAME_CONNECTION) != NULL;
    uint64_t dropped = dropped_of_request(relay);
    for (size_t i = 0; http_request_header_at(relay->request, i, &field); i++) {
        if (!http_name_among(field.known, dropped) &&
            !(relay->care && field.known == HTTP_NAME_OTHER &&
                relay_deadline_owns(relay, field.name)) &&
            !(connection && connection_names(relay->request, field.name)) &&
            !(relay->trace && relay_trace_replaces(field.name)))
            fields[count++] = field;
    }
    fields[count++] = id_field(relay);
    if (relay->care)
        count += relay_deadline_field(relay, &fields[count]);
    if (relay->trace)
        count += relay_trace_fields(relay, fields + count);
    *ret_count = count;
    return fields;
}

/* The path without the version, which is the gateway's business: a replica serves one. */
const char *relay_upstream_target(struct relay *relay)
{
    struct arena *arena = http_request_arena(relay->request);
    const char *query = strchr(http_request_target(relay->request), '?');
    query = query ? query : "";
    bool by_body = relay->target.ask == ASK_FORWARD_BODY;
    const char *const parts[] = {by_body ? "" : "/v2/models/", by_body ? "" : relay->terms->route,
        relay->target.verb, query};
    size_t length = 0;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        length += strlen(parts[i]);
    char *target = arena_alloc(arena, length + 1, 1), *end = target;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        end = stpcpy(end, parts[i]);
    return target;
}

/* ---- attempts -------------------------------------------------------------------------------- */

/* What the attempt says of its replica. */
static void note_outcome(struct relay *relay, bool failed, int64_t now_ns)
{
    replica_state_outcome(
        relay->attempt.state, failed, relay->terms->options.routing.failures, now_ns / 1000000);
}

/* The exchange has ended by itself: it must not be cancelled any more. */
static void attempt_close(struct relay *relay, bool failed, int64_t now_ns)
{
    struct relay_attempt *attempt = &relay->attempt;
    int64_t took_ns = now_ns - attempt->began_ns;
    attempt->exchange = NULL;
    if (relay->trace)
        relay_trace_attempt_over(relay, now_ns, failed ? 0 : relay->answer.status);
    usage_add(&attempt->counts->busy_us, (uint64_t)took_ns / 1000);
    relay->times.model_ns += took_ns;
    if (relay->batch_counts)
        relay_batch_attempt_over(relay);
    replica_state_done(attempt->state, failed);
    attempt->state = NULL;
}

void relay_attempt_close(struct relay *relay, bool failed)
{
    attempt_close(relay, failed, clock_held_ns());
}

void relay_attempt_end(struct relay *relay, bool failed)
{
    if (relay->care)
        relay_hedge_leave(relay);
    if (!relay->attempt.exchange)
        return;
    http_exchange_cancel(relay->attempt.exchange);
    relay_attempt_close(relay, failed);
}

void relay_attempt_late(struct relay *relay)
{
    if (relay->attempt.exchange)
        note_outcome(relay, true, clock_held_ns());
    relay_attempt_end(relay, true);
}

static bool may_retry(struct relay *relay, enum http_failure failure)
{
    if (relay->body.let_go || relay->terms->options.retry == RETRY_NEVER)
        return false;
    if (failure == HTTP_FAILED_CONNECT)
        return true;
    return relay->terms->options.retry == RETRY_SAFE && relay->sent < RELAY_ATTEMPTS_MAX &&
           (failure == HTTP_FAILED_STALE || failure == HTTP_FAILED_CLOSED) &&
           (failure == HTTP_FAILED_STALE || terms_may_retry(relay->terms, relay->view->number));
}

static void refuse_failure(struct relay *relay, enum http_failure failure, const char *text)
{
    if (failure == HTTP_FAILED_TIMEOUT)
        relay_refuse(relay, 504, "timeout", "the replica did not answer in time");
    else if (failure == HTTP_FAILED_CONNECT)
        relay_refuse_absent(relay);
    else
        relay_refuse(relay, 502, "bad_gateway", "the replica failed: %s", text);
}

static void on_fail(struct http_exchange *exchange, enum http_failure failure, bool answered,
    const char *text, void *context)
{
    struct relay *relay = context;
    int64_t now_ns = http_exchange_now_ns(exchange);
    struct replica_state *state = relay->attempt.state;
    if (failure == HTTP_FAILED_CONNECT)
        replica_state_refused(state, now_ns / 1000000);
    else
        relay->sent++;
    if (failure != HTTP_FAILED_CONNECT && failure != HTTP_FAILED_STALE)
        note_outcome(relay, true, now_ns);
    attempt_close(relay, true, now_ns);
    if (relay->care && relay_hedge_takes_over(relay))
        return;
    if (relay->care)
        relay_hedge_leave(relay);
    if (!answer_break(relay))
        return;
    balance_note(&relay->tried, relay->attempt.replica);
    if (answered || !may_retry(relay, failure)) {
        refuse_failure(relay, failure, text);
        return;
    }
    usage_add(&relay->attempt.counts->retried, 1);
    figure_add(relay->view->figures, FIGURE_RETRIED, 1);
    relay->retries++;
    relay->again = failure != HTTP_FAILED_CONNECT;
    relay_choose_again(relay);
}

/* ---- the answer ------------------------------------------------------------------------------ */

/* Those of the answer that are for the client, in the request's arena. */
static struct http_field *answer_fields(
    struct relay *relay, const struct http_answer *answer, size_t *ret_count)
{
    struct arena *arena = http_request_arena(relay->request);
    struct http_field *fields = arena_alloc(arena, answer->field_count + 1, sizeof *fields);
    size_t count = 0;
    for (size_t i = 0; i < answer->field_count; i++) {
        struct http_field field = answer->fields[i];
        if (http_name_among(field.known, DROPPED_OF_ANSWER))
            continue;
        field.name = arena_strndup(arena, field.name, field.name_length);
        field.value = arena_strndup(arena, field.value, field.value_length);
        fields[count++] = field;
    }
    fields[count++] = id_field(relay);
    *ret_count = count;
    return fields;
}

static void pause_exchange(struct relay *relay)
{
    if (relay->attempt.exchange)
        http_exchange_pause(relay->attempt.exchange);
}

static void resume_exchange(struct relay *relay)
{
    if (relay->attempt.exchange)
        http_exchange_resume(relay->attempt.exchange);
}

static void on_head(struct http_exchange *exchange, const struct http_answer *head, void *context)
{
    static const struct answer_source source = {pause_exchange, resume_exchange};
    struct relay *relay = context;
    size_t count;
    relay->sent++;
    int64_t now_ns = http_exchange_now_ns(exchange);
    replica_state_answered(relay->attempt.state);
    replica_state_measure(
        relay->attempt.state, (now_ns - relay->attempt.began_ns) / 1000, now_ns / 1000000);
    if (head->status < 200 || head->status > 599) {
        relay_attempt_end(relay, true);
        relay_refuse(relay, 502, "bad_gateway", "the replica answered with a status of its own");
        return;
    }
    if (relay->care && !relay_care_head(relay, head->status))
        return;
    struct http_field *fields = answer_fields(relay, head, &count);
    relay->answer.until_close = head->until_close;
    answer_begin(relay, head->status, fields, count, head->length, &source);
}

static void on_answer_piece(
    struct http_exchange *exchange, const void *bytes, size_t length, void *context)
{
    (void)exchange;
    (void)answer_piece(context, bytes, length);
}

static void on_answer_end(struct http_exchange *exchange, void *context)
{
    if (answer_is_part(context)) {
        on_fail(exchange, HTTP_FAILED_CLOSED, true,
            "it closed the connection in the middle of its stream", context);
        return;
    }
    int64_t now_ns = http_exchange_now_ns(exchange);
    note_outcome(context, ((struct relay *)context)->answer.status >= 500, now_ns);
    attempt_close(context, false, now_ns);
    answer_end(context);
}

static void on_replica_drain(struct http_exchange *exchange, void *context)
{
    struct relay *relay = context;
    (void)exchange;
    /* Bytes have left: from here on the replica has seen part of the body. */
    relay_body_let_go(relay);
}

const struct http_exchange_callbacks relay_exchange_callbacks = {
    on_head, on_answer_piece, on_answer_end, on_fail, on_replica_drain};

/* ---- the stage ------------------------------------------------------------------------------- */

void relay_forward_piece(struct relay *relay, const char *bytes, size_t length)
{
    if (!relay->attempt.streamed)
        return;
    if (!relay_usage_write(relay, bytes, length)) {
        relay->body.paused = true;
        http_request_pause(relay->request);
    }
}

static void begin_attempt(struct relay *relay, const struct table_replica *replica)
{
    struct relay_attempt *attempt = &relay->attempt;
    attempt->counts = relay_counts_of(relay, replica->route->version, replica->route->replica);
    attempt->state = replica->state;
    attempt->replica = replica->route->replica;
    attempt->version = replica->route->version;
    attempt->began_ns = clock_held_ns();
    attempt->streamed = !relay->body.ended;
    if (relay->trace)
        relay_trace_attempt(relay, attempt->began_ns);
    replica_state_begin(replica->state);
    if (relay->batch_counts)
        relay_batch_attempt_begun(relay);
}

static void begin_exchange(struct relay *relay, struct http_endpoint *endpoint,
    const struct http_exchange_callbacks *callbacks)
{
    struct relay_attempt *attempt = &relay->attempt;
    struct relay_body *body = &relay->body;
    struct http_exchange_request request = {.method = http_request_method(relay->request),
        .target = relay_upstream_target(relay),
        .streamed = attempt->streamed,
        .timeout_ms = relay->terms->options.timeout_ms};
    request.fields = request_fields(relay, &request.field_count);
    if (attempt->streamed) {
        size_t room = relay_usage_room(relay);
        request.length = http_request_body_length(relay->request);
        if (request.length >= 0)
            request.length += (int64_t)room;
    } else if (relay->target.has_body) {
        request.body = strbuf_text(&body->held);
        request.length = (int64_t)body->held.length;
    }
    attempt->exchange = http_exchange_begin(endpoint, &request, callbacks, relay);
    if (attempt->streamed && relay_usage_write(relay, body->held.text, body->held.length))
        relay_body_let_go(relay);
}

bool relay_attempt_begin(struct relay *relay, const struct table_replica *replica,
    const struct http_exchange_callbacks *callbacks)
{
    struct http_endpoint *endpoint = gateway_worker_endpoint(relay->worker, replica);
    if (!endpoint)
        return false;
    begin_attempt(relay, replica);
    begin_exchange(relay, endpoint, callbacks);
    return true;
}

enum stage_result relay_stage_forward(struct relay *relay)
{
    if (relay->care && !relay_deadline_may_send(relay))
        return STAGE_ENDED;
    if (!relay_attempt_begin(relay, relay->picked, &relay_exchange_callbacks)) {
        relay_refuse_absent(relay);
        return STAGE_ENDED;
    }
    if (relay->care)
        relay_hedge_arm(relay);
    return STAGE_WAITS;
}
