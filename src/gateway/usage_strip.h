/* Takes the events with nothing but usage out of a stream of the OpenAI API, whatever pieces it
 * comes in: those that the gateway asked for and the client did not. Everything else is passed on
 * to the byte. An event is held until it is whole, which no client could use before either. */
#pragma once

#include "base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>

/* An event that is longer has more in it than usage: it is passed on as it comes. */
enum { USAGE_EVENT_BYTES_MAX = 16 << 10 };

/* Zeroed: nothing yet. Opaque in spirit. */
struct usage_strip {
    struct strbuf held; /* of an event that is not complete */
    struct strbuf out;  /* what a piece comes to, where it is not part of the piece */
    bool in_line;       /* not at the beginning of a line */
    bool after_cr;      /* the last byte was a carriage return: a line feed belongs to it */
    bool passing;       /* the event is too long to be held */
    bool dropped;       /* the last event was taken out */
    size_t removed;     /* events so far */
};

/* Frees what it holds. */
void usage_strip_finish(struct usage_strip *strip);
/* Takes the next bytes. Gives those to pass on, valid until the next call, and how many there are.
 */
size_t usage_strip_piece(
    struct usage_strip *strip, const char *bytes, size_t length, const char **ret);
/* The stream has ended: gives what is held, as above. */
size_t usage_strip_end(struct usage_strip *strip, const char **ret);
/* Whether an event, its empty line included or not, has usage and no choice. */
bool usage_event_is(const char *event, size_t length);
