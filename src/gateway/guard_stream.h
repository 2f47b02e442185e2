/* The guard of an event stream of the OpenAI API, in whatever pieces it comes. The texts of one
 * choice are one text, however many events it is spread over: choices[].delta.content and its like,
 * choices[].text, and `delta` of the responses API. What is held back of it goes out with a later
 * event of the choice, or in an event made after its last one, before the event that ends it. All
 * other texts are looked at one by one. `logprobs`, which repeat the text in parts, become null.
 *
 * An event is held until it is whole. What cannot be read (no JSON, an event of more than
 * GUARD_EVENT_BYTES_MAX, more than GUARD_TEXTS_MAX texts at once) ends the stream: it cannot be
 * guarded. */
#pragma once

#include "gateway/guard_json.h"
#include "gateway/guard_scan.h"

enum { GUARD_EVENT_BYTES_MAX = 256 << 10, GUARD_TEXTS_MAX = 64, GUARD_KEY_BYTES = 96 };

/* A text that is spread over events. */
struct guard_part {
    char key[GUARD_KEY_BYTES];
    int64_t choice; /* whose it is; -1: of the responses API */
    struct guard_scan scan;
    struct strbuf before, after; /* the last event that had some of it, around the text */
};

/* Zeroed but for rules: nothing yet. Opaque in spirit. */
struct guard_stream {
    const struct guard_rules *rules;
    struct guard_counts counts;
    struct strbuf held; /* of an event that is not whole */
    struct strbuf out;  /* what the last call came to */
    bool in_line, after_cr;
    bool failed; /* it could not be read */
    struct guard_part *parts[GUARD_TEXTS_MAX];
    size_t part_count;
};

/* Takes a piece: what may go on is in stream->out, until the next call. False: the stream is to end
 * here, for counts.blocked or for failed; what is in out is to go out before. */
bool guard_stream_piece(struct guard_stream *stream, const char *bytes, size_t length);
/* The stream has ended: the same for what is held. */
bool guard_stream_end(struct guard_stream *stream);
void guard_stream_finish(struct guard_stream *stream);
