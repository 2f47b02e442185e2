/* The store on a disk that fails and a machine that stops, checked against a model.
 *
 * A run is random transactions with random faults, all from one seed. After every commit the model
 * moves on or not, as the store said; after every reopening the store has to equal the model:
 * rows that are loaded, rows that are read, documents, the audit chain. Only a machine that stopped
 * before the store could answer leaves two models, told apart by the tick. */
#include "store/test_support.h"

#include "base/memory.h"
#include "base/prng.h"
#include "store/fault_vfs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JOBS = 12, DOCUMENTS = 6, STEPS = 14, TRIES_MOST = 50 };

struct model {
    int64_t tick;
    int64_t events;
    int64_t pruned;
    struct {
        struct job_row row;
        bool exists;
        bool live;
    } jobs[JOBS + 1];
    int documents[DOCUMENTS]; /* the value in it, 0: there is none */
};

struct run {
    uint64_t seed;
    struct prng prng;
    const char *folder;
    struct fault_vfs *vfs;
    struct store_options options;
    struct store *store;
    struct store_reader *bystander; /* keeps the log's index alive over reopenings */
    struct model model;
    bool steady;    /* faults are planned by the test, not by commit_step */
    int64_t moment; /* ascends, so that pruning has an order */
};

static const char vfs_name[] = "muster-faults";

#define RUN_CHECK(run, condition)                                                                  \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("seed %llu, tick %lld: %s", (unsigned long long)(run)->seed,                  \
                (long long)(run)->model.tick, #condition);                                         \
    } while (0)
#define RUN_DONE(run, call)                                                                        \
    do {                                                                                           \
        struct error failure_ = {0};                                                               \
        struct error *err = &failure_;                                                             \
        if ((call) < 0)                                                                            \
            fail_msg("seed %llu, tick %lld: %s: %s: %s", (unsigned long long)(run)->seed,          \
                (long long)(run)->model.tick, #call, error_name(failure_.code), failure_.text);    \
    } while (0)

/* ---- random transactions, done to the store and to the model ------------------------------------
 */

static void step_job(struct run *run, struct store_txn *txn, struct model *model)
{
    uint64_t id = 1 + prng_below(&run->prng, JOBS);
    struct job_row row = test_job(id, (int32_t)prng_below(&run->prng, 9));
    uint64_t how = prng_below(&run->prng, 4);

    row.exit_status = (int32_t)prng_next(&run->prng);
    row.deadline_ms = (int64_t)prng_next(&run->prng);
    if (how > 1 && model->jobs[id].exists && !model->jobs[id].live)
        how = 1; /* what was retired is never live again */
    if (how == 0)
        store_txn_delete_row(txn, ROW_JOB, id);
    else if (how == 1)
        store_txn_retire_row(txn, ROW_JOB, &row);
    else
        store_txn_put_row(txn, ROW_JOB, &row);
    model->jobs[id].exists = how != 0;
    model->jobs[id].live = how > 1;
    model->jobs[id].row = row;
}

static void step_document(struct run *run, struct store_txn *txn, struct model *model)
{
    int which = (int)prng_below(&run->prng, DOCUMENTS);
    int value = (int)prng_below(&run->prng, 100);
    char key[16], json[4096];

    snprintf(key, sizeof key, "%d", which);
    /* Long enough, now and then, to need pages of its own. */
    snprintf(json, sizeof json, "{\"value\":%d,\"pad\":\"%0*d\"}", value,
        1 + (int)prng_below(&run->prng, 4000), 0);
    if (value == 0)
        store_txn_delete_document(txn, "thing", key);
    else
        store_txn_put_document(txn, "thing", key, "", json, run->moment);
    model->documents[which] = value;
}

static void step_audit(struct run *run, struct store_txn *txn, struct model *model)
{
    test_audit_event(txn, ++run->moment, "change", "red");
    model->events++;
}

static void step_prune(struct run *run, struct store_txn *txn, struct model *model)
{
    /* Event n happened at moment n. */
    int64_t keep_from = 1 + (int64_t)prng_below(&run->prng, (uint64_t)model->events + 1);
    if (prng_below(&run->prng, 4) > 0)
        return;
    RUN_DONE(run, store_txn_audit_prune(run->store, txn, keep_from, err));
    if (keep_from - 1 > model->pruned)
        model->pruned = keep_from - 1;
}

static struct store_txn *make_txn(struct run *run, struct model *after)
{
    typedef void step_fn(struct run *, struct store_txn *, struct model *);
    static step_fn *const steps[] = {step_job, step_job, step_document, step_audit, step_prune};
    struct store_txn *txn = test_txn(run->store);
    uint64_t count = 1 + prng_below(&run->prng, 8);

    *after = run->model;
    after->tick = store_next_tick(run->store);
    run->moment = after->events;
    for (uint64_t i = 0; i < count; i++)
        steps[prng_below(&run->prng, ARRAY_LEN(steps))](run, txn, after);
    return txn;
}

/* ---- comparing ----------------------------------------------------------------------------------
 */

struct comparison {
    struct run *run;
    uint64_t last;
    size_t count;
};

static int compare_loaded(void *context, enum row_kind kind, const void *row, struct error *err)
{
    struct comparison *comparison = context;
    const struct job_row *job = row;
    (void)err;
    RUN_CHECK(comparison->run, kind == ROW_JOB && job->id > comparison->last && job->id <= JOBS);
    RUN_CHECK(comparison->run, comparison->run->model.jobs[job->id].live);
    RUN_CHECK(comparison->run, test_jobs_same(job, &comparison->run->model.jobs[job->id].row));
    comparison->last = job->id;
    comparison->count++;
    return 0;
}

static int compare_read(void *context, const void *row, struct error *err)
{
    struct comparison *comparison = context;
    const struct job_row *job = row;
    (void)err;
    RUN_CHECK(comparison->run, job->id <= JOBS && comparison->run->model.jobs[job->id].exists);
    RUN_CHECK(comparison->run, test_jobs_same(job, &comparison->run->model.jobs[job->id].row));
    comparison->count++;
    return 0;
}

static int compare_document(void *context, const struct document *document, struct error *err)
{
    struct comparison *comparison = context;
    int value = 0;
    (void)err;
    RUN_CHECK(comparison->run, sscanf(document->json, "{\"value\":%d", &value) == 1);
    RUN_CHECK(comparison->run, comparison->run->model.documents[atoi(document->key)] == value);
    comparison->count++;
    return 0;
}

static void compare_with_reader(struct run *run, struct store_reader *reader)
{
    const struct model *model = &run->model;
    struct comparison rows = {.run = run}, documents = {.run = run};
    size_t row_count = 0, document_count = 0;
    int64_t events = 0, tick = 0;

    for (size_t id = 1; id <= JOBS; id++)
        row_count += model->jobs[id].exists;
    for (size_t i = 0; i < DOCUMENTS; i++)
        document_count += model->documents[i] != 0;
    RUN_DONE(run, reader_tick(reader, &tick, err));
    RUN_CHECK(run, tick == model->tick);
    RUN_DONE(
        run, reader_rows(reader, &(struct row_query){.kind = ROW_JOB}, compare_read, &rows, err));
    RUN_CHECK(run, rows.count == row_count);
    RUN_DONE(
        run, reader_documents(reader, "thing", NULL, NULL, 0, compare_document, &documents, err));
    RUN_CHECK(run, documents.count == document_count);
    RUN_DONE(run, reader_audit_verify(reader, &events, err));
    RUN_CHECK(run, events == model->events - model->pruned);
}

static void compare_all(struct run *run)
{
    struct store_reader *reader = NULL;
    struct comparison loaded = {.run = run};
    size_t live = 0;

    for (size_t id = 1; id <= JOBS; id++)
        live += run->model.jobs[id].live;
    RUN_CHECK(run, store_next_tick(run->store) == run->model.tick + 1);
    RUN_DONE(run, store_load(run->store, compare_loaded, &loaded, err));
    RUN_CHECK(run, loaded.count == live);
    RUN_DONE(run, store_reader_open(run->folder, &run->options, &reader, err));
    compare_with_reader(run, reader);
    store_reader_close(reader);
}

/* ---- faults -------------------------------------------------------------------------------------
 */

static void plan_fault(struct run *run, uint64_t operations)
{
    enum fault_kind kind = (enum fault_kind)(FAULT_FULL + prng_below(&run->prng, 4));
    uint64_t after = prng_below(&run->prng, operations);
    /* Syncs are rare among operations: their faults last longer, so as to meet one. */
    fault_vfs_plan(run->vfs, kind, after, 1 + prng_below(&run->prng, kind == FAULT_SYNC ? 60 : 4));
}

static void close_all(struct run *run)
{
    store_reader_close(run->bystander);
    run->bystander = NULL;
    store_close(run->store);
    run->store = NULL;
}

/* Opens the store, now and then with more faults on the way; the last try has none. */
static void open_store(struct run *run)
{
    struct error failure = {0};
    for (int try = 0; try < 4; try++) {
        fault_vfs_restarted(run->vfs);
        fault_vfs_plan(run->vfs, FAULT_NONE, 0, 0);
        if (try < 3 && prng_below(&run->prng, 4) == 0)
            plan_fault(run, 12);
        if (store_open(run->folder, &run->options, &run->store, &failure) == 0)
            break;
    }
    if (!run->store)
        fail_msg("seed %llu: %s", (unsigned long long)run->seed, failure.text);
    fault_vfs_plan(run->vfs, FAULT_NONE, 0, 0);
    if (fault_vfs_restarted(run->vfs)) { /* it stopped after the store had opened */
        store_close(run->store);
        run->store = NULL;
        RUN_DONE(run, store_open(run->folder, &run->options, &run->store, err));
    }
    if (prng_below(&run->prng, 2))
        RUN_DONE(run, store_reader_open(run->folder, &run->options, &run->bystander, err));
}

/* The machine stopped while the store had this transaction in its hands. */
static void restart(struct run *run, const struct model *after)
{
    close_all(run);
    open_store(run);
    if (store_next_tick(run->store) == after->tick + 1)
        run->model = *after;
    compare_all(run);
}

/* Asks until there is an answer. False: the machine stopped before there was one. */
static bool settle(struct run *run, const struct model *after)
{
    bool committed = false;
    struct error failure = {0};

    for (int try = 0; try < TRIES_MOST; try++) {
        if (try > 2)
            fault_vfs_plan(run->vfs, FAULT_NONE, 0, 0);
        else if (prng_below(&run->prng, 2))
            plan_fault(run, 4);
        int result = store_settle(run->store, after->tick, &committed, &failure);
        if (result == 0) {
            if (committed)
                run->model = *after;
            return true;
        }
        if (fault_vfs_restarted(run->vfs))
            return false;
    }
    fail_msg("seed %llu: cannot settle: %s", (unsigned long long)run->seed, failure.text);
    return false;
}

static void crash(struct run *run)
{
    close_all(run);
    open_store(run);
    compare_all(run);
}

static void commit_step(struct run *run)
{
    struct model after;
    struct error failure = {0};
    struct store_txn *txn = make_txn(run, &after);

    if (!run->steady && prng_below(&run->prng, 2))
        plan_fault(run, 10);
    int result = store_commit(run->store, txn, &failure);
    store_txn_destroy(txn);
    if (result == 0) {
        run->model = after;
    } else if (failure.code == ERR_UNKNOWN) {
        if (fault_vfs_restarted(run->vfs) || !settle(run, &after)) {
            restart(run, &after);
            return;
        }
        /* What it said has to hold even if the machine stops now. */
        if (prng_below(&run->prng, 2))
            crash(run);
        compare_all(run);
    } else {
        RUN_CHECK(run, failure.code == ERR_FULL || failure.code == ERR_IO);
    }
    if (prng_below(&run->prng, 3) == 0)
        store_checkpoint(run->store);
    if (!run->steady)
        fault_vfs_plan(run->vfs, FAULT_NONE, 0, 0);
    if (fault_vfs_restarted(run->vfs)) {
        close_all(run);
        open_store(run);
        compare_all(run);
    }
}

static void run_begin(struct run *run, const char *folder, uint64_t seed)
{
    *run = (struct run){.seed = seed, .prng = {seed}, .folder = folder};
    run->vfs = fault_vfs_create(vfs_name, seed ^ 0x5eed);
    run->options = (struct store_options){.vfs = vfs_name, .log_pages_due = 20};
}

static void run_end(struct run *run)
{
    close_all(run);
    fault_vfs_destroy(run->vfs);
}

static void run_seed(const char *folder, uint64_t seed)
{
    struct run run;
    run_begin(&run, folder, seed);
    open_store(&run);
    compare_all(&run);
    for (int step = 0; step < STEPS; step++) {
        uint64_t what = prng_below(&run.prng, 12);
        if (what == 0) {
            crash(&run);
        } else if (what == 1) {
            close_all(&run);
            open_store(&run);
            compare_all(&run);
        } else {
            commit_step(&run);
        }
    }
    crash(&run);
    run_end(&run);
}

/* The seeds to run come from the environment, so that a failing one can be run alone. */
static void random_faults_lose_nothing_and_lie_about_nothing(void **state)
{
    const char *first = getenv("MUSTER_STORE_SEED"), *count = getenv("MUSTER_STORE_SEEDS");
    uint64_t seed = first ? strtoull(first, NULL, 10) : 1;
    uint64_t end = seed + (count ? strtoull(count, NULL, 10) : first ? 1 : 250);
    for (; seed < end; seed++)
        run_seed(*state, seed);
}

/* Commits with one fault at the operation of that number. False: there were fewer operations. */
static bool run_with_fault_at(const char *folder, enum fault_kind kind, uint64_t number)
{
    struct run run;
    run_begin(&run, folder, 7);
    run.steady = true;
    RUN_DONE(&run, store_open(folder, &run.options, &run.store, err));
    uint64_t start = fault_vfs_operations(run.vfs);
    fault_vfs_plan(run.vfs, kind, number, 1);
    for (int step = 0; step < 3; step++)
        commit_step(&run);
    bool reached = fault_vfs_operations(run.vfs) > start + number;
    fault_vfs_plan(run.vfs, FAULT_NONE, 0, 0);
    crash(&run);
    run_end(&run);
    return reached;
}

static void a_fault_at_any_operation_of_a_commit_is_survived(void **state)
{
    static const enum fault_kind kinds[] = {FAULT_FULL, FAULT_IO, FAULT_CRASH};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        uint64_t number = 0;
        while (run_with_fault_at(*state, kinds[i], number))
            number++;
        assert_true(number > 20);
    }
}

/* Creates a store with one fault at the operation of that number. False as above. */
static bool create_with_fault_at(const char *folder, enum fault_kind kind, uint64_t number)
{
    struct run run;
    struct error failure;
    run_begin(&run, folder, number);
    fault_vfs_plan(run.vfs, kind, number, 1);
    int result = store_open(folder, &run.options, &run.store, &failure);
    bool reached = fault_vfs_operations(run.vfs) > number;
    if (result == 0)
        close_all(&run);
    open_store(&run);
    compare_all(&run);
    run_end(&run);
    return reached;
}

static void a_fault_while_a_store_is_made_is_survived(void **state)
{
    static const enum fault_kind kinds[] = {FAULT_FULL, FAULT_IO, FAULT_SYNC, FAULT_CRASH};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        uint64_t number = 0;
        while (create_with_fault_at(*state, kinds[i], number))
            number += 7;
        assert_true(number > 20);
    }
}

static int set_up(void **state)
{
    *state = test_folder();
    return 0;
}

static int tear_down(void **state)
{
    test_folder_remove(*state);
    return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_fault_at_any_operation_of_a_commit_is_survived),
        TEST(a_fault_while_a_store_is_made_is_survived),
        TEST(random_faults_lose_nothing_and_lie_about_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
