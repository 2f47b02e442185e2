/* A list of free objects in front of chunks of them. Chunks stay until the slab goes: memory is
 * that of the most objects there ever were. Where addresses are checked each object has its own
 * memory, so that a use after its end is found. */
#include "core/slab.h"

enum { CHUNK_OBJECTS = 64 };

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLAB_CHECKED 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SLAB_CHECKED 1
#endif

struct slab_free {
    struct slab_free *next;
};

#ifdef SLAB_CHECKED
void *slab_take(struct slab *slab, size_t size)
{
    (void)slab;
    return mem_resize(NULL, 1, size);
}

void slab_free(struct slab *slab, void *object)
{
    (void)slab;
    free(object);
}

#else
static void *chunk_take(struct slab *slab, size_t size)
{
    if (slab->chunks.count == 0 || slab->used == slab->room) {
        vec_push(&slab->chunks, mem_large(CHUNK_OBJECTS * size));
        slab->used = 0;
        slab->room = mem_large_bytes(CHUNK_OBJECTS * size) / size; /* pages to their ends */
    }
    return slab->chunks.items[slab->chunks.count - 1] + size * slab->used++;
}

void *slab_take(struct slab *slab, size_t size)
{
    assert(size >= sizeof(struct slab_free) && size % _Alignof(struct slab_free) == 0);
    void *object = slab->free;
    if (object)
        slab->free = slab->free->next;
    else
        object = chunk_take(slab, size);
    return object;
}

void slab_free(struct slab *slab, void *object)
{
    struct slab_free *one = object;
    if (!one)
        return;
    one->next = slab->free;
    slab->free = one;
}
#endif

void *slab_alloc(struct slab *slab, size_t size)
{
    return memset(slab_take(slab, size), 0, size);
}

void slab_finish(struct slab *slab)
{
    for (size_t i = 0; i < slab->chunks.count; i++)
        free(slab->chunks.items[i]);
    vec_free(&slab->chunks);
    *slab = (struct slab){0};
}
