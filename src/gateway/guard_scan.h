/* Finds and redacts in a text that arrives in pieces. Whatever the pieces are, what comes out of
 * them together is the same, byte for byte.
 *
 * A byte goes out once nothing that may still be found can begin at it: after so many bytes more
 * (GUARD_REACH), or as soon as a word has ended over which nothing reaches. What is found
 * overlapping is one redaction, named after what begins first. */
#pragma once

#include "base/strbuf.h"
#include "gateway/guard_library.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is looked for, and with what. One thread's. */
struct guard_rules {
    const struct guard_library *patterns; /* NULL: the plain way, which tests compare with */
    struct guard_scratch *scratch;
    enum guard_action action[GUARD_KINDS];
    bool idle; /* nothing is looked for */
};

/* How often each kind was found. */
struct guard_counts {
    uint32_t of[GUARD_KINDS];
    uint32_t total, redacted;
    bool blocked;          /* something that is not to pass */
    bool unreadable;       /* the search failed: nothing may pass */
    enum guard_kind first; /* that is to be blocked */
};

/* A text under way. Zeroed: nothing yet. Opaque in spirit. */
struct guard_scan {
    struct strbuf window;
    uint64_t base;                 /* offset of the window's first byte in the text */
    size_t decided;                /* in the window: what begins before it was dealt with */
    size_t passed;                 /* what is before it is out, or taken out */
    uint64_t counted[GUARD_KINDS]; /* offsets up to which a kind was counted */
    unsigned runs;                 /* enum guard_run under way */
};

/* Takes a piece; final: it is the last one. What may go on is appended to out. */
void guard_scan_feed(struct guard_scan *scan, const struct guard_rules *rules, const char *bytes,
    size_t length, bool final, struct strbuf *out, struct guard_counts *counts);
/* Bytes held back. */
size_t guard_scan_held(const struct guard_scan *scan);
void guard_scan_finish(struct guard_scan *scan);

/* A whole text. True: out has another in its place, else out is as it was. */
bool guard_scan_whole(const struct guard_rules *rules, const char *text, size_t length,
    struct strbuf *out, struct guard_counts *counts);
