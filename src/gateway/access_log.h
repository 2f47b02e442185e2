/* The access log: a line of JSON for each request, written by a thread of its own. Workers never
 * wait for the disk: what does not fit into the buffer is dropped, and counted. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum { ACCESS_LOG_BUFFER = 1 << 20 };

struct access_log;
struct log_line;

/* Appends to the file path, which is made when it is missing. When it has bytes_max bytes it
 * becomes path.1, in the place of the one before. ERR_IO. */
MUST_CHECK int access_log_open(
    const char *path, int64_t bytes_max, struct access_log **ret, struct error *err);
/* Writes what waits and ends the thread. NULL is fine. */
void access_log_close(struct access_log *log);
/* Takes a line, with copies of its texts; from any thread. */
void access_log_write(struct access_log *log, const struct log_line *line);
/* Another process writes to the file too, from now on or no longer: it alone makes it the older one
 * then, and this one follows it. */
void access_log_share(struct access_log *log);
/* Opens the file anew before the next line, for whoever moved it away. */
void access_log_reopen(struct access_log *log);
/* Lines that were dropped: the buffer was full, or the disk was. */
uint64_t access_log_dropped(struct access_log *log);
