/* How fast the store is on this disk: `bench_store FOLDER`. Not a test.
 *
 * A job here is what one submission, start and end cost: three writes of the job's row, an attempt
 * written twice, a placement put and deleted, a spec, a charge, three audit events. Batches stand
 * for group commit. The time of fdatasync on a file beside it says what the disk allows. */
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "store/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char spec[] =
    "{\"kind\":\"Job\",\"metadata\":{\"name\":\"train\",\"team\":\"red\"},\"spec\":{\"command\":"
    "[\"python3\",\"train.py\",\"--epochs\",\"10\"],\"resources\":{\"cpu\":\"2\",\"memory\":"
    "\"4Gi\"},\"environment\":{\"SEED\":\"17\"}}}";

static void die(const struct error *err)
{
    fprintf(stderr, "bench_store: %s\n", err->text);
    exit(1);
}

/* Mean microseconds of a write of 4 KiB and its fdatasync. */
static double measure_sync(const char *folder)
{
    enum { ROUNDS = 200 };
    SCOPED(strbuf_finish) struct strbuf path = {0};
    char bytes[4096] = {0};

    strbuf_printf(&path, "%s/sync", folder);
    SCOPED(fd_scope) int fd = open(path.text, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int64_t begin = clock_monotonic_ns();
    for (int i = 0; i < ROUNDS; i++)
        if (fd < 0 || write(fd, bytes, sizeof bytes) < 0 || fdatasync(fd) < 0) {
            perror(path.text);
            exit(1);
        }
    int64_t end = clock_monotonic_ns();
    unlink(path.text);
    return (double)(end - begin) / ROUNDS / 1000;
}

static void audit(struct store_txn *txn, const char *action, const char *name)
{
    const struct audit_event event = {.at_ms = 1700000000000,
        .actor = "ada",
        .action = action,
        .kind = "job",
        .name = name,
        .team = "red",
        .detail = "{\"size\":1}"};
    store_txn_audit(txn, &event);
}

static void submit(struct store_txn *txn, uint64_t id)
{
    struct job_row job = {.id = id,
        .team = 3,
        .shape = 9,
        .name = 40,
        .state = JOB_QUEUED,
        .size = 1,
        .submitted_ms = 1700000000000,
        .queued_ms = 1700000000000};
    char key[24];
    snprintf(key, sizeof key, "%llu", (unsigned long long)id);
    store_txn_put_row(txn, ROW_JOB, &job);
    store_txn_put_document(txn, "job-spec", key, "", spec, 1700000000000);
    audit(txn, "job-submit", key);
}

static void start(struct store_txn *txn, uint64_t id)
{
    struct job_row job = {.id = id,
        .team = 3,
        .shape = 9,
        .name = 40,
        .attempt = id,
        .state = JOB_RUNNING,
        .size = 1,
        .submitted_ms = 1700000000000};
    struct attempt_row attempt = {.id = id,
        .job = id,
        .number = 1,
        .state = ATTEMPT_STARTED,
        .size = 1,
        .admitted_ms = 1700000000100,
        .started_ms = 1700000000200};
    struct placement_row placement = {
        .id = id, .attempt = id, .node = 4, .devices = 1, .device_milli = 1000, .ranks = 1};
    store_txn_put_row(txn, ROW_JOB, &job);
    store_txn_put_row(txn, ROW_ATTEMPT, &attempt);
    store_txn_put_row(txn, ROW_PLACEMENT, &placement);
    audit(txn, "job-start", "train");
}

static void end(struct store_txn *txn, uint64_t id)
{
    struct job_row job = {.id = id,
        .team = 3,
        .shape = 9,
        .name = 40,
        .state = JOB_SUCCEEDED,
        .size = 1,
        .submitted_ms = 1700000000000,
        .ended_ms = 1700000005000 + (int64_t)id};
    struct attempt_row attempt = {.id = id,
        .job = id,
        .number = 1,
        .state = ATTEMPT_ENDED,
        .size = 1,
        .admitted_ms = 1700000000100,
        .ended_ms = 1700000005000 + (int64_t)id};
    struct charge_row charge = {.id = id,
        .attempt = id,
        .job = id,
        .team = 3,
        .pool = 1,
        .node = 4,
        .begin_ms = 1700000000200,
        .end_ms = 1700000005000 + (int64_t)id,
        .cpu_milli = 1000,
        .cost_nano = 123456};
    store_txn_retire_row(txn, ROW_JOB, &job);
    store_txn_retire_row(txn, ROW_ATTEMPT, &attempt);
    store_txn_delete_row(txn, ROW_PLACEMENT, id);
    store_txn_put_row(txn, ROW_CHARGE, &charge);
    audit(txn, "job-end", "train");
}

typedef void stage_fn(struct store_txn *txn, uint64_t id);

/* Commits `jobs` jobs through the stages, batch by batch, and prints what it took. */
static void measure(struct store *store, const char *what, stage_fn *const *stages,
    size_t stage_count, uint64_t first, uint64_t jobs, uint64_t batch)
{
    struct error err;
    int64_t begin = clock_monotonic_ns(), commits = 0, committing = 0;

    for (uint64_t from = first; from < first + jobs; from += batch)
        for (size_t stage = 0; stage < stage_count; stage++) {
            struct store_txn *txn = store_txn_create(store_epoch(store), store_next_tick(store));
            for (uint64_t id = from; id < from + batch; id++)
                stages[stage](txn, id);
            int64_t before = clock_monotonic_ns();
            if (store_commit(store, txn, &err) < 0)
                die(&err);
            committing += clock_monotonic_ns() - before;
            commits++;
            store_txn_destroy(txn);
            store_checkpoint(store);
        }
    double seconds = (double)(clock_monotonic_ns() - begin) / 1e9;
    printf("%-16s batch %5llu  %9.0f jobs/s  %9.1f us/commit\n", what, (unsigned long long)batch,
        (double)jobs / seconds, (double)committing / (double)commits / 1000);
}

static int count_row(void *context, enum row_kind kind, const void *row, struct error *err)
{
    (void)kind, (void)row, (void)err;
    ++*(int64_t *)context;
    return 0;
}

static void measure_opening(const char *folder)
{
    struct store *store = NULL;
    struct error err;
    int64_t rows = 0, begin = clock_monotonic_ns();
    if (store_open(folder, NULL, &store, &err) < 0)
        die(&err);
    int64_t opened = clock_monotonic_ns();
    if (store_load(store, count_row, &rows, &err) < 0)
        die(&err);
    int64_t loaded = clock_monotonic_ns();
    printf("open %.2f ms, load of %lld rows %.2f ms\n", (double)(opened - begin) / 1e6,
        (long long)rows, (double)(loaded - opened) / 1e6);
    store_close(store);
}

int main(int argc, char **argv)
{
    static stage_fn *const submissions[] = {submit};
    static stage_fn *const lives[] = {submit, start, end};
    static const uint64_t batches[] = {1, 16, 64, 256, 1024};
    SCOPED(strbuf_finish) struct strbuf folder = {0};
    struct store *store = NULL;
    struct error err;
    uint64_t id = 1;

    if (argc != 2) {
        fprintf(stderr, "usage: bench_store FOLDER\n");
        return 2;
    }
    strbuf_printf(&folder, "%s/bench-store", argv[1]);
    if (file_remove_tree(folder.text, &err) < 0 || store_open(folder.text, NULL, &store, &err) < 0)
        die(&err);
    printf("fdatasync of 4 KiB: %.1f us\n", measure_sync(folder.text));
    for (size_t i = 0; i < ARRAY_LEN(batches); i++) {
        uint64_t jobs = batches[i] < 64 ? batches[i] * 256 : 20480;
        measure(store, "submissions", submissions, 1, id, jobs, batches[i]);
        id += jobs;
        measure(store, "whole lives", lives, 3, id, jobs, batches[i]);
        id += jobs;
    }
    printf("fdatasync of 4 KiB: %.1f us\n", measure_sync(folder.text));
    store_close(store);
    measure_opening(folder.text);
    if (file_remove_tree(folder.text, &err) < 0)
        die(&err);
    return 0;
}
