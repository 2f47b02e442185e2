/* The items of the lists in a large answer, one by one as they arrive: the jobs of a cluster may be
 * tens of megabytes of JSON, of which never more than one item is held.
 *
 * The answer is an object whose members may be lists of objects: {"jobs": [{..}, ..], "errors":
 * [..]}. Everything else in it is passed over. An item is only cut out here: whoever gets it parses
 * it. */
#pragma once

#include "base/error.h"
#include "base/strbuf.h"
#include "wire/doc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    REPLY_ITEM_BYTES_MAX = 1 << 20,
    REPLY_DEPTH_MAX = 32,
    REPLY_NAME_MAX = 63,
};
#define REPLY_BYTES_MAX (UINT64_C(1) << 30)

/* An item of the list of that name. -1 ends the reading with that error. */
typedef int reply_item_fn(
    void *context, const char *list, const char *json, size_t length, struct error *err);

struct reply {
    reply_item_fn *on_item;
    void *context;
    uint64_t bytes;
    int depth;                     /* of open objects and lists */
    char kinds[REPLY_DEPTH_MAX];   /* '{' or '[' */
    bool text, escaped;            /* inside a string; after a backslash */
    bool key;                      /* the string is a name on the outermost level */
    bool over;                     /* the outermost object was closed */
    bool expects_value;            /* on the outermost level, after a colon */
    char name[REPLY_NAME_MAX + 1]; /* of the member that is read */
    size_t name_length;
    bool inside; /* an item is gathered */
    struct strbuf item;
};

/* Nothing was read yet. */
void reply_begin(struct reply *reply, reply_item_fn *on_item, void *context);
/* -1: ERR_CORRUPT (it is no such answer), ERR_TOO_LARGE, or what on_item said. Nothing may be fed
 * after that. */
MUST_CHECK int reply_feed(struct reply *reply, const char *bytes, size_t length, struct error *err);
/* An item of the list as a document, for as long as the arena is. NULL: ERR_INVALID, it is none. */
const struct doc *reply_item(
    struct arena *arena, const char *list, const char *json, size_t length, struct error *err);
/* -1: ERR_CORRUPT, the answer was cut. */
MUST_CHECK int reply_end(const struct reply *reply, struct error *err);
/* Frees what it holds. */
void reply_finish(struct reply *reply);
