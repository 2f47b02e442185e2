/* Walks: see tree.h. The walk is depth first with an explicit stack of open folders, so its depth
 * is bounded by an array and not by the machine's stack. */
#include "engine/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 64, LEAST_ENTRY_BYTES = 4096, STAT_BLOCK_BYTES = 512 };

struct walk {
    DIR *stack[DEPTH_MAX];
    size_t depth;
    dev_t device;
    struct tree_measure *measure;
};

static bool is_dots(const char *name)
{
    return !strcmp(name, ".") || !strcmp(name, "..");
}

/* Opens a folder of the same file system. One that its owner has closed to himself hides what is
 * in it, so the measure is not whole; one that vanished has nothing in it. */
static void walk_push(struct walk *walk, int at, const char *name)
{
    if (walk->depth == DEPTH_MAX) {
        walk->measure->cut = true;
        return;
    }
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        walk->measure->cut |= errno == EACCES;
        return;
    }
    struct stat st;
    DIR *folder = fstat(fd, &st) == 0 && st.st_dev == walk->device ? fdopendir(fd) : NULL;
    if (!folder)
        close(fd);
    else
        walk->stack[walk->depth++] = folder;
}

/* A file's owner can give it any time, also one that does not fit. */
static int64_t milliseconds(const struct timespec *time)
{
    if (time->tv_sec > INT64_MAX / 1000 - 1)
        return INT64_MAX;
    return time->tv_sec < 0 ? 0 : (int64_t)time->tv_sec * 1000 + time->tv_nsec / 1000000;
}

static void measure_entry(struct tree_measure *measure, const struct stat *st)
{
    uint64_t bytes = (uint64_t)st->st_blocks * STAT_BLOCK_BYTES;
    int64_t modified_ms = milliseconds(&st->st_mtim);
    measure->bytes += bytes > LEAST_ENTRY_BYTES ? bytes : LEAST_ENTRY_BYTES;
    if (S_ISREG(st->st_mode) && modified_ms > measure->newest_ms)
        measure->newest_ms = modified_ms;
}

/* Looks at the next entry of the innermost folder, or leaves it. */
static void walk_step(struct walk *walk)
{
    DIR *folder = walk->stack[walk->depth - 1];
    const struct dirent *entry = readdir(folder);
    if (!entry) {
        closedir(folder);
        walk->depth--;
        return;
    }
    struct stat st;
    if (is_dots(entry->d_name))
        return;
    /* One that is gone already counts too, or a job that makes and removes them had no bound. */
    walk->measure->entries++;
    if (fstatat(dirfd(folder), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    measure_entry(walk->measure, &st);
    if (S_ISDIR(st.st_mode))
        walk_push(walk, dirfd(folder), entry->d_name);
}

void tree_measure_add(int folder_fd, uint64_t most, struct tree_measure *measure)
{
    struct stat st;
    if (fstat(folder_fd, &st) < 0)
        return;
    struct walk walk = {.device = st.st_dev, .measure = measure};
    walk_push(&walk, folder_fd, ".");
    while (walk.depth > 0 && measure->entries < most)
        walk_step(&walk);
    measure->cut |= walk.depth > 0;
    while (walk.depth > 0)
        closedir(walk.stack[--walk.depth]);
}
