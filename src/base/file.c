/* Whole files: see file.h. */
#include "base/file.h"

#include "base/memory.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024, TREE_OPEN_FOLDERS = 32, TREE_NAMES_TRIED = 100000 };

/* Reads to the end of fd, or one byte past most; text has room for that. */
static int read_to_end(int fd, size_t most, char **text, size_t *ret_size)
{
    size_t capacity = most < READ_BYTES ? most + 1 : READ_BYTES, size = 0;
    *text = mem_resize(*text, capacity, 1);
    while (size <= most) {
        ssize_t n = read(fd, *text + size, capacity - size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        size += (size_t)n;
        if (size == capacity && size <= most) {
            capacity = capacity > most / 2 ? most + 1 : capacity * 2;
            *text = mem_resize(*text, capacity, 1);
        }
    }
    *ret_size = size;
    return 0;
}

int file_read(const char *path, size_t most, char **ret_text, size_t *ret_size, struct error *err)
{
    assert(most < SIZE_MAX / 2);
    /* Not to wait for the other end of a named pipe. */
    SCOPED(fd_scope) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        bool missing = errno == ENOENT;
        error_set_errno(err, "cannot open %s", path);
        if (err && missing)
            err->code = ERR_NOT_FOUND;
        return -1;
    }
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_set_errno(err, "cannot stat %s", path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERR_INVALID, "%s is not a regular file", path);
    SCOPED(mem_scope) char *text = NULL;
    size_t size;
    if (read_to_end(fd, most, &text, &size) < 0)
        return error_set_errno(err, "cannot read %s", path);
    if (size > most)
        return error_set(err, ERR_TOO_LARGE, "%s is larger than %zu bytes", path, most);
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
        if (n == 0)
            return error_set(err, ERR_IO, "cannot write: nothing was taken");
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
    const char *path, const void *bytes, size_t size, mode_t mode, bool sync, struct error *err)
{
    /* One left by a crash may have another mode or owner, or be a link: never write into it. */
    if (unlink(path) < 0 && errno != ENOENT)
        return error_set_errno(err, "cannot remove %s", path);
    SCOPED(fd_scope) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return error_set_errno(err, "cannot create %s", path);
    if (file_write_all(fd, bytes, size, err) < 0)
        return error_prefix(err, "%s", path);
    if (sync && fsync(fd) < 0)
        return error_set_errno(err, "cannot sync %s", path);
    return 0;
}

static int replace(
    const char *path, const void *bytes, size_t size, mode_t mode, bool sync, struct error *err)
{
    size_t length = strlen(path) + 8;
    SCOPED(mem_scope) char *temporary = mem_alloc(length, 1);
    snprintf(temporary, length, "%s.new", path);
    if (write_temporary(temporary, bytes, size, mode, sync, err) < 0) {
        unlink(temporary);
        return -1;
    }
    if (rename(temporary, path) < 0) {
        error_set_errno(err, "cannot rename %s to %s", temporary, path);
        unlink(temporary);
        return -1;
    }
    return sync ? sync_folder_of(path, err) : 0;
}

int file_write(const char *path, const void *bytes, size_t size, mode_t mode, struct error *err)
{
    return replace(path, bytes, size, mode, true, err);
}

int file_replace(const char *path, const void *bytes, size_t size, mode_t mode, struct error *err)
{
    return replace(path, bytes, size, mode, false, err);
}

int file_make_dirs(const char *path, mode_t mode, struct error *err)
{
    if (*path == '\0')
        return error_set(err, ERR_INVALID, "the name of a folder is empty");
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

/* Removing a tree somebody hostile has made. Every step goes through the descriptor of a folder, so
 * neither a symbolic link nor a path longer than PATH_MAX can lead elsewhere. At most
 * TREE_OPEN_FOLDERS are open at once: a folder deeper than that is moved to the top of the tree,
 * where the next pass finds it. */
struct removal {
    const char *path;
    int top_fd;
    dev_t device;
    unsigned next_name;
    bool moved;
};

static void dir_scope(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

static int move_to_top(struct removal *removal, int fd, const char *name, struct error *err)
{
    char fresh[32];
    for (int i = 0; i < TREE_NAMES_TRIED; i++) {
        snprintf(fresh, sizeof fresh, "removed-%u", removal->next_name++);
        if (renameat2(fd, name, removal->top_fd, fresh, RENAME_NOREPLACE) == 0) {
            removal->moved = true;
            return 0;
        }
        if (errno != EEXIST)
            break;
    }
    return error_set_errno(err, "cannot move a folder inside %s", removal->path);
}

static int empty_folder(struct removal *removal, int owned_fd, int depth, struct error *err);

/* Opens a folder for emptying it. Its owner may have closed it to himself; root needs no mode. */
static int open_folder(int fd, const char *name)
{
    static const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int child = openat(fd, name, flags);
    if (child < 0 && errno == EACCES && fchmodat(fd, name, 0700, 0) == 0)
        child = openat(fd, name, flags);
    if (child >= 0 && fchmod(child, 0700) < 0 && errno != EPERM) {
        close(child);
        return -1;
    }
    return child;
}

static int remove_entry(
    struct removal *removal, int fd, const char *name, int depth, struct error *err)
{
    if (unlinkat(fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return error_set_errno(err, "cannot remove %s inside %s", name, removal->path);
    if (unlinkat(fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    if (depth == TREE_OPEN_FOLDERS)
        return move_to_top(removal, fd, name, err);
    int child = open_folder(fd, name);
    if (child < 0)
        return error_set_errno(err, "cannot open %s inside %s", name, removal->path);
    if (empty_folder(removal, child, depth + 1, err) < 0)
        return -1;
    if (unlinkat(fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return error_set_errno(err, "cannot remove %s inside %s", name, removal->path);
    return 0;
}

static int empty_folder(struct removal *removal, int owned_fd, int depth, struct error *err)
{
    SCOPED(dir_scope) DIR *dir = fdopendir(owned_fd);
    if (!dir) {
        close(owned_fd);
        return error_set_errno(err, "cannot list %s", removal->path);
    }
    struct stat st;
    if (fstat(owned_fd, &st) < 0)
        return error_set_errno(err, "cannot stat a folder inside %s", removal->path);
    if (st.st_dev != removal->device)
        return error_set(
            err, ERR_CONFLICT, "another file system is mounted inside %s", removal->path);
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry)
            break;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (remove_entry(removal, owned_fd, entry->d_name, depth, err) < 0)
            return -1;
    }
    return errno ? error_set_errno(err, "cannot list %s", removal->path) : 0;
}

/* Passes over the folder until nothing was moved to its top. */
static int empty_top(int fd, const char *path, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_set_errno(err, "cannot stat %s", path);
    struct removal removal = {.path = path, .top_fd = fd, .device = st.st_dev};
    do {
        removal.moved = false;
        int again = open_folder(fd, ".");
        if (again < 0)
            return error_set_errno(err, "cannot open %s", path);
        if (empty_folder(&removal, again, 0, err) < 0)
            return -1;
    } while (removal.moved);
    return 0;
}

int file_remove_content(int folder_fd, struct error *err)
{
    return empty_top(folder_fd, "the folder", err);
}

int file_remove_tree(const char *path, struct error *err)
{
    if (unlink(path) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return error_set_errno(err, "cannot remove %s", path);
    SCOPED(fd_scope) int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, "cannot open %s", path);
    if (empty_top(fd, path, err) < 0)
        return -1;
    if (rmdir(path) < 0 && errno != ENOENT)
        return error_set_errno(err, "cannot remove %s", path);
    return 0;
}

void file_sha256_hex(const void *bytes, size_t size, char out[65])
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(digest, bytes, size);
    sodium_bin2hex(out, 65, digest, sizeof digest);
}
