/* Tests of what is known of a machine's sockets. */
#include "base/file.h"
#include "base/memory.h"
#include "base/test.h"
#include "engine/sockets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void the_kernels_number_is_read(void **state)
{
    static const struct {
        const char *text;
        int32_t socket;
    } cases[] = {
        {"0\n", 0}, {"1\n", 1}, {"-1\n", -1}, {"", -1}, {"x\n", -1}, {"99999999999\n", -1}};
    char folder[] = "/tmp/muster-sockets-XXXXXX", path[64];
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/numa_node", folder);
    assert_int_equal(socket_of_device(folder), -1); /* no such file */
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fputs(cases[i].text, file);
        fclose(file);
        assert_int_equal(socket_of_device(folder), cases[i].socket);
    }
    unlink(path);
    rmdir(folder);
}

static size_t lists_of(const char *sockets, char (*lists)[SOCKET_LIST_TEXT])
{
    struct engine_device devices[ENGINE_DEVICES_MAX] = {0};
    size_t count = strlen(sockets);
    for (size_t i = 0; i < count; i++)
        devices[i].socket = sockets[i] == '?' ? -1 : sockets[i] - '0';
    return sockets_of_devices(devices, count, lists);
}

static void devices_are_listed_by_socket(void **state)
{
    char lists[SOCKET_LISTS_MAX][SOCKET_LIST_TEXT];
    (void)state;
    assert_int_equal(lists_of("00001111", lists), 2);
    assert_string_equal(lists[0], "0-3");
    assert_string_equal(lists[1], "4-7");
    assert_int_equal(lists_of("1001120", lists), 3);
    assert_string_equal(lists[0], "0,3-4");
    assert_string_equal(lists[1], "1-2,6");
    assert_string_equal(lists[2], "5");
    assert_int_equal(lists_of("000", lists), 1);
    assert_string_equal(lists[0], "0-2");
    assert_int_equal(lists_of("00?1", lists), 0);
    assert_int_equal(lists_of("", lists), 0);
    assert_int_equal(lists_of("0123456789:;<=>?", lists), 0);
    assert_int_equal(lists_of("0123456789:;<=>@A", lists), 0); /* seventeen */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kernels_number_is_read),
        cmocka_unit_test(devices_are_listed_by_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
