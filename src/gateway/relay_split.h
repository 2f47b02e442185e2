/* Which arm of a rollout a request goes to. */
#pragma once

#include "gateway/balance.h"
#include "gateway/routes.h"

#include <stdint.h>

struct relay;

/* Draws the arm of a request, once, as its service is known. The draw depends on nothing of the
 * request: only so are differences between arms the arms' own. One that names a version goes to no
 * arm but the main one, and one that goes to another is in no batch, so that each counts by itself.
 */
void relay_split_draw(struct relay *relay, const struct route_split *split);
/* The arm for the next attempt: after a failure the main one, which is not on trial. */
enum route_arm relay_split_arm(const struct relay *relay);
/* As balance_pick. While an arm has no replica for it, the main ones answer, then the baseline. */
const struct table_replica *relay_split_pick(
    const struct table_service *service, struct balance_query *query, uint64_t *turn);
