/* Tests of what is read from bodies as they pass: the model of a request, the tokens of an answer.
 */
#include "base/memory.h"
#include "base/strbuf.h"
#include "base/test.h"
#include "gateway/model_scan.h"
#include "gateway/token_tail.h"

#include <stdlib.h>
#include <string.h>

static enum model_scan_result scan(const char *text, size_t piece, struct model_scan *ret)
{
    size_t length = strlen(text);
    model_scan_init(ret);
    for (size_t at = 0; at < length; at += piece)
        model_scan_feed(ret, text + at, length - at < piece ? length - at : piece);
    return model_scan_end(ret);
}

static void test_the_first_model_of_the_outermost_object_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *text, *model;
    } cases[] = {
        {"{\"model\":\"digits\"}", "digits"},
        {" {\n\"stream\" : true , \"model\" : \"a.b-c_d\" , ", "a.b-c_d"},
        {"{\"messages\":[{\"model\":\"inner\",\"x\":[]},{}],\"model\":\"outer\"}", "outer"},
        {"{\"a\":\"\\\"model\\\":\\\"no\\\"\",\"model\":\"yes\"}", "yes"},
        {"{\"n\":[-0.5e+3,0,12,1E5,true,false,null,\"\"],\"model\":\"m\"}", "m"},
        {"{\"\\u006dodel\":\"\\u0064igits\"}", "digits"},
        {"{\"model\":\"first\",\"model\":\"second\"}", "first"},
        {"{\"model\":\"\"}", ""},
        {"{\"model\":\"a\\u00e9\\\\\\/\"}", "a?\\/"},
        {"{\"model\":\"x\"} and anything after it", "x"},
        {"{\"model\\u0000\":\"no\",\"model\":\"yes\"}", "yes"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t piece = 1; piece < 64; piece += 5) {
            struct model_scan found;
            assert_int_equal(scan(cases[i].text, piece, &found), MODEL_SCAN_FOUND);
            assert_string_equal(found.model, cases[i].model);
        }
    }
}

static void test_what_is_no_request_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"", " ", "[]", "\"model\"", "{", "{}", "{\"a\":1}",
        "{\"model\":7}", "{\"model\":null}", "{\"model\":{\"model\":\"x\"}}", "{\"model\":\"x",
        "{\"model\"", "{\"model\" \"x\"}", "{model:\"x\"}", "{\"a\":1,}",
        "{\"a\":01,\"model\":\"x\"}", "{\"a\":1.,\"model\":\"x\"}", "{\"a\":.5,\"model\":\"x\"}",
        "{\"a\":-,\"model\":\"x\"}", "{\"a\":1e,\"model\":\"x\"}", "{\"a\":tru,\"model\":\"x\"}",
        "{\"a\":[1,],\"model\":\"x\"}", "{\"a\":[1},\"model\":\"x\"}",
        "{\"a\":\"\n\",\"model\":\"x\"}", "{\"a\":\"\\x\",\"model\":\"x\"}",
        "{\"a\":\"\\u00g0\",\"model\":\"x\"}", "{\"a\":1 \"model\":\"x\"}",
        "\xef\xbb\xbf{\"model\":\"x\"}", "{,\"model\":\"x\"}", "{\"a\":+1,\"model\":\"x\"}",
        "{\"a\":NaN,\"model\":\"x\"}"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t piece = 1; piece < 64; piece += 9) {
            struct model_scan found;
            if (scan(cases[i], piece, &found) != MODEL_SCAN_FAULT)
                fail_msg("%s was taken", cases[i]);
            assert_non_null(found.fault);
        }
    }
}

static void test_depth_and_length_are_bounded(void **state)
{
    (void)state;
    struct strbuf text = {0};
    struct model_scan found;
    strbuf_puts(&text, "{\"a\":");
    for (int i = 0; i < MODEL_DEPTH_MAX; i++)
        strbuf_putc(&text, '[');
    assert_int_equal(scan(text.text, 1000, &found), MODEL_SCAN_FAULT);
    assert_string_equal(found.fault, "nested too deep");
    strbuf_clear(&text);
    strbuf_puts(&text, "{\"model\":\"");
    for (int i = 0; i <= MODEL_BYTES_MAX; i++)
        strbuf_putc(&text, 'a');
    strbuf_puts(&text, "\"}");
    assert_int_equal(scan(text.text, 1000, &found), MODEL_SCAN_FAULT);
    strbuf_clear(&text);
    strbuf_puts(&text, "{\"");
    for (int i = 0; i <= MODEL_BYTES_MAX * 2; i++)
        strbuf_putc(&text, 'k');
    strbuf_puts(&text, "\":1,\"model\":\"m\"}");
    assert_int_equal(scan(text.text, 1000, &found), MODEL_SCAN_FOUND);
    strbuf_finish(&text);
}

static void tokens(const char *text, bool expected, uint64_t input, uint64_t output)
{
    for (size_t piece = 1; piece < 5000; piece = piece * 3 + 1) {
        struct token_tail tail = {0};
        uint64_t in = 0, out = 0;
        for (size_t at = 0; at < strlen(text); at += piece)
            token_tail_add(&tail, text + at, strlen(text) - at < piece ? strlen(text) - at : piece);
        assert_int_equal(token_tail_find(&tail, &in, &out), expected);
        assert_int_equal(in, input);
        assert_int_equal(out, output);
    }
}

static void test_tokens_are_read_from_the_end(void **state)
{
    (void)state;
    tokens("{\"id\":\"x\",\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":12,"
           "\"total_tokens\":19}}",
        true, 7, 12);
    tokens("{\"usage\" : { \"total_tokens\": 19, \"details\": {\"prompt_tokens\": 3}, "
           "\"prompt_tokens\" :7 } }\n",
        true, 7, 0);
    tokens("data: {\"usage\":null}\n\ndata: {\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}"
           "\n\ndata: {\"usage\":null}\n\ndata: [DONE]\n\n",
        true, 1, 2);
    tokens("{\"content\":\"\\\"usage\\\":{\\\"prompt_tokens\\\":9}\"}", false, 0, 0);
    tokens("{\"usage\":{\"prompt_tokens\":-7}}", false, 0, 0);
    tokens("{\"usage\":{\"prompt_tokens\":99999999999999999999}}", false, 0, 0);
    tokens("{\"usage\":{\"prompt_tokens\":7", false, 0, 0);
    tokens("{\"usage\":[1]}", false, 0, 0);
    tokens("{\"usage\"", false, 0, 0);
    tokens("", false, 0, 0);
}

static void test_the_last_event_of_a_stream_is_known(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool done;
    } cases[] = {{"data: [DONE]\n\n", true}, {"data: {}\n\ndata: [DONE]\r\n\r\n", true},
        {"data: {}\r\rdata:[DONE]\r\r", true}, {"data: {}\n\ndata: [DONE]", true}, {"", false},
        {"[DONE]\n\n", false}, {"data: {}\n\n", false}, {"data: {}\n\ndata: [DONE", false},
        {"data: \"data: [DONE]\n\n", false}, {"data: {\"content\": \"data: [DONE]\"}\n\n", false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (token_stream_is_done(cases[i].text, strlen(cases[i].text)) != cases[i].done)
            fail_msg("%s", cases[i].text);
    }
}

static void test_tokens_behind_a_long_answer_are_found(void **state)
{
    (void)state;
    struct strbuf text = {0};
    strbuf_puts(&text, "{\"choices\":[\"");
    for (int i = 0; i < 20000; i++)
        strbuf_putc(&text, 'a');
    strbuf_puts(&text, "\"],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6}}");
    tokens(text.text, true, 5, 6);
    strbuf_finish(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_model_of_the_outermost_object_is_found),
        cmocka_unit_test(test_what_is_no_request_is_refused),
        cmocka_unit_test(test_depth_and_length_are_bounded),
        cmocka_unit_test(test_tokens_are_read_from_the_end),
        cmocka_unit_test(test_the_last_event_of_a_stream_is_known),
        cmocka_unit_test(test_tokens_behind_a_long_answer_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
