/* Where a file is cut: FastCDC with normalized chunking (Xia et al., USENIX ATC 2016). A cut
 * depends on the 64 bytes before it and on the distance from the cut before, so that bytes put in
 * or taken out change the chunks around them and no others.
 *
 * Where the cuts fall decides what is stored once only: a change of the table, the seed, the sizes
 * or the limits is not wrong, but makes every file new. test_chunker.c holds the digests that say
 * so. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The state of one chunk; zeroed at its start. */
struct chunker {
    uint64_t hash;
    size_t at; /* bytes of the chunk already looked at */
};

/* Goes on over a chunk of which the first `size` bytes are at raw (as many as before or more).
 * Returns its length when the cut is among them, else 0: more bytes are needed. The rest of a file
 * in which no cut is found is its last chunk. */
size_t chunker_scan(struct chunker *chunker, const unsigned char *raw, size_t size);
