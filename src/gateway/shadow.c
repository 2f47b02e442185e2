/* Copies of requests: see shadow.h. A copy is freed once its exchange is over, after it told so. */
#include "gateway/shadow.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "gateway/table.h"
#include "gateway/worker.h"
#include "wire/http_agent.h"

#include <stdlib.h>
#include <sys/queue.h>

struct shadow {
    TAILQ_ENTRY(shadow) link;
    struct shadow_sender *sender;
    struct replica_state *state;
    struct http_exchange *exchange;
    shadow_done_fn *done;
    void *context;
    int64_t began_ns;
    int status;
    bool cut;
    struct strbuf bytes;
};

struct shadow_sender {
    struct gateway_worker *worker;
    TAILQ_HEAD(, shadow) under_way;
    size_t count, held;
};

static void finish(struct shadow *shadow, bool failed)
{
    struct shadow_sender *sender = shadow->sender;
    const struct shadow_answer answer = {
        .status = failed ? 0 : shadow->status,
        .bytes = strbuf_text(&shadow->bytes),
        .length = shadow->bytes.length,
        .cut = shadow->cut,
        .took_us = (clock_monotonic_ns() - shadow->began_ns) / 1000,
    };
    TAILQ_REMOVE(&sender->under_way, shadow, link);
    sender->count--;
    sender->held -= shadow->bytes.length;
    replica_state_done(shadow->state, failed);
    shadow->done(shadow->context, &answer);
    strbuf_finish(&shadow->bytes);
    free(shadow);
}

static void on_head(struct http_exchange *exchange, const struct http_answer *head, void *context)
{
    (void)exchange;
    ((struct shadow *)context)->status = head->status;
}

static void on_piece(
    struct http_exchange *exchange, const void *bytes, size_t length, void *context)
{
    struct shadow *shadow = context;
    (void)exchange;
    if (shadow->bytes.length + length > SHADOW_ANSWER_BYTES_MAX ||
        shadow->sender->held + length > SHADOW_HELD_BYTES_MAX)
        shadow->cut = true;
    if (shadow->cut)
        return;
    strbuf_append(&shadow->bytes, bytes, length);
    shadow->sender->held += length;
}

static void on_end(struct http_exchange *exchange, void *context)
{
    (void)exchange;
    finish(context, false);
}

static void on_fail(struct http_exchange *exchange, enum http_failure failure, bool answered,
    const char *text, void *context)
{
    (void)exchange, (void)failure, (void)answered, (void)text;
    finish(context, true);
}

bool shadow_send(struct shadow_sender *sender, const struct table_replica *replica,
    const struct shadow_copy *copy, shadow_done_fn *done, void *context)
{
    static const struct http_exchange_callbacks callbacks = {
        on_head, on_piece, on_end, on_fail, NULL};
    struct http_endpoint *endpoint = gateway_worker_endpoint(sender->worker, replica);
    if (!endpoint || sender->count >= SHADOW_UNDER_WAY_MAX)
        return false;
    struct shadow *shadow = mem_alloc(1, sizeof *shadow);
    *shadow = (struct shadow){.sender = sender,
        .state = replica->state,
        .done = done,
        .context = context,
        .began_ns = clock_monotonic_ns()};
    TAILQ_INSERT_TAIL(&sender->under_way, shadow, link);
    sender->count++;
    replica_state_begin(replica->state);
    const struct http_exchange_request request = {.method = copy->method,
        .target = copy->target,
        .fields = copy->fields,
        .field_count = copy->field_count,
        .body = copy->body,
        .length = (int64_t)copy->length,
        .timeout_ms = copy->timeout_ms};
    shadow->exchange = http_exchange_begin(endpoint, &request, &callbacks, shadow);
    return true;
}

struct shadow_sender *shadow_sender_create(struct gateway_worker *worker)
{
    struct shadow_sender *sender = mem_alloc(1, sizeof *sender);
    sender->worker = worker;
    TAILQ_INIT(&sender->under_way);
    return sender;
}

void shadow_sender_destroy(struct shadow_sender *sender)
{
    while (sender && !TAILQ_EMPTY(&sender->under_way)) {
        struct shadow *shadow = TAILQ_FIRST(&sender->under_way);
        http_exchange_cancel(shadow->exchange);
        finish(shadow, true);
    }
    free(sender);
}
