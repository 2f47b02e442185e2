/* The schema: numbered steps for what is written by hand, and columns for what row types say.
 *
 * A step, once released, never changes. Row tables need no step to gain a column: whatever column
 * a type has and its table lacks is added, with 0 or '' for the rows that are there. To rename or
 * drop a column takes a step, which brings a number: an older program would add the column again. A
 * column that only the table has was written by a newer program. */
#include "store/schema.h"

#include "base/file.h"
#include "base/memory.h"
#include "core/rows.h"
#include "store/row_sql.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const char first_step[] =
    "CREATE TABLE schema_version(version INTEGER NOT NULL, tables TEXT NOT NULL);"
    "INSERT INTO schema_version VALUES(0, '');"
    /* The one row that every transaction changes on condition of the last. */
    "CREATE TABLE fence(id INTEGER PRIMARY KEY CHECK(id = 1), epoch INTEGER NOT NULL,"
    " tick INTEGER NOT NULL, settled INTEGER NOT NULL, audit_sequence INTEGER NOT NULL,"
    " audit_hash BLOB NOT NULL);"
    "INSERT INTO fence VALUES(1, 0, 0, 0, 0, zeroblob(32));"
    "CREATE TABLE document(collection TEXT NOT NULL, key TEXT NOT NULL, scope TEXT NOT NULL,"
    " revision INTEGER NOT NULL, at_ms INTEGER NOT NULL, json TEXT NOT NULL,"
    " UNIQUE(collection, key));"
    "CREATE INDEX document_scope ON document(collection, scope, key) WHERE scope <> '';"
    "CREATE TABLE audit(sequence INTEGER PRIMARY KEY, tick INTEGER NOT NULL,"
    " at_ms INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, kind TEXT NOT NULL,"
    " name TEXT NOT NULL, team TEXT NOT NULL, detail TEXT, hash BLOB NOT NULL);"
    "CREATE INDEX audit_team ON audit(team, sequence) WHERE team <> '';"
    "CREATE TABLE audit_checkpoint(id INTEGER PRIMARY KEY CHECK(id = 1),"
    " sequence INTEGER NOT NULL, hash BLOB NOT NULL, at_ms INTEGER NOT NULL,"
    " count INTEGER NOT NULL, public_key BLOB NOT NULL, signature BLOB NOT NULL);";

/* What few jobs need became a row of its own: of the live ones that move between spot pools and
 * others. */
static const char spot_step[] =
    "CREATE TABLE spot(id INTEGER PRIMARY KEY, job INTEGER NOT NULL DEFAULT 0,"
    " duration_ms INTEGER NOT NULL DEFAULT 0, interval_ms INTEGER NOT NULL DEFAULT 0,"
    " restart_ms INTEGER NOT NULL DEFAULT 0, saved_ms INTEGER NOT NULL DEFAULT 0,"
    " since_ms INTEGER NOT NULL DEFAULT 0, again_ms INTEGER NOT NULL DEFAULT 0,"
    " now INTEGER NOT NULL DEFAULT 0, live INTEGER NOT NULL DEFAULT 0);"
    "INSERT INTO spot SELECT row_number() OVER (ORDER BY id), id, duration_ms, interval_ms,"
    " restart_ms, saved_ms, spot_since_ms, spot_again_ms, spot_now, 1 FROM job"
    " WHERE live = 1 AND spot_since_ms > 0;"
    "INSERT INTO counter(id, name, last, live)"
    " SELECT (SELECT max(id) + 1 FROM counter), 'spot', ids, 1"
    " FROM (SELECT count(*) AS ids FROM spot) WHERE ids > 0;"
    "ALTER TABLE job DROP COLUMN duration_ms; ALTER TABLE job DROP COLUMN interval_ms;"
    "ALTER TABLE job DROP COLUMN restart_ms; ALTER TABLE job DROP COLUMN saved_ms;"
    "ALTER TABLE job DROP COLUMN spot_since_ms; ALTER TABLE job DROP COLUMN spot_now;"
    "ALTER TABLE job DROP COLUMN spot_again_ms;";

static const struct schema_step steps[] = {
    {.sql = first_step},
    {.sql = spot_step, .table = "job", .column = "spot_since_ms"},
};

static const struct row_type *type_of(int kind)
{
    return row_type((enum row_kind)kind);
}

const struct schema schema_current = {
    .steps = steps,
    .step_count = ARRAY_LEN(steps),
    .type = type_of,
    .kind_count = ROW_KIND_COUNT,
};

/* 0 for an empty database. */
static int read_version(sqlite3 *db, int64_t *ret_version, struct error *err)
{
    int64_t tables = 0, known = 0;
    if (sql_number(db, "SELECT count(*) FROM sqlite_schema", &tables, err) < 0 ||
        sql_number(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'schema_version'", &known,
            err) < 0)
        return -1;
    if (tables > 0 && known == 0)
        return error_set(err, ERR_CORRUPT, "the database is not one of muster's");
    if (known == 0) {
        *ret_version = 0;
        return 0;
    }
    return sql_number(db, "SELECT version FROM schema_version", ret_version, err);
}

static int newer(struct error *err, const char *what)
{
    return error_set(err, ERR_INVALID,
        "the store was written by a newer muster (%s): use that version, or restore a backup",
        what);
}

/* Whether the step is for a database like this one. */
static int step_applies(
    sqlite3 *db, const struct schema_step *step, bool *ret_applies, struct error *err)
{
    SCOPED(sql_statement_scope) sqlite3_stmt *statement = NULL;
    *ret_applies = true;
    if (!step->column)
        return 0;
    if (sql_prepare(db, "SELECT 1 FROM pragma_table_info(?) WHERE name = ?", &statement, err) < 0)
        return -1;
    sql_bind_text(statement, 1, step->table);
    sql_bind_text(statement, 2, step->column);
    int found = sql_next(statement, err);
    *ret_applies = found > 0;
    return found < 0 ? -1 : 0;
}

/* Brings the version forward. *ret_current: nothing was to do. */
static int migrate(sqlite3 *db, const struct schema *schema, bool *ret_current, struct error *err)
{
    int64_t version = 0;
    if (read_version(db, &version, err) < 0)
        return -1;
    if (version > schema->step_count)
        return newer(err, "schema version");
    *ret_current = version == schema->step_count;
    for (; version < schema->step_count; version++) {
        const struct schema_step *step = &schema->steps[version];
        bool applies = false;
        if (step_applies(db, step, &applies, err) < 0 ||
            (applies && sql_exec(db, step->sql, err) < 0))
            return error_prefix(err, "schema version %lld", (long long)version + 1);
    }
    return 0;
}

static bool type_has(const struct row_type *type, const char *column)
{
    for (size_t i = 0; i < type->column_count; i++)
        if (strcmp(type->columns[i].name, column) == 0)
            return true;
    return strcmp(column, "live") == 0;
}

/* Marks the type's columns that the table has. ERR_INVALID: the table has others. count is 0 when
 * there is no table. */
static int table_columns(
    sqlite3 *db, const struct row_type *type, bool *present, size_t *ret_count, struct error *err)
{
    SCOPED(sql_statement_scope) sqlite3_stmt *statement = NULL;
    size_t count = 0;
    int more;

    if (sql_prepare(db, "SELECT name FROM pragma_table_info(?)", &statement, err) < 0)
        return -1;
    sql_bind_text(statement, 1, type->name);
    while ((more = sql_next(statement, err)) > 0) {
        const char *name = sql_text(statement, 0);
        if (!type_has(type, name))
            return newer(err, name);
        for (size_t i = 0; i < type->column_count; i++)
            present[i] |= strcmp(type->columns[i].name, name) == 0;
        count++;
    }
    *ret_count = count;
    return more;
}

static int prepare_table(sqlite3 *db, const struct row_type *type, struct error *err)
{
    SCOPED(mem_scope) bool *present = mem_alloc(type->column_count, sizeof *present);
    SCOPED(strbuf_finish) struct strbuf sql = {0};
    size_t count = 0;

    if (table_columns(db, type, present, &count, err) < 0)
        return error_prefix(err, "table %s", type->name);
    if (count == 0)
        row_sql_create(&sql, type);
    for (size_t i = 0; count > 0 && i < type->column_count; i++) {
        if (present[i])
            continue;
        strbuf_printf(&sql, "ALTER TABLE \"%s\" ADD COLUMN ", type->name);
        row_sql_column(&sql, &type->columns[i]);
        strbuf_puts(&sql, ";");
    }
    row_sql_indexes(&sql, type);
    return sql_exec(db, strbuf_text(&sql), err);
}

/* What the row types' tables and indexes are to be, in 64 digits. The database keeps those it was
 * last made to fit, so that most openings need not look at any table. */
static void tables_digest(const struct schema *schema, char out[65])
{
    SCOPED(strbuf_finish) struct strbuf sql = {0};
    for (int kind = 0; kind < schema->kind_count; kind++) {
        row_sql_create(&sql, schema->type(kind));
        row_sql_indexes(&sql, schema->type(kind));
    }
    file_sha256_hex(sql.text, sql.length, out);
}

static int digest_matches(sqlite3 *db, const char *digest, bool *ret_matches, struct error *err)
{
    SCOPED(sql_statement_scope) sqlite3_stmt *statement = NULL;
    if (sql_prepare(db, "SELECT tables FROM schema_version", &statement, err) < 0 ||
        sql_next(statement, err) < 0)
        return -1;
    *ret_matches = strcmp(sql_text(statement, 0), digest) == 0;
    return 0;
}

static int prepare_tables(
    sqlite3 *db, const struct schema *schema, const char *digest, struct error *err)
{
    char sql[160];
    for (int kind = 0; kind < schema->kind_count; kind++)
        if (prepare_table(db, schema->type(kind), err) < 0)
            return -1;
    snprintf(sql, sizeof sql, "UPDATE schema_version SET version = %d, tables = '%s'",
        schema->step_count, digest);
    return sql_exec(db, sql, err);
}

static int upgrade(sqlite3 *db, const struct schema *schema, int64_t *ret_epoch, struct error *err)
{
    char digest[65];
    bool current = false, matches = false;

    tables_digest(schema, digest);
    if (migrate(db, schema, &current, err) < 0 || digest_matches(db, digest, &matches, err) < 0)
        return -1;
    if (!(current && matches) && prepare_tables(db, schema, digest, err) < 0)
        return -1;
    if (sql_exec(db, "UPDATE fence SET epoch = epoch + 1", err) < 0 ||
        sql_number(db, "SELECT epoch FROM fence", ret_epoch, err) < 0)
        return -1;
    return sql_exec(db, "COMMIT", err);
}

int schema_prepare(sqlite3 *db, const struct schema *schema, int64_t *ret_epoch, struct error *err)
{
    int64_t epoch = 0;
    assert(db && schema && ret_epoch);
    if (sql_exec(db, "BEGIN IMMEDIATE", err) < 0)
        return -1;
    if (upgrade(db, schema, &epoch, err) < 0) {
        if (!sqlite3_get_autocommit(db))
            (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        return -1;
    }
    *ret_epoch = epoch;
    return 0;
}

int schema_check(sqlite3 *db, const struct schema *schema, struct error *err)
{
    int64_t version = 0;
    assert(db && schema);
    if (read_version(db, &version, err) < 0)
        return -1;
    if (version == 0)
        return error_set(err, ERR_CORRUPT, "the database is empty");
    if (version > schema->step_count)
        return newer(err, "schema version");
    if (version < schema->step_count)
        return 0; /* steps change what tables have */
    for (int kind = 0; kind < schema->kind_count; kind++) {
        const struct row_type *type = schema->type(kind);
        SCOPED(mem_scope) bool *present = mem_alloc(type->column_count, sizeof *present);
        size_t count = 0;
        if (table_columns(db, type, present, &count, err) < 0)
            return error_prefix(err, "table %s", type->name);
    }
    return 0;
}
