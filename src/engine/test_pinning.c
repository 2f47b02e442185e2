/* Cores for attempts, with real processes: what the system says each may run on. */
#include "engine/test_world.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* What the system says a rank may run on, which the rank has printed as "cores 0-2,5". */
static cpu_set_t cores_of(struct world *world, uint64_t attempt, uint32_t rank)
{
    char wanted[32];
    unsigned first, last;
    cpu_set_t set;
    CPU_ZERO(&set);
    snprintf(wanted, sizeof wanted, "%u o cores", rank);
    world_wait_log(world, attempt, wanted);
    SCOPED(mem_scope) char *log = world_log(world, attempt);
    const char *at = strstr(log, wanted) + strlen(wanted);
    for (int used; *at == ' ' || *at == ','; at += used) {
        used = 0;
        assert_int_equal(sscanf(at + 1, "%u%n", &first, &used), 1);
        last = first;
        at += 1 + used;
        used = 0;
        if (*at == '-')
            assert_int_equal(sscanf(at, "-%u%n", &last, &used), 1);
        for (; first <= last && first < CPU_SETSIZE; first++)
            CPU_SET(first, &set);
    }
    return set;
}

static const char print_cores[] =
    "echo cores $(grep Cpus_allowed_list /proc/self/status | cut -f2); sleep 1000";

static void start_on_cores(struct world *world, uint64_t attempt, int cores)
{
    struct launch *launch = world_script(world, attempt, print_cores);
    launch->cpu_milli = (uint64_t)cores * 1000;
    world_start(world, launch);
}

static int count_own_cores(cpu_set_t *ret_own)
{
    assert_int_equal(sched_getaffinity(0, sizeof *ret_own, ret_own), 0);
    return CPU_COUNT(ret_own);
}

static void skip_without_two_cores(void)
{
    cpu_set_t own;
    if (count_own_cores(&own) > 1)
        return;
    print_message("one core cannot be parted between two\n");
    skip();
}

static void check_attempts_get_cores_of_their_own(struct world *world)
{
    cpu_set_t own, common;
    int count = count_own_cores(&own);
    start_on_cores(world, 1, 1);
    start_on_cores(world, 2, count - 1);
    cpu_set_t first = cores_of(world, 1, 0), second = cores_of(world, 2, 0);
    CPU_AND(&common, &first, &second);
    assert_int_equal(CPU_COUNT(&first), 1);
    assert_int_equal(CPU_COUNT(&second), count - 1);
    assert_int_equal(CPU_COUNT(&common), 0);
    /* A server that comes back knows which are taken. */
    world_restart_engine(world);
    start_on_cores(world, 3, 1);
    cpu_set_t third = cores_of(world, 3, 0);
    assert_true(CPU_EQUAL(&third, &own));
    assert_int_equal(engine_kill(world->engine, 1, NULL), 0);
    world_wait_end(world, 1);
    start_on_cores(world, 4, 1);
    cpu_set_t fourth = cores_of(world, 4, 0);
    assert_true(CPU_EQUAL(&fourth, &first));
}

static void test_attempts_get_cores_of_their_own(void **state)
{
    skip_without_two_cores();
    check_attempts_get_cores_of_their_own(*state);
}

static void test_attempts_get_cores_of_their_own_without_control_groups(void **state)
{
    (void)state;
    skip_without_two_cores();
    struct world *world = world_create("");
    assert_false(world_enforces(world, "core-pinning"));
    check_attempts_get_cores_of_their_own(world);
    world_destroy(world);
}

static const struct launch_placement pair = {.node = "here", .ranks = 2};

static void test_each_rank_gets_its_share_of_the_cores(void **state)
{
    struct world *world = *state;
    cpu_set_t common;
    skip_without_two_cores();
    struct launch *launch = world_script(world, 1, print_cores);
    launch->world_size = 2;
    launch->placements = &pair;
    launch->cpu_milli = 1000;
    world_start(world, launch);
    cpu_set_t first = cores_of(world, 1, 0), second = cores_of(world, 1, 1);
    CPU_AND(&common, &first, &second);
    assert_int_equal(CPU_COUNT(&first), 1);
    assert_int_equal(CPU_COUNT(&second), 1);
    assert_int_equal(CPU_COUNT(&common), 0);
}

static void test_parts_of_a_cpu_are_not_pinned(void **state)
{
    struct world *world = *state;
    cpu_set_t own;
    struct launch *launch = world_script(world, 1, print_cores);
    launch->cpu_milli = 500;
    world_start(world, launch);
    count_own_cores(&own);
    cpu_set_t found = cores_of(world, 1, 0);
    assert_true(CPU_EQUAL(&found, &own));
}

/* A job may ask to leave its cores; with a control group it does not get any other. */
static void test_a_job_cannot_leave_its_cores(void **state)
{
    struct world *world = *state;
    skip_without_two_cores();
    if (!world_enforces(world, "core-pinning")) {
        print_message("there is no cpuset controller this user can write to\n");
        skip();
    }
    struct launch *launch = world_script(world, 1,
        "taskset -pc 0-1023 $$ >/dev/null 2>&1; taskset -pc 0 $$ >/dev/null 2>&1; "
        "taskset -pc 0-1023 $$ >/dev/null 2>&1; "
        "echo cores $(grep Cpus_allowed_list /proc/self/status | cut -f2)");
    launch->cpu_milli = 1000;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    cpu_set_t found = cores_of(world, 1, 0);
    assert_int_equal(CPU_COUNT(&found), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)

static int run_suite(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_attempts_get_cores_of_their_own),
        cmocka_unit_test(test_attempts_get_cores_of_their_own_without_control_groups),
        TEST(test_each_rank_gets_its_share_of_the_cores),
        TEST(test_parts_of_a_cpu_are_not_pinned),
        TEST(test_a_job_cannot_leave_its_cores),
    };
    return cmocka_run_group_tests_name("cores of attempts", tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return world_main(argc, argv, run_suite);
}
