/* See guard_stream.h. An event is walked twice: first for which choices it ends, then for its
 * texts, each of which is edited where it stands. A text's last event is kept in two halves, so
 * that an event in its form can be made when something is left. */
#include "gateway/guard_stream.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where texts are that go on from event to event. */
static const char *const spread[] = {"choices[].delta.content", "choices[].delta.refusal",
    "choices[].delta.reasoning", "choices[].delta.reasoning_content",
    "choices[].delta.function_call.arguments", "choices[].delta.tool_calls[].function.arguments",
    "choices[].text", "delta"};

/* What an event says of itself. */
struct chunk {
    struct guard_stream *stream;
    const char *text;
    struct guard_edits edits;
    struct strbuf decoded, clean, encoded;
    uint64_t ending; /* a bit for each item of choices that ends here */
    int64_t indexes[64];
    struct {
        uint32_t item, call;
        int64_t index;
    } calls[64]; /* of tools, where they say which they are */
    size_t call_count;
    bool top_delta;
    struct {
        struct guard_part *part;
        size_t begin, end; /* of its text in the event */
    } texts[GUARD_TEXTS_MAX];
    size_t text_count;
    int64_t numbers[3]; /* output_index, content_index, summary_index */
};

/* ---- parts ----------------------------------------------------------------------------------- */

static struct guard_part *part_of(struct guard_stream *stream, const char *key, int64_t choice)
{
    for (size_t i = 0; i < stream->part_count; i++) {
        if (!strcmp(stream->parts[i]->key, key))
            return stream->parts[i];
    }
    if (stream->part_count == GUARD_TEXTS_MAX)
        return NULL;
    struct guard_part *part = mem_alloc(1, sizeof *part);
    snprintf(part->key, sizeof part->key, "%s", key);
    part->choice = choice;
    stream->parts[stream->part_count++] = part;
    return part;
}

static void part_free(struct guard_part *part)
{
    guard_scan_finish(&part->scan);
    strbuf_finish(&part->before);
    strbuf_finish(&part->after);
    free(part);
}

/* What is left of a text, in an event like its last. */
static void flush_part(struct guard_stream *stream, struct guard_part *part)
{
    struct strbuf rest = {0};
    guard_scan_feed(&part->scan, stream->rules, NULL, 0, true, &rest, &stream->counts);
    if (rest.length > 0 && !stream->counts.blocked) {
        strbuf_append(&stream->out, strbuf_text(&part->before), part->before.length);
        guard_text_encode(rest.text, rest.length, &stream->out);
        strbuf_append(&stream->out, strbuf_text(&part->after), part->after.length);
    }
    strbuf_finish(&rest);
}

static bool always(const struct guard_part *part, const void *context)
{
    (void)part, (void)context;
    return true;
}

static void flush_where(struct guard_stream *stream,
    bool (*fits)(const struct guard_part *part, const void *context), const void *context)
{
    size_t kept = 0;
    for (size_t i = 0; i < stream->part_count; i++) {
        struct guard_part *part = stream->parts[i];
        if (!fits(part, context)) {
            stream->parts[kept++] = part;
            continue;
        }
        flush_part(stream, part);
        part_free(part);
    }
    stream->part_count = kept;
}

/* ---- first: what ends ------------------------------------------------------------------------ */

static int64_t number_of(const char *text, size_t length)
{
    char digits[20] = {0};
    memcpy(digits, text, length < sizeof digits - 1 ? length : sizeof digits - 1);
    return strtoll(digits, NULL, 10);
}

static bool in_choices(const struct guard_walk *walk)
{
    return walk->depth > 1 && walk->levels[1].list && !strcmp(walk->levels[0].name, "choices");
}

static void note_call(struct chunk *chunk, const struct guard_walk *walk, int64_t index)
{
    if (chunk->call_count == ARRAY_LEN(chunk->calls))
        return;
    chunk->calls[chunk->call_count].item = walk->levels[1].items;
    chunk->calls[chunk->call_count].call = walk->levels[4].items;
    chunk->calls[chunk->call_count++].index = index;
}

static bool on_outline(
    void *context, const struct guard_walk *walk, enum guard_value value, size_t begin, size_t end)
{
    static const char *const names[] = {"output_index", "content_index", "summary_index"};
    struct chunk *chunk = context;
    size_t item = in_choices(walk) ? walk->levels[1].items : 0;
    if (value == GUARD_STRING && guard_walk_is(walk, "delta"))
        chunk->top_delta = true;
    if (value == GUARD_NUMBER && guard_walk_is(walk, "choices[].index") && item < 64)
        chunk->indexes[item] = number_of(walk->text + begin, end - begin);
    if (value == GUARD_STRING && guard_walk_is(walk, "choices[].finish_reason") && item < 64)
        chunk->ending |= UINT64_C(1) << item;
    if (value == GUARD_NUMBER && guard_walk_is(walk, "choices[].delta.tool_calls[].index"))
        note_call(chunk, walk, number_of(walk->text + begin, end - begin));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (value == GUARD_NUMBER && guard_walk_is(walk, names[i]))
            chunk->numbers[i] = number_of(walk->text + begin, end - begin);
    }
    return item < 64;
}

/* ---- then: the texts ------------------------------------------------------------------------- */

static const char *spread_path(const struct guard_walk *walk)
{
    for (size_t i = 0; i < ARRAY_LEN(spread); i++) {
        if (guard_walk_is(walk, spread[i]))
            return spread[i];
    }
    return NULL;
}

/* Of a call of a tool; of what is none 0. */
static int64_t call_of(const struct chunk *chunk, const struct guard_walk *walk)
{
    if (walk->depth < 5 || !walk->levels[4].list)
        return 0;
    for (size_t i = 0; i < chunk->call_count; i++) {
        if (chunk->calls[i].item == walk->levels[1].items &&
            chunk->calls[i].call == walk->levels[4].items)
            return chunk->calls[i].index;
    }
    return walk->levels[4].items;
}

static struct guard_part *part_at(
    struct chunk *chunk, const struct guard_walk *walk, const char *path)
{
    char key[GUARD_KEY_BYTES];
    if (!strcmp(path, "delta")) {
        snprintf(key, sizeof key, "delta %lld %lld %lld", (long long)chunk->numbers[0],
            (long long)chunk->numbers[1], (long long)chunk->numbers[2]);
        return part_of(chunk->stream, key, -1);
    }
    int64_t choice = chunk->indexes[walk->levels[1].items];
    snprintf(
        key, sizeof key, "%lld %lld %s", (long long)choice, (long long)call_of(chunk, walk), path);
    return part_of(chunk->stream, key, choice);
}

static bool ends_here(const struct guard_part *part, const void *context)
{
    const struct chunk *chunk = context;
    for (size_t i = 0; i < 64; i++) {
        if (chunk->ending >> i & 1 && part->choice == chunk->indexes[i])
            return true;
    }
    return false;
}

static bool edit_spread(struct chunk *chunk, struct guard_part *part, size_t begin, size_t end)
{
    struct guard_stream *stream = chunk->stream;
    if (chunk->text_count == GUARD_TEXTS_MAX)
        return false;
    guard_scan_feed(&part->scan, stream->rules, strbuf_text(&chunk->decoded), chunk->decoded.length,
        ends_here(part, chunk), &chunk->clean, &stream->counts);
    strbuf_clear(&chunk->encoded);
    guard_text_encode(strbuf_text(&chunk->clean), chunk->clean.length, &chunk->encoded);
    guard_edits_add(&chunk->edits, begin, end, chunk->encoded.text, chunk->encoded.length);
    chunk->texts[chunk->text_count].part = part;
    chunk->texts[chunk->text_count].begin = begin;
    chunk->texts[chunk->text_count++].end = end;
    return true;
}

static bool edit_whole(struct chunk *chunk, size_t begin, size_t end)
{
    struct guard_stream *stream = chunk->stream;
    if (!guard_scan_whole(stream->rules, strbuf_text(&chunk->decoded), chunk->decoded.length,
            &chunk->clean, &stream->counts))
        return true;
    strbuf_clear(&chunk->encoded);
    guard_text_encode(strbuf_text(&chunk->clean), chunk->clean.length, &chunk->encoded);
    guard_edits_add(&chunk->edits, begin, end, chunk->encoded.text, chunk->encoded.length);
    return true;
}

static bool on_text(
    void *context, const struct guard_walk *walk, enum guard_value value, size_t begin, size_t end)
{
    struct chunk *chunk = context;
    if (guard_walk_in(walk, "logprobs") && (value == GUARD_OBJECT || value == GUARD_LIST))
        guard_edits_add(&chunk->edits, begin, end, "null", 4);
    if (value != GUARD_STRING)
        return true;
    const char *path = spread_path(walk);
    strbuf_clear(&chunk->decoded);
    strbuf_clear(&chunk->clean);
    guard_text_decode(walk->text + begin + 1, end - begin - 2, &chunk->decoded);
    struct guard_part *part = path ? part_at(chunk, walk, path) : NULL;
    if (path && !part)
        return false;
    return part ? edit_spread(chunk, part, begin, end) : edit_whole(chunk, begin, end);
}

/* ---- events ---------------------------------------------------------------------------------- */

/* An event like this one with only this text: the others are empty, as their parts have them. */
static void keep_form(struct chunk *chunk, size_t which, const char *data, size_t length)
{
    struct guard_part *part = chunk->texts[which].part;
    struct guard_edits others = {0};
    struct strbuf *half[] = {&part->before, &part->after};
    size_t begin = chunk->texts[which].begin, end = chunk->texts[which].end;
    strbuf_clear(&part->before);
    strbuf_clear(&part->after);
    strbuf_puts(&part->before, "data: ");
    for (size_t i = 0, k = 0; i < chunk->edits.count; i++) {
        const struct guard_edit *edit = &chunk->edits.items[i];
        while (k < chunk->text_count && chunk->texts[k].begin < edit->begin)
            k++;
        bool empty = k < chunk->text_count && chunk->texts[k].begin == edit->begin;
        if (edit->begin != begin)
            guard_edits_add(&others, edit->begin, edit->end,
                empty ? "\"\"" : chunk->edits.text.text + edit->from, empty ? 2 : edit->count);
    }
    size_t at = 0;
    for (size_t i = 0; i <= others.count; i++) {
        bool last = i == others.count;
        size_t to = last ? length : others.items[i].begin;
        if (at <= begin && to >= end) {
            strbuf_append(half[0], data + at, begin - at);
            at = end;
        }
        strbuf_append(half[at >= end], data + at, to - at);
        if (last)
            break;
        strbuf_append(
            half[to >= end], others.text.text + others.items[i].from, others.items[i].count);
        at = others.items[i].end;
    }
    strbuf_puts(&part->after, "\n\n");
    guard_edits_finish(&others);
}

static bool is_of_responses(const struct guard_part *part, const void *context)
{
    (void)context;
    return part->choice < 0;
}

static void chunk_finish(struct chunk *chunk)
{
    guard_edits_finish(&chunk->edits);
    strbuf_finish(&chunk->decoded);
    strbuf_finish(&chunk->clean);
    strbuf_finish(&chunk->encoded);
}

static void put_chunk(
    struct chunk *chunk, const char *event, size_t data_at, size_t length, size_t event_length)
{
    struct guard_stream *stream = chunk->stream;
    strbuf_append(&stream->out, event, data_at);
    guard_edits_apply(&chunk->edits, chunk->text, length, &stream->out);
    strbuf_append(&stream->out, event + data_at + length, event_length - data_at - length);
}

static bool guard_chunk(
    struct guard_stream *stream, const char *event, size_t data_at, size_t length, size_t all)
{
    struct guard_walk walk;
    struct chunk chunk = {.stream = stream, .text = event + data_at};
    for (size_t i = 0; i < ARRAY_LEN(chunk.indexes); i++)
        chunk.indexes[i] = (int64_t)i;
    bool fine = guard_walk(&walk, chunk.text, length, on_outline, &chunk);
    if (fine && !chunk.top_delta)
        flush_where(stream, is_of_responses, NULL);
    fine = fine && guard_walk(&walk, chunk.text, length, on_text, &chunk);
    for (size_t i = 0; fine && i < chunk.text_count; i++)
        keep_form(&chunk, i, chunk.text, length);
    /* What the choice's texts had left goes before its end; those of this event have nothing. */
    if (fine && chunk.ending)
        flush_where(stream, ends_here, &chunk);
    if (fine && !stream->counts.blocked)
        put_chunk(&chunk, event, data_at, length, all);
    chunk_finish(&chunk);
    return fine;
}

static size_t line_length(const char *text, size_t length)
{
    size_t i = 0;
    while (i < length && text[i] != '\n' && text[i] != '\r')
        i++;
    return i;
}

/* The one line of data; false: there are several, or bytes of other lines that nobody sends. */
static bool find_data(const char *event, size_t length, size_t *ret_at, size_t *ret_length)
{
    *ret_length = 0;
    for (size_t at = 0; at < length;) {
        size_t line = line_length(event + at, length - at);
        if (line >= 5 && !memcmp(event + at, "data:", 5)) {
            if (*ret_length > 0)
                return false;
            *ret_at = at + 5 + (line > 5 && event[at + 5] == ' ');
            *ret_length = at + line - *ret_at;
        }
        at += line + 1;
    }
    return true;
}

/* Names of events and comments are texts too. */
static bool guard_plain(struct guard_stream *stream, const char *event, size_t length)
{
    if (!guard_scan_whole(stream->rules, event, length, &stream->out, &stream->counts))
        strbuf_append(&stream->out, event, length);
    return true;
}

static bool guard_event(struct guard_stream *stream, const char *event, size_t length)
{
    size_t at = 0, data = 0;
    bool fine = find_data(event, length, &at, &data);
    if (fine && data == 6 && !memcmp(event + at, "[DONE]", 6))
        flush_where(stream, always, NULL);
    if (fine && data > 0 && event[at] != '[')
        fine = guard_chunk(stream, event, at, data, length);
    else if (fine)
        fine = stream->counts.blocked || guard_plain(stream, event, length);
    stream->failed = stream->failed || !fine || stream->counts.unreadable;
    return !stream->failed && !stream->counts.blocked;
}

/* ---- interface ------------------------------------------------------------------------------- */

/* Whether this byte ends an event. */
static bool ends_event(struct guard_stream *stream, char c)
{
    bool line_end = c == '\n' || c == '\r';
    bool second = stream->after_cr && c == '\n';
    bool ends = line_end && !second && !stream->in_line;
    if (!second)
        stream->in_line = !line_end;
    stream->after_cr = c == '\r';
    return ends;
}

bool guard_stream_piece(struct guard_stream *stream, const char *bytes, size_t length)
{
    strbuf_clear(&stream->out);
    size_t from = 0;
    for (size_t i = 0; i < length; i++) {
        if (!ends_event(stream, bytes[i]))
            continue;
        strbuf_append(&stream->held, bytes + from, i + 1 - from);
        from = i + 1;
        if (!guard_event(stream, stream->held.text, stream->held.length))
            return false;
        strbuf_clear(&stream->held);
    }
    if (length > from)
        strbuf_append(&stream->held, bytes + from, length - from);
    stream->failed = stream->failed || stream->held.length > GUARD_EVENT_BYTES_MAX;
    return !stream->failed;
}

bool guard_stream_end(struct guard_stream *stream)
{
    strbuf_clear(&stream->out);
    if (stream->held.length > 0 && !guard_event(stream, stream->held.text, stream->held.length))
        return false;
    flush_where(stream, always, NULL);
    return !stream->counts.blocked && !stream->counts.unreadable;
}

void guard_stream_finish(struct guard_stream *stream)
{
    for (size_t i = 0; i < stream->part_count; i++)
        part_free(stream->parts[i]);
    strbuf_finish(&stream->held);
    strbuf_finish(&stream->out);
    stream->part_count = 0;
}
