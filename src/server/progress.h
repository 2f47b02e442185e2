/* What jobs report of themselves: JSON lines that they append to the file in MUSTER_METRICS. The
 * last line is kept, and the last line of each epoch with its moment, from which comes the price of
 * an epoch. Lines that were seen before (an engine reports them again after a restart) are known by
 * their position in the job's file.
 * Lines that say how far the job is are for the core, too: see pace.h. */
#pragma once

#include "base/error.h"
#include "wire/doc.h"

#include <stdint.h>

struct progress;
struct server;

/* Knows nothing yet; reads what is stored of a job at its first line. */
struct progress *progress_create(struct server *server);
void progress_destroy(struct progress *progress); /* NULL is fine */
/* Takes in a line of a job's attempt; what is no JSON object is left out. */
void progress_line(struct progress *progress, uint64_t job, int64_t attempt_number,
    const char *line, size_t length, uint64_t offset, int64_t at_ms);
/* The attempt's end is stored: forgets what is kept in memory for it. */
void progress_forget(struct progress *progress, uint64_t job);

/* The epochs of a job, oldest first: [{epoch, attempt, at, duration, cost, data}]. */
struct doc *progress_epochs(struct server *server, struct arena *arena, uint64_t job);
/* The last line of the job: {attempt, at, data}, or NULL. */
struct doc *progress_last(struct server *server, struct arena *arena, uint64_t job);
