/* Sending the chunks of a push, several at once: a server syncs each chunk to its disk before it
 * answers, and one request after another would spend most of its time waiting for that. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct cli;

/* Where a chunk stands in the folder that is pushed. */
struct chunk_place {
    const char *path;
    int64_t offset;
    size_t size;
    char digest[65];
};

struct artifact_send {
    struct cli *cli;
    const char *team; /* whose the chunks will be */
    int folder;       /* an open descriptor; paths are below it */
    const struct chunk_place *places;
    const size_t *missing; /* which of the places are to be sent */
    size_t count;          /* of missing */
    int64_t raw_bytes;     /* of those all together: what progress is a part of */
};

/* Reads, packs and sends the missing chunks, at most four at once on as many connections; each
 * holds one chunk and its packed form in memory. Shows progress on a terminal. Adds what travelled
 * to *sent_bytes, also on a failure. After the first failure no chunk is begun any more; those
 * under way are waited for, and the first failure is the one that is told, with its problem
 * document at the connection of cli. ERR_CONFLICT: a file changed meanwhile; ERR_IO; what the
 * server says. */
MUST_CHECK int artifact_send_chunks(
    const struct artifact_send *send, int64_t *sent_bytes, struct error *err);
