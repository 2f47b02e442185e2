/* Placement: which node, which devices, whole gangs. */
#include "core/test_help.h"

static void takes_the_node_that_is_left_fullest(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("big", 16, 64, 0), node_make("small", 4, 16, 0)};
    world_pool(world, "p", nodes, 2);
    world_team(world, "t");
    struct job job = job_make("t", "a", 3, 0);
    uint64_t a = world_submit(world, &job);
    world_tick(world, 1000);
    assert_string_equal(world_node_of(world, a), "small");
    assert_int_equal(world_state(world, a), JOB_STARTING);
}

static void keeps_accelerator_nodes_free_of_other_work(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("gpu", 8, 32, 4), node_make("cpu", 64, 256, 0)};
    world_pool(world, "p", nodes, 2);
    world_team(world, "t");
    struct job job = job_make("t", "a", 8, 0);
    uint64_t a = world_submit(world, &job);
    world_tick(world, 1000);
    assert_string_equal(world_node_of(world, a), "cpu");
}

static void admits_a_gang_whole_or_not_at_all(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 2)};
    nodes[0].count = 2;
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    struct job one = job_make("t", "one", 1, 1);
    uint64_t first = world_submit(world, &one);
    world_tick(world, 1000);
    world_start(world, first);
    struct job gang = job_make("t", "gang", 1, 1);
    gang.gang.size = 4;
    uint64_t four = world_submit(world, &gang);
    world_tick(world, 1000);
    assert_int_equal(world_state(world, four), JOB_QUEUED);
    struct core_counts counts;
    core_count(world->core, &counts);
    assert_int_equal(counts.attempts_live, 1);
    world_end(world, first, END_SUCCEEDED);
    world_tick(world, 1000);
    assert_int_equal(world_state(world, first), JOB_SUCCEEDED);
    assert_int_equal(world_state(world, four), JOB_STARTING);
}

static uint64_t devices_of(struct world *world, uint64_t job);

/* Two halves share a device, the third opens another; then a whole one takes what is untouched. */
static void fractions_fill_a_device_before_they_open_another(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 3)};
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    static const char *const names[] = {"a", "b", "c"};
    static const int64_t milli[] = {400, 700, 600};
    static const uint64_t masks[] = {1, 2, 1};
    for (int i = 0; i < 3; i++) {
        struct job job = job_make("t", names[i], 1, 0);
        job.resources.accelerator = "gpu";
        job.resources.accelerator_milli = milli[i];
        uint64_t id = world_submit(world, &job);
        world_tick(world, 0);
        assert_int_equal(devices_of(world, id), masks[i]);
    }
    struct job job = job_make("t", "whole", 1, 1);
    uint64_t whole = world_submit(world, &job);
    world_tick(world, 0);
    assert_int_equal(devices_of(world, whole), 4);
}

struct mask {
    uint64_t devices;
};

static void add_mask(void *context, enum row_kind kind, const void *row)
{
    struct mask *mask = context;
    assert_int_equal(kind, ROW_PLACEMENT);
    mask->devices |= ((const struct placement_row *)row)->devices;
}

static uint64_t devices_of(struct world *world, uint64_t job)
{
    struct mask mask = {0};
    core_placement_each(world->core, world_job(world, job)->attempt, add_mask, &mask);
    return mask.devices;
}

static void a_node_that_shares_nothing_takes_no_fractions(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 3)};
    nodes[0].fractional = false;
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    struct job job = job_make("t", "a", 1, 1);
    job.resources.accelerator_milli = 500;
    struct error err;
    uint64_t id;
    assert_int_equal(core_job_submit(world->core, &job, &id, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
}

static void a_gang_is_packed_on_few_nodes_or_spread_over_many(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 4)};
    nodes[0].count = 4;
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    struct job job = job_make("t", "pack", 1, 1);
    job.gang.size = 4;
    world_submit(world, &job);
    world_tick(world, 0);
    assert_int_equal(world_row_count(world, ROW_PLACEMENT), 1);
    job.metadata.name = "spread";
    job.gang.size = 3;
    job.placement.spread = SPREAD_SPREAD;
    world_submit(world, &job);
    world_tick(world, 0);
    assert_int_equal(world_row_count(world, ROW_PLACEMENT), 4);
}

/* Room for 3 ranks on x and 2 on y: five ranks take both, whole; nobody takes part of it. */
static void a_gang_of_two_sizes_of_nodes(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("y", 8, 32, 2), node_make("x", 8, 32, 3)};
    world_pool(world, "p", nodes, 2);
    world_team(world, "t");
    struct job job = job_make("t", "gang", 1, 1);
    job.gang.size = 5;
    uint64_t gang = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(world_node_of(world, gang), "y"); /* parts in order of nodes */
    const struct placement_row *first = world_row_at(world, ROW_PLACEMENT, 0);
    const struct placement_row *second = world_row_at(world, ROW_PLACEMENT, 1);
    assert_int_equal(first->ranks, 2);
    assert_int_equal(first->devices, 3);
    assert_int_equal(second->first_rank, 2);
    assert_int_equal(second->ranks, 3);
    assert_int_equal(second->devices, 7);
}

static void node_conditions_hold(void **state)
{
    struct world *world = *state;
    struct label east = {"zone", "east"}, west = {"zone", "west"};
    struct taint spot = {"spot", "yes", TAINT_NO_SCHEDULE};
    struct node nodes[] = {node_make("plain", 2, 8, 0), node_make("east", 4, 16, 0),
        node_make("west", 8, 32, 0), node_make("spot", 1, 4, 0)};
    nodes[1].labels.items = &east;
    nodes[1].labels.count = 1;
    nodes[2].labels.items = &west;
    nodes[2].labels.count = 1;
    nodes[2].type = "large";
    nodes[3].taints.items = &spot;
    nodes[3].taints.count = 1;
    world_pool(world, "p", nodes, 4);
    world_team(world, "t");
    static const char *value[] = {"west"};
    const struct {
        enum label_operator operation;
        const char *node;
    } cases[] = {{LABEL_IN, "west"}, {LABEL_NOT_IN, "plain"}, {LABEL_EXISTS, "east"},
        {LABEL_ABSENT, "plain"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct node_requirement require = {"zone", cases[i].operation, {value, 1}};
        struct job job = job_make("t", "a", 1, 0);
        job.placement.require.items = &require;
        job.placement.require.count = 1;
        uint64_t id = world_submit(world, &job);
        world_tick(world, 0);
        assert_string_equal(world_node_of(world, id), cases[i].node);
        world_end(world, id, END_SUCCEEDED);
        world_tick(world, 0);
    }
    struct toleration tolerate = {"spot", NULL};
    struct job job = job_make("t", "tolerant", 1, 0);
    job.placement.tolerations.items = &tolerate;
    job.placement.tolerations.count = 1;
    uint64_t tolerant = world_submit(world, &job);
    job = job_make("t", "typed", 1, 0);
    job.placement.node_type = "large";
    uint64_t typed = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(world_node_of(world, tolerant), "spot");
    assert_string_equal(world_node_of(world, typed), "west");
}

static void a_job_stays_in_its_jurisdiction(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 2, 8, 0)};
    struct pool pool = {.metadata.name = "us", .jurisdiction = "us", .nodes = {nodes, 1}};
    assert_int_equal(core_pool_put(world->core, &pool, NULL), 0);
    pool.metadata.name = "eu";
    pool.jurisdiction = "eu";
    assert_int_equal(core_pool_put(world->core, &pool, NULL), 0);
    world_team(world, "t");
    struct job job = job_make("t", "a", 2, 0);
    job.placement.jurisdiction = "eu";
    uint64_t a = world_submit(world, &job);
    job.metadata.name = "b";
    uint64_t b = world_submit(world, &job);
    world_tick(world, 0);
    assert_int_equal(world_state(world, a), JOB_STARTING);
    assert_int_equal(world_state(world, b), JOB_QUEUED);
}

static void jobs_that_want_to_be_apart_are(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 0)};
    nodes[0].count = 2;
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    struct label web = {"app", "web"};
    struct job job = job_make("t", "lonely", 1, 0);
    job.placement.apart = (struct label_list){&web, 1};
    uint64_t lonely = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(world_node_of(world, lonely), "n-1");
    job = job_make("t", "web", 1, 0); /* which says nothing about it */
    job.metadata.labels = (struct label_list){&web, 1};
    uint64_t other = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(world_node_of(world, other), "n-2");
    job = job_make("t", "friend", 1, 0);
    job.placement.near = (struct label_list){&web, 1};
    uint64_t companion = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(world_node_of(world, companion), "n-2");
}

static void an_exclusive_job_has_its_node_alone(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 0)};
    nodes[0].count = 2;
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    struct job job = job_make("t", "a", 1, 0);
    uint64_t a = world_submit(world, &job);
    world_tick(world, 0);
    job.metadata.name = "alone";
    job.placement.exclusive = true;
    uint64_t alone = world_submit(world, &job);
    job.metadata.name = "alone-too";
    uint64_t second = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(world_node_of(world, a), "n-1");
    assert_string_equal(world_node_of(world, alone), "n-2");
    assert_int_equal(world_state(world, second), JOB_QUEUED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(takes_the_node_that_is_left_fullest),
        TEST(keeps_accelerator_nodes_free_of_other_work),
        TEST(admits_a_gang_whole_or_not_at_all),
        TEST(fractions_fill_a_device_before_they_open_another),
        TEST(a_node_that_shares_nothing_takes_no_fractions),
        TEST(a_gang_is_packed_on_few_nodes_or_spread_over_many),
        TEST(a_gang_of_two_sizes_of_nodes),
        TEST(node_conditions_hold),
        TEST(a_job_stays_in_its_jurisdiction),
        TEST(jobs_that_want_to_be_apart_are),
        TEST(an_exclusive_job_has_its_node_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
