/* The registry: content-addressed artifacts (datasets, models) of a data directory.
 *
 * An artifact is a folder of regular files. Its digest is what
 *
 *     find . -type f -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum -- | sha256sum
 *
 * prints inside it, so that anybody can check it without muster. Files are cut by content (FastCDC,
 * Xia et al., USENIX ATC 2016) into chunks named by their SHA-256, kept once however many files
 * hold them, and compressed with zstd where that saves enough. The tree (files and the chunks each
 * is made of) is an object too. What can be lost to a crash is only what nobody was told is there:
 * chunks are durable before the tree that lists them, trees before the version that names them.
 *
 * Teams share storage and nothing else: a team can refer only to objects that it brought itself or
 * was given with a version that it may read, so asking what is there already tells nobody what
 * other teams have. The record that a team holds an object is a hard link in the team's folder;
 * an object without one belongs to nobody and is removed by a collection.
 *
 *     <data>/registry/objects/ab/<digest>        chunks, stored as codec.h says; trees:
 * <digest>.tree <data>/registry/teams/<team>/ab/<digest>   hard links to them
 *     <data>/registry/cache/<tree>/              artifacts as plain files, for sandboxes to read
 *     <data>/registry/tmp/                       objects on their way; emptied by opening
 *
 * Threads: a registry may be used by several threads at once; calls block on disk and hashing and
 * never run on the server's loop. One process has a data directory's registry open at a time. Paths
 * from outside are checked here: relative, UTF-8 without control characters and backslashes (which
 * sha256sum would print in another way), without empty, "." or ".." segments, not "-" alone (its
 * standard input), at most 1024 bytes and 32 levels. Teams' names are of A-Z a-z 0-9 - _ . and do
 * not begin with a dot: anything else is ERR_INVALID, also from functions that do not list it. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    CHUNK_MIN = 256 << 10, /* but for the last of a file */
    CHUNK_AVERAGE = 1 << 20,
    CHUNK_MAX = 4 << 20,
    OBJECT_STORED_MAX = CHUNK_MAX + 64, /* what a chunk takes at most, stored or sent */
    TREE_BYTES_MAX = 64 << 20,          /* of a tree as text: about 800,000 chunks */
    ARTIFACT_FILES_MAX = 100000,
    ARTIFACT_PATH_MAX = 1024,
};

struct registry;

/* Opens (makes) the registry in the data directory. ERR_IO; ERR_INVALID: no hard links there. */
MUST_CHECK int registry_open(const char *data_dir, struct registry **ret, struct error *err);
void registry_close(struct registry *registry); /* NULL is fine */

/* ---- objects --------------------------------------------------------------------------- */

/* Which of `count` digests (64 hex digits each) the team does not hold: sets ret_missing[i]. Those
 * it holds are young again for collections (see registry_collect). ERR_INVALID, ERR_IO. */
MUST_CHECK int registry_missing(struct registry *registry, const char *team,
    const char (*digests)[65], size_t count, bool *ret_missing, struct error *err);
/* Takes a chunk as it travels (see registry_pack_chunk), checks its bytes against the digest, syncs
 * them and notes that the team holds it. Fine when it is there. Its names are durable with the tree
 * that lists it: a machine that stops before may forget the chunk (registry_missing tells), never
 * keep half of it. ERR_INVALID (it is not what the digest says, or malformed), ERR_TOO_LARGE,
 * ERR_FULL, ERR_IO. */
MUST_CHECK int registry_put_chunk(struct registry *registry, const char *team, const char *digest,
    const void *stored, size_t size, struct error *err);
/* A chunk as it travels and is stored, after checking it: buffer is the caller's to free.
 * ERR_NOT_FOUND (also when the team does not hold it), ERR_CORRUPT names the object whose bytes
 * changed. */
MUST_CHECK int registry_get_chunk(struct registry *registry, const char *team, const char *digest,
    void **ret_stored, size_t *ret_size, struct error *err);
/* The form in which chunks travel and are stored: a header (magic, form, length) and the bytes,
 * compressed with zstd when that saves at least a sixteenth; a guess from samples may skip trying.
 * size is 1..CHUNK_MAX, out has OBJECT_STORED_MAX bytes; returns the size, and the digest of the
 * raw bytes. */
size_t registry_pack_chunk(const void *raw, size_t size, void *out, char ret_digest[65]);
/* Back: raw has CHUNK_MAX bytes. ERR_INVALID (malformed, or not of that digest). */
MUST_CHECK int registry_unpack_chunk(const void *stored, size_t size, const char *digest, void *raw,
    size_t *ret_size, struct error *err);

/* ---- artifacts ------------------------------------------------------------------------- */

struct artifact_facts {
    char digest[65]; /* of the content, see above: what people see as the version's digest */
    char tree[65];   /* of the tree object: what the registry finds it by */
    int64_t files;
    int64_t bytes;  /* of all files */
    int64_t chunks; /* distinct ones */
    /* Of registry_ingest; 0 from others, who bring no chunks. */
    int64_t new_bytes;  /* raw bytes of chunks that were not there before */
    int64_t new_stored; /* what these take on disk */
};

/* Cuts, compresses and keeps every file below an open folder (of a hostile job: symbolic links,
 * devices, sockets and files that change meanwhile are refused, ERR_INVALID names the path; mount
 * points are not crossed; neither is a hard link to a file of another owner than the folder's
 * kept). Streams: memory does not depend on the size of files. Runs two threads of its own
 * meanwhile. ERR_TOO_LARGE above bytes_max (0: the size of the disk, which holds in any case) or
 * ARTIFACT_FILES_MAX; ERR_FULL; ERR_IO. A folder without files is ERR_INVALID. */
MUST_CHECK int registry_ingest(struct registry *registry, const char *team, int folder_fd,
    int64_t bytes_max, struct artifact_facts *ret, struct error *err);
/* Takes a tree that a client made (text of a tree object, hostile), after checking that it is
 * canonical and that the team holds every chunk it lists and that these make the files it says
 * (sizes and SHA-256 of every file: chunks are read). ERR_INVALID, ERR_NOT_FOUND names a chunk that
 * is missing, ERR_CORRUPT one that was changed on the disk, ERR_TOO_LARGE: the files together are
 * larger than the disk. */
MUST_CHECK int registry_put_tree(struct registry *registry, const char *team, const char *text,
    size_t size, struct artifact_facts *ret, struct error *err);
/* The text of a tree, checked, to be freed by the caller. ERR_NOT_FOUND, ERR_CORRUPT. */
MUST_CHECK int registry_tree_text(struct registry *registry, const char *tree, char **ret_text,
    size_t *ret_size, struct error *err);
/* Lets another team hold what a tree lists (it may read a version of it). ERR_NOT_FOUND,
 * ERR_CORRUPT (a chunk is gone), ERR_IO (also when 65,000 teams hold a chunk: ext4 has no more
 * links). */
MUST_CHECK int registry_share(
    struct registry *registry, const char *tree, const char *team, struct error *err);
/* Reads everything of an artifact. ERR_CORRUPT names the file and the chunk whose bytes changed or
 * are gone, and the position in the file. */
MUST_CHECK int registry_verify(struct registry *registry, const char *tree, struct error *err);

struct tree_file {
    const char *path; /* valid during the visit */
    int64_t size;
    const char *digest; /* SHA-256 of its bytes, 64 hex digits */
};
typedef int registry_file_fn(void *context, const struct tree_file *file, struct error *err);
/* Visits the files of a tree, paths ascending by byte. Stops at the first visit that returns -1. */
MUST_CHECK int registry_files(struct registry *registry, const char *tree, registry_file_fn *visit,
    void *context, struct error *err);

/* Reading one file in pieces, each checked before it is given. Used by one thread at a time. */
struct artifact_reader;
/* ERR_NOT_FOUND: no such tree or path. ERR_INVALID: offset is negative or past the end (the end
 * itself is fine). */
MUST_CHECK int artifact_reader_open(struct registry *registry, const char *tree, const char *path,
    int64_t offset, struct artifact_reader **ret, int64_t *ret_size, struct error *err);
/* The next bytes: valid until the next call; *ret_length 0 at the end. ERR_CORRUPT as above. */
MUST_CHECK int artifact_reader_next(
    struct artifact_reader *reader, const void **ret_bytes, size_t *ret_length, struct error *err);
void artifact_reader_close(struct artifact_reader *reader); /* NULL is fine */

/* Writes an artifact's files below an empty folder. Each byte is checked. */
MUST_CHECK int registry_extract(
    struct registry *registry, const char *tree, int folder_fd, struct error *err);
/* The artifact as plain files (0444, folders 0555), extracted at most once however many ask and
 * shared by all who read it: its path, to be freed by the caller. It stays until
 * registry_cache_trim takes it away: note that it is in use before asking for it. */
MUST_CHECK int registry_cached(
    struct registry *registry, const char *tree, char **ret_path, struct error *err);
/* Removes cached artifacts, the least recently asked for first, until at most bytes_max are left.
 * Those for which in_use returns true stay; it is called with the cache locked and must not call
 * the registry. */
MUST_CHECK int registry_cache_trim(struct registry *registry, int64_t bytes_max,
    bool (*in_use)(void *context, const char *tree), void *context, struct error *err);

/* ---- collecting ------------------------------------------------------------------------ */

/* What is reachable: the trees that each team's versions name. Visits every (team, tree) pair.
 * Returns -1 for a pair that cannot be one: nothing is removed then. */
typedef int registry_mark_fn(void *context, const char *team, const char *tree);
struct collect_result {
    int64_t objects_removed, bytes_freed, objects_kept, bytes_kept;
};
/* Removes what no version can reach: each team's links to objects that none of its trees lists,
 * then objects without links. Links younger than grace_ms stay (an upload is under way, or its
 * version is not recorded yet): asking for an object with registry_missing, or bringing it again,
 * makes it young. `each` calls mark for every pair that is to be kept. Uploads may go on meanwhile.
 * A team with a tree that cannot be read keeps everything, and after the others were collected this
 * ends with ERR_CORRUPT or ERR_NOT_FOUND, which names it. */
MUST_CHECK int registry_collect(struct registry *registry, int64_t grace_ms,
    void (*each)(void *context, registry_mark_fn *mark, void *mark_context), void *context,
    struct collect_result *ret, struct error *err);

/* ---- for clients: cutting a folder without a registry ------------------------------------ */

/* Cuts a file of a folder into chunks as the registry does: the command line sends only chunks the
 * server lacks. Visits each with its raw bytes, in order. */
typedef int registry_cut_fn(void *context, const char *path, int64_t offset, const void *raw,
    size_t size, const char *digest, struct error *err);
/* Walks the folder as registry_ingest does, visiting every chunk (NULL: none) and gives the text of
 * the tree, to be freed by the caller. */
MUST_CHECK int registry_cut_folder(int folder_fd, int64_t bytes_max, registry_cut_fn *visit,
    void *context, char **ret_tree_text, size_t *ret_tree_size, struct artifact_facts *ret_facts,
    struct error *err);
