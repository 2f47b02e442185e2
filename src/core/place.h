/* Places: which nodes fit, how well, which devices, and plans for whole gangs. */
#pragma once

#include "base/vec.h"
#include "core/core.h"

struct amounts;
struct live_job;
struct live_node;
struct live_pool;
struct live_rule;
struct live_shape;

/* ---- fit.c ------------------------------------------------------------------------------------
 */

/* Nodes that could hold a rank of the shape, pools in order. */
void shape_candidates(struct core *core, struct live_shape *shape);
/* Whether type, labels, taints, pool and jurisdiction match, whatever is free. */
bool fit_suits(
    const struct core *core, const struct live_shape *shape, const struct live_node *node);
/* The same, and its pool has no burst policy: whether the node is a candidate. */
bool fit_matches(
    const struct core *core, const struct live_shape *shape, const struct live_node *node);
/* Whether the shape tolerates every taint of that effect that the node has. */
bool fit_tolerates(
    const struct live_shape *shape, const struct live_node *node, enum taint_effect effect);
/* The first condition of the shape on labels that the node does not meet, or NULL. */
const struct live_rule *fit_rule_failed(
    const struct live_shape *shape, const struct live_node *node);
/* How many ranks of the job the node can take now, at most `ranks`; what claims keep is taken, and
 * what is promised to others where the job has to respect that. */
int32_t fit_ranks(const struct core *core, const struct live_job *job, const struct live_node *node,
    int32_t ranks);
/* Whether exclusive use, the shape's and that of others, lets a rank of it come to the node. */
bool fit_shares(const struct live_shape *shape, const struct live_node *node);
/* Whether those that run on the node and the job bear each other, claims apart. */
bool fit_company(const struct core *core, const struct live_job *job, const struct live_node *node);
/* Whether the job, which has to be near others, may be near that one. */
bool fit_leans_on(const struct live_job *job, const struct live_job *other);
/* Whether one of the two jobs wants to be apart from the other. */
bool fit_keeps_apart(const struct live_job *a, const struct live_job *b);
/* How many an idle node could. */
int32_t fit_idle_ranks(const struct shape_row *shape, const struct live_node *node, int32_t ranks);
/* Whether one pool, all its nodes idle, could hold so many ranks; open: without nodes that take no
 * work now. */
bool fit_possible(
    const struct core *core, const struct live_shape *shape, int64_t ranks, bool open);
/* Whether that is not known: a pool that it may be in has nodes at its site that are away. */
bool fit_unknown(const struct core *core, const struct live_shape *shape);
/* Whether nodes that take work now, of one pool without a burst policy, could. */
bool fit_possible_here(const struct core *core, const struct live_shape *shape, int64_t ranks);

/* ---- blocked.c --------------------------------------------------------------------------------
 */

/* How many ranks of the job's smallest gang the pool has room for now. */
int64_t pool_room_now(
    const struct core *core, const struct live_job *job, const struct live_pool *pool);

/* ---- nearest.c --------------------------------------------------------------------------------
 */

/* As core_job_nearest, for ranks of a shape. */
void nearest_find(const struct core *core, const struct live_shape *shape, int64_t ranks,
    struct core_nearest *ret);
/* "; it asks 16 accelerators, and the nearest node, n1 of pool a, has 8": what to add to a refusal.
 * Empty when there is nothing to say. */
void nearest_text(
    const struct core *core, const struct core_nearest *nearest, char *out, size_t size);

/* ---- device.c ---------------------------------------------------------------------------------
 */

/* Ranks for which there are devices, at most `ranks`. */
int32_t device_ranks(const struct live_node *node, const struct shape_row *shape, int32_t ranks);
/* The devices for so many ranks of whole devices. They are there. */
uint64_t device_pick_whole(
    const struct live_node *node, const struct shape_row *shape, int32_t ranks);
/* The device for a fraction: the fullest that has room for it, taken (thousandths given out in
 * this plan already) included. -1: none. */
int32_t device_pick_share(const struct live_node *node, int64_t milli, const int16_t *taken);

/* ---- place.c ----------------------------------------------------------------------------------
 */

/* A node that has room for ranks of a gang. */
struct choice {
    struct live_node *node;
    int64_t score;
    int32_t ranks;  /* that fit */
    int32_t use;    /* that it gets */
    uint32_t order; /* in the list of candidates */
    bool scored;
};
/* Gives `size` ranks to choices that hold as many at least, and are scored: to few nodes, or to
 * many. */
void choices_use(struct choice *choices, size_t count, int32_t size, bool spread);

struct plan_part {
    struct live_node *node;
    uint64_t devices;
    int64_t device_milli;
    int32_t ranks;
};

struct plan {
    VEC(struct plan_part) parts;
    int32_t size;
    int32_t domains; /* of the level that the shape wishes for; 0 where it wishes for none */
    int64_t left;    /* ranks that would still fit the domain that is required, else 0 */
    int64_t most;    /* without a plan: no pool, or domain that is required, has more ranks' room */
};

/* A place for size_min to size_max ranks within one pool: as many ranks as fit, then the pool that
 * the broker prefers, then as few nodes as possible, then the earlier pool. False: there is none
 * now, and plan->most says how far it was from that. plan_finish frees it. */
bool plan_make(struct core *core, const struct live_job *job, int32_t size_min, int32_t size_max,
    struct plan *plan);
/* The node that plan_make takes for one rank of a job for which score_usable holds, or NULL. */
struct live_node *plan_node(struct core *core, const struct live_job *job);
/* The same for one run of candidates. */
bool plan_make_pool(struct core *core, const struct live_job *job, struct live_node *const *nodes,
    size_t count, int32_t size_min, int32_t size_max, struct plan *plan);
/* Where the run of candidates that starts at begin ends, which one gang may take its nodes from: a
 * pool, or a domain of the level that the shape requires. */
size_t plan_pool_end(const struct core *core, const struct live_shape *shape,
    struct live_node *const *nodes, size_t begin, size_t count);
void plan_finish(struct plan *plan);
/* Makes it as one that was never made, but for its memory, which the next has then. */
void plan_clear(struct plan *plan);
/* Adds devices for so many ranks of whole devices, which fit: `view` is the node as the job sees
 * it, `node` what is written. */
void plan_devices(const struct live_node *view, struct live_node *node,
    const struct shape_row *shape, int32_t ranks, struct plan *plan);
/* What the plan would hold, by accelerator types of its nodes. */
void plan_amounts(const struct plan *plan, const struct live_job *job, struct amounts *ret);
