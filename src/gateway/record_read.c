/* See record_read.h. A cursor is "FILE:OFFSET": files that were removed meanwhile are passed over,
 * and a page begins at the first that comes after. */
#include "gateway/record_read.h"

#include "base/memory.h"
#include "base/vec.h"
#include "gateway/record_line.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- names ----------------------------------------------------------------------------------- */

void record_name_write(const struct record_name *name, char out[RECORD_NAME_BYTES])
{
    snprintf(out, RECORD_NAME_BYTES, "%015" PRId64 "-%s-%" PRId64 ".rec", name->began_ms,
        name->incarnation, name->keep_ms);
}

bool record_name_read(const char *text, struct record_name *ret)
{
    struct record_name name = {0};
    char again[RECORD_NAME_BYTES];
    if (strlen(text) >= RECORD_NAME_BYTES ||
        sscanf(text, "%15" SCNd64 "-%16[0-9a-f]-%15" SCNd64 ".rec", &name.began_ms,
            name.incarnation, &name.keep_ms) != 3 ||
        name.began_ms < 0 || name.keep_ms < 0)
        return false;
    record_name_write(&name, again);
    if (strcmp(again, text) != 0)
        return false;
    *ret = name;
    return true;
}

static bool is_name(const char *text, size_t length)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    return length > 0 && length < 128 && text[0] != '.' && strspn(text, letters) >= length;
}

bool record_folder(const char *root, const char *service, char *out, size_t size)
{
    const char *slash = strchr(service, '/');
    if (!slash || !is_name(service, (size_t)(slash - service)) ||
        !is_name(slash + 1, strlen(slash + 1)))
        return false;
    return (size_t)snprintf(out, size, "%s/%s", root, service) < size;
}

/* ---- files ----------------------------------------------------------------------------------- */

struct names {
    VEC(char *) list;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_finish(struct names *names)
{
    for (size_t i = 0; i < names->list.count; i++)
        free(names->list.items[i]);
    vec_free(&names->list);
}

static int list_files(const char *folder, struct names *names, struct error *err)
{
    DIR *dir = opendir(folder);
    if (!dir && errno == ENOENT)
        return 0;
    if (!dir)
        return error_set_errno(err, "cannot read the recording in %s", folder);
    struct record_name name;
    for (struct dirent *entry = readdir(dir); entry && names->list.count < RECORD_FILES_MAX;
         entry = readdir(dir)) {
        if (record_name_read(entry->d_name, &name))
            vec_push(&names->list, mem_strdup(entry->d_name));
    }
    closedir(dir);
    if (names->list.count > 0)
        qsort(names->list.items, names->list.count, sizeof *names->list.items, by_name);
    return 0;
}

/* ---- a page ---------------------------------------------------------------------------------- */

struct reading {
    const char *folder;
    struct record_page *page;
    record_visit *visit;
    void *context;
    size_t visited, bytes; /* of this page so far */
    char *buffer;          /* RECORD_PAGE_BYTES */
};

static void set_next(struct record_page *page, const char *name, int64_t offset)
{
    snprintf(page->next, sizeof page->next, "%s:%" PRId64, name, offset);
}

static int read_cursor(
    const char *text, char name[RECORD_NAME_BYTES], int64_t *offset, struct error *err)
{
    struct record_name ignored;
    const char *colon = text ? strrchr(text, ':') : NULL;
    name[0] = '\0';
    *offset = 0;
    if (!text || !*text)
        return 0;
    if (colon && colon[1] && strspn(colon + 1, "0123456789") == strlen(colon + 1) &&
        strlen(colon + 1) <= 15 && colon - text < RECORD_NAME_BYTES) {
        memcpy(name, text, (size_t)(colon - text));
        name[colon - text] = '\0';
        *offset = strtoll(colon + 1, NULL, 10);
        if (record_name_read(name, &ignored))
            return 0;
    }
    return error_set(err, ERR_INVALID, "after: expected what \"next\" of an earlier page said");
}

/* As many bytes as are left for the page; 0 at the file's end. */
static int fill(struct reading *reading, int fd, int64_t offset, size_t *ret, struct error *err)
{
    size_t room = RECORD_PAGE_BYTES, length = 0;
    while (length < room) {
        ssize_t n = pread(fd, reading->buffer + length, room - length, offset + (int64_t)length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, "cannot read the recording in %s", reading->folder);
        if (n == 0)
            break;
        length += (size_t)n;
    }
    *ret = length;
    return 0;
}

static bool is_full(const struct reading *reading)
{
    return reading->visited >= reading->page->limit || reading->bytes >= RECORD_PAGE_BYTES;
}

/* The lines that are in the buffer whole. *offset moves behind what was dealt with. True: what is
 * left is a line without its end. */
static int take_lines(
    struct reading *reading, size_t length, int64_t *offset, bool *ret_torn, struct error *err)
{
    size_t at = 0, json_length = 0;
    const char *json = NULL;
    *ret_torn = false;
    while (!is_full(reading)) {
        enum record_found found =
            record_line_read(reading->buffer, length, &at, &json, &json_length);
        *ret_torn = found == RECORD_TORN;
        if (found == RECORD_END || found == RECORD_TORN)
            break;
        reading->page->damaged += found == RECORD_DAMAGED;
        reading->visited += found == RECORD_WHOLE;
        if (found == RECORD_WHOLE && reading->visit(reading->context, json, json_length, err) < 0)
            return -1;
    }
    reading->bytes += at;
    *offset += (int64_t)at;
    return 0;
}

/* From an offset to the file's end, or until the page is full. */
static int read_file(struct reading *reading, const char *name, int64_t offset, struct error *err)
{
    char path[4096];
    size_t length = 0;
    snprintf(path, sizeof path, "%s/%s", reading->folder, name);
    SCOPED(fd_scope) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return 0; /* removed meanwhile, or no file */
    while (!is_full(reading)) {
        bool torn;
        int64_t before = offset;
        if (fill(reading, fd, offset, &length, err) < 0)
            return -1;
        if (length == 0)
            return 0;
        if (take_lines(reading, length, &offset, &torn, err) < 0)
            return -1;
        if (torn && offset == before) {
            /* The file's end; or a line that is longer than any which was written. */
            reading->page->torn++;
            return 0;
        }
    }
    set_next(reading->page, name, offset);
    return 0;
}

int record_page_read(const char *folder, struct record_page *page, record_visit *visit,
    void *context, struct error *err)
{
    SCOPED(names_finish) struct names names = {0};
    char first[RECORD_NAME_BYTES];
    int64_t offset;
    page->next[0] = '\0';
    page->torn = page->damaged = 0;
    if (read_cursor(page->after, first, &offset, err) < 0 || list_files(folder, &names, err) < 0)
        return -1;
    SCOPED(mem_scope) char *buffer = mem_alloc(RECORD_PAGE_BYTES, 1);
    struct reading reading = {
        .folder = folder, .page = page, .visit = visit, .context = context, .buffer = buffer};
    for (size_t i = 0; i < names.list.count && !page->next[0]; i++) {
        const char *name = names.list.items[i];
        int order = strcmp(name, first);
        if (order < 0)
            continue;
        if (is_full(&reading))
            set_next(page, name, 0);
        else if (read_file(&reading, name, order == 0 ? offset : 0, err) < 0)
            return -1;
    }
    return 0;
}
