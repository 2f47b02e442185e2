/* A hash of text that is the same in every process and on every machine, for indexes that are
 * stored. Maps in memory hash with a key of their own: see map.h. */
#pragma once

#include <stdint.h>

/* 1 to INT64_MAX. SipHash-2-4 under a fixed key: texts that share a hash are no easier to find than
 * by trying, and whoever looks something up by it still has to compare the text. */
int64_t hash_text(const char *text);
