/* See recorder.h. Files are the thread's alone. A line is written by one call, and cut away again
 * where only a part of it could be written, so that the files of a recorder that lives are whole.
 */
#include "gateway/recorder.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/vec.h"
#include "gateway/guard_body.h"
#include "gateway/hook.h"
#include "gateway/record_line.h"
#include "gateway/record_read.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    FOLDER_BYTES = 4096,
    PATH_BYTES = FOLDER_BYTES + RECORD_NAME_BYTES + 2,
    PARTS_OPEN_MAX = 32,
    PART_BYTES_MAX = 16 << 20,
    PART_MS_MAX = 3600 * 1000,
    SWEEP_MS = 60 * 1000,
    PARTS_OF_ALL = 8, /* a part is at most this fraction of what a service may have */
};

/* A file that is being written. */
struct part {
    const char *shelf;
    char service[RECORD_SERVICE_BYTES];
    int fd;
    int64_t began_ms, size;
};

struct recorder {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct record_entry *first, **last; /* under the lock, as closing */
    bool closing;
    atomic_int_fast64_t reserved;
    atomic_uint_fast64_t written, unfit, dropped, failed, bytes;
    struct hook *hook; /* NULL: nothing is posted */
    /* The thread's. */
    char root[FOLDER_BYTES];
    char incarnation[17];
    struct guard_library *library;
    struct guard_scratch *scratch;
    bool complained_of_guard, complained_of_disk;
    VEC(struct part) parts;
    int64_t named_ms; /* when the newest part began, as its name says */
    int64_t swept_ms;
};

static void add(atomic_uint_fast64_t *count, uint64_t number)
{
    atomic_fetch_add_explicit(count, number, memory_order_relaxed);
}

/* ---- entries --------------------------------------------------------------------------------- */

struct record_entry *recorder_begin(struct recorder *recorder, int64_t bytes)
{
    int64_t before = atomic_fetch_add_explicit(&recorder->reserved, bytes, memory_order_relaxed);
    if (before + bytes > RECORDER_BYTES_MAX) {
        atomic_fetch_sub_explicit(&recorder->reserved, bytes, memory_order_relaxed);
        add(&recorder->dropped, 1);
        return NULL;
    }
    struct record_entry *entry = mem_alloc(1, sizeof *entry);
    entry->reserved = bytes;
    return entry;
}

static void entry_free(struct recorder *recorder, struct record_entry *entry)
{
    atomic_fetch_sub_explicit(&recorder->reserved, entry->reserved, memory_order_relaxed);
    strbuf_finish(&entry->request);
    strbuf_finish(&entry->answer);
    strbuf_finish(&entry->light);
    free(entry->post_url);
    free(entry);
}

void recorder_give_up(struct recorder *recorder, struct record_entry *entry, bool unfit)
{
    add(&recorder->unfit, unfit);
    entry_free(recorder, entry);
}

void recorder_take(struct recorder *recorder, struct record_entry *entry)
{
    entry->next = NULL;
    pthread_mutex_lock(&recorder->lock);
    bool was_empty = !recorder->first;
    *recorder->last = entry;
    recorder->last = &entry->next;
    if (was_empty)
        pthread_cond_signal(&recorder->wake);
    pthread_mutex_unlock(&recorder->lock);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void part_close(struct recorder *recorder, size_t i)
{
    close(recorder->parts.items[i].fd);
    vec_remove(&recorder->parts, i);
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

static void sweep_shelf(const struct recorder *recorder, const char *shelf, int64_t now_ms)
{
    char path[FOLDER_BYTES + 32];
    snprintf(path, sizeof path, "%s/%s", recorder->root, shelf);
    SCOPED(fd_scope) int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (folder >= 0)
        sweep_level(folder, 2, now_ms);
}

static void sweep(struct recorder *recorder)
{
    int64_t now = clock_wall_ms();
    recorder->swept_ms = clock_monotonic_ns() / 1000000;
    sweep_shelf(recorder, RECORD_REQUESTS, now);
    sweep_shelf(recorder, RECORD_VERDICTS, now);
    for (size_t i = recorder->parts.count; i > 0; i--) {
        if (now - recorder->parts.items[i - 1].began_ms > PART_MS_MAX)
            part_close(recorder, i - 1);
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
static int64_t next_name_ms(struct recorder *recorder)
{
    int64_t now_ms = clock_wall_ms();
    int64_t ahead_ms = recorder->named_ms - now_ms;
    bool same = ahead_ms >= 0 && ahead_ms < 1000; /* further ahead: the clock was set back */
    recorder->named_ms = same ? recorder->named_ms + 1 : now_ms;
    return recorder->named_ms;
}

static int part_open(struct recorder *recorder, const struct record_entry *entry, struct part **ret,
    struct error *err)
{
    char shelf[FOLDER_BYTES + 32], folder[FOLDER_BYTES], path[PATH_BYTES], name[RECORD_NAME_BYTES];
    struct record_name named = {.began_ms = next_name_ms(recorder), .keep_ms = entry->keep_ms};
    struct part part = {.began_ms = named.began_ms, .shelf = entry->shelf};
    snprintf(named.incarnation, sizeof named.incarnation, "%s", recorder->incarnation);
    record_name_write(&named, name);
    snprintf(shelf, sizeof shelf, "%s/%s", recorder->root, entry->shelf);
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
    if (recorder->parts.count >= PARTS_OPEN_MAX)
        part_close(recorder, 0);
    vec_push(&recorder->parts, part);
    *ret = &recorder->parts.items[recorder->parts.count - 1];
    return 0;
}

static int part_of(struct recorder *recorder, const struct record_entry *entry, size_t length,
    struct part **ret, struct error *err)
{
    for (size_t i = 0; i < recorder->parts.count; i++) {
        struct part *part = &recorder->parts.items[i];
        if (strcmp(part->service, entry->service) != 0 || strcmp(part->shelf, entry->shelf) != 0)
            continue;
        bool over = part->size + (int64_t)length > part_bytes_max(entry) ||
                    clock_wall_ms() - part->began_ms > PART_MS_MAX;
        if (!over || part->size == 0) {
            *ret = part;
            return 0;
        }
        part_close(recorder, i);
        break;
    }
    return part_open(recorder, entry, ret, err);
}

static int write_line(struct recorder *recorder, const struct record_entry *entry,
    const struct strbuf *line, struct error *err)
{
    struct part *part;
    if (part_of(recorder, entry, line->length, &part, err) < 0)
        return -1;
    if (file_write_all(part->fd, line->text, line->length, err) < 0) {
        (void)!ftruncate(part->fd, part->size);
        return error_prefix(err, "the recording of %s", entry->service);
    }
    part->size += (int64_t)line->length;
    add(&recorder->written, 1);
    add(&recorder->bytes, line->length);
    return 0;
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* Loaded with the first entry, so that who records nothing does not pay for it. */
static bool prepare(struct recorder *recorder, struct guard_rules *rules)
{
    struct error err;
    if (!recorder->library && !recorder->complained_of_guard &&
        guard_library_load(&recorder->library, &err) < 0) {
        log_error("nothing is recorded, since nothing can be redacted: %s", err.text);
        recorder->complained_of_guard = true;
    }
    if (recorder->library && !recorder->scratch)
        recorder->scratch = guard_scratch_create(recorder->library);
    *rules = (struct guard_rules){.patterns = recorder->library, .scratch = recorder->scratch};
    record_rules_set(rules);
    return recorder->scratch != NULL;
}

/* What it is about is said by the folder where it is written, and within it where it is posted. */
static void post(
    struct recorder *recorder, const struct record_entry *entry, const struct strbuf *json)
{
    SCOPED(strbuf_finish) struct strbuf body = {0};
    if (!recorder->hook || !entry->post_url)
        return;
    strbuf_puts(&body, "{\"service\":");
    strbuf_json(&body, entry->service);
    strbuf_putc(&body, ',');
    strbuf_append(&body, json->text + 1, json->length - 1);
    hook_put(recorder->hook, &(struct hook_post){.service = entry->service,
                                 .url = entry->post_url,
                                 .body = body.text,
                                 .length = body.length,
                                 .timeout_ms = entry->post_timeout_ms,
                                 .retries = entry->post_retries});
}

static void record(struct recorder *recorder, const struct record_entry *entry)
{
    SCOPED(strbuf_finish) struct strbuf json = {0}, line = {0};
    struct guard_rules rules;
    struct error err = {0};
    if (!prepare(recorder, &rules) || !record_entry_write(entry, &rules, &json)) {
        add(&recorder->unfit, 1);
        return;
    }
    post(recorder, entry, &json);
    record_line_write(&line, json.text, json.length);
    bool failed = write_line(recorder, entry, &line, &err) < 0;
    if (failed && !recorder->complained_of_disk)
        log_error("requests are not recorded: %s", err.text);
    recorder->complained_of_disk = failed;
    add(&recorder->failed, failed);
}

/* Waits for entries, or for the next sweep. Takes all that are there. */
static struct record_entry *await(struct recorder *recorder, bool *ret_closing)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += SWEEP_MS / 1000;
    pthread_mutex_lock(&recorder->lock);
    int rc = 0;
    while (!recorder->first && !recorder->closing && rc == 0)
        rc = pthread_cond_timedwait(&recorder->wake, &recorder->lock, &end);
    struct record_entry *all = recorder->first;
    recorder->first = NULL;
    recorder->last = &recorder->first;
    *ret_closing = recorder->closing;
    pthread_mutex_unlock(&recorder->lock);
    return all;
}

static void *recorder_thread(void *argument)
{
    struct recorder *recorder = argument;
    bool closing = false;
    sweep(recorder);
    while (!closing) {
        struct record_entry *entry = await(recorder, &closing);
        while (entry) {
            struct record_entry *next = entry->next;
            record(recorder, entry);
            entry_free(recorder, entry);
            entry = next;
        }
        if (clock_monotonic_ns() / 1000000 - recorder->swept_ms >= SWEEP_MS)
            sweep(recorder);
    }
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void recorder_free(struct recorder *recorder)
{
    while (recorder->parts.count > 0)
        part_close(recorder, recorder->parts.count - 1);
    vec_free(&recorder->parts);
    guard_scratch_free(recorder->scratch);
    guard_library_free(recorder->library);
    pthread_mutex_destroy(&recorder->lock);
    pthread_cond_destroy(&recorder->wake);
    free(recorder);
}

/* Signals are the main thread's. */
static int start_thread(struct recorder *recorder)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&recorder->thread, NULL, recorder_thread, recorder);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

int recorder_open(
    const char *folder, const char *incarnation, struct recorder **ret, struct error *err)
{
    struct recorder *recorder = mem_alloc(1, sizeof *recorder);
    pthread_condattr_t monotonic;
    pthread_mutex_init(&recorder->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&recorder->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    recorder->last = &recorder->first;
    snprintf(recorder->root, sizeof recorder->root, "%s", folder);
    snprintf(recorder->incarnation, sizeof recorder->incarnation, "%s", incarnation);
    int rc = start_thread(recorder);
    if (rc != 0) {
        errno = rc;
        error_set_errno(err, "cannot start the recorder's thread");
        recorder_free(recorder);
        return -1;
    }
    *ret = recorder;
    return 0;
}

void recorder_post_by(struct recorder *recorder, struct hook *hook)
{
    recorder->hook = hook;
}

void recorder_close(struct recorder *recorder)
{
    if (!recorder)
        return;
    pthread_mutex_lock(&recorder->lock);
    recorder->closing = true;
    pthread_cond_signal(&recorder->wake);
    pthread_mutex_unlock(&recorder->lock);
    pthread_join(recorder->thread, NULL);
    recorder_free(recorder);
}

void recorder_count(const struct recorder *recorder, struct recorder_counts *ret)
{
    *ret = (struct recorder_counts){.written = atomic_load(&recorder->written),
        .unfit = atomic_load(&recorder->unfit),
        .dropped = atomic_load(&recorder->dropped),
        .failed = atomic_load(&recorder->failed),
        .bytes = atomic_load(&recorder->bytes)};
}

void recorder_write_metrics(const struct recorder *recorder, struct strbuf *out)
{
    struct recorder_counts counts;
    recorder_count(recorder, &counts);
    const struct {
        const char *name, *help;
        uint64_t value;
    } rows[] = {
        {"recorded_total", "Requests that were recorded", counts.written},
        {"recorded_bytes_total", "Bytes that were recorded", counts.bytes},
        {"record_unfit_total", "Sampled requests that cannot be recorded", counts.unfit},
        {"record_dropped_total", "Sampled requests for which there was no room", counts.dropped},
        {"record_failed_total", "Records that could not be written", counts.failed},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        strbuf_printf(out,
            "# HELP muster_gateway_%s %s.\n# TYPE muster_gateway_%s counter\nmuster_gateway_%s "
            "%" PRIu64 "\n",
            rows[i].name, rows[i].help, rows[i].name, rows[i].name, rows[i].value);
}
