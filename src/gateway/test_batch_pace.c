/* Tests of the pacing of batches, in virtual time: a replica that takes a + b*n, requests that come
 * at random or as soon as they were answered. */
#include "base/memory.h"
#include "base/prng.h"
#include "base/test.h"
#include "gateway/batch_pace.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t US = 1000, MS = 1000000, S = 1000000000;
enum { QUEUE_MAX = 4096, CALLS_MAX = 8, LATENCIES_MAX = 400000 };

/* What is under way at the replica. */
struct call {
    bool busy;
    int64_t done_ns, began_ns, rows;
    int64_t came_ns[QUEUE_MAX];
};

struct world {
    struct batch_pace pace;
    struct prng prng;
    int64_t a_ns, b_ns;
    int servers; /* calls that the replica really does at once; others wait for them */
    int noise_percent;
    int64_t rate_per_s; /* open loop; 0: closed */
    int clients;        /* closed loop */
    int64_t think_ns;
    int64_t now_ns;
    int64_t next_ns[QUEUE_MAX]; /* when a request comes; closed: one a client, 0: under way */
    size_t next_count;
    int64_t queue[QUEUE_MAX];
    size_t queued;
    int64_t look_ns; /* asked again then; 0: no need */
    struct call calls[CALLS_MAX];
    int64_t server_free_ns[CALLS_MAX];
    int64_t *latency_ns;
    size_t answered;
    int64_t rows_sum, batches;
};

static struct world *world_create(uint64_t seed)
{
    struct world *world = mem_alloc(1, sizeof *world);
    world->prng.state = seed;
    world->servers = 1;
    world->now_ns = S;
    world->pace.limits =
        (struct batch_limits){.rows_max = 64, .goal_ns = 100 * MS, .delay_max_ns = 10 * MS};
    world->latency_ns = mem_alloc(LATENCIES_MAX, sizeof *world->latency_ns);
    return world;
}

static void world_destroy(struct world *world)
{
    free(world->latency_ns);
    free(world);
}

/* Exponential, by the sum of bits: -ln(u) to within a few percent, without floating point. */
static int64_t exponential(struct prng *prng, int64_t mean)
{
    int64_t halves = 0;
    while (halves < 40 && prng_below(prng, 2))
        halves++;
    int64_t fraction = (int64_t)prng_below(prng, 1000);
    return mean * 693 / 1000 * (halves * 1000 + fraction) / 1000;
}

static void begin_load(struct world *world)
{
    world->next_count = world->rate_per_s ? 1 : (size_t)world->clients;
    for (size_t i = 0; i < world->next_count; i++)
        world->next_ns[i] = world->now_ns + (int64_t)prng_below(&world->prng, (uint64_t)MS);
}

static size_t busy_calls(const struct world *world)
{
    size_t busy = 0;
    for (size_t i = 0; i < CALLS_MAX; i++)
        busy += world->calls[i].busy;
    return busy;
}

static int64_t service_ns(struct world *world, int64_t rows)
{
    int64_t ns = world->a_ns + world->b_ns * rows;
    int64_t spread = ns * world->noise_percent / 100;
    if (world->noise_percent && prng_below(&world->prng, 50) == 0)
        ns *= 10; /* the machine was elsewhere */
    return ns - spread / 2 + (int64_t)prng_below(&world->prng, (uint64_t)spread + 1);
}

static void send(struct world *world, struct call *call, int64_t rows)
{
    int server = 0;
    for (int i = 1; i < world->servers; i++)
        server = world->server_free_ns[i] < world->server_free_ns[server] ? i : server;
    int64_t begin = world->server_free_ns[server];
    begin = begin > world->now_ns ? begin : world->now_ns;
    call->busy = true;
    call->began_ns = world->now_ns;
    call->rows = rows;
    call->done_ns = begin + service_ns(world, rows);
    world->server_free_ns[server] = call->done_ns;
    memcpy(call->came_ns, world->queue, (size_t)rows * sizeof *world->queue);
    world->queued -= (size_t)rows;
    memmove(world->queue, world->queue + rows, world->queued * sizeof *world->queue);
    world->rows_sum += rows;
    world->batches++;
}

/* What the gateway does whenever something happened. */
static void pump(struct world *world)
{
    world->look_ns = 0;
    while (world->queued > 0 && busy_calls(world) < (size_t)batch_pace_depth(&world->pace)) {
        struct batch_waiting waiting = {
            (int64_t)world->queued, (int64_t)world->queued, world->queue[0]};
        world->look_ns = batch_pace_wait(&world->pace, &waiting, world->now_ns);
        if (world->look_ns)
            return;
        int64_t rows = batch_pace_rows(&world->pace, &waiting, world->now_ns);
        rows = rows < waiting.rows ? rows : waiting.rows;
        struct call *call = world->calls;
        while (call->busy)
            call++;
        send(world, call, rows);
    }
}

static void end_call(struct world *world, struct call *call)
{
    call->busy = false;
    batch_pace_done(
        &world->pace, world->now_ns, call->rows, world->now_ns - call->began_ns, world->queued > 0);
    for (int64_t i = 0; i < call->rows; i++) {
        assert_in_range(world->answered, 0, LATENCIES_MAX - 1);
        world->latency_ns[world->answered++] = world->now_ns - call->came_ns[i];
        if (!world->rate_per_s)
            world->next_ns[world->next_count++] =
                world->now_ns + 5 * US + exponential(&world->prng, world->think_ns);
    }
}

static void arrive(struct world *world, size_t i)
{
    assert_in_range(world->queued, 0, QUEUE_MAX - 1);
    world->queue[world->queued++] = world->now_ns;
    batch_pace_arrived(&world->pace, world->now_ns);
    if (world->rate_per_s)
        world->next_ns[i] = world->now_ns + exponential(&world->prng, S / world->rate_per_s);
    else
        world->next_ns[i] = world->next_ns[--world->next_count];
}

/* The next moment at which anything happens. */
static void step(struct world *world)
{
    int64_t next = world->look_ns ? world->look_ns : INT64_MAX;
    size_t arrival = SIZE_MAX;
    struct call *done = NULL;
    for (size_t i = 0; i < world->next_count; i++) {
        if (world->next_ns[i] < next) {
            next = world->next_ns[i];
            arrival = i;
        }
    }
    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (world->calls[i].busy && world->calls[i].done_ns <= next) {
            next = world->calls[i].done_ns;
            done = &world->calls[i];
        }
    }
    world->now_ns = next > world->now_ns ? next : world->now_ns;
    if (done)
        end_call(world, done);
    else if (arrival != SIZE_MAX)
        arrive(world, arrival);
    pump(world);
}

static void run(struct world *world, int64_t ns)
{
    int64_t end = world->now_ns + ns;
    while (world->now_ns < end)
        step(world);
}

/* Forgets what was measured, and goes on. */
static void run_measured(struct world *world, int64_t warm_ns, int64_t ns)
{
    run(world, warm_ns);
    world->answered = 0;
    world->rows_sum = world->batches = 0;
    run(world, ns);
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int64_t quantile(struct world *world, int per_mille)
{
    assert_true(world->answered > 0);
    qsort(world->latency_ns, world->answered, sizeof *world->latency_ns, compare);
    return world->latency_ns[(world->answered - 1) * (size_t)per_mille / 1000];
}

static void assert_near(int64_t value, int64_t wanted, int percent)
{
    int64_t off = value > wanted ? value - wanted : wanted - value;
    if (off * 100 > wanted * percent)
        fail_msg("%lld is not within %d %% of %lld", (long long)value, percent, (long long)wanted);
}

/* ---- learning -------------------------------------------------------------------------------- */

static void test_a_and_b_are_learned_through_noise_and_outliers(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct prng prng = {seed};
        struct batch_pace pace = {.limits = {.rows_max = 64}};
        int64_t a = 200 * US + (int64_t)prng_below(&prng, (uint64_t)(5 * MS));
        int64_t b = 10 * US + (int64_t)prng_below(&prng, (uint64_t)(200 * US));
        for (int i = 0; i < 200; i++) {
            int64_t rows = 1 + (int64_t)prng_below(&prng, 64);
            int64_t ns = a + b * rows;
            ns += ns * (int64_t)prng_below(&prng, 40) / 1000;
            if (prng_below(&prng, 15) == 0)
                ns += 100 * MS;
            batch_pace_done(&pace, (i + 1) * S, rows, ns, false);
        }
        assert_near(batch_pace_expect(&pace, 32), a + b * 32, 8);
        /* An intercept is known as well as the noise of all calls allows. */
        int64_t off = batch_pace_expect(&pace, 1) - a - b;
        assert_true((off < 0 ? -off : off) * 100 < (a + b * 32) * 10);
    }
}

static void test_a_change_is_followed_within_the_calls_learned_from(void **state)
{
    (void)state;
    struct prng prng = {7};
    struct batch_pace pace = {.limits = {.rows_max = 64}};
    for (int i = 0; i < 300; i++) {
        int64_t a = i < 150 ? MS : 3 * MS, b = i < 150 ? 20 * US : 90 * US;
        int64_t rows = 1 + (int64_t)prng_below(&prng, 64);
        batch_pace_done(&pace, (i + 1) * S, rows, a + b * rows, false);
        if (i == 149)
            assert_near(batch_pace_expect(&pace, 64), MS + 64 * 20 * US, 1);
        if (i == 150 + BATCH_PACE_CALLS)
            assert_near(batch_pace_expect(&pace, 64), 3 * MS + 64 * 90 * US, 1);
    }
}

static void test_calls_of_one_size_keep_the_slope(void **state)
{
    (void)state;
    struct prng prng = {3};
    struct batch_pace pace = {.limits = {.rows_max = 64}};
    for (int i = 0; i < 2000; i++) {
        int64_t rows = i < 60 ? 1 + (int64_t)prng_below(&prng, 32) : 32;
        int64_t ns = MS + rows * 50 * US;
        ns += ns * ((int64_t)prng_below(&prng, 101) - 50) / 1000;
        batch_pace_done(&pace, (i + 1) * S, rows, ns, false);
    }
    assert_near(pace.b_ns, 50 * US, 25);
    assert_near(batch_pace_expect(&pace, 32), MS + 32 * 50 * US, 5);
}

/* ---- under load ------------------------------------------------------------------------------ */

static void test_a_closed_loop_comes_near_the_best_rate(void **state)
{
    (void)state;
    static const struct {
        int64_t a_us, b_us;
        int clients;
    } cases[] = {{1000, 20, 32}, {1000, 20, 2}, {500, 100, 16}, {5000, 5, 64}, {200, 200, 8}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world *world = world_create(100 + i);
        world->a_ns = cases[i].a_us * US;
        world->b_ns = cases[i].b_us * US;
        world->clients = cases[i].clients;
        world->think_ns = 10 * US;
        begin_load(world);
        run_measured(world, S, 4 * S);
        int64_t best = S * 4 / (world->a_ns + world->b_ns * cases[i].clients) * cases[i].clients;
        if ((int64_t)world->answered * 100 < best * 80)
            fail_msg("case %zu: depth %d, %lld batches of %lld us + %lld us: %zu answered, %lld "
                     "could be",
                i, world->pace.depth.best, (long long)world->batches,
                (long long)(world->pace.a_ns / US), (long long)(world->pace.b_ns / US),
                world->answered, (long long)best);
        world_destroy(world);
    }
}

static void test_at_low_load_nothing_waits(void **state)
{
    (void)state;
    struct world *world = world_create(5);
    world->a_ns = MS;
    world->b_ns = 50 * US;
    world->rate_per_s = 150; /* a sixth of what it can do one by one */
    begin_load(world);
    run_measured(world, 2 * S, 30 * S);
    assert_near(quantile(world, 500), MS + 50 * US, 5);
    world_destroy(world);
}

/* At a third of what it can do, with gaps that would make it worth to wait if there were none
 * longer. */
static void test_a_replica_that_is_mostly_idle_holds_nobody(void **state)
{
    (void)state;
    struct world *world = world_create(6);
    world->a_ns = MS;
    world->b_ns = 50 * US;
    for (int pair = 0; pair < 400; pair++) {
        int64_t begin = world->now_ns + 5 * MS;
        world->next_ns[0] = begin;
        world->next_ns[1] = begin + 60 * US;
        world->next_count = 2;
        while (world->now_ns < begin || world->queued > 0 || busy_calls(world) > 0) {
            step(world);
            /* Whoever was answered does not come back. */
            while (world->next_count > 0 && world->next_ns[world->next_count - 1] > begin + 60 * US)
                world->next_count--;
        }
        if (pair == 100)
            world->answered = 0;
    }
    assert_near(quantile(world, 400), MS + 50 * US, 2);
    world_destroy(world);
}

/* The longest wait before a call is one call: both have to be within the goal. */
static void test_the_goal_is_kept_at_each_rate_that_can_be_served(void **state)
{
    (void)state;
    for (int64_t load = 30; load <= 85; load += 11) {
        struct world *world = world_create((uint64_t)load);
        world->a_ns = 2 * MS;
        world->b_ns = 200 * US;
        world->noise_percent = 0;
        world->pace.limits.goal_ns = 30 * MS;
        /* What batches of half the goal carry. */
        int64_t rows = (15 * MS - world->a_ns) / world->b_ns;
        world->rate_per_s = rows * S / (15 * MS) * load / 100;
        begin_load(world);
        run_measured(world, 3 * S, 20 * S);
        if (quantile(world, 990) > 30 * MS)
            fail_msg("at %lld %% the 99th percentile is %lld us", (long long)load,
                (long long)(quantile(world, 990) / US));
        assert_near((int64_t)world->answered, world->rate_per_s * 20, 10);
        world_destroy(world);
    }
}

static void test_overload_is_served_at_the_best_rate(void **state)
{
    (void)state;
    struct world *world = world_create(9);
    world->a_ns = 2 * MS;
    world->b_ns = 100 * US;
    world->clients = 400;
    world->think_ns = 10 * US;
    world->pace.limits.goal_ns = 10 * MS;
    begin_load(world);
    run_measured(world, S, 4 * S);
    /* As many as a call of the whole goal, less a tenth, takes. */
    int64_t rows = (9 * MS - world->a_ns) / world->b_ns;
    rows = rows > 64 ? 64 : rows;
    int64_t best = rows * 4 * S / (world->a_ns + world->b_ns * rows);
    assert_near((int64_t)world->answered, best, 12);
    world_destroy(world);
}

static void test_bursts_go_together(void **state)
{
    (void)state;
    struct world *world = world_create(11);
    world->a_ns = 3 * MS;
    world->b_ns = 50 * US;
    world->next_count = 0;
    for (int burst = 0; burst < 200; burst++) {
        int64_t begin = world->now_ns;
        for (int i = 0; i < 24; i++)
            world->next_ns[world->next_count++] = begin + i * 20 * US;
        /* Closed clients come back at once: these are gone after their answer. */
        while (world->next_count > 0 || world->queued > 0 || busy_calls(world) > 0) {
            world->rate_per_s = 0;
            step(world);
            for (size_t i = 0; i < world->next_count; i++) {
                if (world->next_ns[i] > begin + 24 * 20 * US)
                    world->next_ns[i--] = world->next_ns[--world->next_count];
            }
        }
        if (burst == 100)
            world->rows_sum = world->batches = 0;
        world->now_ns = begin + 100 * MS;
    }
    assert_true(world->rows_sum >= 8 * world->batches);
    world_destroy(world);
}

static void test_noise_and_a_change_of_cost_under_load(void **state)
{
    (void)state;
    struct world *world = world_create(21);
    world->a_ns = MS;
    world->b_ns = 20 * US;
    world->clients = 32;
    world->noise_percent = 20;
    world->think_ns = 20 * US;
    begin_load(world);
    run_measured(world, S, 2 * S);
    assert_near(batch_pace_expect(&world->pace, 32), MS + 32 * 20 * US, 25);
    world->a_ns = 4 * MS;
    world->b_ns = 100 * US;
    run_measured(world, 2 * S, 2 * S);
    assert_near(batch_pace_expect(&world->pace, 32), 4 * MS + 32 * 100 * US, 25);
    world_destroy(world);
}

/* ---- how many at once ------------------------------------------------------------------------ */

static void test_a_replica_that_does_several_at_once_gets_several(void **state)
{
    (void)state;
    for (int servers = 1; servers <= 3; servers++) {
        struct world *world = world_create((uint64_t)servers);
        world->a_ns = 500 * US;
        world->b_ns = 200 * US;
        world->servers = servers;
        world->clients = 200;
        world->think_ns = 10 * US;
        world->pace.limits.rows_max = 16;
        begin_load(world);
        run_measured(world, 4 * S, 4 * S);
        assert_int_equal(world->pace.depth.best, servers);
        int64_t best = 4 * S / (world->a_ns + world->b_ns * 16) * 16 * servers;
        assert_true((int64_t)world->answered * 100 >= best * 88);
        world_destroy(world);
    }
}

/* ---- bounds ---------------------------------------------------------------------------------- */

static void test_nothing_is_held_before_something_is_known(void **state)
{
    (void)state;
    struct batch_pace pace = {.limits = {.rows_max = 32, .goal_ns = 50 * MS, .delay_max_ns = MS}};
    struct batch_waiting waiting = {1, 1, S};
    for (int i = 0; i < 30; i++)
        batch_pace_arrived(&pace, S + i * US);
    assert_int_equal(batch_pace_wait(&pace, &waiting, S + 31 * US), 0);
    assert_false(batch_pace_gathers(&pace));
    assert_int_equal(batch_pace_expect(&pace, 9), 0);
    assert_in_range(batch_pace_rows(&pace, &waiting, S), 1, 8);
}

static void test_random_histories_keep_the_bounds(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct prng prng = {seed};
        struct batch_pace pace = {0};
        pace.limits = (struct batch_limits){.rows_max = 1 + (int64_t)prng_below(&prng, 128),
            .goal_ns = prng_below(&prng, 3) ? (int64_t)prng_below(&prng, 1u << 30) : 0,
            .delay_max_ns = (int64_t)prng_below(&prng, 1u << 25)};
        int64_t now = 1;
        for (int i = 0; i < 500; i++) {
            int64_t requests = 1 + (int64_t)prng_below(&prng, 50);
            struct batch_waiting waiting = {requests, requests + (int64_t)prng_below(&prng, 100),
                now - (int64_t)prng_below(&prng, (uint64_t)now)};
            now += (int64_t)prng_below(&prng, 1u << 22);
            if (prng_below(&prng, 2))
                batch_pace_arrived(&pace, now);
            else
                batch_pace_done(&pace, now, 1 + (int64_t)prng_below(&prng, 128),
                    (int64_t)prng_below(&prng, 1ull << 36), prng_below(&prng, 2));
            int64_t rows = batch_pace_rows(&pace, &waiting, now);
            int64_t wait = batch_pace_wait(&pace, &waiting, now);
            assert_in_range(rows, 1, pace.limits.rows_max);
            assert_true(
                wait == 0 || (wait > now && wait <= waiting.oldest_ns + pace.limits.delay_max_ns));
            assert_true(pace.a_ns >= 0 && pace.b_ns >= 0);
            assert_in_range(batch_pace_depth(&pace), 1, BATCH_PACE_DEPTH_MAX);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_and_b_are_learned_through_noise_and_outliers),
        cmocka_unit_test(test_a_change_is_followed_within_the_calls_learned_from),
        cmocka_unit_test(test_calls_of_one_size_keep_the_slope),
        cmocka_unit_test(test_a_closed_loop_comes_near_the_best_rate),
        cmocka_unit_test(test_at_low_load_nothing_waits),
        cmocka_unit_test(test_a_replica_that_is_mostly_idle_holds_nobody),
        cmocka_unit_test(test_the_goal_is_kept_at_each_rate_that_can_be_served),
        cmocka_unit_test(test_overload_is_served_at_the_best_rate),
        cmocka_unit_test(test_bursts_go_together),
        cmocka_unit_test(test_noise_and_a_change_of_cost_under_load),
        cmocka_unit_test(test_a_replica_that_does_several_at_once_gets_several),
        cmocka_unit_test(test_nothing_is_held_before_something_is_known),
        cmocka_unit_test(test_random_histories_keep_the_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
