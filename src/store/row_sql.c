/* SQL from columns. Invariant: the id is the first column and field, so it is parameter 1 and
 * result 0 everywhere. */
#include "store/row_sql.h"

#include <assert.h>
#include <string.h>

/* How a column lies in its struct, and which numbers fit it. */
static const struct column_layout {
    const char *sql;
    uint8_t bytes;
    int64_t least, most;
} layouts[] = {
    [COLUMN_ID] = {"INTEGER NOT NULL DEFAULT 0", 8, INT64_MIN, INT64_MAX},
    [COLUMN_INT] = {"INTEGER NOT NULL DEFAULT 0", 8, INT64_MIN, INT64_MAX},
    [COLUMN_TIME] = {"INTEGER NOT NULL DEFAULT 0", 8, INT64_MIN, INT64_MAX},
    [COLUMN_LENGTH] = {"INTEGER NOT NULL DEFAULT 0", 8, INT64_MIN, INT64_MAX},
    [COLUMN_INT32] = {"INTEGER NOT NULL DEFAULT 0", 4, INT32_MIN, INT32_MAX},
    [COLUMN_ENUM] = {"INTEGER NOT NULL DEFAULT 0", 4, INT32_MIN, INT32_MAX},
    [COLUMN_FLAG] = {"INTEGER NOT NULL DEFAULT 0", 1, 0, 1},
    [COLUMN_SYMBOL] = {"INTEGER NOT NULL DEFAULT 0", 4, 0, UINT32_MAX},
    [COLUMN_TEXT] = {"TEXT NOT NULL DEFAULT ''", 0, 0, 0},
};

void row_sql_column(struct strbuf *sql, const struct column *column)
{
    strbuf_printf(sql, "\"%s\" %s", column->name, layouts[column->type].sql);
}

void row_sql_create(struct strbuf *sql, const struct row_type *type)
{
    assert(type->column_count > 0 && strcmp(type->columns[0].name, "id") == 0);
    strbuf_printf(sql, "CREATE TABLE \"%s\"(id INTEGER PRIMARY KEY", type->name);
    for (size_t i = 1; i < type->column_count; i++) {
        strbuf_puts(sql, ", ");
        row_sql_column(sql, &type->columns[i]);
    }
    strbuf_puts(sql, ", live INTEGER NOT NULL DEFAULT 0);");
}

void row_sql_indexes(struct strbuf *sql, const struct row_type *type)
{
    for (size_t i = 1; i < type->column_count; i++)
        if (type->columns[i].indexed)
            strbuf_printf(sql, "CREATE INDEX IF NOT EXISTS \"%s.%s\" ON \"%s\"(\"%s\");",
                type->name, type->columns[i].name, type->name, type->columns[i].name);
    if (!type->history && !type->deleted)
        strbuf_printf(sql, "CREATE INDEX IF NOT EXISTS \"%s.live\" ON \"%s\"(id) WHERE live = 1;",
            type->name, type->name);
}

/* SQLite writes each index anew that has a column of the list, whether its value differs or not: so
 * the list has no more than what may change. A live row is live already. */
static void row_sql_update(struct strbuf *sql, const struct row_type *type, bool live)
{
    const char *between = " ON CONFLICT(id) DO UPDATE SET ";
    for (size_t i = 1; i < type->column_count; i++) {
        const struct column *column = &type->columns[i];
        if (column->fixed)
            continue;
        strbuf_printf(sql, "%s\"%s\"=excluded.\"%s\"", between, column->name, column->name);
        between = ", ";
    }
    if (!live)
        strbuf_printf(sql, "%slive=0", between);
}

void row_sql_put(struct strbuf *sql, const struct row_type *type, bool live)
{
    /* Named, since a column that came later stands behind `live` in the table. */
    strbuf_printf(sql, "INSERT INTO \"%s\"(", type->name);
    for (size_t i = 0; i < type->column_count; i++)
        strbuf_printf(sql, "\"%s\",", type->columns[i].name);
    strbuf_puts(sql, "live) VALUES(");
    for (size_t i = 0; i < type->column_count; i++)
        strbuf_puts(sql, "?,");
    strbuf_puts(sql, live ? "1)" : "0)");
    row_sql_update(sql, type, live);
}

void row_sql_select(struct strbuf *sql, const struct row_type *type)
{
    strbuf_puts(sql, "SELECT ");
    for (size_t i = 0; i < type->column_count; i++)
        strbuf_printf(sql, "%s\"%s\"", i ? "," : "", type->columns[i].name);
    strbuf_printf(sql, " FROM \"%s\"", type->name);
}

static int64_t field_number(const struct column *column, const void *field)
{
    if (layouts[column->type].bytes == 1)
        return *(const uint8_t *)field;
    if (column->type == COLUMN_SYMBOL)
        return *(const uint32_t *)field;
    if (layouts[column->type].bytes == 4)
        return *(const int32_t *)field;
    return *(const int64_t *)field;
}

void row_bind(sqlite3_stmt *statement, const struct row_type *type, const void *row)
{
    assert(*(const uint64_t *)row > 0 && *(const uint64_t *)row <= INT64_MAX);
    for (size_t i = 0; i < type->column_count; i++) {
        const struct column *column = &type->columns[i];
        const char *field = (const char *)row + column->offset;
        if (column->type == COLUMN_TEXT)
            sql_bind_text(statement, (int)i + 1, field);
        else
            sqlite3_bind_int64(statement, (int)i + 1, field_number(column, field));
    }
}

static int read_text(
    sqlite3_stmt *statement, int index, const struct column *column, char *field, struct error *err)
{
    const char *text = sql_text(statement, index);
    size_t length = strlen(text);
    if (length >= column->size)
        return error_set(err, ERR_CORRUPT, "column %s: %zu bytes of text, at most %d fit",
            column->name, length, column->size - 1);
    memcpy(field, text, length + 1);
    return 0;
}

static int read_number(
    sqlite3_stmt *statement, int index, const struct column *column, char *field, struct error *err)
{
    const struct column_layout *layout = &layouts[column->type];
    int64_t value = sqlite3_column_int64(statement, index);
    if (value < layout->least || value > layout->most)
        return error_set(err, ERR_CORRUPT, "column %s: %lld does not fit its type", column->name,
            (long long)value);
    /* Little-endian or not: each width is stored through its own type. */
    if (layout->bytes == 1)
        *(uint8_t *)field = (uint8_t)value;
    else if (layout->bytes == 4)
        *(uint32_t *)field = (uint32_t)value;
    else
        *(int64_t *)field = value;
    return 0;
}

int row_read(sqlite3_stmt *statement, const struct row_type *type, void *row, struct error *err)
{
    assert((size_t)sqlite3_column_count(statement) >= type->column_count);
    memset(row, 0, type->size);
    for (size_t i = 0; i < type->column_count; i++) {
        const struct column *column = &type->columns[i];
        char *field = (char *)row + column->offset;
        int failed = column->type == COLUMN_TEXT
                         ? read_text(statement, (int)i, column, field, err)
                         : read_number(statement, (int)i, column, field, err);
        if (failed)
            return error_prefix(
                err, "%s %lld", type->name, (long long)sqlite3_column_int64(statement, 0));
    }
    return 0;
}
