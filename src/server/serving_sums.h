/* What services were asked and answered, as it is stored: documents of counters, by the hour, and
 * by the day once that is long ago.
 *
 * Collection "usage-sum", scope: the service's team. Key "h/<hour>/<service>/<version>/<replica>/
 * <key>" with the hours since 1970 in eight digits, or "d/<day>/..": ascending in time; where there
 * is a team or there are labels, "../@<team>/<labels>/<key>". Content: {"service", "version",
 * "replica": the id of its job, "key", "team", "labels", "model": "team/name:3", and every counter
 * that is not 0 under its name}. What a server before knew less of is there without it: a member
 * that is missing is empty, or 0. Names are in the documents and not only references, so
 * that they outlive what they name. */
#pragma once

#include "base/error.h"
#include "gateway/usage.h"

#include <stddef.h>
#include <stdint.h>

struct arena;
struct doc;
struct server;
struct store_reader;
struct tick;

/* A sum and what it is of. Texts live as long as whoever gave it says. */
struct serving_sum {
    const char *service; /* "team/name" */
    int64_t version;     /* 0: no replica was asked */
    uint64_t replica;    /* the job, or 0 */
    const char *key;     /* the key's id, or "" */
    const char *team;    /* that the key belongs to, or "" */
    const char *labels;  /* gateway/labels.h, or "" */
    const char *model;   /* "team/name:version", or "" */
    struct usage_counts counts;
};

enum { SERVING_DAYS_BY_HOUR = 30 };

/* Adds what to every counter of sum; a counter that would wrap stays at its end. */
void serving_counts_add(struct usage_counts *sum, const struct usage_counts *what);
/* Each counter's growth from before to now; one that shrank (a file that a stop of the machine cut
 * back) has not grown. */
void serving_counts_since(
    const struct usage_counts *before, const struct usage_counts *now, struct usage_counts *ret);
/* The counters as members of a map, and back; what is not there is 0. */
void serving_counts_write(struct arena *arena, struct doc *map, const struct usage_counts *counts);
void serving_counts_read(const struct doc *map, struct usage_counts *ret);

/* ---- writing, within a tick ------------------------------------------------------------------ */

/* Sums of one tick, added up in memory and then to what is stored. */
struct serving_batch;
/* In the tick's arena; nothing has to be freed, but serving_batch_finish has to come. */
struct serving_batch *serving_batch_create(struct tick *tick);
/* Adds to the sum of the hour that it is now. The model is looked up when there is none yet. */
void serving_batch_add(struct serving_batch *batch, const struct usage_series *series,
    const struct usage_counts *counts);
/* Moves sums of hours that are long ago into those of their days, at most `most` of them.
 * *ret_moved: how many it were. */
MUST_CHECK int serving_batch_roll_up(
    struct serving_batch *batch, size_t most, size_t *ret_moved, struct error *err);
/* Puts everything into the transaction, unless that is not wanted any more; frees the batch. */
MUST_CHECK int serving_batch_finish(struct serving_batch *batch, struct error *err);
void serving_batch_drop(struct serving_batch *batch);

/* ---- reading what is committed -----------------------------------------------------------------
 */

/* Widens a range of time to what is told apart: full hours, and full days (UTC) where it begins or
 * ends more than SERVING_DAYS_BY_HOUR days before now. */
void serving_range(int64_t now_ms, int64_t *from_ms, int64_t *to_ms);
/* Visits the sums of a range, which serving_range made, ascending in time. What the visit gets is
 * valid until it returns. ERR_TOO_LARGE when there are too many: a narrower range is to be asked.
 */
typedef int serving_sum_fn(void *context, const struct serving_sum *sum, struct error *err);
MUST_CHECK int serving_sums_each(struct store_reader *reader, int64_t from_ms, int64_t to_ms,
    serving_sum_fn *visit, void *context, struct error *err);
