/* A bounded answer over HTTP: one exchange whose answer is collected, up to so many bytes, or
 * handed on as it comes. What asks gateways and other endpoints goes by it. */
#pragma once

#include "wire/http_agent.h"

#include <stddef.h>
#include <stdint.h>

struct fetch_request {
    const char *method; /* NULL: GET */
    const char *target;
    const char *body; /* JSON; NULL: none */
    size_t length;
    int64_t timeout_ms; /* as of http_exchange_request */
    size_t bytes_max;   /* of the answer's body; a longer one is none */
    /* Gets the body in pieces, of any status, in place of its being collected. NULL: it is
     * collected. */
    void (*take)(void *context, const void *bytes, size_t length);
};

/* Valid within the call. */
struct fetch_answer {
    int status;          /* 0: there is no whole answer */
    const char *text;    /* "" where it was not collected */
    size_t length;       /* of it */
    const char *trouble; /* why there is none, a sentence; NULL: there is one */
};

struct fetch;
/* The fetch is over: its handle is not valid any more, and another may be begun. */
typedef void fetch_fn(void *context, const struct fetch_answer *answer);

/* Never fails at once. The endpoint may be released while it is under way. */
struct fetch *fetch_begin(struct http_endpoint *endpoint, const struct fetch_request *request,
    fetch_fn *done, void *context);
/* Gives it up: done is not called. NULL is fine. */
void fetch_cancel(struct fetch *fetch);
