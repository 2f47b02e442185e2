/* Tests of the agent against a peer that follows a script: what answers come out as, what is
 * refused, and what becomes of connections. What holds bounds and times is in
 * test_http_agent_limits.c. */
#include "wire/test_http_agent_fixture.h"

#include "base/memory.h"
#include "base/prng.h"

#include <errno.h>
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define OK      "HTTP/1.1 200 OK\r\n"
#define LENGTH  "Content-Length: "
#define CHUNKED "Transfer-Encoding: chunked\r\n"

/* ------- answers ------- */

/* What a peer says on a fresh connection before it closes it, and what comes out: the head's log
 * and the body, or how it fails. */
static const struct script {
    const char *answer;
    const char *head; /* NULL: none */
    const char *body;
    enum http_failure failure; /* when it does not end well */
    bool ends;
    const char *method; /* NULL: GET */
} scripts[] = {
    {OK LENGTH "5\r\n\r\nhello", "200 5", "hello", 0, true},
    {OK LENGTH "0\r\n\r\n", "200 0", "", 0, true},
    {OK "\r\nuntil the end", "200 -1", "until the end", 0, true},
    {"HTTP/1.0 200 OK\r\n\r\nold", "200 -1", "old", 0, true},
    {OK CHUNKED "\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX: y\r\n\r\n", "200 -1", "abcde", 0, true},
    {OK "X-a:  b \r\nY:\r\n" LENGTH "0\r\n\r\n", "200 0 X-a=b Y=", "", 0, true},
    {OK "Connection: close, x-hop\r\nX-Hop: 1\r\nX: 2\r\nKeep-Alive: t\r\nTE: a\r\nTrailer: b\r\n"
        "Upgrade: c\r\n" LENGTH "0\r\n\r\n",
        "200 0 X=2", "", 0, true},
    {"HTTP/1.1 204 No Content\r\n\r\n", "204 0", "", 0, true},
    {"HTTP/1.1 204 No Content\r\n" LENGTH "3\r\n\r\n", "204 0", "", 0, true},
    {"HTTP/1.1 304 Not Modified\r\n" LENGTH "7\r\n\r\n", "304 7", "", 0, true},
    {OK LENGTH "7\r\n\r\n", "200 7", "", 0, true, "HEAD"},
    {OK CHUNKED "\r\n", "200 -1", "", 0, true, "HEAD"},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK LENGTH
     "1\r\n\r\nx",
        "200 1", "x", 0, true},
    /* more than was announced: the answer is good, the connection is not used again */
    {OK LENGTH "2\r\n\r\nabHTTP/1.1 200 OK\r\n\r\n", "200 2", "ab", 0, true},
    /* cut short */
    {"", NULL, NULL, HTTP_FAILED_CLOSED, false},
    {"HTTP/1.1 20", NULL, NULL, HTTP_FAILED_CLOSED, false},
    {"HTTP/1.1 100 Continue\r\n\r\n", NULL, NULL, HTTP_FAILED_CLOSED, false},
    {OK LENGTH "5\r\n\r\nhell", "200 5", "hell", HTTP_FAILED_CLOSED, false},
    {OK CHUNKED "\r\n3\r\nabc\r\n", "200 -1", "abc", HTTP_FAILED_CLOSED, false},
    {OK CHUNKED "\r\n3\r\nabc\r\n0\r\n", "200 -1", "abc", HTTP_FAILED_CLOSED, false},
    /* what two readers could understand differently */
    {OK LENGTH "5\r\n" LENGTH "6\r\n\r\nhello!", NULL, NULL, HTTP_FAILED_ANSWER, false},
    {OK LENGTH "5\r\n" LENGTH "5\r\n\r\nhello", NULL, NULL, HTTP_FAILED_ANSWER, false},
    {OK LENGTH "5, 5\r\n\r\nhello", NULL, NULL, HTTP_FAILED_ANSWER, false},
    {OK LENGTH "+5\r\n\r\nhello", NULL, NULL, HTTP_FAILED_ANSWER, false},
    {OK LENGTH "99999999999999999999\r\n\r\n", NULL, NULL, HTTP_FAILED_ANSWER, false},
    {OK LENGTH "5\r\n" CHUNKED "\r\n0\r\n\r\n", NULL, NULL, HTTP_FAILED_ANSWER, false},
    {OK "Transfer-Encoding: gzip, chunked\r\n\r\n", NULL, NULL, HTTP_FAILED_ANSWER, false},
    {OK CHUNKED CHUNKED "\r\n", NULL, NULL, HTTP_FAILED_ANSWER, false},
    {"HTTP/1.0 200 OK\r\n" CHUNKED "\r\n", NULL, NULL, HTTP_FAILED_ANSWER, false},
    {OK CHUNKED "\r\nx\r\n", "200 -1", "", HTTP_FAILED_ANSWER, false},
    {OK CHUNKED "\r\n-1\r\n", "200 -1", "", HTTP_FAILED_ANSWER, false},
    {OK CHUNKED "\r\n3 \r\nabc\r\n", "200 -1", "", HTTP_FAILED_ANSWER, false},
    {OK CHUNKED "\r\n3\nabc", "200 -1", "", HTTP_FAILED_ANSWER, false},
    {OK CHUNKED "\r\n3\r\nabcd\r\n", "200 -1", "abc", HTTP_FAILED_ANSWER, false},
    {OK CHUNKED "\r\nfffffffffffffffff\r\n", "200 -1", "", HTTP_FAILED_ANSWER, false},
    {"HTTP/1.1 200 OK\n\n", NULL, NULL, HTTP_FAILED_ANSWER, false},
    {OK "A: b\n\r\n", NULL, NULL, HTTP_FAILED_ANSWER, false},
    {OK "A : b\r\n\r\n", NULL, NULL, HTTP_FAILED_ANSWER, false},
    {OK " A: b\r\n\r\n", NULL, NULL, HTTP_FAILED_ANSWER, false},
    {OK "A: b\r\n c\r\n\r\n", NULL, NULL, HTTP_FAILED_ANSWER, false},
    {OK "A: \x01\r\n\r\n", NULL, NULL, HTTP_FAILED_ANSWER, false},
    {"HTTP/2 200\r\n\r\n", NULL, NULL, HTTP_FAILED_ANSWER, false},
    {"HTTP/1.1 600 Odd\r\n\r\n", NULL, NULL, HTTP_FAILED_ANSWER, false},
    {"SSH-2.0-OpenSSH_9.2\r\n", NULL, NULL, HTTP_FAILED_ANSWER, false},
    {"HTTP/1.1 101 Switching Protocols\r\n\r\n", NULL, NULL, HTTP_FAILED_ANSWER, false},
};

static void check_script(struct peer *peer, const struct script *script)
{
    struct talk talk = {0};
    const struct http_exchange_request request = {
        .method = script->method ? script->method : "GET", .target = "/"};
    talk_once(peer, &talk, &request, script->answer, strlen(script->answer));
    if (talk.ends != script->ends || talk.failure != script->failure)
        print_error("answer: %s\n", script->answer);
    assert_int_equal(talk.ends, script->ends);
    assert_int_equal(talk.failure, script->failure);
    assert_string_equal(strbuf_text(&talk.log), script->head ? script->head : "");
    assert_string_equal(strbuf_text(&talk.body), script->body ? script->body : "");
    if (!script->ends)
        assert_int_equal(talk.answered, script->head != NULL);
    talk_clear(&talk);
}

static void answers_come_out_as_they_are_or_fail(void **state)
{
    (void)state;
    struct peer *peer = peer_create(NULL);
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++)
        check_script(peer, &scripts[i]);
    turn(peer);
    assert_int_equal(peer_stats(peer).connections, 0);
    peer_destroy(peer);
}

/* The same answers in random pieces: nothing may depend on how the bytes were cut up. */
static void how_an_answer_is_cut_up_changes_nothing(void **state)
{
    (void)state;
    struct peer *peer = peer_create(NULL);
    struct prng prng = {7};
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
            const struct script *script = &scripts[i];
            struct talk talk = {.pause_each = round % 2 == 1};
            struct strbuf got = {0};
            const struct http_exchange_request request = {
                .method = script->method ? script->method : "GET", .target = "/"};
            size_t length = strlen(script->answer), at = 0;
            talk_begin(peer, &talk, &request);
            int fd = peer_accept(peer);
            assert_true(peer_hear(peer, fd, &got, "\r\n\r\n"));
            while (at < length) {
                size_t piece = 1 + prng_below(&prng, round < 2 ? 1 : 12);
                piece = piece < length - at ? piece : length - at;
                peer_send(peer, fd, script->answer + at, piece);
                at += piece;
                if (talk.exchange && prng_below(&prng, 2))
                    http_exchange_resume(talk.exchange);
            }
            close(fd);
            for (int turns = 0; talk.exchange; turns++) {
                assert_true(turns < TURNS_MAX);
                http_exchange_resume(talk.exchange);
                turn(peer);
            }
            turn(peer);
            assert_int_equal(talk.ends, script->ends);
            assert_int_equal(talk.failure, script->failure);
            assert_string_equal(strbuf_text(&talk.log), script->head ? script->head : "");
            assert_string_equal(strbuf_text(&talk.body), script->body ? script->body : "");
            talk_clear(&talk);
            strbuf_finish(&got);
        }
    }
    peer_destroy(peer);
}

/* ------- requests ------- */

static void requests_are_written_as_asked(void **state)
{
    (void)state;
    const struct http_field fields[] = {{"Accept", "*/*"}, {"X", ""}};
    const struct http_field host = {"Host", "a.example"};
    const struct {
        struct http_exchange_request request;
        const char *text;
    } cases[] = {
        {{.method = "GET", .target = "/a?b=%20"}, "GET /a?b=%20 HTTP/1.1\r\nHost: muster\r\n\r\n"},
        {{.method = "GET", .target = "/", .fields = &host, .field_count = 1},
            "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"},
        {{.method = "POST",
             .target = "/",
             .fields = fields,
             .field_count = 2,
             .body = "hi",
             .length = 2},
            "POST / HTTP/1.1\r\nAccept: */*\r\nX: \r\nHost: muster\r\nContent-Length: 2\r\n\r\nhi"},
        {{.method = "POST", .target = "/"},
            "POST / HTTP/1.1\r\nHost: muster\r\nContent-Length: 0\r\n\r\n"},
        {{.method = "DELETE", .target = "/"}, "DELETE / HTTP/1.1\r\nHost: muster\r\n\r\n"},
    };
    struct peer *peer = peer_create(NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct talk talk = {0};
        struct strbuf got = {0};
        talk_begin(peer, &talk, &cases[i].request);
        int fd = peer_accept(peer);
        assert_true(peer_hear(peer, fd, &got, cases[i].text));
        assert_string_equal(got.text, cases[i].text);
        peer_say(peer, fd, OK "Connection: close\r\n" LENGTH "0\r\n\r\n");
        talk_finish(&talk);
        assert_int_equal(talk.ends, 1);
        talk_clear(&talk);
        strbuf_finish(&got);
        close(fd);
    }
    peer_destroy(peer);
}

static void what_would_inject_is_not_sent(void **state)
{
    (void)state;
    const struct http_field bad[] = {{"X", "a\r\nY: b"}, {"X y", "a"}, {"X", " a"}, {"", "a"}};
    struct peer *peer = peer_create(NULL);
    for (size_t i = 0; i < ARRAY_LEN(bad) + 3; i++) {
        struct talk talk = {0};
        struct http_exchange_request request = {.method = "GET", .target = "/"};
        if (i < ARRAY_LEN(bad))
            request.fields = &bad[i], request.field_count = 1;
        else if (i == ARRAY_LEN(bad))
            request.target = "/ HTTP/1.1\r\n";
        else if (i == ARRAY_LEN(bad) + 1)
            request.target = "";
        else
            request.method = "GET /";
        talk_begin(peer, &talk, &request);
        talk_finish(&talk);
        assert_int_equal(talk.fails, 1);
        assert_int_equal(talk.failure, HTTP_FAILED_REQUEST);
        talk_clear(&talk);
    }
    assert_int_equal(peer_stats(peer).connected, 0);
    peer_destroy(peer);
}

static void bodies_stream_both_ways_at_once(void **state)
{
    (void)state;
    struct peer *peer = peer_create(NULL);
    struct talk talk = {0};
    struct strbuf got = {0}, expected = {0};
    const struct http_exchange_request request = {
        .method = "POST", .target = "/", .streamed = true, .length = -1};
    talk_begin(peer, &talk, &request);
    int fd = peer_accept(peer);
    assert_true(peer_hear(peer, fd, &got, "chunked\r\n\r\n"));
    peer_say(peer, fd, OK CHUNKED "\r\n");
    for (int i = 0; i < 50; i++) {
        char piece[16], wire[32];
        int n = snprintf(piece, sizeof piece, "piece-%d", i);
        assert_true(http_exchange_write(talk.exchange, piece, (size_t)n));
        snprintf(wire, sizeof wire, "%x\r\n%s\r\n", n, piece);
        strbuf_clear(&got);
        assert_true(peer_hear(peer, fd, &got, wire));
        peer_say(peer, fd, wire);
        strbuf_puts(&expected, piece);
        assert_string_equal(strbuf_text(&talk.body), strbuf_text(&expected));
    }
    http_exchange_end_body(talk.exchange);
    assert_true(peer_hear(peer, fd, &got, "0\r\n\r\n"));
    peer_say(peer, fd, "0\r\n\r\n");
    talk_finish(&talk);
    assert_int_equal(talk.ends, 1);
    assert_int_equal(peer_stats(peer).idle, 1);
    close(fd);
    talk_clear(&talk);
    strbuf_finish(&got);
    strbuf_finish(&expected);
    peer_destroy(peer);
}

/* ------- connections ------- */

static void answer_simply(struct peer *peer, int fd, struct talk *talk)
{
    struct strbuf got = {0};
    assert_true(peer_hear(peer, fd, &got, "\r\n\r\n"));
    peer_say(peer, fd, OK LENGTH "2\r\n\r\nok");
    talk_finish(talk);
    assert_int_equal(talk->ends, 1);
    strbuf_finish(&got);
}

static void send_all(int fd, const char *head, size_t length, const char *body)
{
    assert_int_equal(send(fd, head, strlen(head), 0), strlen(head));
    if (length > 0)
        assert_int_equal(send(fd, body, length, 0), length);
}

static void a_connection_is_used_again_the_last_one_first(void **state)
{
    (void)state;
    struct peer *peer = peer_create(NULL);
    struct talk first = {0}, second = {0};
    talk_begin(peer, &first, NULL);
    talk_begin(peer, &second, NULL);
    int a = peer_accept(peer), b = peer_accept(peer);
    answer_simply(peer, a, &first);
    answer_simply(peer, b, &second);
    assert_int_equal(peer_stats(peer).idle, 2);
    for (int i = 0; i < 3; i++) {
        talk_clear(&first);
        talk_begin(peer, &first, NULL);
        answer_simply(peer, b, &first);
    }
    assert_int_equal(peer_stats(peer).connected, 2);
    assert_int_equal(peer_stats(peer).reused, 3);
    close(a), close(b);
    talk_clear(&first), talk_clear(&second);
    peer_destroy(peer);
}

/* Answers that are there at once are read in a row before one of them is looked at. */
static void answers_that_come_at_once_keep_apart(void **state)
{
    enum { TALKS = 5, EXACT = 4055, LARGE = 50000 };
    (void)state;
    struct peer *peer = peer_create(NULL);
    struct talk talks[TALKS] = {0};
    struct strbuf got = {0};
    int fds[TALKS];
    char *large = mem_alloc(1, LARGE);
    memset(large, 'l', LARGE);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < TALKS; i++) {
            talk_clear(&talks[i]);
            talk_begin(peer, &talks[i], NULL);
        }
        /* Connections used last come first: which is whose changes with each round. */
        for (int i = 0; i < TALKS; i++) {
            if (round == 0)
                fds[i] = peer_accept(peer);
            got.length = 0;
            assert_true(peer_hear(peer, fds[i], &got, "\r\n\r\n"));
        }
        const char *exact = OK LENGTH "4055\r\n\r\n"; /* as much as is read ahead */
        assert_int_equal(strlen(exact) + EXACT, 4096);
        send_all(fds[0], OK LENGTH "2\r\n\r\nok", 0, NULL);
        send_all(fds[1], exact, EXACT, large);
        send_all(fds[2], OK LENGTH "50000\r\n\r\n", LARGE, large);
        send_all(fds[3], "HTTP/1.1 20", 0, NULL);
        send_all(fds[4], OK CHUNKED "\r\n3\r\nabc\r\n0\r\n\r\n", 0, NULL);
        turn(peer);
        send_all(fds[3], "4 No Content\r\n\r\n", 0, NULL);
        size_t bytes = 0;
        for (int i = 0; i < TALKS; i++) {
            talk_finish(&talks[i]);
            assert_int_equal(talks[i].ends, 1);
            bytes += talks[i].body.length;
        }
        assert_int_equal(bytes, 2 + EXACT + LARGE + 3);
    }
    assert_int_equal(peer_stats(peer).connected, TALKS);
    for (int i = 0; i < TALKS; i++) {
        talk_clear(&talks[i]);
        close(fds[i]);
    }
    strbuf_finish(&got);
    free(large);
    peer_destroy(peer);
}

static void an_end_may_begin_the_next_on_the_same_connection(void **state)
{
    (void)state;
    struct peer *peer = peer_create(NULL);
    struct talk second = {0}, first = {.again = true, .next = &second};
    talk_begin(peer, &first, NULL);
    int fd = peer_accept(peer);
    answer_simply(peer, fd, &first);
    assert_non_null(second.exchange);
    answer_simply(peer, fd, &second);
    assert_int_equal(peer_stats(peer).connected, 1);
    close(fd);
    talk_clear(&first), talk_clear(&second);
    peer_destroy(peer);
}

static void answers_that_leave_doubt_end_their_connection(void **state)
{
    (void)state;
    static const char *const answers[] = {
        OK LENGTH "2\r\nConnection: close\r\n\r\nok",
        OK LENGTH "2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.0 200 OK\r\n" LENGTH "2\r\n\r\nok",
    };
    struct peer *peer = peer_create(NULL);
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct talk talk = {0};
        struct strbuf got = {0};
        talk_begin(peer, &talk, NULL);
        int fd = peer_accept(peer);
        assert_true(peer_hear(peer, fd, &got, "\r\n\r\n"));
        peer_say(peer, fd, answers[i]);
        assert_false(peer_hear(peer, fd, &got, NULL));
        assert_int_equal(talk.ends, 1);
        assert_string_equal(strbuf_text(&talk.body), "ok");
        assert_int_equal(peer_stats(peer).connections, 0);
        close(fd);
        talk_clear(&talk);
        strbuf_finish(&got);
    }
    peer_destroy(peer);
}

static void an_idle_connection_that_says_anything_is_closed(void **state)
{
    (void)state;
    struct peer *peer = peer_create(NULL);
    for (int i = 0; i < 2; i++) {
        struct talk talk = {0};
        talk_begin(peer, &talk, NULL);
        int fd = peer_accept(peer);
        answer_simply(peer, fd, &talk);
        assert_int_equal(peer_stats(peer).idle, 1);
        if (i == 0)
            peer_say(peer, fd, OK LENGTH "6\r\n\r\nforged");
        else
            shutdown(fd, SHUT_WR);
        turn(peer);
        assert_int_equal(peer_stats(peer).connections, 0);
        close(fd);
        talk_clear(&talk);
    }
    peer_destroy(peer);
}

static void a_connection_that_ended_meanwhile_is_stale(void **state)
{
    (void)state;
    struct peer *peer = peer_create(NULL);
    struct talk talk = {0};
    talk_begin(peer, &talk, NULL);
    int fd = peer_accept(peer);
    answer_simply(peer, fd, &talk);
    talk_clear(&talk);
    close(fd); /* and the loop has not turned since */
    talk_begin(peer, &talk, NULL);
    talk_finish(&talk);
    assert_int_equal(talk.fails, 1);
    assert_int_equal(talk.failure, HTTP_FAILED_STALE);
    assert_false(talk.answered);
    talk_clear(&talk);
    peer_destroy(peer);
}

static void a_kept_connection_that_began_to_answer_is_not_stale(void **state)
{
    (void)state;
    static const char *const starts[] = {"H", "HTTP/1.1 100 Continue\r\n\r\n"};
    struct peer *peer = peer_create(NULL);
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        struct talk talk = {0};
        talk_begin(peer, &talk, NULL);
        int fd = peer_accept(peer);
        answer_simply(peer, fd, &talk);
        talk_clear(&talk);
        talk_begin(peer, &talk, NULL);
        peer_say(peer, fd, starts[i]);
        close(fd);
        talk_finish(&talk);
        assert_int_equal(talk.failure, HTTP_FAILED_CLOSED);
        talk_clear(&talk);
    }
    peer_destroy(peer);
}

static void an_answer_may_come_before_the_request_is_complete(void **state)
{
    (void)state;
    struct peer *peer = peer_create(NULL);
    struct talk talk = {0};
    struct strbuf got = {0};
    const struct http_exchange_request request = {
        .method = "POST", .target = "/", .streamed = true, .length = 100};
    talk_begin(peer, &talk, &request);
    int fd = peer_accept(peer);
    (void)http_exchange_write(talk.exchange, "some", 4);
    assert_true(peer_hear(peer, fd, &got, "some"));
    peer_say(peer, fd, "HTTP/1.1 413 Too Much\r\n" LENGTH "2\r\n\r\nno");
    talk_finish(&talk);
    assert_int_equal(talk.ends, 1);
    assert_string_equal(strbuf_text(&talk.log), "413 2");
    assert_int_equal(peer_stats(peer).connections, 0);
    close(fd);
    strbuf_finish(&got);
    talk_clear(&talk);
    peer_destroy(peer);
}

/* It says why, and closes, while the request is still being sent: that answer is not lost. */
static void an_answer_is_read_after_sending_broke(void **state)
{
    (void)state;
    struct peer *peer = peer_create(NULL);
    struct talk talk = {0};
    static char piece[65536];
    const struct http_exchange_request request = {
        .method = "POST", .target = "/", .streamed = true, .length = -1};
    talk_begin(peer, &talk, &request);
    int fd = peer_accept(peer);
    const char *answer = "HTTP/1.1 401 Who\r\n" LENGTH "2\r\n\r\nno";
    assert_int_equal(send(fd, answer, strlen(answer), MSG_NOSIGNAL), strlen(answer));
    shutdown(fd, SHUT_RDWR);
    (void)http_exchange_write(talk.exchange, piece, sizeof piece);
    (void)http_exchange_write(talk.exchange, piece, sizeof piece);
    talk_finish(&talk);
    assert_int_equal(talk.ends, 1);
    assert_string_equal(strbuf_text(&talk.body), "no");
    close(fd);
    talk_clear(&talk);
    peer_destroy(peer);
}

/* ------- endpoints ------- */

static void released_endpoints_let_their_exchanges_end(void **state)
{
    (void)state;
    struct peer *peer = peer_create(NULL);
    struct talk idle = {0}, busy = {0};
    talk_begin(peer, &idle, NULL);
    talk_begin(peer, &busy, NULL);
    int a = peer_accept(peer), b = peer_accept(peer);
    answer_simply(peer, a, &idle);
    http_endpoint_release(peer->endpoint);
    assert_int_equal(peer_stats(peer).connections, 1);
    answer_simply(peer, b, &busy);
    turn(peer);
    assert_int_equal(peer_stats(peer).connections, 0);
    close(a), close(b);
    talk_clear(&idle), talk_clear(&busy);
    peer_destroy(peer);
}

static void assert_connect_fails(struct peer *peer, const char *address, uid_t owner)
{
    struct talk talk = {0};
    struct http_endpoint *own = peer->endpoint;
    assert_int_equal(http_endpoint_create(peer->agent, address, owner, &peer->endpoint, NULL), 0);
    talk_begin(peer, &talk, NULL);
    talk_finish(&talk);
    assert_int_equal(talk.failure, HTTP_FAILED_CONNECT);
    talk_clear(&talk);
    http_endpoint_release(peer->endpoint);
    peer->endpoint = own;
}

static void only_the_owners_socket_is_connected_to(void **state)
{
    (void)state;
    struct peer *peer = peer_create(NULL);
    char path[128], file[128];
    snprintf(path, sizeof path, "unix:%s/link", peer->folder);
    assert_int_equal(symlink(peer->address + 5, path + 5), 0);
    assert_connect_fails(peer, path, getuid());
    assert_connect_fails(peer, peer->address, getuid() + 1);
    snprintf(file, sizeof file, "unix:%s/file", peer->folder);
    fclose(fopen(file + 5, "w"));
    assert_connect_fails(peer, file, getuid());
    assert_connect_fails(peer, "unix:/nonexistent/muster", getuid());
    assert_connect_fails(peer, "unix:/nonexistent/muster", (uid_t)-1);
    assert_int_equal(peer_stats(peer).connected, 0);
    /* whose owner does not matter: the link is followed */
    struct http_endpoint *own = peer->endpoint;
    struct talk talk = {0};
    assert_int_equal(http_endpoint_create(peer->agent, path, (uid_t)-1, &peer->endpoint, NULL), 0);
    talk_once(peer, &talk, NULL, OK LENGTH "0\r\n\r\n", strlen(OK LENGTH "0\r\n\r\n"));
    assert_int_equal(talk.ends, 1);
    talk_clear(&talk);
    peer->endpoint = own;
    peer_destroy(peer);
}

static void a_socket_may_have_a_long_path(void **state)
{
    (void)state;
    struct peer *peer = peer_create(NULL);
    char folder[300], path[400], name[200];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    snprintf(folder, sizeof folder, "%s/%s", peer->folder, name);
    snprintf(path, sizeof path, "unix:%s/s", folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(rename(peer->address + 5, path + 5), 0);
    for (int i = 0; i < 2; i++) {
        struct talk talk = {0};
        struct http_endpoint *own = peer->endpoint;
        assert_int_equal(http_endpoint_create(
                             peer->agent, path, i ? getuid() : (uid_t)-1, &peer->endpoint, NULL),
            0);
        talk_once(peer, &talk, NULL, OK LENGTH "0\r\n\r\n", strlen(OK LENGTH "0\r\n\r\n"));
        assert_int_equal(talk.ends, 1);
        talk_clear(&talk);
        peer->endpoint = own;
    }
    peer_destroy(peer);
}

static void addresses_are_numeric_or_absolute(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "unix:", "unix:relative", "http://localhost:80",
        "https://127.0.0.1:1", "127.0.0.1:80", "http://127.0.0.1:99999"};
    static const char *const good[] = {"http://127.0.0.1:8080", "http://[::1]:80", "unix:/x"};
    struct peer *peer = peer_create(NULL);
    struct http_endpoint *endpoint;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct error err = {0};
        assert_int_equal(http_endpoint_create(peer->agent, bad[i], (uid_t)-1, &endpoint, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
    }
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(http_endpoint_create(peer->agent, good[i], (uid_t)-1, &endpoint, NULL), 0);
    peer_destroy(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_out_as_they_are_or_fail),
        cmocka_unit_test(how_an_answer_is_cut_up_changes_nothing),
        cmocka_unit_test(requests_are_written_as_asked),
        cmocka_unit_test(what_would_inject_is_not_sent),
        cmocka_unit_test(bodies_stream_both_ways_at_once),
        cmocka_unit_test(a_connection_is_used_again_the_last_one_first),
        cmocka_unit_test(answers_that_come_at_once_keep_apart),
        cmocka_unit_test(an_end_may_begin_the_next_on_the_same_connection),
        cmocka_unit_test(answers_that_leave_doubt_end_their_connection),
        cmocka_unit_test(an_idle_connection_that_says_anything_is_closed),
        cmocka_unit_test(a_connection_that_ended_meanwhile_is_stale),
        cmocka_unit_test(a_kept_connection_that_began_to_answer_is_not_stale),
        cmocka_unit_test(an_answer_may_come_before_the_request_is_complete),
        cmocka_unit_test(an_answer_is_read_after_sending_broke),
        cmocka_unit_test(released_endpoints_let_their_exchanges_end),
        cmocka_unit_test(only_the_owners_socket_is_connected_to),
        cmocka_unit_test(a_socket_may_have_a_long_path),
        cmocka_unit_test(addresses_are_numeric_or_absolute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
