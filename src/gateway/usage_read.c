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

static bool is_text(const char *text, size_t room)
{
    const char *end = memchr(text, '\0', room);
    if (!end)
        return false;
    for (size_t length; text < end; text += length) {
        length = utf8_length_within(text, (size_t)(end - text));
        if (length == 0 || (unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    }
    return true;
}

/* ---- versions -------------------------------------------------------------------------------- */

/* A file as it says it is: where things stand, checked against its size. */
struct layout {
    const unsigned char *bytes;
    size_t header, record, series, counters; /* the last is a number, the others are bytes */
    size_t room;                             /* records that the file has space for */
};

/* The parts of a later version are at least those of the second, and add up to a record. */
static bool is_sound(const struct layout *layout)
{
    return layout->header >= sizeof(struct usage_header) && layout->header <= 4096 &&
           layout->header % 8 == 0 && layout->series >= sizeof(struct usage_series) &&
           layout->series % 8 == 0 && layout->counters >= USAGE_COUNTERS &&
           layout->record <= USAGE_RECORD_BYTES_MAX && layout->series <= layout->record &&
           layout->counters <= layout->record / 8;
}

static int find_layout(
    const char *name, const void *bytes, size_t size, struct layout *ret, struct error *err)
{
    const struct usage_header *header = bytes;
    bool first = size >= USAGE_HEADER_BYTES_1 && !memcmp(bytes, USAGE_MAGIC_1, 8);
    struct layout layout = {.bytes = bytes,
        .header = USAGE_HEADER_BYTES_1,
        .series = USAGE_SERIES_BYTES_1,
        .counters = USAGE_COUNTERS_1};
    if (size < (first ? (size_t)USAGE_HEADER_BYTES_1 : sizeof *header))
        return corrupt(name, "its size is wrong", err);
    if (!first && memcmp(header->magic, USAGE_MAGIC, sizeof header->magic) != 0)
        return corrupt(name, "it is of another kind or version", err);
    layout.record = header->record_bytes;
    if (!first) {
        layout.header = header->header_bytes;
        layout.series = header->series_bytes;
        layout.counters = header->counters;
    }
    if ((!first && !is_sound(&layout)) ||
        layout.record != 8 + layout.series + 8 * layout.counters ||
        header->series_max != USAGE_SERIES_MAX)
        return corrupt(name, "its records are of another size", err);
    if (size < layout.header || size > layout.header + USAGE_SERIES_MAX * layout.record + 4096)
        return corrupt(name, "its size is wrong", err);
    layout.room = (size - layout.header) / layout.record;
    layout.room = layout.room > USAGE_SERIES_MAX ? USAGE_SERIES_MAX : layout.room;
    *ret = layout;
    return 0;
}

static const unsigned char *record_at(const struct layout *layout, size_t i)
{
    return layout->bytes + layout->header + i * layout->record;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void copy_series(const struct layout *layout, size_t i, struct usage_series *ret)
{
    memset(ret, 0, sizeof *ret);
    memcpy(ret, record_at(layout, i) + 8, least(layout->series, sizeof *ret));
}

static void copy_counts(const struct layout *layout, size_t i, struct usage_counts *ret)
{
    const uint64_t *from = (const void *)(record_at(layout, i) + 8 + layout->series);
    uint64_t *to = (uint64_t *)ret;
    memset(ret, 0, sizeof *ret);
    for (size_t n = 0; n < least(layout->counters, USAGE_COUNTERS); n++)
        to[n] = __atomic_load_n(&from[n], __ATOMIC_RELAXED);
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool is_fine(const struct usage_series *series)
{
    return is_text(series->service, USAGE_NAME) && is_text(series->key, USAGE_NAME) &&
           is_text(series->team, USAGE_TEAM) && is_text(series->labels, USAGE_LABELS);
}

/* Records are published in order, so the first that is free ends them. */
static int count_records(
    const char *name, const struct layout *layout, size_t *ret, struct error *err)
{
    size_t count = 0;
    for (; count < layout->room; count++) {
        const uint64_t *state = (const void *)record_at(layout, count);
        uint64_t value = __atomic_load_n(state, __ATOMIC_ACQUIRE);
        if (value == USAGE_FREE)
            break;
        struct usage_series series;
        copy_series(layout, count, &series);
        if (value != USAGE_PUBLISHED || !is_fine(&series))
            return corrupt(name, "a record is damaged", err);
    }
    *ret = count;
    return 0;
}

/* Sets *ret_visit_failed when the error is the visitor's. */
static int visit_records(struct reading *reading, const char *name, const void *bytes, size_t size,
    bool *ret_visit_failed, struct error *err)
{
    struct layout layout = {0};
    size_t count = 0;
    if (find_layout(name, bytes, size, &layout, err) < 0 ||
        count_records(name, &layout, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        struct usage_series series;
        struct usage_counts counts;
        copy_series(&layout, i, &series);
        copy_counts(&layout, i, &counts);
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
    if (!S_ISREG(st.st_mode) || st.st_size < USAGE_HEADER_BYTES_1 ||
        st.st_size > (off_t)USAGE_RECORD_BYTES_MAX * (USAGE_SERIES_MAX + 1))
        return corrupt(name, "its size is wrong", err);
    size_t size = (size_t)st.st_size;
    void *bytes = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED)
        return error_set_errno(err, "cannot map usage file %s", name);
    int rc = visit_records(reading, name, bytes, size, ret_visit_failed, err);
    munmap(bytes, size);
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
