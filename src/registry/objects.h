/* Objects on disk: chunks and trees by their digests, and which team holds which.
 *
 * An object gets its name by link(2) after its bytes were synced, so under a name there is never
 * half an object, whatever ends the process or the machine. A team holds an object by a hard link
 * of its own to the same inode. The names themselves are durable once objects_sync has been called
 * for them; losing one before that loses what no tree refers to yet. */
#pragma once

#include "base/error.h"
#include "registry/codec.h"
#include "registry/registry.h"
#include "registry/sha.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum object_kind { OBJECT_CHUNK, OBJECT_TREE };

struct objects {
    int objects_fd, teams_fd, tmp_fd;
    atomic_uint_fast64_t next_tmp;
    /* Shared by who names objects, exclusive for who takes a name away: between the look at an
     * object's links and its removal nobody may have come to hold it. */
    pthread_rwlock_t names;
};

/* Where an object lies below objects/ and teams/<team>/: "ab/<digest>" of a chunk and
 * "ab/<digest>.tree" of a tree. Trees have names of their own, so that a chunk whose bytes happen
 * (or were made) to be the text of a tree does not become one. */
struct object_name {
    char text[3 + DIGEST_HEX + 5 + 1];
};

/* Sets up what objects_close takes. */
void objects_init(struct objects *objects);
/* Opens (makes) objects/, teams/ and an empty tmp/ below the folder. To be closed also when it
 * failed. ERR_IO; ERR_INVALID when the file system has no hard links. */
MUST_CHECK int objects_open(struct objects *objects, int root_fd, struct error *err);
void objects_close(struct objects *objects);

/* Whether a team's name can be a folder's. ERR_INVALID. */
MUST_CHECK int objects_check_team(const char *team, struct error *err);

/* Which names an operation has to make durable: bit i stands for the folder of digests that begin
 * with byte i. */
struct name_set {
    uint64_t bits[4];
};
void name_set_add(struct name_set *set, const struct digest *digest);

/* What a caller may do about an object its team does not hold yet. */
enum hold {
    HOLD_OWN,  /* nothing: the team has to have brought it */
    HOLD_TAKE, /* link it, when it is there: the caller has its bytes, or was given it */
};
/* Whether (*ret_held) the team holds the object, from now on for at least the grace of a
 * collection. */
MUST_CHECK int object_hold(struct objects *objects, const char *team, enum object_kind kind,
    const struct digest *digest, enum hold hold, bool *ret_held, struct error *err);

/* Reads an object as stored: team NULL reads it whoever holds it. buffer has `room` bytes.
 * ERR_NOT_FOUND, ERR_CORRUPT (longer than room), ERR_IO. */
MUST_CHECK int object_read(struct objects *objects, const char *team, enum object_kind kind,
    const struct digest *digest, void *buffer, size_t room, size_t *ret_size, struct error *err);
/* Reads and unpacks a chunk of a known length into raw. ERR_NOT_FOUND, ERR_CORRUPT, ERR_IO. */
MUST_CHECK int object_read_chunk(struct objects *objects, const char *team,
    const struct digest *digest, struct codec *codec, void *stored, void *raw, size_t length,
    struct error *err);

/* ---- new objects ------------------------------------------------------------------------ */

enum { BATCH_OBJECTS = 64, BATCH_BYTES = 64 << 20 };

struct pending {
    int fd; /* of tmp/<tmp> */
    uint64_t tmp;
    enum object_kind kind;
    struct digest digest;
    int64_t raw_bytes, stored_bytes;
};

/* Objects of a team on their way to the disk. Several are written before the first is waited for:
 * one flush of the disk then serves them all. May be used by several threads at once. */
struct batch {
    struct objects *objects;
    const char *team;
    pthread_mutex_t lock; /* of what follows */
    struct pending pending[BATCH_OBJECTS];
    size_t count;
    int64_t bytes;
    int64_t new_bytes, new_stored; /* of chunks that were not there before: raw, on disk */
};
void batch_init(struct batch *batch, struct objects *objects, const char *team);
/* Drops what was not flushed. */
void batch_finish(struct batch *batch);
/* Adds an object as stored. It is named by a flush, which an addition may do. */
MUST_CHECK int batch_add(struct batch *batch, enum object_kind kind, const struct digest *digest,
    const void *stored, size_t size, size_t raw_size, struct error *err);
/* Syncs and names what was added. After -1 some of it may be named. */
MUST_CHECK int batch_flush(struct batch *batch, struct error *err);

/* Makes the names of the set durable, in objects/ and in the team's folder. */
MUST_CHECK int objects_sync(
    struct objects *objects, const char *team, const struct name_set *set, struct error *err);
