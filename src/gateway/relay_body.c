/* The body of a request: held while it is small, passed on in pieces when it is not. */
#include "gateway/relay.h"

#include "base/memory.h"
#include "wire/http.h"

#include <assert.h>
#include <stdint.h>

/* False when the relay has ended. */
static bool hold(struct relay *relay, const char *bytes, size_t length)
{
    struct worker_view *view = relay->view;
    if (view->held_bytes + length > WORKER_HELD_BYTES_MAX) {
        relay_refuse(relay, 503, "overloaded", "too many bodies are held here; try again");
        return false;
    }
    view->held_bytes += length;
    figure_set(view->figures, FIGURE_HELD_BYTES, view->held_bytes);
    strbuf_append(&relay->body.held, bytes, length);
    return true;
}

/* False when the relay has ended. */
static bool scan(struct relay *relay, const char *bytes, size_t length)
{
    struct relay_body *body = &relay->body;
    if (body->scanned || relay->target.ask != ASK_FORWARD_BODY)
        return true;
    enum model_scan_result result =
        bytes ? model_scan_feed(&body->scan, bytes, length) : model_scan_end(&body->scan);
    if (result == MODEL_SCAN_FAULT) {
        relay_refuse(relay, 400, "invalid_body",
            "the body has to be a JSON object with a \"model\": %s", body->scan.fault);
        return false;
    }
    body->scanned = result == MODEL_SCAN_FOUND;
    return true;
}

static void refuse_length(struct relay *relay)
{
    bool begun = relay->answer.begun;
    relay_attempt_end(relay, false);
    if (!begun) {
        relay_refuse(relay, 413, "request_too_large", "the body may have at most %lld bytes",
            (long long)relay->body.bytes_max);
        return;
    }
    relay_account(relay, RELAY_BROKEN);
    http_request_abort(relay->request);
    relay_free(relay);
}

static void on_piece(struct http_request *request, const char *bytes, size_t length, void *context)
{
    struct relay *relay = context;
    struct relay_body *body = &relay->body;
    (void)request;
    body->received += (int64_t)length;
    body->ended = bytes == NULL;
    if (body->received > body->bytes_max) {
        refuse_length(relay);
        return;
    }
    if (relay->attempt.exchange) {
        relay_forward_piece(relay, bytes, length);
        return;
    }
    /* Between two attempts nothing comes: the body was paused, or has ended. */
    if (!scan(relay, bytes, length) || (bytes && !hold(relay, bytes, length)))
        return;
    if (!body->paused)
        relay_go(relay);
}

static void pause_body(struct relay *relay)
{
    if (relay->body.paused || relay->body.ended)
        return;
    relay->body.paused = true;
    http_request_pause(relay->request);
}

static void begin_body(struct relay *relay)
{
    if (relay->body.begun)
        return;
    relay->body.begun = true;
    /* Our own bound answers in the protocol's shape, the server's would not. */
    http_request_read(relay->request, SIZE_MAX, on_piece, relay);
}

enum stage_result relay_stage_model(struct relay *relay)
{
    if (relay->target.ask != ASK_FORWARD_BODY || relay->body.scanned)
        return STAGE_DONE;
    if (!relay->body.begun) {
        /* Until the service is known no service's bound holds but the largest. */
        relay->body.bytes_max = route_table_openai_body_max(relay->view->table);
        if (http_request_body_length(relay->request) > relay->body.bytes_max) {
            relay_refuse(relay, 413, "request_too_large", "the body may have at most %lld bytes",
                (long long)relay->body.bytes_max);
            return STAGE_ENDED;
        }
        model_scan_init(&relay->body.scan);
        begin_body(relay);
    }
    return STAGE_WAITS;
}

enum stage_result relay_stage_body(struct relay *relay)
{
    struct relay_body *body = &relay->body;
    if (!relay->target.has_body) {
        body->ended = true;
        return STAGE_DONE;
    }
    begin_body(relay);
    if (body->ended)
        return STAGE_DONE;
    if (body->held.length < WORKER_HOLD_BYTES)
        return STAGE_WAITS;
    pause_body(relay);
    return STAGE_DONE;
}

void relay_body_let_go(struct relay *relay)
{
    struct relay_body *body = &relay->body;
    relay->view->held_bytes -= body->held.length;
    figure_set(relay->view->figures, FIGURE_HELD_BYTES, relay->view->held_bytes);
    strbuf_finish(&body->held);
    body->let_go = true;
    if (body->paused && !body->ended) {
        body->paused = false;
        http_request_resume(relay->request);
    }
}
