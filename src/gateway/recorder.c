/* See recorder.h. Files are the thread's alone: record_files.h. */
#include "gateway/recorder.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/thread.h"
#include "gateway/guard_body.h"
#include "gateway/hook.h"
#include "gateway/record_files.h"
#include "gateway/record_line.h"
#include "gateway/record_read.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SWEEP_MS = 60 * 1000 };

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
    struct record_files *files;
    struct guard_library *library;
    struct guard_scratch *scratch;
    bool complained_of_guard, complained_of_disk;
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

static void sweep(struct recorder *recorder)
{
    recorder->swept_ms = clock_monotonic_ns() / 1000000;
    record_files_sweep(recorder->files, clock_wall_ms());
}

static int write_line(struct recorder *recorder, const struct record_entry *entry,
    const struct strbuf *line, struct error *err)
{
    if (record_files_write(recorder->files, entry, line, err) < 0)
        return -1;
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
    thread_be_patient();
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
    record_files_destroy(recorder->files);
    guard_scratch_free(recorder->scratch);
    guard_library_free(recorder->library);
    pthread_mutex_destroy(&recorder->lock);
    pthread_cond_destroy(&recorder->wake);
    free(recorder);
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
    recorder->files = record_files_create(folder, incarnation);
    int rc = thread_start(&recorder->thread, recorder_thread, recorder);
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
