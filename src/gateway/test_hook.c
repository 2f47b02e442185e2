/* Tests of posts: which answers end one, how long the pauses are, and that each ends once, whatever
 * the other side does: a server that a seed has answer, refuse, break off and hang. */
#include "base/memory.h"
#include "base/prng.h"
#include "base/strbuf.h"
#include "base/test.h"
#include "gateway/hook.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void outcomes(void **state)
{
    static const struct {
        int status;
        enum hook_outcome wanted;
    } rows[] = {{200, HOOK_TAKEN}, {204, HOOK_TAKEN}, {299, HOOK_TAKEN}, {301, HOOK_REFUSED},
        {400, HOOK_REFUSED}, {404, HOOK_REFUSED}, {408, HOOK_AGAIN}, {429, HOOK_AGAIN},
        {500, HOOK_AGAIN}, {503, HOOK_AGAIN}, {0, HOOK_AGAIN}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(hook_outcome_of(rows[i].status), rows[i].wanted);
}

static void pauses_double_up_to_a_bound(void **state)
{
    (void)state;
    assert_int_equal(hook_pause_ms(1), 500);
    assert_int_equal(hook_pause_ms(2), 1000);
    for (int i = 1; i < 100; i++) {
        assert_true(hook_pause_ms(i + 1) >= hook_pause_ms(i));
        assert_true(hook_pause_ms(i) <= HOOK_PAUSE_MS_MAX);
    }
}

/* ---- a server that does what it is told -------------------------------------------------------
 */

struct server {
    int fd;
    pthread_t thread;
    char url[64];
    atomic_bool end;
    atomic_int asked;
};

/* What the path of a request says: the status, "0" to break off. */
static void answer(struct server *server, int client)
{
    char text[4096], reply[128];
    size_t length = 0;
    while (length < sizeof text - 1 && !memmem(text, length, "}", 1)) {
        ssize_t got = recv(client, text + length, sizeof text - 1 - length, 0);
        if (got <= 0)
            return;
        length += (size_t)got;
    }
    text[length] = '\0';
    const char *path = strchr(text, '/');
    int status = path ? atoi(path + 1) : 0;
    atomic_fetch_add(&server->asked, 1);
    assert_true(strstr(text, "X-Muster-Post: run-") || strstr(text, "x-muster-post: run-"));
    snprintf(reply, sizeof reply, "HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n", status);
    if (status > 0)
        (void)!send(client, reply, strlen(reply), MSG_NOSIGNAL);
}

static void *serve(void *argument)
{
    struct server *server = argument;
    for (;;) {
        int client = accept(server->fd, NULL, NULL);
        if (client < 0 || atomic_load(&server->end)) {
            if (client >= 0)
                close(client);
            return NULL;
        }
        answer(server, client);
        close(client);
    }
}

static void server_start(struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    *server = (struct server){.fd = socket(AF_INET, SOCK_STREAM, 0)};
    assert_int_equal(bind(server->fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(server->fd, 128), 0);
    assert_int_equal(getsockname(server->fd, (struct sockaddr *)&address, &size), 0);
    snprintf(server->url, sizeof server->url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void server_stop(struct server *server)
{
    atomic_store(&server->end, true);
    shutdown(server->fd, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->fd);
}

static uint64_t figure(struct hook *hook, const char *name)
{
    SCOPED(strbuf_finish) struct strbuf out = {0};
    char line[128];
    hook_write_metrics(hook, &out);
    int length = snprintf(line, sizeof line, "\nmuster_gateway_secondary_%s ", name);
    const char *at = strstr(out.text, line);
    assert_non_null(at);
    return strtoull(at + length, NULL, 10);
}

static bool put(struct hook *hook, const struct server *server, const char *service, int status)
{
    char url[128];
    snprintf(url, sizeof url, "%s/%d", server->url, status);
    return hook_put(
        hook, &(struct hook_post){
                  .service = service, .url = url, .body = "{}", .length = 2, .timeout_ms = 20000});
}

static void await_none(struct hook *hook)
{
    while (figure(hook, "posts") > 0)
        usleep(1000);
}

static void each_has_one_end(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 5; seed++) {
        struct prng prng = {seed};
        struct server server;
        struct hook *hook;
        struct error err;
        uint64_t wanted[3] = {0};
        server_start(&server);
        assert_int_equal(hook_create("run", NULL, &hook, &err), 0);
        for (int i = 0; i < 100; i++) {
            static const int statuses[] = {200, 404, 0};
            static const char *const services[] = {"a/b", "a/c", "d/e"};
            size_t which = (size_t)prng_below(&prng, 3);
            if (put(hook, &server, services[prng_below(&prng, 3)], statuses[which]))
                wanted[which]++;
        }
        await_none(hook);
        assert_int_equal(figure(hook, "posted_total"), wanted[0]);
        assert_int_equal(figure(hook, "post_refused_total"), wanted[1]);
        assert_int_equal(figure(hook, "post_unreached_total"), wanted[2]);
        assert_int_equal(wanted[0] + wanted[1] + wanted[2], 100);
        assert_int_equal(atomic_load(&server.asked), 100);
        hook_destroy(hook);
        server_stop(&server);
    }
}

/* A socket that listens and takes nobody: what is sent there hangs. */
static void what_hangs_fills_its_own_room_alone(void **state)
{
    struct server server, other;
    struct hook *hook;
    struct error err;
    (void)state;
    server_start(&server);
    server_stop(&server);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 128), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    snprintf(server.url, sizeof server.url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    server_start(&other);
    assert_int_equal(hook_create("run", NULL, &hook, &err), 0);
    for (int i = 0; i < 200; i++)
        assert_int_equal(put(hook, &server, "a/b", 200), i < HOOK_OF_SERVICE_MAX);
    assert_int_equal(figure(hook, "post_dropped_total"), 200 - HOOK_OF_SERVICE_MAX);
    for (int i = 0; i < 20; i++)
        assert_true(put(hook, &other, "a/c", 200));
    while (figure(hook, "posted_total") < 20)
        usleep(1000);
    hook_destroy(hook); /* what hangs is given up */
    server_stop(&other);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcomes),
        cmocka_unit_test(pauses_double_up_to_a_bound),
        cmocka_unit_test(each_has_one_end),
        cmocka_unit_test(what_hangs_fills_its_own_room_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
