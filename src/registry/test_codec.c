/* Packed chunks: there and back, and what strangers may send as one. */
#include "registry/codec.h"
#include "registry/test_support.h"

#include "base/memory.h"

#include <string.h>
#include <zstd.h>

struct packed {
    unsigned char *raw, *stored, *back;
    size_t size;
    char digest[65];
};

static void pack(struct packed *packed, size_t size, void (*fill)(void *, size_t, uint64_t))
{
    packed->raw = mem_alloc(CHUNK_MAX, 1);
    packed->back = mem_alloc(CHUNK_MAX, 1);
    packed->stored = mem_alloc(OBJECT_STORED_MAX, 1);
    fill(packed->raw, size, size);
    packed->size = registry_pack_chunk(packed->raw, size, packed->stored, packed->digest);
}

static void packed_finish(struct packed *packed)
{
    mem_scope(&packed->raw);
    mem_scope(&packed->stored);
    mem_scope(&packed->back);
}

static int unpack(struct packed *packed, size_t *size)
{
    return registry_unpack_chunk(
        packed->stored, packed->size, packed->digest, packed->back, size, NULL);
}

static void test_unpacking_gives_what_was_packed(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 15, 16, 1000, 65536, 262143, 262144, 1 << 20, CHUNK_MAX};
    for (size_t i = 0; i < 2 * ARRAY_LEN(sizes); i++) {
        struct packed packed;
        size_t size = sizes[i / 2], is = 0;
        pack(&packed, size, i % 2 ? fill_text : fill_random);
        assert_true(packed.size <= size + CODEC_HEADER);
        assert_int_equal(unpack(&packed, &is), 0);
        assert_int_equal(is, size);
        assert_memory_equal(packed.raw, packed.back, size);
        packed_finish(&packed);
    }
}

static void test_only_what_saves_enough_is_compressed(void **state)
{
    (void)state;
    struct packed packed;
    pack(&packed, 1 << 20, fill_random);
    assert_int_equal(packed.size, (1 << 20) + CODEC_HEADER);
    packed_finish(&packed);
    pack(&packed, 1 << 20, fill_text);
    assert_true(packed.size < (1 << 20) * 6 / 10);
    packed_finish(&packed);
}

static void test_every_changed_byte_is_refused(void **state)
{
    (void)state;
    for (int text = 0; text < 2; text++) {
        struct packed packed;
        size_t is;
        pack(&packed, 3000, text ? fill_text : fill_random);
        for (size_t i = 0; i < packed.size; i++) {
            packed.stored[i] ^= 0x40;
            /* What zstd does not look at changes no raw byte, which is what is promised. */
            if (unpack(&packed, &is) == 0)
                assert_memory_equal(packed.raw, packed.back, 3000);
            packed.stored[i] ^= 0x40;
        }
        for (size_t size = 0; size < packed.size; size++)
            assert_int_equal(
                registry_unpack_chunk(packed.stored, size, packed.digest, packed.back, &is, NULL),
                -1);
        packed_finish(&packed);
    }
}

/* A header that says `length` before a frame. */
static size_t put_frames(unsigned char *out, uint64_t length, const void *frames, size_t size)
{
    memcpy(out, "muob\1\0\0\0", 8);
    for (int i = 0; i < 8; i++)
        out[8 + i] = (unsigned char)(length >> (8 * i));
    memcpy(out + CODEC_HEADER, frames, size);
    return CODEC_HEADER + size;
}

static void test_bombs_and_second_frames_are_refused(void **state)
{
    (void)state;
    struct packed packed;
    struct error err;
    size_t is, big = 64 << 20;
    SCOPED(mem_scope) unsigned char *zeros = mem_alloc(big, 1);
    SCOPED(mem_scope) unsigned char *frame = mem_alloc(1 << 20, 1);
    pack(&packed, 100, fill_text);
    size_t size = ZSTD_compress(frame, 1 << 20, zeros, big, 3);
    /* 64 MiB in some kilobytes, told as it is and as a chunk. */
    for (int told = 0; told < 2; told++) {
        packed.size = put_frames(packed.stored, told ? CHUNK_MAX : big, frame, size);
        assert_int_equal(registry_unpack_chunk(
                             packed.stored, packed.size, packed.digest, packed.back, &is, &err),
            -1);
        assert_int_equal(err.code, told ? ERR_INVALID : ERR_TOO_LARGE);
    }
    size = ZSTD_compress(frame, 1 << 20, packed.raw, 50, 3);
    size += ZSTD_compress(frame + size, (1 << 20) - size, packed.raw + 50, 50, 3);
    packed.size = put_frames(packed.stored, 100, frame, size);
    assert_int_equal(unpack(&packed, &is), -1);
    packed.size = put_frames(packed.stored, 0, frame, size);
    assert_int_equal(unpack(&packed, &is), -1);
    packed_finish(&packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unpacking_gives_what_was_packed),
        cmocka_unit_test(test_only_what_saves_enough_is_compressed),
        cmocka_unit_test(test_every_changed_byte_is_refused),
        cmocka_unit_test(test_bombs_and_second_frames_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
