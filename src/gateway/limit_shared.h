/* Counters of limits that several gateways share, in Redis or Valkey. What a request may cost is
 * taken there too, after it was taken here, by one script: all of its limits or none; and settled
 * when it ends, without waiting for that. Windows are those of limit_cell.h; the time is the
 * server's. Concurrency is not shared: a gateway that dies would never give it back. */
#pragma once

#include "gateway/limit.h"

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct redis_library;

/* What holds while the shared counters cannot be asked. */
enum limit_away {
    LIMIT_AWAY_LOCAL, /* each gateway admits the whole limit */
    LIMIT_AWAY_SHARE, /* each admits the limit divided by the number of gateways */
    LIMIT_AWAY_REFUSE /* nothing that has limits is admitted */
};

struct limit_shared_options {
    const char *address; /* see redis_link.h; NULL: nothing is shared */
    enum limit_away away;
    int64_t gateways; /* for LIMIT_AWAY_SHARE; 1 or more */
    int64_t wait_ms;  /* for an answer */
};

/* Of one worker. */
struct limit_shared;
/* The options outlive it. */
struct limit_shared *limit_shared_open(struct redis_library *library, struct event_base *base,
    const struct limit_shared_options *options);
void limit_shared_close(struct limit_shared *shared); /* NULL is fine */
/* What it was opened with. */
const struct limit_shared_options *limit_shared_options(const struct limit_shared *shared);

enum limit_said { LIMIT_SAID_TAKEN, LIMIT_SAID_REFUSED, LIMIT_SAID_AWAY };

/* What was asked, then what was taken. */
struct limit_ask;
/* used: what counts for each of the rules after it, by their places. After LIMIT_SAID_TAKEN the ask
 * is the callee's, to settle; after the others it is gone. */
typedef void limit_answer_fn(
    void *context, enum limit_said said, const struct limit_refusal *refusal, const int64_t *used);

/* Asks; fn is called later, once, unless it is abandoned. NULL: nothing of the rules is shared,
 * with *ret_away false, or nobody can be asked. */
struct limit_ask *limit_shared_take(struct limit_shared *shared, const struct limit_rules *rules,
    const struct limit_cost *cost, limit_answer_fn *fn, void *context, bool *ret_away);
/* Nobody waits for the answer any more: what is taken is given back. */
void limit_ask_abandon(struct limit_ask *ask);
/* What it cost; NULL: nothing but its being asked. Frees the ask. */
void limit_ask_settle(struct limit_ask *ask, const struct limit_cost *cost);
