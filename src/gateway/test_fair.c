/* Tests of fair queueing: shares by weight, priorities, bounds, refusal at once, many threads. */
#include "base/memory.h"
#include "base/prng.h"
#include "base/test.h"
#include "gateway/fair.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { TENANTS = 4, ENTRIES = 600, SEEDS = 40, THREADS = 4 };

struct waiter {
    struct fair_entry entry; /* first: the queue gives back its address */
    int tenant, level;
    bool waits;
};

static const struct fair_ask usual = {.tenant = 1,
    .weight_micro = 1000000,
    .level = 1,
    .length = 1000,
    .wait_us = 1000000,
    .mean_us = 0,
    .capacity = 1};

static enum fair_answer enter(struct fair *fair, struct waiter *waiter, int64_t weight, int level)
{
    struct fair_ask ask = usual;
    int64_t wait_us;
    ask.tenant = (uint64_t)waiter->tenant;
    ask.weight_micro = weight * 1000000;
    ask.level = waiter->level = level;
    return fair_enter(fair, waiter->tenant % 2, &ask, &waiter->entry, &wait_us);
}

/* One has ended, and the next runs: whose it is. */
static const struct waiter *turn(struct fair *fair)
{
    fair_leave(fair);
    int worker = fair_next(fair, 1);
    assert_true(worker >= 0);
    return (const struct waiter *)fair_take(fair, worker);
}

static void empty(struct fair *fair)
{
    while (fair_waiting(fair) > 0)
        assert_non_null(turn(fair));
    fair_leave(fair);
    fair_destroy(fair);
}

static void test_tenants_share_by_their_weights(void **state)
{
    (void)state;
    static struct waiter waiters[TENANTS][ENTRIES], first;
    static const int64_t weights[TENANTS] = {1, 1, 2, 4};
    int64_t served[TENANTS] = {0};
    struct fair *fair = fair_create(2);
    assert_int_equal(enter(fair, &first, 1, 1), FAIR_RUNS);
    /* One after the other, each with all its requests: who came first has no advantage. */
    for (int tenant = 0; tenant < TENANTS; tenant++) {
        for (int i = 0; i < 200; i++) {
            waiters[tenant][i].tenant = tenant;
            assert_int_equal(enter(fair, &waiters[tenant][i], weights[tenant], 1), FAIR_WAITS);
        }
    }
    for (int i = 0; i < 160; i++) {
        const struct waiter *next = turn(fair);
        served[next->tenant]++;
        /* Never further apart than one request of each. */
        for (int tenant = 0; tenant < TENANTS; tenant++)
            assert_true(labs((long)(served[tenant] * 8 - (i + 1) * weights[tenant])) <= 8 * 2);
    }
    for (int tenant = 0; tenant < TENANTS; tenant++)
        assert_int_equal(served[tenant], 20 * weights[tenant]);
    empty(fair);
}

static void test_a_tenant_that_comes_late_is_not_behind_the_others(void **state)
{
    (void)state;
    static struct waiter many[ENTRIES], late, first;
    struct fair *fair = fair_create(2);
    assert_int_equal(enter(fair, &first, 1, 1), FAIR_RUNS);
    for (int i = 0; i < 300; i++)
        assert_int_equal(enter(fair, &many[i], 1, 1), FAIR_WAITS);
    for (int i = 0; i < 100; i++)
        assert_ptr_equal(turn(fair), &many[i]);
    late.tenant = 1;
    assert_int_equal(enter(fair, &late, 1, 1), FAIR_WAITS);
    assert_ptr_equal(turn(fair), &late);
    empty(fair);
}

static void test_higher_priorities_go_first(void **state)
{
    (void)state;
    struct waiter waiters[4] = {{.tenant = 0}, {.tenant = 1}, {.tenant = 2}, {.tenant = 3}},
                  first = {0};
    struct fair *fair = fair_create(2);
    assert_int_equal(enter(fair, &first, 1, 1), FAIR_RUNS);
    for (int i = 0; i < 4; i++)
        assert_int_equal(enter(fair, &waiters[i], 1, i), FAIR_WAITS);
    for (int i = 3; i >= 0; i--)
        assert_ptr_equal(turn(fair), &waiters[i]);
    empty(fair);
}

static void test_who_would_wait_too_long_is_refused_at_once(void **state)
{
    (void)state;
    static struct waiter waiters[ENTRIES], first, other = {.tenant = 1};
    struct fair *fair = fair_create(1);
    struct fair_ask ask = usual;
    int64_t wait_us;
    int waiting[FAIR_LEVELS] = {0};
    ask.mean_us = 10000;
    ask.capacity = 2;
    assert_int_equal(fair_enter(fair, 0, &ask, &first.entry, &wait_us), FAIR_RUNS);
    assert_int_equal(fair_enter(fair, 0, &ask, &first.entry, &wait_us), FAIR_RUNS);
    /* A second at two every 10 ms: 200 requests; each priority fills its quarter. */
    int count = 0;
    for (int level = 0; level < FAIR_LEVELS; level++) {
        ask.level = level;
        while (fair_enter(fair, 0, &ask, &waiters[count].entry, &wait_us) == FAIR_WAITS)
            count++;
        waiting[level] = count;
        assert_true(wait_us > ask.wait_us * (level + 1) / 4);
    }
    assert_int_equal(waiting[0], 50);
    assert_int_equal(waiting[3], 50 + 100 + 150 + 200);
    /* Another tenant is not asked to wait for the crowd of this one. */
    ask.level = 3;
    ask.tenant = 2;
    assert_int_equal(fair_enter(fair, 0, &ask, &other.entry, &wait_us), FAIR_WAITS);
    fair_leave(fair);
    empty(fair);
}

static void test_the_queue_is_bounded(void **state)
{
    (void)state;
    static struct waiter waiters[ENTRIES], first;
    struct fair *fair = fair_create(1);
    struct fair_ask ask = usual;
    int64_t wait_us;
    int count = 0;
    ask.length = 10;
    assert_int_equal(fair_enter(fair, 0, &ask, &first.entry, &wait_us), FAIR_RUNS);
    while (fair_enter(fair, 0, &ask, &waiters[count].entry, &wait_us) == FAIR_WAITS)
        count++;
    assert_int_equal(count, 10);
    for (ask.tenant = 2; fair_enter(fair, 0, &ask, &waiters[count].entry, &wait_us) == FAIR_WAITS;
         ask.tenant++)
        count++;
    assert_true(count > 10 && count <= 10 + 256);
    empty(fair);
}

/* Random comings, endings and goings: what runs stays below the capacity, nobody is lost. */
static void run_seed(uint64_t seed)
{
    static struct waiter waiters[ENTRIES];
    struct prng prng = {seed};
    struct fair *fair = fair_create(3);
    int64_t capacity = 1 + (int64_t)prng_below(&prng, 5), running = 0, waiting = 0, wait_us;
    memset(waiters, 0, sizeof waiters);
    for (int step = 0; step < 3000; step++) {
        struct waiter *waiter = &waiters[prng_below(&prng, ENTRIES)];
        struct fair_ask ask = usual;
        ask.tenant = (uint64_t)(waiter - waiters) % 7;
        ask.level = (int)prng_below(&prng, FAIR_LEVELS);
        ask.capacity = capacity;
        int worker = (int)((waiter - waiters) % 3);
        if (waiter->waits) {
            fair_cancel(fair, worker, &waiter->entry);
            waiter->waits = false;
            waiting--;
        } else if (prng_below(&prng, 3) > 0) {
            enum fair_answer answer = fair_enter(fair, worker, &ask, &waiter->entry, &wait_us);
            assert_int_not_equal(answer, FAIR_REFUSED);
            waiter->waits = answer == FAIR_WAITS;
            waiting += answer == FAIR_WAITS;
            running += answer == FAIR_RUNS;
        } else if (running > 0) {
            fair_leave(fair);
            running--;
        }
        for (int next; (next = fair_next(fair, capacity)) >= 0;) {
            struct waiter *taken = (struct waiter *)fair_take(fair, next);
            assert_true(taken->waits);
            taken->waits = false;
            waiting--;
            running++;
        }
        assert_int_equal(fair_running(fair), running);
        assert_int_equal(fair_waiting(fair), waiting);
        assert_true(running <= capacity && (waiting == 0 || running == capacity));
    }
    for (int i = 0; i < ENTRIES; i++) {
        if (waiters[i].waits)
            fair_cancel(fair, i % 3, &waiters[i].entry);
    }
    assert_int_equal(fair_waiting(fair), 0);
    fair_destroy(fair);
}

static void test_nobody_is_lost_whatever_happens(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_seed(seed);
}

/* ---- threads --------------------------------------------------------------------------------- */

struct crowd {
    struct fair *fair;
    atomic_int_fast64_t grants[THREADS], running, most, served;
    atomic_int number;
};

static void give_turns(struct crowd *crowd)
{
    for (int worker; (worker = fair_next(crowd->fair, 3)) >= 0;)
        atomic_fetch_add(&crowd->grants[worker], 1);
}

static void runs(struct crowd *crowd)
{
    int_fast64_t now = atomic_fetch_add(&crowd->running, 1) + 1, most = atomic_load(&crowd->most);
    while (now > most && !atomic_compare_exchange_weak(&crowd->most, &most, now))
        ;
    atomic_fetch_add(&crowd->served, 1);
    atomic_fetch_sub(&crowd->running, 1);
    fair_leave(crowd->fair);
    give_turns(crowd);
}

static void take_grants(struct crowd *crowd, int worker)
{
    for (int_fast64_t left = atomic_exchange(&crowd->grants[worker], 0); left > 0; left--) {
        if (fair_take(crowd->fair, worker))
            runs(crowd);
        else
            give_turns(crowd);
    }
}

static void *work(void *argument)
{
    struct crowd *crowd = argument;
    int worker = atomic_fetch_add(&crowd->number, 1);
    struct waiter *waiters = mem_alloc(5000, sizeof *waiters);
    for (int i = 0; i < 5000; i++) {
        struct fair_ask ask = usual;
        int64_t wait_us;
        ask.tenant = (uint64_t)i % 5;
        ask.capacity = 3;
        ask.length = 100000;
        if (fair_enter(crowd->fair, worker, &ask, &waiters[i].entry, &wait_us) == FAIR_RUNS)
            runs(crowd);
        else
            give_turns(crowd);
        take_grants(crowd, worker);
    }
    while (atomic_load(&crowd->served) < THREADS * 5000) {
        take_grants(crowd, worker);
        sched_yield();
    }
    free(waiters);
    return NULL;
}

static void test_threads_lose_no_turn(void **state)
{
    (void)state;
    struct crowd crowd = {.fair = fair_create(THREADS)};
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &crowd), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&crowd.served), THREADS * 5000);
    assert_true(atomic_load(&crowd.most) <= 3);
    assert_int_equal(fair_waiting(crowd.fair), 0);
    fair_destroy(crowd.fair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tenants_share_by_their_weights),
        cmocka_unit_test(test_a_tenant_that_comes_late_is_not_behind_the_others),
        cmocka_unit_test(test_higher_priorities_go_first),
        cmocka_unit_test(test_who_would_wait_too_long_is_refused_at_once),
        cmocka_unit_test(test_the_queue_is_bounded),
        cmocka_unit_test(test_nobody_is_lost_whatever_happens),
        cmocka_unit_test(test_threads_lose_no_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
