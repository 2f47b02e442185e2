/* Backup while in use, and restore. */
#include "store/test_support.h"

#include "base/file.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { JOBS = 8000 };

struct fixture {
    char *folder;
    char *other;
    char *backup;
    struct store *store;
};

static int set_up(void **state)
{
    struct fixture *fixture = mem_alloc(1, sizeof *fixture);
    fixture->folder = test_folder();
    fixture->other = test_folder();
    fixture->backup = mem_strdup(test_path(fixture->other, "backup.db"));
    assert_done(store_open(fixture->folder, NULL, &fixture->store, err));
    struct store_txn *txn = test_txn(fixture->store);
    for (uint64_t id = 1; id <= JOBS; id++) {
        struct job_row job = test_job(id, JOB_QUEUED);
        store_txn_put_row(txn, ROW_JOB, &job);
        test_audit_event(txn, (int64_t)id, "job-submit", "red");
    }
    test_commit(fixture->store, txn);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    store_close(fixture->store);
    test_folder_remove(fixture->folder);
    test_folder_remove(fixture->other);
    free(fixture->backup);
    free(fixture);
    return 0;
}

static void commit_job(struct store *store, uint64_t id)
{
    struct store_txn *txn = test_txn(store);
    struct job_row job = test_job(id, JOB_QUEUED);
    store_txn_put_row(txn, ROW_JOB, &job);
    test_audit_event(txn, (int64_t)id, "job-submit", "red");
    test_commit(store, txn);
}

/* Opens the store in dir, checks its chain, counts its jobs, closes it. */
static int64_t count_jobs(const char *dir)
{
    struct store *store = NULL;
    struct store_reader *reader = NULL;
    int64_t count = 0, events = 0;
    assert_done(store_open(dir, NULL, &store, err));
    assert_done(store_reader_open(dir, NULL, &reader, err));
    assert_done(reader_count(reader, &(struct row_query){.kind = ROW_JOB}, &count, err));
    assert_done(reader_audit_verify(reader, &events, err));
    store_reader_close(reader);
    store_close(store);
    return count;
}

static const char *new_dir(const struct fixture *fixture)
{
    return test_path(fixture->other, "restored");
}

static void a_backup_restores_to_the_same_store(void **state)
{
    struct fixture *fixture = *state;
    struct stat st;
    assert_done(store_backup(fixture->store, fixture->backup, err));
    assert_int_equal(stat(fixture->backup, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(access(test_path(fixture->other, "backup.db.part"), F_OK), -1);
    assert_done(store_restore(new_dir(fixture), fixture->backup, err));
    assert_int_equal(count_jobs(new_dir(fixture)), JOBS);
}

static void commits_between_steps_are_in_the_backup(void **state)
{
    struct fixture *fixture = *state;
    struct store_backup *backup = NULL;
    bool done = false;
    uint64_t id = JOBS;

    assert_done(store_backup_begin(fixture->store, fixture->backup, &backup, err));
    while (!done) {
        assert_int_equal(access(fixture->backup, F_OK), -1);
        commit_job(fixture->store, ++id);
        store_checkpoint(fixture->store);
        assert_done(store_backup_step(backup, &done, err));
    }
    store_backup_end(fixture->store, backup);
    assert_true(id > JOBS + 1);
    assert_done(store_restore(new_dir(fixture), fixture->backup, err));
    assert_int_equal(count_jobs(new_dir(fixture)), (int64_t)id);
}

static void a_backup_never_replaces_a_file(void **state)
{
    struct fixture *fixture = *state;
    SCOPED(mem_scope) char *text = NULL;
    size_t size = 0;
    assert_done(file_write(fixture->backup, "mine", 4, 0600, err));
    assert_error(store_backup(fixture->store, fixture->backup, err), ERR_CONFLICT);
    assert_done(file_read(fixture->backup, 100, &text, &size, err));
    assert_string_equal(text, "mine");
}

static void there_is_one_backup_at_a_time_and_a_dropped_one_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct store_backup *backup = NULL, *second = NULL;
    bool done = false;
    assert_done(store_backup_begin(fixture->store, fixture->backup, &backup, err));
    assert_done(store_backup_step(backup, &done, err));
    assert_false(done);
    assert_error(store_backup_begin(fixture->store, fixture->backup, &second, err), ERR_CONFLICT);
    store_backup_end(fixture->store, backup);
    assert_int_equal(rmdir(fixture->other), 0); /* nothing is in it */
    assert_done(file_make_dirs(fixture->other, 0700, err));
}

static void settling_breaks_a_backup_off(void **state)
{
    struct fixture *fixture = *state;
    struct store_backup *backup = NULL;
    bool done = false, committed = false;
    assert_done(store_backup_begin(fixture->store, fixture->backup, &backup, err));
    assert_done(store_backup_step(backup, &done, err));
    assert_done(store_settle(fixture->store, 1, &committed, err));
    assert_error(store_backup_step(backup, &done, err), ERR_UNAVAILABLE);
    store_backup_end(fixture->store, backup);
    assert_done(store_backup(fixture->store, fixture->backup, err));
}

static void restoring_never_replaces_a_store(void **state)
{
    struct fixture *fixture = *state;
    assert_done(store_backup(fixture->store, fixture->backup, err));
    assert_error(store_restore(fixture->folder, fixture->backup, err), ERR_CONFLICT);
    assert_error(store_restore(new_dir(fixture), "/nonexistent/backup", err), ERR_NOT_FOUND);
}

static void a_damaged_backup_is_refused(void **state)
{
    struct fixture *fixture = *state;
    SCOPED(mem_scope) char *bytes = NULL;
    size_t size = 0;
    assert_done(store_backup(fixture->store, fixture->backup, err));
    assert_done(file_read(fixture->backup, 1 << 26, &bytes, &size, err));
    assert_done(file_write(fixture->backup, bytes, size / 2 & ~(size_t)4095, 0600, err));
    assert_error(store_restore(new_dir(fixture), fixture->backup, err), ERR_CORRUPT);
    assert_done(file_write(fixture->backup, "not a database, but text", 24, 0600, err));
    assert_error(store_restore(new_dir(fixture), fixture->backup, err), ERR_CORRUPT);
    assert_int_equal(access(test_path(fixture->other, "restored/" STORE_FILE), F_OK), -1);
}

static void a_backup_with_a_changed_event_is_refused(void **state)
{
    struct fixture *fixture = *state;
    assert_done(store_backup(fixture->store, fixture->backup, err));
    assert_int_equal(rename(fixture->backup, test_path(fixture->other, STORE_FILE)), 0);
    test_tamper(fixture->other, "UPDATE audit SET actor = 'nobody' WHERE sequence = 77");
    char *tampered = mem_strdup(test_path(fixture->other, STORE_FILE));
    assert_error(store_restore(new_dir(fixture), tampered, err), ERR_CORRUPT);
    free(tampered);
}

static void a_pruned_chain_is_signed_again_when_it_is_restored(void **state)
{
    struct fixture *fixture = *state;
    struct store_txn *txn = test_txn(fixture->store);
    assert_done(store_txn_audit_prune(fixture->store, txn, 100, err));
    test_commit(fixture->store, txn);
    assert_done(store_backup(fixture->store, fixture->backup, err));
    assert_done(store_restore(new_dir(fixture), fixture->backup, err));
    assert_int_equal(count_jobs(new_dir(fixture)), JOBS);
    struct stat st;
    assert_int_equal(stat(test_path(fixture->other, "restored/audit.key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_backup_restores_to_the_same_store),
        TEST(commits_between_steps_are_in_the_backup),
        TEST(a_backup_never_replaces_a_file),
        TEST(there_is_one_backup_at_a_time_and_a_dropped_one_leaves_nothing),
        TEST(settling_breaks_a_backup_off),
        TEST(restoring_never_replaces_a_store),
        TEST(a_damaged_backup_is_refused),
        TEST(a_backup_with_a_changed_event_is_refused),
        TEST(a_pruned_chain_is_signed_again_when_it_is_restored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
