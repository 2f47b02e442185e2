/* Reading usage: see usage.h. Files are mapped, so that a counter is read whole while its worker
 * writes it; their size is checked first, and nothing that they say is believed. */
#include "gateway/usage.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "gateway/usage_format.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Files of gateways that ended and that nobody has stored: a bound for a reader, not for them. */
enum { FILES_MAX = 65536 };

struct reading {
    const char *folder;
    usage_visit_fn *visit;
    void *context;
    struct strbuf dead;
};

static int corrupt(const char *name, const char *what, struct error *err)
{
    return error_set(err, ERR_CORRUPT, "usage file %s: %s; move it away", name, what);
}

static bool is_text(const char text[USAGE_NAME])
{
    const char *end = memchr(text, '\0', USAGE_NAME);
    if (!end)
        return false;
    for (size_t length; text < end; text += length) {
        length = utf8_length_within(text, (size_t)(end - text));
        if (length == 0 || (unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    }
    return true;
}

static int check_header(const char *name, const struct usage_header *header, struct error *err)
{
    if (memcmp(header->magic, USAGE_MAGIC, sizeof header->magic) != 0)
        return corrupt(name, "it is of another kind or version", err);
    if (header->record_bytes != sizeof(struct usage_record) ||
        header->series_max != USAGE_SERIES_MAX)
        return corrupt(name, "its records are of another size", err);
    return 0;
}

/* Records are published in order, so the first that is free ends them. */
static int count_records(
    const char *name, const struct usage_map *map, size_t room, size_t *ret, struct error *err)
{
    size_t count = 0;
    for (; count < room; count++) {
        uint64_t state = __atomic_load_n(&map->records[count].state, __ATOMIC_ACQUIRE);
        if (state == USAGE_FREE)
            break;
        const struct usage_series *series = &map->records[count].series;
        if (state != USAGE_PUBLISHED || !is_text(series->service) || !is_text(series->key))
            return corrupt(name, "a record is damaged", err);
    }
    *ret = count;
    return 0;
}

static void copy_counts(const struct usage_counts *counts, struct usage_counts *ret)
{
    const uint64_t *from = (const uint64_t *)counts;
    uint64_t *to = (uint64_t *)ret;
    for (size_t i = 0; i < sizeof *ret / sizeof *to; i++)
        to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

/* Sets *ret_visit_failed when the error is the visitor's. */
static int visit_records(struct reading *reading, const char *name, const struct usage_map *map,
    size_t bytes, bool *ret_visit_failed, struct error *err)
{
    size_t count = 0, room = (bytes - offsetof(struct usage_map, records)) / sizeof map->records[0];
    room = room > USAGE_SERIES_MAX ? USAGE_SERIES_MAX : room;
    if (check_header(name, &map->header, err) < 0 ||
        count_records(name, map, room, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        struct usage_series series = map->records[i].series;
        struct usage_counts counts;
        copy_counts(&map->records[i].counts, &counts);
        if (reading->visit(reading->context, name, &series, &counts, err) < 0) {
            *ret_visit_failed = true;
            return -1;
        }
    }
    return 0;
}

static int read_fd(
    struct reading *reading, const char *name, int fd, bool *ret_visit_failed, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_set_errno(err, "cannot stat usage file %s", name);
    if (!S_ISREG(st.st_mode) || st.st_size < (off_t)offsetof(struct usage_map, records) ||
        st.st_size > (off_t)(sizeof(struct usage_map) + 4096))
        return corrupt(name, "its size is wrong", err);
    size_t bytes = (size_t)st.st_size;
    const struct usage_map *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return error_set_errno(err, "cannot map usage file %s", name);
    int rc = visit_records(reading, name, map, bytes, ret_visit_failed, err);
    munmap((void *)map, bytes);
    return rc;
}

static int read_one(struct reading *reading, const char *name, int folder, bool *ret_visit_failed,
    struct error *err)
{
    SCOPED(fd_scope)
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0 && errno == ELOOP)
        return corrupt(name, "it is a symbolic link", err);
    if (fd < 0)
        return error_set_errno(err, "cannot open usage file %s", name);
    /* Asked before reading: values written between the two would be lost with the file. */
    bool dead = flock(fd, LOCK_SH | LOCK_NB) == 0;
    if (read_fd(reading, name, fd, ret_visit_failed, err) < 0)
        return -1;
    if (dead)
        strbuf_printf(&reading->dead, "%s\n", name);
    return 0;
}

/* The first corrupt file's error is kept; any other error ends the reading. */
static int read_files(struct reading *reading, DIR *folder, struct error *err)
{
    struct error found, first = {0};
    const struct dirent *entry;
    for (size_t files = 0; (entry = readdir(folder)) && files < FILES_MAX; files++) {
        bool visit_failed = false;
        /* Files under construction begin with a dot. */
        if (entry->d_name[0] == '.' ||
            read_one(reading, entry->d_name, dirfd(folder), &visit_failed, &found) == 0)
            continue;
        if (visit_failed || found.code != ERR_CORRUPT) {
            if (err)
                *err = found;
            return -1;
        }
        if (first.code == ERR_NONE)
            first = found;
    }
    if (first.code == ERR_NONE)
        return 0;
    if (err)
        *err = first;
    return 1;
}

int usage_read_all(
    const char *folder, usage_visit_fn *visit, void *context, char **ret_dead, struct error *err)
{
    assert(folder && visit);
    struct reading reading = {.folder = folder, .visit = visit, .context = context};
    DIR *stream = opendir(folder);
    if (!stream && errno != ENOENT)
        return error_set_errno(err, "cannot open %s", folder);
    int rc = stream ? read_files(&reading, stream, err) : 0;
    if (stream)
        closedir(stream);
    if (rc >= 0 && ret_dead)
        *ret_dead = strbuf_steal(&reading.dead);
    strbuf_finish(&reading.dead);
    return rc == 0 ? 0 : -1;
}

int usage_file_remove(const char *folder, const char *file, struct error *err)
{
    char path[4096];
    if (!file[0] || file[0] == '.' || strchr(file, '/'))
        return error_set(err, ERR_INVALID, "%s is not the name of a usage file", file);
    snprintf(path, sizeof path, "%s/%s", folder, file);
    SCOPED(fd_scope) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0)
        return error_set_errno(err, "cannot open %s", path);
    if (flock(fd, LOCK_SH | LOCK_NB) < 0)
        return error_set(err, ERR_CONFLICT, "the gateway of usage file %s is running", file);
    if (unlink(path) < 0 && errno != ENOENT)
        return error_set_errno(err, "cannot remove %s", path);
    return 0;
}
