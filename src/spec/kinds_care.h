/* What the gateway does so that a request is answered all the same, or fails soon: a part of
 * kinds.h. */
#pragma once

#include "spec/kinds_base.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* When nobody waits for an answer any more. */
struct service_deadline {
    int64_t total_ms; /* 0: any time */
    bool header;      /* clients may ask for less */
};

/* Failing fast while all replicas fail. */
struct service_circuit {
    int64_t failures; /* requests in a row; 0: never */
    int64_t open_ms, open_max_ms;
};

/* Asking another replica when one is slow. */
struct service_hedge {
    const char *after; /* "p95", "200ms": see hedge_after_parse; NULL: never */
    int64_t percent;   /* of requests */
    struct text_list safe;
};

/* Who is asked when a service fails. */
enum { FALLBACK_MAX = 4 };
enum broken_streams { BROKEN_CUT, BROKEN_EVENT };
struct service_fallback {
    struct {
        struct fallback_to {
            const char *route;
            int64_t version;       /* 0: any */
            struct text_list on;   /* none: all */
            int64_t first_byte_ms; /* 0: the service's own timeout */
        } * items;
        size_t count;
    } to;
    int64_t first_byte_ms;
    enum broken_streams broken;
};

/* A small model first. */
enum cascade_confidence {
    CONFIDENCE_OUTPUT,
    CONFIDENCE_LOGPROBS,
    CONFIDENCE_POINTER,
    CONFIDENCE_HEADER
};
struct service_cascade {
    const char *first; /* a route; NULL: none */
    enum cascade_confidence confidence;
    const char *name;
    int64_t threshold_micro;
    int64_t timeout_ms; /* 0: the service's own */
};
