/* Where files are cut: bounds, that a change stays local, and the cuts themselves, which must never
 * change: every stored file would be stored again. */
#include "registry/chunker.h"
#include "registry/sha.h"
#include "registry/test_support.h"

#include "base/memory.h"
#include "base/vec.h"

#include <string.h>

enum { SIZE = 40 << 20 };

typedef VEC(struct digest) digests;

/* The lengths of the chunks of some bytes, given `step` at a time. */
static size_t cut(
    const unsigned char *bytes, size_t size, size_t step, size_t *lengths, size_t most)
{
    size_t count = 0, start = 0;
    struct chunker chunker = {0};
    for (size_t end = 0; end < size;) {
        size_t length;
        end = size - end < step ? size : end + step;
        while ((length = chunker_scan(&chunker, bytes + start,
                    end - start < CHUNK_MAX ? end - start : CHUNK_MAX)) > 0) {
            assert_true(count < most);
            lengths[count++] = length;
            start += length;
            chunker = (struct chunker){0};
        }
    }
    if (start < size)
        lengths[count++] = size - start;
    return count;
}

static void cut_digests(const unsigned char *bytes, size_t size, digests *out)
{
    size_t lengths[256];
    size_t count = cut(bytes, size, CHUNK_MAX, lengths, 256);
    SCOPED(sha_scope) struct sha *sha = sha_create();
    for (size_t i = 0; i < count; bytes += lengths[i++])
        vec_push(out, sha_of(sha, bytes, lengths[i]));
}

static unsigned char *random_bytes(size_t size, uint64_t seed)
{
    unsigned char *bytes = mem_alloc(size, 1);
    fill_random(bytes, size, seed);
    return bytes;
}

static void test_lengths_are_within_bounds_and_add_up(void **state)
{
    (void)state;
    SCOPED(mem_scope) unsigned char *bytes = random_bytes(SIZE, 1);
    size_t lengths[256], sum = 0;
    size_t count = cut(bytes, SIZE, CHUNK_MAX, lengths, 256);
    for (size_t i = 0; i < count; sum += lengths[i++]) {
        assert_true(lengths[i] <= CHUNK_MAX);
        assert_true(i == count - 1 || lengths[i] >= CHUNK_MIN);
    }
    assert_int_equal(sum, SIZE);
    /* The average is near what its name says. */
    assert_in_range(SIZE / count, CHUNK_AVERAGE * 3 / 4, CHUNK_AVERAGE * 3 / 2);
}

static void test_cuts_do_not_depend_on_how_bytes_arrive(void **state)
{
    (void)state;
    static const size_t steps[] = {1 << 20, 65536, 4097, 333};
    SCOPED(mem_scope) unsigned char *bytes = random_bytes(SIZE, 2);
    size_t whole[256], parts[256];
    size_t count = cut(bytes, SIZE, CHUNK_MAX, whole, 256);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        assert_int_equal(cut(bytes, SIZE, steps[i], parts, 256), count);
        assert_memory_equal(whole, parts, count * sizeof *whole);
    }
}

static void test_equal_bytes_are_cut_at_a_bound(void **state)
{
    (void)state;
    SCOPED(mem_scope) unsigned char *bytes = mem_alloc(SIZE, 1);
    for (int byte = 0; byte < 256; byte += 51) {
        size_t lengths[256];
        memset(bytes, byte, SIZE);
        size_t count = cut(bytes, SIZE, CHUNK_MAX, lengths, 256);
        for (size_t i = 0; i + 1 < count; i++)
            assert_true(lengths[i] == CHUNK_MIN || lengths[i] == CHUNK_MAX);
    }
}

static size_t in_common(const digests *a, const digests *b)
{
    size_t common = 0;
    for (size_t i = 0; i < a->count; i++)
        for (size_t k = 0; k < b->count; k++)
            if (digest_compare(&a->items[i], &b->items[k]) == 0) {
                common++;
                break;
            }
    return common;
}

static void test_bytes_put_in_change_chunks_around_them_only(void **state)
{
    (void)state;
    static const size_t places[] = {0, SIZE / 2};
    SCOPED(mem_scope) unsigned char *bytes = random_bytes(SIZE, 3);
    SCOPED(mem_scope) unsigned char *longer = mem_alloc(SIZE + 13, 1);
    digests before = {0};
    cut_digests(bytes, SIZE, &before);
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        digests after = {0};
        memcpy(longer, bytes, places[i]);
        memset(longer + places[i], 'x', 13);
        memcpy(longer + places[i] + 13, bytes + places[i], SIZE - places[i]);
        cut_digests(longer, SIZE + 13, &after);
        assert_true(in_common(&after, &before) + 4 >= after.count);
        vec_free(&after);
    }
    vec_free(&before);
}

/* Computed by another program, in another language, from what chunker.h and chunker.c say. */
static void test_cuts_are_those_of_every_release(void **state)
{
    (void)state;
    static const size_t golden[] = {1131640, 1046212, 1239933, 1091761, 1979961, 1053263, 845838};
    SCOPED(mem_scope) unsigned char *bytes = random_bytes(8 << 20, 4);
    size_t lengths[64];
    size_t count = cut(bytes, 8 << 20, CHUNK_MAX, lengths, 64);
    assert_int_equal(count, ARRAY_LEN(golden));
    for (size_t i = 0; i < count; i++)
        assert_int_equal(lengths[i], golden[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths_are_within_bounds_and_add_up),
        cmocka_unit_test(test_cuts_do_not_depend_on_how_bytes_arrive),
        cmocka_unit_test(test_equal_bytes_are_cut_at_a_bound),
        cmocka_unit_test(test_bytes_put_in_change_chunks_around_them_only),
        cmocka_unit_test(test_cuts_are_those_of_every_release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
