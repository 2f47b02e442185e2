/* What the parts of the registry share: the registry itself, and reading trees. */
#pragma once

#include "registry/objects.h"
#include "registry/registry.h"
#include "registry/tree.h"

/* An operation that links objects before anything refers to them. */
struct upload {
    int64_t since_ms;
    struct upload *next;
};

struct registry {
    int root_fd, cache_fd;
    char *cache_path;
    struct objects objects;

    pthread_mutex_t uploads_lock;
    struct upload *uploads; /* under way: nothing they hold may be collected */

    pthread_mutex_t cache_lock;
    pthread_cond_t cache_filled;
    VEC(char *) filling; /* trees that a thread is extracting into the cache */
};

/* From upload_begin on, nothing that is held is collected until upload_end. */
void upload_begin(struct registry *registry, struct upload *upload);
void upload_end(struct registry *registry, struct upload *upload);

/* Buffers for reading chunks one after another. */
struct chunk_buffers {
    struct codec *codec;
    unsigned char *stored, *raw; /* OBJECT_STORED_MAX, CHUNK_MAX */
};
void chunk_buffers_init(struct chunk_buffers *buffers);
void chunk_buffers_finish(struct chunk_buffers *buffers); /* zeroed is fine */

/* The digest of text that is to be one. ERR_INVALID. */
MUST_CHECK int parse_digest(const char *text, struct digest *ret, struct error *err);
/* Reads and parses a tree, to be finished by the caller. tree is its digest as text. */
MUST_CHECK int tree_load(
    struct registry *registry, const char *tree, struct tree *ret, struct error *err);
/* Stores a tree for a team whose chunks it holds, all durable when this returns, and gives its
 * facts. ERR_TOO_LARGE, ERR_FULL, ERR_IO. */
MUST_CHECK int tree_store(struct registry *registry, const char *team, const struct tree *tree,
    struct artifact_facts *ret, struct error *err);
/* Gives the chunks of a file, one after another, from one of them on: each checked, in
 * buffers->raw. Errors name the file, the chunk and the position. */
MUST_CHECK int tree_read_chunk(struct registry *registry, const char *team,
    const struct tree_entry *file, const struct tree_chunk *chunk, int64_t offset,
    struct chunk_buffers *buffers, struct error *err);

/* The parts of opening and closing. */
MUST_CHECK int cache_open(struct registry *registry, const char *data_dir, struct error *err);
void cache_close(struct registry *registry);
/* registry_extract of a tree that is loaded; durable: what was written is synced. */
MUST_CHECK int extract_tree(struct registry *registry, const struct tree *tree, int folder_fd,
    bool durable, struct error *err);

/* The size of the file system that the registry is on. */
MUST_CHECK int registry_disk_bytes(
    const struct registry *registry, int64_t *ret, struct error *err);
