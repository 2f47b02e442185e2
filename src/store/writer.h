/* The writer: the one connection that changes the database, and its prepared statements. */
#pragma once

#include "store/audit.h"
#include "store/sql.h"
#include "store/txn.h"

struct writer;

/* Opens the database for writing. -1: as sql_error. */
MUST_CHECK int writer_open(
    const char *path, const char *vfs, struct writer **ret, struct error *err);
void writer_close(struct writer *writer); /* NULL is fine */
sqlite3 *writer_database(struct writer *writer);

/* Writes the transaction and commits it. head is the audit chain's end, and is moved on when it is
 * committed. key may be NULL when nothing of the transaction prunes the chain.
 * -1: nothing is stored, or, with ERR_UNKNOWN alone, it is not known whether everything is. */
MUST_CHECK int writer_commit(struct writer *writer, const struct store_txn *txn,
    struct audit_head *head, const struct audit_key *key, struct error *err);
/* Commits a change of the fence alone, on condition that its epoch is this one. ERR_CONFLICT. */
MUST_CHECK int writer_touch_fence(struct writer *writer, int64_t epoch, struct error *err);
/* False when the connection is not fit for another transaction and has to be opened anew. */
bool writer_usable(const struct writer *writer);

/* Pages that came to the write-ahead log since a checkpoint was last tried. */
int writer_log_pages(const struct writer *writer);
/* Folds what no reader holds back into the database. Failing is harmless: it is tried again. */
void writer_checkpoint(struct writer *writer);
