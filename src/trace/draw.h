/* Draws of distributions that every machine draws the same: by comparisons of whole numbers,
 * without logarithms. */
#pragma once

#include "base/prng.h"

/* Of the exponential distribution with that mean, at least 1: J. von Neumann, "Various techniques
 * used in connection with random digits", 1951. */
int64_t draw_exponential(struct prng *prng, int64_t mean);
