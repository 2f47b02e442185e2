/* What is removed after a while: ended jobs with their files, audit events, used idempotency keys,
 * work directories that no stored job names. */
#pragma once

struct retention;
struct server;

/* Looks once an hour, the first time an hour after the start. */
struct retention *retention_create(struct server *server);
void retention_destroy(struct retention *retention); /* NULL is fine */
