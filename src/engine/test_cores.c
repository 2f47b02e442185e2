/* Which cores an attempt gets, on machines of several shapes. */
#include "engine/cores.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Four physical cores of two threads, numbered as most machines do: 0 and 4 are one. */
static const struct core threaded[] = {
    {0, 0}, {4, 0}, {1, 1}, {5, 1}, {2, 2}, {6, 2}, {3, 3}, {7, 3}};
static const struct core plain[] = {{0, 0}, {1, 1}, {2, 2}};
/* What is left when the server may run on some threads only: 4 is all there is of its core. */
static const struct core restricted[] = {{4, 0}, {2, 2}, {6, 2}};

#define MACHINE(cores) cores, ARRAY_LEN(cores)

static void test_the_choice(void **state)
{
    static const struct {
        const struct core *cores;
        size_t count;
        const char *taken;
        size_t wanted;
        const char *chosen; /* NULL: there are not enough */
    } cases[] = {
        {MACHINE(plain), "", 1, "0"},
        {MACHINE(plain), "0", 1, "1"},
        {MACHINE(plain), "1", 2, "0,2"},
        {MACHINE(plain), "", 3, "0,1,2"},
        {MACHINE(plain), "2", 3, NULL},
        {MACHINE(plain), "", 4, NULL},
        {MACHINE(plain), "0,1,2", 1, NULL},
        {MACHINE(threaded), "", 2, "0,4"},
        {MACHINE(threaded), "", 1, "0"},
        {MACHINE(threaded), "0", 1, "4"},     /* fills up a core that is in part taken */
        {MACHINE(threaded), "0", 2, "1,5"},   /* but not at the price of parting siblings */
        {MACHINE(threaded), "0", 3, "4,1,5"}, /* a whole one and a part */
        {MACHINE(threaded), "", 3, "0,4,1"},
        {MACHINE(threaded), "0,1,2,3", 3, "4,5,6"},
        {MACHINE(threaded), "0,4,1,5,2,6,3", 1, "7"},
        {MACHINE(threaded), "0,4,1,5,2,6,3", 2, NULL},
        {MACHINE(restricted), "", 2, "4,2"},
        {MACHINE(restricted), "", 1, "4"},
        {MACHINE(restricted), "4", 2, "2,6"},
        {MACHINE(restricted), "", 3, "4,2,6"},
        {MACHINE(restricted), "0,1,3,5,7", 4, NULL},
        {NULL, 0, "", 1, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        SCOPED(strbuf_finish) struct strbuf text = {0};
        struct core_list taken, chosen;
        cpu_set_t set;
        CPU_ZERO(&set);
        assert_true(cores_parse(cases[i].taken, &taken));
        for (size_t j = 0; j < taken.count; j++)
            CPU_SET(taken.numbers[j], &set);
        bool enough = cores_choose(cases[i].cores, cases[i].count, &set, cases[i].wanted, &chosen);
        cores_print(&text, chosen.numbers, chosen.count);
        if (enough != (cases[i].chosen != NULL) ||
            strcmp(strbuf_text(&text), enough ? cases[i].chosen : "") != 0)
            fail_msg("case %zu: chose \"%s\"", i, strbuf_text(&text));
    }
}

static void test_lists_are_read_as_they_are_written(void **state)
{
    static const char *const wrong[] = {
        ",", "1,", ",1", "1,,2", "1-2", " 1", "-1", "1 ", "x", "1024", "99999999999", "0x1"};
    struct core_list list;
    SCOPED(strbuf_finish) struct strbuf text = {0};
    (void)state;
    assert_true(cores_parse("0,4,1023", &list));
    assert_int_equal(list.count, 3);
    cores_print(&text, list.numbers, list.count);
    assert_string_equal(strbuf_text(&text), "0,4,1023");
    assert_true(cores_parse("", &list) && list.count == 0);
    assert_true(cores_parse(NULL, &list) && list.count == 0);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        if (cores_parse(wrong[i], &list))
            fail_msg("\"%s\" was taken for a list", wrong[i]);
    }
}

static void test_this_machines_cores_are_those_the_process_may_run_on(void **state)
{
    struct core cores[CORES_MAX];
    cpu_set_t allowed;
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    size_t count = cores_find(cores);
    assert_int_equal(count, CPU_COUNT(&allowed));
    for (size_t i = 0; i < count; i++)
        assert_true(CPU_ISSET(cores[i].number, &allowed));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_choice),
        cmocka_unit_test(test_lists_are_read_as_they_are_written),
        cmocka_unit_test(test_this_machines_cores_are_those_the_process_may_run_on),
    };
    return cmocka_run_group_tests_name("cores", tests, NULL, NULL);
}
