/* See draw.h. */
#include "trace/draw.h"

/* A row of uniform draws falls for a while: its length is odd with the chance e^-x for a first draw
 * of x. Rows of even length each add one to the whole part. */
int64_t draw_exponential(struct prng *prng, int64_t mean)
{
    for (int64_t whole = 0;; whole++) {
        uint32_t first = (uint32_t)(prng_next(prng) >> 32), last = first;
        int falls = 1;
        for (uint32_t next; (next = (uint32_t)(prng_next(prng) >> 32)) < last; falls++)
            last = next;
        if (falls % 2 == 0)
            continue;
        __int128 drawn = (__int128)mean * (((__int128)whole << 32) + first);
        return 1 + (int64_t)(drawn >> 32);
    }
}

/* Fisher and Yates. */
void draw_order(struct prng *prng, size_t *order, size_t count)
{
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    for (size_t i = count; i > 1; i--) {
        size_t other = (size_t)prng_below(prng, i), kept = order[i - 1];
        order[i - 1] = order[other];
        order[other] = kept;
    }
}
