/* Tests of allocation, scopes, arenas and vectors. */
#include "base/memory.h"
#include "base/test.h"
#include "base/vec.h"

#include <fcntl.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void test_mem_alloc_zeroes_and_never_gives_null(void **state)
{
    (void)state;
    SCOPED(mem_scope) unsigned char *memory = mem_alloc(100, 10);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(memory[i], 0);
    SCOPED(mem_scope) void *nothing = mem_alloc(0, 0);
    assert_non_null(nothing);
}

static void test_mem_strdup_of_null_is_null(void **state)
{
    (void)state;
    assert_null(mem_strdup(NULL));
    SCOPED(mem_scope) char *copy = mem_strdup("text");
    assert_string_equal(copy, "text");
}

static void test_fd_scope_closes(void **state)
{
    (void)state;
    int seen;
    {
        SCOPED(fd_scope) int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        seen = fd;
    }
    assert_int_equal(fcntl(seen, F_GETFD), -1);
    SCOPED(fd_scope) int none = -1;
    assert_int_equal(none, -1);
}

static void test_arena_memory_is_aligned_zeroed_and_separate(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    unsigned char *pieces[500];
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        size_t size = i * 7 % 97 + 1;
        pieces[i] = arena_alloc(arena, size, 1);
        assert_int_equal((uintptr_t)pieces[i] % alignof(max_align_t), 0);
        for (size_t k = 0; k < size; k++)
            assert_int_equal(pieces[i][k], 0);
        memset(pieces[i], (int)(i % 255) + 1, size);
    }
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        for (size_t k = 0; k < i * 7 % 97 + 1; k++)
            assert_int_equal(pieces[i][k], i % 255 + 1);
    }
}

static void test_arena_takes_pieces_larger_than_a_block(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    char *small = arena_strdup(arena, "small");
    unsigned char *large = arena_alloc(arena, 1 << 20, 1);
    memset(large, 0xff, 1 << 20);
    assert_string_equal(small, "small");
    assert_string_equal(arena_strdup(arena, "after"), "after");
}

static void test_arena_reset_forgets_and_zeroes(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    for (int round = 0; round < 3; round++) {
        assert_int_equal(arena_used(arena), 0);
        unsigned char *memory = arena_alloc(arena, 1000, 1);
        for (size_t i = 0; i < 1000; i++)
            assert_int_equal(memory[i], 0);
        memset(memory, 0xaa, 1000);
        memset(arena_alloc(arena, 20000, 1), 0xaa, 20000);
        assert_in_range(arena_used(arena), 21000, 21000 + 2 * alignof(max_align_t));
        arena_reset(arena);
    }
}

/* Each time more is taken than the time before, behind strings, which need no zeroes. */
static void test_arena_gives_out_zeroes_again(void **state)
{
    static const unsigned char zeroes[4096];
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    for (size_t size = 16; size <= sizeof zeroes; size *= 2) {
        assert_string_equal(arena_strndup(arena, "abcdefgh", size % 8), "");
        assert_string_equal(arena_strndup(arena, "abcdefgh", 5), "abcde");
        unsigned char *memory = arena_alloc(arena, size, 1);
        assert_memory_equal(memory, zeroes, size);
        memset(memory, 0xaa, size);
        arena_reset(arena);
    }
}

static void test_arena_strings(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    assert_null(arena_strdup(arena, NULL));
    assert_string_equal(arena_strdup(arena, ""), "");
    assert_string_equal(arena_strndup(arena, "abcdef", 3), "abc");
    assert_string_equal(arena_printf(arena, "%s-%d", "job", 7), "job-7");
    char *padded = arena_printf(arena, "%20000d", 1);
    assert_int_equal(strlen(padded), 20000);
}

static void test_destroying_no_arena_is_fine(void **state)
{
    (void)state;
    arena_destroy(NULL);
}

static void test_large_memory_is_all_there(void **state)
{
    static const size_t sizes[] = {1, 1 << 20, (2 << 20) + 1};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        unsigned char *memory = mem_large(sizes[i]);
        memory[0] = 1;
        memory[sizes[i] - 1] = 2;
        assert_int_equal(memory[sizes[i] - 1], 2);
        assert_int_equal((uintptr_t)memory % 64, 0);
        assert_true(mem_large_bytes(sizes[i]) >= sizes[i]);
        memory[mem_large_bytes(sizes[i]) - 1] = 3;
        free(memory);
    }
}

static void test_vec_grows_and_keeps_its_order(void **state)
{
    (void)state;
    VEC(int) numbers = {0};
    for (int i = 0; i < 1000; i++)
        vec_push(&numbers, i);
    assert_int_equal(numbers.count, 1000);
    vec_remove(&numbers, 0);
    vec_remove(&numbers, 998);
    vec_remove(&numbers, 499);
    assert_int_equal(numbers.count, 997);
    assert_int_equal(numbers.items[0], 1);
    assert_int_equal(numbers.items[498], 499);
    assert_int_equal(numbers.items[499], 501);
    assert_int_equal(numbers.items[996], 998);
    vec_clear(&numbers);
    assert_int_equal(numbers.count, 0);
    vec_reserve(&numbers, 5000);
    assert_true(numbers.capacity >= 5000);
    vec_free(&numbers);
    assert_null(numbers.items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mem_alloc_zeroes_and_never_gives_null),
        cmocka_unit_test(test_mem_strdup_of_null_is_null),
        cmocka_unit_test(test_fd_scope_closes),
        cmocka_unit_test(test_arena_memory_is_aligned_zeroed_and_separate),
        cmocka_unit_test(test_arena_takes_pieces_larger_than_a_block),
        cmocka_unit_test(test_arena_reset_forgets_and_zeroes),
        cmocka_unit_test(test_arena_gives_out_zeroes_again),
        cmocka_unit_test(test_arena_strings),
        cmocka_unit_test(test_destroying_no_arena_is_fine),
        cmocka_unit_test(test_large_memory_is_all_there),
        cmocka_unit_test(test_vec_grows_and_keeps_its_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
