/* Which pool a job goes to: by price, by egress, by transfer time and deadline; figures worked out
 * by hand. Gangs, one rank, remembered scores and promises all go by the same order. */
#include "core/test_help.h"

#include <stdio.h>

enum { DEVICES = 4 };

/* A pool of one node with four devices, at a price in cents for a device-hour. */
static struct pool pool_make(
    const char *name, struct node *node, struct named_price *price, int64_t cents)
{
    *node = node_make("n", 32, 128, DEVICES);
    *price = (struct named_price){node->capacity.accelerator, cents * 10000};
    return (struct pool){.metadata.name = name,
        .nodes = {node, 1},
        .prices = {.currency = "EUR", .accelerators = {price, 1}}};
}

static void pool_put(struct world *world, const char *name, int64_t cents, const char *site,
    int64_t egress_cents, int64_t link_bytes)
{
    struct node node;
    struct named_price price;
    struct pool pool = pool_make(name, &node, &price, cents);
    pool.site = site;
    pool.link_bytes = link_bytes;
    pool.prices.egress_gib_micro = egress_cents * 10000;
    assert_int_equal(core_pool_put(world->core, &pool, NULL), 0);
}

static const char *pool_of(struct world *world, uint64_t job)
{
    const struct core_decision *found = NULL;
    for (size_t i = 0; i < world->decisions.count; i++) {
        if (world->decisions.items[i].kind == DECISION_ADMIT &&
            world->decisions.items[i].job == job)
            found = &world->decisions.items[i];
    }
    return found ? core_symbol(world->core, core_pool(world->core, found->pool)->name) : "";
}

static void the_cheaper_pool_goes_first(void **state)
{
    struct world *world = *state;
    pool_put(world, "dear", 300, NULL, 0, 0);
    pool_put(world, "cheap", 200, NULL, 0, 0);
    pool_put(world, "same", 200, NULL, 0, 0);
    world_team(world, "t");
    struct job job = job_make("t", "one", 1, 1);
    uint64_t one = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, one), "cheap");
    job.metadata.name = "gang";
    job.gang.size = 3;
    uint64_t gang = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, gang), "cheap");
    /* It is full now: of equal ones the older, then what there is. */
    job.metadata.name = "next";
    uint64_t next = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, next), "same");
    job.metadata.name = "last";
    uint64_t last = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, last), "dear");
}

/* More ranks are worth more than a cheaper pool. */
static void an_elastic_gang_takes_the_pool_that_holds_more_of_it(void **state)
{
    struct world *world = *state;
    pool_put(world, "dear", 300, NULL, 0, 0);
    pool_put(world, "cheap", 200, NULL, 0, 0);
    world_team(world, "t");
    struct job job = job_make("t", "first", 1, 1);
    world_submit(world, &job);
    world_tick(world, 0);
    job.metadata.name = "elastic";
    job.gang = (struct gang){.size = 4, .min = 1};
    uint64_t elastic = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, elastic), "dear");
}

static void a_price_that_changes_changes_the_order(void **state)
{
    struct world *world = *state;
    pool_put(world, "a", 100, NULL, 0, 0);
    pool_put(world, "b", 200, NULL, 0, 0);
    world_team(world, "t");
    struct job job = job_make("t", "before", 1, 1);
    uint64_t before = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, before), "a");
    pool_put(world, "a", 201, NULL, 0, 0);
    job.metadata.name = "after";
    uint64_t after = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, after), "b");
}

/* 100 GiB lie at home. Work elsewhere costs 10 cents a GiB of egress: 10.00. A job of one device
 * for two hours costs 2 * 3.00 = 6.00 at home and 2 * 1.00 + 10.00 = 12.00 away; one of twenty
 * hours 60.00 at home and 30.00 away. */
static void data_keep_short_work_at_home_and_let_long_work_go(void **state)
{
    struct world *world = *state;
    pool_put(world, "away", 100, "far", 0, 0);
    pool_put(world, "home", 300, "here", 10, 0);
    world_team(world, "t");
    struct job_data data = {"here", 100 * GIB};
    struct job job = job_make("t", "short", 1, 1);
    job.data.items = &data;
    job.data.count = 1;
    job.duration_ms = 2 * HOUR_MS;
    uint64_t small = world_submit(world, &job);
    job.metadata.name = "long";
    job.duration_ms = 20 * HOUR_MS;
    uint64_t large = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, small), "home");
    assert_string_equal(pool_of(world, large), "away");
    /* Break-even is where 3 h = h + 10: 5 hours, and the older pool takes that. */
    job.metadata.name = "even";
    job.duration_ms = 5 * HOUR_MS;
    uint64_t even = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, even), "away");
    job.metadata.name = "less";
    job.duration_ms -= MINUTE_MS;
    uint64_t less = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, less), "home");
}

/* 36 GiB over 10 MiB a second, the slower of two links, take 3686.4 s: 1 h 1 min 26.4 s. With an
 * hour of work the deadline is missed there by a job that has 2 h 1 min, and kept with 2 h 2 min.
 */
static void a_deadline_goes_before_the_price(void **state)
{
    struct world *world = *state;
    pool_put(world, "away", 100, "far", 0, 20 << 20);
    pool_put(world, "home", 900, "here", 0, 10 << 20);
    world_team(world, "t");
    struct job_data data = {"here", 36 * GIB};
    struct job job = job_make("t", "tight", 1, 1);
    job.data.items = &data;
    job.data.count = 1;
    job.duration_ms = HOUR_MS;
    job.placement.spot = SPOT_NEVER;
    job.deadline_ms = world->now_ms + 2 * HOUR_MS + MINUTE_MS;
    uint64_t tight = world_submit(world, &job);
    job.metadata.name = "wide";
    job.deadline_ms += MINUTE_MS;
    uint64_t wide = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, tight), "home");
    assert_string_equal(pool_of(world, wide), "away");
}

/* The place is held while data come: an hour of transfer at 2.00 is 2.00 more. */
static void a_transfer_costs_the_place_too(void **state)
{
    struct world *world = *state;
    pool_put(world, "away", 200, "far", 0, 1 << 20);
    pool_put(world, "home", 390, "here", 0, 0);
    world_team(world, "t");
    struct job_data data = {"here", (int64_t)3600 << 20};
    struct job job = job_make("t", "hour", 1, 1);
    job.data.items = &data;
    job.data.count = 1;
    job.duration_ms = HOUR_MS;
    uint64_t hour = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, hour), "home"); /* 3.90 against 4.00 */
    job.metadata.name = "longer";
    job.duration_ms = 2 * HOUR_MS;
    uint64_t longer = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, longer), "away"); /* 6.00 against 7.80 */
}

static void other_currencies_come_last(void **state)
{
    struct world *world = *state;
    struct node node;
    struct named_price price;
    pool_put(world, "first", 300, NULL, 0, 0);
    struct pool pool = pool_make("foreign", &node, &price, 1);
    pool.prices.currency = "USD";
    assert_int_equal(core_pool_put(world->core, &pool, NULL), 0);
    pool_put(world, "third", 400, NULL, 0, 0);
    world_team(world, "t");
    static const char *const expected[] = {"first", "third", "foreign"};
    for (int i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof name, "j%d", i);
        struct job job = job_make("t", name, 1, DEVICES);
        uint64_t id = world_submit(world, &job);
        world_tick(world, 0);
        assert_string_equal(pool_of(world, id), expected[i]);
    }
}

struct seen {
    struct core_pool_view views[8];
    size_t count;
};

static void see(void *context, const struct core_pool_view *view)
{
    struct seen *seen = context;
    seen->views[seen->count++] = *view;
}

static void every_pool_says_what_it_is_for_a_job(void **state)
{
    struct world *world = *state;
    pool_put(world, "dear", 300, "here", 10, 0);
    pool_put(world, "cheap", 200, "far", 0, 0);
    struct node node;
    struct named_price price;
    struct pool pool = pool_make("law", &node, &price, 1);
    pool.jurisdiction = "us";
    assert_int_equal(core_pool_put(world->core, &pool, NULL), 0);
    pool_put(world, "full", 1, NULL, 0, 0);
    world_team(world, "t");
    struct job job = job_make("t", "filler", 1, DEVICES);
    job.placement.pool = "full";
    world_submit(world, &job);
    world_tick(world, 0);
    struct job_data data = {"here", 10 * GIB};
    job = job_make("t", "job", 1, 2);
    job.data.items = &data;
    job.data.count = 1;
    job.hold = true;
    job.duration_ms = HOUR_MS;
    uint64_t id = world_submit(world, &job);
    struct seen seen = {0};
    core_job_pools(world->core, id, see, &seen);
    assert_int_equal(seen.count, 4);
    assert_int_equal(seen.views[0].verdict, POOL_BEHIND);
    assert_int_equal(seen.views[0].cost_micro, 6000000);
    assert_int_equal(seen.views[1].verdict, POOL_BEHIND);
    assert_int_equal(seen.views[1].egress_micro, 1000000);
    assert_int_equal(seen.views[1].cost_micro, 5000000);
    assert_int_equal(seen.views[2].verdict, POOL_NEXT); /* 0.02 and 1.00 of egress */
    assert_int_equal(seen.views[2].cost_micro, 1020000);
    assert_int_equal(seen.views[3].verdict, POOL_NO_ROOM);
    assert_int_equal(seen.views[3].held, 0);
    assert_int_equal(core_job_release(world->core, id, NULL), 0);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, id), "law");
    seen.count = 0;
    core_job_pools(world->core, id, see, &seen);
    assert_int_equal(seen.views[1].verdict, POOL_BEHIND);
    assert_int_equal(seen.views[2].verdict, POOL_HERE);
    job.metadata.name = "bound";
    job.placement.jurisdiction = "us";
    id = world_submit(world, &job);
    seen.count = 0;
    core_job_pools(world->core, id, see, &seen);
    assert_int_equal(seen.views[0].verdict, POOL_UNFIT);
    assert_string_equal(seen.views[0].lacks, "jurisdiction");
}

static void data_that_can_not_be_are_refused(void **state)
{
    struct world *world = *state;
    pool_put(world, "a", 100, NULL, 0, 0);
    world_team(world, "t");
    struct job_data data = {"here", -1};
    struct job job = job_make("t", "job", 1, 1);
    uint64_t id;
    job.data.items = &data;
    job.data.count = 1;
    assert_int_equal(core_job_submit(world->core, &job, &id, NULL), -1);
    data = (struct job_data){"", 1};
    assert_int_equal(core_job_submit(world->core, &job, &id, NULL), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_cheaper_pool_goes_first),
        TEST(an_elastic_gang_takes_the_pool_that_holds_more_of_it),
        TEST(a_price_that_changes_changes_the_order),
        TEST(data_keep_short_work_at_home_and_let_long_work_go),
        TEST(a_deadline_goes_before_the_price),
        TEST(a_transfer_costs_the_place_too),
        TEST(other_currencies_come_last),
        TEST(every_pool_says_what_it_is_for_a_job),
        TEST(data_that_can_not_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
