/* Tests of lists of devices: what is read, and what is refused. */
#include "base/memory.h"
#include "base/sockets.h"
#include "base/test.h"

#include <string.h>

static void lists_are_read(void **state)
{
    static const struct {
        const char *text;
        uint64_t devices;
    } cases[] = {{"0", 1}, {"0-3", 15}, {"1,3-4,0", 27}, {"63", (uint64_t)1 << 63}, {"7-7", 128},
        {"0-63", UINT64_MAX}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t devices = 0;
        assert_true(sockets_read_list(cases[i].text, strlen(cases[i].text), &devices));
        assert_true(devices == cases[i].devices);
    }
}

static void what_is_no_list_is_refused(void **state)
{
    static const char *const cases[] = {"", "a", "-", "0-", "-3", "3-1", "0,", ",0", "0,,1", "64",
        "0-64", "0 ", " 0", "0-3-5", "1,0-2", "99999999999999999999", "0x1", "0;1"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t devices = 77;
        if (sockets_read_list(cases[i], strlen(cases[i]), &devices))
            fail_msg("\"%s\" was read", cases[i]);
        assert_true(devices == 77);
    }
}

static void each_device_is_in_one_socket(void **state)
{
    const char *texts[] = {"0-1", "2,3", "4"};
    size_t count = 2;
    struct sockets sockets;
    struct error err;
    (void)state;
    assert_int_equal(sockets_read(texts, count, 4, &sockets, &err), 0);
    assert_true(sockets.count == 2 && sockets.devices[0] == 3 && sockets.devices[1] == 12);
    assert_int_equal(sockets_read(texts, count, 5, &sockets, &err), -1);
    assert_non_null(strstr(err.text, "each of the node's 5 accelerators"));
    count = 3;
    assert_int_equal(sockets_read(texts, count, 4, &sockets, &err), -1);
    assert_int_equal(sockets_read(texts, count, 5, &sockets, &err), 0);
    texts[2] = "1,4";
    assert_int_equal(sockets_read(texts, count, 5, &sockets, &err), -1);
    assert_non_null(strstr(err.text, "has a device of another socket"));
    count = 0;
    assert_int_equal(sockets_read(texts, count, 5, &sockets, &err), 0);
    assert_int_equal(sockets.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_read),
        cmocka_unit_test(what_is_no_list_is_refused),
        cmocka_unit_test(each_device_is_in_one_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
