/* Between rows and SQL: statements made from a row type's columns, and values moved straight
 * between a struct's fields and a statement. The columns of a statement are the type's columns in
 * their order. */
#pragma once

#include "base/strbuf.h"
#include "core/row.h"
#include "store/sql.h"

/* CREATE TABLE for the type. Its first column is `id`. */
void row_sql_create(struct strbuf *sql, const struct row_type *type);
/* A column with its SQL type and default, as in CREATE TABLE and ADD COLUMN. */
void row_sql_column(struct strbuf *sql, const struct column *column);
/* CREATE INDEX IF NOT EXISTS for each indexed column, and the partial index of live rows
 * where there may be others. */
void row_sql_indexes(struct strbuf *sql, const struct row_type *type);
/* INSERT, or UPDATE where the id is there, of a live row or of one that is not, or no more. What is
 * fixed stays as it was inserted; a row that is not live does not come back to life. */
void row_sql_put(struct strbuf *sql, const struct row_type *type, bool live);
/* SELECT of all columns FROM the table, without a condition. */
void row_sql_select(struct strbuf *sql, const struct row_type *type);

/* Binds a row's fields. Text stays the row's: it has to outlive the run. */
void row_bind(sqlite3_stmt *statement, const struct row_type *type, const void *row);
/* Reads the current row of a statement begun by row_sql_select. ERR_CORRUPT: a value that does
 * not fit its field; row is then half filled. */
MUST_CHECK int row_read(
    sqlite3_stmt *statement, const struct row_type *type, void *row, struct error *err);
