/* Asks a replica for the usage of a stream whose client did not: the one place in a body of the
 * OpenAI API where "stream_options": {"include_usage": true} has to stand, found as its bytes
 * arrive, and put there without parsing the rest of it.
 *
 * A body is left as it is where it is no JSON, asks for no stream, asks for usage already, or can
 * be understood in two ways (a member that is there twice, a name with escapes). */
#pragma once

#include "gateway/member_scan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct strbuf;

/* The bytes from `at`, `removed` of them, become `text`. */
struct usage_edit {
    uint64_t at;
    size_t removed;
    const char *text;
};

/* Opaque in spirit. */
struct usage_ask {
    struct member_scan scan;
    enum member_scan_result result;
    bool twice; /* what counts is there more than once, or its name has escapes */
    struct usage_ask_seen {
        bool is_there, empty;
        enum member_kind kind;
        uint64_t begin, end;
    } stream, options, usage;
};

/* Before the first byte. Not to be moved afterwards. */
void usage_ask_init(struct usage_ask *ask);
/* Takes the next bytes of the body. */
void usage_ask_feed(struct usage_ask *ask, const char *bytes, size_t length);
/* The body has ended: whether it has to be edited, and how. */
bool usage_ask_find(const struct usage_ask *ask, struct usage_edit *ret);
/* A whole body in one go: true when it was edited. */
bool usage_ask_edit(struct strbuf *body);
/* The longest text that an edit puts in: where there are no stream_options at all. */
#define USAGE_EDIT_WHOLE ",\"stream_options\":{\"include_usage\":true}"
enum { USAGE_EDIT_BYTES_MAX = sizeof USAGE_EDIT_WHOLE - 1 };
