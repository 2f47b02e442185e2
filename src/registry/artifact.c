/* Artifacts as wholes: storing, checking, sharing and visiting their trees. See registry.h. */
#include "registry/internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* ---- trees on disk ------------------------------------------------------------------------ */

static int unpack_tree(const struct digest *digest, const void *stored, size_t size,
    char **ret_text, size_t *ret_size, struct error *err)
{
    size_t length;
    SCOPED(codec_scope) struct codec *codec = codec_create();
    if (codec_length(stored, size, TREE_BYTES_MAX, &length, err) < 0)
        return -1;
    SCOPED(mem_scope) char *text = mem_alloc(length + 1, 1);
    if (codec_unpack(codec, stored, size, digest, text, length, err) < 0)
        return -1;
    *ret_text = text;
    *ret_size = length;
    text = NULL;
    return 0;
}

/* Reads a tree's text, checked against its digest; the caller frees it. ERR_NOT_FOUND, ERR_CORRUPT.
 */
static int tree_load_text(struct registry *registry, const struct digest *digest, char **ret_text,
    size_t *ret_size, struct error *err)
{
    static const size_t room = TREE_BYTES_MAX + CODEC_HEADER;
    char hex[DIGEST_HEX + 1];
    size_t size;
    /* Room for the largest: what is not written to takes no memory. */
    SCOPED(mem_scope) void *stored = mem_alloc(room, 1);
    digest_hex(digest, hex);
    if (object_read(&registry->objects, NULL, OBJECT_TREE, digest, stored, room, &size, err) < 0)
        return error_prefix(err, "tree %s", hex);
    if (unpack_tree(digest, stored, size, ret_text, ret_size, err) == 0)
        return 0;
    if (err)
        err->code = ERR_CORRUPT;
    return error_prefix(err, "tree %s was changed on the disk", hex);
}

int tree_load(struct registry *registry, const char *tree, struct tree *ret, struct error *err)
{
    struct digest digest;
    size_t size;
    SCOPED(mem_scope) char *text = NULL;
    if (parse_digest(tree, &digest, err) < 0 ||
        tree_load_text(registry, &digest, &text, &size, err) < 0)
        return -1;
    if (tree_parse(text, size, ret, err) < 0) {
        if (err)
            err->code = ERR_CORRUPT;
        return error_prefix(err, "tree %s", tree);
    }
    return 0;
}

static int add_tree(
    struct batch *batch, const struct digest *digest, const struct strbuf *text, struct error *err)
{
    bool held;
    if (object_hold(batch->objects, batch->team, OBJECT_TREE, digest, HOLD_TAKE, &held, err) < 0)
        return -1;
    if (held)
        return 0;
    SCOPED(codec_scope) struct codec *codec = codec_create();
    SCOPED(mem_scope) void *stored = mem_alloc(text->length + CODEC_HEADER, 1);
    size_t size = codec_pack(codec, text->text, text->length, stored);
    if (batch_add(batch, OBJECT_TREE, digest, stored, size, text->length, err) < 0)
        return -1;
    return batch_flush(batch, err);
}

/* All names that a tree depends on, also those that others gave: they may not have synced yet. */
static void names_of(const struct tree *tree, struct name_set *set)
{
    for (size_t i = 0; i < tree->chunks.count; i++)
        name_set_add(set, &tree->chunks.items[i].digest);
}

/* The chunks' names are synced before the tree gets its own. */
static int store_text(struct registry *registry, const char *team, const struct tree *tree,
    const struct strbuf *text, struct error *err)
{
    struct name_set chunks = {0}, own = {0};
    struct batch batch;
    SCOPED(sha_scope) struct sha *sha = sha_create();
    struct digest digest = sha_of(sha, text->text, text->length);
    names_of(tree, &chunks);
    name_set_add(&own, &digest);
    if (tree->chunks.count > 0 && objects_sync(&registry->objects, team, &chunks, err) < 0)
        return -1;
    batch_init(&batch, &registry->objects, team);
    int done = add_tree(&batch, &digest, text, err);
    batch_finish(&batch);
    return done < 0 ? -1 : objects_sync(&registry->objects, team, &own, err);
}

int tree_store(struct registry *registry, const char *team, const struct tree *tree,
    struct artifact_facts *ret, struct error *err)
{
    struct strbuf text = {0};
    int done = 0;
    tree_write(tree, &text);
    if (text.length > TREE_BYTES_MAX)
        done = error_set(
            err, ERR_TOO_LARGE, "the artifact's tree is larger than %d bytes", TREE_BYTES_MAX);
    if (done == 0)
        done = store_text(registry, team, tree, &text, err);
    if (done == 0)
        tree_facts(tree, text.text, text.length, ret);
    strbuf_finish(&text);
    return done;
}

/* ---- reading ------------------------------------------------------------------------------ */

int tree_read_chunk(struct registry *registry, const char *team, const struct tree_entry *file,
    const struct tree_chunk *chunk, int64_t offset, struct chunk_buffers *buffers,
    struct error *err)
{
    if (object_read_chunk(&registry->objects, team, &chunk->digest, buffers->codec, buffers->stored,
            buffers->raw, chunk->size, err) == 0)
        return 0;
    /* An artifact is there, so a chunk of it that is gone was lost. */
    if (err && err->code == ERR_NOT_FOUND && !team)
        err->code = ERR_CORRUPT;
    return error_prefix(err, "\"%s\" at byte %" PRId64, file->path, offset);
}

/* Reads a whole file, and its SHA-256 where the chunks' do not say it. */
static int check_file(struct registry *registry, const char *team, const struct tree *tree,
    const struct tree_entry *file, struct chunk_buffers *buffers, struct sha *sha,
    struct error *err)
{
    int64_t offset = 0;
    struct digest digest;
    bool single = file->count == 1;
    sha_start(sha);
    for (size_t i = file->first; i < file->first + file->count; i++) {
        const struct tree_chunk *chunk = &tree->chunks.items[i];
        if (tree_read_chunk(registry, team, file, chunk, offset, buffers, err) < 0)
            return -1;
        if (!single)
            sha_add(sha, buffers->raw, chunk->size);
        offset += chunk->size;
    }
    digest = single ? tree->chunks.items[file->first].digest : sha_end(sha);
    if (digest_compare(&digest, &file->digest) != 0)
        return error_set(err, ERR_INVALID,
            "\"%s\" has another SHA-256 than its tree says, although its chunks are right",
            file->path);
    return 0;
}

static int check_files(
    struct registry *registry, const char *team, const struct tree *tree, struct error *err)
{
    struct chunk_buffers buffers;
    SCOPED(sha_scope) struct sha *sha = sha_create();
    int done = 0;
    chunk_buffers_init(&buffers);
    for (size_t i = 0; done == 0 && i < tree->files.count; i++)
        done = check_file(registry, team, tree, &tree->files.items[i], &buffers, sha, err);
    chunk_buffers_finish(&buffers);
    return done;
}

/* ---- the interface ------------------------------------------------------------------------ */

/* Holds every chunk of a tree for the team, or says which it may not. */
static int hold_chunks(struct registry *registry, const char *team, const struct tree *tree,
    enum hold how, struct error *err)
{
    char hex[DIGEST_HEX + 1];
    bool held;
    for (size_t i = 0; i < tree->chunks.count; i++) {
        const struct digest *digest = &tree->chunks.items[i].digest;
        if (object_hold(&registry->objects, team, OBJECT_CHUNK, digest, how, &held, err) < 0)
            return -1;
        if (held)
            continue;
        digest_hex(digest, hex);
        return error_set(err, how == HOLD_OWN ? ERR_NOT_FOUND : ERR_CORRUPT,
            "chunk %s is missing: send it first", hex);
    }
    return 0;
}

int registry_disk_bytes(const struct registry *registry, int64_t *ret, struct error *err)
{
    struct statvfs disk;
    if (fstatvfs(registry->root_fd, &disk) < 0)
        return error_set_errno(err, "cannot find out how large the disk is");
    *ret = (int64_t)(disk.f_blocks * disk.f_frsize);
    return 0;
}

/* What is larger than the whole disk could never be laid out, and a tree that names one chunk again
 * and again would keep a thread reading for hours. */
static int check_size(const struct registry *registry, const struct tree *tree, struct error *err)
{
    int64_t most;
    if (registry_disk_bytes(registry, &most, err) < 0)
        return -1;
    if (tree->bytes > most)
        return error_set(err, ERR_TOO_LARGE,
            "the tree lists %" PRId64 " bytes, and the whole disk has %" PRId64, tree->bytes, most);
    return 0;
}

static int put_tree(struct registry *registry, const char *team, const struct tree *tree,
    struct artifact_facts *ret, struct error *err)
{
    /* Cheap, and most of what goes wrong: it comes before reading everything. */
    if (check_size(registry, tree, err) < 0 ||
        hold_chunks(registry, team, tree, HOLD_OWN, err) < 0 ||
        check_files(registry, team, tree, err) < 0)
        return -1;
    return tree_store(registry, team, tree, ret, err);
}

int registry_put_tree(struct registry *registry, const char *team, const char *text, size_t size,
    struct artifact_facts *ret, struct error *err)
{
    struct tree tree;
    struct upload upload;
    if (objects_check_team(team, err) < 0 || tree_parse(text, size, &tree, err) < 0)
        return -1;
    upload_begin(registry, &upload);
    int done = put_tree(registry, team, &tree, ret, err);
    upload_end(registry, &upload);
    tree_finish(&tree);
    return done;
}

int registry_tree_text(struct registry *registry, const char *tree, char **ret_text,
    size_t *ret_size, struct error *err)
{
    struct digest digest;
    if (parse_digest(tree, &digest, err) < 0)
        return -1;
    return tree_load_text(registry, &digest, ret_text, ret_size, err);
}

static int share(struct registry *registry, const struct digest *digest, const struct tree *tree,
    const char *team, struct error *err)
{
    struct name_set names = {0};
    bool held;
    if (hold_chunks(registry, team, tree, HOLD_TAKE, err) < 0 ||
        object_hold(&registry->objects, team, OBJECT_TREE, digest, HOLD_TAKE, &held, err) < 0)
        return -1;
    if (!held)
        return error_set(err, ERR_NOT_FOUND, "the tree was removed meanwhile");
    names_of(tree, &names);
    name_set_add(&names, digest);
    return objects_sync(&registry->objects, team, &names, err);
}

int registry_share(struct registry *registry, const char *tree, const char *team, struct error *err)
{
    struct tree loaded;
    struct digest digest;
    struct upload upload;
    if (objects_check_team(team, err) < 0 || parse_digest(tree, &digest, err) < 0 ||
        tree_load(registry, tree, &loaded, err) < 0)
        return -1;
    upload_begin(registry, &upload);
    int done = share(registry, &digest, &loaded, team, err);
    upload_end(registry, &upload);
    tree_finish(&loaded);
    return done;
}

int registry_verify(struct registry *registry, const char *tree, struct error *err)
{
    struct tree loaded;
    if (tree_load(registry, tree, &loaded, err) < 0)
        return -1;
    int done = check_files(registry, NULL, &loaded, err);
    /* The tree was checked when it was stored: now it can only be the disk. */
    if (done < 0 && err && err->code == ERR_INVALID)
        err->code = ERR_CORRUPT;
    tree_finish(&loaded);
    return done;
}

int registry_files(struct registry *registry, const char *tree, registry_file_fn *visit,
    void *context, struct error *err)
{
    struct tree loaded;
    char hex[DIGEST_HEX + 1];
    int done = 0;
    if (tree_load(registry, tree, &loaded, err) < 0)
        return -1;
    for (size_t i = 0; done == 0 && i < loaded.files.count; i++) {
        const struct tree_entry *file = &loaded.files.items[i];
        digest_hex(&file->digest, hex);
        struct tree_file seen = {file->path, file->size, hex};
        done = visit(context, &seen, err);
    }
    tree_finish(&loaded);
    return done;
}
