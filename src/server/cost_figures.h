/* The figures of what was answered, as every report on services shows them: docs/cost.md explains
 * each. */
#pragma once

#include <stdint.h>

struct arena;
struct doc;
struct usage_counts;

/* A number, at most INT64_MAX. */
void cost_set_count(struct arena *arena, struct doc *map, const char *name, uint64_t value);
/* amount * factor / count in billionths, rounded half up, with nine decimals at most: the price of
 * a token is far below a millionth. null where there is nothing to divide by. */
void cost_set_price(struct arena *arena, struct doc *map, const char *name, int64_t amount_nano,
    int64_t factor, uint64_t count);
/* part / whole to a millionth, rounded half up; null where there is no whole. */
void cost_set_share(
    struct arena *arena, struct doc *map, const char *name, int64_t part, int64_t whole);

/* Of the requests of a replica those that it was asked for: what the cache gave again counts for
 * the replica that had answered, and asks nobody. */
uint64_t cost_asked(const struct usage_counts *counts);
/* What was answered for cost_nano. asked: how many of the requests a replica was asked for. */
void cost_figures_write(struct arena *arena, struct doc *item, const struct usage_counts *counts,
    uint64_t asked, int64_t cost_nano);
