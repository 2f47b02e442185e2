/* Removing what is past its time. */
#pragma once

#include "store/sql.h"

/* Removes at most `most` jobs that ended before the moment, oldest first, with the rows that belong
 * to them alone and their documents. Runs inside the caller's transaction. */
MUST_CHECK int retention_prune_jobs(
    sqlite3 *db, int64_t before_ms, int64_t most, struct error *err);
/* Removes one job in the same way, if it has ended. */
MUST_CHECK int retention_forget_job(sqlite3 *db, uint64_t job, struct error *err);
