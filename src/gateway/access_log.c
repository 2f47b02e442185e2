/* The access log: see access_log.h. Two buffers: workers fill one while the thread writes the
 * other, so the lock is never held over a system call. The thread lets lines gather for LINGER_MS
 * before it writes: waking it and writing for each line took half as much processor time as all the
 * rest of a request. While lines come it wakes by itself to do so; only the first line after a
 * while without any wakes it, and the one that makes them many. It is patient (thread.h) and woken
 * after the lock was given back, so that it does not take the processor from the worker that wakes
 * it. Workers leave records, of which the thread makes the lines, a buffer of them at a time. A
 * file that cannot be written is tried again with the next lines; those in between are dropped and
 * counted. */
#include "gateway/access_log.h"

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/thread.h"
#include "gateway/log_line.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    LINGER_MS = 20,                       /* a line is in the file so long after it was made */
    LINGER_BYTES = ACCESS_LOG_BUFFER / 4, /* or once there are so many */
};

/* Records, one after another; or lines. */
struct lines {
    char *bytes; /* ACCESS_LOG_BUFFER */
    size_t length, count;
};

struct access_log {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct lines filling; /* under the lock, as what follows */
    uint64_t dropped;
    bool asleep; /* the thread waits for a line, not for the time to write */
    bool reopen, closing;
    bool shared;          /* another process writes there too, and renames it */
    struct lines writing; /* the thread's, as what follows */
    struct lines text;    /* the lines of some of those records */
    struct log_moment moment;
    char *path, *older_path;
    int64_t bytes_max, size;
    bool complained; /* once for a row of failures */
    int fd;          /* -1: not open */
};

static int open_file(struct access_log *log, struct error *err)
{
    struct stat st;
    fd_scope(&log->fd);
    log->fd = open(log->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (log->fd < 0 || fstat(log->fd, &st) < 0)
        return error_set_errno(err, "cannot open the access log %s", log->path);
    log->size = st.st_size;
    return 0;
}

static int rotate(struct access_log *log, struct error *err)
{
    if (rename(log->path, log->older_path) < 0 && errno != ENOENT)
        return error_set_errno(err, "cannot rename the access log %s", log->path);
    return open_file(log, err);
}

/* Renamed by the other process: its new file is the log now. */
static bool was_moved(const struct access_log *log)
{
    struct stat ours, theirs;
    return log->fd >= 0 && fstat(log->fd, &ours) == 0 &&
           (stat(log->path, &theirs) < 0 || ours.st_ino != theirs.st_ino ||
               ours.st_dev != theirs.st_dev);
}

/* Lines of two processes: each write is whole, none takes away what the other wrote. */
static int write_shared(struct access_log *log, const struct lines *lines, struct error *err)
{
    if ((log->fd < 0 || was_moved(log)) && open_file(log, err) < 0)
        return -1;
    if (file_write_all(log->fd, lines->bytes, lines->length, err) < 0)
        return error_prefix(err, "the access log %s", log->path);
    return 0;
}

static bool file_grew(const struct access_log *log, const struct lines *lines)
{
    struct stat st;
    return fstat(log->fd, &st) < 0 || st.st_size > log->size + (int64_t)lines->length;
}

static int write_lines(struct access_log *log, const struct lines *lines, struct error *err)
{
    if (__atomic_load_n(&log->shared, __ATOMIC_RELAXED))
        return write_shared(log, lines, err);
    if (log->fd < 0 && open_file(log, err) < 0)
        return -1;
    if (log->size > 0 && log->size + (int64_t)lines->length > log->bytes_max &&
        rotate(log, err) < 0)
        return -1;
    if (file_write_all(log->fd, lines->bytes, lines->length, err) < 0) {
        /* What another process wrote meanwhile stays. */
        if (file_grew(log, lines))
            return error_prefix(err, "the access log %s", log->path);
        /* A part of it may be there. The file is cut where it was, so that lines stay whole. */
        (void)!ftruncate(log->fd, log->size);
        return error_prefix(err, "the access log %s", log->path);
    }
    log->size += (int64_t)lines->length;
    return 0;
}

/* Makes lines of the records from *at on, as many as there is room for. */
static void make_lines(struct access_log *log, size_t *at)
{
    struct lines *text = &log->text;
    text->length = text->count = 0;
    while (*at < log->writing.length && text->length <= ACCESS_LOG_BUFFER - LOG_LINE_BYTES) {
        struct log_line line;
        *at += log_record_read(log->writing.bytes + *at, &line);
        text->length += log_line_write(&line, &log->moment, text->bytes + text->length);
        text->count++;
    }
}

static void write_out(struct access_log *log, bool reopen)
{
    struct error err = {0};
    const bool is_away = reopen && open_file(log, &err) < 0;
    bool failed = is_away;
    size_t dropped = 0;
    for (size_t at = 0; at < log->writing.length;) {
        make_lines(log, &at);
        if (is_away || write_lines(log, &log->text, &err) < 0) {
            failed = true;
            dropped += log->text.count;
        }
    }
    if (failed && !log->complained)
        log_error("lines are dropped: %s", err.text);
    log->complained = failed;
    if (failed) {
        pthread_mutex_lock(&log->lock);
        log->dropped += dropped;
        pthread_mutex_unlock(&log->lock);
    }
    log->writing.length = log->writing.count = 0;
}

/* With the lock held, which is given up meanwhile. */
static void linger(struct access_log *log)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += LINGER_MS * 1000000L;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    int rc = 0;
    while (rc == 0 && log->filling.length < LINGER_BYTES && !log->closing && !log->reopen)
        rc = pthread_cond_timedwait(&log->wake, &log->lock, &end);
}

/* With the lock held, which is given up meanwhile. Nothing came in all of a linger: what comes next
 * has one of its own. */
static void sleep_without_lines(struct access_log *log)
{
    while (log->filling.length == 0 && !log->closing && !log->reopen) {
        log->asleep = true;
        pthread_cond_wait(&log->wake, &log->lock);
        log->asleep = false;
        linger(log);
    }
}

static void *log_thread(void *argument)
{
    struct access_log *log = argument;
    bool closing = false;
    thread_be_patient();
    while (!closing) {
        pthread_mutex_lock(&log->lock);
        linger(log);
        sleep_without_lines(log);
        struct lines full = log->filling;
        log->filling = log->writing;
        log->writing = full;
        bool reopen = log->reopen;
        closing = log->closing;
        log->reopen = false;
        pthread_mutex_unlock(&log->lock);
        write_out(log, reopen);
    }
    return NULL;
}

static void log_free(struct access_log *log)
{
    pthread_mutex_destroy(&log->lock);
    pthread_cond_destroy(&log->wake);
    fd_scope(&log->fd);
    free(log->filling.bytes);
    free(log->writing.bytes);
    free(log->text.bytes);
    free(log->path);
    free(log->older_path);
    free(log);
}

int access_log_open(const char *path, int64_t bytes_max, struct access_log **ret, struct error *err)
{
    assert(bytes_max > 0);
    struct access_log *log = mem_alloc(1, sizeof *log);
    pthread_mutex_init(&log->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&log->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    log->fd = -1;
    log->bytes_max = bytes_max;
    log->path = mem_strdup(path);
    log->older_path = mem_alloc(strlen(path) + 3, 1);
    snprintf(log->older_path, strlen(path) + 3, "%s.1", path);
    log->filling.bytes = mem_alloc(ACCESS_LOG_BUFFER, 1);
    log->writing.bytes = mem_alloc(ACCESS_LOG_BUFFER, 1);
    log->text.bytes = mem_alloc(ACCESS_LOG_BUFFER, 1);
    if (open_file(log, err) < 0) {
        log_free(log);
        return -1;
    }
    int rc = thread_start(&log->thread, log_thread, log);
    if (rc != 0) {
        errno = rc;
        error_set_errno(err, "cannot start the access log's thread");
        log_free(log);
        return -1;
    }
    *ret = log;
    return 0;
}

void access_log_close(struct access_log *log)
{
    if (!log)
        return;
    pthread_mutex_lock(&log->lock);
    log->closing = true;
    pthread_cond_signal(&log->wake);
    pthread_mutex_unlock(&log->lock);
    pthread_join(log->thread, NULL);
    log_free(log);
}

/* With the lock held; whether the thread has to be woken. */
static bool take_line(struct access_log *log, const struct log_line *line)
{
    struct lines *lines = &log->filling;
    size_t before = lines->length;
    if (before > ACCESS_LOG_BUFFER - LOG_RECORD_BYTES) {
        log->dropped++;
        return false;
    }
    lines->length += log_record_write(line, lines->bytes + before);
    lines->count++;
    return (log->asleep && before == 0) || (before < LINGER_BYTES && lines->length >= LINGER_BYTES);
}

void access_log_write(struct access_log *log, const struct log_line *line)
{
    pthread_mutex_lock(&log->lock);
    bool wake = take_line(log, line);
    pthread_mutex_unlock(&log->lock);
    if (wake)
        pthread_cond_signal(&log->wake);
}

void access_log_share(struct access_log *log)
{
    pthread_mutex_lock(&log->lock);
    __atomic_store_n(&log->shared, true, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&log->lock);
}

void access_log_reopen(struct access_log *log)
{
    pthread_mutex_lock(&log->lock);
    log->reopen = true;
    pthread_cond_signal(&log->wake);
    pthread_mutex_unlock(&log->lock);
}

uint64_t access_log_dropped(struct access_log *log)
{
    pthread_mutex_lock(&log->lock);
    uint64_t dropped = log->dropped;
    pthread_mutex_unlock(&log->lock);
    return dropped;
}
