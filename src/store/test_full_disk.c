/* A disk that is really full: nothing of the transaction is stored, all before it is, and the store
 * goes on once there is room. On a small tmpfs where we may mount one; under a limit on file sizes
 * everywhere. */
#include "store/test_support.h"

#include "base/file.h"
#include "base/memory.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DISK_BYTES = 4 << 20, BALLAST_BYTES = 2 << 20, DOCUMENT_BYTES = 40000, TRIES_MOST = 400 };

static int commit_document(struct store *store, int number, struct error *err)
{
    SCOPED(mem_scope) char *json = mem_alloc(DOCUMENT_BYTES + 1, 1);
    char key[16];
    struct store_txn *txn = test_txn(store);

    memset(json, 'x', DOCUMENT_BYTES);
    snprintf(key, sizeof key, "%06d", number);
    store_txn_put_document(txn, "ballast", key, "", json, number);
    test_audit_event(txn, number, "put", "");
    int result = store_commit(store, txn, err);
    store_txn_destroy(txn);
    return result;
}

/* Commits until the disk is full; returns how many were answered as stored. */
static int fill(struct store *store, int from)
{
    struct error failure = {0};
    for (int i = from; i < from + TRIES_MOST; i++) {
        if (commit_document(store, i, &failure) == 0)
            continue;
        if (failure.code != ERR_FULL)
            fail_msg("%s: %s", error_name(failure.code), failure.text);
        return i;
    }
    fail_msg("the disk never filled up");
    return -1;
}

static int count_document(void *context, const struct document *document, struct error *err)
{
    int *count = context;
    (void)err;
    assert_int_equal(atoi(document->key), *count);
    assert_int_equal(strlen(document->json), DOCUMENT_BYTES);
    ++*count;
    return 0;
}

static void assert_documents(const char *folder, int expected)
{
    struct store_reader *reader = NULL;
    int count = 0;
    int64_t events = 0;
    assert_done(store_reader_open(folder, NULL, &reader, err));
    assert_done(
        reader_documents(reader, "ballast", NULL, NULL, 10000, count_document, &count, err));
    assert_int_equal(count, expected);
    assert_done(reader_audit_verify(reader, &events, err));
    assert_int_equal(events, expected);
    store_reader_close(reader);
}

/* A tmpfs of DISK_BYTES that only this process sees. */
static bool mount_small_disk(const char *folder)
{
    char options[64];
    snprintf(options, sizeof options, "size=%d,mode=0700", (int)DISK_BYTES);
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", folder, "tmpfs", 0, options) == 0;
}

static void a_full_disk_stores_nothing_and_passes(void **state)
{
    const char *folder = *state;
    struct store *store = NULL;
    if (!mount_small_disk(folder))
        skip();
    char *ballast = mem_alloc(BALLAST_BYTES, 1);
    assert_done(file_write(test_path(folder, "ballast"), ballast, BALLAST_BYTES, 0600, err));
    free(ballast);
    assert_done(store_open(folder, NULL, &store, err));
    int stored = fill(store, 0);
    assert_true(stored > 0);
    assert_true(store_free_bytes(store) < DOCUMENT_BYTES * 3);
    assert_documents(folder, stored);
    assert_int_equal(fill(store, stored), stored); /* and again: it still says so */
    assert_int_equal(unlink(test_path(folder, "ballast")), 0);
    for (int i = stored; i < stored + 5; i++)
        assert_done(commit_document(store, i, err));
    assert_documents(folder, stored + 5);
    store_close(store);
    assert_done(store_open(folder, NULL, &store, err));
    assert_documents(folder, stored + 5);
    store_close(store);
    assert_int_equal(umount2(folder, MNT_DETACH), 0);
}

static void limit_file_bytes(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_limit_on_file_sizes_is_a_full_disk(void **state)
{
    const char *folder = *state;
    struct store *store = NULL;
    struct rlimit before;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_done(store_open(folder, NULL, &store, err));
    limit_file_bytes(DISK_BYTES);
    int stored = fill(store, 0);
    limit_file_bytes(before.rlim_cur);
    assert_true(stored > 0);
    assert_documents(folder, stored);
    assert_done(commit_document(store, stored, err));
    store_close(store);
    assert_done(store_open(folder, NULL, &store, err));
    assert_documents(folder, stored + 1);
    store_close(store);
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
        TEST(a_limit_on_file_sizes_is_a_full_disk),
        TEST(a_full_disk_stores_nothing_and_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
