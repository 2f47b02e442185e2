/* The `status` that the API shows beside an object's manifest: rows as JSON. */
#pragma once

#include "core/rows.h"
#include "wire/doc.h"

struct server;

/* The manifest of a job with its status; NULL when it is not stored any more. */
struct doc *status_job(struct server *server, struct arena *arena, const struct job_row *row);
/* An array as one: the manifest, and in its status how many of its elements are in which state. */
struct doc *status_array(struct server *server, struct arena *arena, uint64_t array);
/* Only the status. */
struct doc *status_job_only(struct server *server, struct arena *arena, const struct job_row *row);
/* The attempts of a job, oldest first, with their placements and usage. */
struct doc *status_attempts(struct server *server, struct arena *arena, uint64_t job);
/* Where a live attempt is at its site, as far as its engine has been told, without asking: "state"
 * (accepted, queued, placed, over), the site's "id", its "nodes", and why it "waits" in its words.
 * NULL: it is on this machine, or its engine does not know it. */
struct doc *status_site(struct server *server, struct arena *arena, uint64_t attempt);
struct doc *status_node(struct server *server, struct arena *arena, const struct node_row *row);
struct doc *status_pool(struct server *server, struct arena *arena, const char *name);
struct doc *status_team(struct server *server, struct arena *arena, const char *name);

/* Sets key to a time, nothing when it is 0. */
void status_set_time(struct arena *arena, struct doc *map, const char *key, int64_t ms);
/* Sets key to an amount of money: billionths as a number with six decimals at most. */
void status_set_money(struct arena *arena, struct doc *map, const char *key, int64_t nano);
/* The stored manifest of a job, parsed; NULL when there is none. */
struct doc *status_job_manifest(struct server *server, struct arena *arena, uint64_t job);
