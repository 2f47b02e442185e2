/* Usage of streams whose clients do not ask for it (`gateway.usage: ask`): the request is edited on
 * its way out, and the event that comes of it is taken out of the answer, so that the gateway
 * counts the tokens and the client sees the stream it asked for. */
#pragma once

#include "gateway/answer.h"
#include "gateway/relay.h"

/* After the body was held: edits it, where it is complete. */
enum stage_result relay_stage_usage(struct relay *relay);

/* ---- bodies that are passed on in pieces -----------------------------------------------------
 *
 * What is asked for may stand at the end of such a body, after its length was announced. So room
 * for the edit is announced beforehand, and filled with spaces, which JSON allows, where none is
 * made. */

/* The body is about to be passed on from its first byte: how many bytes more will be written. */
size_t relay_usage_room(struct relay *relay);
/* Writes a piece to the replica, with the edit where it belongs; NULL: the end. False: as
 * http_exchange_write. */
bool relay_usage_write(struct relay *relay, const char *bytes, size_t length);

/* ---- the filter of answers: see answer.h -----------------------------------------------------
 */

/* Passes on all but the events that the client did not ask for: ANSWER_USAGE. */
extern const struct answer_filter relay_usage_filter;
/* Frees what a relay has of this. */
void relay_usage_free(struct relay *relay);
