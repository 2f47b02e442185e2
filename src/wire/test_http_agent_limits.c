/* Tests of what bounds the agent: heads and 1xx without end, pools, pauses, full buffers, time, and
 * cancelling at every moment. */
#include "wire/test_http_agent_fixture.h"

#include "base/memory.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define OK      "HTTP/1.1 200 OK\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"
#define EMPTY   OK "Content-Length: 0\r\n\r\n"

/* `count` times `text` after the start of an answer, without an end. */
static void flood(const char *start, const char *text, int count)
{
    const struct http_agent_options options = {.head_bytes_max = 4096};
    struct peer *peer = peer_create(&options);
    struct talk talk = {0};
    struct strbuf answer = {0};
    strbuf_puts(&answer, start);
    for (int i = 0; i < count; i++)
        strbuf_puts(&answer, text);
    talk_once(peer, &talk, NULL, answer.text, answer.length);
    assert_int_equal(talk.failure, HTTP_FAILED_ANSWER);
    assert_int_equal(talk.heads, 0);
    talk_clear(&talk);
    strbuf_finish(&answer);
    peer_destroy(peer);
}

static void heads_have_an_end(void **state)
{
    (void)state;
    flood(OK, "A: b\r\n", 100000);
    flood(OK "A: ", "aaaaaaaaaaaaaaaa", 100000);
    flood("HTTP/1.1 200 ", "aaaaaaaaaaaaaaaa", 100000);
    flood("", "HTTP/1.1 100 Continue\r\n\r\n", 100000);
}

static void the_pool_is_bounded(void **state)
{
    (void)state;
    enum { TALKS = 5 };
    const struct http_agent_options options = {.idle_max = 2};
    struct peer *peer = peer_create(&options);
    struct talk talks[TALKS] = {0};
    int fds[TALKS];
    for (int i = 0; i < TALKS; i++)
        talk_begin(peer, &talks[i], NULL);
    for (int i = 0; i < TALKS; i++)
        fds[i] = peer_accept(peer);
    for (int i = 0; i < TALKS; i++)
        peer_say(peer, fds[i], EMPTY);
    for (int i = 0; i < TALKS; i++) {
        talk_finish(&talks[i]);
        talk_clear(&talks[i]);
        close(fds[i]);
    }
    assert_int_equal(peer_stats(peer).idle, 2);
    assert_int_equal(peer_stats(peer).connections, 2);
    peer_destroy(peer);
}

/* ------- time ------- */

static void what_takes_too_long_fails(void **state)
{
    (void)state;
    static const struct {
        const char *start, *drip;
        bool answered;
    } cases[] = {
        {"", "", false},
        {"", "H", false},
        {OK "A: ", "a", false},
        {"HTTP/1.1 100 Continue\r\n\r\n", "", false},
        {OK "Content-Length: 9\r\n\r\nabc", "", true},
        {OK CHUNKED "\r\n", "", true},
    };
    const struct http_exchange_request request = {.method = "GET", .target = "/", .timeout_ms = 20};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct peer *peer = peer_create(NULL);
        struct talk talk = {0};
        talk_begin(peer, &talk, &request);
        int fd = peer_accept(peer);
        peer_say(peer, fd, cases[i].start);
        if (cases[i].drip[0])
            peer_say(peer, fd, cases[i].drip);
        talk_finish(&talk);
        assert_int_equal(talk.failure, HTTP_FAILED_TIMEOUT);
        assert_int_equal(talk.answered, cases[i].answered);
        close(fd);
        talk_clear(&talk);
        peer_destroy(peer);
    }
}

static void a_peer_that_takes_no_connection_is_given_up(void **state)
{
    (void)state;
    const struct http_agent_options options = {.connect_ms = 30};
    struct peer *peer = peer_create(&options);
    struct talk talks[4] = {0};
    assert_int_equal(listen(peer->listener, 0), 0); /* a queue of one */
    for (size_t i = 0; i < ARRAY_LEN(talks); i++)
        talk_begin(peer, &talks[i], NULL);
    talk_finish(&talks[3]);
    assert_int_equal(talks[3].failure, HTTP_FAILED_CONNECT);
    for (size_t i = 0; i < 3; i++) {
        if (talks[i].exchange)
            http_exchange_cancel(talks[i].exchange);
        talks[i].exchange = NULL;
        talk_clear(&talks[i]);
    }
    talk_clear(&talks[3]);
    peer_destroy(peer);
}

static void a_full_queue_is_waited_for(void **state)
{
    (void)state;
    struct peer *peer = peer_create(NULL);
    struct talk talks[4] = {0};
    assert_int_equal(listen(peer->listener, 0), 0);
    for (size_t i = 0; i < ARRAY_LEN(talks); i++)
        talk_begin(peer, &talks[i], NULL);
    for (int left = ARRAY_LEN(talks), turns = 0; left > 0; turns++) {
        assert_true(turns < TURNS_MAX);
        int fd = accept4(peer->listener, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0) {
            event_base_loop(peer->base, EVLOOP_ONCE);
            continue;
        }
        peer_say(peer, fd, EMPTY);
        close(fd);
        left--;
    }
    for (size_t i = 0; i < ARRAY_LEN(talks); i++) {
        talk_finish(&talks[i]);
        assert_int_equal(talks[i].ends, 1);
        talk_clear(&talks[i]);
    }
    peer_destroy(peer);
}

static void idle_connections_run_out_of_time(void **state)
{
    (void)state;
    const struct http_agent_options options = {.idle_ms = 20};
    struct peer *peer = peer_create(&options);
    struct talk talk = {0};
    talk_begin(peer, &talk, NULL);
    int fd = peer_accept(peer);
    peer_say(peer, fd, EMPTY);
    talk_finish(&talk);
    assert_int_equal(peer_stats(peer).idle, 1);
    while (peer_stats(peer).connections > 0)
        event_base_loop(peer->base, EVLOOP_ONCE);
    close(fd);
    talk_clear(&talk);
    peer_destroy(peer);
}

/* ------- pressure ------- */

static void a_paused_answer_holds_the_peer_back(void **state)
{
    (void)state;
    enum { TOTAL = 16 * 1024 * 1024 };
    struct peer *peer = peer_create(NULL);
    struct talk talk = {.pause_each = true};
    struct strbuf got = {0};
    static char piece[65536];
    size_t sent = 0;
    talk_begin(peer, &talk, NULL);
    int fd = peer_accept(peer);
    assert_true(peer_hear(peer, fd, &got, "\r\n\r\n"));
    peer_say(peer, fd, OK "Content-Length: 16777216\r\n\r\n");
    for (int idle = 0; idle < 100;) {
        ssize_t n = send(fd, piece, sizeof piece, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
        idle = n > 0 ? 0 : idle + 1;
        turn(peer);
    }
    assert_int_equal(talk.pieces, 1);
    assert_true(sent < 2 * 1024 * 1024); /* the socket's buffers, and one read */
    for (int turns = 0; talk.exchange; turns++) {
        assert_true(turns < TURNS_MAX);
        http_exchange_resume(talk.exchange);
        ssize_t n = sent < TOTAL
                        ? send(fd, piece, TOTAL - sent < sizeof piece ? TOTAL - sent : sizeof piece,
                              MSG_NOSIGNAL | MSG_DONTWAIT)
                        : 0;
        sent += n > 0 ? (size_t)n : 0;
        turn(peer);
    }
    assert_int_equal(talk.ends, 1);
    assert_int_equal(talk.body.length, TOTAL);
    close(fd);
    talk_clear(&talk);
    strbuf_finish(&got);
    peer_destroy(peer);
}

static void a_peer_that_does_not_read_holds_the_writer_back(void **state)
{
    (void)state;
    struct peer *peer = peer_create(NULL);
    struct talk talk = {0};
    struct strbuf got = {0};
    static char piece[16384];
    size_t written = 0;
    const struct http_exchange_request request = {
        .method = "POST", .target = "/", .streamed = true, .length = -1};
    talk_begin(peer, &talk, &request);
    int fd = peer_accept(peer);
    bool more = true;
    for (int i = 0; more; i++) {
        assert_true(i < 1000);
        more = http_exchange_write(talk.exchange, piece, sizeof piece);
        written += sizeof piece;
        turn(peer);
    }
    assert_true(written < 2 * 1024 * 1024);
    for (int i = 0; i < 100; i++)
        turn(peer);
    assert_int_equal(talk.drains, 0);
    while (talk.drains == 0) {
        strbuf_clear(&got);
        (void)peer_hear(peer, fd, &got, "\r\n");
    }
    http_exchange_end_body(talk.exchange);
    strbuf_clear(&got);
    assert_true(peer_hear(peer, fd, &got, "\r\n0\r\n\r\n"));
    peer_say(peer, fd, EMPTY);
    talk_finish(&talk);
    assert_int_equal(talk.ends, 1);
    assert_int_equal(peer_stats(peer).idle, 1);
    close(fd);
    talk_clear(&talk);
    strbuf_finish(&got);
    peer_destroy(peer);
}

static void time_does_not_run_while_paused(void **state)
{
    (void)state;
    struct peer *peer = peer_create(NULL);
    struct talk talk = {.pause_head = true}, other = {0};
    const struct http_exchange_request request = {.method = "GET", .target = "/", .timeout_ms = 20};
    talk_begin(peer, &talk, &request);
    int fd = peer_accept(peer);
    peer_say(peer, fd, OK "Content-Length: 2\r\n\r\nok");
    /* Another exchange with the same time fails meanwhile. */
    talk_begin(peer, &other, &request);
    talk_finish(&other);
    assert_int_equal(other.failure, HTTP_FAILED_TIMEOUT);
    assert_int_equal(talk.fails + talk.ends, 0);
    http_exchange_resume(talk.exchange);
    talk_finish(&talk);
    assert_int_equal(talk.ends, 1);
    assert_string_equal(strbuf_text(&talk.body), "ok");
    close(fd);
    talk_clear(&talk), talk_clear(&other);
    peer_destroy(peer);
}

/* ------- giving up ------- */

static void cancelling_is_safe_in_every_callback(void **state)
{
    (void)state;
    static const char answer[] = OK CHUNKED "\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n";
    for (int at = 1; at <= 4; at++) {
        struct peer *peer = peer_create(NULL);
        struct talk talk = {.cancel_at = at};
        struct strbuf got = {0};
        talk_begin(peer, &talk, NULL);
        int fd = peer_accept(peer);
        peer_say(peer, fd, answer);
        assert_int_equal(talk.callbacks, at);
        assert_int_equal(talk.ends + talk.fails, 0);
        assert_false(peer_hear(peer, fd, &got, NULL)); /* the peer notices */
        assert_int_equal(peer_stats(peer).exchanges, 0);
        close(fd);
        talk_clear(&talk);
        strbuf_finish(&got);
        peer_destroy(peer);
    }
}

static void cancelling_is_safe_between_callbacks(void **state)
{
    (void)state;
    static const char *const said[] = {
        "", "HTTP/1", OK "Content-Length: 9\r\n\r\n", OK "Content-Length: 9\r\n\r\nabc"};
    for (size_t i = 0; i < ARRAY_LEN(said) * 2; i++) {
        struct peer *peer = peer_create(NULL);
        struct talk talk = {0};
        const struct http_exchange_request request = {
            .method = "POST", .target = "/", .streamed = i % 2, .length = i % 2 ? -1 : 0};
        talk_begin(peer, &talk, &request);
        int fd = peer_accept(peer);
        peer_say(peer, fd, said[i / 2]);
        http_exchange_cancel(talk.exchange);
        talk.exchange = NULL;
        turn(peer);
        assert_int_equal(peer_stats(peer).connections, 0);
        assert_int_equal(talk.ends + talk.fails, 0);
        close(fd);
        talk_clear(&talk);
        peer_destroy(peer);
    }
}

/* Nothing of a small request goes before the loop turns: given up until then, the peer sees none of
 * it, and the one that was begun beside it is whole. */
static void what_is_given_up_in_its_turn_is_never_sent(void **state)
{
    const struct http_exchange_request request = {
        .method = "POST", .target = "/", .body = "small", .length = 5};
    struct talk first = {0}, second = {0};
    struct strbuf got = {0};
    char byte;
    (void)state;
    struct peer *peer = peer_create(NULL);
    /* The connections are made before, since taking them turns the loop. */
    talk_begin(peer, &first, NULL);
    talk_begin(peer, &second, NULL);
    int a = peer_accept(peer), b = peer_accept(peer);
    assert_true(peer_hear(peer, b, &got, "\r\n\r\n"));
    peer_say(peer, b, EMPTY);
    talk_finish(&second);
    strbuf_clear(&got);
    assert_true(peer_hear(peer, a, &got, "\r\n\r\n"));
    peer_say(peer, a, EMPTY);
    talk_finish(&first);
    strbuf_clear(&got);
    talk_clear(&first);
    talk_clear(&second);
    /* The one that was used last is taken first. */
    talk_begin(peer, &first, &request);
    talk_begin(peer, &second, &request);
    assert_int_equal(recv(a, &byte, 1, 0), -1);
    assert_int_equal(recv(b, &byte, 1, 0), -1);
    http_exchange_cancel(first.exchange);
    first.exchange = NULL;
    turn(peer);
    assert_int_equal(recv(a, &byte, 1, 0), 0);
    assert_true(peer_hear(peer, b, &got, "\r\n\r\nsmall"));
    peer_say(peer, b, EMPTY);
    talk_finish(&second);
    assert_int_equal(second.ends, 1);
    strbuf_finish(&got);
    talk_clear(&first);
    talk_clear(&second);
    close(a), close(b);
    peer_destroy(peer);
}

static void destroying_an_agent_says_nothing(void **state)
{
    (void)state;
    struct peer *peer = peer_create(NULL);
    struct talk talks[2] = {0};
    talk_begin(peer, &talks[0], NULL);
    int fd = peer_accept(peer);
    talk_begin(peer, &talks[1], NULL); /* and the loop has not turned */
    peer_destroy(peer);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(talks[i].ends + talks[i].fails, 0);
        talks[i].exchange = NULL;
        talk_clear(&talks[i]);
    }
    close(fd);
}

/* Connections without a look at the loop, and whether something was said on each. */
static int spoken_to(const struct peer *peer, int count)
{
    char byte;
    int spoken = 0;
    for (int i = 0; i < count; i++) {
        int fd = accept4(peer->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        assert_true(fd >= 0);
        spoken += recv(fd, &byte, 1, MSG_PEEK) == 1;
        close(fd);
    }
    return spoken;
}

static void small_requests_wait_for_the_turn_unless_they_are_many(void **state)
{
    enum { FEW = 3, MANY = 48 };
    const int counts[] = {FEW, MANY};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        struct peer *peer = peer_create(NULL);
        struct talk talks[MANY] = {0};
        for (int j = 0; j < counts[i]; j++)
            talk_begin(peer, &talks[j], NULL);
        http_agent_relieve(peer->agent);
        assert_int_equal(spoken_to(peer, counts[i]), counts[i] == FEW ? 0 : MANY);
        for (int j = 0; j < counts[i]; j++) {
            talk_finish(&talks[j]);
            talk_clear(&talks[j]);
        }
        peer_destroy(peer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_have_an_end),
        cmocka_unit_test(the_pool_is_bounded),
        cmocka_unit_test(what_takes_too_long_fails),
        cmocka_unit_test(a_peer_that_takes_no_connection_is_given_up),
        cmocka_unit_test(a_full_queue_is_waited_for),
        cmocka_unit_test(idle_connections_run_out_of_time),
        cmocka_unit_test(a_paused_answer_holds_the_peer_back),
        cmocka_unit_test(a_peer_that_does_not_read_holds_the_writer_back),
        cmocka_unit_test(time_does_not_run_while_paused),
        cmocka_unit_test(cancelling_is_safe_in_every_callback),
        cmocka_unit_test(cancelling_is_safe_between_callbacks),
        cmocka_unit_test(what_is_given_up_in_its_turn_is_never_sent),
        cmocka_unit_test(destroying_an_agent_says_nothing),
        cmocka_unit_test(small_requests_wait_for_the_turn_unless_they_are_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
