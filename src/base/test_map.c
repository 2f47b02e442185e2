/* Tests of the maps: by hand, and against an array that is searched from end to end. */
#include "base/map.h"
#include "base/memory.h"
#include "base/prng.h"
#include "base/test.h"

#include <stdio.h>
#include <string.h>

enum { KEYS = 300, STEPS = 60000, SEEDS = 8 };

static int values[KEYS];

/* A different spread of keys for each seed: dense, multiples of a power of two, anything. */
static uint64_t nth_key(uint64_t seed, uint64_t n)
{
    struct prng prng = {seed * 1000 + n};
    switch (seed % 3) {
    case 0: return n + 1;
    case 1: return (n + 1) << 40;
    default: return prng_next(&prng) | 1;
    }
}

static void check_idmap(uint64_t seed)
{
    struct prng prng = {seed};
    struct idmap map = {0};
    void *model[KEYS] = {0};
    size_t count = 0;
    for (int step = 0; step < STEPS; step++) {
        uint64_t n = prng_below(&prng, KEYS);
        uint64_t key = nth_key(seed, n);
        /* Grows for the first half, shrinks after it. */
        bool put = prng_below(&prng, 100) < (step < STEPS / 2 ? 60 : 40);
        if (put) {
            void *value = &values[prng_below(&prng, KEYS)];
            idmap_put(&map, key, value);
            count += !model[n];
            model[n] = value;
        } else {
            assert_ptr_equal(idmap_remove(&map, key), model[n]);
            count -= model[n] != NULL;
            model[n] = NULL;
        }
        assert_int_equal(map.count, count);
        uint64_t other = prng_below(&prng, KEYS);
        assert_ptr_equal(idmap_get(&map, nth_key(seed, other)), model[other]);
    }
    for (uint64_t n = 0; n < KEYS; n++)
        assert_ptr_equal(idmap_get(&map, nth_key(seed, n)), model[n]);
    idmap_clear(&map);
    assert_int_equal(map.count, 0);
    for (uint64_t n = 0; n < KEYS; n++)
        assert_null(idmap_get(&map, nth_key(seed, n)));
    idmap_finish(&map);
}

static void test_idmap_equals_a_naive_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        check_idmap(seed);
}

static void check_strmap(uint64_t seed)
{
    struct prng prng = {seed};
    struct strmap map = {0};
    void *model[KEYS] = {0};
    size_t count = 0;
    char key[32];
    for (int step = 0; step < STEPS; step++) {
        uint64_t n = prng_below(&prng, KEYS);
        snprintf(key, sizeof key, "team/%u", (unsigned)n);
        if (prng_below(&prng, 100) < (step < STEPS / 2 ? 60 : 40)) {
            void *value = &values[prng_below(&prng, KEYS)];
            strmap_put(&map, key, value);
            count += !model[n];
            model[n] = value;
        } else {
            assert_ptr_equal(strmap_remove(&map, key), model[n]);
            count -= model[n] != NULL;
            model[n] = NULL;
        }
        assert_int_equal(map.count, count);
        uint64_t other = prng_below(&prng, KEYS);
        snprintf(key, sizeof key, "team/%u", (unsigned)other);
        assert_ptr_equal(strmap_get(&map, key), model[other]);
    }
    strmap_finish(&map);
}

static void test_strmap_equals_a_naive_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        check_strmap(seed);
}

static void test_empty_maps_answer(void **state)
{
    (void)state;
    struct idmap ids = {0};
    struct strmap texts = {0};
    assert_null(idmap_get(&ids, 1));
    assert_null(idmap_get(&ids, 0));
    assert_null(idmap_remove(&ids, 1));
    assert_null(strmap_get(&texts, ""));
    assert_null(strmap_remove(&texts, "x"));
    idmap_finish(&ids);
    strmap_finish(&texts);
}

static void test_id_zero_is_never_there(void **state)
{
    (void)state;
    struct idmap map = {0};
    idmap_put(&map, UINT64_MAX, &values[0]);
    assert_null(idmap_get(&map, 0));
    assert_null(idmap_remove(&map, 0));
    assert_ptr_equal(idmap_get(&map, UINT64_MAX), &values[0]);
    idmap_finish(&map);
}

static void test_putting_again_replaces(void **state)
{
    (void)state;
    struct strmap map = {0};
    strmap_put(&map, "a", &values[0]);
    strmap_put(&map, "a", &values[1]);
    assert_int_equal(map.count, 1);
    assert_ptr_equal(strmap_get(&map, "a"), &values[1]);
    strmap_finish(&map);
}

static void test_strmap_keeps_copies_of_its_keys(void **state)
{
    (void)state;
    struct strmap map = {0};
    char key[] = "alpha";
    strmap_put(&map, key, &values[0]);
    key[0] = 'A';
    assert_null(strmap_get(&map, key));
    assert_ptr_equal(strmap_get(&map, "alpha"), &values[0]);
    strmap_finish(&map);
}

static void test_a_finished_map_can_be_used_again(void **state)
{
    (void)state;
    struct strmap map = {0};
    strmap_put(&map, "", &values[0]);
    strmap_finish(&map);
    assert_null(strmap_get(&map, ""));
    strmap_put(&map, "", &values[1]);
    assert_ptr_equal(strmap_get(&map, ""), &values[1]);
    strmap_finish(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idmap_equals_a_naive_model),
        cmocka_unit_test(test_strmap_equals_a_naive_model),
        cmocka_unit_test(test_empty_maps_answer),
        cmocka_unit_test(test_id_zero_is_never_there),
        cmocka_unit_test(test_putting_again_replaces),
        cmocka_unit_test(test_strmap_keeps_copies_of_its_keys),
        cmocka_unit_test(test_a_finished_map_can_be_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
