/* How documents read. */
#include "cli/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_create();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_destroy(arena);
    return 0;
}

static const struct doc *parse(const char *json)
{
    struct error err = {0};
    const struct doc *doc = doc_parse_json(arena, json, strlen(json), DOC_BYTES_MAX, &err);
    if (!doc)
        fail_msg("%s", err.text);
    return doc;
}

static void a_path_finds_the_first_that_is_there(void **state)
{
    (void)state;
    const struct doc *doc = parse("{\"a\": {\"b\": 5, \"n\": null}, \"c\": \"x\"}");
    assert_string_equal(view_text(doc, "a.b"), "5");
    assert_string_equal(view_text(doc, "a.n|c"), "x");
    assert_null(view_at(doc, "a.b.c"));
    assert_null(view_at(doc, "d|a.z"));
    assert_null(view_at(NULL, "a"));
    assert_null(view_text(doc, "a"));
}

static void values_read_as_people_say_them(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        enum view_format format;
        const char *expected;
    } cases[] = {
        {"\"2026-01-31T08:30:00Z\"", VIEW_AGE, "1m30s"},
        {"\"soon\"", VIEW_AGE, "soon"},
        {"5000", VIEW_MILLISECONDS, "5s"},
        {"90", VIEW_SECONDS, "1m30s"},
        {"1536", VIEW_BYTES, "1.5 KiB"},
        {"true", VIEW_TEXT, "yes"},
        {"[\"a\", {\"node\": \"p/n\"}, 3]", VIEW_LIST, "a,p/n,3"},
        {"{\"k\": \"v\", \"l\": 2}", VIEW_LIST, "k=v,l=2"},
        {"[\"One is wanted.\", \"It is there.\"]", VIEW_SENTENCES, "One is wanted. It is there."},
        {"[1, 2]", VIEW_COUNT, "2"},
        {"[\"/bin/sh\", \"-c\", \"a b\", \"\"]", VIEW_COMMAND, "/bin/sh -c 'a b' ''"},
        {"{\"cpu\": 2, \"memory\": \"4Gi\", \"disk\": \"0\", "
         "\"accelerator\": {\"type\": \"a100\", \"count\": 2}}",
            VIEW_RESOURCES, "2 cpu, 4 GiB memory, 2 a100"},
    };
    int64_t now_ms = 1769848290000; /* 2026-01-31T08:31:30Z */
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *text = view_value(arena, parse(cases[i].json), cases[i].format, now_ms);
        assert_string_equal(text, cases[i].expected);
    }
    assert_null(view_value(arena, NULL, VIEW_TEXT, 0));
    assert_null(view_value(arena, parse("{}"), VIEW_LIST, 0));
}

static void kinds_have_all_their_names(void **state)
{
    (void)state;
    struct error err = {0};
    assert_string_equal(view_find("job", &err)->name, "jobs");
    assert_string_equal(view_find("Jobs", &err)->name, "jobs");
    assert_string_equal(view_find("n", &err)->name, "nodes");
    assert_null(view_find("jbos", &err));
    assert_string_equal(err.text, "there is no kind \"jbos\"; did you mean jobs?");
}

static void a_row_of_a_job_has_its_state(void **state)
{
    (void)state;
    struct cli cli = {.arena = arena};
    struct strbuf out = {0};
    const struct doc *items = parse(
        "[{\"metadata\": {\"name\": \"train\", \"team\": \"vision\", \"labels\": {\"a\": \"b\"}},"
        "\"status\": {\"state\": \"running\", \"size\": 2, \"attempts\": 1}}]");
    struct error err = {0};
    const struct view *view = view_find("jobs", &err);
    view_write_table(&cli, view->columns, items, false, &out);
    assert_non_null(strstr(out.text, "TEAM    NAME   STATE    REASON  RANKS"));
    assert_non_null(strstr(out.text, "vision  train  running  -           2"));
    assert_null(strstr(out.text, "LABELS"));
    strbuf_clear(&out);
    view_write_table(&cli, view->columns, items, true, &out);
    assert_non_null(strstr(out.text, "a=b"));
    assert_string_equal(view_item_name(arena, view, items->first), "vision/train");
    strbuf_finish(&out);
}

static void names_become_segments(void **state)
{
    (void)state;
    struct strbuf out = {0};
    view_append_name(&out, "team/array[3]");
    assert_string_equal(out.text, "/team/array%5B3%5D");
    strbuf_finish(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_path_finds_the_first_that_is_there),
        TEST(values_read_as_people_say_them),
        TEST(kinds_have_all_their_names),
        TEST(a_row_of_a_job_has_its_state),
        TEST(names_become_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
