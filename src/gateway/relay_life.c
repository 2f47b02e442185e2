/* How a request begins, and what is left of it in the end. See relay.h. */
#include "gateway/answer.h"
#include "gateway/relay.h"
#include "gateway/relay_batch.h"
#include "gateway/relay_cache.h"
#include "gateway/relay_care.h"
#include "gateway/relay_guard.h"
#include "gateway/relay_hold.h"
#include "gateway/relay_trace.h"
#include "gateway/relay_turn.h"
#include "gateway/relay_usage.h"

#include "base/clock.h"
#include "base/memory.h"
#include "wire/http.h"

#include <assert.h>
#include <event2/event.h>
#include <string.h>

enum { ID_LENGTH = 32 };

/* ---- begin and end --------------------------------------------------------------------------- */

/* Eight digits at once, in an order of their own: each half byte becomes a byte, and those above 9
 * get the distance from ':' to 'a' as well. */
static void put_hex8(char out[8], uint32_t number)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t word = number;
    word = (word | word << 16) & UINT64_C(0x0000ffff0000ffff);
    word = (word | word << 8) & UINT64_C(0x00ff00ff00ff00ff);
    word = (word | word << 4) & (ones * 0x0f);
    uint64_t letters = (word + ones * 6) >> 4 & ones;
    word += ones * '0' + letters * ('a' - '9' - 1);
    memcpy(out, &word, sizeof word);
}

/* Never the same twice: what the worker drew at its start, and a number that comes once in 2^64. It
 * is a name and no secret. */
static void make_id(char id[ID_LENGTH + 1], struct worker_view *view)
{
    const uint64_t halves[] = {view->names_begin, prng_next(&view->names)};
    for (size_t i = 0; i < 4; i++)
        put_hex8(id + 8 * i, (uint32_t)(halves[i / 2] >> i % 2 * 32));
    id[ID_LENGTH] = '\0';
}

/* The client's, if it can be a header's value and a log's; else one of our own. */
static void set_id(struct relay *relay)
{
    const char *given = http_request_known(relay->request, HTTP_NAME_X_REQUEST_ID);
    size_t length = given ? strlen(given) : 0;
    bool fine = length > 0 && length < sizeof relay->id;
    for (size_t i = 0; fine && i < length; i++)
        fine = given[i] > 0x20 && given[i] < 0x7f;
    if (fine)
        memcpy(relay->id, given, length + 1);
    else
        make_id(relay->id, relay->view);
    relay->id_length = (uint32_t)(fine ? length : ID_LENGTH);
}

/* The client went away. */
static void on_cancel(void *context)
{
    struct relay *relay = context;
    relay_attempt_end(relay, false);
    relay_cache_leave(relay, true);
    relay_account(relay, RELAY_CANCELLED);
    relay_free(relay);
}

static struct relay *relay_create(struct gateway_worker *worker, struct http_request *request)
{
    struct relay *relay = relay_alloc(gateway_worker_view(worker));
    relay->worker = worker;
    relay->request = request;
    relay->began_ns = clock_held_ns();
    set_id(relay);
    if (relay->view->tracer)
        relay_trace_begin(relay);
    figure_add(relay->view->figures, FIGURE_OPEN, 1);
    http_request_on_cancel(request, on_cancel, relay);
    return relay;
}

void relay_throttle(
    struct gateway_worker *worker, struct http_request *request, uint32_t retry_after_s)
{
    struct relay *relay = relay_create(worker, request);
    relay->target.protocol = target_protocol(http_request_path(request));
    relay->retry_after_s = retry_after_s;
    relay_refuse(relay, 429, "rate_limit_exceeded", "too many requests from this address");
}

void relay_begin(struct gateway_worker *worker, struct http_request *request)
{
    struct relay *relay = relay_create(worker, request);
    const char *path = http_request_path(request), *allow = NULL;
    int status = target_find(http_request_method(request), path, &relay->target, &allow);
    if (status == 200) {
        relay_go(relay);
        return;
    }
    relay->target.protocol = target_protocol(path);
    relay->allow = allow;
    if (status == 204)
        relay_respond(relay, 204, NULL, NULL, 0);
    else if (status == 405)
        relay_refuse(relay, 405, "method_not_allowed", "this path takes %s", allow);
    else
        relay_refuse(relay, 404, "not_found", "there is no such path here");
}

/* Whether there is anything for leave_all: most relays took part in nothing. */
static bool took_part(const struct relay *relay)
{
    return relay->cache || relay->batch || relay->turn.state != TURN_NONE || relay->is_held ||
           relay->is_waiting || relay->timer.ev_base || relay->care || relay->guard ||
           relay->usage.ask;
}

static void leave_all(struct relay *relay)
{
    relay_cache_leave(relay, false);
    relay_batch_leave(relay);
    relay_turn_leave(relay);
    relay_hold_leave(relay);
    relay_stop_waiting(relay);
    if (event_initialized(&relay->timer))
        event_del(&relay->timer);
}

void relay_free(struct relay *relay)
{
    bool took = took_part(relay);
    assert(!relay->attempt.exchange);
    if (took)
        leave_all(relay);
    relay->view->held_bytes -= relay->body.held.length;
    figure_set(relay->view->figures, FIGURE_HELD_BYTES, relay->view->held_bytes);
    figure_add(relay->view->figures, FIGURE_OPEN, -1);
    strbuf_finish(&relay->body.held);
    if (relay->answer.steps)
        answer_finish(relay);
    if (relay->care)
        relay_care_free(relay);
    if (relay->terms)
        terms_drop(relay->terms, relay->view->number);
    if (took) {
        relay_guard_free(relay);
        relay_usage_free(relay);
    }
    relay_keep(relay);
}
