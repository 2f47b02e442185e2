/* FastCDC: see chunker.h.
 *
 * The gear hash of a position is the sum of table[byte] << age over the 64 bytes before it: one
 * shift, one addition, one load for each byte. Its upper bits depend on all of these bytes, so the
 * test for a cut is that the upper bits are zero: a comparison, where the paper spreads the bits of
 * a mask.
 *
 * Normalized: a cut is four times as unlikely as 1 in CHUNK_AVERAGE before the average size and
 * four times as likely after it, which draws the sizes together without losing cuts to CHUNK_MAX.
 */
#include "registry/chunker.h"

#include "base/prng.h"
#include "registry/registry.h"

#include <pthread.h>

enum { WINDOW = 64, AVERAGE_BITS = 20, NORMAL_BITS = 2 };

_Static_assert(CHUNK_AVERAGE == 1 << AVERAGE_BITS, "the limits belong to the average");

#define HARD (UINT64_C(1) << (64 - AVERAGE_BITS - NORMAL_BITS))
#define EASY (UINT64_C(1) << (64 - AVERAGE_BITS + NORMAL_BITS))

static uint64_t gear[256];
static pthread_once_t gear_made = PTHREAD_ONCE_INIT;

/* The first 256 numbers of SplitMix64 from this seed, which is "muster" in ASCII. */
static void make_gear(void)
{
    struct prng prng = {.state = 0x6d7573746572};
    for (size_t i = 0; i < 256; i++)
        gear[i] = prng_next(&prng);
}

/* Hashes raw[*at] up to raw[end - 1]; the length of the chunk where the hash falls below the limit,
 * or 0. */
static size_t scan(uint64_t *hash, size_t *at, size_t end, const unsigned char *raw, uint64_t limit)
{
    uint64_t h = *hash;
    size_t i = *at, found = 0;
    while (i < end) {
        h = (h << 1) + gear[raw[i++]];
        if (h < limit) {
            found = i;
            break;
        }
    }
    *hash = h;
    *at = i;
    return found;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t chunker_scan(struct chunker *chunker, const unsigned char *raw, size_t size)
{
    /* Up to where, and below which hash a cut is made there: none before CHUNK_MIN. */
    static const struct {
        size_t end;
        uint64_t limit;
    } parts[] = {{CHUNK_MIN - 1, 0}, {CHUNK_AVERAGE, HARD}, {CHUNK_MAX, EASY}};
    pthread_once(&gear_made, make_gear);
    if (chunker->at < CHUNK_MIN - WINDOW)
        chunker->at = least(size, CHUNK_MIN - WINDOW);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t length =
            scan(&chunker->hash, &chunker->at, least(size, parts[i].end), raw, parts[i].limit);
        if (length)
            return length;
    }
    return chunker->at == CHUNK_MAX ? CHUNK_MAX : 0;
}
