/* Shadows in the way of a request: a copy goes to the canary of its service while the answer is
 * under way, and both answers are compared when both are there. */
#pragma once

#include "gateway/routes.h"

struct answer_filter;
struct relay;

/* Draws whether the request is copied, as its service is known. */
void relay_shadow_draw(struct relay *relay, const struct route_split *split);
/* ANSWER_SHADOW: sends the copy as the answer begins, and records the answer. */
extern const struct answer_filter relay_shadow_filter;
