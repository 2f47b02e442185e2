/* Batching: requests of many clients to one service become one call, and its answer is taken apart
 * again. Off unless `spec.gateway.batching` says otherwise; see docs/gateway-batching.md.
 *
 * The batches of a service belong to one worker. A request passes by, as if there were no batching,
 * when a replica is idle, nobody waits and nothing is to be won by waiting. */
#pragma once

#include "base/error.h"
#include "gateway/relay.h"

struct batcher;
struct gateway_worker;

/* The batches of a worker, destroyed by the caller when no request is left. */
MUST_CHECK int batcher_create(
    struct gateway_worker *worker, struct batcher **ret, struct error *err);
void batcher_destroy(struct batcher *batcher); /* NULL is fine */
/* The worker has another table of routes. */
void batcher_table_changed(struct batcher *batcher);

/* The stage: the body is complete. */
enum stage_result relay_stage_batch(struct relay *relay);
/* The relay ends: it is no member any more. */
void relay_batch_leave(struct relay *relay);
/* An attempt at a replica, of a request that could have been in a batch: relay->attempt.state has
 * it for as long as it is under way. */
void relay_batch_attempt_begun(struct relay *relay);
void relay_batch_attempt_over(struct relay *relay);
