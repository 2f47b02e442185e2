/* A reader: a read-only connection, a cache of statements, a cache of symbols.
 *
 * Visits run while a statement is open. A visit may read with the same reader (a symbol's text,
 * say) but not with the same query, whose statement it would reset. */
#include "store/reader.h"

#include "base/map.h"
#include "base/memory.h"
#include "base/vec.h"
#include "store/audit.h"
#include "store/row_sql.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATEMENTS_MOST = 96 };

struct cached_statement {
    char *sql;
    sqlite3_stmt *statement;
};

struct cached_text {
    uint32_t symbol;
    char *text;
};

struct store_reader {
    char *dir;
    sqlite3 *db;
    struct strmap statements;
    VEC(struct cached_statement) cached;
    struct idmap symbols;
    VEC(struct cached_text) texts; /* a ring once it is full */
    size_t texts_next;
};

/* Drops the statements that nobody is using, or all. */
static void drop_statements(struct store_reader *reader, bool all)
{
    size_t kept = 0;
    for (size_t i = 0; i < reader->cached.count; i++) {
        struct cached_statement *cached = &reader->cached.items[i];
        if (!all && sqlite3_stmt_busy(cached->statement)) {
            reader->cached.items[kept++] = *cached;
            continue;
        }
        strmap_remove(&reader->statements, cached->sql);
        sqlite3_finalize(cached->statement);
        free(cached->sql);
    }
    reader->cached.count = kept;
}

static void reader_scope(struct store_reader **reader)
{
    store_reader_close(*reader);
}

int store_reader_open(const char *dir, const struct store_options *options,
    struct store_reader **ret, struct error *err)
{
    assert(dir && ret);
    SCOPED(strbuf_finish) struct strbuf path = {0};
    SCOPED(reader_scope) struct store_reader *reader = mem_alloc(1, sizeof *reader);

    strbuf_printf(&path, "%s/%s", dir, STORE_FILE);
    reader->dir = mem_strdup(dir);
    if (sql_open(path.text, options ? options->vfs : NULL, SQL_READER, &reader->db, err) < 0)
        return -1;
    *ret = reader;
    reader = NULL;
    return 0;
}

void store_reader_close(struct store_reader *reader)
{
    if (!reader)
        return;
    drop_statements(reader, true);
    vec_free(&reader->cached);
    for (size_t i = 0; i < reader->texts.count; i++)
        free(reader->texts.items[i].text);
    vec_free(&reader->texts);
    strmap_finish(&reader->statements);
    idmap_finish(&reader->symbols);
    sql_close(reader->db);
    free(reader->dir);
    free(reader);
}

int reader_statement(
    struct store_reader *reader, const char *sql, sqlite3_stmt **ret, struct error *err)
{
    sqlite3_stmt *statement = strmap_get(&reader->statements, sql);
    if (!statement) {
        if (reader->cached.count >= STATEMENTS_MOST)
            drop_statements(reader, false);
        if (sql_prepare(reader->db, sql, &statement, err) < 0)
            return -1;
        strmap_put(&reader->statements, sql, statement);
        vec_push(&reader->cached, ((struct cached_statement){mem_strdup(sql), statement}));
    }
    assert(!sqlite3_stmt_busy(statement)); /* a visit ran the query it is visited by */
    *ret = statement;
    return 0;
}

int64_t reader_limit(size_t limit)
{
    if (limit == 0)
        return READ_DEFAULT;
    return limit < READ_MOST ? (int64_t)limit : READ_MOST;
}

int reader_begin(struct store_reader *reader, struct error *err)
{
    int64_t tick = 0;
    assert(sqlite3_get_autocommit(reader->db));
    /* The snapshot is taken by the first read. */
    if (sql_exec(reader->db, "BEGIN", err) < 0)
        return -1;
    if (reader_tick(reader, &tick, err) == 0)
        return 0;
    reader_end(reader);
    return -1;
}

void reader_end(struct store_reader *reader)
{
    if (!sqlite3_get_autocommit(reader->db))
        (void)sqlite3_exec(reader->db, "ROLLBACK", NULL, NULL, NULL);
}

int reader_tick(struct store_reader *reader, int64_t *ret_tick, struct error *err)
{
    SCOPED(sql_reset_scope) sqlite3_stmt *statement = NULL;
    if (reader_statement(reader, "SELECT tick FROM fence", &statement, err) < 0 ||
        sql_next(statement, err) < 0)
        return -1;
    *ret_tick = sqlite3_column_int64(statement, 0);
    return 0;
}

/* ---- rows ---------------------------------------------------------------------------------------
 */

static bool column_comparable(const struct row_type *type, const char *name)
{
    for (size_t i = 0; i < type->column_count; i++)
        if (strcmp(type->columns[i].name, name) == 0)
            return type->columns[i].type != COLUMN_TEXT;
    return strcmp(name, "live") == 0;
}

/* Appends " WHERE ..." for the conditions; each takes one parameter. */
static int append_conditions(struct strbuf *sql, const struct row_query *query, struct error *err)
{
    static const char *const operators[] = {
        [ROW_EQUAL] = "=", [ROW_LESS] = "<", [ROW_GREATER] = ">"};
    const struct row_type *type = row_type(query->kind);

    for (size_t i = 0; i < query->condition_count; i++) {
        const struct row_condition *condition = &query->conditions[i];
        if (!column_comparable(type, condition->column))
            return error_set(err, ERR_INVALID, "%s has no column %s to compare with a number",
                type->name, condition->column);
        assert((size_t)condition->operation < ARRAY_LEN(operators));
        strbuf_printf(sql, "%s \"%s\" %s ?", i ? " AND" : " WHERE", condition->column,
            operators[condition->operation]);
    }
    return 0;
}

static int bind_conditions(sqlite3_stmt *statement, const struct row_query *query)
{
    for (size_t i = 0; i < query->condition_count; i++)
        sqlite3_bind_int64(statement, (int)i + 1, query->conditions[i].value);
    return (int)query->condition_count;
}

static int rows_statement(struct store_reader *reader, const struct row_query *query,
    sqlite3_stmt **ret, struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf sql = {0};
    sqlite3_stmt *statement = NULL;

    row_sql_select(&sql, row_type(query->kind));
    if (append_conditions(&sql, query, err) < 0)
        return -1;
    if (query->after)
        strbuf_printf(&sql, "%s id %s ?", query->condition_count ? " AND" : " WHERE",
            query->descending ? "<" : ">");
    strbuf_printf(&sql, " ORDER BY id%s LIMIT ?", query->descending ? " DESC" : "");
    if (reader_statement(reader, sql.text, &statement, err) < 0)
        return -1;
    int index = bind_conditions(statement, query);
    if (query->after)
        sqlite3_bind_int64(statement, ++index, (int64_t)query->after);
    sqlite3_bind_int64(statement, ++index, reader_limit(query->limit));
    *ret = statement;
    return 0;
}

int reader_rows(struct store_reader *reader, const struct row_query *query, reader_row_fn *visit,
    void *context, struct error *err)
{
    assert(reader && query && query->kind < ROW_KIND_COUNT && visit);
    const struct row_type *type = row_type(query->kind);
    SCOPED(mem_scope) void *row = mem_alloc(1, type->size);
    SCOPED(sql_reset_scope) sqlite3_stmt *statement = NULL;
    int more;

    if (rows_statement(reader, query, &statement, err) < 0)
        return -1;
    while ((more = sql_next(statement, err)) > 0)
        if (row_read(statement, type, row, err) < 0 || visit(context, row, err) < 0)
            return -1;
    return more;
}

int reader_row(
    struct store_reader *reader, enum row_kind kind, uint64_t id, void *ret_row, struct error *err)
{
    assert(reader && kind < ROW_KIND_COUNT && ret_row);
    const struct row_type *type = row_type(kind);
    SCOPED(strbuf_finish) struct strbuf sql = {0};
    SCOPED(mem_scope) void *row = mem_alloc(1, type->size);
    SCOPED(sql_reset_scope) sqlite3_stmt *statement = NULL;

    row_sql_select(&sql, type);
    strbuf_puts(&sql, " WHERE id = ?");
    if (reader_statement(reader, sql.text, &statement, err) < 0)
        return -1;
    sqlite3_bind_int64(statement, 1, (int64_t)id);
    int more = sql_next(statement, err);
    if (more == 0)
        return error_set(
            err, ERR_NOT_FOUND, "there is no %s %llu", type->name, (unsigned long long)id);
    if (more < 0 || row_read(statement, type, row, err) < 0)
        return -1;
    memcpy(ret_row, row, type->size);
    return 0;
}

int reader_count(struct store_reader *reader, const struct row_query *query, int64_t *ret_count,
    struct error *err)
{
    assert(reader && query && query->kind < ROW_KIND_COUNT && ret_count);
    SCOPED(strbuf_finish) struct strbuf sql = {0};
    SCOPED(sql_reset_scope) sqlite3_stmt *statement = NULL;

    strbuf_printf(&sql, "SELECT count(*) FROM \"%s\"", row_type(query->kind)->name);
    if (append_conditions(&sql, query, err) < 0 ||
        reader_statement(reader, sql.text, &statement, err) < 0)
        return -1;
    bind_conditions(statement, query);
    if (sql_next(statement, err) < 0)
        return -1;
    *ret_count = sqlite3_column_int64(statement, 0);
    return 0;
}

struct charge_visit {
    reader_charge_fn *visit;
    void *context;
    int64_t count; /* in this page */
    uint64_t last;
};

static int visit_charge(void *context, const void *row, struct error *err)
{
    struct charge_visit *charges = context;
    charges->count++;
    charges->last = *(const uint64_t *)row;
    return charges->visit(charges->context, row, err);
}

int reader_charges(struct store_reader *reader, const struct charge_filter *filter,
    reader_charge_fn *visit, void *context, struct error *err)
{
    assert(reader && filter && visit);
    struct charge_visit charges = {.visit = visit, .context = context};
    struct row_condition conditions[4];
    struct row_query query = {.kind = ROW_CHARGE, .conditions = conditions, .limit = READ_MOST};

    if (filter->team)
        conditions[query.condition_count++] =
            (struct row_condition){"team", ROW_EQUAL, (int64_t)filter->team};
    if (filter->job)
        conditions[query.condition_count++] =
            (struct row_condition){"job", ROW_EQUAL, (int64_t)filter->job};
    if (filter->from_ms)
        conditions[query.condition_count++] =
            (struct row_condition){"end_ms", ROW_GREATER, filter->from_ms};
    if (filter->to_ms)
        conditions[query.condition_count++] =
            (struct row_condition){"begin_ms", ROW_LESS, filter->to_ms};
    do {
        charges.count = 0;
        if (reader_rows(reader, &query, visit_charge, &charges, err) < 0)
            return -1;
        query.after = charges.last;
    } while (charges.count == READ_MOST);
    return 0;
}

/* ---- symbols ------------------------------------------------------------------------------------
 */

/* Each job that ever was may bring a symbol: the oldest text in the cache makes room. */
static void keep_text(struct store_reader *reader, uint32_t symbol, char *text)
{
    struct cached_text kept = {symbol, text};
    idmap_put(&reader->symbols, symbol, text);
    if (reader->texts.count < READER_TEXTS) {
        vec_push(&reader->texts, kept);
        return;
    }
    struct cached_text *oldest = &reader->texts.items[reader->texts_next];
    idmap_remove(&reader->symbols, oldest->symbol);
    free(oldest->text);
    *oldest = kept;
    reader->texts_next = (reader->texts_next + 1) % READER_TEXTS;
}

const char *reader_symbol(struct store_reader *reader, uint32_t symbol)
{
    struct symbol_row row;
    struct error ignored;
    const char *known = symbol ? idmap_get(&reader->symbols, symbol) : "";

    if (known)
        return known;
    if (reader_row(reader, ROW_SYMBOL, symbol, &row, &ignored) < 0)
        return "";
    char *text = mem_strdup(row.text);
    keep_text(reader, symbol, text);
    return text;
}

/* ---- the audit chain's verification
 * ---------------------------------------------------------------- */

int reader_audit_verify(struct store_reader *reader, int64_t *ret_count, struct error *err)
{
    struct audit_checkpoint checkpoint;
    struct audit_key key;
    struct error failure = {0};

    assert(reader);
    if (audit_checkpoint_read(reader->db, &checkpoint, &failure) < 0) {
        if (failure.code != ERR_NOT_FOUND)
            return error_set(err, failure.code, "%s", failure.text);
        return audit_verify(reader->db, NULL, ret_count, err);
    }
    if (audit_key_load(reader->dir, false, &key, err) < 0)
        return -1;
    return audit_verify(reader->db, key.public, ret_count, err);
}
