/* Placement policies: how good a node is for ranks of a shape, and which device a share goes to.
 *
 * Who asks: place.c for the nodes of a plan, score.c for remembered scores. Whether ranks fit at
 * all is never a policy's business (fit.c). A policy is one entry of a table, found by name.
 *
 * What makes remembered scores right: unless `per_job` is set, a score depends on the shape, on the
 * node's own state (what it has, what is held and claimed of it) and on the policy's tables, which
 * change only in packing_ready; core->packing_version is another one then, and what was remembered
 * under an older one is stale. */
#pragma once

#include "core/core.h"

struct live_job;
struct live_node;
struct live_shape;

struct packing {
    const char *name;
    const char *summary; /* for people, one line */
    bool per_job;        /* the score depends on the job as well: nothing may be remembered */

    /* How well `ranks` (>= 1, they fit) of the job's shape go to the node: less is better, of equal
     * nodes the first in order is taken. Within +-2^61. */
    int64_t (*score)(const struct core *core, const struct live_job *job,
        const struct live_node *node, int32_t ranks);
    /* The device for a share of `milli` thousandths on the node, taken (thousandths of each device
     * that this plan gave out already) included; -1: none has room. */
    int32_t (*device)(const struct core *core, const struct live_job *job,
        const struct live_node *node, const int16_t *taken);

    /* The rest may be NULL. The scores of one rank, for many nodes at once,
     * by their numbers: nodes_follow was called since they changed, and none of them is idle or
     * promised. */
    void (*scores)(const struct core *core, const struct live_job *job, const uint32_t *ordinals,
        size_t count, int64_t *ret);
    /* Called before scores of the shape are asked: brings tables up to date,
     * of all shapes and of this one, and counts core->packing_version up when scores of before are
     * stale. */
    void (*ready)(struct core *core, struct live_shape *shape);
    bool learns; /* from the mix of jobs */
    /* Frees what the policy keeps in core->packing_state. Of a shape it keeps one block of memory
     * at most, shape->packing, which goes with the shape. */
    void (*forget)(struct core *core);
};

/* The policy of that name, or NULL. NULL and "": the default. */
const struct packing *packing_find(const char *name);

/* The same as the entries' functions, with nothing done where an entry has none. */
int64_t packing_score(const struct core *core, const struct live_job *job,
    const struct live_node *node, int32_t ranks);
void packing_scores(const struct core *core, const struct live_job *job, const uint32_t *ordinals,
    size_t count, int64_t *ret);
int32_t packing_device(const struct core *core, const struct live_job *job,
    const struct live_node *node, const int16_t *taken);
/* Returns core->packing_version. */
uint64_t packing_ready(struct core *core, struct live_shape *shape);
/* Once in a tick, before anything is placed: learns from the jobs there are. */
void packing_learn(struct core *core);
void packing_forget(struct core *core);

/* The policies; the first is what the live scheduler uses. */
extern const struct packing packing_learned; /* packing_learned.c */
extern const struct packing packing_tight;   /* packing_tight.c */
extern const struct packing packing_fgd;     /* packing_fgd.c */
/* packing_published.c */
extern const struct packing packing_random, packing_dot_product, packing_gpu_packing,
    packing_gpu_clustering, packing_best_fit, packing_first_fit;

/* The fullest device that has room for a share: what most policies do. */
int32_t packing_fullest_device(const struct core *core, const struct live_job *job,
    const struct live_node *node, const int16_t *taken);
