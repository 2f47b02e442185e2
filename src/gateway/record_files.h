/* The files of recordings, <root>/<shelf>/TEAM/SERVICE/..: they rotate by size and hour, the oldest
 * of a service go when it has more than it may, and all go when their time is over. Of one thread.
 */
#pragma once

#include "base/error.h"

#include <stdint.h>

struct record_entry;
struct strbuf;

struct record_files;
/* No file is opened yet. incarnation: of the gateway, a part of the names. Destroyed by the caller.
 */
struct record_files *record_files_create(const char *root, const char *incarnation);
/* NULL is fine. */
void record_files_destroy(struct record_files *files);

/* Appends the line of the entry, which says whose it is, how much its service may have and for how
 * long. ERR_IO and others of files: nothing of it is there. */
MUST_CHECK int record_files_write(struct record_files *files, const struct record_entry *entry,
    const struct strbuf *line, struct error *err);
/* Removes what is over by now, of services that are gone too, and closes what was open for an hour.
 */
void record_files_sweep(struct record_files *files, int64_t now_ms);
