/* Walks a JSON text (RFC 8259, UTF-8, at most GUARD_DEPTH_MAX deep) and says where each value
 * stands and under which names; and decodes and encodes its texts. It holds nothing and allocates
 * nothing: edits are collected apart and made at the end. */
#pragma once

#include "base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GUARD_DEPTH_MAX = 64, GUARD_NAME_BYTES = 40 };

enum guard_value { GUARD_STRING, GUARD_NUMBER, GUARD_WORD, GUARD_OBJECT, GUARD_LIST };

/* An object or list that is being read. */
struct guard_level {
    bool list;
    uint32_t items;              /* of a list: before the one that is read */
    char name[GUARD_NAME_BYTES]; /* of an object: decoded; "" when it is too long or has NUL */
    size_t name_begin;           /* where it stands, its quotation mark */
};

struct guard_walk {
    const char *text;
    size_t length, at;
    int depth;                                  /* of levels; 0: the outermost value */
    struct guard_level levels[GUARD_DEPTH_MAX]; /* the outermost first */
    const char *fault;                          /* what is wrong, at `at` */
    struct strbuf name;
};

/* A value that stands at [begin, end); the levels say where. Containers come after what is in them.
 * False ends the walk. */
typedef bool guard_value_fn(
    void *context, const struct guard_walk *walk, enum guard_value value, size_t begin, size_t end);

/* Whether the whole text is JSON and no call said false; else walk->fault says why (NULL: a call
 * did). Everything is initialized here. */
bool guard_walk(
    struct guard_walk *walk, const char *text, size_t length, guard_value_fn *on_value, void *ctx);

/* Whether the names of the levels are those of a path such as "choices[].delta.content"; of a list
 * any item. */
bool guard_walk_is(const struct guard_walk *walk, const char *path);

/* Whether the value is a member of that name, at whatever depth. */
bool guard_walk_in(const struct guard_walk *walk, const char *name);

/* Appends what a string means, of its bytes between the quotation marks, which the walk has read:
 * UTF-8, and halves of surrogate pairs that stand alone as three bytes each. */
void guard_text_decode(const char *bytes, size_t length, struct strbuf *out);
/* Appends it as a string with its quotation marks: of a decoded text one that decodes to it. */
void guard_text_encode(const char *text, size_t length, struct strbuf *out);

/* Replacements in a text, in the order of their places. Zeroed: none. */
struct guard_edits {
    struct guard_edit {
        size_t begin, end;  /* what goes */
        size_t from, count; /* what comes, in text */
    } * items;
    size_t count, capacity;
    struct strbuf text;
};

/* Replaces [begin, end), which begins no earlier than any before it ends. Of those that begin later
 * than `begin` none stays: an object that goes takes with it what was edited there. */
void guard_edits_add(
    struct guard_edits *edits, size_t begin, size_t end, const char *text, size_t length);
/* Appends the text with the replacements made. */
void guard_edits_apply(
    const struct guard_edits *edits, const char *text, size_t length, struct strbuf *out);
void guard_edits_clear(struct guard_edits *edits);
void guard_edits_finish(struct guard_edits *edits);
