/* Text to a number that never changes: see hash.h. The eight bytes of the hash are read in a fixed
 * order, so the machine's byte order has no part in it. */
#include "base/hash.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

int64_t hash_text(const char *text)
{
    static const unsigned char key[crypto_shorthash_KEYBYTES] = "muster's names";
    unsigned char bytes[crypto_shorthash_BYTES];
    uint64_t hash = 0;
    assert(text);
    crypto_shorthash(bytes, (const unsigned char *)text, strlen(text), key);
    for (int i = 0; i < 8; i++)
        hash |= (uint64_t)bytes[i] << (8 * i);
    hash &= INT64_MAX;
    return hash ? (int64_t)hash : 1;
}
