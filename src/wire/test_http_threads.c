/* Several servers and agents, each on a thread and a loop of its own, share an address and nothing
 * else. Run under ThreadSanitizer too. Each thread serves, and asks the address that all share, so
 * that any of them may answer. */
#include "wire/http_agent.h"

#include "base/memory.h"

#include <event2/event.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { THREADS = 3, EXCHANGES = 200 };

struct together {
    char address[64];
    atomic_int finished; /* threads with all their answers */
};

struct worker {
    pthread_t thread;
    struct together *all;
    struct event_base *base;
    struct http_server *server;
    struct http_agent *agent;
    struct http_endpoint *endpoint;
    int answered, failed;
};

static void handle(struct http_request *request, void *ctx)
{
    const struct http_field type = {"Content-Type", "text/plain"};
    (void)ctx;
    http_respond(request, 200, &type, 1, "hello", 5);
}

static void ask(struct worker *worker);

static void on_head(struct http_exchange *exchange, const struct http_answer *answer, void *ctx)
{
    (void)exchange, (void)answer, (void)ctx;
}

static void on_piece(struct http_exchange *exchange, const void *bytes, size_t length, void *ctx)
{
    (void)exchange, (void)bytes, (void)length, (void)ctx;
}

static void go_on(struct worker *worker)
{
    if (worker->answered + worker->failed < EXCHANGES)
        ask(worker);
    else
        atomic_fetch_add(&worker->all->finished, 1);
}

static void on_end(struct http_exchange *exchange, void *ctx)
{
    struct worker *worker = ctx;
    (void)exchange;
    worker->answered++;
    go_on(worker);
}

static void on_fail(struct http_exchange *exchange, enum http_failure failure, bool answered,
    const char *text, void *ctx)
{
    struct worker *worker = ctx;
    (void)exchange, (void)failure, (void)answered, (void)text;
    worker->failed++;
    go_on(worker);
}

static void ask(struct worker *worker)
{
    static const struct http_exchange_callbacks callbacks = {
        .on_head = on_head, .on_piece = on_piece, .on_end = on_end, .on_fail = on_fail};
    const struct http_exchange_request request = {.method = "GET", .target = "/"};
    (void)http_exchange_begin(worker->endpoint, &request, &callbacks, worker);
}

static void on_tick(int fd, short what, void *ctx)
{
    struct worker *worker = ctx;
    (void)fd, (void)what;
    if (atomic_load(&worker->all->finished) == THREADS)
        event_base_loopbreak(worker->base);
}

static void *work(void *ctx)
{
    struct worker *worker = ctx;
    const struct timeval tick = {0, 1000};
    struct event *timer = event_new(worker->base, -1, EV_PERSIST, on_tick, worker);
    event_add(timer, &tick);
    ask(worker);
    event_base_dispatch(worker->base);
    event_free(timer);
    http_agent_destroy(worker->agent);
    http_server_destroy(worker->server);
    event_base_free(worker->base);
    return NULL;
}

static void worker_prepare(struct worker *worker, struct together *all)
{
    const struct http_server_options options = {.handler = handle};
    uint16_t port;
    worker->all = all;
    worker->base = event_base_new();
    worker->server = http_server_create(worker->base, &options);
    assert_int_equal(
        http_server_listen_tcp_shared(worker->server, all->address, NULL, &port, NULL), 0);
    snprintf(all->address, sizeof all->address, "127.0.0.1:%u", port);
}

static void workers_share_an_address_and_nothing_else(void **state)
{
    (void)state;
    struct together all = {.address = "127.0.0.1:0"};
    struct worker workers[THREADS] = {0};
    char url[80];
    for (int i = 0; i < THREADS; i++)
        worker_prepare(&workers[i], &all);
    snprintf(url, sizeof url, "http://%s", all.address);
    for (int i = 0; i < THREADS; i++) {
        workers[i].agent = http_agent_create(workers[i].base, NULL);
        assert_int_equal(
            http_endpoint_create(workers[i].agent, url, (uid_t)-1, &workers[i].endpoint, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].answered, EXCHANGES);
    }
}

static void an_address_is_shared_only_by_those_who_say_so(void **state)
{
    (void)state;
    const struct http_server_options options = {.handler = handle};
    struct event_base *base = event_base_new();
    struct http_server *server = http_server_create(base, &options);
    struct error err = {0};
    char address[64];
    uint16_t port;
    assert_int_equal(http_server_listen_tcp(server, "127.0.0.1:0", NULL, &port, NULL), 0);
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    assert_int_equal(http_server_listen_tcp_shared(server, address, NULL, NULL, &err), -1);
    http_server_destroy(server);
    event_base_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workers_share_an_address_and_nothing_else),
        cmocka_unit_test(an_address_is_shared_only_by_those_who_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
