/* Tests of limits in virtual time: never more than the limit in any window, honest waits, settling
 * that loses and doubles nothing, many threads, the file. */
#include "base/memory.h"
#include "base/prng.h"
#include "base/test.h"
#include "gateway/limit.h"
#include "gateway/limit_estimate.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SEEDS = 60, STEPS = 400, THREADS = 8, START_MS = 1000000007 };

static const int64_t window_ms[] = {0, 1000, 60000, 3600000, 86400000, 2592000000};

static struct limit_store *open_store(const char *path)
{
    struct limit_store *store;
    struct error err;
    assert_int_equal(limit_store_open(path, &store, &err), 0);
    return store;
}

/* ---- one counter ----------------------------------------------------------------------------- */

struct event {
    int64_t at_ms, amount;
};

/* What was admitted in the window that ends with the last event. */
static int64_t admitted_within(const struct event *events, size_t count, int64_t window)
{
    int64_t total = 0, end = events[count - 1].at_ms;
    for (size_t i = count; i-- > 0 && events[i].at_ms > end - window;)
        total += events[i].amount;
    return total;
}

/* In a copy, which goes ahead in time. */
static void check_wait(const struct limit_cell *cell, enum limit_window window, int64_t most,
    int64_t amount, int64_t then)
{
    struct limit_cell ahead = *cell;
    struct limit_mark mark;
    assert_false(limit_cell_take(&ahead, window, most, amount, then - 1, &mark));
    assert_true(limit_cell_take(&ahead, window, most, amount, then, &mark));
}

static void run_seed(uint64_t seed)
{
    struct prng prng = {seed};
    enum limit_window window = (enum limit_window)(LIMIT_SECOND + prng_below(&prng, 5));
    int64_t most = 1 + (int64_t)prng_below(&prng, 200), now = START_MS;
    struct limit_cell cell = {0};
    struct event events[STEPS];
    struct limit_mark marks[STEPS];
    size_t count = 0;
    for (int step = 0; step < STEPS; step++) {
        int64_t amount = 1 + (int64_t)prng_below(&prng, 20);
        now += (int64_t)prng_below(&prng, (uint64_t)window_ms[window] / 8);
        int64_t wait = limit_cell_wait_ms(&cell, window, most, amount, now);
        bool taken = limit_cell_take(&cell, window, most, amount, now, &marks[count]);
        assert_int_equal(taken, wait == 0);
        if (!taken) {
            assert_int_equal(wait<0, amount> most);
            if (wait > 0)
                check_wait(&cell, window, most, amount, now + wait);
            continue;
        }
        events[count++] = (struct event){now, amount};
        assert_true(admitted_within(events, count, window_ms[window]) <= most);
        if (prng_below(&prng, 3) == 0) {
            int64_t back = (int64_t)prng_below(&prng, (uint64_t)amount + 1);
            limit_cell_give(&cell, window, &marks[count - 1], back);
            events[count - 1].amount -= back;
            marks[count - 1].amount -= back;
        }
        int64_t reset = limit_cell_reset_ms(&cell, window, now);
        assert_int_equal(limit_cell_used(&cell, window, now + reset), 0);
        assert_true(reset <= window_ms[window] + limit_slot_ms(window) + 16);
    }
    assert_true(count > 0);
}

static void test_no_window_ever_has_more_than_the_limit(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_seed(seed);
}

/* All of a limit is there again once its window and one slot have passed. */
static void test_what_was_taken_comes_back(void **state)
{
    (void)state;
    for (int window = LIMIT_SECOND; window < LIMIT_WINDOW_COUNT; window++) {
        struct limit_cell cell = {0};
        struct limit_mark mark;
        int64_t later = START_MS + window_ms[window] + limit_slot_ms(window) + 16;
        assert_true(limit_cell_take(&cell, window, 7, 7, START_MS, &mark));
        assert_false(limit_cell_take(&cell, window, 7, 1, START_MS + window_ms[window] - 1, &mark));
        assert_true(limit_cell_take(&cell, window, 7, 7, later, &mark));
    }
}

static void test_a_clock_that_was_wrong_blocks_nobody(void **state)
{
    (void)state;
    struct limit_cell cell = {0};
    struct limit_mark mark;
    int64_t year = (int64_t)365 * 86400 * 1000;
    assert_true(limit_cell_take(&cell, LIMIT_HOUR, 5, 5, START_MS + 30 * year, &mark));
    assert_true(limit_cell_take(&cell, LIMIT_HOUR, 5, 5, START_MS, &mark));
    /* One that was a little ahead still counts. */
    assert_false(limit_cell_take(&cell, LIMIT_HOUR, 5, 1, START_MS - 240000, &mark));
}

/* ---- the store ------------------------------------------------------------------------------- */

static int64_t used_of(struct limit_store *store, uint64_t name, int64_t now_ms)
{
    struct limit_state stands;
    limit_store_state(store, name, LIMIT_MINUTE, 100, 0, now_ms, &stands);
    return stands.used;
}

static void test_settling_loses_and_doubles_nothing(void **state)
{
    (void)state;
    struct limit_store *store = open_store(NULL);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct prng prng = {seed};
        uint64_t name = limit_store_name(store, &seed, sizeof seed);
        struct limit_taken open[20];
        int64_t expected = 0, now = START_MS;
        size_t count = 0;
        /* All of it within one window: nothing leaves it. */
        for (int step = 0; step < 200; step++, now += (int64_t)prng_below(&prng, 250)) {
            int64_t amount = (int64_t)prng_below(&prng, 100);
            if (count < ARRAY_LEN(open) && prng_below(&prng, 2) == 0) {
                assert_true(limit_store_take(
                    store, name, LIMIT_MINUTE, 1000000, amount, now, &open[count++]));
                expected += amount;
            } else if (count > 0) {
                const struct limit_taken taken = open[--count];
                limit_store_settle(store, &taken, amount, now);
                expected += amount - taken.mark.amount;
            }
            assert_int_equal(used_of(store, name, now), expected);
        }
    }
    limit_store_close(store);
}

static void test_counters_nobody_needs_give_way_and_the_rest_share_one(void **state)
{
    (void)state;
    struct limit_store *store = open_store(NULL);
    struct limit_taken taken;
    int64_t refused = 0;
    for (uint64_t i = 1; i <= LIMIT_COUNTERS_MAX + 20000; i++) {
        uint64_t name = limit_store_name(store, &i, sizeof i);
        refused += !limit_store_take(store, name, LIMIT_SECOND, 1, 1, START_MS, &taken);
    }
    /* Those without a counter of their own had one for all. */
    assert_true(refused > 10000 && refused < 60000);
    for (uint64_t i = 1; i <= 4000; i++) {
        uint64_t name = limit_store_name(store, &i, sizeof i);
        assert_true(limit_store_take(store, name, LIMIT_SECOND, 1, 1, START_MS + 2000, &taken));
        assert_false(limit_store_take(store, name, LIMIT_SECOND, 1, 1, START_MS + 2000, &taken));
    }
    limit_store_close(store);
}

static void test_counters_survive_in_their_file(void **state)
{
    (void)state;
    char path[] = "/tmp/muster-limits-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    struct limit_store *store = open_store(path);
    struct limit_taken taken;
    uint64_t name = limit_store_name(store, "a", 1);
    assert_true(limit_store_take(store, name, LIMIT_DAY, 10, 7, START_MS, &taken));
    assert_true(limit_store_take(store, name, LIMIT_NOW, 1, 1, START_MS, &taken));
    limit_store_close(store); /* as after SIGKILL: nothing was settled */
    store = open_store(path);
    assert_int_equal(limit_store_name(store, "a", 1), name);
    assert_false(limit_store_take(store, name, LIMIT_DAY, 10, 4, START_MS, &taken));
    assert_true(limit_store_take(store, name, LIMIT_DAY, 10, 3, START_MS, &taken));
    /* Nothing is under way in a process that has just begun. */
    assert_true(limit_store_take(store, name, LIMIT_NOW, 1, 1, START_MS, &taken));
    /* One that takes over meanwhile has the same counters, and leaves what is under way alone. */
    struct limit_store *second = open_store(path);
    assert_false(limit_store_take(second, name, LIMIT_NOW, 1, 1, START_MS, &taken));
    assert_false(limit_store_take(second, name, LIMIT_DAY, 10, 1, START_MS, &taken));
    limit_store_close(second);
    limit_store_close(store);
    assert_int_equal(pwrite(fd, "damaged", 7, 0), 7);
    store = open_store(path);
    name = limit_store_name(store, "a", 1);
    assert_true(limit_store_take(store, name, LIMIT_DAY, 10, 10, START_MS, &taken));
    limit_store_close(store);
    assert_int_equal(ftruncate(fd, 100), 0);
    limit_store_close(open_store(path));
    close(fd);
    unlink(path);
}

/* ---- threads --------------------------------------------------------------------------------- */

struct crowd {
    struct limit_store *store;
    pthread_barrier_t barrier;
    atomic_int_fast64_t admitted, under_way, most_under_way, clock_ms, number;
};

static void watch_under_way(struct crowd *crowd)
{
    int_fast64_t now = atomic_fetch_add(&crowd->under_way, 1) + 1;
    int_fast64_t most = atomic_load(&crowd->most_under_way);
    while (now > most && !atomic_compare_exchange_weak(&crowd->most_under_way, &most, now))
        ;
}

static void *take_many(void *argument)
{
    struct crowd *crowd = argument;
    struct prng prng = {(uint64_t)atomic_fetch_add(&crowd->number, 1) + 1};
    uint64_t name = limit_store_name(crowd->store, "crowd", 5);
    pthread_barrier_wait(&crowd->barrier);
    for (int i = 0; i < 20000; i++) {
        struct limit_taken taken, turn;
        int64_t amount = (int64_t)prng_below(&prng, 10);
        /* Ten windows pass: slots are used again while others add to them. */
        int64_t now = atomic_fetch_add(&crowd->clock_ms, prng_below(&prng, 15) == 0);
        if (!limit_store_take(crowd->store, name, LIMIT_NOW, 3, 1, now, &turn))
            continue;
        watch_under_way(crowd);
        if (limit_store_take(crowd->store, name, LIMIT_MONTH, 50000, amount, now, &taken)) {
            int64_t used = (int64_t)prng_below(&prng, (uint64_t)amount + 1);
            atomic_fetch_add(&crowd->admitted, used);
            limit_store_settle(crowd->store, &taken, used, now);
        }
        if (limit_store_take(crowd->store, name, LIMIT_SECOND, 40, amount, now, &taken))
            limit_store_settle(crowd->store, &taken, amount, now);
        atomic_fetch_sub(&crowd->under_way, 1);
        limit_store_settle(crowd->store, &turn, 0, now);
    }
    return NULL;
}

static void test_threads_together_stay_below_the_limits(void **state)
{
    (void)state;
    struct crowd crowd = {.store = open_store(NULL), .clock_ms = START_MS};
    pthread_t threads[THREADS];
    struct limit_state stands;
    pthread_barrier_init(&crowd.barrier, NULL, THREADS);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, &crowd), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    uint64_t name = limit_store_name(crowd.store, "crowd", 5);
    limit_store_state(
        crowd.store, name, LIMIT_MONTH, 50000, 0, atomic_load(&crowd.clock_ms), &stands);
    assert_int_equal(stands.used, atomic_load(&crowd.admitted));
    assert_true(stands.used <= 50000 && stands.used > 10000);
    assert_true(atomic_load(&crowd.most_under_way) <= 3);
    limit_store_state(crowd.store, name, LIMIT_NOW, 3, 1, 0, &stands);
    assert_int_equal(stands.used, 0);
    pthread_barrier_destroy(&crowd.barrier);
    limit_store_close(crowd.store);
}

/* Each takes names that all others take as well, in a table that is too small for them. */
static void *take_names(void *argument)
{
    struct crowd *crowd = argument;
    struct prng prng = {(uint64_t)atomic_fetch_add(&crowd->number, 1) + 1};
    pthread_barrier_wait(&crowd->barrier);
    for (int i = 0; i < 60000; i++) {
        struct limit_taken taken;
        uint64_t subject = prng_below(&prng, 100000);
        uint64_t name = limit_store_name(crowd->store, &subject, sizeof subject);
        if (limit_store_take(crowd->store, name, LIMIT_SECOND, 1000, 1, START_MS, &taken))
            limit_store_settle(crowd->store, &taken, 0, START_MS);
    }
    return NULL;
}

static void test_threads_make_and_take_over_counters_together(void **state)
{
    (void)state;
    struct crowd crowd = {.store = open_store(NULL)};
    pthread_t threads[THREADS];
    struct limit_taken taken;
    pthread_barrier_init(&crowd.barrier, NULL, THREADS);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_names, &crowd), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (uint64_t subject = 0; subject < 1000; subject++) {
        uint64_t name = limit_store_name(crowd.store, &subject, sizeof subject);
        assert_true(
            limit_store_take(crowd.store, name, LIMIT_SECOND, 1000, 1000, START_MS, &taken));
        limit_store_settle(crowd.store, &taken, 0, START_MS);
    }
    pthread_barrier_destroy(&crowd.barrier);
    limit_store_close(crowd.store);
}

/* ---- several limits -------------------------------------------------------------------------- */

static void add(struct limit_rules *rules, const struct limit_store *store, const char *key,
    enum limit_what what, int64_t most, enum limit_window window)
{
    struct limit limit = {what, most * 1000000, window};
    const struct limit_list list = {&limit, 1};
    limit_rules_add(rules, store, &list, "key", key, "");
}

static void test_all_limits_are_taken_or_none(void **state)
{
    (void)state;
    struct limit_store *store = open_store(NULL);
    struct limit_rule items[3][4];
    struct limit_held held[2][4];
    struct limit_rules rules = {.items = items[0], .room = 4};
    struct limit_hold hold = {.items = held[0]}, second = {.items = held[1]};
    struct limit_refusal refusal;
    struct limit_standings stands;
    const struct limit_cost cost = {.input_tokens = 40, .output_tokens = 20}, less = {30, 10, 0};
    add(&rules, store, "ann", LIMIT_REQUESTS, 3, LIMIT_MINUTE);
    add(&rules, store, "ann", LIMIT_CONCURRENCY, 2, LIMIT_NOW);
    add(&rules, store, "ann", LIMIT_TOKENS, 100, LIMIT_HOUR);
    assert_true(limits_take(store, &rules, &cost, START_MS, &hold, &refusal));
    assert_false(limits_take(store, &rules, &cost, START_MS, &second, &refusal));
    assert_int_equal(refusal.what, LIMIT_TOKENS);
    assert_true(refusal.wait_ms > 3600000 - 240000 && refusal.wait_ms <= 3600000 + 240000);
    limits_settle(store, &hold, &less, START_MS);
    limits_settle(store, &hold, &less, START_MS); /* a second time changes nothing */
    limits_stand(store, &rules, NULL, START_MS, &stands);
    assert_int_equal(stands.requests.left, 2);
    assert_int_equal(stands.tokens.left, 60);
    assert_true(limits_take(store, &rules, &cost, START_MS, &hold, &refusal));
    limits_settle(store, &hold, NULL, START_MS); /* it cost nothing, but was a request */
    assert_true(limits_take(store, &rules, &less, START_MS, &hold, &refusal));
    assert_false(limits_take(store, &rules, &less, START_MS, &second, &refusal));
    assert_int_equal(refusal.what, LIMIT_REQUESTS);
    /* Another key has counters of its own; another limit of this one goes on with its count. */
    struct limit_rules other = {.items = items[1], .room = 4},
                       raised = {.items = items[2], .room = 4};
    add(&other, store, "bob", LIMIT_REQUESTS, 3, LIMIT_MINUTE);
    add(&raised, store, "ann", LIMIT_REQUESTS, 4, LIMIT_MINUTE);
    assert_true(limits_take(store, &other, &less, START_MS, &second, &refusal));
    assert_true(limits_take(store, &raised, &less, START_MS, &second, &refusal));
    assert_false(limits_take(store, &raised, &less, START_MS, &second, &refusal));
    limit_store_close(store);
}

/* ---- estimates and words --------------------------------------------------------------------- */

static struct limit_wish wish_of(const char *text)
{
    struct limit_wish wish;
    size_t length = strlen(text);
    char *exact = malloc(length); /* reading past its end is seen by the sanitizers */
    memcpy(exact, text, length);
    limit_wish_read(exact, length, &wish);
    free(exact);
    return wish;
}

static void test_wishes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t output_max, answers;
    } rows[] = {
        {"{\"model\":\"m\",\"max_tokens\": 12 ,\"n\":3}", 12, 3},
        {"{\"max_completion_tokens\":7}", 7, 1},
        {"{\"max_output_tokens\":7,\"max_tokens\":9}", 9, 1},
        {"{\"a\":{\"max_tokens\":12},\"b\":[{\"n\":5}]}", -1, 1},
        {"{\"a\":\"\\\"max_tokens\\\":12\",\"max_tokens\":\"8\"}", 8, 1},
        {"{\"max_tokens\":1.5,\"n\":-2}", 2, 1},
        /* However a replica may read it. */
        {"{\"max_tokens\":4e3,\"n\":1.0e1}", 4000, 10},
        {"{\"max_tokens\":4000,\"max_tokens\":1,\"n\":4,\"n\":1}", 4000, 4},
        {"{\"max\\u005ftokens\":4000,\"\\u006E\":2}", 4000, 2},
        {"{\"max\\u005ftoken\":4000,\"max_tokens\\u0000\":1,\"\\u016e\":2}", -1, 1},
        {"{\"max_tokens\":\"4e3\",\"n\":\"2\"}", 4000, 2},
        {"{\"max_tokens\":\"4000 \",\"n\":\"x\"}", -1, 1},
        {"{\"max_tokens\":1e999,\"n\":0.5}", (int64_t)1 << 32, 1},
        {"{\"max_tokens\":0.00000000000000000000000000000000000000000000001}", (int64_t)1 << 32, 1},
        {"{\"max_tokens\":1-1,\"n\":.}", -1, 1},
        {"{\"max_tokens\":\"12", -1, 1},
        {"{\"max_tokens\":\"", -1, 1},
        {"{\"max_tokens\":99999999999999999999999}", (int64_t)1 << 32, 1},
        {"{\"n\":0}", -1, 1},
        {"{\"max_tokens\":12", -1, 1},
        {"{\"max_tok\\", -1, 1},
        {"\"", -1, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct limit_wish wish = wish_of(rows[i].text);
        assert_int_equal(wish.output_max, rows[i].output_max);
        assert_int_equal(wish.answers, rows[i].answers);
    }
}

static void test_estimates_follow_what_replicas_report(void **state)
{
    (void)state;
    struct limit_learned learned = {0};
    struct limit_wish wish = {.output_max = -1, .answers = 2}, said = {100, 3};
    assert_int_equal(limit_input_estimate(&learned, 400), 100);
    assert_int_equal(limit_output_estimate(&learned, &wish), 512);
    assert_int_equal(limit_output_estimate(&learned, &said), 300);
    for (int i = 0; i < 200; i++)
        limit_learn(&learned, 1000, 500, 64);
    assert_int_equal(limit_input_estimate(&learned, 400), 200);
    assert_int_equal(limit_output_estimate(&learned, &wish), 128);
    limit_learn(&learned, 1000, 0, 0); /* nothing was reported */
    assert_int_equal(limit_input_estimate(&learned, 400), 200);
    assert_int_equal(limit_input_estimate(&learned, -1), 0);
}

static void test_durations_and_money(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {{0, "0ms"}, {20, "20ms"}, {1000, "1s"}, {1500, "1.500s"}, {360000, "6m0s"},
        {3661000, "1h1m1s"}, {(int64_t)30 * 86400000, "720h0m0s"}};
    char text[LIMIT_DURATION_TEXT];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_string_equal(limit_duration(rows[i].ms, text), rows[i].text);
    const struct limit_prices prices = {.request = 2000000, .input = 1500, .output = 4000};
    assert_int_equal(limit_money(&prices, 0, 0), 2000);
    assert_int_equal(limit_money(&prices, 1000, 1000), 2000 + 1500 + 4000);
    assert_int_equal(limit_money(&prices, 1, 0), 2002); /* rounded up */
    assert_int_equal(limit_money(&prices, INT64_MAX, INT64_MAX), LIMIT_AMOUNT_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_window_ever_has_more_than_the_limit),
        cmocka_unit_test(test_what_was_taken_comes_back),
        cmocka_unit_test(test_a_clock_that_was_wrong_blocks_nobody),
        cmocka_unit_test(test_settling_loses_and_doubles_nothing),
        cmocka_unit_test(test_counters_nobody_needs_give_way_and_the_rest_share_one),
        cmocka_unit_test(test_counters_survive_in_their_file),
        cmocka_unit_test(test_threads_together_stay_below_the_limits),
        cmocka_unit_test(test_threads_make_and_take_over_counters_together),
        cmocka_unit_test(test_all_limits_are_taken_or_none),
        cmocka_unit_test(test_wishes),
        cmocka_unit_test(test_estimates_follow_what_replicas_report),
        cmocka_unit_test(test_durations_and_money),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
