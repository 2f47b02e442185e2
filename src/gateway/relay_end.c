/* How a request ends: its answer where the gateway makes it, its counts, its line in the log. */
#include "gateway/relay.h"

#include "base/clock.h"
#include "base/memory.h"
#include "gateway/access_log.h"
#include "gateway/answer.h"
#include "gateway/feedback.h"
#include "gateway/log_line.h"
#include "gateway/relay_care.h"
#include "gateway/relay_hold.h"
#include "gateway/relay_limits.h"
#include "gateway/relay_trace.h"
#include "gateway/token_tail.h"
#include "wire/http.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { STATUS_CANCELLED = 499 };

/* ---- answers --------------------------------------------------------------------------------- */

void relay_respond(
    struct relay *relay, int status, const char *content_type, const void *body, size_t length)
{
    struct http_field fields[5] = {{"X-Request-ID", relay->id}};
    size_t count = 1;
    char seconds[24] = "1";
    if (content_type)
        fields[count++] = (struct http_field){"Content-Type", content_type};
    if (relay->retry_after_s > 0)
        snprintf(seconds, sizeof seconds, "%lld", (long long)relay->retry_after_s);
    if (status == 503 || relay->retry_after_s > 0)
        fields[count++] = (struct http_field){"Retry-After", seconds};
    if (status == 401)
        fields[count++] = (struct http_field){"WWW-Authenticate", "Bearer realm=\"muster\""};
    if (relay->allow)
        fields[count++] = (struct http_field){"Allow", relay->allow};
    answer_whole(relay, status, fields, count, body, length);
}

static void write_oip(struct strbuf *out, const char *text)
{
    strbuf_puts(out, "{\"error\":");
    strbuf_json(out, text);
    strbuf_puts(out, "}\n");
}

static void write_openai(struct strbuf *out, int status, const char *code, const char *text)
{
    /* As OpenAI says them: a wrong key is an invalid request. */
    const char *type = status >= 500   ? "server_error"
                       : status == 429 ? "rate_limit_error"
                                       : "invalid_request_error";
    const char *param = strcmp(code, "model_not_found") != 0 ? "null" : "\"model\"";
    strbuf_puts(out, "{\"error\":{\"message\":");
    strbuf_json(out, text);
    strbuf_printf(out, ",\"type\":\"%s\",\"param\":%s,\"code\":\"%s\"}}\n", type, param, code);
}

/* RFC 9457. */
static void write_problem(struct strbuf *out, int status, const char *code, const char *text)
{
    strbuf_printf(out, "{\"type\":\"muster:%s\",\"title\":\"%s\",\"status\":%d,\"detail\":", code,
        http_status_phrase(status), status);
    strbuf_json(out, text);
    strbuf_puts(out, "}\n");
}

/* Returns the Content-Type. */
static const char *write_error(
    struct strbuf *out, enum protocol protocol, int status, const char *code, const char *text)
{
    if (protocol == PROTOCOL_OIP)
        write_oip(out, text);
    else if (protocol == PROTOCOL_OPENAI)
        write_openai(out, status, code, text);
    else
        write_problem(out, status, code, text);
    return protocol == PROTOCOL_NONE ? "application/problem+json" : "application/json";
}

const char *relay_refusal(
    const char *path, int status, const char *detail, struct strbuf *body, void *ctx)
{
    const char *code = status == 408   ? "request_timeout"
                       : status == 413 ? "request_too_large"
                       : status == 415 ? "unsupported_encoding"
                       : status == 431 ? "head_too_large"
                       : status == 503 ? "overloaded"
                                       : "bad_request";
    (void)ctx;
    return write_error(body, target_protocol(path), status, code, detail);
}

void relay_refuse(struct relay *relay, int status, const char *code, const char *format, ...)
{
    struct strbuf text = {0}, body = {0};
    va_list args;
    if (relay->care && relay_care_refused(relay, status, code))
        return;
    va_start(args, format);
    strbuf_vprintf(&text, format, args);
    va_end(args);
    assert(!relay->attempt.exchange && !relay->answer.begun);
    const char *type = write_error(&body, relay->target.protocol, status, code, text.text);
    relay_respond(relay, status, type, body.text, body.length);
    strbuf_finish(&text);
    strbuf_finish(&body);
}

void relay_refuse_absent(struct relay *relay)
{
    const char *route = relay->terms->route;
    int64_t version = relay->target.version;
    if (version == BALANCE_ANY_VERSION)
        relay_refuse(relay, 503, "no_replica", "no replica of \"%s\" is ready", route);
    else
        relay_refuse(relay, 503, "no_replica",
            "no replica of \"%s\" with version %" PRId64 " is ready", route, version);
}

static struct relay_tokens reported_tokens(const struct relay *relay)
{
    struct relay_tokens tokens = {0};
    if (relay->answer.tail)
        tokens.known = token_tail_find(relay->answer.tail, &tokens.input, &tokens.output);
    return tokens;
}

/* ---- the log --------------------------------------------------------------------------------- */

static void log_request(const struct relay *relay, enum relay_end end, int64_t now_ns)
{
    static const char *const ends[] = {"complete", "cancelled", "broken"};
    const struct relay_answer *answer = &relay->answer;
    bool unanswered = end == RELAY_CANCELLED && !answer->begun;
    const char *method = http_request_method(relay->request);
    const char *path = http_request_path(relay->request);
    const struct service_terms *terms = relay->terms;
    struct log_line line = {
        .numbers = {.wall_ms = clock_wall_about_ms(),
            .version = relay->attempt.version,
            .replica = (int64_t)relay->attempt.replica,
            .bytes_in = relay->body.received,
            .bytes_out = answer->bytes,
            .first_ns = answer->first_ns ? answer->first_ns - relay->began_ns : -1,
            .total_ns = now_ns - relay->began_ns,
            .status = unanswered ? STATUS_CANCELLED : answer->status,
            .retries = relay->retries,
            .end = ends[end],
            .arm = relay->arm != ROUTE_ARM_MAIN ? route_arm_names[relay->arm] : NULL},
        .texts = {[LOG_ID] = {relay->id, relay->id_length},
            [LOG_KEY] = {relay->key_id, relay->key_id_length},
            [LOG_METHOD] = log_text(method),
            [LOG_PATH] = {path, strnlen(path, LOG_LINE_PATH_BYTES)},
            [LOG_ROUTE] = {terms ? terms->route : "", terms ? terms->route_length : 0},
            [LOG_CLIENT] = log_text(http_request_peer(relay->request)->address)},
    };
    char tried[LOG_LINE_TEXT_BYTES];
    if (relay->care)
        relay_care_log(relay, &line, tried);
    access_log_write(relay->view->log, &line);
}

/* Of arms alone: a score for another answer would decide nothing. */
static void note_for_scores(const struct relay *relay)
{
    if (relay->attempt.counts && relay->retries == 0 && relay->answer.status < 300)
        feedback_note(relay->view->feedback, relay->id, relay->key_id, relay->attempt.counts);
}

/* For the service that is asked now, and its limits. */
static void account_service(
    struct relay *relay, enum relay_end end, int64_t now_ns, const struct relay_tokens *tokens)
{
    relay_count(relay, end, now_ns, tokens);
    if (relay->limits)
        relay_limits_settle(relay, end, tokens->known, tokens->input, tokens->output);
    if (relay->care)
        relay_care_counted(relay, end);
    relay_load_end(relay, end, now_ns);
    if (relay->arm != ROUTE_ARM_MAIN)
        note_for_scores(relay);
}

void relay_account_try(struct relay *relay)
{
    const struct relay_tokens tokens = reported_tokens(relay);
    account_service(relay, RELAY_COMPLETE, clock_held_ns(), &tokens);
}

void relay_account(struct relay *relay, enum relay_end end)
{
    struct worker_figures *figures = relay->view->figures;
    int64_t now_ns = clock_held_ns();
    const struct relay_tokens tokens = reported_tokens(relay);
    if (relay->terms && !(relay->care && relay->care->counted))
        account_service(relay, end, now_ns, &tokens);
    if (relay->trace)
        relay_trace_end(relay, end, now_ns, &tokens);
    figure_add(figures, FIGURE_REQUESTS, 1);
    if (end == RELAY_BROKEN || relay->answer.status >= 500)
        figure_add(figures, FIGURE_FAILED, 1);
    log_request(relay, end, now_ns);
}
