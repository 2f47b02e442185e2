/* Requests and answers of the protocol. */
#include "base/memory.h"
#include "base/test.h"
#include "infer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct infer_request decode(const char *json)
{
    struct infer_request request;
    struct error err = {0};
    if (infer_decode(json, strlen(json), -1, 2, &request, &err) < 0)
        fail_msg("%s", err.text);
    return request;
}

#define INPUT(shape, data)                                                                         \
    "{\"inputs\":[{\"name\":\"input\",\"datatype\":\"FP32\",\"shape\":" shape ",\"data\":" data    \
    "}]}"

static void test_reads_flat_and_nested_data(void **state)
{
    (void)state;
    static const char *const same[] = {
        INPUT("[2,2]", "[1,2,3,4]"), INPUT("[2,2]", "[[1,2],[3,4]]")};
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        struct infer_request request = decode(same[i]);
        assert_int_equal(request.rows, 2);
        const float expected[] = {1, 2, 3, 4};
        assert_memory_equal(request.values, expected, sizeof expected);
        assert_false(request.binary);
        infer_request_finish(&request);
    }
}

static void test_null_is_a_missing_value(void **state)
{
    (void)state;
    struct infer_request request = decode(INPUT("[1,2]", "[null,2]"));
    assert_true(isnan(request.values[0]));
    infer_request_finish(&request);
}

static void test_reads_binary_tensors(void **state)
{
    (void)state;
    static const char head[] =
        "{\"inputs\":[{\"name\":\"input\",\"datatype\":\"FP64\",\"shape\":[1,2],"
        "\"parameters\":{\"binary_data_size\":16}}],\"parameters\":{\"binary_data_output\":true}}";
    const double sent[] = {1.5, -2};
    char body[sizeof head - 1 + sizeof sent];
    memcpy(body, head, sizeof head - 1);
    memcpy(body + sizeof head - 1, sent, sizeof sent);
    struct infer_request request;
    struct error err;
    assert_int_equal(infer_decode(body, sizeof body, sizeof head - 1, 2, &request, &err), 0);
    assert_true(request.binary);
    assert_true(request.values[0] == 1.5F && request.values[1] == -2.0F);
    infer_request_finish(&request);
    assert_int_equal(infer_decode(body, sizeof body - 1, sizeof head - 1, 2, &request, &err), -1);
    assert_non_null(strstr(err.text, "binary_data_size has to be 16"));
    assert_int_equal(infer_decode(body, sizeof body, sizeof body + 1, 2, &request, &err), -1);
}

static void test_refusals_say_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *body, *says;
    } cases[] = {
        {"", "not a JSON object"},
        {"[]", "not a JSON object"},
        {"{\"inputs\":[],\"inputs\":[]}", "not a JSON object"},
        {"{}", "wants one input"},
        {"{\"inputs\":[{\"name\":\"x\"}]}", "wants one input"},
        {"{\"inputs\":[7]}", "wants one input"},
        {"{\"inputs\":[{\"name\":\"input\",\"datatype\":\"INT8\"}]}", "FP32 or FP64"},
        {INPUT("[1,3]", "[1,2,3]"), "[rows, 2]"},
        {INPUT("[0,2]", "[]"), "[rows, 2]"},
        {INPUT("[-1,2]", "[]"), "[rows, 2]"},
        {INPUT("[1,1,2]", "[1,2]"), "[rows, 2]"},
        {INPUT("2", "[1,2]"), "[rows, 2]"},
        {INPUT("[4000000000000,2]", "[1,2]"), "more than"},
        {INPUT("[2,2]", "[1,2,3]"), "data has 3 elements, its shape 4"},
        {INPUT("[2,2]", "[[1,2,3],[4]]"), NULL}, /* four numbers, however they are nested */
        {INPUT("[2,2]", "[[1,2],[3,4,5]]"), "more than the 4 elements"},
        {INPUT("[2,2]", "[[1,2],[3]]"), "data has 3 elements"},
        {INPUT("[1,2]", "[[[1,2]]]"), "list of numbers"},
        {INPUT("[1,2]", "\"no\""), "list of numbers"},
        {INPUT("[1,2]", "[1,true]"), "list of numbers"},
        {"{\"outputs\":[{\"name\":\"y\"}],\"inputs\":[{}]}", "one output"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct infer_request request;
        struct error err = {0};
        int result = infer_decode(cases[i].body, strlen(cases[i].body), -1, 2, &request, &err);
        if (!cases[i].says) {
            assert_int_equal(result, 0);
            infer_request_finish(&request);
            continue;
        }
        assert_int_equal(result, -1);
        if (!strstr(err.text, cases[i].says))
            fail_msg("%s: said \"%s\"", cases[i].body, err.text);
    }
}

static void test_answers(void **state)
{
    (void)state;
    struct infer_request request = {.rows = 2, .id = "a\"b"};
    const float values[] = {0.25F, NAN};
    struct strbuf out = {0};
    size_t head = infer_encode(&request, "digits", "3", values, 1, &out);
    assert_int_equal(head, out.length);
    assert_string_equal(out.text,
        "{\"model_name\":\"digits\",\"model_version\":\"3\",\"id\":\"a\\\"b\",\"outputs\":"
        "[{\"name\":\"predict\",\"datatype\":\"FP32\",\"shape\":[2,1],\"data\":[0.25,null]}]}");
    strbuf_clear(&out);
    request.binary = true;
    head = infer_encode(&request, "digits", "3", values, 1, &out);
    assert_int_equal(out.length - head, sizeof values);
    assert_memory_equal(out.text + head, values, sizeof values);
    strbuf_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_flat_and_nested_data),
        cmocka_unit_test(test_null_is_a_missing_value),
        cmocka_unit_test(test_reads_binary_tensors),
        cmocka_unit_test(test_refusals_say_what_is_wrong),
        cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
