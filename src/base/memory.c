/* Memory: see memory.h. An arena is a list of blocks, newest first; allocation is a pointer bump,
 * and a request larger than a block gets a block of its own. What an arena was emptied of is zeroed
 * as it is given out again, when it is about to be written anyhow: the end of a request finds most
 * of its memory gone from the caches. */
#include "base/memory.h"

#include <assert.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ARENA_BLOCK_BYTES = 8 * 1024, HUGE_PAGE_BYTES = 2 * 1024 * 1024, LINE_BYTES = 64 };

struct block {
    struct block *next;
    size_t size;
    size_t used;
    size_t dirty; /* bytes at the beginning that were given out before the arena was emptied */
    alignas(max_align_t) unsigned char bytes[];
};

struct arena {
    struct block *blocks;
    size_t used;
};

static _Noreturn void out_of_memory(void)
{
    static const char text[] = "muster: out of memory\n";
    ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
    (void)ignored;
    abort();
}

void *mem_alloc(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size ? size : 1);
    if (!memory)
        out_of_memory();
    return memory;
}

void *mem_resize(void *memory, size_t count, size_t size)
{
    assert(count > 0 && size > 0);
    void *resized = reallocarray(memory, count, size);
    if (!resized)
        out_of_memory();
    return resized;
}

static size_t large_unit(size_t bytes)
{
    return bytes < HUGE_PAGE_BYTES / 2 ? LINE_BYTES : HUGE_PAGE_BYTES;
}

size_t mem_large_bytes(size_t bytes)
{
    size_t unit = large_unit(bytes);
    return (bytes + unit - 1) / unit * unit;
}

void *mem_large(size_t bytes)
{
    void *memory = NULL;
    size_t unit = large_unit(bytes);
    bytes = mem_large_bytes(bytes);
    if (posix_memalign(&memory, unit, bytes) != 0)
        out_of_memory();
    if (unit == HUGE_PAGE_BYTES)
        (void)madvise(memory, bytes, MADV_HUGEPAGE); /* ordinary pages serve as well */
    return memory;
}

char *mem_strdup(const char *text)
{
    if (!text)
        return NULL;
    char *copy = strdup(text);
    if (!copy)
        out_of_memory();
    return copy;
}

void mem_scope(void *pointer)
{
    free(*(void **)pointer);
}

void fd_scope(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static struct block *block_create(size_t size, struct block *next)
{
    struct block *block = mem_alloc(1, sizeof *block + size);
    block->next = next;
    block->size = size;
    return block;
}

struct arena *arena_create(void)
{
    struct arena *arena = mem_alloc(1, sizeof *arena);
    arena->blocks = block_create(ARENA_BLOCK_BYTES, NULL);
    return arena;
}

static void blocks_free(struct block *block)
{
    while (block) {
        struct block *next = block->next;
        free(block);
        block = next;
    }
}

void arena_destroy(struct arena *arena)
{
    if (!arena)
        return;
    blocks_free(arena->blocks);
    free(arena);
}

void arena_reset(struct arena *arena)
{
    struct block *first = arena->blocks;
    while (first->next) {
        struct block *next = first->next;
        free(first);
        first = next;
    }
    if (first->used > first->dirty)
        first->dirty = first->used;
    first->used = 0;
    arena->blocks = first;
    arena->used = 0;
}

/* Not zeroed; *ret_dirty of the bytes, at the beginning, may be anything. */
static void *arena_take(struct arena *arena, size_t bytes, size_t *ret_dirty)
{
    if (bytes > SIZE_MAX / 2)
        out_of_memory();
    bytes = (bytes + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    struct block *block = arena->blocks;
    if (block->size - block->used < bytes) {
        size_t want = bytes > ARENA_BLOCK_BYTES ? bytes : ARENA_BLOCK_BYTES;
        block = arena->blocks = block_create(want, block);
    }
    size_t dirty = block->dirty > block->used ? block->dirty - block->used : 0;
    *ret_dirty = dirty < bytes ? dirty : bytes;
    void *memory = block->bytes + block->used;
    block->used += bytes;
    arena->used += bytes;
    return memory;
}

void *arena_alloc(struct arena *arena, size_t count, size_t size)
{
    size_t bytes, dirty;
    if (__builtin_mul_overflow(count, size, &bytes))
        out_of_memory();
    void *memory = arena_take(arena, bytes, &dirty);
    if (dirty > 0)
        memset(memory, 0, dirty);
    return memory;
}

char *arena_strndup(struct arena *arena, const char *text, size_t length)
{
    size_t dirty;
    char *copy = arena_take(arena, length + 1, &dirty);
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return text ? arena_strndup(arena, text, strlen(text)) : NULL;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    assert(length >= 0);
    char *text = arena_alloc(arena, (size_t)length + 1, 1);
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

size_t arena_used(const struct arena *arena)
{
    return arena->used;
}
