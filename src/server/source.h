/* What a version was made of: the record of a job that goes into the versions it made. */
#pragma once

#include <stdint.h>

struct arena;
struct doc;
struct server;

/* The "source" of versions.h for a job (of an array: its first element) with its stored manifest;
 * environment is what environment_doc gave, or NULL. All from what is committed. */
struct doc *source_of_job(struct server *server, struct arena *arena, uint64_t job,
    const struct doc *manifest, const struct doc *environment);
/* The union of the consent labels of a job's inputs: a list, empty without any; and the
 * jurisdiction that one of them has, or NULL (they agree: it was checked when it was submitted). */
struct doc *source_consent(struct server *server, struct arena *arena, const struct doc *manifest);
const char *source_jurisdiction(
    struct server *server, struct arena *arena, const struct doc *manifest);
/* Adds a text to a list of texts unless it is there or NULL. */
void source_add_text(struct arena *arena, struct doc *list, const char *text);
/* The numbers among what the job last reported, each as it was written: a map. */
struct doc *source_metrics(struct server *server, struct arena *arena, uint64_t job);
/* The version that an input of a manifest names: {"name", "kind", "team", "artifact", "version",
 * "digest"}, without the digest when the version is gone; NULL when it is no exact reference. */
struct doc *source_input(struct server *server, struct arena *arena, const struct doc *input);
