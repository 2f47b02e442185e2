/* The call to a classifier: POST /classify with the body as it would go to a replica. What it says
 * has to be {"action": "allow"} or {"action": "block"}; everything else is no answer. The whole
 * call has one bound in time, whatever the connection does. */
#include "gateway/relay_guard.h"

#include "base/log.h"
#include "base/memory.h"
#include "gateway/outside.h"
#include "wire/doc.h"
#include "wire/http_agent.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

enum { REPLY_BYTES_MAX = 16 << 10 };

struct guard_ask {
    struct relay *relay;
    struct outside *outside;
    struct http_exchange *exchange;
    struct event timer;
    struct strbuf reply;
    int status;
};

/* ---- asking ---------------------------------------------------------------------------------- */

void guard_ask_cancel(struct guard_ask *ask)
{
    if (!ask)
        return;
    if (ask->exchange)
        http_exchange_cancel(ask->exchange);
    event_del(&ask->timer);
    strbuf_finish(&ask->reply);
    free(ask);
}

static void answered(struct guard_ask *ask, enum guard_answer answer)
{
    struct relay *relay = ask->relay;
    guard_ask_cancel(ask);
    relay_guard_answered(relay, answer);
}

static void on_timeout(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    answered(context, GUARD_NO_ANSWER);
}

static void on_head(struct http_exchange *exchange, const struct http_answer *head, void *context)
{
    struct guard_ask *ask = context;
    (void)exchange;
    ask->status = head->status;
}

static void on_piece(
    struct http_exchange *exchange, const void *bytes, size_t length, void *context)
{
    struct guard_ask *ask = context;
    (void)exchange;
    if (ask->reply.length + length > REPLY_BYTES_MAX)
        answered(ask, GUARD_NO_ANSWER);
    else
        strbuf_append(&ask->reply, bytes, length);
}

static enum guard_answer read_reply(const struct guard_ask *ask)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *doc =
        doc_parse_json(arena, strbuf_text(&ask->reply), ask->reply.length, REPLY_BYTES_MAX, NULL);
    const char *action = doc && doc->type == DOC_MAP ? doc_get_string(doc, "action") : NULL;
    if (ask->status != 200 || !action)
        return GUARD_NO_ANSWER;
    return !strcmp(action, "allow")   ? GUARD_ALLOWED
           : !strcmp(action, "block") ? GUARD_DENIED
                                      : GUARD_NO_ANSWER;
}

static void on_end(struct http_exchange *exchange, void *context)
{
    struct guard_ask *ask = context;
    (void)exchange;
    ask->exchange = NULL;
    answered(ask, read_reply(ask));
}

static bool begin_exchange(struct guard_ask *ask);

static void on_fail(struct http_exchange *exchange, enum http_failure failure, bool begun,
    const char *text, void *context)
{
    struct guard_ask *ask = context;
    (void)exchange, (void)begun, (void)text;
    ask->exchange = NULL;
    /* A kept connection had been closed over there, so that nobody saw the question. There are only
     * so many, and the time goes on. */
    if (failure == HTTP_FAILED_STALE && begin_exchange(ask))
        return;
    answered(ask, GUARD_NO_ANSWER);
}

/* False: the classifier's address is of no use. */
static bool begin_exchange(struct guard_ask *ask)
{
    static const struct http_exchange_callbacks callbacks = {
        on_head, on_piece, on_end, on_fail, NULL};
    const struct relay *relay = ask->relay;
    const struct service_guard *options = &relay->terms->options.guard;
    const struct http_field fields[] = {{"Content-Type", "application/json"},
        {"X-Request-ID", relay->id}, {"X-Muster-Service", relay->terms->service}};
    const struct http_exchange_request request = {.method = "POST",
        .target = "/classify",
        .fields = fields,
        .field_count = ARRAY_LEN(fields),
        .body = strbuf_text(&relay->body.held),
        .length = (int64_t)relay->body.held.length,
        .timeout_ms = options->classifier.timeout_ms};
    struct error err;
    struct http_endpoint *endpoint =
        outside_endpoint(ask->outside, options->classifier.address, &err);
    if (!endpoint) {
        log_warn("the classifier of a guard cannot be asked: %s", err.text);
        return false;
    }
    ask->exchange = http_exchange_begin(endpoint, &request, &callbacks, ask);
    return true;
}

struct guard_ask *guard_ask_begin(struct outside *outside, struct relay *relay)
{
    struct guard_ask *ask = mem_alloc(1, sizeof *ask);
    ask->relay = relay;
    ask->outside = outside;
    evtimer_assign(&ask->timer, relay->view->base, on_timeout, ask);
    /* Without an endpoint the answer, that there is none, comes in the next turn of the loop. */
    int64_t ms = begin_exchange(ask) ? relay->terms->options.guard.classifier.timeout_ms : 0;
    struct timeval wait = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
    evtimer_add(&ask->timer, &wait);
    return ask;
}
