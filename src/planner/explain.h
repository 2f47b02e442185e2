/* Why a job waits, who holds what it waits for, and when it will start: facts, as a document with
 * ids and numbers. Names and words are made of it by whoever knows what the asker may see.
 *
 *     {"now", "state",
 *      "waits": {"kind", ..},                      of a job without an attempt; see below
 *      "holders": {"count", "items": [{"job", "name", "team", "holds", "resource", "nodes",
 *                  "end": SPREAD}]},               who holds what it waits for, soonest end first
 *      "ahead": {"count", "items": [{"job", "name", "team", "start": SPREAD}]},
 *      "start": SPREAD, "end": SPREAD,             moments in milliseconds since the epoch
 *      "deadline": {"at", "late", "of"},           in so many of so many runs it ends after it
 *      "basis": {"samples", "of"},                 what its length was drawn from
 *      "pools": [{"pool", "verdict", "burst", "lacks", "held", "need", "currency", "hourMicro",
 *                 "costMicro", "egressMicro", "transferMs", "waitMs", "leftMicro", "late",
 *                 "start": SPREAD}],
 *                                                  of several pools: struct core_pool_view, and
 *                                                  when it would start there if it turned down
 *                                                  those that it is offered before
 *      "reads": [{"version", "site", "bytes", "copies": [{"site", "since", "until"}]}]}
 *                                                  what it reads that lies at a site, and where it
 *                                                  was brought; without "until" it is in use there
 *     SPREAD: {"of", "known", "low", "median", "high"}; a moment that did not come is left out;
 *     "reached" is there when the runs were cut before: it does not come earlier than that.
 *
 * "waits" has the figures of struct core_block that its kind has (core/core.h), and
 *     "on": {"job", "name", "team"} the job that it waits for, or that room is kept for
 *     "nearest": {"node", "pool", "lacks": [{"what", "need", "has"}]}, "ranks": {"pool", "most"}
 *                                   where no node, or no pool, could hold it
 *     "nodes": {"matching", "open", "closed": [{"node", "pool", "why"}]} */
#pragma once

#include "core/core.h"
#include "planner/history.h"
#include "wire/doc.h"

struct explain_options {
    const struct history *history; /* NULL: no forecast, and nobody who holds anything */
    int64_t now_ms;
    int64_t budget_ms; /* for the forecast */
};

/* NULL when the job is not live. */
struct doc *explain_job(
    struct arena *arena, struct core *core, uint64_t job, const struct explain_options *options);
/* "room", .. for a kind of enum block_kind. */
const char *explain_kind(int kind);
