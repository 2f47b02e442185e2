/* The hash of traces: 64 bits, the same on every machine and compiler. Not for secrets. */
#pragma once

#include <stdint.h>

#define SIM_HASH_START 0x2545f4914f6cdd1du

/* Mixes one number into hash: multiply and fold, as in wyhash's mixer. */
static inline uint64_t sim_hash_number(uint64_t hash, uint64_t value)
{
    unsigned __int128 product =
        (unsigned __int128)(hash ^ 0x9e3779b97f4a7c15u) * (value ^ 0xd6e8feb86659fd93u);
    return (uint64_t)product ^ (uint64_t)(product >> 64) ^ (hash << 1 | hash >> 63);
}

static inline uint64_t sim_hash_text(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return sim_hash_number(hash, 0);
}
