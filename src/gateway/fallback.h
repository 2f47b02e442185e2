/* Which service is asked after which failure: the deciding part of fallbacks. */
#pragma once

#include "spec/kinds.h"

#include <stdbool.h>
#include <stddef.h>

/* Why another one is asked, as bits, in the order of fallback_reason_names. */
enum fallback_reason {
    FALLBACK_ERROR = 1,
    FALLBACK_TIMEOUT = 2,
    FALLBACK_OVERLOAD = 4,
    FALLBACK_CONNECTION = 8,
    FALLBACK_ANY = 15,
};

/* Of a replica's answer; 0: it is none to go elsewhere for. */
unsigned fallback_reason_of_status(int status);
/* Of what the gateway itself would refuse with. Of the service that the client asked a limit, a
 * guard or a key is no failure. */
unsigned fallback_reason_of_refusal(int status, const char *code, bool is_other);
/* For people: "timeout". */
const char *fallback_reason_text(unsigned reason);

/* The first from `next` on that is there for the reason; FALLBACK_MAX: none. */
size_t fallback_choose(const struct service_fallback *fallback, size_t next, unsigned reason);

/* How a stream begins, as far as it is there. */
enum stream_start {
    STREAM_OPEN,  /* no event is complete yet */
    STREAM_EVENT, /* one is */
    STREAM_ERROR, /* one is, and says that there is an error */
};
/* Comments and events without data do not count. */
enum stream_start fallback_stream_start(const char *bytes, size_t length);
/* The length up to and with the last end of an event; 0: there is none. */
size_t fallback_whole_events(const char *bytes, size_t length);
