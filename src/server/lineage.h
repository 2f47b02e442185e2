/* Where versions come from and what was made of them: datasets, jobs, models, their variants,
 * services and scores as one graph, walked both ways. */
#pragma once

#include "base/error.h"
#include "server/versions.h"

#include <stdbool.h>

struct identity;

enum lineage_direction { LINEAGE_UP = 1, LINEAGE_DOWN = 2, LINEAGE_BOTH = 3 };
enum { LINEAGE_NODES_MAX = 2000 };

/* {"root": id, "nodes": [{"id", "kind", ..}], "edges": [{"from", "to", "what"}], "truncated"}:
 * edges go from what was there first to what was made of it, or reads or serves it. Ids are
 * "model/team/name:3", "job/<id>", "service/team/name". What identity may not see stands as a node
 * of the kind "hidden" without a name, behind which the walk does not go on. */
MUST_CHECK int lineage_doc(struct server *server, const struct identity *identity,
    struct arena *arena, const struct version *root, enum lineage_direction direction,
    struct doc **ret, struct error *err);
/* What keeps a version from being deleted, for people ("it is in the stage production"), or NULL:
 * its stage, a live job that reads it or whose outputs are still to be taken in, a service. */
const char *lineage_referrer(
    struct server *server, struct arena *arena, const struct version *version);
/* The versions of which one is the parent, and its own parent: [{version documents}]. */
MUST_CHECK int lineage_variants(struct server *server, const struct identity *identity,
    struct arena *arena, const struct version *version, struct doc **ret, struct error *err);
