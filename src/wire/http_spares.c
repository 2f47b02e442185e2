/* What connections give back while they have nothing to do, for the next that has: arenas and
 * buffers. A connection between requests is then its own structure and no more, and the next
 * request works in memory that was used last, whichever connection it comes on. Invariants:
 *  1. a spare arena is empty, as is a spare buffer, which is no larger than what an empty buffer
 * may hold on to;
 *  2. there are at most SPARES_MAX of each; what is beyond is freed. */
#include "wire/http_spares.h"

#include <stdbool.h>

struct arena *spares_arena(struct http_spares *spares)
{
    return spares->arena_count > 0 ? spares->arenas[--spares->arena_count] : arena_create();
}

void spares_give_arena(struct http_spares *spares, struct arena **arena)
{
    struct arena *given = *arena;
    *arena = NULL;
    if (!given || spares->arena_count == SPARES_MAX) {
        arena_destroy(given);
        return;
    }
    arena_reset(given);
    spares->arenas[spares->arena_count++] = given;
}

void spares_buffer(struct http_spares *spares, struct http_buffer *buffer)
{
    if (!buffer->bytes && spares->buffer_count > 0)
        *buffer = spares->buffers[--spares->buffer_count];
}

void spares_give_buffer(struct http_spares *spares, struct http_buffer *buffer)
{
    bool fits = buffer->bytes && buffer->capacity <= HTTP_BUFFER_KEEP_BYTES;
    if (!fits || spares->buffer_count == SPARES_MAX) {
        http_buffer_finish(buffer);
        return;
    }
    http_buffer_consume(buffer, http_buffer_length(buffer));
    spares->buffers[spares->buffer_count++] = *buffer;
    *buffer = (struct http_buffer){0};
}

void spares_finish(struct http_spares *spares)
{
    while (spares->arena_count > 0)
        arena_destroy(spares->arenas[--spares->arena_count]);
    while (spares->buffer_count > 0)
        http_buffer_finish(&spares->buffers[--spares->buffer_count]);
}
