/* Reading the log of an attempt: see joblog.h. The folder belongs to the team's user and is
 * written meanwhile: files are opened without following links, only regular ones count, and a
 * line that is not one is passed. A reader holds one chunk and one file. */
#include "base/memory.h"
#include "engine/joblog.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK_BYTES = 64 * 1024, NAME_DIGITS = 20, ENTRIES_MAX = 4096 };
enum { FOLLOW_MS = 200, FOLLOW_LINES = 2000 };

struct joblog_reader {
    char *folder;
    int fd;            /* of the file the chunk is from, -1: none */
    uint64_t start;    /* its first position */
    uint64_t position; /* of the next line */
    uint64_t missed;
    size_t used; /* bytes of the chunk from `position` on: chunk[at .. at + used) */
    size_t at;
    char chunk[CHUNK_BYTES];
};

static bool parse_digits(const char **at, const char *end, uint64_t most, uint64_t *ret)
{
    uint64_t number = 0;
    const char *first = *at;
    for (; *at < end && **at >= '0' && **at <= '9'; (*at)++) {
        number = number * 10 + (uint64_t)(**at - '0');
        if (number > most || *at - first > 19)
            return false;
    }
    *ret = number;
    return *at > first;
}

static bool skip_space(const char **at, const char *end)
{
    if (*at == end || **at != ' ')
        return false;
    (*at)++;
    return true;
}

bool joblog_parse(const char *line, size_t size, struct joblog_line *ret)
{
    const char *at = line, *end = line + size;
    uint64_t at_ms, rank;
    if (!parse_digits(&at, end, INT64_MAX / 16, &at_ms) || !skip_space(&at, end) ||
        !parse_digits(&at, end, UINT32_MAX, &rank) || !skip_space(&at, end))
        return false;
    if (end - at < 2 || (*at != 'o' && *at != 'e') || at[1] != ' ')
        return false;
    *ret = (struct joblog_line){.at_ms = (int64_t)at_ms,
        .rank = (uint32_t)rank,
        .kind = *at,
        .text = at + 2,
        .size = (size_t)(end - at - 2),
        .position = ret->position};
    return true;
}

struct joblog_reader *joblog_open(const char *folder)
{
    struct joblog_reader *reader = mem_alloc(1, sizeof *reader);
    reader->folder = mem_strdup(folder);
    reader->fd = -1;
    return reader;
}

void joblog_close(struct joblog_reader *reader)
{
    if (!reader)
        return;
    fd_scope(&reader->fd);
    free(reader->folder);
    free(reader);
}

uint64_t joblog_missed_bytes(const struct joblog_reader *reader)
{
    return reader->missed;
}

static void drop_file(struct joblog_reader *reader)
{
    fd_scope(&reader->fd);
    reader->fd = -1;
    reader->used = reader->at = 0;
}

void joblog_seek(struct joblog_reader *reader, uint64_t position)
{
    drop_file(reader);
    reader->position = position;
}

/* The starts around a position: the greatest not after it, and the least after it. */
struct neighbours {
    bool has_before, has_after;
    uint64_t before, after;
};

bool joblog_parse_name(const char *name, uint64_t *ret_start)
{
    const char *at = name;
    return strlen(name) == NAME_DIGITS &&
           parse_digits(&at, name + NAME_DIGITS, INT64_MAX, ret_start) && *at == '\0';
}

static int find_neighbours(const struct joblog_reader *reader, uint64_t position,
    struct neighbours *ret, struct error *err)
{
    struct neighbours found = {0};
    DIR *folder = opendir(reader->folder);
    if (!folder && errno != ENOENT)
        return error_set_errno(err, "cannot open the log %s", reader->folder);
    const struct dirent *entry;
    for (int i = 0; folder && i < ENTRIES_MAX && (entry = readdir(folder)); i++) {
        uint64_t start;
        if (!joblog_parse_name(entry->d_name, &start))
            continue;
        if (start <= position && (!found.has_before || start > found.before)) {
            found.has_before = true;
            found.before = start;
        } else if (start > position && (!found.has_after || start < found.after)) {
            found.has_after = true;
            found.after = start;
        }
    }
    if (folder)
        closedir(folder);
    *ret = found;
    return 0;
}

/* Opens the file that starts there; leaves the reader without one when it is gone. */
static void open_file(struct joblog_reader *reader, uint64_t start)
{
    char path[4096];
    struct stat st;
    drop_file(reader);
    snprintf(path, sizeof path, "%s/%0*" PRIu64, reader->folder, NAME_DIGITS, start);
    SCOPED(fd_scope) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return;
    reader->fd = fd;
    reader->start = start;
    fd = -1;
}

/* Goes to the file that holds the position, or to the next one there is. 1: there is more to
 * read; 0: not now. */
static int advance_file(struct joblog_reader *reader, struct error *err)
{
    struct neighbours found;
    if (find_neighbours(reader, reader->position, &found, err) < 0)
        return -1;
    bool same = reader->fd >= 0 && found.has_before && found.before == reader->start;
    if (reader->fd < 0 && found.has_before) {
        open_file(reader, found.before);
        return reader->fd >= 0;
    }
    if (found.has_before && !same && reader->fd >= 0) {
        open_file(reader, found.before);
        return reader->fd >= 0;
    }
    if (!found.has_after)
        return 0;
    reader->missed += found.after - reader->position;
    reader->position = found.after;
    open_file(reader, found.after);
    return reader->fd >= 0;
}

/* Reads more of the file behind what the chunk holds. The bytes read, 0 at its end. */
static ssize_t fill(struct joblog_reader *reader, struct error *err)
{
    if (reader->at > 0) {
        memmove(reader->chunk, reader->chunk + reader->at, reader->used);
        reader->at = 0;
    }
    size_t space = sizeof reader->chunk - reader->used;
    if (reader->fd < 0 || space == 0)
        return 0;
    ssize_t n = pread(reader->fd, reader->chunk + reader->used, space,
        (off_t)(reader->position - reader->start + reader->used));
    if (n < 0)
        return error_set_errno(err, "cannot read the log %s", reader->folder);
    reader->used += (size_t)n;
    return n;
}

/* Takes the first line of the chunk, or what stands in for one when it is too long. */
static bool take_line(struct joblog_reader *reader, const char **ret_line, size_t *ret_size)
{
    const char *first = reader->chunk + reader->at;
    const char *newline = memchr(first, '\n', reader->used);
    if (!newline && reader->used < JOBLOG_LINE_MAX)
        return false;
    size_t size = newline ? (size_t)(newline - first) : reader->used;
    size_t taken = size + (newline != NULL);
    *ret_line = first;
    *ret_size = size;
    reader->at += taken;
    reader->used -= taken;
    reader->position += taken;
    return true;
}

int joblog_next(struct joblog_reader *reader, struct joblog_line *ret, struct error *err)
{
    for (;;) {
        const char *line;
        size_t size;
        if (take_line(reader, &line, &size)) {
            struct joblog_line parsed = {.position = reader->position};
            if (!joblog_parse(line, size, &parsed))
                continue;
            *ret = parsed;
            return 1;
        }
        ssize_t n = fill(reader, err);
        if (n < 0)
            return -1;
        if (n > 0)
            continue;
        int more = advance_file(reader, err);
        if (more <= 0)
            return more;
    }
}

/* ---- The tail ---------------------------------------------------------------------------- */

/* The position after the last byte of the log. */
static int find_end(struct joblog_reader *reader, uint64_t *ret_end, struct error *err)
{
    struct neighbours found;
    struct stat st;
    if (find_neighbours(reader, UINT64_MAX, &found, err) < 0)
        return -1;
    *ret_end = 0;
    if (!found.has_before)
        return 0;
    open_file(reader, found.before);
    if (reader->fd >= 0 && fstat(reader->fd, &st) == 0)
        *ret_end = found.before + (uint64_t)st.st_size;
    return 0;
}

/* Counts newlines back from the end of the file that starts at `start`. True: the lines were
 * found and *position is where they begin. */
static bool count_back(struct joblog_reader *reader, uint64_t *position, uint64_t *lines)
{
    while (*position > reader->start) {
        uint64_t left = *position - reader->start;
        size_t size = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
        if (pread(reader->fd, reader->chunk, size, (off_t)(left - size)) != (ssize_t)size)
            return false;
        for (size_t i = size; i > 0; i--) {
            if (reader->chunk[i - 1] != '\n')
                continue;
            if (*lines == 0) {
                *position -= size - i;
                return true;
            }
            (*lines)--;
        }
        *position -= size;
    }
    return false;
}

int joblog_seek_tail(struct joblog_reader *reader, uint64_t lines, struct error *err)
{
    uint64_t position;
    if (find_end(reader, &position, err) < 0)
        return -1;
    bool found = false;
    while (reader->fd >= 0 && !found && !(found = count_back(reader, &position, &lines))) {
        struct neighbours before;
        uint64_t start = reader->start;
        position = start;
        if (start == 0 || find_neighbours(reader, start - 1, &before, err) < 0 ||
            !before.has_before)
            break;
        open_file(reader, before.before);
    }
    joblog_seek(reader, position);
    return 0;
}

/* ---- Following --------------------------------------------------------------------------- */

struct joblog_follower {
    struct joblog_reader *reader;
    struct event *timer;
    joblog_line_fn *on_line;
    void *context;
    bool paused;
    bool *destroyed; /* set when the callback destroys the follower it is called from */
};

static void schedule(struct joblog_follower *follower, int64_t ms)
{
    struct timeval when = {ms / 1000, (ms % 1000) * 1000};
    event_add(follower->timer, &when);
}

/* Gives a bounded number of lines, then lets others have the loop. */
static void on_follow(evutil_socket_t unused, short events, void *context)
{
    struct joblog_follower *follower = context;
    bool destroyed = false;
    (void)unused, (void)events;
    follower->destroyed = &destroyed;
    int result = 1;
    for (int i = 0; i < FOLLOW_LINES && result == 1; i++) {
        struct joblog_line line;
        result = joblog_next(follower->reader, &line, NULL);
        bool more = result == 0 || follower->on_line(follower->context, result < 0 ? NULL : &line);
        if (destroyed)
            return;
        follower->paused = !more;
        if (!more)
            break;
    }
    follower->destroyed = NULL;
    if (result >= 0 && !follower->paused)
        schedule(follower, result == 0 ? FOLLOW_MS : 0);
}

struct joblog_follower *joblog_follow(
    struct event_base *base, struct joblog_reader *reader, joblog_line_fn *on_line, void *context)
{
    struct joblog_follower *follower = mem_alloc(1, sizeof *follower);
    *follower = (struct joblog_follower){.reader = reader, .on_line = on_line, .context = context};
    follower->timer = evtimer_new(base, on_follow, follower);
    assert(follower->timer);
    schedule(follower, 0);
    return follower;
}

void joblog_follower_resume(struct joblog_follower *follower)
{
    follower->paused = false;
    schedule(follower, 0);
}

void joblog_follower_destroy(struct joblog_follower *follower)
{
    if (!follower)
        return;
    if (follower->destroyed)
        *follower->destroyed = true;
    event_free(follower->timer);
    joblog_close(follower->reader);
    free(follower);
}
