/* Whole files: see file.h. */
#include "base/file.h"

#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TREE_OPEN_FOLDERS = 32 };

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

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st, (void)type, (void)walk;
    return remove(path);
}

int file_remove_tree(const char *path, struct error *err)
{
    if (nftw(path, remove_entry, TREE_OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 &&
        errno != ENOENT)
        return error_set_errno(err, "cannot remove %s", path);
    return 0;
}

void file_sha256_hex(const void *bytes, size_t size, char out[65])
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(digest, bytes, size);
    sodium_bin2hex(out, 65, digest, sizeof digest);
}
