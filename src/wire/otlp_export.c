/* See otlp_export.h. A body is kept until the collector took or refused it, or was asked often
 * enough; each span is counted once: as exported, or as dropped. */
#include "wire/otlp_export.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "wire/doc.h"
#include "wire/http_agent.h"
#include "wire/tls.h"

#include <assert.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RETRIES_MAX = 4,
    RETRY_MAX_MS = 30000,
    PERIOD_MS = 1000,
    ANSWER_BYTES_MAX = 64 * 1024,
    TIMEOUT_MS = 10000,
    END_MS = 2000, /* for what is left at the end */
    ADDRESS_BYTES = 300,
};

struct otlp_export {
    struct otlp_export_options options;
    char address[ADDRESS_BYTES], path[ADDRESS_BYTES];
    struct event *timer;
    struct tls_client *tls; /* NULL: in the clear */
    struct http_agent *agent;
    struct http_endpoint *endpoint;
    struct http_exchange *exchange; /* NULL: none under way */
    struct strbuf body, answer;     /* body: what is being sent, or will be again */
    size_t spans;                   /* of the body; 0: there is none */
    int status, retries;
    int64_t end_ns; /* monotonic: not later than this, once it is to end; 0: not yet */
    bool over;      /* the end was told */
    bool complained;
};

static void set_timer(struct otlp_export *out, int64_t ms)
{
    struct timeval wait = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
    event_add(out->timer, &wait);
}

static void tell_end(struct otlp_export *out)
{
    event_del(out->timer);
    if (!out->over)
        out->options.ended(out->options.context);
    out->over = true;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

static void send_body(struct otlp_export *out);

/* The body is done with. */
static void go_on(struct otlp_export *out)
{
    strbuf_clear(&out->body);
    out->retries = 0;
    out->spans = out->options.gather(out->options.context, &out->body);
    if (out->spans > 0)
        send_body(out);
    else if (out->end_ns > 0)
        tell_end(out);
    else
        set_timer(out, out->options.period_ms);
}

static void drop(struct otlp_export *out, size_t spans, const char *why)
{
    if (!out->complained)
        log_warn("spans are dropped: the collector at %s: %s", out->address, why);
    out->complained = true;
    out->options.count(out->options.context, 0, spans);
}

static void try_again(struct otlp_export *out, const char *why)
{
    int64_t pause_ms = out->options.period_ms << out->retries;
    if (++out->retries > RETRIES_MAX || out->end_ns > 0) {
        drop(out, out->spans, why);
        go_on(out);
        return;
    }
    set_timer(out, pause_ms > RETRY_MAX_MS ? RETRY_MAX_MS : pause_ms);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* Spans that it did not take although it took the request. */
static size_t rejected_spans(struct otlp_export *out)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *doc = doc_parse_json(
        arena, strbuf_text(&out->answer), out->answer.length, ANSWER_BYTES_MAX, NULL);
    const struct doc *partial = doc && doc->type == DOC_MAP ? doc_get(doc, "partialSuccess") : NULL;
    const struct doc *count =
        partial && partial->type == DOC_MAP ? doc_get(partial, "rejectedSpans") : NULL;
    /* A 64-bit number is a text in this encoding; some write a number. */
    if (!count || (count->type != DOC_STRING && count->type != DOC_NUMBER))
        return 0;
    unsigned long long number = strtoull(count->text, NULL, 10);
    return number > out->spans ? out->spans : (size_t)number;
}

static void on_head(struct http_exchange *exchange, const struct http_answer *answer, void *context)
{
    struct otlp_export *out = context;
    (void)exchange;
    out->status = answer->status;
}

static void on_piece(
    struct http_exchange *exchange, const void *bytes, size_t length, void *context)
{
    struct otlp_export *out = context;
    (void)exchange;
    if (out->answer.length + length <= ANSWER_BYTES_MAX)
        strbuf_append(&out->answer, bytes, length);
}

static void on_end(struct http_exchange *exchange, void *context)
{
    struct otlp_export *out = context;
    int status = out->status;
    char why[48];
    (void)exchange;
    out->exchange = NULL;
    snprintf(why, sizeof why, "it answered with status %d", status);
    if (status == 429 || status == 502 || status == 503 || status == 504) {
        try_again(out, why);
        return;
    }
    size_t rejected = status >= 200 && status < 300 ? rejected_spans(out) : out->spans;
    if (rejected > 0)
        drop(out, rejected, status < 300 ? "it rejected some" : why);
    else
        out->complained = false;
    out->options.count(out->options.context, out->spans - rejected, 0);
    go_on(out);
}

static void on_fail(struct http_exchange *exchange, enum http_failure failure, bool answered,
    const char *text, void *context)
{
    struct otlp_export *out = context;
    (void)exchange, (void)failure, (void)answered;
    out->exchange = NULL;
    try_again(out, text);
}

static void send_body(struct otlp_export *out)
{
    static const struct http_exchange_callbacks callbacks = {
        on_head, on_piece, on_end, on_fail, NULL};
    static const struct http_field json = {"Content-Type", "application/json"};
    const struct http_exchange_request request = {.method = "POST",
        .target = out->path,
        .fields = &json,
        .field_count = 1,
        .body = strbuf_text(&out->body),
        .length = (int64_t)out->body.length,
        .timeout_ms = TIMEOUT_MS};
    out->status = 0;
    strbuf_clear(&out->answer);
    out->exchange = http_exchange_begin(out->endpoint, &request, &callbacks, out);
}

/* ---- time ------------------------------------------------------------------------------------ */

static void give_up(struct otlp_export *out)
{
    if (out->exchange)
        http_exchange_cancel(out->exchange);
    out->exchange = NULL;
    if (out->spans > 0)
        drop(out, out->spans, "there was no time left to send them");
    out->spans = 0;
    tell_end(out);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct otlp_export *out = context;
    (void)fd, (void)what;
    if (out->end_ns > 0 && clock_monotonic_ns() >= out->end_ns)
        give_up(out);
    else if (out->exchange)
        return;
    else if (out->spans > 0)
        send_body(out);
    else
        go_on(out);
}

void otlp_export_wake(struct otlp_export *out)
{
    if (!out->over && !out->exchange && out->spans == 0)
        go_on(out);
}

void otlp_export_end(struct otlp_export *out)
{
    assert(out->end_ns == 0);
    out->end_ns = clock_monotonic_ns() + END_MS * 1000000LL;
    set_timer(out, END_MS);
    if (!out->exchange && out->spans > 0)
        send_body(out);
    otlp_export_wake(out);
}

/* ---- opening and closing --------------------------------------------------------------------- */

/* "http://127.0.0.1:4318/v1/traces" is an endpoint and a path; without a path the usual one. */
static void split_address(const char *text, char address[ADDRESS_BYTES], char path[ADDRESS_BYTES])
{
    const char *scheme = strstr(text, "://");
    size_t length = scheme ? (size_t)(scheme + 3 - text) + strcspn(scheme + 3, "/") : strlen(text);
    bool has_path = text[length] == '/' && text[length + 1] != '\0';
    snprintf(address, ADDRESS_BYTES, "%.*s", (int)length, text);
    snprintf(path, ADDRESS_BYTES, "%s", has_path ? text + length : "/v1/traces");
}

static bool is_path(const char *path)
{
    for (; *path; path++) {
        if (*path <= ' ' || *path >= 0x7f || *path == '#')
            return false;
    }
    return true;
}

static int open_endpoint(struct otlp_export *out, struct error *err)
{
    const char *address = out->options.address;
    if (strlen(address) >= ADDRESS_BYTES)
        return error_set(err, ERR_INVALID, "the collector's address is too long");
    split_address(address, out->address, out->path);
    if (!is_path(out->path))
        return error_set(err, ERR_INVALID, "the collector's path %s is none", out->path);
    if (strncmp(out->address, "https://", 8) == 0 &&
        tls_client_create(out->options.trust, &out->tls, err) < 0)
        return -1;
    out->agent = http_agent_create(out->options.base, NULL);
    if (http_endpoint_create_url(out->agent, out->address, out->tls, &out->endpoint, err) < 0)
        return error_prefix(err,
            "the collector's address: expected http://HOST:PORT, https://HOST:PORT or unix:/PATH");
    return 0;
}

int otlp_export_create(
    const struct otlp_export_options *options, struct otlp_export **ret, struct error *err)
{
    struct otlp_export *out = mem_alloc(1, sizeof *out);
    out->options = *options;
    if (out->options.period_ms <= 0)
        out->options.period_ms = PERIOD_MS;
    out->timer = event_new(options->base, -1, EV_TIMEOUT, on_timer, out);
    assert(out->timer);
    if (open_endpoint(out, err) < 0) {
        otlp_export_destroy(out);
        return -1;
    }
    out->options.address = out->options.trust = NULL;
    set_timer(out, out->options.period_ms);
    *ret = out;
    return 0;
}

void otlp_export_destroy(struct otlp_export *out)
{
    if (!out)
        return;
    http_endpoint_release(out->endpoint);
    http_agent_destroy(out->agent);
    tls_client_destroy(out->tls);
    event_free(out->timer);
    strbuf_finish(&out->body);
    strbuf_finish(&out->answer);
    free(out);
}

int otlp_address_check(const char *address, struct error *err)
{
    struct event_base *base = event_base_new();
    struct otlp_export_options options = {.base = base, .address = address};
    struct otlp_export *out = NULL;
    int rc = otlp_export_create(&options, &out, err);
    otlp_export_destroy(out);
    event_base_free(base);
    return rc;
}
