/* Tests of beginnings of prompts: blocks, the longest one known, and a random run against a plain
 * list of what was given to whom. */
#include "base/memory.h"
#include "base/test.h"
#include "gateway/prefix.h"

#include <stdlib.h>
#include <string.h>

static void blocks_are_hashed_up_to_their_end(void **state)
{
    (void)state;
    struct prefix one, two;
    char text[1000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 7 % 251);
    prefix_make(text, sizeof text, 100, &one);
    assert_int_equal(one.count, 10);
    text[450] ^= 1;
    prefix_make(text, 999, 100, &two);
    assert_int_equal(two.count, 9);
    assert_memory_equal(one.hashes, two.hashes, 4 * sizeof one.hashes[0]);
    for (size_t i = 4; i < 9; i++)
        assert_true(one.hashes[i] != two.hashes[i]);
    prefix_make(text, 99, 100, &one);
    assert_int_equal(one.count, 0);
    prefix_make(text, 1000, 8, &one);
    assert_int_equal(one.count, 125);
}

static void the_longest_beginning_counts(void **state)
{
    (void)state;
    struct prefix_map *map = prefix_map_create();
    struct prefix system = {{11, 22}, 2}, long_one = {{11, 22, 33, 44}, 4};
    struct prefix asked = {{11, 22, 33, 55, 66}, 5}, other = {{77}, 1};
    size_t blocks;
    for (size_t i = 0; i < 4; i++) {
        long_one.hashes[i] *= 0x9e3779b97f4a7c15u;
        asked.hashes[i] *= 0x9e3779b97f4a7c15u;
        system.hashes[i & 1] = long_one.hashes[i & 1];
    }
    assert_int_equal(prefix_map_find(map, &asked, &blocks), 0);
    assert_int_equal(blocks, 0);
    prefix_map_note(map, &long_one, 7);
    prefix_map_note(map, &system, 9);
    assert_int_equal(prefix_map_find(map, &asked, &blocks), 7);
    assert_int_equal(blocks, 3);
    assert_int_equal(prefix_map_find(map, &system, NULL), 9);
    assert_int_equal(prefix_map_find(map, &other, NULL), 0);
    assert_true(prefix_tag(0) != 0 && prefix_tag(1) != prefix_tag(2));
    prefix_map_destroy(map);
}

/* Whatever is found was noted for that very block, and nearly everything that was noted is found:
 * the slots are far more than the blocks. */
static void random_prompts_agree_with_a_list(void **state)
{
    enum { PROMPTS = 2000, BLOCKS = 20 };
    (void)state;
    static uint32_t last[PROMPTS][BLOCKS];
    struct prefix_map *map = prefix_map_create();
    uint64_t random = 99;
    int missed = 0;
    for (int step = 0; step < 20000; step++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t prompt = (size_t)(random >> 33) % PROMPTS;
        struct prefix prefix = {.count = 1 + (size_t)(random >> 50) % BLOCKS};
        uint32_t tag = 1 + (uint32_t)(random >> 20) % 1000;
        for (size_t i = 0; i < prefix.count; i++)
            prefix.hashes[i] = (prompt * BLOCKS + i + 1) * 0x9e3779b97f4a7c15u;
        size_t blocks;
        uint32_t found = prefix_map_find(map, &prefix, &blocks);
        if (found)
            assert_int_equal(found, last[prompt][blocks - 1]);
        missed += !found && last[prompt][0];
        prefix_map_note(map, &prefix, tag);
        for (size_t i = 0; i < prefix.count; i++)
            last[prompt][i] = tag;
    }
    assert_in_range(missed, 0, 200);
    prefix_map_destroy(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_hashed_up_to_their_end),
        cmocka_unit_test(the_longest_beginning_counts),
        cmocka_unit_test(random_prompts_agree_with_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
