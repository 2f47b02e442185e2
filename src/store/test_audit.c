/* The audit chain: whatever is done to it behind the store's back is found. */
#include "store/test_support.h"

#include "base/memory.h"
#include "store/audit.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EVENTS = 10 };

/* A closed store with EVENTS events at the moments 1000, 2000, .., two in each transaction. */
static int set_up(void **state)
{
    char *folder = test_folder();
    struct store *store = NULL;
    assert_done(store_open(folder, NULL, &store, err));
    for (int i = 1; i <= EVENTS; i += 2) {
        struct store_txn *txn = test_txn(store);
        test_audit_event(txn, i * 1000, "job-submit", "red");
        test_audit_event(txn, i * 1000 + 1000, "job-cancel", i % 4 == 1 ? "blue" : "");
        test_commit(store, txn);
    }
    store_close(store);
    *state = folder;
    return 0;
}

static int tear_down(void **state)
{
    test_folder_remove(*state);
    return 0;
}

static int verify(const char *folder, int64_t *ret_count, struct error *err)
{
    struct store_reader *reader = NULL;
    if (store_reader_open(folder, NULL, &reader, err) < 0)
        return -1;
    int result = reader_audit_verify(reader, ret_count, err);
    store_reader_close(reader);
    return result;
}

static void prune(const char *folder, int64_t before_ms)
{
    struct store *store = NULL;
    assert_done(store_open(folder, NULL, &store, err));
    struct store_txn *txn = test_txn(store);
    assert_done(store_txn_audit_prune(store, txn, before_ms, err));
    test_audit_event(txn, 99000, "audit-prune", "");
    test_commit(store, txn);
    store_close(store);
}

static void an_untouched_chain_is_whole(void **state)
{
    int64_t count = 0;
    assert_done(verify(*state, &count, err));
    assert_int_equal(count, EVENTS);
}

static void the_first_bad_event_is_named(void **state)
{
    static const struct {
        const char *sql;
        const char *named;
    } cases[] = {
        {"UPDATE audit SET actor = 'somebody' WHERE sequence = 4", "event 4 was changed"},
        {"UPDATE audit SET actor = 'rootj', action = 'ob-submit' WHERE sequence = 3",
            "event 3 was changed"},
        {"UPDATE audit SET detail = NULL WHERE sequence = 7", "event 7 was changed"},
        {"UPDATE audit SET tick = tick + 1 WHERE sequence = 1", "event 1 was changed"},
        {"UPDATE audit SET hash = zeroblob(32) WHERE sequence = 6", "event 6 was changed"},
        {"UPDATE audit SET hash = x'00' WHERE sequence = 5", "event 5 was changed"},
        {"DELETE FROM audit WHERE sequence = 5", "event 5 is missing"},
        {"DELETE FROM audit WHERE sequence < 3", "event 1 is missing"},
        {"DELETE FROM audit WHERE sequence > 8", "event 9 is missing"},
        {"INSERT INTO audit SELECT 11, tick, at_ms, actor, action, kind, name, team, detail, hash"
         " FROM audit WHERE sequence = 10",
            "event 11 was changed"},
        {"UPDATE fence SET audit_hash = zeroblob(32)", "event 10 is not the recorded end"},
        {"DELETE FROM audit", "event 1 is missing"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error failure = {0};
        void *other = NULL;
        set_up(&other);
        test_tamper(other, cases[i].sql);
        assert_int_equal(verify(other, NULL, &failure), -1);
        assert_int_equal(failure.code, ERR_CORRUPT);
        if (!strstr(failure.text, cases[i].named))
            fail_msg("%s: %s", cases[i].sql, failure.text);
        tear_down(&other);
    }
}

static void a_cut_off_end_is_found_at_opening(void **state)
{
    struct store *store = NULL;
    test_tamper(*state, "DELETE FROM audit WHERE sequence = 10");
    assert_error(store_open(*state, NULL, &store, err), ERR_CORRUPT);
}

static void pruning_leaves_a_signed_checkpoint_to_go_on_from(void **state)
{
    int64_t count = 0;
    struct stat st;
    prune(*state, 4500);
    assert_done(verify(*state, &count, err));
    assert_int_equal(count, EVENTS - 4 + 1);
    prune(*state, 5500);
    assert_done(verify(*state, &count, err));
    assert_int_equal(count, EVENTS - 5 + 2);
    assert_int_equal(stat(test_path(*state, "audit.key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void pruning_everything_and_nothing_keeps_the_chain(void **state)
{
    int64_t count = 0;
    prune(*state, 0);
    assert_done(verify(*state, &count, err));
    assert_int_equal(count, EVENTS + 1);
    prune(*state, 1000000);
    assert_done(verify(*state, &count, err));
    assert_int_equal(count, 1);
    prune(*state, 1000000);
    assert_done(verify(*state, &count, err));
    assert_int_equal(count, 1);
}

static void a_forged_checkpoint_is_found(void **state)
{
    static const char *const forgeries[] = {
        "UPDATE audit_checkpoint SET count = count + 1",
        "UPDATE audit_checkpoint SET at_ms = at_ms + 1",
        "UPDATE audit_checkpoint SET hash = zeroblob(32)",
        "UPDATE audit_checkpoint SET signature = zeroblob(64)",
        "UPDATE audit_checkpoint SET public_key = zeroblob(32)",
        "UPDATE audit_checkpoint SET signature = x'00'",
        "DELETE FROM audit_checkpoint",
        "DELETE FROM audit WHERE sequence = 5",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forgeries); i++) {
        void *other = NULL;
        set_up(&other);
        prune(other, 4500);
        test_tamper(other, forgeries[i]);
        assert_error(verify(other, NULL, err), ERR_CORRUPT);
        tear_down(&other);
    }
}

static void a_checkpoint_signed_with_another_key_is_refused(void **state)
{
    void *other = NULL;
    set_up(&other);
    prune(*state, 4500);
    prune(other, 4500);
    char *from = mem_strdup(test_path(other, "audit.key"));
    assert_int_equal(rename(from, test_path(*state, "audit.key")), 0);
    assert_error(verify(*state, NULL, err), ERR_CORRUPT);
    free(from);
    tear_down(&other);
}

static void a_lost_key_is_said_and_not_replaced(void **state)
{
    struct store *store = NULL;
    prune(*state, 4500);
    assert_int_equal(unlink(test_path(*state, "audit.key")), 0);
    assert_error(verify(*state, NULL, err), ERR_NOT_FOUND);
    assert_done(store_open(*state, NULL, &store, err));
    struct store_txn *txn = test_txn(store);
    assert_error(store_txn_audit_prune(store, txn, 6000, err), ERR_NOT_FOUND);
    assert_true(store_txn_empty(txn));
    store_txn_destroy(txn);
    store_close(store);
}

static int join_events(void *context, const struct audit_record *record, struct error *err)
{
    struct strbuf *events = context;
    (void)err;
    assert_int_equal(strlen(record->hash), 64);
    assert_string_equal(record->event.detail, "{\"size\":2}");
    strbuf_printf(events, "%lld/%lld ", (long long)record->sequence, (long long)record->tick);
    return 0;
}

static void events_are_read_by_team_and_in_pages(void **state)
{
    SCOPED(strbuf_finish) struct strbuf events = {0};
    struct store_reader *reader = NULL;
    assert_done(store_reader_open(*state, NULL, &reader, err));
    assert_done(reader_audit(reader, 3, NULL, 2, false, join_events, &events, err));
    assert_done(reader_audit(reader, 0, "blue", 2, true, join_events, &events, err));
    assert_done(reader_audit(reader, 6, "blue", 5, true, join_events, &events, err));
    assert_string_equal(strbuf_text(&events), "4/2 5/3 10/5 6/3 2/1 ");
    store_reader_close(reader);
}

/* Keeps the encoding from changing unnoticed: stored chains have to verify for ever. The bytes
 * are those that audit.h lays down. */
static void the_encoding_is_the_documented_one(void **state)
{
    struct audit_head head = {0};
    const struct audit_event event = {.at_ms = 1,
        .actor = "a",
        .action = "b",
        .kind = "c",
        .name = "d",
        .team = "",
        .detail = NULL};
    unsigned char bytes[14 + 32 + 24 + 4 * 5 + 4 + 4], expected[32], *at = bytes;
    (void)state;

    memcpy(at, "muster-audit-1", 14), at += 14;
    memset(at, 0, 32), at += 32;
    memcpy(at,
        "\0\0\0\0\0\0\0\1"
        "\0\0\0\0\0\0\0\5"
        "\0\0\0\0\0\0\0\1",
        24),
        at += 24;
    memcpy(at,
        "\0\0\0\1a"
        "\0\0\0\1b"
        "\0\0\0\1c"
        "\0\0\0\1d",
        20),
        at += 20;
    memcpy(at,
        "\0\0\0\0"
        "\xff\xff\xff\xff",
        8);
    crypto_hash_sha256(expected, bytes, sizeof bytes);
    audit_extend(&head, 5, &event);
    assert_int_equal(head.sequence, 1);
    assert_memory_equal(head.hash, expected, 32);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_untouched_chain_is_whole),
        TEST(the_first_bad_event_is_named),
        TEST(a_cut_off_end_is_found_at_opening),
        TEST(pruning_leaves_a_signed_checkpoint_to_go_on_from),
        TEST(pruning_everything_and_nothing_keeps_the_chain),
        TEST(a_forged_checkpoint_is_found),
        TEST(a_checkpoint_signed_with_another_key_is_refused),
        TEST(a_lost_key_is_said_and_not_replaced),
        TEST(events_are_read_by_team_and_in_pages),
        TEST(the_encoding_is_the_documented_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
