/* Snapshots of work directories: a folder as one canonical stream of bytes. The same content
 * gives the same bytes, and so the same digest, on every machine.
 *
 * The format is ustar without its freedoms: folders, regular files and symbolic links only, in
 * the order of a depth-first walk with names sorted by byte; modes 0755 and 0644 only; no owner
 * and no time; each folder before what is in it. `tar tf` reads it, but only streams as
 * snapshot_pack writes them are accepted. `.git` is left out. */
#pragma once

#include "base/error.h"

#include <stdint.h>

struct snapshot_limits {
    uint64_t bytes; /* of the whole stream */
    uint64_t entries;
};

/* 1 GiB and 100,000 entries. Folders are 32 levels deep at most, paths have 255 bytes, and a
 * symbolic link points to 100 bytes of path inside the snapshot. */
struct snapshot_limits snapshot_default_limits(void);

/* Writes the folder to out_fd and gives the SHA-256 of what was written. -1: ERR_INVALID names
 * what cannot be in a snapshot, ERR_TOO_LARGE, ERR_CONFLICT when a file changes meanwhile,
 * ERR_IO, ERR_FULL. */
MUST_CHECK int snapshot_pack(int folder_fd, int out_fd, const struct snapshot_limits *limits,
    char ret_digest[65], struct error *err);
/* Makes the content in the folder, which should be empty, whatever the bytes are: no name in them
 * leads outside of it. On failure it may hold a part. -1: ERR_INVALID, ERR_TOO_LARGE, ERR_IO,
 * ERR_FULL. */
MUST_CHECK int snapshot_unpack(
    int fd, int folder_fd, const struct snapshot_limits *limits, struct error *err);
/* Reads the whole stream, checks that it could be unpacked and gives its SHA-256. */
MUST_CHECK int snapshot_verify(
    int fd, const struct snapshot_limits *limits, char ret_digest[65], struct error *err);
