/* Tables for people: columns as wide as their widest cell, by display width. Cells are
 * neutralised; colours go around them and take no width. Also written as CSV (RFC 4180). */
#pragma once

#include "base/strbuf.h"

#include <stdbool.h>

struct table;

/* A table without columns; destroyed by the caller. */
struct table *table_create(void);
void table_destroy(struct table *table); /* NULL is fine */
/* Columns first; numbers are aligned to the right. */
void table_add_column(struct table *table, const char *title, bool right);
/* The next cell, row by row from the left. NULL is shown as "-", and empty in CSV. */
void table_add_cell(struct table *table, const char *text);
/* The same in a colour ("32"), or NULL for none. */
void table_add_cell_coloured(struct table *table, const char *text, const char *colour);
size_t table_row_count(const struct table *table);
/* Only whole rows may be in the table. */
void table_write(const struct table *table, struct strbuf *out);
void table_write_csv(const struct table *table, struct strbuf *out);

static inline void table_scope(struct table **table)
{
    table_destroy(*table);
}
