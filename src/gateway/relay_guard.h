/* The guard's part of a relay: looks at the request once its body is held, asks the classifier, and
 * filters the answer. See docs/gateway-guard.md. */
#pragma once

#include "gateway/relay.h"

#include <stdint.h>

struct answer_filter;
struct guard_worker;

/* What a worker has for guards: made with the first request that needs it. NULL is fine. */
void guard_worker_free(struct guard_worker *guard);

/* Refuses the request, redacts its body, or lets it pass; may wait for the classifier. */
enum stage_result relay_stage_guard(struct relay *relay);
/* The relay is about to be freed: nobody is waited for any more. */
void relay_guard_free(struct relay *relay);
/* The service is left for another: what was found of the request is still told, and the guard that
 * the client asked by its service has seen it. */
void relay_guard_leave(struct relay *relay);
/* Of what the guard of the service does: answers that were kept under another are others. */
uint64_t relay_guard_hash(const struct relay *relay);

/* Redacts answers, or refuses them: ANSWER_GUARD. */
extern const struct answer_filter relay_guard_filter;

/* ---- between relay_guard.c and relay_guard_ask.c -----------------------------------------------
 */

struct guard_ask;
struct outside;

/* Asks the classifier of the relay's service about the body that is held. When there is an answer,
 * or none in time, relay_guard_answered is called, later, and the ask is gone. outside: of the
 * worker. */
struct guard_ask *guard_ask_begin(struct outside *outside, struct relay *relay);
/* Gives it up. NULL is fine. */
void guard_ask_cancel(struct guard_ask *ask);
enum guard_answer { GUARD_ALLOWED, GUARD_DENIED, GUARD_NO_ANSWER };
void relay_guard_answered(struct relay *relay, enum guard_answer answer);
