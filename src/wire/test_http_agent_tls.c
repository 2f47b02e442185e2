/* Tests of the agent over TLS: bodies of all sizes come back as they went, and nothing is sent to a
 * peer that is not the one. The server under test and the agent share a loop. */
#include "wire/http_agent.h"
#include "wire/tls.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/prng.h"
#include "base/strbuf.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct event_base *base;
    struct http_server *server;
    struct tls_server *tls;
    struct http_agent *agent;
    char folder[32], cert[64], key[64], other_cert[64], other_key[64], address[64];
    char authority[64]; /* of the last request */
    int requests;
};

struct talk {
    struct event_base *base;
    struct strbuf body;
    int status;
    bool failed;
    enum http_failure failure;
    char text[300];
};

static void on_body(struct http_request *request, const char *body, size_t length, void *ctx)
{
    struct fixture *fix = ctx;
    const char *host = http_request_header(request, "Host");
    fix->requests++;
    snprintf(fix->authority, sizeof fix->authority, "%s", host ? host : "");
    http_respond(request, 200, NULL, 0, body, length);
}

static void handle(struct http_request *request, void *ctx)
{
    http_request_collect(request, 8 << 20, on_body, ctx);
}

static void on_head(struct http_exchange *exchange, const struct http_answer *answer, void *ctx)
{
    (void)exchange;
    ((struct talk *)ctx)->status = answer->status;
}

static void on_piece(struct http_exchange *exchange, const void *bytes, size_t length, void *ctx)
{
    (void)exchange;
    strbuf_append(&((struct talk *)ctx)->body, bytes, length);
}

static void on_end(struct http_exchange *exchange, void *ctx)
{
    (void)exchange;
    event_base_loopbreak(((struct talk *)ctx)->base);
}

static void on_fail(struct http_exchange *exchange, enum http_failure failure, bool answered,
    const char *text, void *ctx)
{
    struct talk *talk = ctx;
    (void)exchange, (void)answered;
    talk->failed = true;
    talk->failure = failure;
    snprintf(talk->text, sizeof talk->text, "%s", text);
    event_base_loopbreak(talk->base);
}

static const struct http_exchange_callbacks callbacks = {on_head, on_piece, on_end, on_fail, NULL};

static void fixture_create(struct fixture *fix)
{
    const struct http_server_options options = {.handler = handle, .ctx = fix};
    uint16_t port;
    *fix = (struct fixture){.folder = "/tmp/muster-test-XXXXXX"};
    assert_non_null(mkdtemp(fix->folder));
    snprintf(fix->cert, sizeof fix->cert, "%s/cert.pem", fix->folder);
    snprintf(fix->key, sizeof fix->key, "%s/key.pem", fix->folder);
    snprintf(fix->other_cert, sizeof fix->other_cert, "%s/other.pem", fix->folder);
    snprintf(fix->other_key, sizeof fix->other_key, "%s/other-key.pem", fix->folder);
    fix->base = event_base_new();
    fix->server = http_server_create(fix->base, &options);
    fix->agent = http_agent_create(fix->base, NULL);
    assert_int_equal(tls_create_self_signed(fix->cert, fix->key, "muster.test", NULL), 0);
    assert_int_equal(
        tls_create_self_signed(fix->other_cert, fix->other_key, "muster.test", NULL), 0);
    assert_int_equal(tls_server_create(fix->cert, fix->key, &fix->tls, NULL), 0);
    assert_int_equal(http_server_listen_tcp(fix->server, "127.0.0.1:0", fix->tls, &port, NULL), 0);
    snprintf(fix->address, sizeof fix->address, "https://127.0.0.1:%u", port);
}

static void fixture_destroy(struct fixture *fix)
{
    http_agent_destroy(fix->agent);
    http_server_destroy(fix->server);
    tls_server_destroy(fix->tls);
    event_base_free(fix->base);
    assert_int_equal(file_remove_tree(fix->folder, NULL), 0);
}

static void exchange(struct fixture *fix, struct http_endpoint *endpoint, struct talk *talk,
    const char *body, size_t length)
{
    const struct http_exchange_request request = {
        .method = "POST", .target = "/echo", .body = body, .length = (int64_t)length};
    talk->base = fix->base;
    assert_non_null(http_exchange_begin(endpoint, &request, &callbacks, talk));
    event_base_loop(fix->base, EVLOOP_NO_EXIT_ON_EMPTY);
}

static void bodies_of_all_sizes_come_back_over_one_connection(void **state)
{
    static const size_t sizes[] = {1, 100, 16383, 16384, 16385, 70000, 300000, 3 << 20, 1};
    struct prng prng = {7};
    struct fixture fix;
    struct tls_client *client = NULL;
    struct http_endpoint *endpoint = NULL;
    struct http_agent_stats stats;
    (void)state;
    fixture_create(&fix);
    assert_int_equal(tls_client_create(fix.cert, &client, NULL), 0);
    assert_int_equal(
        http_endpoint_create_tls(fix.agent, fix.address, client, "muster.test", &endpoint, NULL),
        0);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        SCOPED(mem_scope) char *body = mem_alloc(1, sizes[i]);
        struct talk talk = {0};
        for (size_t at = 0; at < sizes[i]; at++)
            body[at] = (char)prng_next(&prng);
        exchange(&fix, endpoint, &talk, body, sizes[i]);
        assert_false(talk.failed);
        assert_int_equal(talk.status, 200);
        assert_int_equal(talk.body.length, sizes[i]);
        assert_memory_equal(talk.body.text, body, sizes[i]);
        strbuf_finish(&talk.body);
    }
    http_agent_stats(fix.agent, &stats);
    assert_int_equal(stats.connected, 1);
    http_endpoint_release(endpoint);
    tls_client_destroy(client);
    fixture_destroy(&fix);
}

/* A peer whose certificate is for another host or from another authority gets no byte of a request.
 */
static void a_peer_that_is_not_the_one_is_sent_nothing(void **state)
{
    struct fixture fix;
    (void)state;
    fixture_create(&fix);
    const struct {
        const char *ca, *host;
    } wrong[] = {{fix.cert, "another.test"}, {fix.other_cert, "muster.test"}};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct tls_client *client = NULL;
        struct http_endpoint *endpoint = NULL;
        struct talk talk = {0};
        assert_int_equal(tls_client_create(wrong[i].ca, &client, NULL), 0);
        assert_int_equal(http_endpoint_create_tls(
                             fix.agent, fix.address, client, wrong[i].host, &endpoint, NULL),
            0);
        exchange(&fix, endpoint, &talk, "secret", 6);
        assert_true(talk.failed);
        assert_int_equal(talk.failure, HTTP_FAILED_CONNECT);
        assert_non_null(strstr(talk.text, "not trusted"));
        http_endpoint_release(endpoint);
        tls_client_destroy(client);
    }
    assert_int_equal(fix.requests, 0);
    fixture_destroy(&fix);
}

/* "localhost" stands for ::1 too, where nobody listens: the next address is tried. */
static void a_url_is_reached_by_name_and_its_host_is_whom_the_certificate_is_for(void **state)
{
    struct fixture fix;
    struct tls_client *client = NULL;
    struct error err = {0};
    const char *port;
    char url[64];
    (void)state;
    fixture_create(&fix);
    port = strrchr(fix.address, ':');
    assert_int_equal(tls_client_create(fix.cert, &client, NULL), 0);
    const struct {
        const char *host;
        bool fine;
    } rows[] = {{"localhost", true}, {"127.0.0.1", true}, {"127.0.0.2", false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_endpoint *endpoint = NULL;
        struct talk talk = {0};
        snprintf(url, sizeof url, "https://%s%s", rows[i].host, port);
        fix.authority[0] = '\0';
        assert_int_equal(http_endpoint_create_url(fix.agent, url, client, &endpoint, NULL), 0);
        exchange(&fix, endpoint, &talk, "hello", 5);
        assert_int_equal(talk.failed, !rows[i].fine);
        if (rows[i].fine)
            assert_string_equal(fix.authority, url + strlen("https://"));
        strbuf_finish(&talk.body);
        http_endpoint_release(endpoint);
    }
    struct http_endpoint *none = NULL;
    assert_int_equal(http_endpoint_create_url(fix.agent, url, NULL, &none, &err), -1);
    assert_int_equal(http_endpoint_create_url(fix.agent, "ftp://host", client, &none, &err), -1);
    tls_client_destroy(client);
    fixture_destroy(&fix);
}

static void an_identity_needs_both_its_parts_and_texts_that_are_pem(void **state)
{
    struct tls_client *client = NULL;
    struct error err = {0};
    (void)state;
    const struct tls_identity half = {.certificate = "x"}, wrong = {.ca = "no certificate"};
    assert_int_equal(tls_client_create_identity(&half, &client, &err), -1);
    assert_non_null(strstr(err.text, "together"));
    assert_int_equal(tls_client_create_identity(&wrong, &client, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_of_all_sizes_come_back_over_one_connection),
        cmocka_unit_test(a_peer_that_is_not_the_one_is_sent_nothing),
        cmocka_unit_test(a_url_is_reached_by_name_and_its_host_is_whom_the_certificate_is_for),
        cmocka_unit_test(an_identity_needs_both_its_parts_and_texts_that_are_pem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
