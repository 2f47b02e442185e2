/* See fetch.h. A fetch ends once: by its end, its failure, a body beyond its bound, or its
 * cancellation; it is freed when whoever began it was told. */
#include "server/fetch.h"

#include "base/memory.h"
#include "base/strbuf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct fetch {
    struct http_exchange *exchange;
    size_t bytes_max, bytes;
    int status;
    struct strbuf text;
    void (*take)(void *context, const void *bytes, size_t length);
    fetch_fn *done;
    void *context;
};

static void fetch_free(struct fetch *fetch)
{
    strbuf_finish(&fetch->text);
    free(fetch);
}

static void finish(struct fetch *fetch, const char *trouble)
{
    const struct fetch_answer answer = {.status = trouble ? 0 : fetch->status,
        .text = trouble ? "" : strbuf_text(&fetch->text),
        .length = trouble ? 0 : fetch->text.length,
        .trouble = trouble};
    fetch->done(fetch->context, &answer);
    fetch_free(fetch);
}

static void on_head(struct http_exchange *exchange, const struct http_answer *answer, void *context)
{
    struct fetch *fetch = context;
    (void)exchange;
    fetch->status = answer->status;
}

static void on_piece(
    struct http_exchange *exchange, const void *bytes, size_t length, void *context)
{
    struct fetch *fetch = context;
    char text[64];
    if (length > fetch->bytes_max - fetch->bytes) {
        http_exchange_cancel(exchange);
        snprintf(text, sizeof text, "its answer has more than %zu bytes", fetch->bytes_max);
        finish(fetch, text);
        return;
    }
    fetch->bytes += length;
    if (fetch->take)
        fetch->take(fetch->context, bytes, length);
    else
        strbuf_append(&fetch->text, bytes, length);
}

static void on_end(struct http_exchange *exchange, void *context)
{
    (void)exchange;
    finish(context, NULL);
}

static void on_fail(struct http_exchange *exchange, enum http_failure failure, bool answered,
    const char *text, void *context)
{
    (void)exchange, (void)failure, (void)answered;
    finish(context, text);
}

struct fetch *fetch_begin(struct http_endpoint *endpoint, const struct fetch_request *request,
    fetch_fn *done, void *context)
{
    static const struct http_exchange_callbacks callbacks = {
        .on_head = on_head, .on_piece = on_piece, .on_end = on_end, .on_fail = on_fail};
    static const struct http_field json = {"Content-Type", "application/json"};
    const struct http_exchange_request what = {
        .method = request->method ? request->method : "GET",
        .target = request->target,
        .fields = &json,
        .field_count = request->body ? 1 : 0,
        .body = request->body,
        .length = (int64_t)request->length,
        .timeout_ms = request->timeout_ms,
    };
    struct fetch *fetch = mem_alloc(1, sizeof *fetch);
    assert(request->bytes_max > 0 && (request->body || request->length == 0));
    fetch->bytes_max = request->bytes_max;
    fetch->take = request->take;
    fetch->done = done;
    fetch->context = context;
    fetch->exchange = http_exchange_begin(endpoint, &what, &callbacks, fetch);
    return fetch;
}

void fetch_cancel(struct fetch *fetch)
{
    if (!fetch)
        return;
    http_exchange_cancel(fetch->exchange);
    fetch_free(fetch);
}
