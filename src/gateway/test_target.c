/* Tests of paths, and of the address that workers share. */
#include "base/memory.h"
#include "base/test.h"
#include "gateway/balance.h"
#include "gateway/listen.h"
#include "gateway/target.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void test_paths(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path;
        int status;
        enum ask ask;
        const char *route;
        int64_t version;
    } cases[] = {
        {"GET", "/v2", 200, ASK_SERVER, "", BALANCE_ANY_VERSION},
        {"GET", "/v2/health/ready", 200, ASK_READY, "", BALANCE_ANY_VERSION},
        {"GET", "/v2/models/digits", 200, ASK_FORWARD_PATH, "digits", BALANCE_ANY_VERSION},
        {"GET", "/v2/models/digits/versions/12", 200, ASK_FORWARD_PATH, "digits", 12},
        {"GET", "/v2/models/versions/versions/0/ready", 200, ASK_MODEL_READY, "versions", 0},
        {"POST", "/v2/models/a.b_c-d/infer", 200, ASK_FORWARD_PATH, "a.b_c-d", BALANCE_ANY_VERSION},
        {"POST", "/v1/embeddings", 200, ASK_FORWARD_BODY, "", BALANCE_ANY_VERSION},
        {"GET", "/v1/models/ready", 200, ASK_MODEL_ENTRY, "ready", BALANCE_ANY_VERSION},
        {"HEAD", "/v2", 200, ASK_SERVER, "", BALANCE_ANY_VERSION},
        {"GET", "/v2/models/digits/config", 200, ASK_FORWARD_PATH, "digits", BALANCE_ANY_VERSION},
        {"GET", "/v2/models/digits/versions/3/stats", 200, ASK_FORWARD_PATH, "digits", 3},
        {"POST", "/v2/repository/models/digits/load", 200, ASK_LOAD, "digits", BALANCE_ANY_VERSION},
        {"OPTIONS", "/v1/embeddings", 204},
        {"OPTIONS", "/v2/else", 404},
        {"HEAD", "/v1/embeddings", 405},
        {"GET", "/v2/", 404},
        {"GET", "/v2/models/", 404},
        {"GET", "/v2/models/digits/", 404},
        {"GET", "/v2/models/digits/versions/-1", 404},
        {"GET", "/v2/models/digits/versions/1x", 404},
        {"GET", "/v2/models/digits/versions/9999999999999999999", 404},
        {"POST", "/v2/models/digits/infer/more", 404},
        {"get", "/v2", 405},
        {"POST", "/v2/models/digits", 405},
        {"DELETE", "/v1/models", 405},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct target target;
        const char *allow = NULL;
        int status = target_find(cases[i].method, cases[i].path, &target, &allow);
        if (status != cases[i].status)
            fail_msg("%s: %d", cases[i].path, status);
        assert_int_equal(status == 405 || status == 204, allow != NULL);
        if (status != 200)
            continue;
        assert_int_equal(target.ask, cases[i].ask);
        assert_string_equal(target.route, cases[i].route);
        assert_int_equal(target.version, cases[i].version);
    }
}

static void test_names_that_are_too_long_are_no_paths(void **state)
{
    (void)state;
    char path[400];
    struct target target;
    const char *allow;
    snprintf(path, sizeof path, "/v2/models/%0128d", 0);
    assert_int_equal(target_find("GET", path, &target, &allow), 200);
    snprintf(path, sizeof path, "/v2/models/%0129d", 0);
    assert_int_equal(target_find("GET", path, &target, &allow), 404);
}

static void test_protocols_of_paths(void **state)
{
    (void)state;
    assert_int_equal(target_protocol("/v2"), PROTOCOL_OIP);
    assert_int_equal(target_protocol("/v2/x"), PROTOCOL_OIP);
    assert_int_equal(target_protocol("/v1/x"), PROTOCOL_OPENAI);
    assert_int_equal(target_protocol("/v22"), PROTOCOL_NONE);
    assert_int_equal(target_protocol("/"), PROTOCOL_NONE);
}

static enum error_code check(const char *address, bool tls)
{
    struct error err = {0};
    return listen_check(address, tls, &err) < 0 ? err.code : ERR_NONE;
}

static void test_addresses_to_listen_on(void **state)
{
    (void)state;
    assert_int_equal(check("127.0.0.1:0", false), ERR_NONE);
    assert_int_equal(check("[::1]:0", false), ERR_NONE);
    assert_int_equal(check(":0", true), ERR_NONE);
    assert_int_equal(check(":0", false), ERR_INVALID);
    assert_int_equal(check("0.0.0.0:0", false), ERR_INVALID);
    assert_int_equal(check("[::]:0", false), ERR_INVALID);
    assert_int_equal(check("127.0.0.1", true), ERR_INVALID);
    assert_int_equal(check("127.0.0.1:x", true), ERR_INVALID);
    assert_int_equal(check("example.test:0", false), ERR_INVALID);
}

static void test_an_address_in_use_is_a_conflict(void **state)
{
    (void)state;
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof where;
    char address[64];
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    /* Even where the other would share it. */
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&where, sizeof where), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&where, &size), 0);
    listen_with_port("127.0.0.1:0", ntohs(where.sin_port), address, sizeof address);
    assert_int_equal(check(address, false), ERR_CONFLICT);
    close(fd);
    assert_int_equal(check(address, false), ERR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_names_that_are_too_long_are_no_paths),
        cmocka_unit_test(test_protocols_of_paths),
        cmocka_unit_test(test_addresses_to_listen_on),
        cmocka_unit_test(test_an_address_in_use_is_a_conflict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
