/* Which limits a request is subject to, and which turn it gets at busy replicas: what the service,
 * the key and the teams it counts for say. */
#pragma once

#include "gateway/relay.h"

#include <stddef.h>

struct limit_rules;
struct limit_store;
struct service_limits;

/* How many limits there are at most: a request without a key is not asked for those of each. */
size_t relay_rights_count(const struct service_limits *limits, const struct route_key *key);
/* Adds them to the rules, which have room. key NULL: nobody known. */
void relay_rights_gather(const struct relay *relay, const struct route_key *key,
    const struct limit_store *store, struct limit_rules *rules);
/* Sets relay->turn: a team is a tenant, else a key, else an address. */
void relay_rights_turn(struct relay *relay, const struct route_key *key);
