/* Versions of datasets and models: documents in the store, made once, whose content never changes.
 *
 * Collections "dataset-version" and "model-version", key "team/name/00000003", scope team:
 *
 *     {"team", "name", "version": 3, "digest": "sha256:..", "tree": "<hex>", "bytes", "files",
 *      "createdAt", "createdBy", "jurisdiction", "consent": [labels of it and its ancestors],
 *      "source": {"kind": "job", "job": id, "jobName", "output", "class", "command": [..],
 *                 "workdir",
 *                 "inputs": [{"name", "kind", "team", "artifact", "version", "digest"}],
 *                 "parameters": {..}, "metrics": {name: text of the number}, "environment": {..},
 *                 "attempts", "startedAt", "endedAt"}
 *               | {"kind": "upload", "from": "folder or URL as the client says"},
 *      "parent": {"team", "name", "version", "relation": "quantized"},    (models)
 *      "stage": "candidate", "stageSince", "stageBy"}                    (models)
 *
 * Only stage, stageSince, stageBy and the figures recorded later ("evaluations": [{"promotion",
 * "job", "dataset", "metrics"}]) change. Every change is audited.
 *
 * Beside them stand three collections that are derived from versions and jobs, and written in the
 * same ticks:
 *
 *     "artifact-index", "model/team/name": {"last", "newest", and one per stage}: numbers are
 *         never given twice, not even after the newest version was deleted
 *     "artifact-use", "model/team/name/00000003/job/<id>" and ".../model/team/name/00000004": who
 *         reads a version and what was made of it, so that lineage is walked down without a search
 *     "version-job", "model/team/name/00000003": the whole manifest of the job that made it, so
 *         that it can be run again after the job itself was forgotten */
#pragma once

#include "base/error.h"
#include "spec/kinds.h"
#include "spec/reference.h"
#include "wire/doc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct server;
struct store_reader;
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

enum { VERSION_KEY_TEXT = 160, VERSION_TEXT = 200 };

/* ---- reading what is committed ------------------------------------------------------------ */

/* Finds what a reference means now, for somebody of team (may be NULL when the reference says one).
 * Who may see it is the caller's to check. Everything is of the arena. ERR_NOT_FOUND names what is
 * missing: the dataset or model, its version, or that no version holds the stage. */
MUST_CHECK int versions_resolve(struct server *server, struct arena *arena, enum kind kind,
    const char *team, const struct reference *reference, struct version *ret, struct error *err);
/* One by its number. ERR_NOT_FOUND. */
MUST_CHECK int versions_get(struct server *server, struct arena *arena, enum kind kind,
    const char *team, const char *name, int64_t number, struct version *ret, struct error *err);
/* Visits the versions of one after the number `after`, ascending, at most limit of them. */
typedef int version_fn(void *context, const struct version *version, struct error *err);
MUST_CHECK int versions_page(struct server *server, struct arena *arena, enum kind kind,
    const char *team, const char *name, int64_t after, size_t limit, version_fn *visit,
    void *context, struct error *err);
/* Visits every version of a kind, however many, with any reader: of other threads too. What the
 * visit gets is valid until it returns. */
MUST_CHECK int versions_all(struct store_reader *reader, enum kind kind, version_fn *visit,
    void *context, struct error *err);
/* Visits the keys of what uses a version: "job/<id in decimal>" or "model/team/name/00000004". */
typedef int version_use_fn(void *context, const char *user, struct error *err);
MUST_CHECK int versions_uses(struct server *server, const struct version *version,
    version_use_fn *visit, void *context, struct error *err);
/* Whether there is a Dataset or Model of that name. */
bool versions_have_object(
    const struct server *server, enum kind kind, const char *team, const char *name);

/* ---- changing, within a tick ---------------------------------------------------------------- */

/* Adds the next version within a tick: doc as above without version, which is put in. job_manifest
 * (or NULL) is kept beside it. ERR_NOT_FOUND: there is no such dataset or model. */
MUST_CHECK int versions_add(struct tick *tick, enum kind kind, const struct doc *doc,
    const struct doc *job_manifest, int64_t *ret_version, struct error *err);
/* Writes a version's document anew within a tick (stage, evaluations). */
void versions_put(struct tick *tick, const struct version *version, const struct doc *doc);
/* A version as this tick's commands have left it: versions_get shows only what is committed.
 * ERR_NOT_FOUND. */
MUST_CHECK int versions_in_tick(struct tick *tick, enum kind kind, const char *team,
    const char *name, int64_t number, struct version *ret, struct error *err);
/* The number of the version that holds staging or production, as this tick's commands have left it;
 * 0: none does. */
MUST_CHECK int versions_holder_in_tick(struct tick *tick, const char *team, const char *name,
    enum model_stage stage, int64_t *ret_number, struct error *err);
/* Deletes a version. Whether something refers to it is the caller's to ask before. */
MUST_CHECK int versions_delete(struct tick *tick, const struct version *version, struct error *err);
/* Notes that a job reads a version, or that it does not any more: the job is forgotten. */
void versions_use(struct tick *tick, enum kind kind, const struct reference *version, uint64_t job);
void versions_unuse(
    struct tick *tick, enum kind kind, const struct reference *version, uint64_t job);
/* The manifest of the job that made a version, or NULL. */
const struct doc *versions_job_manifest(
    struct server *server, struct arena *arena, const struct version *version);

/* ---- names ---------------------------------------------------------------------------------- */

/* "model/team/name:3", as lineage and errors name a version. */
char *versions_text(
    enum kind kind, const char *team, const char *name, int64_t version, char out[VERSION_TEXT]);
/* "candidate", "staging", .. */
const char *versions_stage_name(enum model_stage stage);
/* Whether this tick has added, changed or deleted a version of the object, "team/name": what the
 * reader shows of its versions is not what there will be. */
bool versions_changed(struct tick *tick, enum kind kind, const char *key);
