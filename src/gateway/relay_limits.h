/* Limits on the way of a request: which there are is gathered as soon as its service is known; what
 * it may cost is reserved once its body is there, and settled with what it did cost when it ends,
 * in whichever way. A request without limits has none of this. */
#pragma once

#include "gateway/relay.h"

struct limit_store;
struct routes;

/* Whether anything in the routes needs a store of limits. */
bool relay_limits_needed(const struct routes *routes);

/* Which limits there are, and with which right it waits for busy replicas: after the service is
 * known, in the same turn of the loop. */
enum stage_result relay_stage_rights(struct relay *relay);
/* Takes what it may cost, or refuses it. */
enum stage_result relay_stage_limits(struct relay *relay);

/* Bytes of its answer, on their way to the client: events of streams are counted. */
void relay_limits_piece(struct relay *relay, const char *bytes, size_t length);
/* The head of an answer with what the client may know of its limits, in the request's arena; the
 * replica's own word about that is left out. */
struct http_field *relay_limits_fields(
    struct relay *relay, const struct http_field *fields, size_t *count);
/* As if it had not been asked: another service is, whose limits hold then. */
void relay_limits_give_back(struct relay *relay);
/* What it cost; reported false: no usage came with its answer. Once. */
void relay_limits_settle(struct relay *relay, enum relay_end end, bool reported,
    uint64_t input_tokens, uint64_t output_tokens);
