/* LANES before a static function whose loops do the same to a few numbers side by side: on x86-64
 * it is compiled twice, and processors with AVX2 run the one that has it. In whole numbers both
 * give the same to the bit. Elsewhere, and under ThreadSanitizer, which starts too late for the
 * choice, it is compiled once. (Of an exported one clang 14 exports another name.) What such a
 * function calls is part of it if it is LANES_PART. */
#pragma once

#include <stdbool.h>
#include <stdint.h> /* __GLIBC__ */

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LANES
#endif
#endif
#if !defined(LANES) && defined(__x86_64__) && defined(__GLIBC__) && !defined(__SANITIZE_THREAD__)
#define LANES __attribute__((target_clones("avx2", "default")))
#elif !defined(LANES)
#define LANES
#endif
#define LANES_PART static inline __attribute__((always_inline))

/* Eight or four numbers side by side, wherever they lie: what a compiler is to keep in one register
 * and not to unroll. Eight are handed on by address alone, for by value they would need AVX in
 * functions that are compiled without. */
typedef int32_t lanes8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t lanes4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef int64_t words4 __attribute__((vector_size(32), aligned(8), may_alias));
typedef uint64_t uwords4 __attribute__((vector_size(32), aligned(8), may_alias));
#define LANES8(at)  (*(const lanes8 *)(at))
#define LANES4(at)  (*(const lanes4 *)(at))
#define WORDS4(at)  (*(const words4 *)(at))
#define UWORDS4(at) (*(const uwords4 *)(at))

/* The less of each pair. */
LANES_PART void lanes8_least(const lanes8 *a, const lanes8 *b, lanes8 *ret)
{
    lanes8 less = *a < *b;
    *ret = (*a & less) | (*b & ~less);
}

/* The more of each pair. */
LANES_PART void lanes8_most(const lanes8 *a, const lanes8 *b, lanes8 *ret)
{
    lanes8 more = *a > *b;
    *ret = (*a & more) | (*b & ~more);
}

/* Whether one of a is above its partner in b. */
LANES_PART bool lanes8_any_above(const lanes8 *a, const lanes8 *b)
{
    lanes8 above = *a > *b;
    int32_t any = 0;
    for (int i = 0; i < 8; i++)
        any |= above[i];
    return any;
}
