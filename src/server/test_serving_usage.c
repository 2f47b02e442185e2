/* Collecting usage: whatever is killed or fails in between, what is stored at the end is what was
 * counted. */
#include "server/test_world.h"

#include "base/clock.h"
#include "base/file.h"
#include "engine/worker.h"
#include "gateway/usage.h"
#include "server/names.h"
#include "server/serving_sums.h"
#include "server/serving_usage.h"
#include "wire/doc.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SERVICES = 3,
    REPLICAS = 500, /* together more series than one pass takes */
    SERIES = SERVICES * REPLICAS,
    WRITERS = 2,
    KILLS = 25,
    FAULTS = 40,
    LIFE_MS_MAX = 300,
};

static uint64_t seed; /* of the test's own choices; when things happen is the machine's */

static uint64_t random_below(uint64_t limit)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % limit;
}

/* ---- the gateway ----------------------------------------------------------------------------- */

/* What was written, by series. */
struct ledger {
    uint64_t requests[SERIES];
    uint64_t tokens[SERIES];
};

struct gateway {
    char folder[128];
    struct usage_file *files[WRITERS];
    int incarnation;
    struct ledger *ledger;
};

static void start_writer(struct gateway *gateway, int number)
{
    char name[32];
    snprintf(name, sizeof name, "run%d", ++gateway->incarnation);
    assert_works(usage_file_create(gateway->folder, name, number, &gateway->files[number], err));
}

/* Its files stay and nobody holds their locks: as after SIGKILL. */
static void kill_writer(struct gateway *gateway, int number)
{
    usage_file_close(gateway->files[number]);
    gateway->files[number] = NULL;
}

static void gateway_init(struct gateway *gateway, const char *data_dir, struct ledger *ledger)
{
    *gateway = (struct gateway){.ledger = ledger};
    snprintf(gateway->folder, sizeof gateway->folder, "%s/gateway/usage", data_dir);
    assert_works(file_make_dirs(gateway->folder, 0700, err));
    for (int i = 0; i < WRITERS; i++)
        start_writer(gateway, i);
}

static void gateway_finish(struct gateway *gateway)
{
    for (int i = 0; i < WRITERS; i++)
        kill_writer(gateway, i);
}

static void count_something(struct gateway *gateway)
{
    uint64_t which = random_below(SERIES), amount = 1 + random_below(9);
    struct usage_series series = {.version = 1, .replica = which + 1, .key = "k"};
    snprintf(series.service, sizeof series.service, "team/s%d", (int)(which % SERVICES));
    struct usage_counts *counts = usage_counts_of(gateway->files[random_below(WRITERS)], &series);
    usage_add(&counts->requests, 1);
    usage_add(&counts->output_tokens, amount);
    gateway->ledger->requests[which]++;
    gateway->ledger->tokens[which] += amount;
}

static void restart_a_writer(struct gateway *gateway)
{
    int number = (int)random_below(WRITERS);
    kill_writer(gateway, number);
    start_writer(gateway, number);
}

/* ---- the server ------------------------------------------------------------------------------ */

static void add_collector(struct world *world)
{
    struct error why;
    world->server.chores = worker_create(world->server.base, "chores", &why);
    assert_non_null(world->server.chores);
    assert_works(serving_usage_create(&world->server, &world->server.serving_usage, err));
}

/* In the order of a server that ends. */
static void drop_collector(struct world *world)
{
    worker_destroy(world->server.chores);
    serving_usage_destroy(world->server.serving_usage);
    world->server.serving_usage = NULL;
}

static void set_true(void *context)
{
    *(bool *)context = true;
}

/* Collects once; failures are the collector's own affair. */
static void collect(struct world *world)
{
    bool done = false;
    assert_works(serving_usage_refresh(world->server.serving_usage, set_true, &done, err));
    while (!done)
        event_base_loop(world->server.base, EVLOOP_ONCE);
    world_settle(world);
}

static int count_document(void *context, const struct document *document, struct error *err)
{
    (void)document, (void)err;
    ++*(size_t *)context;
    return 0;
}

static size_t documents(struct world *world, const char *collection)
{
    size_t count = 0;
    assert_works(reader_documents(
        world->server.reader, collection, NULL, NULL, 100000, count_document, &count, err));
    return count;
}

static int add_sum(void *context, const struct serving_sum *sum, struct error *err)
{
    struct ledger *ledger = context;
    (void)err;
    assert_in_range(sum->replica, 1, SERIES);
    ledger->requests[sum->replica - 1] += sum->counts.requests;
    ledger->tokens[sum->replica - 1] += sum->counts.output_tokens;
    return 0;
}

static struct ledger *stored(struct world *world)
{
    struct ledger *ledger = mem_alloc(1, sizeof *ledger);
    assert_works(serving_sums_each(world->server.reader, 0, INT64_MAX / 2, add_sum, ledger, err));
    return ledger;
}

static bool is_stored(struct world *world, const struct ledger *written)
{
    SCOPED(mem_scope) struct ledger *found = stored(world);
    return memcmp(found, written, sizeof *found) == 0;
}

/* Without faults: until every file is stored and gone, and forgotten. */
static void collect_all(struct world *world, const struct gateway *gateway)
{
    int rounds = 0;
    do {
        collect(world);
    } while (documents(world, "usage-seen") > 0 && ++rounds < 200);
    assert_int_equal(documents(world, "usage-seen"), 0);
    assert_int_equal(rmdir(gateway->folder), 0);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void what_is_counted_is_stored_once_and_by_whom(void **state)
{
    SCOPED(mem_scope) struct ledger *ledger = mem_alloc(1, sizeof *ledger);
    struct world *world = world_create();
    struct gateway gateway;
    (void)state;
    seed = 1;
    gateway_init(&gateway, world->folder, ledger);
    add_collector(world);
    for (int i = 0; i < 5000; i++)
        count_something(&gateway);
    collect(world);
    assert_true(is_stored(world, ledger));
    struct ticker_stats before, after;
    ticker_stats(world->server.ticker, &before);
    collect(world);
    ticker_stats(world->server.ticker, &after);
    assert_int_equal(before.commands, after.commands);
    assert_true(is_stored(world, ledger));
    gateway_finish(&gateway);
    collect_all(world, &gateway);
    assert_true(is_stored(world, ledger));
    drop_collector(world);
    world_destroy(world);
}

/* Commits fail at any of their disk operations, gateways are killed, and now and then the collector
 * begins anew from what is stored. */
static void failed_commits_lose_and_double_nothing(void **state)
{
    static const enum fault_kind kinds[] = {FAULT_IO, FAULT_SYNC, FAULT_FULL};
    SCOPED(mem_scope) struct ledger *ledger = mem_alloc(1, sizeof *ledger);
    struct world *world = world_create();
    struct gateway gateway;
    (void)state;
    seed = 42;
    gateway_init(&gateway, world->folder, ledger);
    add_collector(world);
    for (int i = 0; i < FAULTS; i++) {
        uint64_t adds = 1 + random_below(200);
        for (uint64_t n = 0; n < adds; n++)
            count_something(&gateway);
        if (random_below(8) == 0)
            restart_a_writer(&gateway);
        fault_vfs_plan(world->vfs, kinds[random_below(ARRAY_LEN(kinds))], random_below(40),
            1 + random_below(2));
        collect(world);
        fault_vfs_plan(world->vfs, FAULT_NONE, 0, 0);
        world_settle(world);
        if (random_below(8) == 0) {
            drop_collector(world);
            add_collector(world);
        }
    }
    gateway_finish(&gateway);
    collect_all(world, &gateway);
    assert_true(is_stored(world, ledger));
    drop_collector(world);
    world_destroy(world);
}

/* A server of its own, which collects as fast as it can until it is killed, and says so after each
 * time, for as long as the pipe takes it. */
static void serve(const char *folder, struct gateway *gateway, int done_fd)
{
    for (int i = 0; i < WRITERS; i++)
        kill_writer(gateway, i); /* the copies: the locks are the parent's as before */
    struct world *world = world_open(folder);
    add_collector(world);
    for (;;) {
        collect(world);
        if (write(done_fd, "", 1) < 0)
            assert_int_equal(errno, EAGAIN);
    }
}

/* Counts for as long as was chosen, and some lives until their server has stored something: on a
 * slow machine all of them might be too short for that. */
static void count_until(struct gateway *gateway, int64_t end_ns, int done_fd)
{
    char done;
    while (clock_monotonic_ns() < end_ns || (done_fd >= 0 && read(done_fd, &done, 1) < 0)) {
        count_something(gateway);
        if (random_below(100000) == 0)
            restart_a_writer(gateway);
    }
}

static void kills_of_servers_and_gateways_lose_and_double_nothing(void **state)
{
    char folder[] = "/tmp/muster-kills-XXXXXX";
    SCOPED(mem_scope) struct ledger *ledger = mem_alloc(1, sizeof *ledger);
    struct gateway gateway;
    int status;
    (void)state;
    seed = 7;
    assert_non_null(mkdtemp(folder));
    gateway_init(&gateway, folder, ledger);
    for (int i = 0; i < KILLS; i++) {
        int done[2];
        assert_int_equal(pipe2(done, O_CLOEXEC | O_NONBLOCK), 0);
        pid_t server = fork();
        assert_true(server >= 0);
        if (server == 0)
            serve(folder, &gateway, done[1]);
        count_until(&gateway,
            clock_monotonic_ns() + (int64_t)random_below(LIFE_MS_MAX * 1000000LL) + 10000000,
            i % 5 == 0 ? done[0] : -1);
        close(done[0]);
        close(done[1]);
        kill(server, SIGKILL);
        assert_int_equal(waitpid(server, &status, 0), server);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        if (random_below(3) == 0)
            restart_a_writer(&gateway);
    }
    gateway_finish(&gateway);
    struct world *world = world_open(folder);
    /* Some was stored by those that were killed, and something is left to do. */
    assert_true(documents(world, "usage-seen") > 0);
    assert_false(is_stored(world, ledger));
    add_collector(world);
    collect_all(world, &gateway);
    assert_true(is_stored(world, ledger));
    drop_collector(world);
    world_destroy(world);
    assert_works(file_remove_tree(folder, err));
}

/* ---- hours and days -------------------------------------------------------------------------- */

static int put_hour(struct tick *tick, void *context, struct error *err)
{
    const int64_t *hours_ago = context;
    char key[64];
    int64_t hour = tick_now(tick) / 3600000 - *hours_ago;
    (void)err;
    snprintf(key, sizeof key, "h/%08" PRId64 "/team/s/1/1/k", hour);
    store_txn_put_document(tick_txn(tick), "usage-sum", key, "team",
        "{\"service\":\"team/s\",\"version\":1,\"replica\":\"j0000000000001\",\"key\":\"k\","
        "\"requests\":2,\"output_tokens\":5}",
        tick_now(tick));
    return 0;
}

static void hours_of_long_ago_become_days_and_keep_their_sums(void **state)
{
    enum { HOURS = 33 * 24 };
    int64_t ago[HOURS];
    struct world *world = world_create();
    (void)state;
    for (int64_t i = 0; i < HOURS; i++) {
        ago[i] = i;
        assert_works(ticker_submit(world->server.ticker, "test", put_hour, NULL, &ago[i], err));
    }
    world_settle(world);
    assert_int_equal(documents(world, "usage-sum"), HOURS);
    add_collector(world);
    for (int i = 0; i < 5; i++)
        collect(world);
    SCOPED(mem_scope) struct ledger *found = stored(world);
    assert_int_equal(found->requests[0], 2 * HOURS);
    assert_int_equal(found->tokens[0], 5 * HOURS);
    assert_in_range(
        documents(world, "usage-sum"), 30 * 24, 31 * 24 + 4); /* 30 days by the hour, and days */
    int64_t now_ms = server_now_ms(), from_ms = now_ms - 40LL * 24 * 3600000, to_ms = now_ms;
    serving_range(now_ms, &from_ms, &to_ms);
    assert_int_equal(from_ms % (24 * 3600000), 0);
    assert_in_range(to_ms, now_ms, now_ms + 3600000);
    assert_int_equal(to_ms % 3600000, 0);
    drop_collector(world);
    world_destroy(world);
}

/* ---- counters -------------------------------------------------------------------------------- */

static void every_counter_survives_its_document(void **state)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct usage_counts counts, found;
    uint64_t *values = (uint64_t *)&counts;
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *values; i++)
        values[i] = i % 3 ? UINT64_MAX - i : 0;
    struct doc *map = doc_map(arena);
    serving_counts_write(arena, map, &counts);
    serving_counts_read(map, &found);
    assert_memory_equal(&found, &counts, sizeof counts);
    serving_counts_add(&found, &counts);
    assert_true(found.succeeded == UINT64_MAX);
    serving_counts_since(&found, &counts, &found);
    assert_true(found.requests == 0 && found.succeeded == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_counted_is_stored_once_and_by_whom),
        cmocka_unit_test(failed_commits_lose_and_double_nothing),
        cmocka_unit_test(kills_of_servers_and_gateways_lose_and_double_nothing),
        cmocka_unit_test(hours_of_long_ago_become_days_and_keep_their_sums),
        cmocka_unit_test(every_counter_survives_its_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
