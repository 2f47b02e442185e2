/* Data that have to stay somewhere, and pools: what can never run is refused when it is submitted,
 * and what waits is told when a change of pools leaves it without one. Both are audited. */
#pragma once

#include "base/error.h"

#include <stdint.h>

struct job;
struct tick;

/* ERR_INVALID: none of the pools that the job may run in is where something that it reads or writes
 * has to stay; names what, where, and the pools. Audited as job-refuse. */
MUST_CHECK int jurisdiction_check_job(struct tick *tick, const struct job *job, struct error *err);
/* The pool's jurisdiction now, as a symbol; 0: none, or no pool. */
uint32_t jurisdiction_of_pool(const struct tick *tick, const char *pool);
/* A pool was put or deleted that had that jurisdiction: where no pool is left in it, each job that
 * has to be in one and has no place is audited as job-stranded, at most 100 of them. */
void jurisdiction_pool_changed(struct tick *tick, const char *pool, uint32_t before);
