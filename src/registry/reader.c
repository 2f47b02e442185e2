/* Reading one file in pieces: see artifact_reader in registry.h. A piece is (what is left of) a
 * chunk; no byte is given before the whole chunk was checked. */
#include "registry/internal.h"

#include <inttypes.h>
#include <stdlib.h>

struct artifact_reader {
    struct registry *registry;
    struct tree tree;
    const struct tree_entry *file;
    struct chunk_buffers buffers;
    size_t next;    /* chunk */
    int64_t offset; /* in the file, where that chunk begins */
    size_t skip;    /* of its bytes, before the first to give */
};

/* Goes to the chunk that has the byte at `offset`. */
static void seek(struct artifact_reader *reader, int64_t offset)
{
    const struct tree_entry *file = reader->file;
    const struct tree_chunk *chunks = reader->tree.chunks.items;
    reader->next = file->first;
    while (reader->next < file->first + file->count &&
           offset - reader->offset >= chunks[reader->next].size)
        reader->offset += chunks[reader->next++].size;
    reader->skip = (size_t)(offset - reader->offset);
}

static int find_file(
    struct artifact_reader *reader, const char *path, int64_t offset, struct error *err)
{
    reader->file = tree_find(&reader->tree, path);
    if (!reader->file)
        return error_set(err, ERR_NOT_FOUND, "the artifact has no file \"%.200s\"", path);
    if (offset < 0 || offset > reader->file->size)
        return error_set(err, ERR_INVALID, "\"%.200s\" has %" PRId64 " bytes: no offset %" PRId64,
            path, reader->file->size, offset);
    return 0;
}

int artifact_reader_open(struct registry *registry, const char *tree, const char *path,
    int64_t offset, struct artifact_reader **ret, int64_t *ret_size, struct error *err)
{
    struct artifact_reader *reader = mem_alloc(1, sizeof *reader);
    reader->registry = registry;
    if (tree_load(registry, tree, &reader->tree, err) < 0 ||
        find_file(reader, path, offset, err) < 0) {
        artifact_reader_close(reader);
        return -1;
    }
    seek(reader, offset);
    chunk_buffers_init(&reader->buffers);
    *ret_size = reader->file->size;
    *ret = reader;
    return 0;
}

int artifact_reader_next(
    struct artifact_reader *reader, const void **ret_bytes, size_t *ret_length, struct error *err)
{
    const struct tree_entry *file = reader->file;
    if (reader->next == file->first + file->count) {
        *ret_length = 0;
        return 0;
    }
    const struct tree_chunk *chunk = &reader->tree.chunks.items[reader->next];
    if (tree_read_chunk(
            reader->registry, NULL, file, chunk, reader->offset, &reader->buffers, err) < 0)
        return -1;
    *ret_bytes = reader->buffers.raw + reader->skip;
    *ret_length = chunk->size - reader->skip;
    reader->offset += chunk->size;
    reader->skip = 0;
    reader->next++;
    return 0;
}

void artifact_reader_close(struct artifact_reader *reader)
{
    if (!reader)
        return;
    chunk_buffers_finish(&reader->buffers);
    tree_finish(&reader->tree);
    free(reader);
}
