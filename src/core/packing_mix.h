/* What jobs ask for, learnt: how many ranks of each shape there are, and which nodes are alike for
 * them. Policies that look ahead make their tables from it.
 *
 * Each shape counts the ranks of its live jobs, waiting or running. From time to time these counts
 * become the mix (a column of the shape's row): when the sum of what they differ from it has grown
 * as large as the mix itself, so at growing steps while jobs only come, and after many have
 * been replaced while they come and go. So the mix and the moment of its next change follow from
 * rows alone, and a state that was loaded decides as the one before. A shape of the mix stays until
 * the next change, also without jobs.
 *
 * Neither the names nor the order of nodes matter: nodes are told apart by what they have and by
 * which shapes of the mix may go there. */
#pragma once

#include "base/vec.h"
#include "core/core.h"

struct live_node;
struct live_shape;

enum {
    MIX_ITEMS_MAX = 256,   /* shapes that tables are made from, the most asked for first */
    MIX_CLASSES_MAX = 512, /* kinds of nodes; all that come after are one kind more */
    MIX_RANKS_MIN = 16,    /* of fewer nothing is learnt */
};

struct mix_item {
    struct live_shape *shape;
    int64_t ranks;
    bool limited; /* nodes that are large enough may not take it: by type, label or taint */
};

/* Nodes that have the same and may take the same shapes. */
struct mix_class {
    const struct live_node *like; /* one of them */
    uint64_t allowed[MIX_ITEMS_MAX / 64];
    int64_t nodes;
    uint64_t hash; /* of all this, without ids and names */
};

/* Nodes of which one stands for all: a kind of score.h. */
struct mix_kind {
    const struct live_node *like; /* the first of them by id */
    int64_t nodes;
    uint32_t kind;
    int32_t class;
};

struct mix {
    VEC(struct mix_kind) kinds; /* that have nodes, by the first of them.. */
    uint64_t numbered;          /* ..of core->scores.version */
    uint64_t topology_version;  /* of the nodes that classes are about; 0: to be made again */
    VEC(struct mix_item) items;
    VEC(struct mix_class) classes;
    int64_t ranks; /* sum of all shapes' mix */
    int64_t drift; /* sum of what shapes' ranks differ from their mix by */
};

/* Ranks of the shape come (or, below 0, go). */
void mix_count(struct core *core, struct live_shape *shape, int64_t ranks);
/* Makes the counts of now the mix if it is time for that: shapes that nobody uses go. */
void mix_learn(struct core *core);
/* Brings items and classes up to date. Whether anything changed: tables made before are stale. */
bool mix_refresh(struct core *core);
/* Whether the node is in a class: one that came since classes were made may not be. */
bool mix_knows(const struct core *core, const struct live_node *node);
/* The class of a node that is in one. */
const struct mix_class *mix_class_of(const struct core *core, const struct live_node *node);
static inline bool mix_allows(const struct mix_class *class, size_t item)
{
    return class->allowed[item / 64] >> (item % 64) & 1;
}
/* Loading: all jobs and shapes are there. */
void mix_index(struct core *core);
/* Whether the counts are those of the rows. */
bool mix_check(const struct core *core);
void mix_free(struct mix *mix);
