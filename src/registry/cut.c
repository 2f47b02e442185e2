/* Cutting: see cut.h. Bytes are read straight into the piece they belong to, READ_BYTES at a time,
 * and looked at as they come; what was read past a cut moves to the next piece. So memory does not
 * depend on the file, and each byte is copied at most once more.
 *
 * A file is hashed and cut in one pass over what was read, never over the file again: what a writer
 * changes meanwhile cannot make digest and chunks disagree. That the file was the same all the time
 * is checked by its times and size before and after. */
#include "registry/cut.h"

#include "registry/chunker.h"
#include "registry/folder.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 256 << 10 };

struct cutter {
    const struct cut_sink *sink;
    struct tree tree;
    struct sha *sha;
    struct piece *piece;
    int64_t bytes_max;
};

static int changed(const char *path, struct error *err)
{
    return error_set(err, ERR_INVALID, "\"%s\" changed while it was read", path);
}

/* Reads up to `most` bytes; *ret_got 0 at the end of the file. */
static int read_some(
    int fd, const char *path, void *raw, size_t most, size_t *ret_got, struct error *err)
{
    ssize_t got;
    do
        got = read(fd, raw, most);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return error_set_errno(err, "cannot read \"%s\"", path);
    *ret_got = (size_t)got;
    return 0;
}

/* Hands the first `size` bytes of the piece over; what follows them moves to a new piece. */
static int give_piece(
    struct cutter *cutter, struct tree_entry *file, size_t size, size_t filled, struct error *err)
{
    struct piece *full = cutter->piece, *next = cutter->sink->take(cutter->sink->context, err);
    if (!next)
        return -1;
    memcpy(next->raw, full->raw + size, filled - size);
    next->offset = full->offset + (int64_t)size;
    next->path = file->path;
    full->size = size;
    full->index = cutter->tree.chunks.count;
    full->digest_known = (int64_t)size == file->size;
    full->digest = file->digest;
    vec_push(&cutter->tree.chunks, ((struct tree_chunk){.size = (uint32_t)size}));
    file->count++;
    cutter->piece = next;
    return cutter->sink->give(cutter->sink->context, full, err);
}

/* Reads and cuts a whole file. The digest of one that is a single chunk is known before that is
 * handed over, so that it need not be computed twice. */
static int cut_open_file(struct cutter *cutter, struct tree_entry *file, int fd, struct error *err)
{
    struct chunker chunker = {0};
    size_t filled = 0;
    int64_t total = 0;
    cutter->piece->offset = 0;
    cutter->piece->path = file->path;
    sha_start(cutter->sha);
    for (;;) {
        size_t room = CHUNK_MAX - filled, got = 0, length;
        if (read_some(fd, file->path, cutter->piece->raw + filled,
                room < READ_BYTES ? room : READ_BYTES, &got, err) < 0)
            return -1;
        if (got == 0)
            break;
        total += (int64_t)got;
        if (total > file->size)
            return changed(file->path, err);
        sha_add(cutter->sha, cutter->piece->raw + filled, got);
        filled += got;
        if (total == file->size)
            file->digest = sha_end(cutter->sha);
        while ((length = chunker_scan(&chunker, cutter->piece->raw, filled)) > 0) {
            if (give_piece(cutter, file, length, filled, err) < 0)
                return -1;
            filled -= length;
            chunker = (struct chunker){0};
        }
    }
    if (total != file->size)
        return changed(file->path, err);
    if (total == 0)
        file->digest = sha_end(cutter->sha);
    return filled > 0 ? give_piece(cutter, file, filled, filled, err) : 0;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static int cut_file(struct cutter *cutter, int folder_fd, const char *path, struct error *err)
{
    struct stat before, after;
    SCOPED(fd_scope) int fd = folder_open_file(folder_fd, path, &before, err);
    if (fd < 0)
        return -1;
    if (cutter->bytes_max > 0 && before.st_size > cutter->bytes_max - cutter->tree.bytes)
        return error_set(
            err, ERR_TOO_LARGE, "the folder has more than %" PRId64 " bytes", cutter->bytes_max);
    struct tree_entry file = {.path = arena_strdup(cutter->tree.arena, path),
        .size = before.st_size,
        .first = cutter->tree.chunks.count};
    /* Only a hint. */
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    if (cut_open_file(cutter, &file, fd, err) < 0)
        return -1;
    if (fstat(fd, &after) < 0)
        return error_set_errno(err, "cannot stat \"%s\"", path);
    if (after.st_size != before.st_size || !same_time(&after.st_mtim, &before.st_mtim) ||
        !same_time(&after.st_ctim, &before.st_ctim))
        return changed(path, err);
    cutter->tree.bytes += file.size;
    vec_push(&cutter->tree.files, file);
    return 0;
}

static int cut_files(
    struct cutter *cutter, int folder_fd, const struct folder_list *list, struct error *err)
{
    for (size_t i = 0; i < list->paths.count; i++)
        if (cut_file(cutter, folder_fd, list->paths.items[i], err) < 0)
            return -1;
    return 0;
}

/* Every piece taken goes back, and every piece given is waited for, also after a failure: what
 * works on them points into the tree. The first failure is the one that is told. */
static int cut_list(
    struct cutter *cutter, int folder_fd, const struct folder_list *list, struct error *err)
{
    const struct cut_sink *sink = cutter->sink;
    cutter->piece = sink->take(sink->context, err);
    if (!cutter->piece)
        return -1;
    int done = cut_files(cutter, folder_fd, list, err);
    cutter->piece->size = 0;
    if (sink->give(sink->context, cutter->piece, done < 0 ? NULL : err) < 0)
        done = -1;
    if (sink->settle(sink->context, &cutter->tree, done < 0 ? NULL : err) < 0)
        done = -1;
    return done;
}

int cut_folder(int folder_fd, int64_t bytes_max, const struct cut_sink *sink, struct tree *ret,
    struct error *err)
{
    struct folder_list list;
    if (folder_list(folder_fd, &list, err) < 0)
        return -1;
    SCOPED(sha_scope) struct sha *sha = sha_create();
    struct cutter cutter = {.sink = sink, .sha = sha, .bytes_max = bytes_max};
    cutter.tree.arena = arena_create();
    int done = cut_list(&cutter, folder_fd, &list, err);
    folder_list_finish(&list);
    if (done < 0) {
        tree_finish(&cutter.tree);
        return -1;
    }
    *ret = cutter.tree;
    return 0;
}

/* ---- a folder without a registry ---------------------------------------------------------- */

struct visitor {
    registry_cut_fn *visit;
    void *context;
    struct sha *sha;
    struct piece *pieces[2]; /* one is filled while the other is handed over */
    size_t taken;
    VEC(struct digest) digests;
};

static struct piece *visitor_take(void *context, struct error *err)
{
    struct visitor *visitor = context;
    (void)err;
    return visitor->pieces[visitor->taken++ % 2];
}

static int visitor_give(void *context, struct piece *piece, struct error *err)
{
    struct visitor *visitor = context;
    char hex[DIGEST_HEX + 1];
    if (piece->size == 0)
        return 0;
    if (!piece->digest_known)
        piece->digest = sha_of(visitor->sha, piece->raw, piece->size);
    assert(piece->index == visitor->digests.count);
    vec_push(&visitor->digests, piece->digest);
    if (!visitor->visit)
        return 0;
    digest_hex(&piece->digest, hex);
    return visitor->visit(
        visitor->context, piece->path, piece->offset, piece->raw, piece->size, hex, err);
}

static int visitor_settle(void *context, struct tree *tree, struct error *err)
{
    struct visitor *visitor = context;
    (void)err;
    for (size_t i = 0; i < visitor->digests.count; i++)
        tree->chunks.items[i].digest = visitor->digests.items[i];
    return 0;
}

int registry_cut_folder(int folder_fd, int64_t bytes_max, registry_cut_fn *visit, void *context,
    char **ret_tree_text, size_t *ret_tree_size, struct artifact_facts *ret_facts,
    struct error *err)
{
    struct visitor visitor = {.visit = visit, .context = context, .sha = sha_create()};
    struct cut_sink sink = {visitor_take, visitor_give, visitor_settle, &visitor};
    struct tree tree;
    for (int i = 0; i < 2; i++)
        visitor.pieces[i] = mem_alloc(1, sizeof *visitor.pieces[i]);
    int done = cut_folder(folder_fd, bytes_max, &sink, &tree, err);
    for (int i = 0; i < 2; i++)
        free(visitor.pieces[i]);
    vec_free(&visitor.digests);
    sha_destroy(visitor.sha);
    if (done < 0)
        return -1;
    struct strbuf text = {0};
    tree_write(&tree, &text);
    if (text.length > TREE_BYTES_MAX) {
        tree_finish(&tree);
        strbuf_finish(&text);
        return error_set(
            err, ERR_TOO_LARGE, "the folder's tree is larger than %d bytes", TREE_BYTES_MAX);
    }
    tree_facts(&tree, text.text, text.length, ret_facts);
    tree_finish(&tree);
    *ret_tree_size = text.length;
    *ret_tree_text = strbuf_steal(&text);
    return 0;
}
