/* See resolve.h. The lock is held for copies alone, never while the system's resolver is asked. A
 * thread and the owner each have a reference: whoever is last frees, so nobody waits for a name
 * server that does not answer. */
#include "wire/resolve.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"

#include <assert.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct resolver {
    atomic_int references;
    resolve_fn *lookup;
    char *host;
    uint16_t port;
    pthread_mutex_t lock;
    /* Under the lock. */
    bool under_way, failed; /* failed: the last lookup */
    int64_t looked_ms;      /* when the last lookup ended */
    int64_t found_ms;       /* when the addresses were found */
    struct resolved addresses[RESOLVE_ADDRESSES_MAX];
    int count, next;
    char problem[200];
};

static atomic_int threads;

static void unlock_scope(pthread_mutex_t **lock)
{
    pthread_mutex_unlock(*lock);
}

static int system_lookup(const char *host, uint16_t port, struct resolved *ret, struct error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    char text[8];
    int count = 0;
    snprintf(text, sizeof text, "%u", port);
    int rc = getaddrinfo(host, text, &hints, &list);
    if (rc != 0)
        return error_set(err, ERR_UNAVAILABLE, "%s", gai_strerror(rc));
    for (struct addrinfo *at = list; at && count < RESOLVE_ADDRESSES_MAX; at = at->ai_next) {
        memcpy(&ret[count].address, at->ai_addr, at->ai_addrlen);
        ret[count++].size = at->ai_addrlen;
    }
    freeaddrinfo(list);
    return count;
}

struct resolver *resolver_create(const char *host, uint16_t port, resolve_fn *lookup)
{
    struct resolver *resolver = mem_alloc(1, sizeof *resolver);
    atomic_init(&resolver->references, 1);
    resolver->lookup = lookup ? lookup : system_lookup;
    resolver->host = mem_strdup(host);
    resolver->port = port;
    pthread_mutex_init(&resolver->lock, NULL);
    return resolver;
}

void resolver_release(struct resolver *resolver)
{
    if (!resolver || atomic_fetch_sub(&resolver->references, 1) > 1)
        return;
    pthread_mutex_destroy(&resolver->lock);
    free(resolver->host);
    free(resolver);
}

/* What a name stood for goes on to be used where looking it up fails. */
static void *look_up(void *context)
{
    struct resolver *resolver = context;
    struct resolved found[RESOLVE_ADDRESSES_MAX];
    struct error err = {0};
    int count = resolver->lookup(resolver->host, resolver->port, found, &err);
    pthread_mutex_lock(&resolver->lock);
    resolver->under_way = false;
    resolver->looked_ms = clock_monotonic_ns() / 1000000;
    resolver->failed = count <= 0;
    if (count > 0) {
        memcpy(resolver->addresses, found, (size_t)count * sizeof *found);
        resolver->count = count;
        resolver->next = 0;
        resolver->found_ms = resolver->looked_ms;
    } else {
        snprintf(resolver->problem, sizeof resolver->problem, "%.190s",
            err.text[0] ? err.text : "it has no address");
    }
    pthread_mutex_unlock(&resolver->lock);
    resolver_release(resolver);
    atomic_fetch_sub(&threads, 1);
    return NULL;
}

/* False: not now, there are too many. */
static bool begin(struct resolver *resolver)
{
    pthread_t thread;
    if (atomic_fetch_add(&threads, 1) >= RESOLVE_THREADS_MAX) {
        atomic_fetch_sub(&threads, 1);
        return false;
    }
    atomic_fetch_add(&resolver->references, 1);
    if (thread_start(&thread, look_up, resolver) == 0) {
        pthread_detach(thread);
        return true;
    }
    atomic_fetch_sub(&resolver->references, 1);
    atomic_fetch_sub(&threads, 1);
    return false;
}

enum resolve resolver_address(
    struct resolver *resolver, int64_t now_ms, struct resolved *ret, struct error *err)
{
    SCOPED(unlock_scope) pthread_mutex_t *held = &resolver->lock;
    pthread_mutex_lock(held);
    int64_t age = now_ms - resolver->found_ms;
    bool recent = resolver->failed && now_ms - resolver->looked_ms < RESOLVE_AGAIN_MS;
    bool has_some = resolver->count > 0 && age < RESOLVE_STALE_MS;
    if (!resolver->under_way && !recent && (!has_some || age >= RESOLVE_FRESH_MS))
        resolver->under_way = begin(resolver);
    if (has_some) {
        *ret = resolver->addresses[resolver->next];
        return RESOLVE_FOUND;
    }
    if (!recent)
        return RESOLVE_LATER;
    error_set(err, ERR_UNAVAILABLE, "the name %s cannot be resolved: %s", resolver->host,
        resolver->problem);
    return RESOLVE_FAILED;
}

int resolver_blame(struct resolver *resolver)
{
    SCOPED(unlock_scope) pthread_mutex_t *held = &resolver->lock;
    pthread_mutex_lock(held);
    if (resolver->count > 0)
        resolver->next = (resolver->next + 1) % resolver->count;
    return resolver->count;
}
