/* Tests of the filter of event streams: every stream cut at every byte gives the same bytes. */
#include "base/memory.h"
#include "base/strbuf.h"
#include "base/test.h"
#include "gateway/usage_strip.h"

#include <string.h>

#define CHUNK                                                                                      \
    "data: {\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}],"               \
    "\"usage\":null}"
#define USAGE                                                                                      \
    "data: {\"id\":\"a\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,"                           \
    "\"prompt_tokens_details\":{\"cached_tokens\":0},\"completion_tokens\":2}}"

static void feed(struct usage_strip *strip, const char *text, size_t length, struct strbuf *ret)
{
    const char *out;
    size_t count = usage_strip_piece(strip, text, length, &out);
    if (count > 0)
        strbuf_append(ret, out, count);
}

static size_t strip_cut(
    const char *text, size_t length, size_t cut, size_t piece, struct strbuf *ret)
{
    struct usage_strip strip = {0};
    const char *out;
    strbuf_clear(ret);
    feed(&strip, text, cut, ret);
    for (size_t at = cut; at < length; at += piece)
        feed(&strip, text + at, length - at < piece ? length - at : piece, ret);
    size_t count = usage_strip_end(&strip, &out), removed = strip.removed;
    if (count > 0)
        strbuf_append(ret, out, count);
    usage_strip_finish(&strip);
    return removed;
}

static void check(const char *text, const char *expected, size_t removed)
{
    struct strbuf out = {0};
    size_t length = strlen(text);
    for (size_t cut = 0; cut <= length; cut++) {
        for (size_t piece = 1; piece <= length + 1; piece = piece < 3 ? piece + 1 : piece * 4) {
            assert_int_equal(strip_cut(text, length, cut, piece, &out), removed);
            assert_string_equal(strbuf_text(&out), expected);
        }
    }
    strbuf_finish(&out);
}

static void test_the_usage_event_is_taken_out(void **state)
{
    (void)state;
    check(CHUNK "\n\n" USAGE "\n\ndata: [DONE]\n\n", CHUNK "\n\ndata: [DONE]\n\n", 1);
    check(CHUNK "\r\n\r\n" USAGE "\r\n\r\ndata: [DONE]\r\n\r\n",
        CHUNK "\r\n\r\ndata: [DONE]\r\n\r\n", 1);
    check(CHUNK "\r\r" USAGE "\r\rdata: [DONE]\r\r", CHUNK "\r\rdata: [DONE]\r\r", 1);
    check(CHUNK "\n\r\n" USAGE "\r\n\ndata: [DONE]\n\r", CHUNK "\n\r\ndata: [DONE]\n\r", 1);
    check(USAGE "\n\n", "", 1);
    check(USAGE "\n\n" USAGE "\n\n" CHUNK "\n\n", CHUNK "\n\n", 2);
    check(": a comment\n\nid: 7\n" USAGE "\nevent: x\n\n: end\n\n", ": a comment\n\n: end\n\n", 1);
    check("data:{\"usage\" : { } ,\"choices\" : [ ] }\n\n", "", 1);
}

static void test_everything_else_is_passed_on(void **state)
{
    (void)state;
    static const char *const cases[] = {"", "\n", "\n\n\n", "\r\n\r\n\r\n", CHUNK "\n\n",
        "data: [DONE]\n\n", "data: {\"choices\":[]}\n\n",
        "data: {\"choices\":[],\"usage\":null}\n\n",
        "data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":1}}\n\n",
        "data: {\"choices\":[0],\"usage\":{}}\n\n", "data: {\"usage\":{\"choices\":[]}}\n\n",
        "data: {\"choices\":{},\"usage\":{}}\n\n",
        "data: {\"x\":{\"choices\":[],\"usage\":{}},\"choices\":[{\"text\":\"\"}]}\n\n",
        /* not complete, no JSON, in several lines */
        USAGE, USAGE "\n", USAGE "\r\n", "data: {\"choices\":[],\"usage\":{}\n\n",
        "data: {\"choices\":[],\"usage\":{}}}\n\n", "dat: {\"choices\":[],\"usage\":{}}\n\n",
        "data: {\"choices\":[],\ndata: \"usage\":{}}\n\n", ": {\"choices\":[],\"usage\":{}}\n\n"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(cases[i], cases[i], 0);
}

static void test_an_event_that_is_too_long_is_passed_on(void **state)
{
    (void)state;
    struct strbuf text = {0}, out = {0};
    strbuf_puts(&text, "data: {\"choices\":[],\"usage\":{\"x\":\"");
    for (int i = 0; i < USAGE_EVENT_BYTES_MAX; i++)
        strbuf_putc(&text, 'a');
    strbuf_puts(&text, "\"}}\n\n");
    size_t length = text.length;
    strbuf_puts(&text, USAGE "\n\n");
    for (size_t cut = 0; cut < text.length; cut += 97) {
        for (size_t piece = 13; piece < 2 * text.length; piece *= 7) {
            assert_int_equal(strip_cut(text.text, text.length, cut, piece, &out), 1);
            assert_int_equal(out.length, length);
            assert_memory_equal(out.text, text.text, length);
        }
    }
    strbuf_finish(&text);
    strbuf_finish(&out);
}

static void test_an_event_is_passed_on_as_soon_as_it_is_whole(void **state)
{
    (void)state;
    struct usage_strip strip = {0};
    struct strbuf out = {0};
    const char *text = CHUNK "\n\n";
    for (size_t i = 0; i < strlen(text); i++) {
        assert_int_equal(out.length, 0);
        feed(&strip, text + i, 1, &out);
    }
    assert_string_equal(out.text, text);
    feed(&strip, "data: half", 10, &out);
    assert_string_equal(out.text, text);
    usage_strip_finish(&strip);
    strbuf_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_usage_event_is_taken_out),
        cmocka_unit_test(test_everything_else_is_passed_on),
        cmocka_unit_test(test_an_event_that_is_too_long_is_passed_on),
        cmocka_unit_test(test_an_event_is_passed_on_as_soon_as_it_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
