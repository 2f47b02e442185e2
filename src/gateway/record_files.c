/* See record_files.h. A line is written by one call, and cut away again where only a part of it
 * could be written, so that the files of a recorder that lives are whole. */
#include "gateway/record_files.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/vec.h"
#include "gateway/record_read.h"
#include "gateway/recorder.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FOLDER_BYTES = 4096,
    PATH_BYTES = FOLDER_BYTES + RECORD_NAME_BYTES + 2,
    PARTS_OPEN_MAX = 32,
    PART_BYTES_MAX = 16 << 20,
    PART_MS_MAX = 3600 * 1000,
    PARTS_OF_ALL = 8, /* a part is at most this fraction of what a service may have */
};

/* A file that is being written. */
struct part {
    const char *shelf;
    char service[RECORD_SERVICE_BYTES];
    int fd;
    int64_t began_ms, size;
};

struct record_files {
    char root[FOLDER_BYTES];
    char incarnation[17];
    VEC(struct part) parts;
    int64_t named_ms; /* when the newest part began, as its name says */
};

struct record_files *record_files_create(const char *root, const char *incarnation)
{
    struct record_files *files = mem_alloc(1, sizeof *files);
    snprintf(files->root, sizeof files->root, "%s", root);
    snprintf(files->incarnation, sizeof files->incarnation, "%s", incarnation);
    return files;
}

static void part_close(struct record_files *files, size_t i)
{
    close(files->parts.items[i].fd);
    vec_remove(&files->parts, i);
}

struct found_file {
    char name[RECORD_NAME_BYTES];
    int64_t bytes;
};

struct found_files {
    VEC(struct found_file) list;
    int64_t bytes;
};

static int older(const void *a, const void *b)
{
    return strcmp(((const struct found_file *)a)->name, ((const struct found_file *)b)->name);
}

static void found_finish(struct found_files *found)
{
    vec_free(&found->list);
}

/* Removes what is over; what is left goes to found (may be NULL). */
static void sweep_folder(int folder, int64_t now_ms, struct found_files *found)
{
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    if (!dir) {
        fd_scope(&copy);
        return;
    }
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        struct record_name name;
        struct stat st;
        if (!record_name_read(entry->d_name, &name) ||
            fstatat(folder, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if ((int64_t)st.st_mtime * 1000 + name.keep_ms < now_ms) {
            unlinkat(folder, entry->d_name, 0);
            continue;
        }
        if (!found || found->list.count >= RECORD_FILES_MAX)
            continue;
        struct found_file file = {.bytes = st.st_size};
        record_name_write(&name, file.name);
        vec_push(&found->list, file);
        found->bytes += st.st_size;
    }
    closedir(dir);
}

/* Each folder two levels below the root. */
static void sweep_level(int folder, int levels, int64_t now_ms)
{
    if (levels == 0) {
        sweep_folder(folder, now_ms, NULL);
        return;
    }
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    if (!dir) {
        fd_scope(&copy);
        return;
    }
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        SCOPED(fd_scope)
        int below = entry->d_name[0] == '.' ? -1
                                            : openat(folder, entry->d_name,
                                                  O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (below >= 0)
            sweep_level(below, levels - 1, now_ms);
    }
    closedir(dir);
}

static void sweep_shelf(const struct record_files *files, const char *shelf, int64_t now_ms)
{
    char path[FOLDER_BYTES + 32];
    snprintf(path, sizeof path, "%s/%s", files->root, shelf);
    SCOPED(fd_scope) int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (folder >= 0)
        sweep_level(folder, 2, now_ms);
}

void record_files_sweep(struct record_files *files, int64_t now_ms)
{
    sweep_shelf(files, RECORD_REQUESTS, now_ms);
    sweep_shelf(files, RECORD_VERDICTS, now_ms);
    for (size_t i = files->parts.count; i > 0; i--) {
        if (now_ms - files->parts.items[i - 1].began_ms > PART_MS_MAX)
            part_close(files, i - 1);
    }
}

static int64_t part_bytes_max(const struct record_entry *entry)
{
    int64_t most = entry->bytes_max / PARTS_OF_ALL;
    return most < PART_BYTES_MAX ? most : PART_BYTES_MAX;
}

/* The oldest go until a part more has room. */
static void make_room(const char *folder, const struct record_entry *entry)
{
    SCOPED(found_finish) struct found_files found = {0};
    SCOPED(fd_scope) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    sweep_folder(fd, clock_wall_ms(), &found);
    if (found.list.count > 0)
        qsort(found.list.items, found.list.count, sizeof *found.list.items, older);
    for (size_t i = 0;
         i < found.list.count && found.bytes + part_bytes_max(entry) > entry->bytes_max; i++) {
        if (unlinkat(fd, found.list.items[i].name, 0) == 0)
            found.bytes -= found.list.items[i].bytes;
    }
}

/* Parts are named by when they begin: two that begin in one millisecond would be one file, which
 * then grows past its bound and goes as a whole. */
static int64_t next_name_ms(struct record_files *files)
{
    int64_t now_ms = clock_wall_ms();
    int64_t ahead_ms = files->named_ms - now_ms;
    bool same = ahead_ms >= 0 && ahead_ms < 1000; /* further ahead: the clock was set back */
    files->named_ms = same ? files->named_ms + 1 : now_ms;
    return files->named_ms;
}

static int part_open(struct record_files *files, const struct record_entry *entry,
    struct part **ret, struct error *err)
{
    char shelf[FOLDER_BYTES + 32], folder[FOLDER_BYTES], path[PATH_BYTES], name[RECORD_NAME_BYTES];
    struct record_name named = {.began_ms = next_name_ms(files), .keep_ms = entry->keep_ms};
    struct part part = {.began_ms = named.began_ms, .shelf = entry->shelf};
    snprintf(named.incarnation, sizeof named.incarnation, "%s", files->incarnation);
    record_name_write(&named, name);
    snprintf(shelf, sizeof shelf, "%s/%s", files->root, entry->shelf);
    if (!record_folder(shelf, entry->service, folder, sizeof folder))
        return error_set(err, ERR_INVALID, "the service %s has no folder", entry->service);
    if (file_make_dirs(folder, 0700, err) < 0)
        return -1;
    make_room(folder, entry);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(part.service, sizeof part.service, "%s", entry->service);
    part.fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat st;
    if (part.fd < 0 || fstat(part.fd, &st) < 0) {
        error_set_errno(err, "cannot open the recording %s", path);
        fd_scope(&part.fd);
        return -1;
    }
    part.size = st.st_size;
    if (files->parts.count >= PARTS_OPEN_MAX)
        part_close(files, 0);
    vec_push(&files->parts, part);
    *ret = &files->parts.items[files->parts.count - 1];
    return 0;
}

static int part_of(struct record_files *files, const struct record_entry *entry, size_t length,
    struct part **ret, struct error *err)
{
    for (size_t i = 0; i < files->parts.count; i++) {
        struct part *part = &files->parts.items[i];
        if (strcmp(part->service, entry->service) != 0 || strcmp(part->shelf, entry->shelf) != 0)
            continue;
        bool over = part->size + (int64_t)length > part_bytes_max(entry) ||
                    clock_wall_ms() - part->began_ms > PART_MS_MAX;
        if (!over || part->size == 0) {
            *ret = part;
            return 0;
        }
        part_close(files, i);
        break;
    }
    return part_open(files, entry, ret, err);
}

int record_files_write(struct record_files *files, const struct record_entry *entry,
    const struct strbuf *line, struct error *err)
{
    struct part *part;
    if (part_of(files, entry, line->length, &part, err) < 0)
        return -1;
    if (file_write_all(part->fd, line->text, line->length, err) < 0) {
        (void)!ftruncate(part->fd, part->size);
        return error_prefix(err, "the recording of %s", entry->service);
    }
    part->size += (int64_t)line->length;
    return 0;
}

void record_files_destroy(struct record_files *files)
{
    if (!files)
        return;
    while (files->parts.count > 0)
        part_close(files, files->parts.count - 1);
    vec_free(&files->parts);
    free(files);
}
