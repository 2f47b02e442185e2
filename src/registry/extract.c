/* Writing an artifact's files: see registry_extract. Paths of a tree were checked when it was
 * parsed; still every part of one is opened without following links, since the folder may be
 * anybody's. */
#include "registry/internal.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SYNC_EACH_MAX = 256, /* files synced one by one; of more, the whole file system */
};

struct extraction {
    struct registry *registry;
    const struct tree *tree;
    struct chunk_buffers buffers;
    int folder_fd;
    bool durable;
};

/* Opens (makes) the folder of a path below the top; *ret_name is the path's last part. Returns the
 * descriptor, the caller's to close. */
static int open_parent(int top_fd, const char *path, const char **ret_name, struct error *err)
{
    static const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    char name[ARTIFACT_PATH_MAX + 1];
    SCOPED(fd_scope) int fd = openat(top_fd, ".", flags);
    for (const char *slash; fd >= 0 && (slash = strchr(path, '/')); path = slash + 1) {
        memcpy(name, path, (size_t)(slash - path));
        name[slash - path] = '\0';
        if (mkdirat(fd, name, 0755) < 0 && errno != EEXIST)
            return error_set_errno(err, "cannot make the folder \"%s\"", name);
        int below = openat(fd, name, flags), why = errno;
        close(fd);
        errno = why;
        fd = below;
    }
    if (fd < 0)
        return error_set_errno(err, "cannot open a folder for \"%s\"", path);
    int result = fd;
    fd = -1;
    *ret_name = path;
    return result;
}

static int write_chunks(
    struct extraction *extraction, const struct tree_entry *file, int fd, struct error *err)
{
    int64_t offset = 0;
    for (size_t i = file->first; i < file->first + file->count; i++) {
        const struct tree_chunk *chunk = &extraction->tree->chunks.items[i];
        if (tree_read_chunk(
                extraction->registry, NULL, file, chunk, offset, &extraction->buffers, err) < 0)
            return -1;
        if (file_write_all(fd, extraction->buffers.raw, chunk->size, err) < 0)
            return error_prefix(err, "\"%s\"", file->path);
        /* So that the sync at the end has little left to wait for. */
        if (extraction->durable)
            (void)sync_file_range(fd, offset, chunk->size, SYNC_FILE_RANGE_WRITE);
        offset += chunk->size;
    }
    return 0;
}

static int write_file(
    struct extraction *extraction, const struct tree_entry *file, struct error *err)
{
    const char *name;
    SCOPED(fd_scope) int folder_fd = open_parent(extraction->folder_fd, file->path, &name, err);
    if (folder_fd < 0)
        return -1;
    SCOPED(fd_scope)
    int fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return error_set_errno(err, "cannot make \"%s\"", file->path);
    if (write_chunks(extraction, file, fd, err) < 0)
        return -1;
    if (extraction->durable && extraction->tree->files.count <= SYNC_EACH_MAX && fsync(fd) < 0)
        return error_set_errno(err, "cannot sync \"%s\"", file->path);
    return 0;
}

int extract_tree(struct registry *registry, const struct tree *tree, int folder_fd, bool durable,
    struct error *err)
{
    struct extraction extraction = {
        .registry = registry, .tree = tree, .folder_fd = folder_fd, .durable = durable};
    int done = 0;
    chunk_buffers_init(&extraction.buffers);
    for (size_t i = 0; done == 0 && i < tree->files.count; i++)
        done = write_file(&extraction, &tree->files.items[i], err);
    chunk_buffers_finish(&extraction.buffers);
    if (done == 0 && durable && tree->files.count > SYNC_EACH_MAX && syncfs(folder_fd) < 0)
        done = error_set_errno(err, "cannot sync the files of an artifact");
    return done;
}

int registry_extract(struct registry *registry, const char *tree, int folder_fd, struct error *err)
{
    struct tree loaded;
    if (tree_load(registry, tree, &loaded, err) < 0)
        return -1;
    int done = extract_tree(registry, &loaded, folder_fd, false, err);
    tree_finish(&loaded);
    return done;
}
