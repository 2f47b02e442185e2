/* Choosing a replica: see balance.h. Counters of other workers move while they are looked at; a
 * choice that is off by one request is as good as the right one. */
#include "gateway/balance.h"

#include "gateway/prefix.h"

enum { LOOK_AT_ALL = 4 };

void balance_note(struct balance_tried *tried, uint64_t replica)
{
    if (tried->count < BALANCE_TRIED_MAX)
        tried->replicas[tried->count++] = replica;
}

static bool was_tried(const struct balance_tried *tried, uint64_t replica)
{
    for (size_t i = 0; i < tried->count; i++) {
        if (tried->replicas[i] == replica)
            return true;
    }
    return false;
}

/* What stands before the cost: 0 is best, negative: not to be asked. */
static int rank(const struct table_replica *replica, const struct balance_query *query)
{
    const struct route_replica *route = replica->route;
    if (route->draining || route->arm != query->arm ||
        (query->version != BALANCE_ANY_VERSION && query->version != route->version))
        return -1;
    bool tried = was_tried(query->tried, route->replica);
    if (tried && !query->again)
        return -1;
    bool aside =
        atomic_load_explicit(&replica->state->aside_until_ms, memory_order_relaxed) > query->now_ms;
    return (tried ? 2 : 0) + (aside ? 1 : 0);
}

static int64_t outstanding(const struct table_replica *replica)
{
    return atomic_load_explicit(&replica->state->outstanding, memory_order_relaxed);
}

/* ---- comparing ------------------------------------------------------------------------------- */

struct candidate {
    const struct table_replica *replica; /* NULL: none yet */
    int rank;
    int64_t outstanding, latency_us; /* 0: not known */
};

static struct candidate candidate_of(
    const struct table_replica *replica, const struct balance_query *query)
{
    return (struct candidate){replica, rank(replica, query), outstanding(replica),
        replica_state_latency(replica->state, query->now_ms)};
}

/* Latencies within an eighth of each other are the same: else the one that happened to be faster
 * would get everything while nothing is under way. */
static bool is_better(const struct candidate *one, const struct candidate *best)
{
    if (one->rank < 0 || !best->replica)
        return one->rank >= 0;
    if (one->rank != best->rank)
        return one->rank < best->rank;
    int64_t its = one->latency_us, other = best->latency_us;
    int64_t apart = its > other ? its - other : other - its;
    if (its == 0 || other == 0 || apart <= (its > other ? its : other) / 8)
        return one->outstanding < best->outstanding;
    return its * (one->outstanding + 1) < other * (best->outstanding + 1);
}

static uint64_t draw(uint64_t number)
{
    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9u;
    number = (number ^ number >> 27) * 0x94d049bb133111ebu;
    return number ^ number >> 31;
}

/* All of them from a place that moves on with each choice. */
static const struct table_replica *best_of_all(
    const struct table_service *service, const struct balance_query *query, uint64_t first)
{
    size_t count = service->route->replica_count;
    struct candidate best = {0};
    for (size_t i = 0; i < count; i++) {
        struct candidate one = candidate_of(&service->replicas[(first + i) % count], query);
        if (is_better(&one, &best))
            best = one;
    }
    return best.replica;
}

/* NULL when neither is as good as a replica can be: then all have to be looked at. */
static const struct table_replica *better_of_two(
    const struct table_service *service, const struct balance_query *query, uint64_t turn)
{
    size_t count = service->route->replica_count;
    uint64_t number = draw(turn);
    size_t one = (size_t)(number % count);
    size_t two = (one + 1 + (size_t)((number >> 32) % (count - 1))) % count;
    struct candidate best = {0}, first = candidate_of(&service->replicas[one], query);
    struct candidate second = candidate_of(&service->replicas[two], query);
    if (is_better(&first, &best))
        best = first;
    if (is_better(&second, &best))
        best = second;
    return best.replica && best.rank == 0 ? best.replica : NULL;
}

/* ---- affinity -------------------------------------------------------------------------------- */

/* Consistent hashing with bounded loads (Mirrokni et al., 2018) has the bound: nobody gets more
 * than a part of the mean, which counts this request. */
static bool is_overloaded(const struct table_service *service, const struct table_replica *replica,
    const struct balance_query *query)
{
    int64_t sum = 1, ready = 0;
    for (size_t i = 0; i < service->route->replica_count; i++) {
        const struct table_replica *one = &service->replicas[i];
        bool counts = rank(one, query) == 0;
        sum += counts ? outstanding(one) : 0;
        ready += counts;
    }
    return (outstanding(replica) + 1) * 100 * ready > sum * query->load_percent + 99 * ready;
}

static const struct table_replica *affine_replica(
    const struct table_service *service, const struct balance_query *query)
{
    for (size_t i = 0; i < service->route->replica_count; i++) {
        const struct table_replica *replica = &service->replicas[i];
        if (prefix_tag(replica->route->replica) == query->affine && rank(replica, query) == 0)
            return is_overloaded(service, replica, query) ? NULL : replica;
    }
    return NULL;
}

const struct table_replica *balance_pick(
    const struct table_service *service, const struct balance_query *query, uint64_t *turn)
{
    const struct table_replica *found = query->affine ? affine_replica(service, query) : NULL;
    uint64_t first = (*turn)++;
    if (!found && service->route->replica_count > LOOK_AT_ALL)
        found = better_of_two(service, query, first);
    return found ? found : best_of_all(service, query, first);
}
