/* Guarantees come back: the second half of invariant 4, in a world where nothing else is in the
 * way. One team borrows the whole cluster; another asks for what it is guaranteed. */
#pragma once

#include "base/error.h"

#include <stdint.h>

struct sim_reclaim_result {
    int64_t devices;    /* of the cluster */
    int64_t guaranteed; /* to the team that asks */
    int64_t preempted;  /* attempts that were stopped for it */
    int64_t rounds;     /* until it had everything */
};

/* -1: after the bound of rounds the team has not what it is guaranteed, more was preempted than
 * that takes, the other team lost what it is guaranteed itself, or it does not end there. */
MUST_CHECK int sim_reclaim(uint64_t seed, struct sim_reclaim_result *ret_result, struct error *err);
