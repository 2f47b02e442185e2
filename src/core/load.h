/* Loading stored rows. Rows come kind by kind in the order of enum row_kind, and each is linked to
 * rows that came before it. A row that contradicts others is reported and never trusted: the store
 * may be damaged. */
#pragma once

#include "core/core.h"
#include "core/limits.h"
#include "core/state.h"
#include "core/table.h"

/* A row of the kind that is loaded, and where to. */
struct loader {
    struct core *core;
    const void *row;
    struct error *err;
};

/* Makes the row's object and links it. 0, or -1 with ERR_CORRUPT: the core can only be destroyed
 * then. */
typedef int load_fn(const struct loader *in);

/* load_cluster.c, load_jobs.c, load_places.c, load_services.c */
load_fn load_pool, load_price, load_level, load_node, load_node_label, load_reservation, load_team,
    load_quota;
load_fn load_shape, load_rule, load_job, load_job_label, load_dependency, load_allotment,
    load_speed, load_spot, load_data, load_broker, load_copy;
load_fn load_attempt, load_placement, load_span, load_claim, load_promise;
load_fn load_service, load_replica, load_rollout, load_evidence;

/* Says what is wrong with the row. Returns -1. */
int load_corrupt(const struct loader *in, enum row_kind kind, const char *what);
/* Copies the row into a new object, which the table owns from then on. */
void load_known(const struct loader *in, enum row_kind kind, struct item *item);
/* The same for an object that is allocated here, of that size. */
void *load_object(const struct loader *in, enum row_kind kind, size_t size);
#define LOAD(in, kind, type) ((type *)load_object((in), (kind), sizeof(type)))
/* A row that came before; NULL: there is none of that id. */
#define FIND(in, kind, type, id) ((type *)table_find((in)->core, (kind), (id)))

static inline bool amount_sane(int64_t amount)
{
    return amount >= 0 && amount <= AMOUNT_MAX;
}

/* A moment or a length. */
static inline bool length_sane(int64_t ms)
{
    return ms >= 0 && ms <= TIME_MS_MAX;
}
