/* Which requests are the same: a hash of all that an answer depends on. JSON counts by its value
 * (spaces, the order of members and how a number is written do not), tensors by their bytes.
 */
#pragma once

#include "gateway/cache.h"
#include "gateway/target.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cache_request {
    const char *service; /* "team/name" */
    const char *tenant;  /* whose answers it may share */
    uint64_t versions;   /* a hash of those that may answer */
    enum protocol protocol;
    const char *verb;
    const char *body;
    size_t length;
    int64_t json_length; /* what follows are tensors; -1: it is all JSON */
    bool sampled;        /* what is drawn at random may be given again */
};

struct cache_subject {
    struct cache_key key;
    bool streams; /* the answer will come in events */
};

/* False when the request is none whose answer may be kept: a body that is no JSON object, or too
 * large to look at (1 MiB, 65536 values), an id that the answer repeats, an answer that is drawn at
 * random. */
bool cache_key_make(const struct cache_request *request, struct cache_subject *ret);
