/* Hostile folders: see folder.h. Every entry is opened by its path with openat2(2) (Linux 5.6),
 * whose RESOLVE_ flags make the kernel refuse symbolic links and mount points in all of its parts:
 * looking first and opening then would leave a moment in which a folder can become a link. */
#include "registry/folder.h"

#include "base/strbuf.h"
#include "registry/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct walk {
    int folder_fd;
    struct folder_list *list;
    struct strbuf path; /* of the folder that is listed, with a slash at its end, or empty */
    size_t folders;
};

static void dir_scope(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

/* O_NONBLOCK: a named pipe must not make us wait for its other end. */
static int open_below(int folder_fd, const char *path, uint64_t flags)
{
    struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | flags,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
    return (int)syscall(SYS_openat2, folder_fd, path, &how, sizeof how);
}

static int cannot_open(const char *path, struct error *err)
{
    if (errno == EXDEV)
        return error_set(err, ERR_INVALID, "\"%s\" is on another file system", path);
    if (errno == ELOOP)
        return error_set(err, ERR_INVALID, "\"%s\" is a symbolic link", path);
    if (errno == ENOENT || errno == ENOTDIR)
        return error_set(err, ERR_INVALID, "\"%s\" was removed while it was read", path);
    return error_set_errno(err, "cannot open \"%s\"", path);
}

void folder_list_finish(struct folder_list *list)
{
    arena_destroy(list->arena);
    vec_free(&list->paths);
    *list = (struct folder_list){0};
}

static int list_folder(struct walk *walk, struct error *err);

static int add_file(struct walk *walk, const char *path, struct error *err)
{
    struct folder_list *list = walk->list;
    if (list->paths.count == ARTIFACT_FILES_MAX)
        return error_set(
            err, ERR_TOO_LARGE, "the folder has more than %d files", ARTIFACT_FILES_MAX);
    vec_push(&list->paths, arena_strdup(list->arena, path));
    return 0;
}

/* The kind of an entry decides only what is tried: opening checks it again. */
static int add_entry(struct walk *walk, int fd, const char *name, struct error *err)
{
    size_t length = walk->path.length;
    struct stat st;
    strbuf_puts(&walk->path, name);
    const char *path = strbuf_text(&walk->path);
    /* Bounds the depth of the recursion too. */
    if (tree_check_path(path, err) < 0)
        return -1;
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return cannot_open(path, err);
    int done = 0;
    if (S_ISREG(st.st_mode)) {
        done = add_file(walk, path, err);
    } else if (S_ISDIR(st.st_mode)) {
        strbuf_putc(&walk->path, '/');
        done = list_folder(walk, err);
    } else {
        return error_set(err, ERR_INVALID, "\"%s\" is %s: only files and folders can be kept", path,
            S_ISLNK(st.st_mode) ? "a symbolic link" : "no regular file");
    }
    walk->path.length = length;
    walk->path.text[length] = '\0';
    return done;
}

static int list_folder(struct walk *walk, struct error *err)
{
    const char *path = walk->path.length ? strbuf_text(&walk->path) : ".";
    if (walk->folders++ > ARTIFACT_FILES_MAX)
        return error_set(
            err, ERR_TOO_LARGE, "the folder has more than %d folders in it", ARTIFACT_FILES_MAX);
    int fd = open_below(walk->folder_fd, path, O_DIRECTORY);
    if (fd < 0)
        return cannot_open(path, err);
    SCOPED(dir_scope) DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return error_set_errno(err, "cannot list \"%s\"", path);
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry)
            break;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (add_entry(walk, fd, entry->d_name, err) < 0)
            return -1;
    }
    return errno ? error_set_errno(err, "cannot list a folder") : 0;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int folder_list(int folder_fd, struct folder_list *ret, struct error *err)
{
    struct folder_list list = {.arena = arena_create()};
    struct walk walk = {.folder_fd = folder_fd, .list = &list};
    int done = list_folder(&walk, err);
    strbuf_finish(&walk.path);
    if (done == 0 && list.paths.count == 0)
        done = error_set(err, ERR_INVALID, "the folder has no files");
    if (done < 0) {
        folder_list_finish(&list);
        return -1;
    }
    qsort(list.paths.items, list.paths.count, sizeof *list.paths.items, compare_paths);
    *ret = list;
    return 0;
}

/* A file of another owner came here by a hard link: whoever made the link may not be able to read
 * it, while we, who may be root, are. */
int folder_open_file(int folder_fd, const char *path, struct stat *ret_st, struct error *err)
{
    struct stat folder, st;
    SCOPED(fd_scope) int fd = open_below(folder_fd, path, 0);
    if (fd < 0)
        return cannot_open(path, err);
    if (fstat(fd, &st) < 0 || fstat(folder_fd, &folder) < 0)
        return error_set_errno(err, "cannot stat \"%s\"", path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERR_INVALID, "\"%s\" is no regular file", path);
    if (st.st_nlink > 1 && st.st_uid != folder.st_uid)
        return error_set(
            err, ERR_INVALID, "\"%s\" is a link to a file of another owner: copy it", path);
    *ret_st = st;
    int result = fd;
    fd = -1;
    return result;
}
