/* Memory: allocation that cannot fail, arenas, cleanup at the end of a scope.
 *
 * Input sizes are bounded where input enters, so running out of memory is not an error a request
 * can cause: these functions end the process instead of returning NULL, and the store brings
 * the state back. */
#pragma once

#include <stddef.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* `SCOPED(arena_scope) struct arena *a = arena_create();` calls arena_scope(&a) at the end of
 * the scope. By convention each owning type X has an inline X_scope that takes NULL. */
#define SCOPED(function) __attribute__((cleanup(function)))

/* Zeroed memory of count * size bytes; ends the process on overflow or exhaustion. The caller
 * frees it with free(). */
void *mem_alloc(size_t count, size_t size);
/* As reallocarray, but cannot fail. New bytes are not zeroed. */
void *mem_resize(void *memory, size_t count, size_t size);
/* Memory of so many bytes, not zeroed, to be freed with free(); cannot fail. It begins a line of
 * the cache, and from 1 MiB on it is in huge pages of 2 MiB, where the system has them for who
 * asks: for what is looked at all over. */
void *mem_large(size_t bytes);
/* How many bytes there are when so many are asked for: whole lines, or whole pages. */
size_t mem_large_bytes(size_t bytes);
/* A copy of text, to be freed by the caller. NULL gives NULL. */
char *mem_strdup(const char *text);
/* Frees *(void **)pointer: SCOPED(mem_scope) char *text = ... */
void mem_scope(void *pointer);
/* Closes *fd when it is not negative: SCOPED(fd_scope) int fd = ... */
void fd_scope(int *fd);

/* An arena: many small allocations with one lifetime (a request, a scheduling pass). */
struct arena;

/* An empty arena; the caller destroys it. */
struct arena *arena_create(void);
/* Frees the arena and everything in it. */
void arena_destroy(struct arena *arena); /* NULL is fine */
/* Forgets every allocation, keeps the first block for the next use. */
void arena_reset(struct arena *arena);
/* Zeroed memory, aligned for any type, valid until reset or destroy. Never NULL. */
void *arena_alloc(struct arena *arena, size_t count, size_t size);
char *arena_strdup(struct arena *arena, const char *text); /* NULL gives NULL */
/* A copy of exactly length bytes, terminated with NUL. */
char *arena_strndup(struct arena *arena, const char *text, size_t length);
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Bytes handed out since creation or the last reset. */
size_t arena_used(const struct arena *arena);

static inline void arena_scope(struct arena **arena)
{
    arena_destroy(*arena);
}
