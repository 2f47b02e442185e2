/* One entry of a snapshot and its header block: what packing and unpacking share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SNAPSHOT_BLOCK = 512,
    SNAPSHOT_PATH_MAX = 255,
    SNAPSHOT_TARGET_MAX = 100,
    SNAPSHOT_DEPTH_MAX = 32,
};

enum snapshot_type { SNAPSHOT_FILE = '0', SNAPSHOT_LINK = '2', SNAPSHOT_FOLDER = '5' };

struct snapshot_entry {
    char path[SNAPSHOT_PATH_MAX + 1]; /* relative, without a slash at its end */
    enum snapshot_type type;
    bool executable;                      /* of a file */
    uint64_t size;                        /* of a file */
    char target[SNAPSHOT_TARGET_MAX + 1]; /* of a link */
};

/* Writes the header. False: the entry cannot be in a snapshot (path or target too long or not
 * inside, file too large). */
bool snapshot_entry_encode(const struct snapshot_entry *entry, char block[SNAPSHOT_BLOCK]);
/* Reads a header. False: it is not exactly one that snapshot_entry_encode writes. */
bool snapshot_entry_decode(const char block[SNAPSHOT_BLOCK], struct snapshot_entry *ret);
