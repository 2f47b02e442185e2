/* Tests of the blocking client and of TLS, against the real server on a thread of its own. The
 * thread ends when it is asked for /quit. */
#include "wire/http.h"
#include "wire/tls.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/strbuf.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { BIG = 3 * 1024 * 1024 };

struct fixture {
    struct event_base *base;
    struct http_server *server;
    struct tls_server *tls;
    pthread_t thread;
    char folder[32], cert[64], key[64], socket[64];
    char unix_endpoint[80], http_endpoint[64], https_endpoint[64];
};

/* ------- the server's side ------- */

static void on_echo(struct http_request *request, const char *body, size_t length, void *ctx)
{
    (void)ctx;
    http_respond(request, 200, NULL, 0, body, length);
}

static void stream_on_read(struct http_stream *stream, const char *bytes, size_t length, void *ctx)
{
    (void)ctx;
    if (bytes)
        (void)http_stream_write(stream, bytes, length);
    else
        http_stream_close(stream);
}

static void stream_on_close(void *ctx)
{
    (void)ctx;
}

static void on_upgrade(struct http_stream *stream, void *ctx)
{
    (void)http_stream_write(stream, "hi ", 3);
    http_stream_set_callbacks(stream, stream_on_read, NULL, stream_on_close, ctx);
}

static void answer_big(struct http_request *request)
{
    static char piece[65536];
    memset(piece, 'x', sizeof piece);
    http_respond_begin(request, 200, NULL, 0, -1);
    for (int i = 0; i < BIG / (int)sizeof piece; i++)
        (void)http_respond_write(request, piece, sizeof piece);
    http_respond_end(request);
}

static void handle(struct http_request *request, void *ctx)
{
    struct fixture *fix = ctx;
    struct error err = {0};
    const char *path = http_request_path(request);
    const char *token = http_request_header(request, "Authorization");
    if (strcmp(path, "/echo") == 0) {
        http_request_collect(request, 8 * 1024 * 1024, on_echo, NULL);
    } else if (strcmp(path, "/big") == 0) {
        answer_big(request);
    } else if (strcmp(path, "/cut") == 0) {
        http_respond_begin(request, 200, NULL, 0, -1);
        (void)http_respond_write(request, "half", 4);
        http_request_abort(request);
    } else if (strcmp(path, "/silent") == 0) {
        http_request_set_data(request, fix); /* and never answered */
    } else if (strcmp(path, "/token") == 0) {
        http_respond(request, 200, NULL, 0, token ? token : "", token ? strlen(token) : 0);
    } else if (strcmp(path, "/reload") == 0) {
        bool done = http_server_reload_tls(fix->server, &err) == 0;
        http_respond(request, done ? 200 : 500, NULL, 0, err.text, strlen(err.text));
    } else if (strcmp(path, "/exec") == 0 && http_request_wants_upgrade(request, "echo")) {
        http_respond_upgrade(request, "echo", on_upgrade, NULL);
    } else if (strcmp(path, "/quit") == 0) {
        http_respond(request, 200, NULL, 0, NULL, 0);
        event_base_loopexit(fix->base, NULL);
    } else {
        const struct http_field field = {"X-Answer", "no"};
        http_respond(request, 404, &field, 1, "not here", 8);
    }
}

static void *run(void *ctx)
{
    struct fixture *fix = ctx;
    event_base_loop(fix->base, EVLOOP_NO_EXIT_ON_EMPTY);
    return NULL;
}

static struct fixture *fixture_create(void)
{
    struct fixture *fix = mem_alloc(1, sizeof *fix);
    const struct http_server_options options = {.handler = handle, .ctx = fix};
    uint16_t plain, secure;
    snprintf(fix->folder, sizeof fix->folder, "/tmp/muster-test-XXXXXX");
    assert_non_null(mkdtemp(fix->folder));
    snprintf(fix->cert, sizeof fix->cert, "%s/cert.pem", fix->folder);
    snprintf(fix->key, sizeof fix->key, "%s/key.pem", fix->folder);
    snprintf(fix->socket, sizeof fix->socket, "%s/socket", fix->folder);
    snprintf(fix->unix_endpoint, sizeof fix->unix_endpoint, "unix:%s", fix->socket);
    fix->base = event_base_new();
    fix->server = http_server_create(fix->base, &options);
    assert_int_equal(tls_create_self_signed(fix->cert, fix->key, "muster.test", NULL), 0);
    assert_int_equal(tls_server_create(fix->cert, fix->key, &fix->tls, NULL), 0);
    assert_int_equal(http_server_listen_unix(fix->server, fix->socket, 0600, NULL), 0);
    assert_int_equal(http_server_listen_tcp(fix->server, "127.0.0.1:0", NULL, &plain, NULL), 0);
    assert_int_equal(
        http_server_listen_tcp(fix->server, "127.0.0.1:0", fix->tls, &secure, NULL), 0);
    snprintf(fix->http_endpoint, sizeof fix->http_endpoint, "http://127.0.0.1:%u", plain);
    snprintf(fix->https_endpoint, sizeof fix->https_endpoint, "https://127.0.0.1:%u", secure);
    assert_int_equal(pthread_create(&fix->thread, NULL, run, fix), 0);
    return fix;
}

static struct http_client *client_to(const char *endpoint, const char *ca_path)
{
    struct http_client *client = NULL;
    const struct http_client_options options = {.endpoint = endpoint, .ca_path = ca_path};
    assert_int_equal(http_client_create(&options, &client, NULL), 0);
    return client;
}

static void ask(struct http_client *client, const char *method, const char *target,
    struct http_client_response *ret)
{
    const struct http_client_request request = {.method = method, .target = target};
    struct error err = {0};
    if (http_client_exchange(client, &request, ret, &err) < 0)
        fail_msg("%s %s: %s", method, target, err.text);
}

static void fixture_destroy(struct fixture *fix)
{
    struct http_client_response response;
    struct http_client *client = client_to(fix->unix_endpoint, NULL);
    ask(client, "GET", "/quit", &response);
    http_client_response_finish(&response);
    http_client_destroy(client);
    pthread_join(fix->thread, NULL);
    http_server_destroy(fix->server);
    tls_server_destroy(fix->tls);
    event_base_free(fix->base);
    assert_int_equal(file_remove_tree(fix->folder, NULL), 0);
    free(fix);
}

/* Every way to reach the server, in turn. */
static struct http_client *client_by(struct fixture *fix, int way)
{
    const char *const endpoints[] = {fix->unix_endpoint, fix->http_endpoint, fix->https_endpoint};
    return client_to(endpoints[way], way == 2 ? fix->cert : NULL);
}

enum { WAYS = 3 };

/* ------- exchanges ------- */

static void an_exchange_works_over_unix_tcp_and_tls(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create();
    for (int way = 0; way < WAYS; way++) {
        struct http_client *client = client_by(fix, way);
        struct http_client_response response;
        const struct http_client_request request = {
            .method = "POST", .target = "/echo", .body = "hello", .body_length = 5};
        for (int i = 0; i < 3; i++) { /* kept alive */
            assert_int_equal(http_client_exchange(client, &request, &response, NULL), 0);
            assert_int_equal(response.status, 200);
            assert_string_equal(response.body, "hello");
            http_client_response_finish(&response);
        }
        ask(client, "GET", "/nothing", &response);
        assert_int_equal(response.status, 404);
        assert_string_equal(response.body, "not here");
        assert_string_equal(http_client_response_header(&response, "x-answer"), "no");
        http_client_response_finish(&response);
        ask(client, "HEAD", "/nothing", &response);
        assert_int_equal(response.body_length, 0);
        http_client_response_finish(&response);
        http_client_destroy(client);
    }
    fixture_destroy(fix);
}

struct pattern {
    size_t sent;
};

static ssize_t pattern_source(void *out, size_t room, void *ctx, struct error *err)
{
    struct pattern *pattern = ctx;
    (void)err;
    size_t n = BIG - pattern->sent < room ? BIG - pattern->sent : room;
    memset(out, 'p', n);
    pattern->sent += n;
    return (ssize_t)n;
}

static void a_large_body_goes_there_and_back(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create();
    for (int way = 0; way < WAYS; way++) {
        struct http_client *client = client_by(fix, way);
        struct http_client_response response;
        struct pattern pattern = {0};
        const struct http_client_request chunked = {
            .method = "POST", .target = "/echo", .source = pattern_source, .source_ctx = &pattern};
        assert_int_equal(http_client_exchange(client, &chunked, &response, NULL), 0);
        assert_int_equal(response.body_length, BIG);
        const struct http_client_request whole = {.method = "PUT",
            .target = "/echo",
            .body = response.body,
            .body_length = response.body_length};
        struct http_client_response again;
        assert_int_equal(http_client_exchange(client, &whole, &again, NULL), 0);
        assert_int_equal(again.body_length, BIG);
        assert_memory_equal(again.body, response.body, BIG);
        http_client_response_finish(&again);
        http_client_response_finish(&response);
        http_client_destroy(client);
    }
    fixture_destroy(fix);
}

static int count_sink(const void *bytes, size_t length, void *ctx)
{
    (void)bytes;
    *(size_t *)ctx += length;
    return 0;
}

static int stopping_sink(const void *bytes, size_t length, void *ctx)
{
    (void)bytes, (void)length;
    return ++*(int *)ctx == 2;
}

static void an_answer_can_be_followed_and_left(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create();
    struct http_client *client = client_by(fix, 0);
    struct http_client_response response;
    size_t total = 0;
    int pieces = 0;
    struct http_client_request request = {.target = "/big", .sink = count_sink, .sink_ctx = &total};
    assert_int_equal(http_client_exchange(client, &request, &response, NULL), 0);
    assert_int_equal(total, BIG);
    http_client_response_finish(&response);
    request.sink = stopping_sink;
    request.sink_ctx = &pieces;
    assert_int_equal(http_client_exchange(client, &request, &response, NULL), 0);
    assert_true(response.stopped);
    assert_int_equal(pieces, 2);
    http_client_response_finish(&response);
    ask(client, "GET", "/nothing", &response); /* what was left unread is not taken for this */
    assert_int_equal(response.status, 404);
    http_client_response_finish(&response);
    http_client_destroy(client);
    fixture_destroy(fix);
}

static void assert_fails(
    struct http_client *client, const struct http_client_request *request, enum error_code code)
{
    struct http_client_response response = {.status = 7};
    struct error err = {0};
    assert_int_equal(http_client_exchange(client, request, &response, &err), -1);
    if (err.code != code)
        print_error("%s\n", err.text);
    assert_int_equal(err.code, code);
    assert_int_equal(response.status, 7);
}

static void failures_say_whether_anything_was_done(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create();
    struct http_client *client = client_by(fix, 1);
    assert_fails(client, &(struct http_client_request){.target = "/cut"}, ERR_UNKNOWN);
    assert_fails(
        client, &(struct http_client_request){.target = "/silent", .io_ms = 30}, ERR_UNKNOWN);
    assert_fails(client, &(struct http_client_request){.target = "/big", .collect_max = 1000},
        ERR_TOO_LARGE);
    assert_fails(client, &(struct http_client_request){.target = "no slash"}, ERR_INVALID);
    assert_fails(client, &(struct http_client_request){.target = "/a\r\nX: y"}, ERR_INVALID);
    const struct http_field bad = {"X", "a\r\nY: b"};
    assert_fails(client,
        &(struct http_client_request){.target = "/", .fields = &bad, .field_count = 1},
        ERR_INVALID);
    http_client_destroy(client);
    client = client_to("unix:/nonexistent/socket", NULL);
    assert_fails(client, &(struct http_client_request){.target = "/"}, ERR_UNAVAILABLE);
    http_client_destroy(client);
    fixture_destroy(fix);
}

static void a_token_never_travels_in_the_clear(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create();
    struct error err = {0};
    struct http_client *client = NULL;
    struct http_client_options options = {
        .endpoint = "http://192.0.2.1:80", .bearer_token = "secret"};
    assert_int_equal(http_client_create(&options, &client, &err), -1);
    assert_int_equal(err.code, ERR_DENIED);
    options.endpoint = fix->https_endpoint;
    options.ca_path = fix->cert;
    options.bearer_token = "a\nb";
    assert_int_equal(http_client_create(&options, &client, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    options.bearer_token = "secret";
    assert_int_equal(http_client_create(&options, &client, NULL), 0);
    struct http_client_response response;
    ask(client, "GET", "/token", &response);
    assert_string_equal(response.body, "Bearer secret");
    http_client_response_finish(&response);
    http_client_destroy(client);
    fixture_destroy(fix);
}

static void an_upgrade_gives_a_stream_over_unix_tcp_and_tls(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create();
    for (int way = 0; way < WAYS; way++) {
        struct http_client *client = client_by(fix, way);
        struct http_client_response response;
        const struct http_client_request request = {.target = "/exec"};
        struct error err = {0};
        char got[16] = "";
        size_t have = 0;
        assert_int_equal(http_client_upgrade(client, &request, "echo", &response, NULL), 0);
        assert_int_equal(response.status, 101);
        assert_string_equal(http_client_response_header(&response, "Upgrade"), "echo");
        http_client_response_finish(&response);
        assert_int_equal(http_client_write(client, "there", 5, NULL), 0);
        while (have < 8) {
            ssize_t n = http_client_read(client, got + have, sizeof got - have, 10000, NULL);
            assert_true(n > 0);
            have += (size_t)n;
        }
        assert_string_equal(got, "hi there");
        assert_false(http_client_pending(client));
        assert_int_equal(http_client_read(client, got, sizeof got, 0, &err), -1);
        assert_int_equal(err.code, ERR_BUSY);
        assert_int_equal(http_client_end_write(client, NULL), 0);
        assert_int_equal(http_client_read(client, got, sizeof got, 10000, NULL), 0);
        http_client_destroy(client);
    }
    fixture_destroy(fix);
}

static void a_refused_upgrade_is_an_ordinary_answer(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create();
    struct http_client *client = client_by(fix, 0);
    struct http_client_response response;
    const struct http_client_request request = {.target = "/nothing"};
    assert_int_equal(http_client_upgrade(client, &request, "echo", &response, NULL), 0);
    assert_int_equal(response.status, 404);
    assert_string_equal(response.body, "not here");
    http_client_response_finish(&response);
    http_client_destroy(client);
    fixture_destroy(fix);
}

/* ------- TLS ------- */

static void an_unknown_certificate_is_not_trusted(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create();
    struct http_client *client = client_to(fix->https_endpoint, NULL);
    assert_fails(client, &(struct http_client_request){.target = "/"}, ERR_DENIED);
    http_client_destroy(client);
    fixture_destroy(fix);
}

static void a_certificate_for_another_host_is_not_trusted(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create();
    struct tls_client *tls = NULL;
    struct tls_session *session = NULL;
    int pair[2];
    assert_int_equal(tls_client_create(fix->cert, &tls, NULL), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    struct tls_session *other = tls_session_accept(fix->tls, pair[1]);
    assert_int_equal(tls_session_connect(tls, pair[0], "wrong.test", &session, NULL), 0);
    struct error err = {0};
    enum tls_need need;
    int done = 0;
    for (int i = 0; i < 100 && done == 0; i++) {
        done = tls_session_handshake(session, &need, &err);
        (void)!tls_session_handshake(other, &need, NULL);
    }
    assert_int_equal(done, -1);
    assert_int_equal(err.code, ERR_DENIED);
    assert_non_null(strstr(err.text, "ostname mismatch"));
    tls_session_destroy(session);
    tls_session_destroy(other);
    tls_client_destroy(tls);
    close(pair[0]);
    close(pair[1]);
    fixture_destroy(fix);
}

/* Whether a TLS client of that version, offering that protocol, gets through the handshake. */
static bool greets(const struct fixture *fix, int version, const char *protocol, size_t length)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)atoi(strrchr(fix->https_endpoint, ':') + 1)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(context, 0);
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
    SSL_CTX_set_alpn_protos(context, (const unsigned char *)protocol, (unsigned)length);
    SSL *ssl = SSL_new(context);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    SSL_set_fd(ssl, fd);
    bool done = SSL_connect(ssl) == 1;
    ERR_clear_error();
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(fd);
    return done;
}

static void old_versions_and_other_protocols_get_no_session(void **state)
{
    (void)state;
    static const char http11[] = "\x08http/1.1", h2[] = "\x02h2";
    struct fixture *fix = fixture_create();
    assert_true(greets(fix, TLS1_3_VERSION, http11, sizeof http11 - 1));
    assert_true(greets(fix, TLS1_2_VERSION, http11, sizeof http11 - 1));
    assert_false(greets(fix, TLS1_1_VERSION, http11, sizeof http11 - 1));
    assert_false(greets(fix, TLS1_VERSION, http11, sizeof http11 - 1));
    assert_false(greets(fix, TLS1_3_VERSION, h2, sizeof h2 - 1));
    fixture_destroy(fix);
}

static void plain_text_on_the_tls_port_gets_no_answer(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create();
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "http%s", fix->https_endpoint + 5);
    struct http_client *client = client_to(endpoint, NULL);
    struct http_client_response response;
    struct error err = {0};
    assert_int_equal(
        http_client_exchange(client, &(struct http_client_request){.target = "/"}, &response, &err),
        -1);
    http_client_destroy(client);
    fixture_destroy(fix);
}

static void a_reload_serves_the_new_certificate_and_keeps_old_connections(void **state)
{
    (void)state;
    struct fixture *fix = fixture_create();
    struct http_client *old = client_by(fix, 2), *local = client_by(fix, 0);
    struct http_client_response response;
    char before[TLS_FINGERPRINT_TEXT], after[TLS_FINGERPRINT_TEXT], served[TLS_FINGERPRINT_TEXT];
    ask(old, "GET", "/token", &response);
    http_client_response_finish(&response);
    assert_int_equal(tls_fingerprint(fix->cert, before, NULL), 0);
    /* A file that is no certificate changes nothing. */
    assert_int_equal(file_write(fix->cert, "nonsense", 8, 0644, NULL), 0);
    ask(local, "GET", "/reload", &response);
    assert_int_equal(response.status, 500);
    assert_non_null(strstr(response.body, "cert.pem"));
    http_client_response_finish(&response);
    tls_server_fingerprint(fix->tls, served);
    assert_string_equal(served, before);
    /* A new pair is served to those who come now. */
    assert_int_equal(tls_create_self_signed(fix->cert, fix->key, "muster.test", NULL), 0);
    assert_int_equal(tls_fingerprint(fix->cert, after, NULL), 0);
    assert_string_not_equal(before, after);
    ask(local, "GET", "/reload", &response);
    assert_int_equal(response.status, 200);
    http_client_response_finish(&response);
    tls_server_fingerprint(fix->tls, served);
    assert_string_equal(served, after);
    struct http_client *new = client_by(fix, 2);
    ask(new, "GET", "/token", &response);
    http_client_response_finish(&response);
    ask(old, "GET", "/token", &response);
    http_client_response_finish(&response);
    http_client_destroy(new);
    http_client_destroy(old);
    http_client_destroy(local);
    fixture_destroy(fix);
}

static void keys_are_private_and_belong_to_their_certificate(void **state)
{
    (void)state;
    char folder[] = "/tmp/muster-test-XXXXXX", cert[64], key[64], other[64];
    struct tls_server *tls = NULL;
    struct error err = {0};
    struct stat st;
    assert_non_null(mkdtemp(folder));
    snprintf(cert, sizeof cert, "%s/cert", folder);
    snprintf(key, sizeof key, "%s/key", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    assert_int_equal(tls_create_self_signed(cert, other, "h", NULL), 0);
    assert_int_equal(tls_create_self_signed(cert, key, "h", NULL), 0);
    assert_int_equal(stat(key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(tls_server_create(cert, other, &tls, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(chmod(key, 0644), 0);
    assert_int_equal(tls_server_create(cert, key, &tls, &err), -1);
    assert_int_equal(err.code, ERR_DENIED);
    assert_int_equal(tls_server_create(cert, "/nonexistent", &tls, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(tls_create_self_signed(cert, key, "a,DNS:b", &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(file_remove_tree(folder, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_exchange_works_over_unix_tcp_and_tls),
        cmocka_unit_test(a_large_body_goes_there_and_back),
        cmocka_unit_test(an_answer_can_be_followed_and_left),
        cmocka_unit_test(failures_say_whether_anything_was_done),
        cmocka_unit_test(a_token_never_travels_in_the_clear),
        cmocka_unit_test(an_upgrade_gives_a_stream_over_unix_tcp_and_tls),
        cmocka_unit_test(a_refused_upgrade_is_an_ordinary_answer),
        cmocka_unit_test(an_unknown_certificate_is_not_trusted),
        cmocka_unit_test(a_certificate_for_another_host_is_not_trusted),
        cmocka_unit_test(old_versions_and_other_protocols_get_no_session),
        cmocka_unit_test(plain_text_on_the_tls_port_gets_no_answer),
        cmocka_unit_test(a_reload_serves_the_new_certificate_and_keeps_old_connections),
        cmocka_unit_test(keys_are_private_and_belong_to_their_certificate),
    };
    return cmocka_run_group_tests_name("http client and tls", tests, NULL, NULL);
}
