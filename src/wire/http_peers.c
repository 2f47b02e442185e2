/* Peers of a server: see http_peers.h. An entry is in the list of the forgettable exactly while it
 * has no connection. Tokens are counted in thousandths, so slow rates lose nothing to rounding. */
#include "wire/http_peers.h"

#include "base/map.h"
#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/queue.h>

enum { FORGETTABLE_MAX = 4096, TOKEN_MILLI = 1000 };

struct http_peer_entry {
    TAILQ_ENTRY(http_peer_entry) link;
    char *key;
    size_t connections;
    uint64_t tokens_milli;
    int64_t refilled_ms; /* 0: never, the bucket is full */
};

struct http_peers {
    struct strmap by_key;
    TAILQ_HEAD(, http_peer_entry) forgettable;
    size_t forgettable_count;
    size_t connections_max;
    uint32_t requests_per_s;
    uint32_t requests_burst;
};

struct http_peers *http_peers_create(
    size_t connections_max, uint32_t requests_per_s, uint32_t requests_burst)
{
    assert(connections_max > 0);
    struct http_peers *peers = mem_alloc(1, sizeof *peers);
    TAILQ_INIT(&peers->forgettable);
    peers->connections_max = connections_max;
    peers->requests_per_s = requests_per_s;
    peers->requests_burst = requests_burst;
    return peers;
}

static void forget_oldest(struct http_peers *peers)
{
    struct http_peer_entry *entry = TAILQ_FIRST(&peers->forgettable);
    assert(entry && entry->connections == 0);
    TAILQ_REMOVE(&peers->forgettable, entry, link);
    peers->forgettable_count--;
    strmap_remove(&peers->by_key, entry->key);
    free(entry->key);
    free(entry);
}

void http_peers_destroy(struct http_peers *peers)
{
    if (!peers)
        return;
    while (!TAILQ_EMPTY(&peers->forgettable))
        forget_oldest(peers);
    strmap_finish(&peers->by_key);
    free(peers);
}

static struct http_peer_entry *entry_create(struct http_peers *peers, const char *key)
{
    struct http_peer_entry *entry = mem_alloc(1, sizeof *entry);
    entry->key = mem_strdup(key);
    entry->tokens_milli = (uint64_t)peers->requests_burst * TOKEN_MILLI;
    strmap_put(&peers->by_key, key, entry);
    return entry;
}

struct http_peer_entry *http_peers_connect(struct http_peers *peers, const char *key)
{
    struct http_peer_entry *entry = strmap_get(&peers->by_key, key);
    if (!entry) {
        entry = entry_create(peers, key);
    } else if (entry->connections == 0) {
        TAILQ_REMOVE(&peers->forgettable, entry, link);
        peers->forgettable_count--;
    } else if (entry->connections >= peers->connections_max) {
        return NULL;
    }
    entry->connections++;
    return entry;
}

void http_peers_disconnect(struct http_peers *peers, struct http_peer_entry *entry)
{
    assert(entry->connections > 0);
    if (--entry->connections > 0)
        return;
    TAILQ_INSERT_TAIL(&peers->forgettable, entry, link);
    if (++peers->forgettable_count > FORGETTABLE_MAX)
        forget_oldest(peers);
}

static void refill(const struct http_peers *peers, struct http_peer_entry *entry, int64_t now_ms)
{
    uint64_t full = (uint64_t)peers->requests_burst * TOKEN_MILLI;
    uint64_t elapsed_ms = entry->refilled_ms && now_ms > entry->refilled_ms
                              ? (uint64_t)(now_ms - entry->refilled_ms)
                              : 0;
    entry->refilled_ms = now_ms;
    if (elapsed_ms > full / peers->requests_per_s)
        entry->tokens_milli = full;
    else
        entry->tokens_milli += elapsed_ms * peers->requests_per_s;
    if (entry->tokens_milli > full)
        entry->tokens_milli = full;
}

uint32_t http_peers_take(struct http_peers *peers, struct http_peer_entry *entry, int64_t now_ms)
{
    if (peers->requests_per_s == 0)
        return 0;
    refill(peers, entry, now_ms);
    if (entry->tokens_milli >= TOKEN_MILLI) {
        entry->tokens_milli -= TOKEN_MILLI;
        return 0;
    }
    uint64_t missing_ms = (TOKEN_MILLI - entry->tokens_milli) / peers->requests_per_s;
    return (uint32_t)((missing_ms + 999) / 1000 + (missing_ms == 0));
}
