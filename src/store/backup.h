/* Copying a database in use, a step at a time. For the store's own files: see store.h. */
#pragma once

#include "store/sql.h"
#include "store/store.h"

/* Begins to copy db, the writer's connection, to path. ERR_CONFLICT when path exists. */
MUST_CHECK int store_backup_create(
    sqlite3 *db, const char *path, struct store_backup **ret, struct error *err);
/* Lets go of the source, whose connection is about to close; the next step fails. */
void store_backup_abort(struct store_backup *backup);
/* Removes what an unfinished backup wrote. NULL is fine. */
void store_backup_destroy(struct store_backup *backup);
