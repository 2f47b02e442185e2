/* Tests of the route document: what is written is read back, and what is wrong is refused as a
 * whole with its place. */
#include "base/memory.h"
#include "base/strbuf.h"
#include "base/test.h"
#include "gateway/routes.h"
#include "spec/kinds.h"
#include "spec/serving.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define KEY                                                                                        \
    "{\"id\":\"k1\",\"hash\":\"" KEY_HASH "\",\"user\":\"ann\",\"teams\":[\"vision\"],"            \
    "\"services\":[],\"expiresMs\":0}"
#define REPLICA "{\"replica\":7,\"version\":3,\"address\":\"unix:/r/7.sock\",\"uid\":20001}"
#define SERVICE_WITH(route, replicas)                                                              \
    "{\"route\":\"" route "\",\"service\":\"vision/digits\",\"team\":\"vision\","                  \
    "\"protocols\":[\"oip\",\"openai\"],\"options\":{\"bodyBytesMax\":1024,\"timeout\":\"1s\","    \
    "\"later\":[1]},\"replicas\":[" replicas "]}"
#define SERVICE SERVICE_WITH("digits", REPLICA)
#define DOCUMENT(keys, services)                                                                   \
    "{\"generation\":17,\"keys\":[" keys "],\"services\":[" services "]}"

static int decode(
    struct arena *arena, const char *text, const struct routes **ret, struct error *err)
{
    return routes_decode(arena, text, strlen(text), ret, err);
}

static void test_a_document_is_read(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct routes *routes = NULL;
    assert_int_equal(decode(arena, DOCUMENT(KEY, SERVICE), &routes, NULL), 0);
    assert_int_equal(routes->generation, 17);
    assert_int_equal(routes->key_count, 1);
    assert_int_equal(routes->keys[0].hash[1], 0x11);
    assert_string_equal(routes->keys[0].teams[0], "vision");
    const struct route_service *service = &routes->services[0];
    assert_true(service->oip && service->openai);
    assert_int_equal(service->options->retry, RETRY_SAFE);
    assert_int_equal(service->options->timeout_ms, 1000);
    assert_int_equal(service->options->body_bytes_max, 1024);
    assert_int_equal(service->replicas[0].replica, 7);
    assert_int_equal(service->replicas[0].uid, 20001);
    assert_false(service->replicas[0].draining);
}

static void test_what_is_written_is_read_back(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct routes *routes = NULL, *again = NULL;
    assert_int_equal(
        decode(arena,
            DOCUMENT(KEY, SERVICE "," SERVICE_WITH("other", "{\"replica\":9007199254740993,"
                                                            "\"version\":0,\"address\":"
                                                            "\"http://[::1]:80\","
                                                            "\"draining\":true}")),
            &routes, NULL),
        0);
    SCOPED(mem_scope) char *text = routes_encode(routes);
    assert_int_equal(decode(arena, text, &again, NULL), 0);
    SCOPED(mem_scope) char *twice = routes_encode(again);
    assert_string_equal(text, twice);
    assert_true(again->services[1].replicas[0].replica == 9007199254740993u);
    assert_true(again->services[1].replicas[0].uid == (uid_t)-1);
    assert_true(again->services[1].replicas[0].draining);
}

#define KEY_OF(more)                                                                               \
    "{\"id\":\"k1\",\"hash\":\"" KEY_HASH "\",\"user\":\"ann\",\"teams\":[],\"services\":[],"      \
    "\"expiresMs\":0," more "}"
#define DOCUMENT_OF(teams, keys)                                                                   \
    "{\"generation\":17,\"teams\":[" teams "],\"keys\":[" keys "],\"services\":[]}"
#define LIMITS "\"serving\":{\"limits\":[{\"what\":\"tokens\",\"most\":1000,\"per\":\"day\"}]}"

static void test_limits_of_teams_and_keys_are_read(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct routes *routes = NULL, *again = NULL;
    assert_int_equal(
        decode(arena,
            DOCUMENT_OF("{\"team\":\"shop\"," LIMITS
                        "},{\"team\":\"all\",\"serving\":{\"weight\":2}}",
                KEY_OF(LIMITS ",\"counts\":[\"all\",\"shop\"]") "," KEY_OF("\"serving\":{}")),
            &routes, NULL),
        0);
    SCOPED(mem_scope) char *text = routes_encode(routes);
    assert_int_equal(decode(arena, text, &again, NULL), 0);
    SCOPED(mem_scope) char *twice = routes_encode(again);
    assert_string_equal(text, twice);
    const struct route_key *key = &again->keys[0];
    assert_int_equal(key->serving->limits.items[0].most_micro, 1000000000);
    assert_int_equal(key->count_count, 2);
    assert_ptr_equal(key->counts[1], &again->teams[0]);
    assert_int_equal(key->counts[0]->serving->weight_micro, 2000000);
    assert_null(again->keys[1].serving); /* it says nothing */
}

static void test_wrong_documents_are_refused_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *place;
    } cases[] = {
        {"", "line 1"},
        {"[]", "expected an object"},
        {"{\"generation\":1,\"keys\":[]}", "services"},
        {"{\"generation\":-1,\"keys\":[],\"services\":[]}", "generation"},
        {"{\"generation\":1.5,\"keys\":[],\"services\":[]}", "generation"},
        {"{\"generation\":1,\"generation\":2,\"keys\":[],\"services\":[]}", "line 1"},
        {DOCUMENT("{\"id\":\"\"}", ""), "keys[0].id"},
        {DOCUMENT("7", ""), "keys[0].id"},
        {DOCUMENT("{\"id\":\"a\",\"hash\":\"zz\"}", ""), "keys[0].hash"},
        {DOCUMENT(KEY ",{\"id\":\"a\",\"hash\":\"" KEY_HASH "00\"}", ""), "keys[1].hash"},
        {DOCUMENT("", SERVICE "," SERVICE), "services[1].route"},
        {DOCUMENT("", "{\"route\":\"a\",\"service\":\"t/a\",\"team\":\"t\",\"protocols\":[],"
                      "\"options\":7}"),
            "services[0].options"},
        {DOCUMENT("", "{\"route\":\"a\",\"service\":\"t/a\",\"team\":\"t\",\"protocols\":[],"
                      "\"options\":{\"timeout\":\"long\"}}"),
            "services[0].options: timeout"},
        {DOCUMENT("", SERVICE_WITH("a/b", "")), "services[0].route"},
        {DOCUMENT("", SERVICE_WITH(".", "")), "services[0].route"},
        {DOCUMENT("", SERVICE_WITH("", "")), "services[0].route"},
        {DOCUMENT("", SERVICE_WITH("a\\u0000b", "")), "line 1"},
        {DOCUMENT("", SERVICE_WITH("a", REPLICA "," REPLICA)), "services[0].replicas[1].replica"},
        {DOCUMENT("", SERVICE_WITH("a", "{\"replica\":0}")), "services[0].replicas[0].replica"},
        {DOCUMENT("", SERVICE_WITH("a", "{\"replica\":1,\"version\":1,\"address\":\"unix:r\"}")),
            "services[0].replicas[0].address"},
        {DOCUMENT("",
             SERVICE_WITH("a", "{\"replica\":1,\"version\":1,\"address\":\"http://evil.test\"}")),
            "services[0].replicas[0].address"},
        {DOCUMENT("", SERVICE_WITH("a", "{\"replica\":1,\"version\":1,\"address\":\"unix:/r\","
                                        "\"uid\":4294967295}")),
            "services[0].replicas[0].uid"},
        {DOCUMENT_OF("{\"team\":7}", ""), "teams[0].team"},
        {DOCUMENT_OF("{\"team\":\"a\"},{\"team\":\"a\"}", ""), "teams[1].team"},
        {DOCUMENT_OF("{\"team\":\"a\",\"serving\":[]}", ""), "teams[0].serving"},
        {DOCUMENT_OF(
             "{\"team\":\"a\",\"serving\":{\"limits\":[{\"what\":\"requests\",\"most\":1}]}}", ""),
            "teams[0].serving: limits[0].per"},
        {DOCUMENT_OF("", KEY_OF("\"counts\":[\"none\"]")), "keys[0].counts"},
        {DOCUMENT_OF("{\"team\":\"a\"}", KEY_OF("\"counts\":[\"a\",\"a\",\"a\",\"a\",\"a\"]")),
            "keys[0].counts"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        SCOPED(arena_scope) struct arena *arena = arena_create();
        const struct routes *routes = NULL;
        struct error err = {0};
        assert_int_equal(decode(arena, cases[i].text, &routes, &err), -1);
        if (!strstr(err.text, cases[i].place))
            fail_msg("case %zu: %s does not name %s", i, err.text, cases[i].place);
        assert_null(routes);
    }
}

static void test_a_document_may_hold_as_many_keys_as_it_says(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct strbuf text = {0};
    const struct routes *routes = NULL;
    strbuf_puts(&text, "{\"generation\":1,\"services\":[],\"keys\":[");
    for (int i = 0; i < ROUTE_KEYS_MAX; i++)
        strbuf_printf(&text,
            "%s{\"id\":\"k%d\",\"hash\":\"" KEY_HASH "\",\"user\":\"u\",\"teams\":[],"
            "\"services\":[],\"expiresMs\":0}",
            i ? "," : "", i);
    strbuf_puts(&text, "]}");
    assert_true(text.length <= ROUTES_BYTES_MAX);
    assert_int_equal(routes_decode(arena, text.text, text.length, &routes, NULL), 0);
    assert_int_equal(routes->key_count, ROUTE_KEYS_MAX);
    strbuf_finish(&text);
}

static void test_members_from_the_future_are_skipped(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct routes *routes = NULL;
    assert_int_equal(
        decode(arena, "{\"later\":{\"a\":[1]},\"generation\":1,\"keys\":[],\"services\":[]}",
            &routes, NULL),
        0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_document_is_read),
        cmocka_unit_test(test_what_is_written_is_read_back),
        cmocka_unit_test(test_limits_of_teams_and_keys_are_read),
        cmocka_unit_test(test_wrong_documents_are_refused_with_their_place),
        cmocka_unit_test(test_a_document_may_hold_as_many_keys_as_it_says),
        cmocka_unit_test(test_members_from_the_future_are_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
