/* Secondary scoring: budgets, and the model that a body names. The rest is in the scenarios. */
#include "base/memory.h"
#include "base/strbuf.h"
#include "base/test.h"
#include "gateway/secondary.h"
#include "gateway/terms.h"

#include <stdlib.h>
#include <string.h>

static void test_a_minute_has_so_many_and_the_next_as_many(void **state)
{
    struct service_state *of = mem_alloc(1, sizeof *of);
    struct service_terms *terms = mem_alloc(1, sizeof *terms);
    (void)state;
    terms->state = of;
    terms->options.secondary.per_minute = 3;
    for (int64_t minute = 0; minute < 4; minute++) {
        for (int i = 0; i < 10; i++)
            assert_int_equal(secondary_may(terms, minute * 60000 + i * 5000), i < 3);
    }
    free(terms);
    free(of);
}

static void test_the_model_of_a_body_is_another(void **state)
{
    static const struct {
        const char *body, *wanted; /* NULL: refused */
    } rows[] = {
        {"{\"model\":\"light\",\"x\":1.50}", "{\"model\":\"he\\\"avy\",\"x\":1.50}"},
        {"{ \"a\": {\"model\": \"no\"}, \"model\" : \"light\" }\n",
            "{ \"a\": {\"model\": \"no\"}, \"model\" : \"he\\\"avy\" }\n"},
        {"{\"model\":\"a\",\"model\":\"b\"}", "{\"model\":\"he\\\"avy\",\"model\":\"b\"}"},
        {"{\"model\":5}", NULL},
        {"{\"models\":\"x\"}", NULL},
        {"[\"model\"]", NULL},
        {"{\"model\":\"light\"", NULL},
        {"", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct strbuf out = {0};
        bool found = secondary_rename(rows[i].body, strlen(rows[i].body), "he\"avy", &out);
        assert_int_equal(found, rows[i].wanted != NULL);
        assert_string_equal(strbuf_text(&out), rows[i].wanted ? rows[i].wanted : "");
        strbuf_finish(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_minute_has_so_many_and_the_next_as_many),
        cmocka_unit_test(test_the_model_of_a_body_is_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
