/* A connection to Redis or Valkey on an event loop, through hiredis, which is loaded when it is
 * needed: who shares nothing does not need it. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;

/* The library, loaded; as long as the process. */
struct redis_library;
/* ERR_UNAVAILABLE: it is not installed, or muster was built without it. */
MUST_CHECK int redis_library_load(struct redis_library **ret, struct error *err);
void redis_library_free(struct redis_library *library); /* NULL is fine */

/* "unix:/PATH", or "redis://ADDRESS[:PORT]" with a numeric address: names would block the loop. */
MUST_CHECK int redis_address_check(const char *address, struct error *err);

/* What came back; valid within the callback. Of a list: its whole numbers, and its first text. */
struct redis_reply {
    bool failed;      /* no answer, or an error: then text says which */
    const char *text; /* terminated by NUL, which may be in it as well; NULL: there is none */
    size_t length;    /* of it */
    int64_t numbers[160];
    size_t count;
};
typedef void redis_reply_fn(void *context, const struct redis_reply *reply);

struct redis_link;
struct redis_link_options {
    const char *address;
    const char *what;       /* is there, for the log: "the shared counters of limits" */
    size_t reply_bytes_max; /* a connection that brings more at once is given up; 0: no bound */
    void (*on_up)(void *context);
};
/* Connects, and again with a growing pause whenever the connection is lost; calls on_up each time
 * one is there. The texts of the options outlive it. */
struct redis_link *redis_link_open(struct redis_library *library, struct event_base *base,
    const struct redis_link_options *options, void *context);
/* What is under way is answered as failed. NULL is fine. */
void redis_link_close(struct redis_link *link);
/* Gives the connection up, as if it had been lost; why is for the log. */
void redis_link_reset(struct redis_link *link, const char *why);
/* Whether there is a connection. */
bool redis_link_is_up(const struct redis_link *link);
/* Sends a command; false: there is no connection, and fn is not called. fn NULL: the answer is of
 * no interest. fn is not called before this returns. */
bool redis_link_send(struct redis_link *link, int count, const char *const *words,
    redis_reply_fn *fn, void *context);
/* The same with words that may hold NUL, of these lengths; NULL: they end with it. */
bool redis_link_send_sized(struct redis_link *link, int count, const char *const *words,
    const size_t *lengths, redis_reply_fn *fn, void *context);
