/* Collects what the gateway counts (gateway/usage.h) into the store, so that nothing is lost or
 * counted twice whoever is killed when: the values last seen of every series are stored in the same
 * transaction as the sums that they added to (server/serving_sums.h). A file whose gateway is gone
 * is removed only when a reading found nothing in it that was not stored, and what was seen of it
 * is forgotten only when the file is gone for good.
 *
 * Usage is put down to the hour in which the server collects it, a second after it happened; what
 * was counted while no server ran, to the hour in which one came back. It is no decision of anybody
 * and is not audited. */
#pragma once

#include "base/error.h"

#include <stdint.h>

struct server;
struct serving_usage;

/* Loads what was seen, collects at once and then every second. The chores worker and the ticker are
 * there. ERR_IO, ERR_CORRUPT. */
MUST_CHECK int serving_usage_create(
    struct server *server, struct serving_usage **ret, struct error *err);
/* After the ticker and the chores worker were destroyed. NULL is fine. */
void serving_usage_destroy(struct serving_usage *usage);
/* Collects what has been counted until now, then calls done, on the loop; after two seconds it is
 * called anyway, when the store or the disk do not answer. Not called any more after destroy, and
 * never before this returns. usage NULL: there is nothing to wait for, ERR_UNAVAILABLE. */
MUST_CHECK int serving_usage_refresh(
    struct serving_usage *usage, void (*done)(void *context), void *context, struct error *err);
/* When the newest complete collection began, in ms since 1970; 0: there was none yet. */
int64_t serving_usage_collected_ms(const struct serving_usage *usage);
