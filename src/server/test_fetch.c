/* Tests of bounded answers: against a server of our own on a Unix socket, which says what a seed
 * has it say. Each fetch ends once, and what is beyond its bound is none. */
#include "server/fetch.h"

#include "base/memory.h"
#include "base/prng.h"
#include "base/strbuf.h"
#include "base/test.h"
#include "wire/http.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BOUND = 4000 };

struct world {
    struct event_base *base;
    struct http_server *server;
    struct http_agent *agent;
    struct http_endpoint *endpoint;
    char folder[64], path[80];
    /* What is answered next. */
    int status; /* 0: the connection is cut */
    size_t length;
    struct strbuf asked; /* method, target and body of what came last */
    /* What came of it. */
    int ended;
    struct fetch_answer answer;
    struct strbuf text, taken;
    char trouble[128];
};

static void on_body(struct http_request *request, const char *bytes, size_t length, void *context)
{
    struct world *world = context;
    const char *type = http_request_header(request, "Content-Type");
    strbuf_clear(&world->asked);
    strbuf_printf(&world->asked, "%s %s %s ", http_request_method(request),
        http_request_target(request), type ? type : "-");
    strbuf_append(&world->asked, bytes, length);
    if (world->status == 0) {
        http_request_abort(request);
        return;
    }
    char *text = mem_alloc(1, world->length + 1);
    memset(text, 'x', world->length);
    http_respond(request, world->status, NULL, 0, text, world->length);
    free(text);
}

static void on_request(struct http_request *request, void *context)
{
    http_request_collect(request, 1 << 20, on_body, context);
}

static void on_answer(void *context, const struct fetch_answer *answer)
{
    struct world *world = context;
    world->ended++;
    world->answer = *answer;
    strbuf_clear(&world->text);
    strbuf_append(&world->text, answer->text, answer->length);
    snprintf(world->trouble, sizeof world->trouble, "%s", answer->trouble ? answer->trouble : "");
}

static void take(void *context, const void *bytes, size_t length)
{
    strbuf_append(&((struct world *)context)->taken, bytes, length);
}

static int setup(void **state)
{
    struct world *world = mem_alloc(1, sizeof *world);
    struct error err;
    char address[100];
    const struct http_server_options options = {.handler = on_request, .ctx = world};
    world->base = event_base_new();
    strcpy(world->folder, "/tmp/muster-fetch-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    snprintf(world->path, sizeof world->path, "%s/s", world->folder);
    snprintf(address, sizeof address, "unix:%s", world->path);
    world->server = http_server_create(world->base, &options);
    assert_int_equal(http_server_listen_unix(world->server, world->path, 0600, &err), 0);
    world->agent = http_agent_create(world->base, NULL);
    assert_int_equal(
        http_endpoint_create(world->agent, address, geteuid(), &world->endpoint, &err), 0);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    http_endpoint_release(world->endpoint);
    http_agent_destroy(world->agent);
    http_server_destroy(world->server);
    event_base_free(world->base);
    rmdir(world->folder);
    strbuf_finish(&world->asked);
    strbuf_finish(&world->text);
    strbuf_finish(&world->taken);
    free(world);
    return 0;
}

static void await(struct world *world, int ended)
{
    while (world->ended < ended)
        event_base_loop(world->base, EVLOOP_ONCE);
    assert_int_equal(world->ended, ended);
}

static const struct fetch_request get = {
    .target = "/status", .timeout_ms = 60000, .bytes_max = BOUND};

static void an_answer_within_the_bound_is_there_and_no_other(void **state)
{
    struct world *world = *state;
    struct prng prng = {3};
    for (int i = 1; i <= 200; i++) {
        static const int statuses[] = {200, 204, 404, 500};
        static const size_t edges[] = {0, 1, BOUND - 1, BOUND, BOUND + 1, 100 * BOUND};
        world->status = statuses[prng_below(&prng, ARRAY_LEN(statuses))];
        world->length = world->status == 204 ? 0 : edges[prng_below(&prng, ARRAY_LEN(edges))];
        struct fetch_request request = get;
        bool taken = prng_below(&prng, 2) == 0;
        request.take = taken ? take : NULL;
        strbuf_clear(&world->taken);
        fetch_begin(world->endpoint, &request, on_answer, world);
        await(world, i);
        assert_string_equal(strbuf_text(&world->asked), "GET /status - ");
        if (world->length > BOUND) {
            assert_int_equal(world->answer.status, 0);
            assert_string_equal(world->trouble, "its answer has more than 4000 bytes");
            assert_int_equal(world->text.length, 0);
            assert_true(world->taken.length <= BOUND);
            continue;
        }
        assert_int_equal(world->answer.status, world->status);
        assert_null(world->answer.trouble);
        assert_int_equal(world->text.length, taken ? 0 : world->length);
        assert_int_equal(world->taken.length, taken ? world->length : 0);
    }
}

static void what_is_sent_is_json(void **state)
{
    struct world *world = *state;
    const struct fetch_request put = {.method = "PUT",
        .target = "/routes",
        .body = "{\"a\":1}",
        .length = 7,
        .timeout_ms = 60000,
        .bytes_max = BOUND};
    world->status = 204;
    world->length = 0;
    fetch_begin(world->endpoint, &put, on_answer, world);
    await(world, 1);
    assert_string_equal(strbuf_text(&world->asked), "PUT /routes application/json {\"a\":1}");
}

static void what_breaks_off_says_why(void **state)
{
    struct world *world = *state;
    world->status = 0;
    fetch_begin(world->endpoint, &get, on_answer, world);
    await(world, 1);
    assert_int_equal(world->answer.status, 0);
    assert_true(world->trouble[0] != '\0');
}

static void one_that_is_given_up_is_not_heard_of(void **state)
{
    struct world *world = *state;
    world->status = 200;
    world->length = 10;
    fetch_cancel(NULL);
    struct fetch *fetch = fetch_begin(world->endpoint, &get, on_answer, world);
    fetch_cancel(fetch);
    fetch_begin(world->endpoint, &get, on_answer, world);
    await(world, 1);
    assert_int_equal(world->answer.status, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            an_answer_within_the_bound_is_there_and_no_other, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_sent_is_json, setup, teardown),
        cmocka_unit_test_setup_teardown(what_breaks_off_says_why, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_is_given_up_is_not_heard_of, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
