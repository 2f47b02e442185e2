/* Memory that connections between requests give back: what is taken is empty, whatever was given,
 * and no more is kept than was said. */
#include "base/test.h"
#include "wire/http_spares.h"

#include <string.h>

static void an_arena_comes_back_empty(void **state)
{
    struct http_spares spares = {0};
    struct arena *arena = spares_arena(&spares), *given = arena;
    (void)state;
    memset(arena_alloc(arena, 100, 1), 'x', 100);
    (void)arena_alloc(arena, 1 << 20, 1);
    spares_give_arena(&spares, &given);
    assert_null(given);
    struct arena *again = spares_arena(&spares);
    assert_ptr_equal(again, arena);
    assert_int_equal(arena_used(again), 0);
    const char *bytes = arena_alloc(again, 100, 1);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(bytes[i], 0);
    arena_destroy(again);
    spares_finish(&spares);
}

static void a_buffer_comes_back_empty(void **state)
{
    struct http_spares spares = {0};
    struct http_buffer buffer = {0}, other = {0};
    (void)state;
    http_buffer_puts(&buffer, "secret");
    spares_give_buffer(&spares, &buffer);
    assert_null(buffer.bytes);
    spares_buffer(&spares, &other);
    assert_non_null(other.bytes);
    assert_int_equal(http_buffer_length(&other), 0);
    /* One that has memory keeps it, and what is in it. */
    http_buffer_puts(&other, "kept");
    spares_buffer(&spares, &other);
    assert_int_equal(http_buffer_length(&other), 4);
    http_buffer_finish(&other);
    spares_finish(&spares);
}

static void no_more_is_kept_than_was_said(void **state)
{
    struct http_spares spares = {0};
    (void)state;
    for (int i = 0; i < 2 * SPARES_MAX; i++) {
        struct arena *arena = arena_create();
        struct http_buffer buffer = {0};
        http_buffer_puts(&buffer, "x");
        spares_give_arena(&spares, &arena);
        spares_give_buffer(&spares, &buffer);
        assert_null(arena);
        assert_null(buffer.bytes);
    }
    assert_int_equal(spares.arena_count, SPARES_MAX);
    assert_int_equal(spares.buffer_count, SPARES_MAX);
    spares_finish(&spares);
    assert_int_equal(spares.arena_count + spares.buffer_count, 0);
}

static void nothing_large_is_kept(void **state)
{
    struct http_spares spares = {0};
    struct http_buffer large = {0}, none = {0};
    struct arena *nothing = NULL;
    (void)state;
    http_buffer_reserve(&large, HTTP_BUFFER_KEEP_BYTES + 1);
    spares_give_buffer(&spares, &large);
    spares_give_buffer(&spares, &none);
    spares_give_arena(&spares, &nothing);
    assert_null(large.bytes);
    assert_int_equal(spares.arena_count + spares.buffer_count, 0);
    spares_finish(&spares);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_arena_comes_back_empty),
        cmocka_unit_test(a_buffer_comes_back_empty),
        cmocka_unit_test(no_more_is_kept_than_was_said),
        cmocka_unit_test(nothing_large_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
