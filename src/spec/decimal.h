/* Decimal numbers as texts, such as metrics and the bounds on them: compared digit by digit, so
 * that what a person wrote is what counts, not the nearest binary fraction. */
#pragma once

#include <stdbool.h>

/* Whether text is a number: "-0.5", "3", "1e-05", "2.50E+3", at most 64 bytes, the exponent within
 * +-9999. Infinities and NaN are none. */
bool decimal_valid(const char *text);
/* < 0, 0, > 0 as a is below, equal to or above b in value. Both are valid. */
int decimal_compare(const char *a, const char *b);
