/* Charges against a ledger worked out by hand. */
#include "core/test_help.h"

/* Prices: a CPU 0.04, a GiB 0.004, a GPU 2.00 an hour. */
static void priced_pool(struct world *world, int64_t gpu_micro)
{
    struct node nodes[] = {node_make("n", 8, 32, 2)};
    struct named_price gpu = {"gpu", gpu_micro};
    struct pool pool = {
        .metadata.name = "p",
        .nodes = {nodes, 1},
        .prices = {.currency = "EUR",
            .cpu_hour_micro = 40000,
            .memory_gib_hour_micro = 4000,
            .accelerators = {&gpu, 1}},
    };
    assert_int_equal(core_pool_put(world->core, &pool, NULL), 0);
}

static void every_second_of_an_attempt_has_its_price(void **state)
{
    struct world *world = *state;
    priced_pool(world, 2000000);
    world_team(world, "t");
    struct job job = job_make("t", "a", 2, 1); /* 2 CPUs, 2 GiB, 1 GPU */
    uint64_t a = world_submit(world, &job);
    world_tick(world, 0);
    uint64_t attempt = world_job(world, a)->attempt;
    assert_int_equal(core_attempt_hour_micro(world->core, attempt), 2088000);
    world_tick(world, 10000);
    world_start(world, a);
    world_tick(world, 26 * MINUTE_MS);
    world_end(world, a, END_SUCCEEDED);
    world_tick(world, 0);
    assert_int_equal(world_row_count(world, ROW_CHARGE), 1);
    const struct charge_row *row = world_row_at(world, ROW_CHARGE, 0);
    assert_int_equal(row->end_ms - row->begin_ms, 1570000); /* from admission */
    assert_int_equal(row->hour_micro, 2088000);
    /* 2.088 EUR/h * 1570 s / 3600 s = 0.9106 EUR */
    assert_int_equal(row->cost_nano, 910600000);
    assert_int_equal(row->wasted_ms, 0);
    assert_int_equal(row->cpu_milli, 2000);
    assert_int_equal(row->accelerator_milli, 1000);
    assert_string_equal(core_symbol(world->core, row->currency), "EUR");
    assert_int_equal(row->job, a);
    assert_int_equal(row->attempt, attempt);
}

/* Half an hour at 2.088, then the GPU costs 4.00: half an hour at 4.088. */
static void a_new_price_begins_a_new_charge(void **state)
{
    struct world *world = *state;
    priced_pool(world, 2000000);
    world_team(world, "t");
    struct job job = job_make("t", "a", 2, 1);
    uint64_t a = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, a);
    world_tick(world, HOUR_MS / 2);
    priced_pool(world, 2000000); /* the same again splits nothing */
    priced_pool(world, 4000000);
    world_tick(world, HOUR_MS / 2);
    world_reload(world);
    world_end(world, a, END_SUCCEEDED);
    world_tick(world, 0);
    assert_int_equal(world_row_count(world, ROW_CHARGE), 2);
    const struct charge_row *first = world_row_at(world, ROW_CHARGE, 0);
    const struct charge_row *second = world_row_at(world, ROW_CHARGE, 1);
    assert_int_equal(first->cost_nano, 1044000000);
    assert_int_equal(second->cost_nano, 2044000000);
    assert_int_equal(first->end_ms, second->begin_ms);
    /* The node: 8 CPUs, 32 GiB, 2 GPUs for that first half hour: (0.32 + 0.128 + 4) / 2 */
    const struct capacity_row *capacity = world_row_at(world, ROW_CAPACITY, 0);
    assert_int_equal(capacity->hour_micro, 4448000);
    assert_int_equal(capacity->cost_nano, 2224000000);
}

/* 40 minutes of work, a checkpoint after 30, then a failure: 10 minutes are wasted. */
static void work_since_the_checkpoint_is_wasted_by_a_failure(void **state)
{
    struct world *world = *state;
    priced_pool(world, 2000000);
    world_team(world, "t");
    struct job job = job_make("t", "a", 2, 1);
    uint64_t a = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, a);
    world_tick(world, 30 * MINUTE_MS);
    world_checkpoint(world, a, world->now_ms);
    world_tick(world, 10 * MINUTE_MS);
    world_end(world, a, END_EXIT);
    world_tick(world, 0);
    const struct charge_row *row = world_row_at(world, ROW_CHARGE, 0);
    assert_int_equal(row->wasted_ms, 10 * MINUTE_MS);
    assert_int_equal(row->cost_nano, 1392000000);
    assert_int_equal(row->wasted_nano, 348000000);
}

/* The waste reaches back over a change of price: the part at the old price counts at that. */
static void waste_is_counted_at_the_price_it_had(void **state)
{
    struct world *world = *state;
    priced_pool(world, 2000000);
    world_team(world, "t");
    struct job job = job_make("t", "a", 2, 1);
    uint64_t a = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, a);
    world_tick(world, 30 * MINUTE_MS);
    world_checkpoint(world, a, world->now_ms - 10 * MINUTE_MS);
    priced_pool(world, 4000000);
    world_tick(world, 15 * MINUTE_MS);
    world_end(world, a, END_SIGNAL);
    world_tick(world, 0);
    int64_t cost_nano = 0, wasted_nano = 0, wasted_ms = 0;
    for (size_t i = 0; i < world_row_count(world, ROW_CHARGE); i++) {
        const struct charge_row *row = world_row_at(world, ROW_CHARGE, i);
        cost_nano += row->cost_nano;
        wasted_nano += row->wasted_nano;
        wasted_ms += row->wasted_ms;
    }
    assert_int_equal(cost_nano, 1044000000 + 1022000000);
    assert_int_equal(wasted_ms, 25 * MINUTE_MS);
    assert_int_equal(wasted_nano, 348000000 + 1022000000);
}

/* A node type with a price of its own: the share is the largest of what is held. */
static void a_node_price_is_shared_by_the_dominant_resource(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 2)};
    nodes[0].type = "big";
    struct named_price price = {"big", 6000000};
    struct pool pool = {
        .metadata.name = "p",
        .nodes = {nodes, 1},
        .prices = {.currency = "EUR", .cpu_hour_micro = 1, .nodes = {&price, 1}},
    };
    assert_int_equal(core_pool_put(world->core, &pool, NULL), 0);
    world_team(world, "t");
    struct job job = job_make("t", "a", 2, 1);
    uint64_t a = world_submit(world, &job);
    world_tick(world, 0);
    /* 2 of 8 CPUs, 2 of 32 GiB, 1 of 2 GPUs: half */
    assert_int_equal(core_attempt_hour_micro(world->core, world_job(world, a)->attempt), 3000000);
    assert_int_equal(
        core_node_hour_micro(world->core, world_job(world, a)->attempt), 0); /* not a node */
}

static void halves_are_rounded_up(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 0)};
    struct pool pool = {
        .metadata.name = "p",
        .nodes = {nodes, 1},
        .prices = {.currency = "EUR", .cpu_hour_micro = 1},
    };
    assert_int_equal(core_pool_put(world->core, &pool, NULL), 0);
    world_team(world, "t");
    struct job job = job_make("t", "a", 1, 0);
    uint64_t a = world_submit(world, &job);
    world_tick(world, 0);
    world_tick(world, 1800); /* 1000 billionths an hour * 1.8 s = 0.5 */
    world_end(world, a, END_SUCCEEDED);
    world_tick(world, 0);
    const struct charge_row *row = world_row_at(world, ROW_CHARGE, 0);
    assert_int_equal(row->cost_nano, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_second_of_an_attempt_has_its_price),
        TEST(a_new_price_begins_a_new_charge),
        TEST(work_since_the_checkpoint_is_wasted_by_a_failure),
        TEST(waste_is_counted_at_the_price_it_had),
        TEST(a_node_price_is_shared_by_the_dominant_resource),
        TEST(halves_are_rounded_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
