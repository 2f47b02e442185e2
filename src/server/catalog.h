/* The catalogue: objects of every kind but Job as they were applied, decoded and in memory, since
 * every request asks them for roles, labels, templates and references. It follows the commands of a
 * tick at once and is loaded anew with the core when a commit fails. */
#pragma once

#include "base/error.h"
#include "spec/spec.h"

struct catalog;
struct store_reader;

/* Objects of a team are kept under "team/name", the others under their name: also in the store. */
enum { CATALOG_KEY = 128 };

struct catalog_entry {
    const char *name;      /* the key */
    const struct doc *doc; /* canonical */
    const struct manifest *manifest;
    int64_t revision; /* the tick that wrote it; 0 while that is not committed */
};

/* An empty one. */
struct catalog *catalog_create(void);
void catalog_destroy(struct catalog *catalog); /* NULL is fine */
/* Everything of the store, in place of what was there. */
MUST_CHECK int catalog_load(
    struct catalog *catalog, struct store_reader *reader, struct error *err);
/* Takes over a copy of the document of any kind but Job, which has been decoded without errors
 * before. */
MUST_CHECK int catalog_put(struct catalog *catalog, enum kind kind, const struct doc *doc,
    int64_t revision, struct error *err);
void catalog_remove(struct catalog *catalog, enum kind kind, const char *name);

/* Entries are valid until the next change of the catalogue. */
const struct catalog_entry *catalog_find(
    const struct catalog *catalog, enum kind kind, const char *name);
size_t catalog_count(const struct catalog *catalog, enum kind kind);
/* The object of a team, or NULL. */
const struct catalog_entry *catalog_find_in(
    const struct catalog *catalog, enum kind kind, const char *team, const char *name);
/* Writes the key of an object. Returns out. */
const char *catalog_key(enum kind kind, const struct metadata *metadata, char out[CATALOG_KEY]);
/* In order of keys. */
const struct catalog_entry *catalog_at(const struct catalog *catalog, enum kind kind, size_t i);
const struct team *catalog_team(const struct catalog *catalog, const char *name);
/* For decoding jobs. Valid as long as the catalogue. */
struct class_lookup catalog_classes(struct catalog *catalog);
/* The store's collection of a kind. */
const char *catalog_collection(enum kind kind);
