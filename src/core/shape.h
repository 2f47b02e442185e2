/* Shapes: what a rank asks for and where it may go, shared by the jobs that ask the same. */
#pragma once

#include "base/vec.h"
#include "core/core.h"
#include "core/table.h"

struct live_node;
struct live_pool;
struct gang_room;
struct score_row;

enum { RULE_TOLERATE = 16, RULE_NEAR = 17, RULE_APART = 18 };

struct live_rule {
    struct item item;
    struct rule_row row;
    struct live_rule *next;
};

/* That so many ranks of the shape did not fit: see nofit.c. */
struct nofit {
    uint64_t version; /* of what is free, at which that is so as it stands; 0: nothing is known */
    uint64_t stirred; /* core->stir_version then */
    uint64_t at;      /* in the journal: all changes before are counted in */
    int64_t lacking;  /* so many ranks more have to fit at least */
    int32_t ranks;
};

/* What a rank costs an hour in a pool, on the cheapest node that could hold it. */
struct shape_price {
    const struct live_pool *pool;
    int64_t hour_micro;
};

struct live_shape {
    struct item item;
    struct shape_row row;
    struct live_rule *rules;
    int64_t references; /* jobs, and the mix */
    int64_t ranks;      /* of its jobs: see packing_mix.h */
    uint64_t hash;
    struct live_shape *same_hash;
    int resource; /* index of its accelerator type, or -1: none or any */
    bool near, apart;
    int32_t socket; /* enum topology_wish: its ranks' devices within a socket; see socket.h */
    VEC(struct live_node *) candidates; /* nodes that could hold a rank as far as labels go */
    uint64_t candidates_version;
    VEC(struct shape_price) prices; /* see broker.c */
    uint64_t prices_version;
    bool prices_differ;
    uint64_t kinds; /* see kinds_matching */
    uint64_t kinds_version;
    struct score_row *scores;             /* see score.c; NULL: none */
    struct gang_room *room;               /* see gang_room.c; NULL: none */
    void *packing;                        /* what the placement policy keeps of it, or NULL */
    VEC(const struct live_pool *) barred; /* its job turned them down: see decline.c */
    struct nofit nofit[2]; /* of jobs that promises bind, and of those that none does */
};

/* The shape of a job, shared with all that ask the same; counts a reference. */
struct live_shape *shape_intern(struct core *core, const struct job *job);
void shape_ref(struct core *core, struct live_shape *shape);
/* A shape of one job's own that asks the same, and may not be in that pool either. Counts a
 * reference. Of no state: it is in no row. */
struct live_shape *shape_without(
    struct core *core, const struct live_shape *shape, const struct live_pool *pool);
/* Deletes the shape with its last reference. */
void shape_unref(struct core *core, struct live_shape *shape);
/* Loading: a shape and all its rules are there. */
void shape_index(struct core *core, struct live_shape *shape);
void shape_free(struct live_shape *shape);
