/* Fallbacks of a relay: see relay_care.h. All that the gateway would refuse with passes through
 * relay_care_refused, and all that a service answers through the filter: there another service is
 * asked in its place. Of a stream the filter holds what is no whole event, so that one which breaks
 * off ends between two events. */
#include "gateway/answer.h"
#include "gateway/fallback.h"
#include "gateway/relay_care.h"
#include "gateway/relay_guard.h"

#include "base/memory.h"
#include "wire/http.h"

#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- which ----------------------------------------------------------------------------------- */

/* The service of the next fallback that can be asked; *ret_index: which. NULL: none. */
static const struct table_service *next_service(
    struct relay *relay, unsigned reason, size_t *ret_index)
{
    const struct service_fallback *fallback = &relay->care->asked->options.fallback;
    size_t i = fallback_choose(fallback, relay->care->next, reason);
    for (; i < FALLBACK_MAX; i = fallback_choose(fallback, i + 1, reason)) {
        const struct table_service *service =
            relay_switch_target(relay, fallback->to.items[i].route);
        *ret_index = i;
        if (service)
            return service;
    }
    return NULL;
}

static bool may_go_on(struct relay *relay, unsigned reason)
{
    size_t index;
    return reason != 0 && (relay->care->spare.status || next_service(relay, reason, &index));
}

/* False: nobody is left to be asked. */
static bool ask_next(struct relay *relay, int status, unsigned reason)
{
    struct relay_care *care = relay->care;
    size_t index;
    const struct table_service *service = reason ? next_service(relay, reason, &index) : NULL;
    if (!service)
        return false;
    const struct fallback_to *to = &care->asked->options.fallback.to.items[index];
    figure_add(relay->view->figures, FIGURE_FELL_BACK, 1);
    relay_switch_failed(relay, status, fallback_reason_text(reason));
    care->next = index + 1;
    care->part = CARE_OTHER;
    care->by = to->route;
    relay_switch(relay, service, to->version > 0 ? to->version : BALANCE_ANY_VERSION);
    return true;
}

bool relay_care_refused(struct relay *relay, int status, const char *code)
{
    struct relay_care *care = relay->care;
    if (care->part == CARE_SMALL && !care->late) {
        relay_cascade_go_on(relay, status, code);
        return true;
    }
    unsigned reason = fallback_reason_of_refusal(status, code, care->part == CARE_OTHER);
    const char *why = reason ? fallback_reason_text(reason) : code;
    if ((!care->late && ask_next(relay, status, reason)) || relay_cascade_spare(relay, status, why))
        return true;
    if (care->try_count > 0)
        relay_switch_note(relay, why);
    care->by = NULL;
    return false;
}

bool relay_care_instead(struct relay *relay)
{
    return relay->care->part == CARE_SMALL || may_go_on(relay, FALLBACK_CONNECTION);
}

/* ---- the time of a try ----------------------------------------------------------------------- */

static void on_limit(evutil_socket_t fd, short what, void *context)
{
    struct relay_care *care = context;
    struct relay *relay = care->relay;
    (void)fd, (void)what;
    care->limit_is_set = false;
    relay_attempt_late(relay);
    if (answer_break(relay))
        relay_refuse(relay, 504, "timeout", "\"%s\" did not answer in time", relay->terms->route);
}

void relay_try_limit(struct relay *relay, int64_t ms)
{
    struct relay_care *care = relay->care;
    struct timeval wait = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
    if (ms == 0 || care->limit_is_set)
        return;
    care->limit_is_set = true;
    evtimer_assign(&care->limit, relay->view->base, on_limit, care);
    evtimer_add(&care->limit, &wait);
}

void relay_try_in_time(struct relay *relay)
{
    if (relay->care->limit_is_set)
        event_del(&relay->care->limit);
    relay->care->limit_is_set = false;
}

static int64_t limit_of(const struct relay_care *care)
{
    const struct service_gateway *options = &care->asked->options;
    if (care->part == CARE_SMALL)
        return options->cascade.timeout_ms;
    return care->part == CARE_OTHER ? options->fallback.to.items[care->next - 1].first_byte_ms
                                    : options->fallback.first_byte_ms;
}

enum stage_result relay_stage_try(struct relay *relay)
{
    if (!relay->care)
        return STAGE_DONE;
    if (relay_cascade_concerns(relay)) {
        /* The small model sees no more than what the guard of the service that was asked lets pass.
         */
        enum stage_result guarded = relay_stage_guard(relay);
        if (guarded != STAGE_DONE)
            return guarded;
        if (relay_cascade_begin(relay))
            return STAGE_ENDED;
    }
    relay_try_limit(relay, limit_of(relay->care));
    return STAGE_DONE;
}

/* ---- the filter ------------------------------------------------------------------------------ */

static bool is_stream(const struct relay_answer *answer)
{
    bool events = false;
    for (size_t i = 0; i < answer->field_count; i++) {
        const struct http_field *field = &answer->fields[i];
        if (!strcasecmp(field->name, "Content-Encoding"))
            return false;
        if (!strcasecmp(field->name, "Content-Type"))
            events = !strncasecmp(field->value, "text/event-stream", 17);
    }
    return events && answer->length < 0 && answer->status == 200;
}

static bool hold_answer(struct relay *relay)
{
    struct relay_care *care = relay->care;
    struct relay_answer *answer = &relay->answer;
    const struct service_fallback *options = &care->asked->options.fallback;
    bool stream = is_stream(answer);
    bool holds = stream && (options->to.count > 0 || options->first_byte_ms > 0);
    care->stream = CARE_PASS;
    care->stream_begun = !holds;
    care->dropped = 0;
    if (may_go_on(relay, fallback_reason_of_status(answer->status)))
        care->stream = CARE_BAD;
    else if (stream && (holds || options->broken == BROKEN_EVENT))
        care->stream = CARE_STREAM;
    answer->lazy |= care->stream == CARE_BAD || holds;
    if (care->stream != CARE_BAD && !holds)
        relay_try_in_time(relay);
    return care->stream != CARE_PASS;
}

static bool fallback_begin(struct relay *relay)
{
    return relay->care && relay->care->part != CARE_SMALL && hold_answer(relay);
}

/* The service has answered with an error, which nobody gets to see. Always false: the relay goes on
 * elsewhere, or was answered. */
static bool leave(struct relay *relay, int status, unsigned reason)
{
    relay_attempt_end(relay, false);
    bool unbegun = answer_break(relay);
    if (!unbegun)
        return false;
    if (!ask_next(relay, status, reason) &&
        !relay_cascade_spare(relay, status, fallback_reason_text(reason)))
        relay_refuse(relay, status == 429 ? 503 : status, "upstream_failed",
            "\"%s\" answered with status %d", relay->terms->route, status);
    return false;
}

/* What is held up to the end of its last event, or all. The relay may be gone afterwards. */
static bool pass_held(struct relay *relay, size_t length)
{
    struct strbuf *held = &relay->care->held;
    if (length == 0)
        return true;
    if (!answer_pass(relay, ANSWER_FALLBACK, held->text, length))
        return false;
    strbuf_consume(held, length);
    return true;
}

static bool is_full(const struct relay_care *care)
{
    return care->held.length > CARE_ERROR_BYTES_MAX;
}

/* The first event is awaited: an error there is none that the client has to see. */
static bool look_at_start(struct relay *relay, bool *ret_leave)
{
    struct relay_care *care = relay->care;
    enum stream_start start = fallback_stream_start(strbuf_text(&care->held), care->held.length);
    *ret_leave = start == STREAM_ERROR && may_go_on(relay, FALLBACK_ERROR);
    if (start == STREAM_OPEN && !is_full(care))
        return false;
    if (!*ret_leave)
        relay_try_in_time(relay);
    care->stream_begun = true;
    return true;
}

static bool stream_piece(struct relay *relay, const char *bytes, size_t length)
{
    struct relay_care *care = relay->care;
    bool leaves = false;
    /* Most pieces are whole events, and are passed on as they are. */
    if (care->stream_begun && care->held.length == 0 &&
        fallback_whole_events(bytes, length) == length)
        return answer_pass(relay, ANSWER_FALLBACK, bytes, length);
    strbuf_append(&care->held, bytes, length);
    if (!care->stream_begun && !look_at_start(relay, &leaves))
        return true;
    if (leaves)
        return leave(relay, 502, FALLBACK_ERROR);
    size_t whole = is_full(care) ? care->held.length
                                 : fallback_whole_events(care->held.text, care->held.length);
    return pass_held(relay, whole);
}

static bool fallback_piece(struct relay *relay, const char *bytes, size_t length)
{
    struct relay_care *care = relay->care;
    if (care->stream == CARE_STREAM)
        return stream_piece(relay, bytes, length);
    care->dropped += length;
    if (care->dropped <= CARE_ERROR_BYTES_MAX)
        return true;
    return leave(relay, relay->answer.status, fallback_reason_of_status(relay->answer.status));
}

/* A stream that ends before its first event is an error. */
static bool fallback_end(struct relay *relay)
{
    struct relay_care *care = relay->care;
    if (care->stream == CARE_BAD)
        return leave(relay, relay->answer.status, fallback_reason_of_status(relay->answer.status));
    if (!care->stream_begun && may_go_on(relay, FALLBACK_ERROR))
        return leave(relay, 502, FALLBACK_ERROR);
    relay_try_in_time(relay);
    return pass_held(relay, care->held.length);
}

static void fallback_finish(struct relay *relay)
{
    strbuf_finish(&relay->care->held);
}

const struct answer_filter relay_fallback_filter = {
    fallback_begin, fallback_piece, fallback_end, fallback_finish};

/* ---- streams that broke off ------------------------------------------------------------------ */

static void put_event(const struct relay *relay, const char *code, const char *text, char out[320])
{
    if (relay->target.protocol == PROTOCOL_OIP)
        snprintf(out, 320, "data: {\"error\":\"%s\"}\n\n", text);
    else if (!strcmp(relay->target.verb, "/v1/responses"))
        snprintf(out, 320,
            "event: error\ndata: {\"type\":\"error\",\"code\":\"%s\",\"message\":\"%s\","
            "\"param\":null}\n\n",
            code, text);
    else
        snprintf(out, 320,
            "data: {\"error\":{\"message\":\"%s\",\"type\":\"server_error\",\"param\":null,"
            "\"code\":\"%s\"}}\n\n",
            text, code);
}

bool relay_care_break_stream(struct relay *relay)
{
    const struct relay_care *care = relay->care;
    char event[320];
    if (care->stream != CARE_STREAM || care->asked->options.fallback.broken != BROKEN_EVENT)
        return false;
    if (care->late)
        put_event(relay, "deadline_exceeded", "the request's deadline has passed", event);
    else
        put_event(relay, "stream_broken", "the answer broke off before its end", event);
    figure_add(relay->view->figures, FIGURE_STREAMS_BROKEN, 1);
    relay_account(relay, RELAY_BROKEN);
    (void)http_respond_write(relay->request, event, strlen(event));
    http_respond_end(relay->request);
    relay_free(relay);
    return true;
}
