/* Requests of a service that has no replica, while it gets one: they wait, in bounded numbers and
 * for a bounded time, and the server hears of the first at once. */
#pragma once

#include "gateway/relay.h"

/* Waits until there is a replica; off unless the service's options say how long. */
enum stage_result relay_stage_hold(struct relay *relay);
/* The relay waits no more: it is over, or goes on. */
void relay_hold_leave(struct relay *relay);

/* The load of the service, where it is measured: the relay has its terms now.. */
void relay_load_begin(struct relay *relay);
/* ..and is accounted for. */
void relay_load_end(struct relay *relay, enum relay_end end, int64_t now_ns);
/* It was not asked at all: another service is. Fine after relay_load_end. */
void relay_load_leave(struct relay *relay);
