/* Quantiles of a stream in bounded memory: exact up to some thousands of values, and within a
 * thousandth of the value beyond (a histogram whose buckets grow with the value). */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct quantile {
    int64_t count;
    int64_t least, most;
    __int128 sum;
    int64_t *values;  /* the first ones, until there are too many.. */
    int64_t *buckets; /* ..then how many fell where */
};

void quantile_finish(struct quantile *quantile); /* a zeroed or used one; zeroes it */
/* Takes in a value; a negative one counts as 0. */
void quantile_add(struct quantile *quantile, int64_t value);
/* The value that per_mille of 1000 values are at or below (nearest rank); 0 when there is none. */
int64_t quantile_at(const struct quantile *quantile, int per_mille);
/* Rounded to the nearest; 0 when there is none. */
int64_t quantile_mean(const struct quantile *quantile);
/* How many values are above it, as exactly as they are known. */
int64_t quantile_above(const struct quantile *quantile, int64_t value);
