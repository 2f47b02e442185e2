/* Turns at a service whose replicas answer a bounded number of requests at once (its `queue`):
 * who comes when all are busy waits, is served by fair.h's order over all workers, or is refused
 * at once when it would wait too long. */
#pragma once

#include "gateway/relay.h"

struct turns;

/* Of one service, for as long as anybody may have one; the main thread's. */
struct turns *turns_create(int workers, struct service_state *state);
void turns_destroy(struct turns *turns); /* NULL is fine */
/* Whether a message about a turn is on its way to a worker. */
bool turns_moving(const struct turns *turns);
/* Requests that wait. */
size_t turns_waiting(const struct turns *turns);

/* Waits for its turn. */
enum stage_result relay_stage_turn(struct relay *relay);
/* The relay is over, or has to go: its turn is the next one's. */
void relay_turn_leave(struct relay *relay);
