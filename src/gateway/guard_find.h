/* What a guard finds, one place at a time: whether a secret, personal data or a phrase begins at an
 * anchor. An anchor is a short text of fixed length that stands in each thing to be found; a fast
 * search finds the anchors (guard_library.h), and the functions here decide.
 *
 * A decision depends on the bytes from GUARD_BEFORE before the beginning to GUARD_REACH after it,
 * and on nothing else: so the same text is decided in the same way however it arrives. */
#pragma once

#include "spec/kinds.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    GUARD_REACH = 192, /* the hold-back of streams, in bytes */
    GUARD_BEFORE = 32,
};

/* What goes on after its decided end, byte by byte, as long as it may: bits of guard_scan.runs. */
enum guard_run {
    RUN_NONE = 0,
    RUN_WORD = 1 << 0,   /* letters, digits, - and _ */
    RUN_DOTTED = 1 << 1, /* and . */
    RUN_PEM = 1 << 2,    /* up to the end line of a private key */
};
enum { RUN_COUNT = 3 };

struct guard_text {
    const char *text;
    size_t length;
};

struct guard_match {
    size_t begin, end;
    enum guard_kind kind;
    enum guard_run run;
};

typedef bool guard_find_fn(
    const struct guard_text *text, size_t at, enum guard_kind kind, struct guard_match *ret);

/* An anchor: an expression of fixed length. */
struct guard_anchor {
    const char *expression; /* of the regular expressions that all libraries read alike */
    size_t length;          /* of what it matches */
    bool caseless;
    enum guard_kind kind;
    guard_find_fn *find; /* at the anchor's first byte */
};

enum { GUARD_ANCHORS_MAX = 64 };

/* All anchors, and how many there are. */
const struct guard_anchor *guard_anchors(size_t *ret_count);
/* Where a run ends that is under way at `from`; text->length: it may go on. */
size_t guard_run_end(enum guard_run run, const struct guard_text *text, size_t from);

/* ---- between guard_find.c, guard_personal.c, guard_prompt.c ------------------------------------
 */

/* Letters of ASCII, digits, _ . Bytes of other letters are none. */
bool guard_is_word(char c);
bool guard_is_digit(char c);
/* Whether a word goes on before or at the offset. */
bool guard_word_before(const struct guard_text *text, size_t at);
bool guard_word_at(const struct guard_text *text, size_t at);

guard_find_fn guard_find_email, guard_find_phone_plus, guard_find_phone_groups,
    guard_find_phone_area, guard_find_iban, guard_find_card, guard_find_ssn, guard_find_ipv4,
    guard_find_ipv6;
guard_find_fn guard_find_phrase;
