/* Secondary scoring: once an answer has gone out, another service is asked the same, and what it
 * says is recorded with the request's id. Of one worker; everything of it is bounded: how many are
 * asked at once, wait, are asked in a minute, and how long they may take. The client's request is
 * over by then and nothing of it is waited for. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gateway_worker;
struct record_entry;
struct service_terms;
struct secondary;
struct strbuf;

enum { SECONDARY_RUNNING_MAX = 128, SECONDARY_WAITING_MAX = 2048 }; /* of all services */

/* NULL: there is no memory for its event. Freed with secondary_destroy. */
struct secondary *secondary_create(struct gateway_worker *worker);
/* Who waits or is under way is given up. NULL is fine; before the agent and the recorder go. */
void secondary_destroy(struct secondary *secondary);

/* Whether one more may be asked for the service in this minute, in all workers; it counts then. */
bool secondary_may(struct service_terms *terms, int64_t now_ms);
/* Asks, soon: entry (with request, light, verb in its path) is the callee's from here on. target:
 * enum protocol, whether the body names the model, and what follows it in the path. */
struct secondary_target {
    int protocol;
    bool by_body;
    const char *verb; /* of a table: it is not copied */
};
void secondary_ask(struct secondary *secondary, const struct service_terms *terms,
    const struct secondary_target *target, struct record_entry *entry);

/* The body with another model named, appended to out. False: it names none, or is no object. */
bool secondary_rename(const char *body, size_t length, const char *model, struct strbuf *out);
