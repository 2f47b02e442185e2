/* A tree: the files of an artifact and the chunks each is made of, and its text, which is what is
 * stored, hashed and sent. A tree has exactly one text:
 *
 *     muster-tree 1
 *     file 1048583 <SHA-256 of the file> weights/layer 0.bin
 *     chunk 1048576 <SHA-256 of the chunk>
 *     chunk 7 <SHA-256 of the chunk>
 *     file 0 <SHA-256 of nothing> empty
 *
 * Files ascend by the bytes of their paths; no path is a folder of another; the chunks of a file
 * follow it in order, add up to its size, and are CHUNK_MIN to CHUNK_MAX long, the last one 1 to
 * CHUNK_MAX. Sizes are decimal without leading zeros; each line ends with a newline. */
#pragma once

#include "base/error.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "registry/registry.h"
#include "registry/sha.h"

struct tree_chunk {
    struct digest digest;
    uint32_t size;
};

struct tree_entry {
    const char *path; /* in the tree's arena */
    int64_t size;
    struct digest digest;
    size_t first, count; /* its chunks */
};

struct tree {
    struct arena *arena; /* NULL in an empty tree */
    VEC(struct tree_entry) files;
    VEC(struct tree_chunk) chunks;
    int64_t bytes; /* of all files */
};

void tree_finish(struct tree *tree); /* leaves an empty tree */

/* Whether a path may be in a tree: see registry.h. ERR_INVALID says why not. */
MUST_CHECK int tree_check_path(const char *path, struct error *err);
/* Reads hostile text. The tree, to be finished by the caller, is set on success only. ERR_INVALID
 * names the line, ERR_TOO_LARGE. */
MUST_CHECK int tree_parse(const char *text, size_t size, struct tree *ret, struct error *err);
/* Appends the text of a tree whose files are in order. */
void tree_write(const struct tree *tree, struct strbuf *text);
/* The artifact's digest (see registry.h). */
struct digest tree_artifact_digest(const struct tree *tree);
/* The file of that path, or NULL. */
const struct tree_entry *tree_find(const struct tree *tree, const char *path);
/* Sets digest, tree, files, bytes and chunks from a tree and its text, zero the rest. */
void tree_facts(
    const struct tree *tree, const char *text, size_t size, struct artifact_facts *facts);
