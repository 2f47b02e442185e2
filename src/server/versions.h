/* Versions of datasets and models: documents in the store, made once, whose content never changes.
 *
 * Collections "dataset-version" and "model-version", key "team/name/00000003", scope team:
 *
 *     {"team", "name", "version": 3, "digest": "sha256:..", "tree": "<hex>", "bytes", "files",
 *      "createdAt", "createdBy", "jurisdiction", "consent": [labels of it and its ancestors],
 *      "source": {"kind": "job", "job": id, "jobName", "class", "command": [..], "workdir",
 *                 "inputs": [{"name", "kind", "team", "artifact", "version", "digest"}],
 *                 "parameters": {..}, "metrics": {name: text of the number}, "environment": {..},
 *                 "attempts", "startedAt", "endedAt"}
 *               | {"kind": "upload", "from": "folder or URL as the client says"},
 *      "parent": {"team", "name", "version", "relation": "quantized"},    (models)
 *      "stage": "candidate", "stageSince", "stageBy"}                    (models)
 *
 * Only stage, stageSince, stageBy and the figures recorded later ("evaluations": [{"promotion",
 * "job", "dataset", "metrics"}]) change. Every change is audited. */
#pragma once

#include "base/error.h"
#include "spec/kinds.h"
#include "spec/reference.h"
#include "wire/doc.h"

#include <stdint.h>

struct arena;
struct server;
struct tick;

struct version {
    enum kind kind; /* KIND_DATASET or KIND_MODEL */
    const char *team;
    const char *name;
    int64_t version;
    const char *digest; /* "sha256:<hex>" */
    const char *tree;
    const char *jurisdiction; /* or NULL */
    enum model_stage stage;
    const struct doc *doc;
};

/* Finds what a reference means now, for somebody of team (may be NULL when the reference says one).
 * Who may see it is the caller's to check. Everything is of the arena. ERR_NOT_FOUND names what is
 * missing: the dataset or model, its version, or that no version holds the stage. */
MUST_CHECK int versions_resolve(struct server *server, struct arena *arena, enum kind kind,
    const char *team, const struct reference *reference, struct version *ret, struct error *err);
/* Visits the versions of one, ascending. */
typedef int version_fn(void *context, const struct version *version, struct error *err);
MUST_CHECK int versions_each(struct server *server, struct arena *arena, enum kind kind,
    const char *team, const char *name, version_fn *visit, void *context, struct error *err);
/* Adds the next version within a tick: doc as above without version, which is put in.
 * ERR_NOT_FOUND: there is no such dataset or model. */
MUST_CHECK int versions_add(struct tick *tick, enum kind kind, const struct doc *doc,
    int64_t *ret_version, struct error *err);
/* Writes a version's document anew within a tick (stage, evaluations). */
void versions_put(struct tick *tick, const struct version *version, const struct doc *doc);
