/* Copying a folder: see stage_copy.h. Every step goes by descriptors of folders, so that nothing
 * which is moved meanwhile leads elsewhere. */
#include "engine/stage_copy.h"

#include "base/file.h"
#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 64, SLICE_BYTES = 4 << 20 };

static int copy_folder(
    int from, int to, int depth, struct stage_progress *progress, struct error *err);

static int stopped(struct error *err)
{
    return error_set(err, ERR_UNAVAILABLE, "the copy was given up");
}

/* By the kernel, which knows how to share blocks where both are in one file system, else through
 * memory. 0: the end. */
static ssize_t copy_slice(int in, int out, char **room)
{
    if (!*room) {
        ssize_t moved = copy_file_range(in, NULL, out, NULL, SLICE_BYTES, 0);
        if (moved >= 0 || (errno != EXDEV && errno != EINVAL && errno != ENOSYS &&
                              errno != EOPNOTSUPP && errno != EPERM))
            return moved;
        *room = mem_alloc(SLICE_BYTES, 1);
    }
    ssize_t size = read(in, *room, SLICE_BYTES);
    return size <= 0 || file_write_all(out, *room, (size_t)size, NULL) == 0 ? size : -1;
}

static int copy_content(
    int in, int out, const char *name, struct stage_progress *progress, struct error *err)
{
    SCOPED(mem_scope) char *room = NULL;
    while (!atomic_load_explicit(&progress->stop, memory_order_relaxed)) {
        ssize_t moved = copy_slice(in, out, &room);
        if (moved < 0 && errno == EINTR)
            continue;
        if (moved < 0)
            return error_set_errno(err, "cannot copy %s", name);
        if (moved == 0)
            return fsync(out) == 0 ? 0 : error_set_errno(err, "cannot store %s", name);
        atomic_fetch_add_explicit(&progress->bytes, (uint64_t)moved, memory_order_relaxed);
    }
    return stopped(err);
}

static int copy_file(
    int from, int to, const char *name, struct stage_progress *progress, struct error *err)
{
    SCOPED(fd_scope) int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (in < 0)
        return error_set_errno(err, "cannot open %s", name);
    SCOPED(fd_scope)
    int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);
    if (out < 0 || fchmod(out, 0444) < 0)
        return error_set_errno(err, "cannot make %s", name);
    return copy_content(in, out, name, progress, err);
}

static int copy_link(int from, int to, const char *name, struct error *err)
{
    char target[PATH_MAX];
    ssize_t length = readlinkat(from, name, target, sizeof target - 1);
    if (length < 0)
        return error_set_errno(err, "cannot read %s", name);
    target[length] = '\0';
    return symlinkat(target, to, name) == 0 ? 0 : error_set_errno(err, "cannot make %s", name);
}

static int copy_below(int from, int to, const char *name, int depth,
    struct stage_progress *progress, struct error *err)
{
    if (depth >= DEPTH_MAX)
        return error_set(err, ERR_TOO_LARGE, "%s is nested too deeply", name);
    SCOPED(fd_scope)
    int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (in < 0 || mkdirat(to, name, 0755) < 0)
        return error_set_errno(err, "cannot make %s", name);
    SCOPED(fd_scope) int out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (out < 0 || fchmod(out, 0755) < 0)
        return error_set_errno(err, "cannot open %s", name);
    return copy_folder(in, out, depth + 1, progress, err);
}

static int copy_entry(int from, int to, const char *name, int depth,
    struct stage_progress *progress, struct error *err)
{
    struct stat status;
    if (fstatat(from, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return error_set_errno(err, "cannot look at %s", name);
    if (S_ISREG(status.st_mode))
        return copy_file(from, to, name, progress, err);
    if (S_ISLNK(status.st_mode))
        return copy_link(from, to, name, err);
    if (S_ISDIR(status.st_mode))
        return copy_below(from, to, name, depth, progress, err);
    return error_set(err, ERR_INVALID, "%s is neither a file, a folder nor a link", name);
}

static int copy_folder(
    int from, int to, int depth, struct stage_progress *progress, struct error *err)
{
    int copy = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
    DIR *listing = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *entry;
    if (!listing) {
        if (copy >= 0)
            close(copy);
        return error_set_errno(err, "cannot read a folder");
    }
    while (rc == 0 && (entry = readdir(listing))) {
        if (atomic_load_explicit(&progress->stop, memory_order_relaxed))
            rc = stopped(err);
        else if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = copy_entry(from, to, entry->d_name, depth, progress, err);
    }
    closedir(listing);
    if (rc == 0 && fsync(to) < 0)
        rc = error_set_errno(err, "cannot store a folder");
    return rc;
}

int stage_copy(const char *from, const char *to, struct stage_progress *progress, struct error *err)
{
    SCOPED(fd_scope) int in = open(from, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (in < 0 && (errno == ENOENT || errno == ENOTDIR))
        return error_set(err, ERR_NOT_FOUND, "there is no folder %s", from);
    if (in < 0)
        return error_set_errno(err, "cannot open %s", from);
    if (mkdir(to, 0755) < 0)
        return error_set_errno(err, "cannot make %s", to);
    SCOPED(fd_scope) int out = open(to, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (out < 0 || fchmod(out, 0755) < 0)
        return error_set_errno(err, "cannot open %s", to);
    return copy_folder(in, out, 0, progress, err);
}
