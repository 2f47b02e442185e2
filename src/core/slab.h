/* Memory of objects that come and go all the time: one size a slab, given back to be used again. */
#pragma once

#include "base/vec.h"

struct slab {
    struct slab_free *free;
    VEC(char *) chunks;
    size_t used, room; /* objects of the last chunk that were given out, and that it has */
};

/* Zeroed memory of `size` bytes, always the same for a slab. */
void *slab_alloc(struct slab *slab, size_t size);
/* The same with anything in it. */
void *slab_take(struct slab *slab, size_t size);
void slab_free(struct slab *slab, void *object); /* NULL is fine */
/* Frees the slab with everything in it. */
void slab_finish(struct slab *slab);
