/* Bounded walks over folders that hostile processes write to while they are walked: by
 * descriptors, never following a symbolic link, never leaving the file system. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tree_measure {
    uint64_t bytes;    /* allocated on disk; every entry counts at least one block of 4 KiB */
    uint64_t entries;  /* looked at */
    int64_t newest_ms; /* modification time of the newest regular file; 0: there is none */
    bool cut;          /* a bound was met: the numbers are too low */
};

/* Adds what is below the folder to *measure. Stops at `most` entries in all and at a depth of 64
 * folders, and says so in cut; a folder that cannot be read is such a bound, too, since a job can
 * close one to itself that it goes on writing to. Entries that vanish meanwhile are not errors. */
void tree_measure_add(int folder_fd, uint64_t most, struct tree_measure *measure);
