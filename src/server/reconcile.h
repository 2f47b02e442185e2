/* Reconciliation: what the core wants to run against what the engines have. It is done after every
 * tick, for the attempts that something was heard of since: the core changed their row, or an
 * engine reported what the core does not know. Everything is compared at the start, after a reload,
 * when there is another engine, and every minute; so an effect is never taken from a list that a
 * crash could lose, only from the difference between the two. */
#pragma once

#include "base/error.h"
#include "engine/engine.h"

struct reconciler;
struct server;

/* Does nothing before it is run. */
struct reconciler *reconciler_create(struct server *server);
void reconciler_destroy(struct reconciler *reconciler); /* NULL is fine */
/* The attempt is looked at in the next run. */
void reconciler_touch(struct reconciler *reconciler, uint64_t attempt);
/* All are. */
void reconciler_touch_all(struct reconciler *reconciler);
/* Only while no commit is under way: the core has to be what the store holds. now_ms: boot clock.
 */
void reconciler_run(struct reconciler *reconciler, int64_t now_ms);
/* The engines' reports: context is the server. */
void reconciler_report(void *context, const struct report *report);
