/* Topology: which nodes of a pool are near to each other, and gangs that want to be in few domains.
 *
 * A pool has levels, the outermost first: blocks, racks, NVLink domains, whatever its labels say.
 * A domain of a level is the nodes with the same values of the labels of that level and of all
 * before it. The innermost level is the node, which no pool names. */
#pragma once

#include "core/core.h"
#include "core/place.h"

#include <stddef.h>

struct arena;
struct live_node;
struct live_pool;
struct live_shape;

enum { LEVEL_NONE = -1 };

/* Numbers the domains of the pool's nodes again, after nodes or levels changed. */
void topology_derive(struct live_pool *pool);
/* Puts the levels that the pool is to have in place of those it has; whether they differ. */
bool topology_put(struct core *core, struct live_pool *live, const struct pool *pool);
/* Deletes the pool's level rows. */
void topology_drop(struct core *core, struct live_pool *live);
/* ERR_INVALID: a level without a name, of an impossible one, or too many. */
MUST_CHECK int topology_check(const struct pool *pool, struct error *err);
/* The node of a group with the labels that the levels make up for it; index counts from 1. Lives in
 * the arena, or is the node itself. */
const struct node *topology_label(
    struct arena *arena, const struct pool *pool, const struct node *node, int64_t index);

/* The number of the level that the shape names, level_count for "node", or LEVEL_NONE. */
int32_t topology_level(
    const struct core *core, const struct live_pool *pool, const struct live_shape *shape);
/* Whether the node is in a domain of the level that the shape requires; true when it requires
 * none. */
bool topology_matches(
    const struct core *core, const struct live_shape *shape, const struct live_node *node);
/* The order in which candidates of a shape that requires a level stand: domain by domain. */
void topology_sort(const struct core *core, const struct live_shape *shape,
    struct live_node **nodes, size_t count);
/* Whether both nodes are in one pool and one domain of the level that the shape requires. */
bool topology_same(const struct core *core, const struct live_shape *shape,
    const struct live_node *a, const struct live_node *b);

/* The domain of the required level that could hold most ranks, all its nodes idle (open: without
 * nodes that take no work now). */
struct topology_largest {
    const struct live_node *node; /* one of it; NULL: no pool has such a level */
    int64_t ranks;
};
void topology_largest(const struct core *core, const struct live_shape *shape, int64_t ranks,
    bool open, struct topology_largest *ret);
/* The name of the domain of that level that the node is in. */
const char *topology_domain(
    const struct core *core, const struct live_node *node, const struct live_shape *shape);
/* Why a gang of so many ranks can never be in one domain: no `level` holds `need` accelerators (or
 * ranks, where they ask for none); the largest, `domain` (NULL: no node matches), `largest`. */
struct topology_shortage {
    const char *level, *domain, *what;
    int64_t need, largest;
};
void topology_shortage(const struct core *core, const struct live_shape *shape, int64_t ranks,
    struct topology_shortage *ret);
/* The names of the levels that there are, for people: "block, rack, node". */
void topology_names(const struct core *core, char *out, size_t size);

/* Gives `size` ranks to the choices of one pool, which hold as many at least, and puts them in the
 * order of domains: as few outermost domains as can be, in each of them as few of the next level,
 * down to nodes. Of domains that can take all that is left, the one that needs the fewest of the
 * level that the shape names, then the tightest, then the first; when none can, the largest takes
 * what it can. For one level that is the least number of domains. Kueue's topology-aware scheduling
 * and Slurm's tree plugin go inwards from the outermost level in the same way. Returns how many
 * domains of the level the ranks are in. */
int32_t topology_distribute(const struct core *core, const struct live_shape *shape,
    struct choice *choices, size_t count, int32_t size);
