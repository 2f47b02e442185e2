/* Tests of compressed bodies: what goes in comes out, and nothing else does. */
#include "base/memory.h"
#include "base/test.h"
#include "encoding.h"

#include <stdint.h>
#include <string.h>

enum { BYTES_MAX = 1 << 20 };

static void test_what_goes_in_comes_out(void **state)
{
    (void)state;
    static const char *const encodings[] = {"gzip", "deflate"};
    static const size_t lengths[] = {0, 1, 100, 70000, BYTES_MAX};
    for (size_t i = 0; i < ARRAY_LEN(encodings) * ARRAY_LEN(lengths); i++) {
        const char *encoding = encodings[i % 2];
        size_t length = lengths[i / 2];
        char *bytes = mem_alloc(length + 1, 1);
        uint32_t number = 1;
        for (size_t at = 0; at < length; at++)
            bytes[at] = (char)((number = number * 1664525 + 1013904223) >> 29);
        struct strbuf packed = {0}, out = {0};
        struct error err;
        encoding_do(encoding, bytes, length, &packed);
        assert_int_equal(
            encoding_undo(encoding, packed.text, packed.length, BYTES_MAX, &out, &err), 0);
        assert_int_equal(out.length, length);
        assert_memory_equal(strbuf_text(&out), bytes, length);
        strbuf_finish(&packed);
        strbuf_finish(&out);
        mem_scope(&bytes);
    }
}

static void refused(
    const char *encoding, const char *bytes, size_t length, size_t bytes_max, enum error_code code)
{
    struct strbuf out = {0};
    struct error err;
    assert_int_equal(encoding_undo(encoding, bytes, length, bytes_max, &out, &err), -1);
    assert_int_equal(err.code, code);
    strbuf_finish(&out);
}

static void test_what_is_not_whole_or_too_large_is_refused(void **state)
{
    (void)state;
    static char zeros[BYTES_MAX];
    struct strbuf packed = {0};
    encoding_do("gzip", zeros, sizeof zeros, &packed);
    assert_true(packed.length < 10000);
    refused("gzip", packed.text, packed.length, BYTES_MAX - 1, ERR_TOO_LARGE);
    for (size_t length = 0; length < packed.length; length += 37)
        refused("gzip", packed.text, length, BYTES_MAX, ERR_INVALID);
    refused("deflate", packed.text, packed.length, BYTES_MAX, ERR_INVALID);
    refused("br", packed.text, packed.length, BYTES_MAX, ERR_INVALID);
    refused("gzip", "{}", 2, BYTES_MAX, ERR_INVALID);
    strbuf_puts(&packed, "more");
    refused("gzip", packed.text, packed.length, BYTES_MAX, ERR_INVALID);
    strbuf_finish(&packed);
}

static void test_what_is_wanted(void **state)
{
    (void)state;
    static const struct {
        const char *accept, *encoding;
    } cases[] = {{NULL, NULL}, {"", NULL}, {"gzip", "gzip"}, {"deflate", "deflate"},
        {"br, GZIP;q=0.5", "gzip"}, {" ,deflate , gzip", "deflate"},
        {"gzip;q=0, deflate", "deflate"}, {"gzip ; q=1", "gzip"}, {"gzipped", NULL},
        {"x-gzip", NULL}, {"identity", NULL}, {"*", NULL}, {",,,", NULL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *found = encoding_wanted(cases[i].accept);
        assert_true((found == NULL) == (cases[i].encoding == NULL));
        if (found)
            assert_string_equal(found, cases[i].encoding);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_goes_in_comes_out),
        cmocka_unit_test(test_what_is_not_whole_or_too_large_is_refused),
        cmocka_unit_test(test_what_is_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
