/* Says where the members of a JSON object stand, and those of objects that are its members, as the
 * bytes arrive: without holding them, allocating or recursion. For cuts and insertions at byte
 * level.
 *
 * It reads the outline: texts, brackets, and names and values of the first two levels. What is no
 * JSON deeper down or within a number is not seen; whoever edits by it leaves the wrong wrong. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MEMBER_NAME_BYTES = 24, MEMBER_DEPTH_MAX = 64, MEMBER_FRAMES = 2 };

enum member_kind {
    MEMBER_OTHER, /* a text, a number, or no JSON */
    MEMBER_TRUE,
    MEMBER_FALSE,
    MEMBER_NULL,
    MEMBER_OBJECT,
    MEMBER_LIST,
};

struct json_member {
    int depth;         /* 1: of the outermost object; 2: of an object that is its member */
    const char *outer; /* at depth 2 the name of that member, else NULL */
    const char *name;  /* "" for one longer than MEMBER_NAME_BYTES - 1 */
    bool escaped;      /* the name has escapes, which are not undone, or control characters */
    enum member_kind kind;
    bool empty;          /* an object or a list without anything in it */
    uint64_t begin, end; /* of the value: offsets from the first byte fed */
};

/* Called when a value has ended; the member lives until it returns. Inner ones come first. */
typedef void member_fn(const struct json_member *member, void *context);

enum member_scan_result { MEMBER_SCAN_MORE, MEMBER_SCAN_DONE, MEMBER_SCAN_FAULT };

/* Opaque in spirit; `end` is the offset of the last bracket once it is DONE. */
struct member_scan {
    member_fn *on_member;
    void *context;
    uint64_t offset, end;
    uint64_t lists; /* a bit for each depth: a list, else an object */
    uint8_t depth, state;
    bool naming; /* the text being read is the name of a member */
    struct member_frame {
        char name[MEMBER_NAME_BYTES];
        size_t name_length; /* stays at MEMBER_NAME_BYTES when it is too long */
        uint64_t begin, end;
        char head[6]; /* the first bytes of the value on its own level */
        uint8_t head_length;
        uint8_t phase;
        bool escaped, begun, closed, empty;
    } frames[MEMBER_FRAMES];
};

/* Before the first byte. on_member gets context. */
void member_scan_init(struct member_scan *scan, member_fn *on_member, void *context);
/* Takes the next bytes. DONE: the object is complete; only white space is taken after it. After a
 * FAULT it says the same for ever. */
enum member_scan_result member_scan_feed(
    struct member_scan *scan, const char *bytes, size_t length);
