/* The local engine with real processes: what well-behaved jobs are promised. */
#include "engine/test_world.h"

#include "base/file.h"
#include "base/strbuf.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int set_up(void **state)
{
    *state = world_create(NULL);
    return 0;
}

static int tear_down(void **state)
{
    world_destroy(*state);
    return 0;
}

static void assert_log_has(struct world *world, uint64_t id, const char *text)
{
    SCOPED(mem_scope) char *log = world_log(world, id);
    if (!strstr(log, text))
        fail_msg("the log has no \"%s\":\n%s", text, log);
}

static void test_a_command_that_exits_0_succeeds(void **state)
{
    struct world *world = *state;
    world_start(world, world_script(world, 1, "echo to out; echo to err >&2"));
    const struct attempt_end *end = world_wait_end(world, 1);
    if (end->reason != ENGINE_END_SUCCEEDED)
        fail_msg("%s: %s", engine_end_reason_name(end->reason), end->text);
    assert_int_equal(world_count(world, ENGINE_REPORT_STARTED, 1), 1);
    assert_true(end->started_ms > 0 && end->ended_ms >= end->started_ms);
    assert_log_has(world, 1, "0 o to out\n");
    assert_log_has(world, 1, "0 e to err\n");
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "shim"))
        return shim_main(argc - 1, argv + 1);
    if (argc > 1 && !strcmp(argv[1], "init"))
        return init_main(argc - 1, argv + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_command_that_exits_0_succeeds, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
