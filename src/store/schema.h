/* The schema, and how an older one becomes today's. */
#pragma once

#include "core/row.h"
#include "store/sql.h"

struct schema_step {
    const char *sql;
    /* Not NULL: it is for databases whose table has that column, and nothing for others. */
    const char *table, *column;
};

/* A schema as data: step i brings version i to i + 1, and each row type has a table. */
struct schema {
    const struct schema_step *steps;
    int step_count; /* the version it stands for */
    const struct row_type *(*type)(int kind);
    int kind_count;
};

/* The one that this program writes. */
extern const struct schema schema_current;

/* In one transaction: brings the database from whatever version it has (an empty file has none) to
 * the schema's, adds columns that row types have gained, and begins a new epoch, which it returns.
 * ERR_INVALID: the schema is newer than this program; ERR_CORRUPT: it is not a store's. */
MUST_CHECK int schema_prepare(
    sqlite3 *db, const struct schema *schema, int64_t *ret_epoch, struct error *err);
/* Says whether schema_prepare would take the database, without changing it. Errors as above. */
MUST_CHECK int schema_check(sqlite3 *db, const struct schema *schema, struct error *err);
