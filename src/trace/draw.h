/* Draws of distributions that every machine draws the same: by comparisons of whole numbers,
 * without logarithms. */
#pragma once

#include "base/prng.h"

#include <stddef.h>

/* Of the exponential distribution with that mean, at least 1: J. von Neumann, "Various techniques
 * used in connection with random digits", 1951. */
int64_t draw_exponential(struct prng *prng, int64_t mean);
/* Fills `order` with 0 to count - 1, each order as likely as any other. */
void draw_order(struct prng *prng, size_t *order, size_t count);
