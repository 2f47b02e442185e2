/* The file layer for tests, for its own files.
 *
 * A file has two contents, the visible and the durable, and the list of changes that lead from one
 * to the other. A folder has two sets of names likewise: `linked` and `linked_durably`. A crash
 * makes the visible the durable, starts a new generation, and leaves open files dead. */
#pragma once

#include "base/memory.h"
#include "base/prng.h"
#include "base/vec.h"
#include "store/fault_vfs.h"

#include <pthread.h>
#include <sqlite3.h>

enum { SECTOR_BYTES = 512 };

struct content {
    unsigned char *bytes;
    size_t size;
    size_t capacity;
};

struct change {
    bool truncation; /* to offset */
    size_t offset;
    size_t size;
    unsigned char *bytes;
};

struct file_node {
    char *name; /* NULL: temporary */
    bool linked;
    bool linked_durably;
    struct content visible;
    struct content durable;
    VEC(struct change) changes;
    /* Locks of this generation. */
    int shared;
    const void *reserved, *exclusive; /* the open file that has it */
    int map_users;
    int map_shared[SQLITE_SHM_NLOCK];
    bool map_exclusive[SQLITE_SHM_NLOCK];
    VEC(void *) map;
};

struct fault_vfs {
    sqlite3_vfs base;
    pthread_mutex_t lock; /* recursive: of all below, and of all files */
    struct prng prng;
    VEC(struct file_node *) nodes;
    VEC(void *) old_maps; /* of earlier generations: dead files may still look at them */
    uint64_t operations;
    uint64_t fault_from, fault_to; /* numbers of operations */
    enum fault_kind fault;
    int generation;
    bool crashed;
};

struct open_file {
    sqlite3_file base;
    struct fault_vfs *vfs;
    struct file_node *node;
    int generation;
    int level;       /* SQLITE_LOCK_* */
    bool folder_due; /* a log or journal: its first sync is the folder's too, as in SQLite's own */
    bool mapped;
    unsigned map_shared, map_exclusive; /* bits of locks held */
};

static inline pthread_mutex_t *take_lock(const struct fault_vfs *vfs)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&vfs->lock;
    pthread_mutex_lock(lock);
    return lock;
}

static inline void lock_scope(pthread_mutex_t **lock)
{
    pthread_mutex_unlock(*lock);
}

/* Until the end of the function. */
#define LOCKED(vfs)                                                                                \
    __attribute__((unused)) SCOPED(lock_scope) pthread_mutex_t *locked = take_lock(vfs)

/* Whether the machine has stopped since the file was opened. */
static inline bool dead(const struct open_file *file)
{
    return file->generation != file->vfs->generation;
}

/* ---- fault_disk.c ----------------------------------------------------------------------------
 */

/* What becomes visible, or durable; the content grows as it has to. */
void content_write(struct content *content, size_t offset, const unsigned char *bytes, size_t size);
void content_apply(struct content *content, const struct change *change);
/* All that was changed becomes durable. */
void node_sync(struct file_node *node);
/* Nothing, all, or a random part of what was not synced becomes durable. */
void node_sync_in_part(struct fault_vfs *vfs, struct file_node *node);
void node_destroy(struct file_node *node);
/* The names that there are become durable. */
void folder_sync(struct fault_vfs *vfs);
/* Counts an operation and says which fault meets it. */
enum fault_kind next_fault(struct fault_vfs *vfs);

/* ---- fault_file.c ----------------------------------------------------------------------------
 */

extern const sqlite3_io_methods disk_methods;

/* ---- fault_locks.c ---------------------------------------------------------------------------
 */

/* What sqlite3_io_methods asks of a file's locks and of the log's index: SQLITE_OK or another of
 * its codes. */
int disk_lock(sqlite3_file *base, int level);
int disk_unlock(sqlite3_file *base, int level);
int disk_check_reserved(sqlite3_file *base, int *reserved);
int map_get(sqlite3_file *base, int region, int size, int extend, void volatile **ret_region);
int map_lock(sqlite3_file *base, int offset, int count, int flags);
void map_barrier(sqlite3_file *base);
int map_drop(sqlite3_file *base, int delete_map);
