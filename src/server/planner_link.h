/* The server's side of the planner: a Unix socket at which it may connect, the feed of committed
 * changes, and questions. The loop never waits for it: what the planner does not take stays in a
 * bounded queue, and one that falls behind further is disconnected and starts anew from the store.
 * Without a planner all of this costs nothing, and questions are refused. */
#pragma once

#include "base/error.h"
#include "core/core.h"

#include <stdbool.h>
#include <stddef.h>

struct planner_link;
struct server;
struct strbuf;

/* Listens at <data>/planner.sock, mode 0600, for root and the server's own user. Says in the log
 * why it cannot; then no planner ever comes. Never NULL. */
struct planner_link *planner_link_create(struct server *server);
void planner_link_destroy(struct planner_link *link); /* answers open questions with NULL */

/* The ticker: a tick begins to be gathered; a row that it changed; it is durable. What was gathered
 * and is not committed is forgotten at the next begin. NULL is fine for all three. */
void planner_link_begin(struct planner_link *link);
void planner_link_change(struct planner_link *link, const struct core_change *change);
void planner_link_committed(struct planner_link *link, int64_t tick);

/* text: the answer as planner/answer.h has it, NULL when none came (the planner died, or took too
 * long). Called once, never from within planner_link_ask. */
typedef void planner_answer_fn(void *context, const char *text, size_t length);
/* Asks (JSON, planner/answer.h), and waits so long for the answer. ERR_UNAVAILABLE without a
 * planner, ERR_BUSY with too many questions open. */
MUST_CHECK int planner_link_ask(struct planner_link *link, const char *text, size_t length,
    int64_t wait_ms, planner_answer_fn *answer, void *context, struct error *err);

/* Whether there is a planner that has read the state. */
bool planner_link_ready(const struct planner_link *link);

/* Appends figures in Prometheus' text form. */
void planner_link_figures(const struct planner_link *link, struct strbuf *out);
