/* Whole files: bounded reads, writes that are there entirely or not at all. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Reads a regular file of at most `most` bytes. The text is terminated with NUL, which the size
 * does not count, and is the caller's to free. -1: ERR_NOT_FOUND, ERR_TOO_LARGE or ERR_IO. */
MUST_CHECK int file_read(
    const char *path, size_t most, char **ret_text, size_t *ret_size, struct error *err);
/* Replaces path's content: a temporary file beside it, fsync, rename, fsync of the folder. */
MUST_CHECK int file_write(
    const char *path, const void *bytes, size_t size, mode_t mode, struct error *err);
/* Makes the folder and its parents (mode for each one made); fine when it is there. */
MUST_CHECK int file_make_dirs(const char *path, mode_t mode, struct error *err);
/* Removes a tree, by descriptors: without following a symbolic link or crossing to another file
 * system, so it can be used on folders a hostile process wrote to, however deep. Fine when it is
 * not there. -1: ERR_IO. */
MUST_CHECK int file_remove_tree(const char *path, struct error *err);
/* Empties an open folder in the same way. */
MUST_CHECK int file_remove_content(int folder_fd, struct error *err);
/* Writes all bytes to fd, however often it takes. */
MUST_CHECK int file_write_all(int fd, const void *bytes, size_t size, struct error *err);
/* SHA-256 of bytes as 64 lower-case hex digits and NUL. */
void file_sha256_hex(const void *bytes, size_t size, char out[65]);
