/* Between rows and SQL: statements made from a row type's columns, and values moved straight
 * between a struct's fields and a statement. The columns of a statement are the type's columns in
 * their order, and then, where said, `live`. */
#pragma once

#include "base/strbuf.h"
#include "core/row.h"
#include "store/sql.h"

/* CREATE TABLE for the type. Its first column is `id`. */
void row_sql_create(struct strbuf *sql, const struct row_type *type);
/* A column with its SQL type and default, as in CREATE TABLE and ADD COLUMN. */
void row_sql_column(struct strbuf *sql, const struct column *column);
/* CREATE INDEX IF NOT EXISTS for each indexed column, and the partial index of live rows. */
void row_sql_indexes(struct strbuf *sql, const struct row_type *type);
/* INSERT, or UPDATE where the id is there: all columns, and live as the last parameter. */
void row_sql_put(struct strbuf *sql, const struct row_type *type);
/* SELECT of all columns FROM the table, without a condition. */
void row_sql_select(struct strbuf *sql, const struct row_type *type);

/* Binds a row's fields. Text stays the row's: it has to outlive the run. */
void row_bind(sqlite3_stmt *statement, const struct row_type *type, const void *row, bool live);
/* Reads the current row of a statement begun by row_sql_select. ERR_CORRUPT: a value that does
 * not fit its field; row is then half filled. */
MUST_CHECK int row_read(
    sqlite3_stmt *statement, const struct row_type *type, void *row, struct error *err);
