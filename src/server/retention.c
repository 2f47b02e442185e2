/* Retention: see retention.h.
 *
 * Rows and documents go in a tick like every change, a bounded number at a time; a job's files go
 * after that is durable. Work directories are swept on the chores thread with a reader of its own:
 * one that no stored job and no gate names and that was uploaded more than a day ago cannot be on
 * its way into a job any more. */
#include "server/retention.h"

#include "base/log.h"
#include "base/map.h"
#include "base/vec.h"
#include "engine/engine.h"
#include "engine/worker.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/cost.h"
#include "server/engines.h"
#include "server/names.h"
#include "server/outputs.h"
#include "server/snapshots.h"
#include "server/ticker.h"
#include "server/versions.h"
#include "store/store.h"
#include "wire/doc.h"

#include <assert.h>
#include <dirent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PERIOD_S = 3600,
    JOBS_A_ROUND = 1000,
    KEYS_A_ROUND = 10000,
    PAGE_DOCUMENTS = 1000,
    DAY_MS = 24 * 3600 * 1000,
};

struct retention {
    struct server *server;
    struct event *timer;
};

/* ---- ended jobs, audit events, idempotency keys ---------------------------------------------- */

/* A round: what is removed in one tick. */
struct round {
    struct server *server;
    VEC(struct job_row) jobs;
};

static int take_job(void *context, const void *row, struct error *err)
{
    struct round *round = context;
    (void)err;
    vec_push(&round->jobs, *(const struct job_row *)row);
    return 0;
}

/* The elements of an array share the manifest of the first, which therefore goes last. */
static bool is_needed(const struct server *server, const struct job_row *row)
{
    struct row_condition condition = {"array", ROW_EQUAL, (int64_t)row->id};
    struct row_query query = {.kind = ROW_JOB, .conditions = &condition, .condition_count = 1};
    int64_t elements;
    return row->array == row->id &&
           (reader_count(server->reader, &query, &elements, NULL) < 0 || elements > 1);
}

static int forget_jobs(struct tick *tick, struct round *round, int64_t before_ms, struct error *err)
{
    struct row_condition conditions[] = {{"live", ROW_EQUAL, 0}, {"ended_ms", ROW_LESS, before_ms}};
    struct row_query query = {.kind = ROW_JOB,
        .conditions = conditions,
        .condition_count = ARRAY_LEN(conditions),
        .limit = JOBS_A_ROUND};
    if (reader_rows(round->server->reader, &query, take_job, round, err) < 0)
        return -1;
    size_t kept = 0;
    for (size_t i = 0; i < round->jobs.count; i++) {
        const struct job_row row = round->jobs.items[i];
        if (is_needed(round->server, &row) ||
            outputs_pending(round->server, row.array ? row.array : row.id))
            continue;
        cost_keep(tick, &row);
        outputs_forget(tick, &row);
        retention_note_files(tick, row.id);
        store_txn_forget_job(tick_txn(tick), row.id);
        round->jobs.items[kept++] = row;
    }
    round->jobs.count = kept;
    return 0;
}

static int take_old_key(void *context, const struct document *document, struct error *err)
{
    struct tick *tick = context;
    (void)err;
    if (document->at_ms < tick_now(tick) - DAY_MS)
        store_txn_delete_document(tick_txn(tick), "idempotency", document->key);
    return 0;
}

static const char purge_collection[] = "purge";

void retention_note_files(struct tick *tick, uint64_t job)
{
    char key[DOCUMENT_KEY_TEXT];
    store_txn_put_document(tick_txn(tick), purge_collection, names_document_key(job, NULL, key), "",
        "{}", tick_now(tick));
}

/* To purge again what is gone is fine, so a note may outlive its files but not the other way. The
 * first element of an array, which has the outputs of all of them, is refused by the engine for as
 * long as it knows another that wrote there, and is gone an hour later. */
static int purge_noted(void *context, const struct document *document, struct error *err)
{
    struct tick *tick = context;
    struct error why;
    (void)err;
    if (engines_purge(tick_server(tick), strtoull(document->key, NULL, 10), &why) < 0)
        log_warn("the files of a forgotten job stay for now: %s", why.text);
    else
        store_txn_delete_document(tick_txn(tick), purge_collection, document->key);
    return 0;
}

static int run_round(struct tick *tick, void *context, struct error *err)
{
    struct round *round = context;
    struct server *server = round->server;
    int64_t keep_ms = server->config.retention_ms;
    if (reader_documents(
            server->reader, "idempotency", NULL, NULL, KEYS_A_ROUND, take_old_key, tick, err) < 0 ||
        reader_documents(
            server->reader, purge_collection, NULL, NULL, KEYS_A_ROUND, purge_noted, tick, err) < 0)
        return -1;
    if (keep_ms <= 0)
        return 0;
    if (forget_jobs(tick, round, tick_now(tick) - keep_ms, err) < 0)
        return -1;
    return store_txn_audit_prune(server->store, tick_txn(tick), tick_now(tick) - keep_ms, err);
}

static void round_done(void *context, const struct error *err)
{
    struct round *round = context;
    struct error why;
    if (err)
        log_warn("nothing was removed by retention this time: %s", err->text);
    for (size_t i = 0; !err && i < round->jobs.count; i++) {
        if (engines_purge(round->server, round->jobs.items[i].id, &why) < 0)
            log_warn("the files of a forgotten job stay for now: %s", why.text);
    }
    vec_free(&round->jobs);
    free(round);
}

static void start_round(struct server *server)
{
    struct round *round = mem_alloc(1, sizeof *round);
    struct error err;
    round->server = server;
    if (ticker_submit(server->ticker, "muster", run_round, round_done, round, &err) < 0)
        round_done(round, &err);
}

/* ---- work directories ------------------------------------------------------------------------ */

struct sweep {
    char *data_dir;
    const char *vfs;
    int64_t before_s;
    struct strmap named;
    char *last; /* key of the document seen last */
    size_t seen;
    int64_t removed;
};

static int take_named(void *context, const struct document *document, struct error *err)
{
    struct sweep *sweep = context;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *doc =
        doc_parse_json(arena, document->json, strlen(document->json), 4 * DOC_BYTES_MAX, err);
    if (!doc)
        return -1;
    free(sweep->last);
    sweep->last = mem_strdup(document->key);
    sweep->seen++;
    const char *digest = doc_get_string(doc_get(doc, "spec"), "workdir");
    if (digest && strncmp(digest, "sha256:", 7) == 0)
        strmap_put(&sweep->named, digest + 7, sweep);
    return 0;
}

/* What made a version can be run again as long as the version is there. */
static int take_version(void *context, const struct version *version, struct error *err)
{
    struct sweep *sweep = context;
    const char *digest = doc_get_string(doc_get(version->doc, "source"), "workdir");
    (void)err;
    if (digest && strncmp(digest, "sha256:", 7) == 0)
        strmap_put(&sweep->named, digest + 7, sweep);
    return 0;
}

static void sweep_folder(struct sweep *sweep)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/snapshots", sweep->data_dir);
    DIR *folder = opendir(path);
    if (!folder)
        return;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        struct stat st;
        if (entry->d_name[0] == '.' || strmap_get(&sweep->named, entry->d_name) ||
            fstatat(dirfd(folder), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG(st.st_mode) || st.st_mtime >= sweep->before_s)
            continue;
        sweep->removed += unlinkat(dirfd(folder), entry->d_name, 0) == 0;
    }
    closedir(folder);
}

static int collect_named(struct store_reader *reader, struct sweep *sweep)
{
    do {
        sweep->seen = 0;
        SCOPED(mem_scope) char *after = mem_strdup(sweep->last ? sweep->last : "");
        struct error ignored;
        if (reader_documents(
                reader, "job-spec", NULL, after, PAGE_DOCUMENTS, take_named, sweep, &ignored) < 0)
            return -1;
    } while (sweep->seen == PAGE_DOCUMENTS);
    struct error ignored;
    return versions_all(reader, KIND_DATASET, take_version, sweep, &ignored) < 0 ||
                   versions_all(reader, KIND_MODEL, take_version, sweep, &ignored) < 0
               ? -1
               : 0;
}

/* Names are collected in full, or nothing is removed. */
static void sweep_work(void *context)
{
    struct sweep *sweep = context;
    struct store_options options = {.vfs = sweep->vfs};
    struct store_reader *reader;
    if (store_reader_open(sweep->data_dir, &options, &reader, NULL) < 0)
        return;
    if (collect_named(reader, sweep) == 0)
        sweep_folder(sweep);
    store_reader_close(reader);
}

static void sweep_done(void *context)
{
    struct sweep *sweep = context;
    if (sweep->removed > 0)
        log_info("%lld work directories that no job names were removed", (long long)sweep->removed);
    strmap_finish(&sweep->named);
    free(sweep->last);
    free(sweep->data_dir);
    free(sweep);
}

/* What a gate evaluates with is needed whenever a version asks for the stage, and no job may have
 * named it for long. On the loop: the catalogue is here. */
static void keep_gates(const struct catalog *catalog, struct sweep *sweep)
{
    for (size_t i = 0; i < catalog_count(catalog, KIND_MODEL); i++) {
        const struct model *model = &catalog_at(catalog, KIND_MODEL, i)->manifest->model;
        for (size_t k = 0; k < model->gates.count; k++) {
            const char *digest = model->gates.items[k].evaluation.workdir;
            if (digest && strncmp(digest, "sha256:", 7) == 0)
                strmap_put(&sweep->named, digest + 7, sweep);
        }
    }
}

static void start_sweep(struct server *server)
{
    struct sweep *sweep = mem_alloc(1, sizeof *sweep);
    struct error err;
    sweep->data_dir = mem_strdup(server->config.data_dir);
    sweep->vfs = server->config.vfs;
    sweep->before_s = (server_now_ms() - DAY_MS) / 1000;
    keep_gates(server->catalog, sweep);
    if (worker_run(server->chores, sweep_work, sweep_done, sweep, &err) < 0)
        sweep_done(sweep);
}

static void on_hour(evutil_socket_t fd, short what, void *context)
{
    struct retention *retention = context;
    (void)fd, (void)what;
    start_round(retention->server);
    start_sweep(retention->server);
}

struct retention *retention_create(struct server *server)
{
    struct retention *retention = mem_alloc(1, sizeof *retention);
    struct timeval period = {.tv_sec = PERIOD_S};
    retention->server = server;
    retention->timer = event_new(server->base, -1, EV_PERSIST, on_hour, retention);
    assert(retention->timer);
    event_add(retention->timer, &period);
    return retention;
}

void retention_destroy(struct retention *retention)
{
    if (!retention)
        return;
    event_free(retention->timer);
    free(retention);
}
