/* Addresses of hosts that are known by name. Looking one up may take as long as the system's
 * resolver likes, so a thread does it that nobody waits for; whoever dials asks again until it
 * knows. What was found is kept, and looked up anew while it is still used.
 *
 * Calls may come from any thread. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
    RESOLVE_ADDRESSES_MAX = 8,     /* of a name; what is beyond is not tried */
    RESOLVE_FRESH_MS = 30 * 1000,  /* then it is looked up anew.. */
    RESOLVE_STALE_MS = 600 * 1000, /* ..and the old addresses do for so long */
    RESOLVE_AGAIN_MS = 1000,       /* a name that was not found is not looked up sooner */
    RESOLVE_THREADS_MAX = 8,       /* of the process: lookups that are under way */
};

struct resolved {
    struct sockaddr_storage address;
    socklen_t size;
};

/* Fills at most RESOLVE_ADDRESSES_MAX; how many, or -1 with err. Blocks. */
typedef int resolve_fn(const char *host, uint16_t port, struct resolved *ret, struct error *err);

struct resolver;
/* Nothing is looked up yet. lookup NULL: the system's. */
struct resolver *resolver_create(const char *host, uint16_t port, resolve_fn *lookup);
/* A lookup that is under way ends by itself and is forgotten. NULL is fine. */
void resolver_release(struct resolver *resolver);

enum resolve { RESOLVE_FOUND, RESOLVE_LATER, RESOLVE_FAILED };
/* Never waits. RESOLVE_LATER: ask again in a moment; RESOLVE_FAILED: err says why. now_ms is of
 * the monotonic clock. */
enum resolve resolver_address(
    struct resolver *resolver, int64_t now_ms, struct resolved *ret, struct error *err);
/* The address that was given last could not be connected to: the next one is given from here on.
 * How many there are. */
int resolver_blame(struct resolver *resolver);
