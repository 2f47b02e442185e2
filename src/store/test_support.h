/* What the store's tests share: a folder of their own, rows, and ways into the database. */
#pragma once

#include "core/rows.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A new folder, for the caller to give to test_folder_remove. */
char *test_folder(void);
void test_folder_remove(char *folder);
/* folder/name, valid until the next call. */
const char *test_path(const char *folder, const char *name);

/* Fail the test with the error's text. */
#define assert_done(call)                                                                          \
    do {                                                                                           \
        struct error done_ = {0};                                                                  \
        struct error *err = &done_;                                                                \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s: %s", #call, error_name(done_.code), done_.text);                     \
    } while (0)
#define assert_error(call, expected)                                                               \
    do {                                                                                           \
        struct error done_ = {0};                                                                  \
        struct error *err = &done_;                                                                \
        assert_int_equal((call), -1);                                                              \
        if (done_.code != (expected))                                                              \
            fail_msg("%s: expected %s, got %s: %s", #call, error_name(expected),                   \
                error_name(done_.code), done_.text);                                               \
    } while (0)

/* A transaction for the store's next tick. */
struct store_txn *test_txn(const struct store *store);
/* Commits and destroys it; the test fails when it cannot. */
void test_commit(struct store *store, struct store_txn *txn);

struct job_row test_job(uint64_t id, int32_t state);
struct symbol_row test_symbol(uint64_t id, const char *text);
void test_audit_event(struct store_txn *txn, int64_t at_ms, const char *action, const char *team);
/* Runs SQL on the database of a closed store, as somebody with an editor would. */
void test_tamper(const char *folder, const char *sql);

/* Whether all columns are the same. What lies between them in memory differs with the compiler. */
bool test_jobs_same(const struct job_row *one, const struct job_row *other);
