/* The audit chain: each event's hash covers the event and the hash before it.
 *
 * hash(n) = SHA-256("muster-audit-1", hash(n-1), sequence, tick, at_ms, and then actor, action,
 * kind, name, team, detail). Numbers are 8 bytes, big end first. Each text is its length in 4 such
 * bytes and its bytes; a detail that is NULL is the length 0xffffffff alone. hash(0) is zeros.
 *
 * Where events were pruned, a checkpoint stands for them: {sequence, hash, at_ms, count} of the
 * last one removed, signed with the store's Ed25519 key. */
#pragma once

#include "store/sql.h"
#include "store/store.h"

enum { AUDIT_HASH_BYTES = 32, AUDIT_SIGNATURE_BYTES = 64, AUDIT_PUBLIC_BYTES = 32 };

/* The end of the chain. Sequence 0 with a hash of zeros: no event yet. */
struct audit_head {
    int64_t sequence;
    unsigned char hash[AUDIT_HASH_BYTES];
};

struct audit_key {
    unsigned char secret[64];
    unsigned char public[AUDIT_PUBLIC_BYTES];
};

struct audit_checkpoint {
    struct audit_head last; /* the last event removed */
    int64_t at_ms;          /* its moment */
    int64_t count;          /* events removed since the beginning */
    unsigned char public[AUDIT_PUBLIC_BYTES];
    unsigned char signature[AUDIT_SIGNATURE_BYTES];
};

/* The columns of the table of events, in the order that audit_event_read goes by. */
#define AUDIT_COLUMNS                                                                              \
    "SELECT sequence, tick, at_ms, actor, action, kind, name, team, detail, hash FROM audit"

/* The event in a row of AUDIT_COLUMNS; its texts last until the statement moves on. */
struct audit_event audit_event_read(sqlite3_stmt *statement);
/* Moves head on by one event. */
void audit_extend(struct audit_head *head, int64_t tick, const struct audit_event *event);

/* The key in dir. create: makes it (mode 0600) when there is none. ERR_NOT_FOUND, ERR_CORRUPT. */
MUST_CHECK int audit_key_load(
    const char *dir, bool create, struct audit_key *ret_key, struct error *err);
/* The checkpoint of the database. ERR_NOT_FOUND: nothing was pruned yet. */
MUST_CHECK int audit_checkpoint_read(
    sqlite3 *db, struct audit_checkpoint *ret_checkpoint, struct error *err);
/* Signs and writes the checkpoint in the place of the last one. */
MUST_CHECK int audit_checkpoint_write(sqlite3 *db, struct audit_checkpoint *checkpoint,
    const struct audit_key *key, struct error *err);

/* Removes events from the oldest up to the first that happened at before_ms or later, at most
 * `most`, and signs a checkpoint of the last one. Runs inside the caller's transaction. */
MUST_CHECK int audit_prune(
    sqlite3 *db, int64_t before_ms, int64_t most, const struct audit_key *key, struct error *err);

/* Verifies the whole chain of one snapshot: signature, every event, and that the last is the one
 * the fence names. public_key: whose the checkpoint has to be; NULL: its own. ERR_CORRUPT. */
MUST_CHECK int audit_verify(
    sqlite3 *db, const unsigned char *public_key, int64_t *ret_count, struct error *err);
/* Verifies only that the fence names the last event there is: what an opening can afford. */
MUST_CHECK int audit_verify_head(sqlite3 *db, struct audit_head *ret_head, struct error *err);
