/* The filter of event streams: see usage_strip.h. Lines end with LF, CR LF or CR, an event with an
 * empty line (the event stream format of HTML). Events that are complete in a piece are passed on
 * from where they are; a piece is passed on in as few parts as there are events to take out of it.
 */
#include "gateway/usage_strip.h"

#include "gateway/member_scan.h"

#include <string.h>

/* ---- which event ----------------------------------------------------------------------------- */

struct chunk {
    bool no_choice, usage;
};

static void on_member(const struct json_member *member, void *context)
{
    struct chunk *chunk = context;
    if (member->depth != 1 || member->escaped)
        return;
    if (!strcmp(member->name, "choices"))
        chunk->no_choice = member->kind == MEMBER_LIST && member->empty;
    else if (!strcmp(member->name, "usage"))
        chunk->usage = member->kind == MEMBER_OBJECT;
}

static bool is_usage_chunk(const char *text, size_t length)
{
    struct chunk chunk = {false, false};
    struct member_scan scan;
    member_scan_init(&scan, on_member, &chunk);
    return member_scan_feed(&scan, text, length) == MEMBER_SCAN_DONE && chunk.no_choice &&
           chunk.usage;
}

static size_t line_length(const char *text, size_t length)
{
    size_t i = 0;
    while (i < length && text[i] != '\n' && text[i] != '\r')
        i++;
    return i;
}

static bool has(const char *text, size_t length, const char *word)
{
    return memmem(text, length, word, strlen(word)) != NULL;
}

bool usage_event_is(const char *event, size_t length)
{
    const char *data = NULL;
    size_t data_length = 0;
    if (!has(event, length, "\"usage\"") || !has(event, length, "\"choices\""))
        return false;
    for (size_t at = 0; at < length;) {
        size_t line = line_length(event + at, length - at);
        if (line >= 5 && !memcmp(event + at, "data:", 5)) {
            /* Several are one text with line feeds, which nobody sends here. */
            if (data)
                return false;
            data = event + at + 5;
            data_length = line - 5;
        }
        at += line + 1;
    }
    return data && is_usage_chunk(data, data_length);
}

/* ---- the stream ------------------------------------------------------------------------------ */

void usage_strip_finish(struct usage_strip *strip)
{
    strbuf_finish(&strip->held);
    strbuf_finish(&strip->out);
}

/* Whether this byte ends an event. */
static bool ends_event(struct usage_strip *strip, char c)
{
    bool line_end = c == '\n' || c == '\r';
    bool ends = line_end && !strip->in_line;
    strip->in_line = !line_end;
    strip->after_cr = c == '\r';
    return ends;
}

/* What a piece comes to: what is in strip->out, then the bytes of the piece from `begin` on. */
struct run {
    const char *begin, *end;
};

static void copy(struct usage_strip *strip, struct run *run, const char *end)
{
    if (end > run->begin)
        strbuf_append(&strip->out, run->begin, (size_t)(end - run->begin));
    run->begin = end;
}

static void copy_held(struct usage_strip *strip)
{
    if (strip->held.length > 0)
        strbuf_append(&strip->out, strip->held.text, strip->held.length);
    strbuf_clear(&strip->held);
}

/* The event from `begin`, the first of whose bytes may be held, ends before `end`. */
static void end_event(
    struct usage_strip *strip, struct run *run, const char *begin, const char *end)
{
    struct strbuf *held = &strip->held;
    size_t length = (size_t)(end - begin);
    bool passing = strip->passing || held->length + length > USAGE_EVENT_BYTES_MAX;
    bool whole = held->length == 0;
    if (!whole && !passing)
        strbuf_append(held, begin, length);
    strip->passing = false;
    strip->dropped =
        !passing && usage_event_is(whole ? begin : held->text, whole ? length : held->length);
    if (strip->dropped) {
        copy(strip, run, begin);
        strbuf_clear(held);
        strip->removed++;
    }
    if (strip->dropped || (!whole && !passing))
        run->begin = end;
    copy_held(strip);
}

/* What is left of a piece is the beginning of an event. */
static void keep_rest(struct usage_strip *strip, struct run *run, const char *begin)
{
    size_t length = (size_t)(run->end - begin);
    if (!strip->passing && strip->held.length + length <= USAGE_EVENT_BYTES_MAX) {
        strbuf_append(&strip->held, begin, length);
        run->end = begin;
        return;
    }
    strip->passing = true;
    copy_held(strip);
}

/* Most pieces are whole events, and are passed on from where they are. */
static size_t give(struct usage_strip *strip, struct run *run, const char **ret)
{
    if (strip->out.length == 0) {
        *ret = run->begin;
        return (size_t)(run->end - run->begin);
    }
    copy(strip, run, run->end);
    *ret = strip->out.text;
    return strip->out.length;
}

size_t usage_strip_piece(
    struct usage_strip *strip, const char *bytes, size_t length, const char **ret)
{
    const char *end = bytes + length, *event = bytes;
    struct run run = {bytes, end};
    strbuf_clear(&strip->out);
    for (const char *at = bytes; at < end; at++) {
        if (strip->after_cr && *at == '\n') {
            strip->after_cr = false;
            /* The second half of a line's end: where it ended an event it goes the event's way. */
            if (at > event || strip->held.length > 0 || strip->passing)
                continue;
            event = at + 1;
            if (strip->dropped)
                run.begin = event;
        } else if (ends_event(strip, *at)) {
            end_event(strip, &run, event, at + 1);
            event = at + 1;
        }
    }
    if (event < end)
        keep_rest(strip, &run, event);
    return give(strip, &run, ret);
}

size_t usage_strip_end(struct usage_strip *strip, const char **ret)
{
    *ret = strbuf_text(&strip->held);
    return strip->held.length;
}
