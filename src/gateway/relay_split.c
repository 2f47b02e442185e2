/* Splitting requests over the arms of a rollout: see relay_split.h. */
#include "gateway/relay_split.h"

#include "base/memory.h"
#include "gateway/relay.h"

#include <sodium.h>

void relay_split_draw(struct relay *relay, const struct route_split *split)
{
    if (split->canary == 0 || relay->target.version != BALANCE_ANY_VERSION)
        return;
    struct prng *prng = &relay->view->split;
    while (prng->state == 0)
        randombytes_buf(&prng->state, sizeof prng->state);
    int64_t drawn = (int64_t)prng_below(prng, 100);
    if (drawn < split->canary)
        relay->arm = ROUTE_ARM_CANARY;
    else if (drawn < split->canary + split->baseline)
        relay->arm = ROUTE_ARM_BASELINE;
    relay->batch_passed = relay->arm != ROUTE_ARM_MAIN;
}

enum route_arm relay_split_arm(const struct relay *relay)
{
    return relay->retries == 0 ? relay->arm : ROUTE_ARM_MAIN;
}

const struct table_replica *relay_split_pick(
    const struct table_service *service, struct balance_query *query, uint64_t *turn)
{
    static const enum route_arm others[] = {ROUTE_ARM_MAIN, ROUTE_ARM_BASELINE};
    const struct table_replica *found = balance_pick(service, query, turn);
    bool split = service->route->split.canary > 0 || query->arm != ROUTE_ARM_MAIN;
    for (size_t i = 0; !found && split && i < ARRAY_LEN(others); i++) {
        query->arm = others[i];
        found = balance_pick(service, query, turn);
    }
    return found;
}
