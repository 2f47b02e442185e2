/* Fallbacks: see fallback.h. */
#include "gateway/fallback.h"

#include "base/memory.h"
#include "spec/serving.h"

#include <string.h>

/* ---- reasons --------------------------------------------------------------------------------- */

unsigned fallback_reason_of_status(int status)
{
    if (status == 429 || status == 503)
        return FALLBACK_OVERLOAD;
    if (status == 504 || status == 408)
        return FALLBACK_TIMEOUT;
    return status >= 500 ? FALLBACK_ERROR : 0;
}

unsigned fallback_reason_of_refusal(int status, const char *code, bool is_other)
{
    static const struct {
        const char *code;
        unsigned reason;
        bool of_others;
    } codes[] = {
        {"no_replica", FALLBACK_CONNECTION, false},
        {"timeout", FALLBACK_TIMEOUT, false},
        {"bad_gateway", FALLBACK_ERROR, false},
        {"overloaded", FALLBACK_OVERLOAD, false},
        {"circuit_open", FALLBACK_ANY, false},
        {"rate_limit_exceeded", FALLBACK_OVERLOAD, true},
        {"limits_unavailable", FALLBACK_OVERLOAD, true},
        {"model_not_found", FALLBACK_CONNECTION, true},
        {"invalid_labels", FALLBACK_ERROR, true},
    };
    (void)status;
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        if (!strcmp(codes[i].code, code))
            return codes[i].of_others && !is_other ? 0 : codes[i].reason;
    }
    return 0;
}

const char *fallback_reason_text(unsigned reason)
{
    if (reason == FALLBACK_ANY)
        return "circuit";
    for (size_t i = 0; fallback_reason_names[i]; i++) {
        if (reason >> i & 1)
            return fallback_reason_names[i];
    }
    return "refused";
}

static unsigned reasons_of(const struct text_list *on)
{
    unsigned reasons = 0;
    for (size_t i = 0; i < on->count; i++) {
        for (size_t k = 0; fallback_reason_names[k]; k++)
            reasons |= !strcmp(on->items[i], fallback_reason_names[k]) ? 1u << k : 0;
    }
    return on->count > 0 ? reasons : FALLBACK_ANY;
}

size_t fallback_choose(const struct service_fallback *fallback, size_t next, unsigned reason)
{
    for (size_t i = next; i < fallback->to.count; i++) {
        if (reasons_of(&fallback->to.items[i].on) & reason)
            return i;
    }
    return FALLBACK_MAX;
}

/* ---- streams --------------------------------------------------------------------------------- */

/* The line from at on, without its end; *ret_next: behind the end, or NULL when it has none. */
static size_t line_at(const char *at, const char *end, const char **ret_next)
{
    const char *stop = at;
    while (stop < end && *stop != '\n' && *stop != '\r')
        stop++;
    /* A carriage return at the very end may be half of a line's end. */
    if (stop == end || (*stop == '\r' && stop + 1 == end)) {
        *ret_next = NULL;
        return (size_t)(stop - at);
    }
    *ret_next = stop + (*stop == '\r' && stop[1] == '\n' ? 2 : 1);
    return (size_t)(stop - at);
}

static bool begins(const char *line, size_t length, const char *with)
{
    size_t count = strlen(with);
    return length >= count && !memcmp(line, with, count);
}

static const char *skip_white(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at;
}

/* {"error": ..} and not {"error": null}, and the event of the responses API. */
static bool says_error(const char *line, size_t length)
{
    const char *end = line + length, *at = skip_white(line + 5, end);
    if (at == end || *at != '{')
        return false;
    at = skip_white(at + 1, end);
    if (begins(at, (size_t)(end - at), "\"type\":\"error\"") ||
        begins(at, (size_t)(end - at), "\"type\": \"error\""))
        return true;
    if (!begins(at, (size_t)(end - at), "\"error\""))
        return false;
    at = skip_white(at + 7, end);
    at = skip_white(at < end ? at + 1 : at, end);
    return !begins(at, (size_t)(end - at), "null");
}

enum stream_start fallback_stream_start(const char *bytes, size_t length)
{
    const char *end = bytes + length, *next;
    enum stream_start found = STREAM_OPEN;
    for (const char *at = bytes; at < end; at = next) {
        size_t count = line_at(at, end, &next);
        if (!next)
            return STREAM_OPEN;
        if (count == 0 && found != STREAM_OPEN)
            return found;
        if (begins(at, count, "event: error") || begins(at, count, "event:error"))
            found = STREAM_ERROR;
        else if (begins(at, count, "data:") && found == STREAM_OPEN)
            found = says_error(at, count) ? STREAM_ERROR : STREAM_EVENT;
    }
    return STREAM_OPEN;
}

size_t fallback_whole_events(const char *bytes, size_t length)
{
    for (size_t at = length; at >= 2; at--) {
        if (bytes[at - 1] == '\n' && bytes[at - 2] == '\n')
            return at;
        if (at >= 4 && !memcmp(bytes + at - 4, "\r\n\r\n", 4))
            return at;
        if (bytes[at - 1] == '\r' && bytes[at - 2] == '\r')
            return at;
    }
    return 0;
}
