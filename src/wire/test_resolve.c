/* Tests of names: nobody waits for a lookup, what was found does until it is found anew, and there
 * are never too many lookups. The lookups are scripted. */
#include "wire/resolve.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

/* What lookups find: so many addresses 10.0.VERSION.1, .2, ..; while the gate is shut they wait. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static bool shut;
static int addresses, version;
static atomic_int begun, ended;

static int scripted(const char *host, uint16_t port, struct resolved *ret, struct error *err)
{
    atomic_fetch_add(&begun, 1);
    pthread_mutex_lock(&lock);
    while (shut)
        pthread_cond_wait(&opened, &lock);
    int count = addresses, now = version;
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < count; i++) {
        struct sockaddr_in in = {.sin_family = AF_INET,
            .sin_port = htons(port),
            .sin_addr.s_addr = htonl(10u << 24 | (uint32_t)now << 8 | (uint32_t)(i + 1))};
        ret[i].size = sizeof in;
        memcpy(&ret[i].address, &in, sizeof in);
    }
    atomic_fetch_add(&ended, 1);
    return count > 0 ? count : error_set(err, ERR_UNAVAILABLE, "%s is not known", host);
}

static void script(int count, int number, bool waits)
{
    pthread_mutex_lock(&lock);
    addresses = count;
    version = number;
    shut = waits;
    pthread_cond_broadcast(&opened);
    pthread_mutex_unlock(&lock);
}

static int64_t now(void)
{
    return clock_monotonic_ns() / 1000000;
}

/* "VERSION.HOST" of the address, as a number. */
static int last_of(const struct resolved *found)
{
    struct sockaddr_in in;
    assert_int_equal(found->size, sizeof in);
    memcpy(&in, &found->address, sizeof in);
    assert_int_equal(ntohs(in.sin_port), 9090);
    return (int)(ntohl(in.sin_addr.s_addr) & 0xffff);
}

static enum resolve settle(
    struct resolver *resolver, int64_t at_ms, struct resolved *found, struct error *err)
{
    enum resolve result;
    while ((result = resolver_address(resolver, at_ms, found, err)) == RESOLVE_LATER)
        sched_yield();
    return result;
}

/* Until the one that was begun last is over and its thread has let go. */
static void wait_for(atomic_int *count, int wanted)
{
    while (atomic_load(count) < wanted)
        sched_yield();
}

static void nobody_waits_for_a_lookup_and_it_may_be_left_alone(void **state)
{
    struct resolved found;
    struct error err = {0};
    (void)state;
    script(1, 1, true);
    int before = atomic_load(&begun), over = atomic_load(&ended);
    struct resolver *resolver = resolver_create("metrics.test", 9090, scripted);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(resolver_address(resolver, now(), &found, &err), RESOLVE_LATER);
    wait_for(&begun, before + 1);
    assert_int_equal(atomic_load(&begun), before + 1);
    resolver_release(resolver);
    script(1, 1, false);
    wait_for(&ended, over + 1);
}

static void addresses_are_given_in_turn_when_they_are_blamed(void **state)
{
    struct resolved found;
    struct error err = {0};
    (void)state;
    script(3, 1, false);
    struct resolver *resolver = resolver_create("metrics.test", 9090, scripted);
    assert_int_equal(settle(resolver, now(), &found, &err), RESOLVE_FOUND);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(settle(resolver, now(), &found, &err), RESOLVE_FOUND);
        assert_int_equal(last_of(&found), 0x100 + i % 3 + 1);
        assert_int_equal(resolver_blame(resolver), 3);
    }
    resolver_release(resolver);
}

static void a_name_that_is_not_known_says_so_and_is_asked_for_again_later(void **state)
{
    struct resolved found;
    struct error err = {0};
    (void)state;
    script(0, 1, false);
    struct resolver *resolver = resolver_create("nowhere.test", 9090, scripted);
    int before = atomic_load(&begun);
    int64_t at = now();
    assert_int_equal(settle(resolver, at, &found, &err), RESOLVE_FAILED);
    assert_non_null(strstr(err.text, "nowhere.test cannot be resolved"));
    assert_int_equal(resolver_blame(resolver), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(resolver_address(resolver, at, &found, &err), RESOLVE_FAILED);
    assert_int_equal(atomic_load(&begun), before + 1);
    script(1, 2, false);
    at = now() + RESOLVE_AGAIN_MS;
    while (resolver_address(resolver, at, &found, &err) != RESOLVE_FOUND)
        sched_yield();
    assert_int_equal(last_of(&found), 0x201);
    resolver_release(resolver);
}

static void old_addresses_do_while_new_ones_are_looked_up_but_not_for_ever(void **state)
{
    struct resolved found;
    struct error err = {0};
    (void)state;
    script(1, 1, false);
    struct resolver *resolver = resolver_create("metrics.test", 9090, scripted);
    assert_int_equal(settle(resolver, now(), &found, &err), RESOLVE_FOUND);
    script(1, 2, true);
    int before = atomic_load(&begun);
    int64_t stale = now() + RESOLVE_FRESH_MS;
    assert_int_equal(resolver_address(resolver, stale, &found, &err), RESOLVE_FOUND);
    assert_int_equal(last_of(&found), 0x101);
    wait_for(&begun, before + 1);
    assert_int_equal(
        resolver_address(resolver, stale + RESOLVE_STALE_MS, &found, &err), RESOLVE_LATER);
    script(1, 2, false);
    do {
        assert_int_equal(settle(resolver, now(), &found, &err), RESOLVE_FOUND);
        sched_yield();
    } while (last_of(&found) != 0x201);
    resolver_release(resolver);
}

static void lookups_under_way_are_bounded(void **state)
{
    struct resolver *all[RESOLVE_THREADS_MAX + 3];
    struct resolved found;
    struct error err = {0};
    (void)state;
    script(1, 1, true);
    int before = atomic_load(&begun);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        all[i] = resolver_create("metrics.test", 9090, scripted);
    /* Threads of tests before may not have let go yet. */
    while (atomic_load(&begun) < before + RESOLVE_THREADS_MAX) {
        for (size_t i = 0; i < ARRAY_LEN(all); i++)
            assert_int_equal(resolver_address(all[i], now(), &found, &err), RESOLVE_LATER);
        assert_true(atomic_load(&begun) <= before + RESOLVE_THREADS_MAX);
    }
    script(1, 1, false);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_int_equal(settle(all[i], now(), &found, &err), RESOLVE_FOUND);
        resolver_release(all[i]);
    }
}

static void the_system_knows_the_machine_itself(void **state)
{
    struct resolved found;
    struct error err = {0};
    (void)state;
    struct resolver *resolver = resolver_create("localhost", 9090, NULL);
    assert_int_equal(settle(resolver, now(), &found, &err), RESOLVE_FOUND);
    assert_true(found.address.ss_family == AF_INET || found.address.ss_family == AF_INET6);
    resolver_release(resolver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_waits_for_a_lookup_and_it_may_be_left_alone),
        cmocka_unit_test(addresses_are_given_in_turn_when_they_are_blamed),
        cmocka_unit_test(a_name_that_is_not_known_says_so_and_is_asked_for_again_later),
        cmocka_unit_test(old_addresses_do_while_new_ones_are_looked_up_but_not_for_ever),
        cmocka_unit_test(lookups_under_way_are_bounded),
        cmocka_unit_test(the_system_knows_the_machine_itself),
    };
    return cmocka_run_group_tests_name("resolve", tests, NULL, NULL);
}
