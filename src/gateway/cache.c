/* Answers that are given again: see cache.h. An entry is in the map from the first question on; it
 * has an answer, or somebody who leads, or both never. Entries with an answer are in two lists,
 * that of all and that of their shelf, the least recently used first. */
#include "gateway/cache.h"

#include "base/map.h"
#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum { ENTRY_OVERHEAD = 256 };

struct entry {
    uint64_t id; /* of the key, in the map */
    struct cache_key key;
    struct cache_answer *answer; /* NULL: somebody leads */
    int64_t expires_ms;
    struct cache_ticket *followers, **followers_end;
    size_t follower_count;
    struct shelf *shelf; /* with an answer, as what follows */
    TAILQ_ENTRY(entry) of_all, of_shelf;
};

TAILQ_HEAD(entries, entry);

struct shelf {
    char *name;
    struct entries entries;
    size_t bytes;
};

struct cache {
    struct idmap by_id;
    struct strmap shelves;
    struct entries entries;
    size_t bytes, bytes_max, count;
    uint64_t evicted;
    cache_on_verdict *on_verdict;
};

/* ---- answers --------------------------------------------------------------------------------- */

static size_t text_bytes(const char *text)
{
    return strlen(text) + 1;
}

static size_t answer_bytes(const struct cache_field *fields, size_t count, size_t length)
{
    size_t bytes = sizeof(struct cache_answer) + count * sizeof *fields + length;
    for (size_t i = 0; i < count; i++)
        bytes += text_bytes(fields[i].name) + text_bytes(fields[i].value);
    return bytes;
}

static const char *put_text(char **at, const char *text)
{
    const char *copy = *at;
    *at = stpcpy(*at, text) + 1;
    return copy;
}

struct cache_answer *cache_answer_create(int status, const struct cache_field *fields, size_t count,
    const char *etag, const char *body, size_t length, int64_t now_ms)
{
    size_t bytes = answer_bytes(fields, count, length);
    struct cache_answer *answer = mem_alloc(1, bytes);
    struct cache_field *copies = (struct cache_field *)(answer + 1);
    char *at = (char *)(copies + count);
    atomic_init(&answer->refs, 1);
    answer->status = status;
    answer->made_ms = now_ms;
    answer->bytes = bytes;
    answer->fields = copies;
    answer->field_count = count;
    assert(strlen(etag) < sizeof answer->etag);
    strcpy(answer->etag, etag);
    for (size_t i = 0; i < count; i++) {
        copies[i].name = put_text(&at, fields[i].name);
        copies[i].value = put_text(&at, fields[i].value);
    }
    answer->body = at;
    answer->body_length = length;
    if (length > 0)
        memcpy(at, body, length);
    return answer;
}

void cache_answer_ref(struct cache_answer *answer)
{
    atomic_fetch_add_explicit(&answer->refs, 1, memory_order_relaxed);
}

void cache_answer_unref(struct cache_answer *answer)
{
    if (answer && atomic_fetch_sub_explicit(&answer->refs, 1, memory_order_acq_rel) == 1)
        free(answer);
}

/* ---- entries --------------------------------------------------------------------------------- */

static uint64_t id_of(const struct cache_key *key)
{
    uint64_t id;
    memcpy(&id, key->bytes, sizeof id);
    return id ? id : 1;
}

static bool same_key(const struct cache_key *a, const struct cache_key *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static struct entry *entry_create(struct cache *cache, const struct cache_key *key)
{
    struct entry *entry = mem_alloc(1, sizeof *entry);
    entry->id = id_of(key);
    entry->key = *key;
    entry->followers_end = &entry->followers;
    idmap_put(&cache->by_id, entry->id, entry);
    cache->count++;
    return entry;
}

static size_t entry_bytes(const struct entry *entry)
{
    return entry->answer->bytes + ENTRY_OVERHEAD;
}

static struct shelf *shelf_of(struct cache *cache, const char *name)
{
    struct shelf *shelf = strmap_get(&cache->shelves, name);
    if (shelf)
        return shelf;
    shelf = mem_alloc(1, sizeof *shelf);
    shelf->name = mem_strdup(name);
    TAILQ_INIT(&shelf->entries);
    strmap_put(&cache->shelves, name, shelf);
    return shelf;
}

static void shelf_free(struct cache *cache, struct shelf *shelf)
{
    strmap_remove(&cache->shelves, shelf->name);
    free(shelf->name);
    free(shelf);
}

static void entry_drop_answer(struct cache *cache, struct entry *entry)
{
    struct shelf *shelf = entry->shelf;
    size_t bytes = entry_bytes(entry);
    assert(shelf->bytes >= bytes && cache->bytes >= bytes);
    TAILQ_REMOVE(&cache->entries, entry, of_all);
    TAILQ_REMOVE(&shelf->entries, entry, of_shelf);
    shelf->bytes -= bytes;
    cache->bytes -= bytes;
    cache_answer_unref(entry->answer);
    entry->answer = NULL;
    entry->shelf = NULL;
    if (TAILQ_EMPTY(&shelf->entries))
        shelf_free(cache, shelf);
}

static void entry_free(struct cache *cache, struct entry *entry)
{
    assert(!entry->followers);
    if (entry->answer)
        entry_drop_answer(cache, entry);
    idmap_remove(&cache->by_id, entry->id);
    cache->count--;
    free(entry);
}

static void evict(struct cache *cache, struct entry *entry)
{
    cache->evicted++;
    entry_free(cache, entry);
}

static void used(struct cache *cache, struct entry *entry)
{
    TAILQ_REMOVE(&cache->entries, entry, of_all);
    TAILQ_INSERT_TAIL(&cache->entries, entry, of_all);
    TAILQ_REMOVE(&entry->shelf->entries, entry, of_shelf);
    TAILQ_INSERT_TAIL(&entry->shelf->entries, entry, of_shelf);
}

/* Makes room by what was not used for longest, the shelf's own first. False: it can not fit. */
static bool make_room(
    struct cache *cache, const char *shelf_name, size_t bytes, size_t shelf_bytes_max)
{
    if (bytes > shelf_bytes_max || bytes > cache->bytes_max)
        return false;
    for (;;) {
        struct shelf *shelf = strmap_get(&cache->shelves, shelf_name);
        if (!shelf || shelf->bytes + bytes <= shelf_bytes_max)
            break;
        evict(cache, TAILQ_FIRST(&shelf->entries));
    }
    while (cache->bytes + bytes > cache->bytes_max)
        evict(cache, TAILQ_FIRST(&cache->entries));
    return true;
}

static void entry_fill(
    struct cache *cache, struct entry *entry, const struct cache_outcome *outcome, int64_t now_ms)
{
    entry->answer = outcome->answer;
    entry->expires_ms = now_ms + outcome->ttl_ms;
    entry->shelf = shelf_of(cache, outcome->shelf);
    TAILQ_INSERT_TAIL(&cache->entries, entry, of_all);
    TAILQ_INSERT_TAIL(&entry->shelf->entries, entry, of_shelf);
    entry->shelf->bytes += entry_bytes(entry);
    cache->bytes += entry_bytes(entry);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static enum cache_verdict decide(struct cache_ticket *ticket, enum cache_verdict verdict)
{
    ticket->verdict = verdict;
    return verdict;
}

static enum cache_verdict follow(struct entry *entry, struct cache_ticket *ticket)
{
    if (!ticket->waits || entry->follower_count >= CACHE_FOLLOWERS_MAX)
        return decide(ticket, CACHE_ALONE);
    ticket->next = NULL;
    *entry->followers_end = ticket;
    entry->followers_end = &ticket->next;
    entry->follower_count++;
    return decide(ticket, CACHE_WAITS);
}

enum cache_verdict cache_ask(struct cache *cache, struct cache_ticket *ticket, int64_t now_ms)
{
    struct entry *entry = idmap_get(&cache->by_id, id_of(&ticket->key));
    if (entry && !same_key(&entry->key, &ticket->key))
        return decide(ticket, CACHE_ALONE); /* of two with the same 64 bits one has the place */
    if (entry && entry->answer && (entry->expires_ms <= now_ms || ticket->anew)) {
        entry_free(cache, entry);
        entry = NULL;
    }
    if (!entry) {
        entry_create(cache, &ticket->key);
        return decide(ticket, CACHE_LEAD);
    }
    if (!entry->answer)
        return follow(entry, ticket);
    used(cache, entry);
    cache_answer_ref(entry->answer);
    ticket->answer = entry->answer;
    return decide(ticket, CACHE_HIT);
}

/* ---- settling -------------------------------------------------------------------------------- */

static struct cache_ticket *take_follower(struct entry *entry)
{
    struct cache_ticket *ticket = entry->followers;
    if (!ticket)
        return NULL;
    entry->followers = ticket->next;
    if (!entry->followers)
        entry->followers_end = &entry->followers;
    entry->follower_count--;
    ticket->next = NULL;
    return ticket;
}

static void tell(struct cache *cache, struct cache_ticket *ticket, enum cache_verdict verdict,
    struct cache_answer *answer)
{
    if (answer)
        cache_answer_ref(answer);
    ticket->answer = answer;
    ticket->verdict = verdict;
    cache->on_verdict(ticket);
}

static void tell_all(struct cache *cache, struct cache_ticket *first, enum cache_verdict verdict,
    struct cache_answer *answer)
{
    while (first) {
        struct cache_ticket *next = first->next;
        first->next = NULL;
        tell(cache, first, verdict, answer);
        first = next;
    }
}

static struct cache_ticket *take_followers(struct entry *entry)
{
    struct cache_ticket *first = entry->followers;
    entry->followers = NULL;
    entry->followers_end = &entry->followers;
    entry->follower_count = 0;
    return first;
}

static void settle_without(struct cache *cache, struct entry *entry, bool gone)
{
    struct cache_ticket *next = gone ? take_follower(entry) : NULL;
    if (next) {
        tell(cache, next, CACHE_LEAD, NULL);
        return;
    }
    struct cache_ticket *followers = take_followers(entry);
    entry_free(cache, entry);
    tell_all(cache, followers, CACHE_ALONE, NULL);
}

void cache_settle(struct cache *cache, const struct cache_outcome *outcome, int64_t now_ms)
{
    struct entry *entry = idmap_get(&cache->by_id, id_of(&outcome->key));
    assert(entry && same_key(&entry->key, &outcome->key) && !entry->answer);
    if (!outcome->answer) {
        settle_without(cache, entry, outcome->gone);
        return;
    }
    struct cache_ticket *followers = take_followers(entry);
    struct cache_answer *answer = outcome->answer;
    cache_answer_ref(answer);
    if (make_room(
            cache, outcome->shelf, answer->bytes + ENTRY_OVERHEAD, outcome->shelf_bytes_max)) {
        entry_fill(cache, entry, outcome, now_ms);
    } else {
        entry_free(cache, entry);
        cache_answer_unref(answer);
    }
    tell_all(cache, followers, CACHE_HIT, answer);
    cache_answer_unref(answer);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct cache *cache_create(size_t bytes_max, cache_on_verdict *on_verdict)
{
    struct cache *cache = mem_alloc(1, sizeof *cache);
    cache->bytes_max = bytes_max;
    cache->on_verdict = on_verdict;
    TAILQ_INIT(&cache->entries);
    return cache;
}

void cache_destroy(struct cache *cache)
{
    if (!cache)
        return;
    while (!TAILQ_EMPTY(&cache->entries))
        entry_free(cache, TAILQ_FIRST(&cache->entries));
    assert(cache->count == 0);
    idmap_finish(&cache->by_id);
    strmap_finish(&cache->shelves);
    free(cache);
}

void cache_figures(const struct cache *cache, struct cache_figures *ret)
{
    *ret = (struct cache_figures){cache->count, cache->bytes, cache->evicted};
}
