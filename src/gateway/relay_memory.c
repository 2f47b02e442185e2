/* The memory of relays: what one leaves the next one gets, so that it is in the caches and nothing
 * is asked of the allocator. A worker keeps at most WORKER_SPARES_MAX, which are on a list by the
 * link that those who wait use. */
#include "base/memory.h"
#include "gateway/relay.h"

#include <stdlib.h>
#include <string.h>

/* A sanitizer sees who uses one that has ended only if it is freed. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SPARES_MAX 0
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define SPARES_MAX 0
#endif
#ifndef SPARES_MAX
#define SPARES_MAX WORKER_SPARES_MAX
#endif

struct relay *relay_alloc(struct worker_view *view)
{
    struct relay *relay = TAILQ_FIRST(&view->spares);
    if (!relay) {
        relay = mem_alloc(1, sizeof *relay);
    } else {
        TAILQ_REMOVE(&view->spares, relay, link);
        view->spare_count--;
        memset(relay, 0, sizeof *relay);
    }
    relay->view = view;
    return relay;
}

void relay_keep(struct relay *relay)
{
    struct worker_view *view = relay->view;
    if (view->spare_count == SPARES_MAX) {
        free(relay);
        return;
    }
    TAILQ_INSERT_HEAD(&view->spares, relay, link);
    view->spare_count++;
}

void relay_free_spares(struct worker_view *view)
{
    struct relay *relay;
    while ((relay = TAILQ_FIRST(&view->spares))) {
        TAILQ_REMOVE(&view->spares, relay, link);
        free(relay);
    }
    view->spare_count = 0;
}
