/* Reading documents and audit events. Keys compare byte by byte, in SQL as in C. */
#include "store/audit.h"
#include "store/reader.h"

#include "base/memory.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#define DOCUMENT_COLUMNS "SELECT key, scope, json, revision, at_ms FROM document"

int reader_document(struct store_reader *reader, const char *collection, const char *key,
    char **ret_json, int64_t *ret_revision, struct error *err)
{
    SCOPED(sql_reset_scope) sqlite3_stmt *statement = NULL;

    assert(reader && collection && key && ret_json);
    if (reader_statement(
            reader, DOCUMENT_COLUMNS " WHERE collection = ? AND key = ?", &statement, err) < 0)
        return -1;
    sql_bind_text(statement, 1, collection);
    sql_bind_text(statement, 2, key);
    int more = sql_next(statement, err);
    if (more == 0)
        return error_set(err, ERR_NOT_FOUND, "there is no %s %s", collection, key);
    if (more < 0)
        return -1;
    *ret_json = mem_strdup(sql_text(statement, 2));
    if (ret_revision)
        *ret_revision = sqlite3_column_int64(statement, 3);
    return 0;
}

static int visit_documents(
    sqlite3_stmt *statement, reader_document_fn *visit, void *context, struct error *err)
{
    int more;
    while ((more = sql_next(statement, err)) > 0) {
        const struct document document = {
            .key = sql_text(statement, 0),
            .scope = sql_text(statement, 1),
            .json = sql_text(statement, 2),
            .revision = sqlite3_column_int64(statement, 3),
            .at_ms = sqlite3_column_int64(statement, 4),
        };
        if (visit(context, &document, err) < 0)
            return -1;
    }
    return more;
}

int reader_documents(struct store_reader *reader, const char *collection, const char *scope,
    const char *after, size_t limit, reader_document_fn *visit, void *context, struct error *err)
{
    SCOPED(sql_reset_scope) sqlite3_stmt *statement = NULL;
    /* The index by scope leaves out the empty scope; saying so lets SQLite use it. */
    const char *sql =
        !scope ? DOCUMENT_COLUMNS " WHERE collection = ?1 AND key > ?2 ORDER BY key LIMIT ?3"
        : !*scope
            ? DOCUMENT_COLUMNS " WHERE collection = ?1 AND key > ?2 AND scope = '' ORDER BY key"
                               " LIMIT ?3"
            : DOCUMENT_COLUMNS " WHERE collection = ?1 AND key > ?2 AND scope = ?4 AND scope <> ''"
                               " ORDER BY key LIMIT ?3";

    assert(reader && collection && visit);
    if (reader_statement(reader, sql, &statement, err) < 0)
        return -1;
    sql_bind_text(statement, 1, collection);
    sql_bind_text(statement, 2, after ? after : "");
    sqlite3_bind_int64(statement, 3, reader_limit(limit));
    if (scope && *scope)
        sql_bind_text(statement, 4, scope);
    return visit_documents(statement, visit, context, err);
}

/* The least text above all that begin with prefix; NULL when there is none. The caller frees it. */
static char *prefix_end(const char *prefix)
{
    char *end = mem_strdup(prefix);
    for (size_t length = strlen(end); length > 0; length--) {
        unsigned char last = (unsigned char)end[length - 1];
        end[length - 1] = (char)(last + 1);
        if (last < 0xff)
            return end;
        end[length - 1] = '\0';
    }
    free(end);
    return NULL;
}

int reader_documents_prefix(struct store_reader *reader, const char *collection, const char *prefix,
    const char *after, size_t limit, reader_document_fn *visit, void *context, struct error *err)
{
    SCOPED(sql_reset_scope) sqlite3_stmt *statement = NULL;
    SCOPED(mem_scope) char *end = prefix_end(prefix);

    assert(reader && collection && prefix && visit);
    if (!end)
        return reader_documents(reader, collection, NULL, after, limit, visit, context, err);
    if (reader_statement(reader,
            DOCUMENT_COLUMNS " WHERE collection = ?1 AND key >= ?2 AND key < ?3 AND key > ?4"
                             " ORDER BY key LIMIT ?5",
            &statement, err) < 0)
        return -1;
    sql_bind_text(statement, 1, collection);
    sql_bind_text(statement, 2, prefix);
    sql_bind_text(statement, 3, end);
    sql_bind_text(statement, 4, after ? after : "");
    sqlite3_bind_int64(statement, 5, reader_limit(limit));
    return visit_documents(statement, visit, context, err);
}

/* ---- audit --------------------------------------------------------------------------------------
 */

/* By whether it descends and whether it is of one team. */
static const char *const audit_sql[2][2] = {
    {AUDIT_COLUMNS " WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
        AUDIT_COLUMNS " WHERE sequence > ?1 AND team = ?3 AND team <> '' ORDER BY sequence"
                      " LIMIT ?2"},
    {AUDIT_COLUMNS " WHERE sequence < ?1 ORDER BY sequence DESC LIMIT ?2",
        AUDIT_COLUMNS " WHERE sequence < ?1 AND team = ?3 AND team <> '' ORDER BY sequence DESC"
                      " LIMIT ?2"},
};

static int visit_audit(
    sqlite3_stmt *statement, reader_audit_fn *visit, void *context, struct error *err)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    char hex[sizeof hash * 2 + 1];

    if (sqlite3_column_bytes(statement, 9) != (int)sizeof hash)
        return error_set(err, ERR_CORRUPT, "an audit event has a hash of a wrong size");
    memcpy(hash, sqlite3_column_blob(statement, 9), sizeof hash);
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    const struct audit_record record = {
        .sequence = sqlite3_column_int64(statement, 0),
        .tick = sqlite3_column_int64(statement, 1),
        .event = audit_event_read(statement),
        .hash = hex,
    };
    return visit(context, &record, err);
}

int reader_audit(struct store_reader *reader, int64_t after, const char *team, size_t limit,
    bool descending, reader_audit_fn *visit, void *context, struct error *err)
{
    SCOPED(sql_reset_scope) sqlite3_stmt *statement = NULL;
    bool one_team = team && *team;
    int more;

    assert(reader && visit);
    if (reader_statement(reader, audit_sql[descending][one_team], &statement, err) < 0)
        return -1;
    sqlite3_bind_int64(statement, 1, descending && after == 0 ? INT64_MAX : after);
    sqlite3_bind_int64(statement, 2, reader_limit(limit));
    if (one_team)
        sql_bind_text(statement, 3, team);
    while ((more = sql_next(statement, err)) > 0)
        if (visit_audit(statement, visit, context, err) < 0)
            return -1;
    return more;
}
