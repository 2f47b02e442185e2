/* A reader's insides, shared by the files that read: rows, documents, the audit chain. */
#pragma once

#include "store/sql.h"
#include "store/store.h"

enum { READ_DEFAULT = 100, READ_MOST = 100000 };

/* The statement for this SQL, prepared and kept by the reader. It has to be reset after use, and is
 * valid until then. */
MUST_CHECK int reader_statement(
    struct store_reader *reader, const char *sql, sqlite3_stmt **ret, struct error *err);
/* A query's limit: the default for 0, and never more than READ_MOST. */
int64_t reader_limit(size_t limit);
