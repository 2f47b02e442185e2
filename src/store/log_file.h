/* The write-ahead log as a file. */
#pragma once

#include "base/error.h"

/* Writes the bytes of the database's log over themselves and syncs them. After a failed sync the
 * system may take pages for clean that it never stored, and a later sync then proves nothing; pages
 * written again are dirty again. Fine when there is no log. The database must not be written to
 * meanwhile; readers do not mind. -1: ERR_IO. */
MUST_CHECK int log_file_rewrite(const char *path, const char *vfs, struct error *err);
