/* Whole files: see file.h. */
#include "base/file.h"

#include "base/memory.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Each level holds a descriptor while it is removed; deeper trees are taken in pieces. */
enum { TREE_DEPTH_MAX = 128 };

int file_read(const char *path, size_t most, char **ret_text, size_t *ret_size, struct error *err)
{
    SCOPED(fd_scope) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        error_set_errno(err, "cannot open %s", path);
        if (err && errno == ENOENT)
            err->code = ERR_NOT_FOUND;
        return -1;
    }
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_set_errno(err, "cannot stat %s", path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERR_INVALID, "%s is not a regular file", path);
    SCOPED(mem_scope) char *text = mem_alloc(most + 1 < 65536 ? most + 1 : 65536, 1);
    size_t capacity = most + 1 < 65536 ? most + 1 : 65536, size = 0;
    for (;;) {
        ssize_t n = read(fd, text + size, capacity - size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, "cannot read %s", path);
        if (n == 0)
            break;
        size += (size_t)n;
        if (size > most)
            return error_set(err, ERR_TOO_LARGE, "%s is larger than %zu bytes", path, most);
        if (size == capacity) {
            capacity = capacity * 2 > most + 1 ? most + 1 : capacity * 2;
            text = mem_resize(text, capacity, 1);
        }
    }
    text = mem_resize(text, size + 1, 1);
    text[size] = '\0';
    *ret_text = text;
    *ret_size = size;
    text = NULL;
    return 0;
}

int file_write_all(int fd, const void *bytes, size_t size, struct error *err)
{
    const char *next = bytes;
    while (size > 0) {
        ssize_t n = write(fd, next, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, "cannot write");
        next += n;
        size -= (size_t)n;
    }
    return 0;
}

static int sync_folder_of(const char *path, struct error *err)
{
    SCOPED(mem_scope) char *copy = mem_strdup(path);
    SCOPED(fd_scope) int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return error_set_errno(err, "cannot sync the folder of %s", path);
    return 0;
}

static int write_temporary(
    const char *path, const void *bytes, size_t size, mode_t mode, struct error *err)
{
    SCOPED(fd_scope) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return error_set_errno(err, "cannot create %s", path);
    if (file_write_all(fd, bytes, size, err) < 0)
        return error_prefix(err, "%s", path);
    if (fsync(fd) < 0)
        return error_set_errno(err, "cannot sync %s", path);
    return 0;
}

int file_write(const char *path, const void *bytes, size_t size, mode_t mode, struct error *err)
{
    size_t length = strlen(path) + 8;
    SCOPED(mem_scope) char *temporary = mem_alloc(length, 1);
    snprintf(temporary, length, "%s.new", path);
    if (write_temporary(temporary, bytes, size, mode, err) < 0) {
        unlink(temporary);
        return -1;
    }
    if (rename(temporary, path) < 0) {
        error_set_errno(err, "cannot rename %s to %s", temporary, path);
        unlink(temporary);
        return -1;
    }
    return sync_folder_of(path, err);
}

int file_make_dirs(const char *path, mode_t mode, struct error *err)
{
    SCOPED(mem_scope) char *copy = mem_strdup(path);
    for (char *s = copy + 1;; s++) {
        if (*s != '/' && *s != '\0')
            continue;
        char saved = *s;
        *s = '\0';
        if (mkdir(copy, mode) < 0 && errno != EEXIST)
            return error_set_errno(err, "cannot make the folder %s", copy);
        *s = saved;
        if (saved == '\0')
            break;
    }
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return error_set(err, ERR_IO, "%s is not a folder", path);
    return 0;
}

/* One level of a removal: the open folder, and its name in the folder above. */
struct removal {
    DIR *folder;
    char name[NAME_MAX + 1];
    unsigned raised; /* of the first level: deep folders moved up to it */
    unsigned listed; /* of the first level: those there when it was last read from its start */
};

/* Opens a folder for removal, if it is one of the same file system. -1 with errno. */
static int removal_open(
    int at, const char *name, const dev_t *device, struct removal *ret_removal)
{
    SCOPED(fd_scope) int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    if (device && st.st_dev != *device) {
        errno = EXDEV;
        return -1;
    }
    DIR *folder = fdopendir(fd);
    if (!folder)
        return -1;
    fd = -1;
    ret_removal->folder = folder;
    snprintf(ret_removal->name, sizeof ret_removal->name, "%s", name);
    return 0;
}

/* Lets the owner in whatever the modes say, as far as this process may. */
static int removal_open_closed(
    int at, const char *name, const dev_t *device, struct removal *ret_removal)
{
    if (removal_open(at, name, device, ret_removal) == 0)
        return 0;
    if (errno != EACCES || fchmodat(at, name, 0700, 0) < 0)
        return -1;
    return removal_open(at, name, device, ret_removal);
}

/* Removes an entry that is not a folder; for a folder *ret_is_folder says so. */
static int remove_leaf(int at, const char *name, bool *ret_is_folder)
{
    *ret_is_folder = false;
    if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
        return 0;
    struct stat st;
    int saved = errno;
    if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode)) {
        *ret_is_folder = true;
        return 0;
    }
    errno = saved;
    return -1;
}

/* A tree may be deeper than the stack: its deep end is moved to the top, whose end of the
 * listing is then looked at again. Whoever made the tree may have taken some of the names. */
static int removal_raise(struct removal *stack, const char *name)
{
    char raised[64];
    struct removal *top = &stack[0];
    int deep = dirfd(stack[TREE_DEPTH_MAX - 1].folder), result;
    do {
        snprintf(raised, sizeof raised, ".removal-%u", ++top->raised);
        result = renameat2(deep, name, dirfd(top->folder), raised, RENAME_NOREPLACE);
    } while (result < 0 && errno == EEXIST && top->raised < UINT_MAX);
    return result;
}

/* Empties the folder on top of stack, which may push one below it. 1: it is empty now. */
static int removal_step(struct removal *stack, size_t *depth, const dev_t *device)
{
    DIR *folder = stack[*depth - 1].folder;
    const struct dirent *entry;
    while ((entry = readdir(folder))) {
        bool is_folder;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (remove_leaf(dirfd(folder), entry->d_name, &is_folder) < 0)
            return -1;
        if (!is_folder)
            continue;
        if (*depth == TREE_DEPTH_MAX) {
            if (removal_raise(stack, entry->d_name) < 0)
                return -1;
            continue;
        }
        if (removal_open_closed(dirfd(folder), entry->d_name, device, &stack[*depth]) < 0)
            return -1;
        (*depth)++;
        return 0;
    }
    return 1;
}

/* Empties the folder that is stack[0]. Each level is emptied before it is removed from the one
 * above; entries that appear meanwhile make the removal fail, not run on. */
static int removal_run(struct removal *stack, size_t *depth, const dev_t *device)
{
    while (*depth > 0) {
        int empty = removal_step(stack, depth, device);
        if (empty < 0)
            return -1;
        if (!empty)
            continue;
        if (*depth == 1 && stack[0].raised > stack[0].listed) {
            stack[0].listed = stack[0].raised;
            rewinddir(stack[0].folder);
            continue;
        }
        struct removal *done = &stack[--*depth];
        closedir(done->folder);
        if (*depth > 0 && unlinkat(dirfd(stack[*depth - 1].folder), done->name, AT_REMOVEDIR) < 0)
            return -1;
    }
    return 0;
}

/* Empties the folder that was opened as stack[0], and closes it. */
static int remove_content(struct removal *stack)
{
    struct stat st;
    size_t depth = 1;
    int result = fstat(dirfd(stack[0].folder), &st);
    if (result == 0)
        result = removal_run(stack, &depth, &st.st_dev);
    int saved = errno;
    while (depth > 0)
        closedir(stack[--depth].folder);
    errno = saved;
    return result;
}

int file_remove_tree(const char *path, struct error *err)
{
    bool is_folder;
    if (remove_leaf(AT_FDCWD, path, &is_folder) < 0)
        return error_set_errno(err, "cannot remove %s", path);
    if (!is_folder)
        return 0;
    SCOPED(mem_scope) struct removal *stack = mem_alloc(TREE_DEPTH_MAX, sizeof *stack);
    if (removal_open_closed(AT_FDCWD, path, NULL, &stack[0]) < 0)
        return error_set_errno(err, "cannot open %s to remove it", path);
    if (remove_content(stack) < 0 || rmdir(path) < 0)
        return error_set_errno(err, "cannot remove %s", path);
    return 0;
}

int file_remove_content(int folder_fd, struct error *err)
{
    SCOPED(mem_scope) struct removal *stack = mem_alloc(TREE_DEPTH_MAX, sizeof *stack);
    if (removal_open(folder_fd, ".", NULL, &stack[0]) < 0)
        return error_set_errno(err, "cannot open a folder to empty it");
    if (remove_content(stack) < 0)
        return error_set_errno(err, "cannot empty a folder");
    return 0;
}

void file_sha256_hex(const void *bytes, size_t size, char out[65])
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(digest, bytes, size);
    sodium_bin2hex(out, 65, digest, sizeof digest);
}
