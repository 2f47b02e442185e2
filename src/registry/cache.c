/* Artifacts as plain files: see registry_cached.
 *
 *     cache/<tree>        whole and synced: it got this name by a rename when it was
 *     cache/.new-<tree>   being extracted
 *     cache/.old-<tree>   being removed
 *
 * Names with a dot that are there at opening are what a crash left. A folder's modification time is
 * when it was last asked for: nothing else changes it, since the folder is read-only. */
#include "registry/internal.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { CACHE_ROOM_SHARE = 20 };

static void dir_scope(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

/* Opens a folder for reading its names. The descriptor at stays. */
static DIR *list_folder(int at, const char *name)
{
    SCOPED(fd_scope) int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir)
        fd = -1;
    return dir;
}

static bool is_dots(const char *name)
{
    return !strcmp(name, ".") || !strcmp(name, "..");
}

static char *entry_path(const struct registry *registry, const char *prefix, const char *name)
{
    struct strbuf path = {0};
    strbuf_printf(&path, "%s/%s%s", registry->cache_path, prefix, name);
    return strbuf_steal(&path);
}

static int remove_entry(
    const struct registry *registry, const char *prefix, const char *name, struct error *err)
{
    SCOPED(mem_scope) char *path = entry_path(registry, prefix, name);
    return file_remove_tree(path, err);
}

/* Removes what a crash left half made or half removed. */
static int recover(struct registry *registry, struct error *err)
{
    SCOPED(dir_scope) DIR *dir = list_folder(registry->cache_fd, ".");
    const struct dirent *entry;
    if (!dir)
        return error_set_errno(err, "cannot list %s", registry->cache_path);
    while ((entry = readdir(dir)))
        if (entry->d_name[0] == '.' && !is_dots(entry->d_name) &&
            remove_entry(registry, "", entry->d_name, err) < 0)
            return -1;
    return 0;
}

int cache_open(struct registry *registry, const char *data_dir, struct error *err)
{
    struct strbuf path = {0};
    strbuf_printf(&path, "%s/registry/cache", data_dir);
    registry->cache_path = strbuf_steal(&path);
    /* Sandboxes of other users pass through to the artifact they were given, and list nothing. */
    if (mkdirat(registry->root_fd, "cache", 0711) < 0 && errno != EEXIST)
        return error_set_errno(err, "cannot make %s", registry->cache_path);
    registry->cache_fd =
        openat(registry->root_fd, "cache", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (registry->cache_fd < 0)
        return error_set_errno(err, "cannot open %s", registry->cache_path);
    return recover(registry, err);
}

void cache_close(struct registry *registry)
{
    vec_free(&registry->filling);
    fd_scope(&registry->cache_fd);
    free(registry->cache_path);
}

/* ---- filling ------------------------------------------------------------------------------ */

/* Takes the right to write away from everything below a folder, folders last, and syncs these. */
static int make_read_only(int at, const char *name, struct error *err)
{
    SCOPED(dir_scope) DIR *dir = list_folder(at, name);
    const struct dirent *entry;
    struct stat st;
    if (!dir)
        return error_set_errno(err, "cannot list \"%s\" in the cache", name);
    while ((entry = readdir(dir))) {
        if (is_dots(entry->d_name))
            continue;
        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return error_set_errno(err, "cannot stat \"%s\" in the cache", entry->d_name);
        if (S_ISDIR(st.st_mode)) {
            if (make_read_only(dirfd(dir), entry->d_name, err) < 0)
                return -1;
        } else if (fchmodat(dirfd(dir), entry->d_name, 0444, 0) < 0) {
            return error_set_errno(err, "cannot protect \"%s\" in the cache", entry->d_name);
        }
    }
    if (fchmod(dirfd(dir), 0555) < 0 || fsync(dirfd(dir)) < 0)
        return error_set_errno(err, "cannot protect \"%s\" in the cache", name);
    return 0;
}

static int fill_new(
    struct registry *registry, const char *fresh, const struct tree *tree, struct error *err)
{
    if (mkdirat(registry->cache_fd, fresh, 0700) < 0)
        return error_set_errno(err, "cannot make a folder in %s", registry->cache_path);
    SCOPED(fd_scope)
    int fd = openat(registry->cache_fd, fresh, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, "cannot open a folder in %s", registry->cache_path);
    if (extract_tree(registry, tree, fd, true, err) < 0)
        return -1;
    return make_read_only(registry->cache_fd, fresh, err);
}

/* What compresses well is many times as large in the cache as it was to send. The last of the disk
 * is not for it: on a full one neither the store nor any job can write. */
static int check_cache_room(
    const struct registry *registry, const struct tree *tree, struct error *err)
{
    struct statvfs disk;
    if (fstatvfs(registry->cache_fd, &disk) < 0)
        return error_set_errno(err, "cannot find out how full the disk is");
    uint64_t block = disk.f_bsize, kept = (uint64_t)disk.f_blocks / CACHE_ROOM_SHARE;
    uint64_t wanted =
        ((uint64_t)tree->bytes / disk.f_frsize) +
        (uint64_t)tree->files.count * (block / disk.f_frsize ? block / disk.f_frsize : 1);
    if (disk.f_bavail >= kept && wanted <= disk.f_bavail - kept)
        return 0;
    return error_set(err, ERR_FULL,
        "its %" PRId64 " bytes as plain files do not fit on the disk, of which a twentieth stays "
        "free: remove something, or use a larger one",
        tree->bytes);
}

static int fill(struct registry *registry, const char *tree, struct error *err)
{
    struct tree loaded;
    char fresh[DIGEST_HEX + 6];
    if (tree_load(registry, tree, &loaded, err) < 0)
        return -1;
    snprintf(fresh, sizeof fresh, ".new-%s", tree);
    int done = check_cache_room(registry, &loaded, err);
    if (done < 0) {
        tree_finish(&loaded);
        return -1;
    }
    done = fill_new(registry, fresh, &loaded, err);
    tree_finish(&loaded);
    if (done == 0 && renameat(registry->cache_fd, fresh, registry->cache_fd, tree) < 0)
        done = error_set_errno(err, "cannot name a folder in %s", registry->cache_path);
    if (done < 0)
        (void)remove_entry(registry, "", fresh, NULL);
    return done;
}

static size_t find_filling(const struct registry *registry, const char *tree)
{
    size_t i = 0;
    while (i < registry->filling.count && strcmp(registry->filling.items[i], tree) != 0)
        i++;
    return i;
}

/* Notes that somebody asked; false: it is not there. */
static bool is_cached(struct registry *registry, const char *tree)
{
    return utimensat(registry->cache_fd, tree, NULL, AT_SYMLINK_NOFOLLOW) == 0;
}

/* With the lock, which it gives up while it extracts. Whoever else asks meanwhile waits, and tries
 * anew when this one failed: the reason may be gone, and each gets its own error. */
static int ask(struct registry *registry, const char *tree, struct error *err)
{
    for (;;) {
        if (is_cached(registry, tree))
            return 0;
        if (find_filling(registry, tree) == registry->filling.count)
            break;
        pthread_cond_wait(&registry->cache_filled, &registry->cache_lock);
    }
    vec_push(&registry->filling, mem_strdup(tree));
    pthread_mutex_unlock(&registry->cache_lock);
    int done = fill(registry, tree, err);
    pthread_mutex_lock(&registry->cache_lock);
    size_t at = find_filling(registry, tree);
    free(registry->filling.items[at]);
    vec_remove(&registry->filling, at);
    pthread_cond_broadcast(&registry->cache_filled);
    return done;
}

int registry_cached(struct registry *registry, const char *tree, char **ret_path, struct error *err)
{
    struct digest digest;
    if (parse_digest(tree, &digest, err) < 0)
        return -1;
    pthread_mutex_lock(&registry->cache_lock);
    int done = ask(registry, tree, err);
    pthread_mutex_unlock(&registry->cache_lock);
    if (done == 0)
        *ret_path = entry_path(registry, "", tree);
    return done;
}

/* ---- trimming ----------------------------------------------------------------------------- */

struct cached {
    char tree[DIGEST_HEX + 1];
    struct timespec asked;
    int64_t bytes;
};

/* The bytes of all files below a folder. The cache's own folders are as deep as trees may be. */
static int64_t measure(int at, const char *name)
{
    SCOPED(dir_scope) DIR *dir = list_folder(at, name);
    const struct dirent *entry;
    struct stat st;
    int64_t bytes = 0;
    while (dir && (entry = readdir(dir))) {
        if (is_dots(entry->d_name) ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        bytes += S_ISDIR(st.st_mode) ? measure(dirfd(dir), entry->d_name) : st.st_size;
    }
    return bytes;
}

static int compare_asked(const void *a, const void *b)
{
    const struct cached *x = a, *y = b;
    if (x->asked.tv_sec != y->asked.tv_sec)
        return x->asked.tv_sec < y->asked.tv_sec ? -1 : 1;
    if (x->asked.tv_nsec != y->asked.tv_nsec)
        return x->asked.tv_nsec < y->asked.tv_nsec ? -1 : 1;
    return strcmp(x->tree, y->tree);
}

/* Gives the entry another name unless it is in use or was asked for since it was listed. */
static bool retire(struct registry *registry, const struct cached *cached,
    bool (*in_use)(void *context, const char *tree), void *context)
{
    char old[DIGEST_HEX + 6];
    struct stat st;
    bool retired = false;
    snprintf(old, sizeof old, ".old-%s", cached->tree);
    pthread_mutex_lock(&registry->cache_lock);
    if (fstatat(registry->cache_fd, cached->tree, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_mtim.tv_sec == cached->asked.tv_sec && st.st_mtim.tv_nsec == cached->asked.tv_nsec &&
        !in_use(context, cached->tree))
        retired = renameat(registry->cache_fd, cached->tree, registry->cache_fd, old) == 0;
    pthread_mutex_unlock(&registry->cache_lock);
    return retired;
}

int registry_cache_trim(struct registry *registry, int64_t bytes_max,
    bool (*in_use)(void *context, const char *tree), void *context, struct error *err)
{
    VEC(struct cached) all = {0};
    SCOPED(dir_scope) DIR *dir = list_folder(registry->cache_fd, ".");
    const struct dirent *entry;
    struct digest digest;
    struct stat st;
    int64_t bytes = 0;
    int done = 0;
    if (!dir)
        return error_set_errno(err, "cannot list %s", registry->cache_path);
    while ((entry = readdir(dir))) {
        struct cached cached = {0};
        if (!digest_parse_text(entry->d_name, &digest) ||
            fstatat(registry->cache_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        memcpy(cached.tree, entry->d_name, sizeof cached.tree);
        cached.asked = st.st_mtim;
        cached.bytes = measure(registry->cache_fd, entry->d_name);
        bytes += cached.bytes;
        vec_push(&all, cached);
    }
    if (all.count > 0)
        qsort(all.items, all.count, sizeof *all.items, compare_asked);
    for (size_t i = 0; i < all.count && bytes > bytes_max && done == 0; i++) {
        if (!retire(registry, &all.items[i], in_use, context))
            continue;
        bytes -= all.items[i].bytes;
        done = remove_entry(registry, ".old-", all.items[i].tree, err);
    }
    vec_free(&all);
    return done;
}
