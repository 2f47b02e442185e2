/* How a job's end becomes an exit status, and what a job is called in the API. */
#include "cli/job.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void a_job_ends_the_program_as_it_ended_itself(void **state)
{
    (void)state;
    static const struct {
        const char *status;
        bool ended;
        int expected;
    } cases[] = {
        {"{\"state\": \"succeeded\"}", true, 0},
        {"{\"state\": \"failed\", \"reason\": \"exit\", \"exitStatus\": 3}", true, 3},
        {"{\"state\": \"failed\", \"reason\": \"signal\", \"signal\": 9}", true, 137},
        {"{\"state\": \"failed\", \"reason\": \"start-failed\"}", true, 127},
        {"{\"state\": \"failed\", \"reason\": \"out-of-memory\"}", true, 1},
        {"{\"state\": \"failed\", \"exitStatus\": 0}", true, 1},
        {"{\"state\": \"failed\", \"exitStatus\": 4711}", true, 1},
        {"{\"state\": \"cancelled\", \"reason\": \"cancelled\"}", true, 1},
        {"{\"state\": \"running\"}", false, 1},
    };
    SCOPED(arena_scope) struct arena *arena = arena_create();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *json = arena_printf(arena, "{\"status\": %s}", cases[i].status);
        const struct doc *job = doc_parse_json(arena, json, strlen(json), DOC_BYTES_MAX, NULL);
        assert_int_equal(job_ended(job), cases[i].ended);
        assert_int_equal(job_exit_status(job), cases[i].expected);
    }
}

static void target(const char *job, const char *expected)
{
    char *argv[] = {(char *)"cancel", (char *)"--team", (char *)"own", (char *)job};
    struct error err = {0};
    SCOPED(arguments_scope) struct arguments *args = arguments_parse(4, argv, &err);
    assert_non_null(args);
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct cli cli = {.args = args, .arena = arena};
    struct strbuf out = {0};
    job_append_target(&cli, &out, job, "/cancel");
    assert_string_equal(out.text, expected);
    strbuf_finish(&out);
}

static void a_job_is_named_by_team_and_name_or_by_id(void **state)
{
    (void)state;
    target("vision/train", "/v1/jobs/vision%3Atrain/cancel");
    target("train", "/v1/jobs/own%3Atrain/cancel");
    target("train[3]", "/v1/jobs/own%3Atrain%5B3%5D/cancel");
    target("j0123456789abc", "/v1/jobs/j0123456789abc/cancel");
    target("j0123456789ab", "/v1/jobs/own%3Aj0123456789ab/cancel");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_ends_the_program_as_it_ended_itself),
        cmocka_unit_test(a_job_is_named_by_team_and_name_or_by_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
