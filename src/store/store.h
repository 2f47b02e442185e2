/* The store: everything that has to be there after a crash, in one SQLite database.
 *
 * There are three things in it: the core's rows (one SQL table for each row type, made from its
 * columns), documents (JSON under a collection and a key: manifests, job specs, tokens, ..) and the
 * audit chain. One writer, whose every transaction carries (epoch, tick); and
 * readers, which see what is committed and never wait for the writer.
 *
 * Threads: a `struct store` is used by one thread at a time (the commit worker's, or the loop's
 * while no commit is under way). Each reader is used by one thread. A transaction is built on the
 * loop's thread and committed on the worker's. */
#pragma once

#include "base/error.h"
#include "base/strbuf.h"
#include "core/rows.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct store_txn;
struct store_reader;
struct store_backup;

/* The database's name in the store's folder. */
#define STORE_FILE "muster.db"

struct store_options {
    const char *vfs;   /* SQLite VFS to use; NULL: the system's. Tests name one that fails. */
    int log_pages_due; /* pages of log that make a checkpoint due; 0: 2000 (8 MB) */
};

/* ---- opening --------------------------------------------------------------------------- */

/* Opens (or creates) the store in the folder dir, takes the folder's lock, migrates its schema
 * forward (in one transaction), checks that it is whole, and begins a new epoch: the
 * stored epoch plus one, durably, before it returns. ERR_CONFLICT: another process has the lock;
 * ERR_CORRUPT; ERR_INVALID: the schema is newer than this program. */
MUST_CHECK int store_open(const char *dir, const struct store_options *options,
    struct store **ret_store, struct error *err);
void store_close(struct store *store); /* NULL is fine */
int64_t store_epoch(const struct store *store);

/* Visits every live row, by row kind and id ascending, as core_load_row wants them. Stops at the
 * first visit that returns -1 and returns -1 with its error. */
typedef int store_row_fn(void *context, enum row_kind kind, const void *row, struct error *err);
MUST_CHECK int store_load(
    struct store *store, store_row_fn *visit, void *context, struct error *err);

/* ---- writing --------------------------------------------------------------------------- */

/* A transaction in memory: nothing touches the disk before store_commit. Ticks ascend by one from
 * store_next_tick. All data is copied. */
struct store_txn *store_txn_create(int64_t epoch, int64_t tick);
void store_txn_destroy(struct store_txn *txn); /* NULL is fine */
int64_t store_next_tick(const struct store *store);

/* The row is new or changed, and live. */
void store_txn_put_row(struct store_txn *txn, enum row_kind kind, const void *row);
/* Writes the row for the last time: it stays readable and is not loaded again. */
void store_txn_retire_row(struct store_txn *txn, enum row_kind kind, const void *row);
void store_txn_delete_row(struct store_txn *txn, enum row_kind kind, uint64_t id);

/* A document: scope is a team's name or "". Keys of a collection are unique. */
void store_txn_put_document(struct store_txn *txn, const char *collection, const char *key,
    const char *scope, const char *json, int64_t at_ms);
void store_txn_delete_document(struct store_txn *txn, const char *collection, const char *key);

/* One event of the audit chain; detail is a JSON object or NULL, and holds no secret. */
struct audit_event {
    int64_t at_ms;
    const char *actor;  /* "root", a user's name, "scheduler", "engine:local" */
    const char *action; /* "job-submit" */
    const char *kind;   /* of the subject: "job" */
    const char *name;   /* of the subject */
    const char *team;   /* or "" */
    const char *detail;
};
void store_txn_audit(struct store_txn *txn, const struct audit_event *event);
bool store_txn_empty(const struct store_txn *txn);

/* Makes the transaction durable. 0: it is. -1 with ERR_UNKNOWN: it may be, whole, or not at all:
 * the store refuses to write until store_settle has said which. -1 with any other code: certainly
 * nothing of it is stored; ERR_FULL, ERR_IO, ERR_UNAVAILABLE, ERR_CORRUPT, or ERR_CONFLICT: epoch
 * and tick are not the next ones, somebody else leads. Blocks for as long as the disk does. */
MUST_CHECK int store_commit(struct store *store, struct store_txn *txn, struct error *err);
/* Closes and opens the database anew and says whether the transaction of that tick is in it, for
 * good: its answer outlives a stop of the machine. The epoch stays. -1: that cannot be found out
 * now, try again; ERR_CONFLICT: somebody else leads. Breaks a backup off. */
MUST_CHECK int store_settle(
    struct store *store, int64_t tick, bool *ret_committed, struct error *err);
/* Lets the write-ahead log be folded into the database when it is due; called between commits. */
void store_checkpoint(struct store *store);
/* Bytes the volume of the store still has for an ordinary user. */
int64_t store_free_bytes(const struct store *store);

/* ---- reading what is committed ----------------------------------------------------------- */

/* Opens a reader of the store in dir. ERR_NOT_FOUND, ERR_IO. */
MUST_CHECK int store_reader_open(const char *dir, const struct store_options *options,
    struct store_reader **ret, struct error *err);
void store_reader_close(struct store_reader *reader); /* NULL is fine */

/* Reads between these two see one moment of the store; without them, each read its own. A reader
 * left inside holds the write-ahead log back: leave soon. */
MUST_CHECK int reader_begin(struct store_reader *reader, struct error *err);
void reader_end(struct store_reader *reader);
/* The tick of the last transaction the reader sees. */
MUST_CHECK int reader_tick(struct store_reader *reader, int64_t *ret_tick, struct error *err);

/* A filter over a row table, ended or live. Conditions are ANDed; values compare as integers. */
struct row_condition {
    const char *column; /* of the type and not text, or "live" (1: not retired) */
    enum { ROW_EQUAL, ROW_LESS, ROW_GREATER } operation;
    int64_t value;
};
struct row_query {
    enum row_kind kind;
    const struct row_condition *conditions;
    size_t condition_count;
    bool descending; /* by id, as is the order */
    uint64_t after;  /* id to go on from; 0: from the start (or end) */
    size_t limit;    /* at most 100000; 0: 100 */
};
typedef int reader_row_fn(void *context, const void *row, struct error *err);
MUST_CHECK int reader_rows(struct store_reader *reader, const struct row_query *query,
    reader_row_fn *visit, void *context, struct error *err);
/* One row by id into ret_row (row_type(kind)->size bytes). ERR_NOT_FOUND. */
MUST_CHECK int reader_row(
    struct store_reader *reader, enum row_kind kind, uint64_t id, void *ret_row, struct error *err);
/* How many rows meet the query's conditions; its order, start and limit do not count. */
MUST_CHECK int reader_count(struct store_reader *reader, const struct row_query *query,
    int64_t *ret_count, struct error *err);

/* Charges that overlap [from_ms, to_ms), by id ascending, however many; 0 in a field: any. */
struct charge_filter {
    uint64_t team;
    uint64_t job;
    int64_t from_ms;
    int64_t to_ms;
};
typedef int reader_charge_fn(void *context, const struct charge_row *charge, struct error *err);
MUST_CHECK int reader_charges(struct store_reader *reader, const struct charge_filter *filter,
    reader_charge_fn *visit, void *context, struct error *err);

/* The text of a symbol, "" when there is none. It is cached: valid until READER_TEXTS others were
 * read, or the reader is closed. */
enum { READER_TEXTS = 16384 };
const char *reader_symbol(struct store_reader *reader, uint32_t symbol);

struct document {
    const char *key;
    const char *scope;
    const char *json;
    int64_t revision; /* the tick that wrote it */
    int64_t at_ms;
};
typedef int reader_document_fn(void *context, const struct document *document, struct error *err);
/* The document's JSON, the caller's to free. ERR_NOT_FOUND. */
MUST_CHECK int reader_document(struct store_reader *reader, const char *collection, const char *key,
    char **ret_json, int64_t *ret_revision, struct error *err);
/* Documents of a collection (of one scope when scope is not NULL), keys ascending in byte order
 * after `after` (NULL or "": from the start). limit: as in row_query. */
MUST_CHECK int reader_documents(struct store_reader *reader, const char *collection,
    const char *scope, const char *after, size_t limit, reader_document_fn *visit, void *context,
    struct error *err);
/* Documents of a collection whose keys begin with prefix, otherwise as reader_documents. */
MUST_CHECK int reader_documents_prefix(struct store_reader *reader, const char *collection,
    const char *prefix, const char *after, size_t limit, reader_document_fn *visit, void *context,
    struct error *err);

/* An event as it was stored. */
struct audit_record {
    int64_t sequence;
    struct audit_event event;
    int64_t tick;
    const char *hash; /* 64 hex digits */
};
typedef int reader_audit_fn(void *context, const struct audit_record *record, struct error *err);
/* Events after the sequence number `after`, or before it when descending (0: from the newest); of
 * one team when team is not NULL. limit: as in row_query. */
MUST_CHECK int reader_audit(struct store_reader *reader, int64_t after, const char *team,
    size_t limit, bool descending, reader_audit_fn *visit, void *context, struct error *err);
/* Recomputes the chain from its start or its last signed checkpoint. ERR_CORRUPT names the first
 * event that does not fit. ret_count (may be NULL): events checked. ERR_NOT_FOUND: there is a
 * checkpoint, and the key that signed it is gone. */
MUST_CHECK int reader_audit_verify(
    struct store_reader *reader, int64_t *ret_count, struct error *err);

/* ---- retention, backup -------------------------------------------------------------------- */

/* Adds to txn what removes the oldest audit events, up to the first that is not before the moment
 * and at most 100,000, leaving a checkpoint signed with the store's Ed25519 key (made at first use,
 * kept beside the database as audit.key with mode 0600). Called while no commit is under way.
 * ERR_NOT_FOUND: there is a checkpoint already, and the key is gone. */
MUST_CHECK int store_txn_audit_prune(
    struct store *store, struct store_txn *txn, int64_t before_ms, struct error *err);
/* Adds to txn what removes ended jobs that ended before the moment, at most `most` of them, the
 * longest ended first, with the rows that belong to them. Charges stay. Their documents go too:
 * those in collections named "job-..." under the key ID or ID/..., ID being the decimal id. */
void store_txn_jobs_prune(struct store_txn *txn, int64_t before_ms, int64_t most);
/* Adds to txn what removes one ended job in the same way; nothing happens when it is live. */
void store_txn_forget_job(struct store_txn *txn, uint64_t job);
/* Copies the database, whole and consistent, to a new file at path while the store is in use; goes
 * through the writer's connection. ERR_CONFLICT when path exists. */
MUST_CHECK int store_backup(struct store *store, const char *path, struct error *err);
/* The same in steps of a megabyte, for a server that has other things to do in between: any commits
 * may come between two steps, and are in the backup. One backup at a time: ERR_CONFLICT. The file
 * has its name once a step says done. A step after store_settle fails: begin again. */
MUST_CHECK int store_backup_begin(
    struct store *store, const char *path, struct store_backup **ret, struct error *err);
MUST_CHECK int store_backup_step(struct store_backup *backup, bool *ret_done, struct error *err);
/* Frees the backup, and removes what an unfinished one wrote. Comes before store_close. */
void store_backup_end(struct store *store, struct store_backup *backup); /* NULL is fine */
/* Puts a backup into a dir without a store after checking it, page by page, and its audit chain.
 * The store gets a key of its own. ERR_CONFLICT: there is a store; ERR_CORRUPT; ERR_INVALID: the
 * backup is of a newer version. */
MUST_CHECK int store_restore(const char *dir, const char *backup_path, struct error *err);
