/* JSON in a canonical form: two texts have the same form exactly when they say the same, which is
 * told from the bytes, in one pass, without a tree. Spaces, the order of members, escapes and how a
 * number is written do not count; a number is its exact decimal value, so 1, 1.0 and 10e-1 are the
 * same and 0.1 is not the nearest double of it.
 *
 * The form is for hashing: each value of a list, and each member of a map, is followed by a comma,
 * members ascend by name, strings have no escape that is not needed, and numbers are digits without
 * zeros at either end and a power of ten. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { CANON_DEPTH_MAX = 32, CANON_VALUES_MAX = 65536 };

/* A member of a map; offsets into the form. */
struct canon_member {
    size_t name, value, end; /* `name` has its quotes; `end` is that of the value */
};

struct canon {
    char *text;
    size_t length;
    struct canon_member *members; /* of the outermost value, if it is a map */
    size_t member_count;
    size_t member_capacity; /* from here on its own business */
    size_t values;
};

/* False: it is no JSON, nested deeper than CANON_DEPTH_MAX, has more than CANON_VALUES_MAX values,
 * a name twice in a map, a NUL in a string, or an exponent of more than nine digits. Finish in
 * either case. */
bool canon_make(struct canon *canon, const char *text, size_t length);
void canon_finish(struct canon *canon);
/* Whether the outermost value is a map with such a member (no quotes, nothing to escape). */
bool canon_has(const struct canon *canon, const char *name);
/* Whether that member's value has this form. */
bool canon_is(const struct canon *canon, const char *name, const char *form);
