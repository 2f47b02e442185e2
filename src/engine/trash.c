/* The trash: see trash.h. A walk with an explicit stack of open folders: each slice goes on where
 * the last one stopped. Whoever filled the tree was hostile and may still be writing, so no step
 * follows a link or a path, nothing is recursive, and a slice is bounded by entries.
 *
 * The stack is bounded too. A folder that is deeper is moved to the top of the trash, where a later
 * pass finds it: the trash as a whole is what is removed, so any place in it will do. */
#include "engine/trash.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 32, NAME_TRIES = 100, NAME_SIZE = 64 };

struct level {
    DIR *folder;
    char name[NAME_MAX + 1]; /* in the folder above */
};

struct trash {
    struct event *slice;
    char *folder;
    int fd;
    dev_t device;
    int64_t born_ms;
    uint64_t next_name;
    struct level stack[DEPTH_MAX]; /* the first is the trash itself */
    size_t depth;
    bool again;  /* something came to the top since the pass began */
    bool warned; /* in this pass */
};

static void run_soon(struct trash *trash)
{
    const struct timeval when = {0, TRASH_SLICE_MS * 1000};
    if (!event_pending(trash->slice, EV_TIMEOUT, NULL))
        event_add(trash->slice, &when);
}

/* Once a pass: a tree may have a million entries that cannot be removed. */
static void warn(struct trash *trash, const char *name)
{
    if (!trash->warned)
        log_warn("cannot remove %s in %s: %s", name, trash->folder, strerror(errno));
    trash->warned = true;
}

/* Moves an entry to a fresh name at the top. Names of earlier engines have an earlier time. */
static int move_to_top(struct trash *trash, int at, const char *name)
{
    for (int i = 0; i < NAME_TRIES; i++) {
        char fresh[NAME_SIZE];
        snprintf(fresh, sizeof fresh, "%" PRId64 "-%" PRIu64, trash->born_ms, trash->next_name++);
        if (renameat2(at, name, trash->fd, fresh, RENAME_NOREPLACE) == 0) {
            trash->again = true;
            return 0;
        }
        if (errno != EEXIST)
            return -1;
    }
    return -1;
}

/* Opens a folder for emptying it. Its owner may have closed it to himself; root needs no mode. */
static int open_folder(int at, const char *name)
{
    static const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(at, name, flags);
    if (fd < 0 && errno == EACCES && fchmodat(at, name, 0700, 0) == 0)
        fd = openat(at, name, flags);
    if (fd >= 0)
        (void)!fchmod(fd, 0700);
    return fd;
}

/* Goes into a folder. -1: it cannot be entered; errno says why. */
static int push(struct trash *trash, int at, const char *name)
{
    struct stat st;
    assert(trash->depth < DEPTH_MAX);
    SCOPED(fd_scope) int fd = open_folder(at, name);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    errno = EXDEV;
    DIR *folder = st.st_dev == trash->device ? fdopendir(fd) : NULL;
    if (!folder)
        return -1;
    fd = -1;
    struct level *level = &trash->stack[trash->depth++];
    level->folder = folder;
    snprintf(level->name, sizeof level->name, "%s", name);
    return 0;
}

/* Leaves the innermost folder and removes it, unless it is the trash itself. */
static void pop(struct trash *trash)
{
    struct level *level = &trash->stack[--trash->depth];
    closedir(level->folder);
    if (trash->depth == 0)
        return;
    int above = dirfd(trash->stack[trash->depth - 1].folder);
    if (unlinkat(above, level->name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        warn(trash, level->name);
}

static void remove_entry(struct trash *trash, int at, const char *name)
{
    if (unlinkat(at, name, 0) == 0 || (errno == EISDIR && unlinkat(at, name, AT_REMOVEDIR) == 0) ||
        errno == ENOENT)
        return;
    int result = -1;
    if (errno == ENOTEMPTY || errno == EEXIST || errno == EACCES)
        result = trash->depth < DEPTH_MAX ? push(trash, at, name) : move_to_top(trash, at, name);
    if (result < 0)
        warn(trash, name);
}

static void step(struct trash *trash)
{
    DIR *folder = trash->stack[trash->depth - 1].folder;
    const struct dirent *entry = readdir(folder);
    if (!entry)
        pop(trash);
    else if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
        remove_entry(trash, dirfd(folder), entry->d_name);
}

static void on_slice(evutil_socket_t fd, short events, void *context)
{
    struct trash *trash = context;
    (void)fd, (void)events;
    if (trash->depth == 0) {
        trash->again = trash->warned = false;
        if (push(trash, trash->fd, ".") < 0)
            warn(trash, ".");
    }
    for (int i = 0; i < TRASH_SLICE_ENTRIES && trash->depth > 0; i++)
        step(trash);
    if (trash->depth > 0 || trash->again)
        run_soon(trash);
}

struct trash *trash_create(struct event_base *base, const char *folder, struct error *err)
{
    struct stat st;
    if (file_make_dirs(folder, 0700, err) < 0)
        return NULL;
    SCOPED(fd_scope) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fchmod(fd, 0700) < 0 || fstat(fd, &st) < 0) {
        error_set_errno(err, "cannot use %s", folder);
        return NULL;
    }
    struct trash *trash = mem_alloc(1, sizeof *trash);
    trash->slice = evtimer_new(base, on_slice, trash);
    assert(trash->slice);
    trash->folder = mem_strdup(folder);
    trash->fd = fd;
    fd = -1;
    trash->device = st.st_dev;
    trash->born_ms = clock_wall_ms();
    run_soon(trash);
    return trash;
}

int trash_put(struct trash *trash, const char *path, struct error *err)
{
    int result = move_to_top(trash, AT_FDCWD, path);
    /* An ordinary user can only move a folder he may write to, and the job may have closed it. */
    if (result < 0 && errno == EACCES && chmod(path, 0700) == 0)
        result = move_to_top(trash, AT_FDCWD, path);
    if (result < 0 && errno != ENOENT)
        return error_set_errno(err, "cannot move %s to %s", path, trash->folder);
    run_soon(trash);
    return 0;
}

bool trash_is_idle(const struct trash *trash)
{
    return !event_pending(trash->slice, EV_TIMEOUT, NULL);
}

void trash_destroy(struct trash *trash)
{
    if (!trash)
        return;
    event_free(trash->slice);
    while (trash->depth > 0)
        closedir(trash->stack[--trash->depth].folder);
    close(trash->fd);
    free(trash->folder);
    free(trash);
}
