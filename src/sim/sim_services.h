/* What a server does for services, simulated: commands about them, the jobs of replicas that the
 * core wants, and checks of those that run. How well the replicas of a revision do is decided by
 * the service and the revision alone, so that a machine that was stopped finds them as they were.
 */
#pragma once

#include "sim/sim_input.h"
#include "sim/sim_store.h"
#include "sim/sim_world.h"

enum sim_health {
    HEALTH_GOOD,
    HEALTH_CRASHES, /* ends as soon as it has started */
    HEALTH_NEVER,   /* runs, and never gets ready */
    HEALTH_FLAPS,   /* ready and not ready by turns */
    HEALTH_ILL      /* ready, and then it does not answer any more */
};
enum sim_health sim_service_health(uint64_t service, int32_t revision);
/* How often a healthy replica's age has to be looked at, and when it is ready. */
enum { SIM_READY_MS = 5000 };

/* The replica that a live job is, or NULL. */
const struct replica_row *sim_replica_of(const struct sim_store *store, uint64_t job);

/* A random put, renewal or deletion. False: nothing to name. */
bool sim_service_command(
    struct sim_world *world, const struct sim_store *store, struct sim_input *ret_input);
/* The submission of a wanted replica; its texts live in the arena. */
void sim_replica_make(struct arena *arena, const char *team, const struct core_wanted *wanted,
    struct sim_input *ret_input);
/* What checks say about the replica now, if anything. Calm: everything that runs is healthy. */
bool sim_replica_check(struct prng *prng, const struct sim_store *store,
    const struct replica_row *replica, bool calm, int64_t now_ms, struct sim_input *ret_input);
/* What the gateway measured of a replica since the last time, if anything: by what its revision is
 * worth, for whatever replica, also one that serves in no arm. Some revisions get no requests. */
bool sim_replica_measure(
    struct prng *prng, const struct replica_row *replica, struct sim_input *ret_input);
/* When a replica will get ready next, or INT64_MAX. */
int64_t sim_replicas_next_ms(const struct sim_store *store, int64_t now_ms);
