/* Objects on disk: see objects.h. */
#include "registry/objects.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    TEAM_NAME_MAX = 128,
    PATH_SIZE = TEAM_NAME_MAX + 1 + sizeof(struct object_name),
    TMP_NAME_SIZE = 24,
    TOUCH_AFTER_MS = 60 * 1000,
};

static struct object_name name_of(enum object_kind kind, const struct digest *digest)
{
    struct object_name name;
    char hex[DIGEST_HEX + 1];
    digest_hex(digest, hex);
    snprintf(
        name.text, sizeof name.text, "%.2s/%s%s", hex, hex, kind == OBJECT_TREE ? ".tree" : "");
    return name;
}

int objects_check_team(const char *team, struct error *err)
{
    size_t length = strnlen(team, TEAM_NAME_MAX + 1);
    bool fine = length > 0 && length <= TEAM_NAME_MAX && team[0] != '.';
    for (size_t i = 0; fine && i < length; i++)
        fine = isalnum((unsigned char)team[i]) || strchr("-_.", team[i]);
    return fine ? 0 : error_set(err, ERR_INVALID, "\"%.140s\" cannot be the name of a team", team);
}

void name_set_add(struct name_set *set, const struct digest *digest)
{
    set->bits[digest->bytes[0] >> 6] |= UINT64_C(1) << (digest->bytes[0] & 63);
}

/* ---- opening ------------------------------------------------------------------------------ */

static int open_folder(int root_fd, const char *name, int *ret, struct error *err)
{
    if (mkdirat(root_fd, name, 0700) < 0 && errno != EEXIST)
        return error_set_errno(err, "cannot make the registry's folder %s", name);
    *ret = openat(root_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return *ret < 0 ? error_set_errno(err, "cannot open the registry's folder %s", name) : 0;
}

static int check_links(int tmp_fd, struct error *err)
{
    SCOPED(fd_scope) int fd = openat(tmp_fd, "one", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
    if (fd < 0)
        return error_set_errno(err, "cannot write to the registry's folder tmp");
    int linked = linkat(tmp_fd, "one", tmp_fd, "two", 0), why = errno;
    unlinkat(tmp_fd, "one", 0);
    unlinkat(tmp_fd, "two", 0);
    if (linked == 0)
        return 0;
    return error_set(err, ERR_INVALID,
        "the registry's file system has no hard links (%s): put the data directory on another",
        strerror(why));
}

void objects_init(struct objects *objects)
{
    *objects = (struct objects){.objects_fd = -1, .teams_fd = -1, .tmp_fd = -1};
    pthread_rwlock_init(&objects->names, NULL);
}

int objects_open(struct objects *objects, int root_fd, struct error *err)
{
    if (open_folder(root_fd, "objects", &objects->objects_fd, err) < 0 ||
        open_folder(root_fd, "teams", &objects->teams_fd, err) < 0 ||
        open_folder(root_fd, "tmp", &objects->tmp_fd, err) < 0 ||
        file_remove_content(objects->tmp_fd, err) < 0 || check_links(objects->tmp_fd, err) < 0)
        return -1;
    return 0;
}

void objects_close(struct objects *objects)
{
    fd_scope(&objects->objects_fd);
    fd_scope(&objects->teams_fd);
    fd_scope(&objects->tmp_fd);
    pthread_rwlock_destroy(&objects->names);
}

/* ---- names -------------------------------------------------------------------------------- */

/* Where a team's link lies below teams/; below objects/ without a team. */
static int object_path(const struct objects *objects, const char *team,
    const struct object_name *name, char out[PATH_SIZE])
{
    snprintf(out, PATH_SIZE, "%s%s%s", team ? team : "", team ? "/" : "", name->text);
    return team ? objects->teams_fd : objects->objects_fd;
}

/* Makes the folders of a path, all but its last part. */
static void make_parents(int fd, const char *path)
{
    char folder[PATH_SIZE];
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        /* What goes wrong here is told by the link that follows. */
        (void)mkdirat(fd, folder, 0700);
    }
}

/* linkat, with the folders of the new name made when they are not there. */
static int link_object(int from_fd, const char *from, int to_fd, const char *to)
{
    if (linkat(from_fd, from, to_fd, to, 0) == 0)
        return 0;
    if (errno != ENOENT)
        return -1;
    make_parents(to_fd, to);
    return linkat(from_fd, from, to_fd, to, 0);
}

/* Keeps a link young: a collection leaves young ones alone. Its age is the inode's modification
 * time, which nothing else moves once the object is written. (The change time would not do: it also
 * moves when another team's link is removed, and an object of many teams took many collections.) */
static void touch(int fd, const char *path, const struct stat *st)
{
    if (clock_wall_ms() - (int64_t)st->st_mtim.tv_sec * 1000 > TOUCH_AFTER_MS)
        (void)utimensat(fd, path, NULL, AT_SYMLINK_NOFOLLOW);
}

/* With the names shared. */
static int hold(struct objects *objects, const char *team, const struct object_name *name,
    enum hold how, bool *ret_held, struct error *err)
{
    char path[PATH_SIZE];
    struct stat st;
    int fd = object_path(objects, team, name, path);
    if (fstatat(fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        touch(fd, path, &st);
        /* After a crash of the machine the team's name may be there without the common one. */
        if (st.st_nlink == 1 && link_object(fd, path, objects->objects_fd, name->text) < 0 &&
            errno != EEXIST)
            return error_set_errno(err, "cannot link object %s", name->text);
        *ret_held = true;
        return 0;
    }
    if (errno != ENOENT)
        return error_set_errno(err, "cannot stat object %s", name->text);
    *ret_held = false;
    if (how == HOLD_OWN)
        return 0;
    if (link_object(objects->objects_fd, name->text, fd, path) < 0 && errno != EEXIST) {
        if (errno == ENOENT)
            return 0;
        return error_set_errno(err, "cannot link object %s for team %s", name->text, team);
    }
    *ret_held = true;
    (void)utimensat(fd, path, NULL, AT_SYMLINK_NOFOLLOW);
    return 0;
}

int object_hold(struct objects *objects, const char *team, enum object_kind kind,
    const struct digest *digest, enum hold how, bool *ret_held, struct error *err)
{
    struct object_name name = name_of(kind, digest);
    pthread_rwlock_rdlock(&objects->names);
    int done = hold(objects, team, &name, how, ret_held, err);
    pthread_rwlock_unlock(&objects->names);
    return done;
}

/* ---- reading ------------------------------------------------------------------------------ */

/* Up to room bytes of a file; *ret_size is what there was, or more when it has more. */
static int read_whole(int fd, char *buffer, size_t room, size_t *ret_size)
{
    size_t size = 0;
    struct stat st;
    while (size < room) {
        ssize_t got = read(fd, buffer + size, room - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        size += (size_t)got;
    }
    if (fstat(fd, &st) < 0)
        return -1;
    *ret_size = (uint64_t)st.st_size > size ? (size_t)st.st_size : size;
    return 0;
}

int object_read(struct objects *objects, const char *team, enum object_kind kind,
    const struct digest *digest, void *buffer, size_t room, size_t *ret_size, struct error *err)
{
    char path[PATH_SIZE];
    size_t size;
    struct object_name name = name_of(kind, digest);
    int at = object_path(objects, team, &name, path);
    SCOPED(fd_scope) int fd = openat(at, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return error_set(err, ERR_NOT_FOUND, "there is no object %s", name.text + 3);
    if (fd < 0 || read_whole(fd, buffer, room, &size) < 0)
        return error_set_errno(err, "cannot read object %s", name.text + 3);
    if (size > room)
        return error_set(err, ERR_CORRUPT, "object %s is longer than it can be", name.text + 3);
    *ret_size = size;
    return 0;
}

/* Bytes that were checked when they were stored and fail the check now were changed on the disk. */
static int corrupt(enum object_kind kind, const struct digest *digest, struct error *err)
{
    struct object_name name = name_of(kind, digest);
    if (err)
        err->code = ERR_CORRUPT;
    return error_prefix(err, "object %s was changed on the disk", name.text + 3);
}

int object_read_chunk(struct objects *objects, const char *team, const struct digest *digest,
    struct codec *codec, void *stored, void *raw, size_t length, struct error *err)
{
    size_t size, is;
    if (object_read(objects, team, OBJECT_CHUNK, digest, stored, OBJECT_STORED_MAX, &size, err) < 0)
        return -1;
    if (codec_length(stored, size, CHUNK_MAX, &is, err) < 0)
        return corrupt(OBJECT_CHUNK, digest, err);
    if (is != length)
        return error_set(
            err, ERR_INVALID, "a tree says that a chunk has %zu bytes: it has %zu", length, is);
    if (codec_unpack(codec, stored, size, digest, raw, length, err) < 0)
        return corrupt(OBJECT_CHUNK, digest, err);
    return 0;
}

/* ---- syncing ------------------------------------------------------------------------------ */

static int sync_folder(int at, const char *path, struct error *err)
{
    SCOPED(fd_scope) int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return error_set_errno(err, "cannot sync the registry's folder %s", path);
    return 0;
}

int objects_sync(
    struct objects *objects, const char *team, const struct name_set *set, struct error *err)
{
    char path[TEAM_NAME_MAX + 4];
    for (unsigned i = 0; i < 256; i++) {
        if (!(set->bits[i >> 6] >> (i & 63) & 1))
            continue;
        snprintf(path, sizeof path, "%02x", i);
        if (sync_folder(objects->objects_fd, path, err) < 0)
            return -1;
        snprintf(path, sizeof path, "%s/%02x", team, i);
        if (sync_folder(objects->teams_fd, path, err) < 0)
            return -1;
    }
    if (sync_folder(objects->teams_fd, team, err) < 0 ||
        sync_folder(objects->teams_fd, ".", err) < 0 ||
        sync_folder(objects->objects_fd, ".", err) < 0)
        return -1;
    return 0;
}

/* ---- batches ------------------------------------------------------------------------------ */

void batch_init(struct batch *batch, struct objects *objects, const char *team)
{
    *batch = (struct batch){.objects = objects, .team = team};
    pthread_mutex_init(&batch->lock, NULL);
}

static void tmp_name(uint64_t tmp, char out[TMP_NAME_SIZE])
{
    snprintf(out, TMP_NAME_SIZE, "%" PRIu64, tmp);
}

static void drop(struct objects *objects, struct pending *pending)
{
    char name[TMP_NAME_SIZE];
    tmp_name(pending->tmp, name);
    (void)unlinkat(objects->tmp_fd, name, 0);
    fd_scope(&pending->fd);
    pending->fd = -1;
}

void batch_finish(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        drop(batch->objects, &batch->pending[i]);
    batch->count = 0;
    pthread_mutex_destroy(&batch->lock);
}

static int write_pending(struct objects *objects, struct pending *pending, const void *stored,
    size_t size, struct error *err)
{
    char name[TMP_NAME_SIZE];
    pending->tmp = atomic_fetch_add(&objects->next_tmp, 1);
    tmp_name(pending->tmp, name);
    pending->fd =
        openat(objects->tmp_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
    if (pending->fd < 0)
        return error_set_errno(err, "cannot make an object of the registry");
    if (file_write_all(pending->fd, stored, size, err) < 0) {
        drop(objects, pending);
        return error_prefix(err, "an object of the registry");
    }
    /* The disk starts now and is waited for by the flush. A file system that cannot does all of it
     * then. */
    (void)sync_file_range(pending->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    return 0;
}

/* Gives a synced object its two names, with the names shared. *ret_new: it was not there before. An
 * object with a common name but without holders may be collected, so both are given at once. */
static int name_object(
    struct batch *batch, struct pending *pending, bool *ret_new, struct error *err)
{
    struct objects *objects = batch->objects;
    struct object_name name = name_of(pending->kind, &pending->digest);
    char tmp[TMP_NAME_SIZE];
    bool held = false;
    tmp_name(pending->tmp, tmp);
    *ret_new = link_object(objects->tmp_fd, tmp, objects->objects_fd, name.text) == 0;
    if (!*ret_new && errno != EEXIST)
        return error_set_errno(err, "cannot name object %s", name.text + 3);
    if (hold(objects, batch->team, &name, HOLD_TAKE, &held, err) < 0)
        return -1;
    return held ? 0 : error_set(err, ERR_IO, "object %s vanished from the disk", name.text + 3);
}

static int flush_one(struct batch *batch, struct pending *pending, struct error *err)
{
    bool is_new = false;
    if (fdatasync(pending->fd) < 0)
        return error_set_errno(err, "cannot sync an object of the registry");
    pthread_rwlock_rdlock(&batch->objects->names);
    int done = name_object(batch, pending, &is_new, err);
    pthread_rwlock_unlock(&batch->objects->names);
    if (done == 0 && is_new && pending->kind == OBJECT_CHUNK) {
        pthread_mutex_lock(&batch->lock);
        batch->new_bytes += pending->raw_bytes;
        batch->new_stored += pending->stored_bytes;
        pthread_mutex_unlock(&batch->lock);
    }
    return done;
}

static int flush_some(struct batch *batch, struct pending *pending, size_t count, struct error *err)
{
    int done = 0;
    for (size_t i = 0; i < count; i++) {
        if (done == 0)
            done = flush_one(batch, &pending[i], err);
        drop(batch->objects, &pending[i]);
    }
    return done;
}

/* Takes what is pending out, so that others can add while it is flushed. */
static size_t take_pending(struct batch *batch, struct pending out[BATCH_OBJECTS])
{
    size_t count = batch->count;
    memcpy(out, batch->pending, count * sizeof *out);
    batch->count = 0;
    batch->bytes = 0;
    return count;
}

int batch_add(struct batch *batch, enum object_kind kind, const struct digest *digest,
    const void *stored, size_t size, size_t raw_size, struct error *err)
{
    struct pending full[BATCH_OBJECTS], pending = {.kind = kind,
                                            .digest = *digest,
                                            .raw_bytes = (int64_t)raw_size,
                                            .stored_bytes = (int64_t)size};
    size_t count = 0;
    if (write_pending(batch->objects, &pending, stored, size, err) < 0)
        return -1;
    pthread_mutex_lock(&batch->lock);
    assert(batch->count < BATCH_OBJECTS);
    batch->pending[batch->count++] = pending;
    batch->bytes += (int64_t)size;
    if (batch->count == BATCH_OBJECTS || batch->bytes >= BATCH_BYTES)
        count = take_pending(batch, full);
    pthread_mutex_unlock(&batch->lock);
    return flush_some(batch, full, count, err);
}

int batch_flush(struct batch *batch, struct error *err)
{
    struct pending some[BATCH_OBJECTS];
    pthread_mutex_lock(&batch->lock);
    size_t count = take_pending(batch, some);
    pthread_mutex_unlock(&batch->lock);
    return flush_some(batch, some, count, err);
}
