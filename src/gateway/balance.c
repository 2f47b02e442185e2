/* Choosing a replica: see balance.h. Counters of other workers move while they are looked at; a
 * choice that is off by one request is as good as the right one. */
#include "gateway/balance.h"

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

/* What stands before the number of outstanding requests: 0 is best, negative: not to be asked. */
static int rank(const struct table_replica *replica, const struct balance_query *query)
{
    const struct route_replica *route = replica->route;
    if (route->draining ||
        (query->version != BALANCE_ANY_VERSION && query->version != route->version))
        return -1;
    bool tried = was_tried(query->tried, route->replica);
    if (tried && !query->again)
        return -1;
    bool aside =
        atomic_load_explicit(&replica->state->aside_until_ms, memory_order_relaxed) > query->now_ms;
    return (tried ? 2 : 0) + (aside ? 1 : 0);
}

const struct table_replica *balance_pick(
    const struct table_service *service, const struct balance_query *query, uint64_t *turn)
{
    size_t count = service->route->replica_count;
    const struct table_replica *best = NULL;
    int best_rank = 0;
    int_fast64_t least = 0;
    uint64_t first = (*turn)++;
    for (size_t i = 0; i < count; i++) {
        const struct table_replica *replica = &service->replicas[(first + i) % count];
        int its = rank(replica, query);
        if (its < 0)
            continue;
        int_fast64_t outstanding =
            atomic_load_explicit(&replica->state->outstanding, memory_order_relaxed);
        if (!best || its < best_rank || (its == best_rank && outstanding < least)) {
            best = replica;
            best_rank = its;
            least = outstanding;
        }
    }
    return best;
}
