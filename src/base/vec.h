/* A growable array of any type, as macros over a plain struct:
 *
 *     VEC(struct job *) jobs = {0};
 *     vec_push(&jobs, job);
 *     for (size_t i = 0; i < jobs.count; i++) use(jobs.items[i]);
 *     vec_free(&jobs);
 */
#pragma once

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define VEC(type)                                                                                  \
    struct {                                                                                       \
        type *items;                                                                               \
        size_t count;                                                                              \
        size_t capacity;                                                                           \
    }

#define vec_reserve(v, n)                                                                          \
    do {                                                                                           \
        if ((v)->capacity < (n)) {                                                                 \
            size_t vec_new_ = (v)->capacity ? (v)->capacity * 2 : 8;                               \
            if (vec_new_ < (n))                                                                    \
                vec_new_ = (n);                                                                    \
            (v)->items = mem_resize((v)->items, vec_new_, sizeof *(v)->items);                     \
            (v)->capacity = vec_new_;                                                              \
        }                                                                                          \
    } while (0)

/* Makes it n items in memory of mem_large: what they are is for the caller to say. */
#define vec_large(v, n)                                                                            \
    do {                                                                                           \
        if ((v)->capacity < (n)) {                                                                 \
            free((v)->items);                                                                      \
            (v)->items = mem_large((n) * sizeof *(v)->items);                                      \
            (v)->capacity = (n);                                                                   \
        }                                                                                          \
        (v)->count = (n);                                                                          \
    } while (0)

#define vec_push(v, item)                                                                          \
    do {                                                                                           \
        vec_reserve((v), (v)->count + 1);                                                          \
        (v)->items[(v)->count++] = (item);                                                         \
    } while (0)

/* Takes item i out and keeps the order of the others. */
#define vec_remove(v, i)                                                                           \
    do {                                                                                           \
        memmove(                                                                                   \
            (v)->items + (i), (v)->items + (i) + 1, ((v)->count - (i)-1) * sizeof *(v)->items);    \
        (v)->count--;                                                                              \
    } while (0)

/* Puts item at place i, before what is there. */
#define vec_insert(v, i, item)                                                                     \
    do {                                                                                           \
        vec_reserve((v), (v)->count + 1);                                                          \
        memmove((v)->items + (i) + 1, (v)->items + (i), ((v)->count - (i)) * sizeof *(v)->items);  \
        (v)->items[i] = (item);                                                                    \
        (v)->count++;                                                                              \
    } while (0)

#define vec_clear(v) ((void)((v)->count = 0))

#define vec_free(v)                                                                                \
    do {                                                                                           \
        free((v)->items);                                                                          \
        (v)->items = NULL;                                                                         \
        (v)->count = (v)->capacity = 0;                                                            \
    } while (0)
