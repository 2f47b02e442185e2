/* A thin layer over SQLite: connections set up one way, errors in our idiom. */
#pragma once

#include "base/error.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

enum sql_mode {
    SQL_WRITER,    /* makes the file if need be; WAL, every commit synced, checkpoints by hand */
    SQL_READER,    /* read only, of a database in use */
    SQL_SOLITARY,  /* a file nobody else uses: made if need be, rollback journal, synced */
    SQL_IMMUTABLE, /* read only, of a file that nobody writes: takes no lock, leaves no trace */
};

/* Opens the database at path through a VFS (NULL: the system's). -1: as sql_error. */
MUST_CHECK int sql_open(
    const char *path, const char *vfs, enum sql_mode mode, sqlite3 **ret, struct error *err);
/* Closes; statements of it must be finalized. NULL is fine. */
void sql_close(sqlite3 *db);

/* Fills err from the connection's last failure: ERR_FULL, ERR_IO, ERR_UNAVAILABLE (locked, no
 * memory), ERR_CORRUPT, ERR_INTERNAL (a constraint, a wrong statement). Always returns -1. */
int sql_error(sqlite3 *db, struct error *err, const char *doing);

/* Runs statements that give no rows. */
MUST_CHECK int sql_exec(sqlite3 *db, const char *sql, struct error *err);
MUST_CHECK int sql_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret, struct error *err);
/* 1: there is a row; 0: there are no more, and the statement is reset; -1: failed, and reset. */
MUST_CHECK int sql_next(sqlite3_stmt *statement, struct error *err);
/* Runs a bound statement to its end and resets it. */
MUST_CHECK int sql_run(sqlite3_stmt *statement, struct error *err);
/* The first column of the only row as a number. -1: ERR_NOT_FOUND when there is no row. */
MUST_CHECK int sql_number(sqlite3 *db, const char *sql, int64_t *ret, struct error *err);
/* Runs PRAGMA quick_check (or, thoroughly, integrity_check). ERR_CORRUPT says what it found. */
MUST_CHECK int sql_check(sqlite3 *db, bool thoroughly, struct error *err);
/* A column's text, "" for NULL; valid until the statement moves on. */
const char *sql_text(sqlite3_stmt *statement, int column);
/* Binds text that outlives the statement's run; NULL binds NULL. */
void sql_bind_text(sqlite3_stmt *statement, int index, const char *text);

/* For SCOPED: close and finalize; NULL is fine. */
void sql_scope(sqlite3 **db);
void sql_statement_scope(sqlite3_stmt **statement);
/* Resets a cached statement at the end of a scope, so that no read is left open. */
void sql_reset_scope(sqlite3_stmt **statement);
