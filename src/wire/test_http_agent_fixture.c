/* The agent under test and its scripted peer: see test_http_agent_fixture.h. */
#include "wire/test_http_agent_fixture.h"

#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* ------- callbacks ------- */

/* True when the talk wants to end here. */
static bool count_and_cancel(struct talk *talk)
{
    if (++talk->callbacks != talk->cancel_at)
        return false;
    http_exchange_cancel(talk->exchange);
    talk->exchange = NULL;
    return true;
}

static void on_head(struct http_exchange *exchange, const struct http_answer *answer, void *ctx)
{
    struct talk *talk = ctx;
    assert_ptr_equal(exchange, talk->exchange);
    assert_int_equal(talk->heads++, 0);
    strbuf_printf(&talk->log, "%d %lld", answer->status, (long long)answer->length);
    for (size_t i = 0; i < answer->field_count; i++)
        strbuf_printf(&talk->log, " %s=%s", answer->fields[i].name, answer->fields[i].value);
    if (!count_and_cancel(talk) && talk->pause_head)
        http_exchange_pause(exchange);
}

static void on_piece(struct http_exchange *exchange, const void *bytes, size_t length, void *ctx)
{
    struct talk *talk = ctx;
    assert_ptr_equal(exchange, talk->exchange);
    assert_int_equal(talk->heads, 1);
    assert_true(length > 0);
    talk->pieces++;
    strbuf_append(&talk->body, bytes, length);
    if (!count_and_cancel(talk) && talk->pause_each)
        http_exchange_pause(exchange);
}

static void on_end(struct http_exchange *exchange, void *ctx)
{
    struct talk *talk = ctx;
    assert_ptr_equal(exchange, talk->exchange);
    assert_int_equal(talk->heads, 1);
    talk->ends++;
    talk->exchange = NULL;
    if (talk->again)
        talk_begin(talk->peer, talk->next, NULL);
}

static void on_fail(struct http_exchange *exchange, enum http_failure failure, bool answered,
    const char *text, void *ctx)
{
    struct talk *talk = ctx;
    assert_ptr_equal(exchange, talk->exchange);
    assert_true(strlen(text) > 0);
    talk->fails++;
    talk->failure = failure;
    talk->answered = answered;
    talk->exchange = NULL;
}

static void on_drain(struct http_exchange *exchange, void *ctx)
{
    struct talk *talk = ctx;
    assert_ptr_equal(exchange, talk->exchange);
    talk->drains++;
    (void)count_and_cancel(talk);
}

const struct http_exchange_callbacks talk_callbacks = {
    on_head, on_piece, on_end, on_fail, on_drain};

/* ------- the peer ------- */

struct peer *peer_create(const struct http_agent_options *options)
{
    struct peer *peer = mem_alloc(1, sizeof *peer);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(peer->folder, "/tmp/muster-test-XXXXXX");
    assert_non_null(mkdtemp(peer->folder));
    snprintf(address.sun_path, sizeof address.sun_path, "%s/s", peer->folder);
    snprintf(peer->address, sizeof peer->address, "unix:%s/s", peer->folder);
    peer->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(peer->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(peer->listener, 64), 0);
    peer->base = event_base_new();
    peer->agent = http_agent_create(peer->base, options);
    assert_int_equal(
        http_endpoint_create(peer->agent, peer->address, getuid(), &peer->endpoint, NULL), 0);
    return peer;
}

void peer_destroy(struct peer *peer)
{
    http_agent_destroy(peer->agent);
    event_base_free(peer->base);
    close(peer->listener);
    assert_int_equal(file_remove_tree(peer->folder, NULL), 0);
    free(peer);
}

void turn(struct peer *peer)
{
    event_base_loop(peer->base, EVLOOP_NONBLOCK);
}

int peer_accept(struct peer *peer)
{
    turn(peer);
    int fd = accept4(peer->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    assert_true(fd >= 0);
    return fd;
}

void peer_send(struct peer *peer, int fd, const char *bytes, size_t length)
{
    for (int turns = 0; length > 0; turns++) {
        assert_true(turns < TURNS_MAX);
        ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EPIPE)
            return; /* the agent has heard enough */
        bytes += n > 0 ? n : 0;
        length -= n > 0 ? (size_t)n : 0;
        turn(peer);
    }
}

void peer_say(struct peer *peer, int fd, const char *text)
{
    peer_send(peer, fd, text, strlen(text));
}

bool peer_hear(struct peer *peer, int fd, struct strbuf *got, const char *needle)
{
    static char buffer[65536];
    for (int turns = 0; turns < TURNS_MAX; turns++) {
        if (needle && got->text && memmem(got->text, got->length, needle, strlen(needle)))
            return true;
        turn(peer);
        ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            return false;
        if (n > 0)
            strbuf_append(got, buffer, (size_t)n);
        else
            (void)poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 1);
    }
    fail_msg("nothing came");
    return false;
}

void talk_begin(struct peer *peer, struct talk *talk, const struct http_exchange_request *request)
{
    static const struct http_exchange_request get = {.method = "GET", .target = "/"};
    talk->peer = peer;
    talk->exchange =
        http_exchange_begin(peer->endpoint, request ? request : &get, &talk_callbacks, talk);
    assert_non_null(talk->exchange);
    assert_int_equal(talk->heads + talk->fails, 0); /* no callback from inside */
}

void talk_finish(struct talk *talk)
{
    for (int turns = 0; talk->exchange; turns++) {
        assert_true(turns < TURNS_MAX);
        event_base_loop(talk->peer->base, EVLOOP_ONCE);
    }
    assert_int_equal(talk->ends + talk->fails, 1);
}

void talk_clear(struct talk *talk)
{
    assert_null(talk->exchange);
    strbuf_finish(&talk->log);
    strbuf_finish(&talk->body);
    *talk = (struct talk){0};
}

void talk_once(struct peer *peer, struct talk *talk, const struct http_exchange_request *request,
    const char *answer, size_t length)
{
    struct strbuf got = {0};
    talk_begin(peer, talk, request);
    int fd = peer_accept(peer);
    assert_true(peer_hear(peer, fd, &got, "\r\n\r\n"));
    peer_send(peer, fd, answer, length);
    close(fd);
    talk_finish(talk);
    turn(peer); /* a kept connection has ended */
    strbuf_finish(&got);
}

struct http_agent_stats peer_stats(const struct peer *peer)
{
    struct http_agent_stats stats;
    http_agent_stats(peer->agent, &stats);
    return stats;
}
