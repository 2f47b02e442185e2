/* The route table: see table.h. */
#include "gateway/table.h"

#include "base/clock.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "spec/kinds.h"

#include <assert.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
    ASIDE_FIRST_MS = 50,
    ASIDE_MOST_MS = 1000,
    EJECT_FIRST_MS = 1000,
    EJECT_MOST_MS = 60000,
    LATENCY_MS = 10000, /* the time constant of what is remembered */
};

struct replica_states {
    struct replica_state *first;
    struct terms_set *terms;
};

/* A key by the beginning of its hash, for looking up. */
struct table_key {
    uint64_t prefix;
    const struct route_key *route;
};

/* Services by the hash of their route, in a table at most half full. The names in it are the
 * server's own: what clients ask for finds nothing worse than what is there, so the hash needs no
 * secret. */
struct table_slot {
    uint64_t hash;
    const struct table_service *service; /* NULL: free */
};

struct route_table {
    struct arena *arena;
    const struct routes *routes;
    struct table_slot *slots;
    size_t slot_mask;
    struct table_service *services;
    struct table_replica *replicas;
    size_t replica_count;
    struct table_key *keys; /* ascending */
    int64_t openai_body_max;
    struct limit_store *limits;
    uint64_t sequence;
};

/* ---- replicas -------------------------------------------------------------------------------- */

struct replica_states *replica_states_create(void)
{
    struct replica_states *states = mem_alloc(1, sizeof *states);
    states->terms = terms_set_create();
    return states;
}

static void state_free(struct replica_state *state)
{
    free(state->address);
    free(state);
}

void replica_states_destroy(struct replica_states *states)
{
    if (!states)
        return;
    for (struct replica_state *state = states->first, *next; state; state = next) {
        next = state->next;
        state_free(state);
    }
    terms_set_destroy(states->terms);
    free(states);
}

void replica_states_sweep(struct replica_states *states)
{
    for (struct replica_state **link = &states->first; *link;) {
        struct replica_state *state = *link;
        /* Acquire: whoever brought the count to zero has finished with the state. */
        if (state->tables > 0 ||
            atomic_load_explicit(&state->outstanding, memory_order_acquire) > 0) {
            link = &state->next;
            continue;
        }
        *link = state->next;
        state_free(state);
    }
    terms_sweep(states->terms);
}

/* The states of replicas that stayed are found through the map, which is made for one table: with
 * ten thousand replicas a walk for each would be noticed. */
static void map_states(const struct replica_states *states, struct idmap *ret)
{
    for (struct replica_state *state = states->first; state; state = state->next)
        idmap_put(ret, state->replica, state);
}

static struct replica_state *state_of(
    struct replica_states *states, struct idmap *known, const struct route_replica *replica)
{
    struct replica_state *state = idmap_get(known, replica->replica);
    if (state && !strcmp(state->address, replica->address) && state->uid == replica->uid)
        return state;
    state = mem_alloc(1, sizeof *state);
    state->replica = replica->replica;
    state->address = mem_strdup(replica->address);
    state->uid = replica->uid;
    state->next = states->first;
    states->first = state;
    idmap_put(known, state->replica, state);
    return state;
}

const struct service_terms *replica_states_terms(const struct replica_states *states)
{
    return terms_first(states->terms);
}

void replica_states_write(const struct replica_states *states, struct strbuf *out)
{
    for (struct replica_state *state = states->first; state; state = state->next) {
        strbuf_printf(out,
            "%s{\"replica\":%" PRIu64 ",\"routed\":%s,\"outstanding\":%" PRIdFAST64
            ",\"requests\":%" PRIuFAST64 ",\"failures\":%" PRIuFAST64 ",\"lastMs\":%" PRIdFAST64
            "}",
            state == states->first ? "" : ",", state->replica, state->tables ? "true" : "false",
            atomic_load(&state->outstanding), atomic_load(&state->requests),
            atomic_load(&state->failures), atomic_load(&state->last_ms));
    }
}

void replica_states_write_metrics(const struct replica_states *states, struct strbuf *out)
{
    strbuf_puts(out, "# HELP muster_gateway_replica_outstanding Requests under way at a replica.\n"
                     "# TYPE muster_gateway_replica_outstanding gauge\n");
    for (struct replica_state *state = states->first; state; state = state->next) {
        strbuf_printf(out,
            "muster_gateway_replica_outstanding{replica=\"%" PRIu64 "\",address=", state->replica);
        strbuf_json(out, state->address);
        strbuf_printf(out, "} %" PRIdFAST64 "\n", atomic_load(&state->outstanding));
    }
    terms_write_metrics(states->terms, out);
}

void replica_state_begin(struct replica_state *state)
{
    atomic_fetch_add_explicit(&state->outstanding, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&state->requests, 1, memory_order_relaxed);
    atomic_store_explicit(&state->last_ms, clock_wall_about_ms(), memory_order_relaxed);
}

void replica_state_done(struct replica_state *state, bool failed)
{
    if (failed)
        atomic_fetch_add_explicit(&state->failures, 1, memory_order_relaxed);
    /* Last, and released: after it the main thread may free the state. */
    int_fast64_t before = atomic_fetch_sub_explicit(&state->outstanding, 1, memory_order_release);
    assert(before > 0);
    (void)before;
}

void replica_state_refused(struct replica_state *state, int64_t now_ms)
{
    uint_fast32_t refusals = atomic_fetch_add_explicit(&state->refusals, 1, memory_order_relaxed);
    int64_t aside_ms = refusals < 5 ? (int64_t)ASIDE_FIRST_MS << refusals : ASIDE_MOST_MS;
    aside_ms = aside_ms > ASIDE_MOST_MS ? ASIDE_MOST_MS : aside_ms;
    atomic_store_explicit(&state->aside_until_ms, now_ms + aside_ms, memory_order_relaxed);
}

void replica_state_outcome(
    struct replica_state *state, bool failed, int64_t failures, int64_t now_ms)
{
    if (!failed) {
        if (atomic_load_explicit(&state->failed_in_row, memory_order_relaxed) > 0)
            atomic_store_explicit(&state->failed_in_row, 0, memory_order_relaxed);
        return;
    }
    int64_t row =
        (int64_t)atomic_fetch_add_explicit(&state->failed_in_row, 1, memory_order_relaxed) + 1;
    if (failures == 0 || row < failures)
        return;
    int64_t times = row - failures;
    int64_t aside_ms = times < 6 ? (int64_t)EJECT_FIRST_MS << times : EJECT_MOST_MS;
    atomic_store_explicit(&state->aside_until_ms, now_ms + aside_ms, memory_order_relaxed);
}

void replica_state_measure(struct replica_state *state, int64_t latency_us, int64_t now_ms)
{
    int64_t before = replica_state_latency(state, now_ms), sample = latency_us > 0 ? latency_us : 1;
    int64_t passed = now_ms - atomic_load_explicit(&state->measured_ms, memory_order_relaxed);
    if (before > 0 && sample < before) {
        /* The part that time has taken of what was known: t / (t + constant). */
        passed = passed < 1 ? 1 : passed;
        sample = before - (before - sample) * passed / (passed + LATENCY_MS);
    }
    atomic_store_explicit(&state->latency_us, sample, memory_order_relaxed);
    atomic_store_explicit(&state->measured_ms, now_ms, memory_order_relaxed);
}

int64_t replica_state_latency(const struct replica_state *state, int64_t now_ms)
{
    int64_t measured = atomic_load_explicit(&state->measured_ms, memory_order_relaxed);
    return now_ms - measured > LATENCY_MS
               ? 0
               : atomic_load_explicit(&state->latency_us, memory_order_relaxed);
}

void replica_state_answered(struct replica_state *state)
{
    /* Looked at first: writing would move the line between processors with every answer. */
    if (atomic_load_explicit(&state->refusals, memory_order_relaxed) == 0)
        return;
    atomic_store_explicit(&state->refusals, 0, memory_order_relaxed);
    atomic_store_explicit(&state->aside_until_ms, 0, memory_order_relaxed);
}

/* ---- tables ---------------------------------------------------------------------------------- */

static uint64_t hash_prefix(const uint8_t hash[32])
{
    uint64_t prefix;
    memcpy(&prefix, hash, sizeof prefix);
    return prefix;
}

static int compare_keys(const void *a, const void *b)
{
    uint64_t left = ((const struct table_key *)a)->prefix;
    uint64_t right = ((const struct table_key *)b)->prefix;
    return left < right ? -1 : left > right;
}

static void add_keys(struct route_table *table)
{
    const struct routes *routes = table->routes;
    table->keys = arena_alloc(table->arena, routes->key_count + 1, sizeof *table->keys);
    for (size_t i = 0; i < routes->key_count; i++)
        table->keys[i] = (struct table_key){hash_prefix(routes->keys[i].hash), &routes->keys[i]};
    qsort(table->keys, routes->key_count, sizeof *table->keys, compare_keys);
}

/* Eight bytes at a time, each of which reaches the highest bits; those then reach the lowest. */
static uint64_t route_hash(const char *route)
{
    const uint64_t odd = UINT64_C(0x9e3779b97f4a7c15); /* 2^64 by the golden ratio */
    size_t length = strlen(route);
    uint64_t hash = length, word;
    for (; length >= sizeof word; length -= sizeof word, route += sizeof word) {
        memcpy(&word, route, sizeof word);
        hash = (hash ^ word) * odd;
        hash ^= hash >> 32;
    }
    word = 0;
    memcpy(&word, route, length);
    hash = (hash ^ word) * odd;
    return hash ^ hash >> 32;
}

/* Where the service of a route is, or would be. */
static struct table_slot *slot_of(const struct route_table *table, const char *route)
{
    uint64_t hash = route_hash(route);
    size_t i = hash & table->slot_mask;
    while (
        table->slots[i].service &&
        (table->slots[i].hash != hash || strcmp(table->slots[i].service->route->route, route) != 0))
        i = (i + 1) & table->slot_mask;
    return &table->slots[i];
}

static void add_service(struct route_table *table, struct replica_states *states,
    struct idmap *known, struct table_service *service)
{
    const struct route_service *route = service->route;
    struct table_replica *replicas = &table->replicas[table->replica_count];
    for (size_t i = 0; i < route->replica_count; i++) {
        struct replica_state *state = state_of(states, known, &route->replicas[i]);
        state->tables++;
        replicas[i] = (struct table_replica){&route->replicas[i], state, table->replica_count++};
    }
    service->replicas = replicas;
    service->terms = terms_of(states->terms, route);
    if (route->openai && route->options->body_bytes_max > table->openai_body_max)
        table->openai_body_max = route->options->body_bytes_max;
    *slot_of(table, route->route) = (struct table_slot){route_hash(route->route), service};
}

static void add_services(struct route_table *table, struct replica_states *states)
{
    const struct routes *routes = table->routes;
    size_t replicas = 0;
    SCOPED(idmap_finish) struct idmap known = {0};
    for (size_t i = 0; i < routes->service_count; i++)
        replicas += routes->services[i].replica_count;
    table->replicas = arena_alloc(table->arena, replicas + 1, sizeof *table->replicas);
    table->services = arena_alloc(table->arena, routes->service_count + 1, sizeof *table->services);
    for (table->slot_mask = 1; table->slot_mask < 2 * routes->service_count;)
        table->slot_mask = table->slot_mask * 2 + 1;
    table->slots = arena_alloc(table->arena, table->slot_mask + 1, sizeof *table->slots);
    map_states(states, &known);
    for (size_t i = 0; i < routes->service_count; i++) {
        table->services[i].route = &routes->services[i];
        add_service(table, states, &known, &table->services[i]);
    }
}

int route_table_create(const char *text, size_t length, struct replica_states *states,
    uint64_t sequence, struct route_table **ret, struct error *err)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct routes *routes;
    if (routes_decode(arena, text, length, &routes, err) < 0)
        return -1;
    struct route_table *table = mem_alloc(1, sizeof *table);
    table->arena = arena;
    arena = NULL;
    table->routes = routes;
    table->sequence = sequence;
    add_keys(table);
    add_services(table, states);
    *ret = table;
    return 0;
}

void route_table_destroy(struct route_table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < table->replica_count; i++) {
        assert(table->replicas[i].state->tables > 0);
        table->replicas[i].state->tables--;
    }
    for (size_t i = 0; i < table->routes->service_count; i++)
        terms_release(table->services[i].terms);
    arena_destroy(table->arena);
    free(table);
}

uint64_t route_table_sequence(const struct route_table *table)
{
    return table->sequence;
}

const struct routes *route_table_routes(const struct route_table *table)
{
    return table->routes;
}

size_t route_table_replica_count(const struct route_table *table)
{
    return table->replica_count;
}

const struct table_replica *route_table_replica(const struct route_table *table, size_t index)
{
    assert(index < table->replica_count);
    return &table->replicas[index];
}

int64_t route_table_openai_body_max(const struct route_table *table)
{
    return table->openai_body_max;
}

struct limit_store *route_table_limits(const struct route_table *table)
{
    return table->limits;
}

void route_table_set_limits(struct route_table *table, struct limit_store *limits)
{
    table->limits = limits;
}

const struct table_service *route_table_service(const struct route_table *table, const char *route)
{
    return slot_of(table, route)->service;
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* Where the keys begin whose prefix is not below this one. */
static size_t lower_bound(const struct route_table *table, uint64_t prefix)
{
    size_t first = 0, end = table->routes->key_count;
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        if (table->keys[middle].prefix < prefix)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

bool route_key_expired(const struct route_key *key, int64_t now_ms)
{
    return key->expires_ms != 0 && key->expires_ms <= now_ms;
}

const struct route_key *route_table_key(
    const struct route_table *table, const char *text, int64_t now_ms)
{
    uint8_t hash[crypto_hash_sha256_BYTES];
    size_t length = strlen(text);
    if (length == 0 || length > ROUTE_KEY_TEXT_MAX)
        return NULL;
    crypto_hash_sha256(hash, (const unsigned char *)text, length);
    uint64_t prefix = hash_prefix(hash);
    for (size_t i = lower_bound(table, prefix);
         i < table->routes->key_count && table->keys[i].prefix == prefix; i++) {
        const struct route_key *key = table->keys[i].route;
        if (sodium_memcmp(key->hash, hash, sizeof hash) == 0 && !route_key_expired(key, now_ms))
            return key;
    }
    return NULL;
}

static bool holds(const char *const *texts, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(texts[i], text))
            return true;
    }
    return false;
}

bool route_allows(const struct route_service *service, const struct route_key *key)
{
    if (service->options->access == ACCESS_PUBLIC)
        return true;
    if (!key || (key->service_count > 0 && !holds((const char *const *)key->services,
                                               key->service_count, service->service)))
        return false;
    return service->options->access == ACCESS_KNOWN ||
           holds((const char *const *)key->teams, key->team_count, service->team);
}
