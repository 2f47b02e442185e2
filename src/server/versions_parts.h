/* Versions, for their own files: keys, collections, and the index as it is stored. */
#pragma once

#include "server/versions.h"

extern const char version_index_collection[], version_use_collection[],
    version_manifest_collection[];
/* That of the versions of a kind. */
const char *version_collection(enum kind kind);
/* "team/name/00000003": versions of one are in order of their numbers. Returns out. */
char *version_key(const char *team, const char *name, int64_t version, char out[VERSION_KEY_TEXT]);
/* The key under which a version stands in the collections that hold both kinds. Returns out. */
char *version_kind_key(enum kind kind, const char *team, const char *name, int64_t version,
    char out[VERSION_KEY_TEXT]);
/* The key of an object in the index. */
void version_index_key(
    enum kind kind, const char *team, const char *name, char out[VERSION_KEY_TEXT]);

struct version_index {
    int64_t last;   /* the highest number ever given */
    int64_t newest; /* of those that are there; 0: none */
    /* Who holds a stage, the newest where several do; 0: nobody. What a reference like
     * net@candidate means is looked up by every service that follows it: it must not take a walk
     * over all. */
    int64_t stages[STAGE_COUNT];
};

/* The index as it is committed; made of the versions where none is stored. */
MUST_CHECK int version_index_load(struct server *server, enum kind kind, const char *team,
    const char *name, struct version_index *ret, struct error *err);
/* Fills ret from a stored document, whose texts it borrows. ERR_CORRUPT. */
MUST_CHECK int version_read(
    enum kind kind, const struct doc *doc, struct version *ret, struct error *err);
/* Visits the versions of one, ascending. What the visit gets is of the arena. */
MUST_CHECK int version_each(struct server *server, struct arena *arena, enum kind kind,
    const char *team, const char *name, version_fn *visit, void *context, struct error *err);
/* Says that there is no version of that number. Returns -1. */
int version_missing(
    enum kind kind, const char *team, const char *name, int64_t number, struct error *err);
