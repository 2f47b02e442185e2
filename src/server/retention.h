/* What is removed after a while: ended jobs with their files, audit events, used idempotency keys,
 * work directories that no stored job names. */
#pragma once

#include <stdint.h>

struct retention;
struct server;
struct tick;

/* Within the tick that forgets a job: notes that its files are to go. Whoever forgets it purges
 * them after the commit; what could not go then (an attempt is still known, a disk that fails, a
 * server that was killed in between) is tried again every hour until it is gone. */
void retention_note_files(struct tick *tick, uint64_t job);

/* Looks once an hour, the first time an hour after the start. */
struct retention *retention_create(struct server *server);
void retention_destroy(struct retention *retention); /* NULL is fine */
