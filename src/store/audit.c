/* The audit chain: see audit.h for what is hashed.
 *
 * What verification can find: an event changed, removed, moved or put in anywhere; events cut off
 * at the end (the fence names the last one, in the same transaction); events cut off at the start
 * without a signature. What it cannot: a person who has the database and the key, and does it all
 * again. Who fears that keeps the head's hash somewhere else. */
#include "store/audit.h"

#include "base/file.h"
#include "base/memory.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

_Static_assert((int)AUDIT_HASH_BYTES == (int)crypto_hash_sha256_BYTES, "hash size");
_Static_assert((int)AUDIT_SIGNATURE_BYTES == (int)crypto_sign_BYTES, "signature size");
_Static_assert((int)AUDIT_PUBLIC_BYTES == (int)crypto_sign_PUBLICKEYBYTES, "key size");
_Static_assert(sizeof(((struct audit_key *)0)->secret) == crypto_sign_SECRETKEYBYTES, "key size");

static const char key_name[] = "audit.key";

static size_t put_number(unsigned char *out, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        out[i] = (unsigned char)(value >> (8 * (bytes - 1 - i)));
    return bytes;
}

static void hash_number(crypto_hash_sha256_state *state, uint64_t value, size_t bytes)
{
    unsigned char encoded[8];
    crypto_hash_sha256_update(state, encoded, put_number(encoded, value, bytes));
}

static void hash_text(crypto_hash_sha256_state *state, const char *text)
{
    if (!text) {
        hash_number(state, UINT32_MAX, 4);
        return;
    }
    size_t length = strlen(text);
    assert(length < UINT32_MAX);
    hash_number(state, length, 4);
    crypto_hash_sha256_update(state, (const unsigned char *)text, length);
}

void audit_extend(struct audit_head *head, int64_t tick, const struct audit_event *event)
{
    static const unsigned char domain[] = "muster-audit-1";
    crypto_hash_sha256_state state;

    assert(head->sequence < INT64_MAX);
    crypto_hash_sha256_init(&state);
    crypto_hash_sha256_update(&state, domain, sizeof domain - 1);
    crypto_hash_sha256_update(&state, head->hash, sizeof head->hash);
    hash_number(&state, (uint64_t)head->sequence + 1, 8);
    hash_number(&state, (uint64_t)tick, 8);
    hash_number(&state, (uint64_t)event->at_ms, 8);
    hash_text(&state, event->actor);
    hash_text(&state, event->action);
    hash_text(&state, event->kind);
    hash_text(&state, event->name);
    hash_text(&state, event->team);
    hash_text(&state, event->detail);
    crypto_hash_sha256_final(&state, head->hash);
    head->sequence++;
}

/* ---- the key and the checkpoint ---------------------------------------------------------- */

static int key_make(const char *path, struct audit_key *key, struct error *err)
{
    if (sodium_init() < 0)
        return error_set(err, ERR_UNAVAILABLE, "no source of randomness for the audit key");
    crypto_sign_keypair(key->public, key->secret);
    return file_write(path, key->secret, sizeof key->secret, 0600, err);
}

int audit_key_load(const char *dir, bool create, struct audit_key *ret_key, struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf path = {0};
    SCOPED(mem_scope) char *secret = NULL;
    size_t size = 0;
    struct error failure = {0};

    strbuf_printf(&path, "%s/%s", dir, key_name);
    if (file_read(path.text, sizeof ret_key->secret, &secret, &size, &failure) < 0) {
        if (failure.code == ERR_NOT_FOUND && create)
            return key_make(path.text, ret_key, err);
        return error_set(err, failure.code, "the audit key: %s", failure.text);
    }
    if (size != sizeof ret_key->secret)
        return error_set(err, ERR_CORRUPT, "%s is not an audit key", path.text);
    memcpy(ret_key->secret, secret, size);
    crypto_sign_ed25519_sk_to_pk(ret_key->public, ret_key->secret);
    sodium_memzero(secret, size);
    return 0;
}

enum { CHECKPOINT_TEXT_BYTES = 19 + 3 * 8 + AUDIT_HASH_BYTES };

static void checkpoint_encode(
    const struct audit_checkpoint *checkpoint, unsigned char out[CHECKPOINT_TEXT_BYTES])
{
    memcpy(out, "muster-checkpoint-1", 19);
    size_t at = 19;
    at += put_number(out + at, (uint64_t)checkpoint->last.sequence, 8);
    at += put_number(out + at, (uint64_t)checkpoint->at_ms, 8);
    at += put_number(out + at, (uint64_t)checkpoint->count, 8);
    memcpy(out + at, checkpoint->last.hash, AUDIT_HASH_BYTES);
    assert(at + AUDIT_HASH_BYTES == CHECKPOINT_TEXT_BYTES);
}

/* Copies a blob of exactly size bytes. */
static int read_blob(
    sqlite3_stmt *statement, int column, unsigned char *out, size_t size, struct error *err)
{
    const void *bytes = sqlite3_column_blob(statement, column);
    if (!bytes || (size_t)sqlite3_column_bytes(statement, column) != size)
        return error_set(err, ERR_CORRUPT, "the audit chain has a value of a wrong size");
    memcpy(out, bytes, size);
    return 0;
}

int audit_checkpoint_read(sqlite3 *db, struct audit_checkpoint *ret_checkpoint, struct error *err)
{
    SCOPED(sql_statement_scope) sqlite3_stmt *statement = NULL;
    struct audit_checkpoint checkpoint = {0};

    if (sql_prepare(db,
            "SELECT sequence, hash, at_ms, count, public_key, signature FROM audit_checkpoint",
            &statement, err) < 0)
        return -1;
    int more = sql_next(statement, err);
    if (more == 0)
        return error_set(err, ERR_NOT_FOUND, "the audit chain has no checkpoint");
    if (more < 0 ||
        read_blob(statement, 1, checkpoint.last.hash, sizeof checkpoint.last.hash, err) < 0 ||
        read_blob(statement, 4, checkpoint.public, sizeof checkpoint.public, err) < 0 ||
        read_blob(statement, 5, checkpoint.signature, sizeof checkpoint.signature, err) < 0)
        return -1;
    checkpoint.last.sequence = sqlite3_column_int64(statement, 0);
    checkpoint.at_ms = sqlite3_column_int64(statement, 2);
    checkpoint.count = sqlite3_column_int64(statement, 3);
    *ret_checkpoint = checkpoint;
    return 0;
}

int audit_checkpoint_write(sqlite3 *db, struct audit_checkpoint *checkpoint,
    const struct audit_key *key, struct error *err)
{
    SCOPED(sql_statement_scope) sqlite3_stmt *statement = NULL;
    unsigned char text[CHECKPOINT_TEXT_BYTES];

    assert(checkpoint->last.sequence > 0);
    memcpy(checkpoint->public, key->public, sizeof checkpoint->public);
    checkpoint_encode(checkpoint, text);
    crypto_sign_detached(checkpoint->signature, NULL, text, sizeof text, key->secret);
    if (sql_prepare(db, "INSERT OR REPLACE INTO audit_checkpoint VALUES(1, ?, ?, ?, ?, ?, ?)",
            &statement, err) < 0)
        return -1;
    sqlite3_bind_int64(statement, 1, checkpoint->last.sequence);
    sqlite3_bind_blob(statement, 2, checkpoint->last.hash, AUDIT_HASH_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 3, checkpoint->at_ms);
    sqlite3_bind_int64(statement, 4, checkpoint->count);
    sqlite3_bind_blob(statement, 5, checkpoint->public, AUDIT_PUBLIC_BYTES, SQLITE_STATIC);
    sqlite3_bind_blob(statement, 6, checkpoint->signature, AUDIT_SIGNATURE_BYTES, SQLITE_STATIC);
    return sql_run(statement, err);
}

static int checkpoint_verify(
    const struct audit_checkpoint *checkpoint, const unsigned char *public_key, struct error *err)
{
    unsigned char text[CHECKPOINT_TEXT_BYTES];
    checkpoint_encode(checkpoint, text);
    if (public_key && memcmp(public_key, checkpoint->public, AUDIT_PUBLIC_BYTES) != 0)
        return error_set(err, ERR_CORRUPT,
            "the checkpoint of the audit chain is not signed with this store's key");
    if (crypto_sign_verify_detached(checkpoint->signature, text, sizeof text, checkpoint->public) !=
        0)
        return error_set(err, ERR_CORRUPT,
            "the signature of the audit chain's checkpoint at event %lld is wrong",
            (long long)checkpoint->last.sequence);
    return 0;
}

/* The checkpoint as the point to go on from; without one, the beginning. */
static int checkpoint_or_start(sqlite3 *db, struct audit_checkpoint *checkpoint, struct error *err)
{
    struct error failure = {0};
    memset(checkpoint, 0, sizeof *checkpoint);
    if (audit_checkpoint_read(db, checkpoint, &failure) == 0 || failure.code == ERR_NOT_FOUND)
        return 0;
    return error_set(err, failure.code, "%s", failure.text);
}

/* ---- pruning ----------------------------------------------------------------------------- */

/* The last event to remove: the one before the first that is to stay, within the bound. */
static int prune_end(sqlite3 *db, int64_t first, int64_t before_ms, int64_t most, int64_t *ret_end,
    struct error *err)
{
    SCOPED(sql_statement_scope) sqlite3_stmt *statement = NULL;
    if (sql_prepare(db,
            "SELECT coalesce("
            " (SELECT sequence - 1 FROM audit WHERE at_ms >= ?1 AND sequence >= ?2"
            "   AND sequence < ?2 + ?3 ORDER BY sequence LIMIT 1),"
            " min((SELECT max(sequence) FROM audit), ?2 + ?3 - 1))",
            &statement, err) < 0)
        return -1;
    sqlite3_bind_int64(statement, 1, before_ms);
    sqlite3_bind_int64(statement, 2, first);
    sqlite3_bind_int64(statement, 3, most);
    if (sql_next(statement, err) < 0)
        return -1;
    *ret_end = sqlite3_column_int64(statement, 0);
    return 0;
}

static int prune_read_last(
    sqlite3 *db, int64_t sequence, struct audit_checkpoint *checkpoint, struct error *err)
{
    SCOPED(sql_statement_scope) sqlite3_stmt *statement = NULL;
    if (sql_prepare(db, "SELECT at_ms, hash FROM audit WHERE sequence = ?", &statement, err) < 0)
        return -1;
    sqlite3_bind_int64(statement, 1, sequence);
    int more = sql_next(statement, err);
    if (more == 0)
        return error_set(err, ERR_CORRUPT, "audit event %lld is missing", (long long)sequence);
    if (more < 0 ||
        read_blob(statement, 1, checkpoint->last.hash, sizeof checkpoint->last.hash, err) < 0)
        return -1;
    checkpoint->at_ms = sqlite3_column_int64(statement, 0);
    checkpoint->last.sequence = sequence;
    return 0;
}

static int prune_delete(sqlite3 *db, int64_t end, struct error *err)
{
    SCOPED(sql_statement_scope) sqlite3_stmt *statement = NULL;
    if (sql_prepare(db, "DELETE FROM audit WHERE sequence <= ?", &statement, err) < 0)
        return -1;
    sqlite3_bind_int64(statement, 1, end);
    return sql_run(statement, err);
}

int audit_prune(
    sqlite3 *db, int64_t before_ms, int64_t most, const struct audit_key *key, struct error *err)
{
    struct audit_checkpoint checkpoint;
    int64_t first = 0, end = 0;

    assert(most > 0);
    if (checkpoint_or_start(db, &checkpoint, err) < 0)
        return -1;
    first = checkpoint.last.sequence + 1;
    if (prune_end(db, first, before_ms, most, &end, err) < 0)
        return -1;
    if (end < first)
        return 0;
    checkpoint.count += end - checkpoint.last.sequence;
    if (prune_read_last(db, end, &checkpoint, err) < 0 || prune_delete(db, end, err) < 0)
        return -1;
    return audit_checkpoint_write(db, &checkpoint, key, err);
}

/* ---- verifying --------------------------------------------------------------------------- */

static int read_fence_head(sqlite3 *db, struct audit_head *head, struct error *err)
{
    SCOPED(sql_statement_scope) sqlite3_stmt *statement = NULL;
    if (sql_prepare(db, "SELECT audit_sequence, audit_hash FROM fence", &statement, err) < 0)
        return -1;
    int more = sql_next(statement, err);
    if (more == 0)
        return error_set(err, ERR_CORRUPT, "the store has no fence");
    if (more < 0 || read_blob(statement, 1, head->hash, sizeof head->hash, err) < 0)
        return -1;
    head->sequence = sqlite3_column_int64(statement, 0);
    return 0;
}

struct audit_event audit_event_read(sqlite3_stmt *statement)
{
    return (struct audit_event){
        .at_ms = sqlite3_column_int64(statement, 2),
        .actor = sql_text(statement, 3),
        .action = sql_text(statement, 4),
        .kind = sql_text(statement, 5),
        .name = sql_text(statement, 6),
        .team = sql_text(statement, 7),
        .detail = (const char *)sqlite3_column_text(statement, 8),
    };
}

/* Checks one event against the head before it, and moves head on. */
static int verify_event(sqlite3_stmt *statement, struct audit_head *head, struct error *err)
{
    const struct audit_event event = audit_event_read(statement);
    int64_t sequence = sqlite3_column_int64(statement, 0);
    unsigned char stored[AUDIT_HASH_BYTES];

    if (sequence != head->sequence + 1)
        return error_set(err, ERR_CORRUPT, "audit event %lld is missing: event %lld follows %lld",
            (long long)head->sequence + 1, (long long)sequence, (long long)head->sequence);
    audit_extend(head, sqlite3_column_int64(statement, 1), &event);
    if (read_blob(statement, 9, stored, sizeof stored, err) < 0 ||
        memcmp(stored, head->hash, sizeof stored) != 0)
        return error_set(err, ERR_CORRUPT, "audit event %lld was changed: it does not fit its hash",
            (long long)sequence);
    return 0;
}

static int verify_events(sqlite3 *db, struct audit_head *head, struct error *err)
{
    SCOPED(sql_statement_scope) sqlite3_stmt *statement = NULL;
    int more;

    if (sql_prepare(db, AUDIT_COLUMNS " ORDER BY sequence", &statement, err) < 0)
        return -1;
    while ((more = sql_next(statement, err)) > 0)
        if (verify_event(statement, head, err) < 0)
            return -1;
    return more;
}

static int verify_end(
    const struct audit_head *head, const struct audit_head *fence, struct error *err)
{
    if (head->sequence < fence->sequence)
        return error_set(err, ERR_CORRUPT,
            "audit event %lld is missing: the chain ends before its recorded end, event %lld",
            (long long)head->sequence + 1, (long long)fence->sequence);
    if (head->sequence > fence->sequence || memcmp(head->hash, fence->hash, AUDIT_HASH_BYTES) != 0)
        return error_set(err, ERR_CORRUPT,
            "audit event %lld is not the recorded end of the chain, event %lld",
            (long long)head->sequence, (long long)fence->sequence);
    return 0;
}

static int verify_snapshot(
    sqlite3 *db, const unsigned char *public_key, int64_t *ret_count, struct error *err)
{
    struct audit_checkpoint checkpoint;
    struct audit_head fence;

    if (read_fence_head(db, &fence, err) < 0 || checkpoint_or_start(db, &checkpoint, err) < 0)
        return -1;
    if (checkpoint.last.sequence > 0 && checkpoint_verify(&checkpoint, public_key, err) < 0)
        return -1;
    struct audit_head head = checkpoint.last;
    if (verify_events(db, &head, err) < 0 || verify_end(&head, &fence, err) < 0)
        return -1;
    *ret_count = head.sequence - checkpoint.last.sequence;
    return 0;
}

int audit_verify(
    sqlite3 *db, const unsigned char *public_key, int64_t *ret_count, struct error *err)
{
    int64_t count = 0;
    assert(db);
    if (sql_exec(db, "BEGIN", err) < 0)
        return -1;
    int result = verify_snapshot(db, public_key, &count, err);
    (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    if (result == 0 && ret_count)
        *ret_count = count;
    return result;
}

int audit_verify_head(sqlite3 *db, struct audit_head *ret_head, struct error *err)
{
    SCOPED(sql_statement_scope) sqlite3_stmt *statement = NULL;
    struct audit_checkpoint checkpoint;
    struct audit_head fence;

    assert(db && ret_head);
    if (read_fence_head(db, &fence, err) < 0 || checkpoint_or_start(db, &checkpoint, err) < 0 ||
        sql_prepare(db, "SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1",
            &statement, err) < 0)
        return -1;
    struct audit_head last = checkpoint.last;
    int more = sql_next(statement, err);
    if (more < 0)
        return -1;
    if (more > 0) {
        last.sequence = sqlite3_column_int64(statement, 0);
        if (read_blob(statement, 1, last.hash, sizeof last.hash, err) < 0)
            return -1;
    }
    if (verify_end(&last, &fence, err) < 0)
        return -1;
    *ret_head = fence;
    return 0;
}
