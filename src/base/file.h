/* Whole files: bounded reads, writes that are there entirely or not at all. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Reads a regular file of at most `most` bytes. The text is terminated with NUL, which the size
 * does not count, and is the caller's to free. -1: ERR_NOT_FOUND, ERR_TOO_LARGE,
 * ERR_INVALID (not a regular file) or ERR_IO. */
MUST_CHECK int file_read(
    const char *path, size_t most, char **ret_text, size_t *ret_size, struct error *err);
/* Replaces path's content: a temporary file beside it (path.new), fsync, rename, fsync of the
 * folder. One writer at a time for each path. After -1 the old content may be there or the new. */
MUST_CHECK int file_write(
    const char *path, const void *bytes, size_t size, mode_t mode, struct error *err);
/* The same without waiting for the disk: after a power failure the file may be the old one, the new
 * one, empty or gone. */
MUST_CHECK int file_replace(
    const char *path, const void *bytes, size_t size, mode_t mode, struct error *err);
/* Makes the folder and its parents (mode for each one made); fine when it is there. */
MUST_CHECK int file_make_dirs(const char *path, mode_t mode, struct error *err);
/* Removes a file, a symbolic link or a whole tree, however deep, without following symbolic links;
 * fine when it is not there. -1, with part of it gone: ERR_CONFLICT when another file system is
 * mounted in it, or ERR_IO. */
MUST_CHECK int file_remove_tree(const char *path, struct error *err);
/* Empties an open folder in the same way; the folder and its descriptor stay. */
MUST_CHECK int file_remove_content(int folder_fd, struct error *err);
/* Writes all bytes to fd, however often it takes. */
MUST_CHECK int file_write_all(int fd, const void *bytes, size_t size, struct error *err);
/* SHA-256 of bytes as 64 lower-case hex digits and NUL. */
void file_sha256_hex(const void *bytes, size_t size, char out[65]);
