/* The schema, and how an older one becomes today's. */
#pragma once

#include "store/sql.h"

/* The version that this program writes. */
int schema_version(void);

/* In one transaction: brings the database from whatever version it has (an empty file has none) to
 * today's, adds columns that row types have gained, and begins a new epoch, which it returns.
 * ERR_INVALID: the schema is newer than this program; ERR_CORRUPT: it is not a store's. */
MUST_CHECK int schema_prepare(sqlite3 *db, int64_t *ret_epoch, struct error *err);
/* Says whether the database has exactly today's schema, without changing it. Errors as above, and
 * ERR_INVALID when it is older. */
MUST_CHECK int schema_check(sqlite3 *db, struct error *err);
