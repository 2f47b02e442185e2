/* Prefix affinity of a relay: see prefix.h. */
#pragma once

#include <stdint.h>

struct relay;

/* The mark of the replica that was asked what begins like this; 0: nobody, or the service does not
 * ask for affinity. */
uint32_t relay_affine(struct relay *relay);
/* That replica is asked now. */
void relay_affine_note(struct relay *relay, uint64_t replica);
