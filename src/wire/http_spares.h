/* Memory that connections between requests do without, for those that have one: see http_spares.c.
 * One thread's. */
#pragma once

#include "base/memory.h"
#include "wire/http_buffer.h"

/* As many requests as begin before others have ended, where a thousand clients ask at once. */
enum { SPARES_MAX = 256 };

/* Zeroed: none yet. */
struct http_spares {
    struct arena *arenas[SPARES_MAX];
    size_t arena_count;
    struct http_buffer buffers[SPARES_MAX];
    size_t buffer_count;
};

/* An empty arena, which becomes the caller's. */
struct arena *spares_arena(struct http_spares *spares);
/* Takes the arena with all that is in it; *arena is NULL then, and may have been. */
void spares_give_arena(struct http_spares *spares, struct arena **arena);
/* Memory for a buffer that has none, if there is any; else the buffer gets its own as it grows. */
void spares_buffer(struct http_spares *spares, struct http_buffer *buffer);
/* Takes the memory of a buffer; what is in it is gone. */
void spares_give_buffer(struct http_spares *spares, struct http_buffer *buffer);
/* Frees what is there. */
void spares_finish(struct http_spares *spares);
