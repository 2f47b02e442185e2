/* Manifests from files, folders and standard input, checked before anything is sent.
 *
 * Every error of every file is told, with its file and line; when there is one, nothing is loaded.
 * A job, and the evaluation of a model's gate, may name a folder as the work directory (`workdir:
 * ./src`, from where the file is); that is kept apart, and a digest stands in its place until
 * cli/workdir.h has packed it. */
#pragma once

#include "base/error.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "wire/doc.h"

#include "spec/kinds.h"

/* A folder that a manifest names as a work directory. */
struct loaded_workdir {
    const char *folder; /* to pack */
    struct doc *owner;  /* the map with the field "workdir", in the document */
    const char *path;   /* of that field, for messages: "spec.workdir" */
    struct loaded_workdir *next;
};

struct loaded {
    const char *file; /* as it was named; "standard input" for "-" */
    struct doc *doc;  /* with its lines */
    enum kind kind;
    const char *name;
    const char *team;                /* of what belongs to one */
    struct loaded_workdir *workdirs; /* folders to pack, in the arena; NULL: none */
};

/* Sorted: pools, teams, classes, jobs, and within a kind as they came. */
struct loaded_list {
    struct loaded *items;
    size_t count;
    size_t capacity;
};

enum { LOAD_FILES_MAX = 1000 };

/* Loads what the paths name into *ret, in the arena but for the array, which load_finish frees.
 * A folder gives its .yaml, .yml and .json files by name; "-" is standard input. -1: err has the
 * summary, complaints the errors, a line each. */
MUST_CHECK int load_paths(struct arena *arena, const char *const *paths, size_t count,
    struct loaded_list *ret, struct strbuf *complaints, struct error *err);
void load_finish(struct loaded_list *list);

/* Loads text as if it stood in file; for tests and for what load_paths reads. Adds to list and
 * complaints; returns how many errors there were. */
size_t load_text(struct arena *arena, const char *file, const char *text, size_t length,
    struct loaded_list *list, struct strbuf *complaints);

/* What the server had to say about objects it was sent (a list in the order of `list`), as
 * file:line: path: detail, found by the path of each error ("objects[2].spec.gang"). */
void load_locate_problem(
    const struct loaded_list *list, const struct doc *problem, struct strbuf *complaints);
/* The same for an error whose text begins with "objects[2]": becomes "file:line: ...". */
void load_locate_error(const struct loaded_list *list, struct error *err);
