/* Whether a job that was run again gave the same: files by their digests, metrics side by side. */
#pragma once

#include "base/error.h"
#include "registry/registry.h"

#include <stdint.h>

struct arena;
struct comparison;
struct doc;
struct server;

/* What is expected: the version that reproduces names (see outputs_expect). Never NULL; when the
 * version is gone the comparison says so. */
struct comparison *compare_create(struct server *server, const struct doc *reproduces);
void compare_free(struct comparison *comparison); /* NULL is fine */
/* Compares with what was taken in. Reads the registry: not for the loop. */
void compare_trees(
    struct comparison *comparison, struct registry *registry, const struct artifact_facts *got);
/* {"of": "model/team/name:3", "equal", "expected", "got": digests,
 *  "files": {"same", "different", "missing", "added": numbers, "list": [{"path", "expected",
 *  "got"}]}, "metrics": [{"name", "expected", "got", "equal", "difference"}], "metricsEqual"};
 * "error" instead when it could not be compared. job: whose metrics are compared. */
struct doc *compare_doc(
    struct comparison *comparison, struct server *server, struct arena *arena, uint64_t job);
