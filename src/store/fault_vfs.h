/* A file layer for tests, which lives in memory and behaves as badly as a disk may.
 *
 * What is written is visible at once and durable only after a sync. When the machine stops, writes
 * that were not synced are lost, or survive in part, sector by sector; a file whose folder was not
 * synced may be gone. A sync that fails stores some of what it should have stored and forgets that
 * the rest is due, so that the next sync "succeeds" without it, as Linux does. Everything random
 * comes from the seed.
 *
 * Threads may use it side by side; what is drawn then depends on who comes first. Files here have
 * nothing to do with the real ones of the same names. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct fault_vfs;

enum fault_kind {
    FAULT_NONE,
    FAULT_FULL,  /* writes that make a file longer fail with SQLITE_FULL */
    FAULT_IO,    /* writes, syncs, truncations, openings and deletions fail with SQLITE_IOERR */
    FAULT_SYNC,  /* syncs alone fail */
    FAULT_CRASH, /* the machine stops in the middle of the operation */
};

/* Registers a layer with SQLite under the name, which has to outlive it. Never NULL. */
struct fault_vfs *fault_vfs_create(const char *name, uint64_t seed);
/* Every file has to be closed. */
void fault_vfs_destroy(struct fault_vfs *vfs);

/* The next `after` operations that change something go well; the `count` after them do not. */
void fault_vfs_plan(struct fault_vfs *vfs, enum fault_kind kind, uint64_t after, uint64_t count);
/* Operations that changed something, since creation. */
uint64_t fault_vfs_operations(const struct fault_vfs *vfs);
/* Stops the machine now: from here on every operation on an open file fails, until it is closed. */
void fault_vfs_crash(struct fault_vfs *vfs);
/* True once when the machine has stopped; clears the plan: the machine is on again. */
bool fault_vfs_restarted(struct fault_vfs *vfs);
