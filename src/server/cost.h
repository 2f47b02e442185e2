/* What things cost: the core's charges added up, with what is still being held priced to now. */
#pragma once

#include "base/error.h"
#include "wire/doc.h"

#include <stdbool.h>
#include <stdint.h>

struct catalog;
struct identity;
struct job_row;
struct server;
struct tick;

struct cost_query {
    /* "job", "team", "pool", "class", "user", "label:KEY", "service", "model", "version"; NULL:
     * "team", or what service or model suggest. */
    const char *by;
    bool answers; /* shared out over those who asked: by "key", "team", "label:NAME", .. of requests
                   */
    const char
        *team; /* with those below it; NULL: every team the identity may see, and idle capacity */
    uint64_t job;        /* 0: all */
    const char *service; /* only its replicas: "team/name", or a name in any team; NULL: all */
    const char *model;   /* only replicas that serve it: "[team/]name[:version]"; NULL: all */
    int64_t from_ms;     /* 0: from the start */
    int64_t to_ms;       /* 0: to now */
    int64_t now_ms;
};

/* {currency, items: [{key, cost, wasted, hours, ..}], total: {..}, idle: [..]}; see docs/cost.md.
 * ERR_INVALID. */
MUST_CHECK int cost_report(struct server *server, struct arena *arena,
    const struct identity *identity, const struct cost_query *query, struct doc **ret_report,
    struct error *err);

/* The currency of the first pool that has one; "": none. Valid as reader_symbol's. */
const char *cost_currency(struct server *server);

/* The attempts of one job with what they held, when and at which price. Lives in the arena. */
struct cost_attempts;
/* Never NULL; without attempts when they cannot be read. */
struct cost_attempts *cost_attempts_of(struct server *server, struct arena *arena, uint64_t job);
/* When attempt `number` started (or was admitted), 0 when it is not known. */
int64_t cost_attempt_start(const struct cost_attempts *attempts, int64_t number);
/* What holding it from begin to end cost, in billionths. */
int64_t cost_attempt_between(
    const struct cost_attempts *attempts, int64_t number, int64_t begin_ms, int64_t end_ms);
/* Keeps what a job's cost is told apart by, within the tick that forgets the job: its charges stay,
 * and so does whom they are put down to. */
void cost_keep(struct tick *tick, const struct job_row *row);
/* All of a job so far: what it cost and how much of it was lost, in billionths. */
void cost_job(
    struct server *server, uint64_t job, int64_t *ret_cost_nano, int64_t *ret_wasted_nano);
