/* Manifests: documents of the kinds (spec/kinds.h), to and from C structs.
 *
 *     apiVersion: muster/v1
 *     kind: Job
 *     metadata: {name: train, team: vision}
 *     spec: {...}
 *
 * A "status" beside them is the server's to write; it is ignored where a manifest is read, so that
 * what was got can be applied again. */
#pragma once

#include "base/error.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "spec/fields.h"
#include "spec/kinds.h"
#include "wire/doc.h"

#include <stdbool.h>
#include <stddef.h>

/* ---- kinds ----------------------------------------------------------------------------- */

const char *kind_name(enum kind kind);     /* "Job" */
const char *kind_singular(enum kind kind); /* "job" */
const char *kind_plural(enum kind kind);   /* "jobs": as in paths of the API */
/* The kind that a name, singular or plural stands for, in any case; sets *ret. ERR_INVALID with a
 * suggestion. */
MUST_CHECK int kind_find(const char *text, enum kind *ret, struct error *err);
/* Whether objects of the kind belong to a team (metadata.team). */
bool kind_has_team(enum kind kind);
/* The table of a kind's whole manifest. */
const struct field_table *kind_table(enum kind kind);

/* ---- manifests ------------------------------------------------------------------------- */

/* Where classes are found. template_of returns the class's template (a partial job spec), or NULL
 * when there is no class of that name. */
struct class_lookup {
    const struct doc *(*template_of)(void *context, const char *name);
    void *context;
};

/* Reads one manifest. A job's class, looked up in classes, is laid under its spec first. Without
 * classes (NULL) a job's class is a mere name: so are stored jobs read, into which their class has
 * gone already. Everything in *ret lives in the arena or shares the document's texts. 0; or -1 with
 * errors added and *ret untouched. */
MUST_CHECK int manifest_decode(struct arena *arena, const struct doc *doc,
    const struct class_lookup *classes, struct manifest *ret, struct field_errors *errors);
/* The canonical document, without a status. Defaults are left out, except that a job with a class
 * says everything, for its class would fill in otherwise. */
struct doc *manifest_encode(struct arena *arena, const struct manifest *manifest);
/* Whether an object may change from before to after (of one kind and name): adds an error for each
 * immutable field that differs. 0 or -1. */
MUST_CHECK int manifest_check_update(struct arena *arena, const struct manifest *before,
    const struct manifest *after, struct field_errors *errors);
/* A list of the paths that are taken in a manifest of that kind for another program's sake, and
 * have no effect; for a warning. */
struct doc *manifest_unused(struct arena *arena, const struct doc *doc, enum kind kind);
const struct metadata *manifest_metadata(const struct manifest *manifest);
bool manifest_equal(const struct manifest *a, const struct manifest *b);

/* The value of a label, or NULL. */
const char *label_find(const struct label_list *labels, const char *key);
/* The first label that the team demands and the object has not, or has with nothing in it; or NULL.
 */
const char *missing_label(const struct metadata *metadata, const struct team *team);
const char *job_missing_label(const struct job *job, const struct team *team);
/* "low", "normal", "high", "urgent" for their numbers, else NULL. */
const char *priority_name(int64_t priority);
/* Whether text is a name as metadata.name must be. */
bool name_valid(const char *text);

/* ---- built-in classes and runtimes ----------------------------------------------------- */

/* The classes that come with muster, as YAML: a stream of Class manifests that an administrator
 * may change and apply. A new data directory starts with them. */
extern const char spec_builtin_classes[];
/* The same, parsed: a DOC_LIST of manifests. Never NULL. */
struct doc *spec_builtin_classes_doc(struct arena *arena);
/* The runtimes that come with muster (runtimes/), in the same way. */
extern const char spec_builtin_runtimes[];
/* The same, parsed: a DOC_LIST of manifests. Never NULL. */
struct doc *spec_builtin_runtimes_doc(struct arena *arena);
/* A lookup over such a list (or any list of Class manifests). */
struct class_lookup class_lookup_in(const struct doc *list);

/* ---- differences ----------------------------------------------------------------------- */

struct doc_change {
    const char *path;         /* "spec.nodes[1].cpu" */
    const struct doc *before; /* NULL: it was not there */
    const struct doc *after;  /* NULL: it is not there any more */
};

struct doc_changes {
    struct doc_change *items;
    size_t count;
};

/* What changes from one document to the other (either may be NULL: nothing there), in document
 * order; whole values where a map or list appears or vanishes. Lives in the arena. */
struct doc_changes doc_diff(struct arena *arena, const struct doc *before, const struct doc *after);
/* For people: "~ spec.gang.size: 2 -> 4", "+ spec.hold: true", "- ...", a line each. */
void doc_changes_write(const struct doc_changes *changes, struct strbuf *out);

/* ---- what is made from the tables ------------------------------------------------------ */

/* One schema for every kind, told apart by "kind" (draft 2020-12). */
struct doc *spec_json_schema(struct arena *arena);
/* Sets the components of all kinds in a map: "Job", "JobSpec", .. */
void spec_openapi_components(struct arena *arena, struct doc *schemas);
void spec_write_json_schema(struct strbuf *out);
/* The map of spec_openapi_components as JSON. */
void spec_write_openapi_components(struct strbuf *out);
/* docs/kinds.md. */
void spec_write_markdown(struct strbuf *out);
/* Completion data: see fields_paths. */
void spec_write_paths(enum kind kind, struct strbuf *out);
