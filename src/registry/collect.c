/* Collecting what no version can reach: see registry_collect.
 *
 * First each team's links are compared with the trees that the team's versions name, then objects
 * that only have their common name left are removed. A tree that cannot be read says nothing about
 * its chunks, so its team keeps everything and the collection ends with an error: losing data to a
 * damaged list would turn one wrong bit into a lost model.
 *
 * Uploads go on meanwhile. What they hold is young: a link's age is its inode's modification time,
 * which holding renews, and nothing that is younger than the oldest upload under way is removed.
 * Each removal looks at the age again with the names locked. */
#include "registry/internal.h"

#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Holding renews what is older than a minute: see objects.c. */
enum { HOLD_SLACK_MS = 2 * 60 * 1000 };

struct mark {
    char *team;
    char tree[DIGEST_HEX + 1];
};

struct collection {
    struct registry *registry;
    int64_t cutoff_ms; /* what changed since stays */
    VEC(struct mark) marks;
    /* What the team at hand may keep, sorted. */
    VEC(struct digest) trees;
    VEC(struct digest) chunks;
    struct collect_result result;
    struct error failure; /* the first; code ERR_NONE: none */
};

static void dir_scope(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

static int collection_fail(struct collection *collection, const struct error *failure)
{
    if (collection->failure.code == ERR_NONE)
        collection->failure = *failure;
    return -1;
}

static int add_mark(void *context, const char *team, const char *tree)
{
    struct collection *collection = context;
    struct mark mark;
    struct digest digest;
    struct error err;
    if (objects_check_team(team, &err) < 0 || parse_digest(tree, &digest, &err) < 0)
        return collection_fail(collection, &err);
    mark.team = mem_strdup(team);
    memcpy(mark.tree, tree, sizeof mark.tree);
    vec_push(&collection->marks, mark);
    return 0;
}

static int compare_marks(const void *a, const void *b)
{
    const struct mark *x = a, *y = b;
    int by_team = strcmp(x->team, y->team);
    return by_team ? by_team : strcmp(x->tree, y->tree);
}

/* ---- what a team may keep ----------------------------------------------------------------- */

static int keep_tree(struct collection *collection, const char *tree, struct error *err)
{
    struct digest digest;
    struct tree loaded;
    if (parse_digest(tree, &digest, err) < 0 ||
        tree_load(collection->registry, tree, &loaded, err) < 0)
        return -1;
    vec_push(&collection->trees, digest);
    for (size_t i = 0; i < loaded.chunks.count; i++)
        vec_push(&collection->chunks, loaded.chunks.items[i].digest);
    tree_finish(&loaded);
    return 0;
}

/* Fills trees and chunks from the team's marks. */
static int keep_of_team(struct collection *collection, const char *team, struct error *err)
{
    vec_clear(&collection->trees);
    vec_clear(&collection->chunks);
    for (size_t i = 0; i < collection->marks.count; i++) {
        const struct mark *mark = &collection->marks.items[i];
        if (strcmp(mark->team, team) != 0)
            continue;
        if (i > 0 && compare_marks(mark - 1, mark) == 0)
            continue;
        if (keep_tree(collection, mark->tree, err) < 0)
            return error_prefix(err, "team %s keeps everything", team);
    }
    if (collection->trees.count > 0)
        qsort(collection->trees.items, collection->trees.count, sizeof(struct digest),
            digest_compare);
    if (collection->chunks.count > 0)
        qsort(collection->chunks.items, collection->chunks.count, sizeof(struct digest),
            digest_compare);
    return 0;
}

/* The digest and kind of a name in a folder of objects; false: it is none. */
static bool parse_name(const char *name, enum object_kind *ret_kind, struct digest *ret_digest)
{
    if (strnlen(name, DIGEST_HEX) < DIGEST_HEX || !digest_parse(name, ret_digest))
        return false;
    *ret_kind = name[DIGEST_HEX] ? OBJECT_TREE : OBJECT_CHUNK;
    return *ret_kind == OBJECT_CHUNK || !strcmp(name + DIGEST_HEX, ".tree");
}

static bool is_kept(
    const struct collection *collection, enum object_kind kind, const struct digest *digest)
{
    const struct digest *list =
        kind == OBJECT_TREE ? collection->trees.items : collection->chunks.items;
    size_t count = kind == OBJECT_TREE ? collection->trees.count : collection->chunks.count;
    return count > 0 && bsearch(digest, list, count, sizeof *digest, digest_compare);
}

/* ---- removing ----------------------------------------------------------------------------- */

/* A team's link goes unless it is kept or young. */
static int visit_link(struct collection *collection, int fd, const char *name, struct error *err)
{
    pthread_rwlock_t *names = &collection->registry->objects.names;
    enum object_kind kind;
    struct digest digest;
    struct stat st;
    if (!parse_name(name, &kind, &digest) || is_kept(collection, kind, &digest))
        return 0;
    int done = 0;
    pthread_rwlock_wrlock(names);
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000 <= collection->cutoff_ms &&
        unlinkat(fd, name, 0) < 0)
        done = error_set_errno(err, "cannot remove a link to object %s", name);
    pthread_rwlock_unlock(names);
    return done;
}

/* An object goes when nobody holds it. */
static int visit_object(struct collection *collection, int fd, const char *name, struct error *err)
{
    pthread_rwlock_t *names = &collection->registry->objects.names;
    struct collect_result *result = &collection->result;
    enum object_kind kind;
    struct digest digest;
    struct stat st;
    int done = 0;
    if (!parse_name(name, &kind, &digest))
        return 0;
    pthread_rwlock_wrlock(names);
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        st = (struct stat){0};
    } else if (st.st_nlink > 1) {
        result->objects_kept++;
        result->bytes_kept += st.st_size;
    } else if (unlinkat(fd, name, 0) < 0) {
        done = error_set_errno(err, "cannot remove object %s", name);
    } else {
        result->objects_removed++;
        result->bytes_freed += st.st_size;
    }
    pthread_rwlock_unlock(names);
    return done;
}

typedef int visit_fn(struct collection *collection, int fd, const char *name, struct error *err);

static DIR *open_dir(int at, const char *path)
{
    SCOPED(fd_scope) int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir)
        fd = -1;
    return dir;
}

/* Visits every name in the 256 folders of the folder at fd. */
static int visit_names(struct collection *collection, int at, visit_fn *visit, struct error *err)
{
    char path[4];
    for (unsigned i = 0; i < 256; i++) {
        snprintf(path, sizeof path, "%02x", i);
        SCOPED(dir_scope) DIR *dir = open_dir(at, path);
        const struct dirent *entry;
        if (!dir && errno == ENOENT)
            continue;
        if (!dir)
            return error_set_errno(err, "cannot list the registry's folder %s", path);
        while ((entry = readdir(dir)))
            if (visit(collection, dirfd(dir), entry->d_name, err) < 0)
                return -1;
    }
    return 0;
}

static int collect_team(struct collection *collection, const char *team, struct error *err)
{
    if (keep_of_team(collection, team, err) < 0)
        return -1;
    SCOPED(fd_scope)
    int fd = openat(collection->registry->objects.teams_fd, team,
        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, "cannot open the folder of team %s", team);
    return visit_names(collection, fd, visit_link, err);
}

/* A team whose collection failed does not keep the others from theirs. */
static void collect_teams(struct collection *collection)
{
    SCOPED(dir_scope) DIR *dir = open_dir(collection->registry->objects.teams_fd, ".");
    const struct dirent *entry;
    struct error err;
    if (!dir) {
        (void)error_set_errno(&err, "cannot list the registry's teams");
        (void)collection_fail(collection, &err);
        return;
    }
    while ((entry = readdir(dir)))
        if (objects_check_team(entry->d_name, NULL) == 0 &&
            collect_team(collection, entry->d_name, &err) < 0)
            (void)collection_fail(collection, &err);
}

static int64_t cutoff(struct registry *registry, int64_t grace_ms)
{
    int64_t at = clock_wall_ms() - grace_ms;
    pthread_mutex_lock(&registry->uploads_lock);
    for (const struct upload *upload = registry->uploads; upload; upload = upload->next)
        if (upload->since_ms - HOLD_SLACK_MS < at)
            at = upload->since_ms - HOLD_SLACK_MS;
    pthread_mutex_unlock(&registry->uploads_lock);
    return at;
}

int registry_collect(struct registry *registry, int64_t grace_ms,
    void (*each)(void *context, registry_mark_fn *mark, void *mark_context), void *context,
    struct collect_result *ret, struct error *err)
{
    /* Before the versions are asked for: what is held from here on is younger. */
    struct collection collection = {.registry = registry, .cutoff_ms = cutoff(registry, grace_ms)};
    struct error failure;
    each(context, add_mark, &collection);
    /* A mark that was refused stands for something that was to be kept. */
    if (collection.failure.code == ERR_NONE) {
        if (collection.marks.count > 0)
            qsort(collection.marks.items, collection.marks.count, sizeof *collection.marks.items,
                compare_marks);
        collect_teams(&collection);
        if (visit_names(&collection, registry->objects.objects_fd, visit_object, &failure) < 0)
            (void)collection_fail(&collection, &failure);
    }
    for (size_t i = 0; i < collection.marks.count; i++)
        free(collection.marks.items[i].team);
    vec_free(&collection.marks);
    vec_free(&collection.trees);
    vec_free(&collection.chunks);
    if (collection.failure.code != ERR_NONE)
        return error_set(err, collection.failure.code, "%s", collection.failure.text);
    *ret = collection.result;
    return 0;
}
