/* From the source through the filters to the client: see answer.h. */
#include "gateway/answer.h"

#include "base/clock.h"
#include "base/memory.h"
#include "gateway/relay.h"
#include "gateway/relay_cache.h"
#include "gateway/relay_care.h"
#include "gateway/relay_guard.h"
#include "gateway/relay_limits.h"
#include "gateway/relay_record.h"
#include "gateway/relay_secondary.h"
#include "gateway/relay_shadow.h"
#include "gateway/relay_usage.h"
#include "gateway/token_tail.h"
#include "wire/http.h"
#include "wire/http_parse.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- tokens ---------------------------------------------------------------------------------- */

static bool tokens_begin(struct relay *relay)
{
    if (relay->target.protocol != PROTOCOL_OPENAI)
        return false;
    relay->answer.tail = mem_alloc(1, sizeof *relay->answer.tail);
    return true;
}

static bool tokens_piece(struct relay *relay, const char *bytes, size_t length)
{
    token_tail_add(relay->answer.tail, bytes, length);
    return answer_pass(relay, ANSWER_TOKENS, bytes, length);
}

static void tokens_finish(struct relay *relay)
{
    free(relay->answer.tail);
    relay->answer.tail = NULL;
}

static const struct answer_filter tokens_filter = {tokens_begin, tokens_piece, NULL, tokens_finish};

/* ---- the table ------------------------------------------------------------------------------- */

static const struct answer_filter *const filters[ANSWER_STEPS] = {
    [ANSWER_FALLBACK] = &relay_fallback_filter,
    [ANSWER_SHADOW] = &relay_shadow_filter,
    [ANSWER_TOKENS] = &tokens_filter,
    [ANSWER_USAGE] = &relay_usage_filter,
    [ANSWER_GUARD] = &relay_guard_filter,
    [ANSWER_RECORD] = &relay_record_filter,
    [ANSWER_SECONDARY] = &relay_secondary_filter,
    [ANSWER_CACHE] = &relay_cache_filter,
    [ANSWER_CASCADE] = &relay_cascade_filter,
};

/* What the service asks for, or the request brought about: without any of it no filter begins. */
static bool may_filter(const struct relay *relay)
{
    const uint32_t features = TERMS_GUARD_ANSWERS | TERMS_RECORD | TERMS_SECONDARY;
    return !relay->terms || relay->terms->features & features || relay->care || relay->shadowed ||
           relay->target.protocol == PROTOCOL_OPENAI || relay->usage.asked || relay->guard ||
           relay->cache;
}

static void begin_filters(struct relay *relay)
{
    for (size_t step = 0; step < ANSWER_STEPS; step++) {
        if (filters[step]->begin && filters[step]->begin(relay))
            relay->answer.steps |= 1u << step;
    }
}

void answer_finish(struct relay *relay)
{
    for (uint32_t left = relay->answer.steps; left; left &= left - 1) {
        const struct answer_filter *filter = filters[__builtin_ctz(left)];
        if (filter->finish)
            filter->finish(relay);
    }
    relay->answer.steps = 0;
}

/* ---- the client's side ----------------------------------------------------------------------- */

static bool is_event_stream(const struct relay_answer *answer)
{
    bool events = false;
    for (size_t i = 0; answer->length < 0 && i < answer->field_count; i++) {
        struct http_field field = http_field_known(answer->fields[i]);
        if (field.known == HTTP_NAME_CONTENT_ENCODING)
            return false;
        if (field.known == HTTP_NAME_CONTENT_TYPE)
            events = !strncasecmp(field.value, "text/event-stream", 17);
    }
    return events;
}

static bool ends_event(const char end[4])
{
    return !memcmp(end + 2, "\n\n", 2) || !memcmp(end, "\r\n\r\n", 4) ||
           !memcmp(end + 2, "\r\r", 2);
}

static void keep_end(char end[4], const char *bytes, size_t length)
{
    if (length >= 4) {
        memcpy(end, bytes + length - 4, 4);
        return;
    }
    memmove(end, end + length, 4 - length);
    memcpy(end + 4 - length, bytes, length);
}

static void set_timer(struct relay *relay, int64_t ms)
{
    struct timeval wait = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
    evtimer_add(&relay->timer, &wait);
}

/* Proxies and clients close connections on which nothing moves. */
static void on_silence(evutil_socket_t fd, short what, void *context)
{
    struct relay *relay = context;
    struct relay_answer *answer = &relay->answer;
    (void)fd, (void)what;
    int64_t now = clock_held_ns();
    int64_t silent_ms = (now - answer->last_ns) / 1000000;
    int64_t limit_ms = relay->view->keep_alive_ms;
    if (silent_ms >= limit_ms) {
        /* A comment within an event would become part of it. */
        if (ends_event(answer->end))
            http_respond_write(relay->request, ": keep-alive\n\n", 14);
        answer->last_ns = now;
        silent_ms = 0;
    }
    set_timer(relay, limit_ms - silent_ms);
}

static void on_client_drain(void *context)
{
    struct relay *relay = context;
    const struct answer_source *source = relay->answer.source;
    if (source && source->resume)
        source->resume(relay);
}

/* What is said of limits is for this client and moment alone: no filter sees it. */
static struct http_field *client_fields(struct relay *relay, size_t *ret_count)
{
    struct http_field *fields = relay->answer.fields;
    *ret_count = relay->answer.field_count;
    if (relay->limits)
        fields = relay_limits_fields(relay, fields, ret_count);
    return relay->care ? relay_care_fields(relay, fields, ret_count) : fields;
}

static void send_head(struct relay *relay)
{
    struct relay_answer *answer = &relay->answer;
    size_t count;
    answer->begun = true;
    if (answer->bodyless)
        return;
    struct http_field *fields = client_fields(relay, &count);
    http_respond_begin(relay->request, answer->status, fields, count, answer->length);
    http_request_on_drain(relay->request, on_client_drain, relay);
    answer->events = is_event_stream(answer);
    if (answer->events) {
        memcpy(answer->end, "\n\n\n\n", 4);
        answer->last_ns = clock_held_ns();
        evtimer_assign(&relay->timer, relay->view->base, on_silence, relay);
        set_timer(relay, relay->view->keep_alive_ms);
    }
}

static bool to_client(struct relay *relay, const char *bytes, size_t length)
{
    struct relay_answer *answer = &relay->answer;
    answer->bytes += (int64_t)length;
    if (length == 0)
        return true;
    if (!answer->begun)
        send_head(relay);
    if (answer->events) {
        if (relay->limits)
            relay_limits_piece(relay, bytes, length);
        answer->last_ns = clock_held_ns();
        keep_end(answer->end, bytes, length);
    }
    if (!http_respond_write(relay->request, bytes, length) && answer->source)
        answer->source->pause(relay);
    return true;
}

/* ---- passing on ------------------------------------------------------------------------------ */

/* From a step on; ANSWER_STEPS is the client. */
static bool pass_from(struct relay *relay, size_t step, const char *bytes, size_t length)
{
    for (uint32_t left = relay->answer.steps >> step << step; left; left &= left - 1) {
        const struct answer_filter *filter = filters[__builtin_ctz(left)];
        if (filter->piece)
            return filter->piece(relay, bytes, length);
    }
    return to_client(relay, bytes, length);
}

bool answer_pass(struct relay *relay, enum answer_step from, const char *bytes, size_t length)
{
    return pass_from(relay, from + 1, bytes, length);
}

void answer_begin(struct relay *relay, int status, struct http_field *fields, size_t count,
    int64_t length, const struct answer_source *source)
{
    struct relay_answer *answer = &relay->answer;
    assert(!answer->begun && answer->steps == 0);
    answer->status = status;
    answer->fields = fields;
    answer->field_count = count;
    answer->length = length;
    answer->source = source;
    answer->bodyless = status == 204 || status == 304;
    answer->lazy = false;
    answer->first_ns = clock_held_ns();
    if (!answer->bodyless && may_filter(relay))
        begin_filters(relay);
    if (!answer->lazy)
        send_head(relay);
}

bool answer_piece(struct relay *relay, const char *bytes, size_t length)
{
    if (relay->answer.bodyless || length == 0)
        return true;
    return pass_from(relay, 0, bytes, length);
}

bool answer_is_part(const struct relay *relay)
{
    const struct relay_answer *answer = &relay->answer;
    const char *verb = relay->target.verb;
    /* What the filter of fallbacks holds is the beginning of an event, or all that has come. */
    const struct strbuf *held =
        relay->care && relay->care->held.length > 0 ? &relay->care->held : NULL;
    if (!answer->until_close || answer->status != 200 || !is_event_stream(answer))
        return false;
    if (strcmp(verb, "/v1/chat/completions") && strcmp(verb, "/v1/completions"))
        return held || (answer->events && !ends_event(answer->end));
    return held ? !token_stream_is_done(held->text, held->length)
                : !token_stream_is_done(answer->tail->bytes, answer->tail->length);
}

void answer_end(struct relay *relay)
{
    struct relay_answer *answer = &relay->answer;
    struct http_request *request = relay->request;
    /* A filter that ends passes on what it kept: those after it end later. */
    for (uint32_t left = answer->steps; left; left &= left - 1) {
        const struct answer_filter *filter = filters[__builtin_ctz(left)];
        if (filter->end && !filter->end(relay))
            return;
    }
    if (!answer->begun)
        send_head(relay);
    size_t count = 0;
    struct http_field *fields = answer->bodyless ? client_fields(relay, &count) : NULL;
    relay_account(relay, RELAY_COMPLETE);
    if (answer->bodyless)
        http_respond(request, answer->status, fields, count, NULL, 0);
    else
        http_respond_end(request);
    relay_free(relay);
}

void answer_add_field(struct relay *relay, const char *name, const char *value)
{
    struct relay_answer *answer = &relay->answer;
    struct http_field *fields =
        arena_alloc(http_request_arena(relay->request), answer->field_count + 1, sizeof *fields);
    for (size_t i = 0; i < answer->field_count; i++)
        fields[i] = answer->fields[i];
    fields[answer->field_count++] = (struct http_field){name, value};
    answer->fields = fields;
}

void answer_whole(struct relay *relay, int status, const struct http_field *fields, size_t count,
    const void *body, size_t length)
{
    assert(!relay->attempt.exchange && !relay->answer.begun);
    relay->answer.status = status;
    relay->answer.bytes = (int64_t)length;
    if (relay->limits)
        fields = relay_limits_fields(relay, fields, &count);
    if (relay->care)
        fields = relay_care_fields(relay, fields, &count);
    relay_account(relay, RELAY_COMPLETE);
    http_respond(relay->request, status, fields, count, body, length);
    relay_free(relay);
}

/* Counted before the filters end, which know what was passed on. */
bool answer_break(struct relay *relay)
{
    if (!relay->answer.begun) {
        answer_finish(relay);
        relay->answer = (struct relay_answer){0};
        return true;
    }
    if (relay->care && relay->answer.events && ends_event(relay->answer.end) &&
        relay_care_break_stream(relay))
        return false;
    relay_account(relay, RELAY_BROKEN);
    http_request_abort(relay->request);
    relay_free(relay);
    return false;
}
