/* Tests of topology: cases worked out by hand, and every small case against all placements. */
#include "base/prng.h"
#include "core/limits.h"
#include "core/test_help.h"

#include <stdio.h>
#include <stdlib.h>

/* Nodes of one device each but for `devices`; rack and block of node i are values of i. */
struct place {
    const char *block, *rack;
    int64_t devices;
};

static void world_places(struct world *world, const struct place *places, size_t count)
{
    struct error err;
    struct topology_level levels[] = {{.name = "block"}, {.name = "rack"}};
    struct pool pool = {.metadata.name = "p", .levels = {levels, 2}};
    struct node nodes[16];
    struct label labels[16][2];
    char names[16][8];
    assert_in_range(count, 1, 16);
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "n%zu", i);
        nodes[i] = node_make(names[i], 64, 256, places[i].devices);
        labels[i][0] = (struct label){"block", places[i].block};
        labels[i][1] = (struct label){"rack", places[i].rack};
        nodes[i].labels.items = labels[i];
        nodes[i].labels.count = places[i].rack ? 2 : 1;
    }
    pool.nodes.items = nodes;
    pool.nodes.count = count;
    if (core_pool_put(world->core, &pool, &err) < 0)
        fail_msg("%s", err.text);
    if (!core_team_find(world->core, "t"))
        world_team(world, "t");
}

static struct job gang_make(
    const char *name, int64_t ranks, const char *within, enum topology_mode mode)
{
    struct job job = job_make("t", name, 1, 1);
    job.gang.size = ranks;
    job.topology.within = within;
    job.topology.mode = mode;
    job.grace_ms = 0;
    return job;
}

static uint64_t gang(struct world *world, const char *name, int64_t ranks, const char *within,
    enum topology_mode mode)
{
    struct job job = gang_make(name, ranks, within, mode);
    uint64_t id = world_submit(world, &job);
    world_tick(world, 0);
    return id;
}

/* Ranks on each node, by the number in its name, as digits. */
struct spread {
    struct world *world;
    char text[17];
};

static void count_ranks(void *context, enum row_kind kind, const void *row)
{
    struct spread *spread = context;
    const struct placement_row *placement = row;
    const struct node_row *node = core_node(spread->world->core, placement->node);
    int number = atoi(core_symbol(spread->world->core, node->name) + 1);
    assert_int_equal(kind, ROW_PLACEMENT);
    spread->text[number] = (char)(spread->text[number] + placement->ranks);
}

static const char *ranks_of(struct world *world, uint64_t job, size_t nodes)
{
    static struct spread spread;
    spread = (struct spread){.world = world};
    memset(spread.text, '0', nodes);
    const struct job_row *row = core_job(world->core, job);
    if (row->attempt)
        core_placement_each(world->core, row->attempt, count_ranks, &spread);
    return spread.text;
}

static void assert_refused(struct world *world, const struct job *job, const char *text)
{
    struct error err;
    uint64_t id;
    assert_int_equal(core_job_submit(world->core, job, &id, &err), -1);
    assert_string_equal(err.text, text);
}

/* Racks of 4, 2 + 1 and 3 devices: two ranks go to the tightest rack that holds them both, three to
 * one that has three left, and of two such to the one with fewer nodes. */
static void required_takes_the_tightest_domain(void **state)
{
    struct world *world = *state;
    const struct place places[] = {{"b", "r1", 4}, {"b", "r2", 2}, {"b", "r2", 1}, {"b", "r3", 3}};
    world_places(world, places, 4);
    uint64_t three = gang(world, "three", 3, "rack", TOPOLOGY_REQUIRED);
    assert_string_equal(ranks_of(world, three, 4), "0003");
    uint64_t two = gang(world, "two", 2, "rack", TOPOLOGY_REQUIRED);
    assert_string_equal(ranks_of(world, two, 4), "0200");
    uint64_t four = gang(world, "four", 4, "rack", TOPOLOGY_REQUIRED);
    assert_string_equal(ranks_of(world, four, 4), "4000");
    uint64_t waits = gang(world, "waits", 2, "rack", TOPOLOGY_REQUIRED);
    struct core_block block;
    core_job_blocked(world->core, waits, &block);
    assert_int_equal(block.kind, BLOCK_ROOM);
    assert_int_equal(block.held, 1);
}

static void preferred_takes_the_fewest_domains(void **state)
{
    struct world *world = *state;
    const struct place places[] = {{"b", "r1", 2}, {"b", "r2", 3}, {"b", "r3", 4}, {"b", "r2", 1}};
    world_places(world, places, 4);
    /* r2 and r3 hold 4 each, r1 2: six fit r3 and r1, tighter than r2 and r3. */
    uint64_t six = gang(world, "six", 6, "rack", TOPOLOGY_PREFERRED);
    const char *ranks = ranks_of(world, six, 4);
    assert_true(strcmp(ranks, "2301") == 0 || strcmp(ranks, "2040") == 0);
    assert_string_equal(ranks, "2301"); /* of equals the first */
}

/* Ten ranks fit one block with three racks, or two blocks with two racks: one block it is. */
static void outer_levels_come_first(void **state)
{
    struct world *world = *state;
    const struct place places[] = {
        {"b1", "x", 6}, {"b2", "x", 4}, {"b2", "y", 4}, {"b2", "z", 4}, {"b3", "x", 6}};
    world_places(world, places, 5);
    uint64_t ten = gang(world, "ten", 10, "rack", TOPOLOGY_PREFERRED);
    assert_string_equal(ranks_of(world, ten, 5), "04420");
}

/* Both blocks hold six; one of them in a single rack. */
static void of_blocks_that_do_the_one_with_fewer_racks(void **state)
{
    struct world *world = *state;
    const struct place places[] = {{"b1", "x", 3}, {"b1", "y", 3}, {"b2", "x", 6}, {"b2", "y", 2}};
    world_places(world, places, 4);
    uint64_t six = gang(world, "six", 6, "rack", TOPOLOGY_PREFERRED);
    assert_string_equal(ranks_of(world, six, 4), "0060");
}

static void racks_of_one_name_in_two_blocks_are_two(void **state)
{
    struct world *world = *state;
    const struct place places[] = {{"b1", "r", 2}, {"b2", "r", 2}};
    world_places(world, places, 2);
    struct job job = gang_make("four", 4, "rack", TOPOLOGY_REQUIRED);
    assert_refused(
        world, &job, "spec.topology: no rack holds 4 accelerators, idle; the largest, r, holds 2");
    uint64_t two = gang(world, "two", 2, "node", TOPOLOGY_REQUIRED);
    assert_string_equal(ranks_of(world, two, 2), "20");
}

static void what_can_not_be_is_said_with_the_level(void **state)
{
    struct world *world = *state;
    const struct place places[] = {{"b1", "r1", 2}, {"b1", "r3", 4}, {"b1", NULL, 8}};
    world_places(world, places, 3);
    struct job job = gang_make("a", 6, "rack", TOPOLOGY_REQUIRED);
    assert_refused(
        world, &job, "spec.topology: no rack holds 6 accelerators, idle; the largest, r3, holds 4");
    job.topology.within = "rak";
    assert_refused(world, &job,
        "spec.topology.within: no pool has a level rak: expected one of block, rack, node, socket");
    job.topology.within = "galaxy";
    assert_refused(world, &job,
        "spec.topology.within: no pool has a level galaxy: expected one of block, rack, node, "
        "socket");
    /* It could, and can not any more. */
    uint64_t four = gang(world, "four", 4, "rack", TOPOLOGY_REQUIRED);
    world_start(world, four);
    uint64_t next = gang(world, "next", 4, "rack", TOPOLOGY_REQUIRED);
    world_end(world, four, END_SUCCEEDED);
    const struct place smaller[] = {{"b1", "r1", 2}, {"b1", "r4", 4}, {"b1", NULL, 8}};
    struct core_block block;
    world_places(world, smaller, 1);
    world_tick(world, 0);
    core_job_blocked(world->core, next, &block);
    assert_int_equal(block.kind, BLOCK_IMPOSSIBLE);
    assert_string_equal(block.level, "rack");
    assert_string_equal(block.domain, "r1");
    assert_int_equal(block.held, 2);
    assert_int_equal(block.need, 4);
}

/* Six nodes in racks of two, made up from the order of the group. */
static void labels_are_made_for_groups(void **state)
{
    struct world *world = *state;
    struct error err;
    struct topology_level levels[] = {{.name = "rack", .nodes = 2}};
    struct node node = node_make("n", 8, 32, 2);
    struct pool pool = {.metadata.name = "p", .levels = {levels, 1}};
    node.count = 6;
    pool.nodes.items = &node;
    pool.nodes.count = 1;
    if (core_pool_put(world->core, &pool, &err) < 0)
        fail_msg("%s", err.text);
    world_team(world, "t");
    struct node_requirement require = {
        .key = "rack", .operation = LABEL_IN, .values = {(const char *[]){"n-rack-2"}, 1}};
    struct job job = gang_make("four", 4, "rack", TOPOLOGY_REQUIRED);
    job.placement.require.items = &require;
    job.placement.require.count = 1;
    uint64_t four = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(world_node_of(world, four), "n-3");
    size_t rows = world_row_count(world, ROW_NODE_LABEL);
    if (core_pool_put(world->core, &pool, &err) < 0)
        fail_msg("%s", err.text);
    world_tick(world, 0);
    assert_int_equal(world_row_count(world, ROW_NODE_LABEL), rows);
    job = gang_make("five", 5, "rack", TOPOLOGY_REQUIRED);
    assert_refused(world, &job,
        "spec.topology: no rack holds 5 accelerators, idle; the largest, n-rack-1, holds 4");
}

/* Every rack is half full of low priority. The urgent gang empties one of them. */
static void preemption_makes_room_within_a_domain(void **state)
{
    struct world *world = *state;
    const struct place places[] = {{"b", "r1", 2}, {"b", "r1", 2}, {"b", "r2", 2}, {"b", "r2", 2}};
    world_places(world, places, 4);
    uint64_t low[8];
    for (int i = 0; i < 8; i++) {
        char name[8];
        snprintf(name, sizeof name, "low%d", i);
        low[i] = gang(world, name, 1, NULL, TOPOLOGY_PREFERRED);
        world_start(world, low[i]);
    }
    for (int i = 0; i < 8; i += 2)
        world_end(world, low[i], END_SUCCEEDED);
    struct job job = gang_make("urgent", 4, "rack", TOPOLOGY_REQUIRED);
    job.priority = PRIORITY_URGENT;
    uint64_t urgent = world_submit(world, &job);
    world_tick(world, 0);
    int stopping = 0;
    for (int i = 1; i < 8; i += 2) {
        stopping += world_state(world, low[i]) == JOB_STOPPING;
        if (world_state(world, low[i]) == JOB_STOPPING)
            world_end(world, low[i], END_SIGNAL);
    }
    assert_int_equal(stopping, 2);
    world_tick(world, 0);
    const char *ranks = ranks_of(world, urgent, 4);
    assert_true(strcmp(ranks, "2200") == 0 || strcmp(ranks, "0022") == 0);
}

/* Rack r1 is free in an hour, r2 in two: the gang's promise is of r1, and keeps r1 alone. */
static void promises_are_made_within_a_domain(void **state)
{
    struct world *world = *state;
    const struct place places[] = {{"b", "r1", 2}, {"b", "r1", 2}, {"b", "r2", 2}, {"b", "r2", 2}};
    world_places(world, places, 4);
    for (int i = 0; i < 4; i++) {
        char name[8];
        snprintf(name, sizeof name, "old%d", i);
        struct job job = gang_make(name, 2, "node", TOPOLOGY_REQUIRED);
        job.time_limit_ms = i % 2 ? (i < 2 ? 1 : 2) * HOUR_MS : MINUTE_MS;
        uint64_t id = world_submit(world, &job);
        world_tick(world, 0);
        world_start(world, id);
    }
    uint64_t four = gang(world, "four", 4, "rack", TOPOLOGY_REQUIRED);
    world_tick(world, 5 * MINUTE_MS);
    struct core_block block;
    core_job_blocked(world->core, four, &block);
    assert_int_equal(block.kind, BLOCK_PROMISE);
    assert_int_equal(block.until_ms, START_MS + HOUR_MS);
    assert_string_equal(core_symbol(world->core, core_node(world->core, block.node)->name), "n0");
    assert_int_equal(block.other_nodes, 1);
}

/* ---- every placement, in small worlds ------------------------------------------------------ */

enum { NODES = 6 };

struct small {
    int64_t room[NODES];
    int block[NODES], rack[NODES]; /* racks are numbered over all blocks */
};

static int popcount(unsigned bits)
{
    return __builtin_popcount(bits);
}

/* The fewest domains (of[i] the domain of node i) that hold `size` ranks, by trying every set of
 * nodes among `among`; 99: none does. */
static int fewest(const struct small *small, const int *of, int64_t size, unsigned among)
{
    int best = 99;
    for (unsigned set = 0; set < 1u << NODES; set++) {
        int64_t room = 0;
        unsigned domains = 0;
        if (set & ~among)
            continue;
        for (int i = 0; i < NODES; i++) {
            if (!(set >> i & 1))
                continue;
            room += small->room[i];
            domains |= 1u << of[i];
        }
        if (room >= size && popcount(domains) < best)
            best = popcount(domains);
    }
    return best;
}

static unsigned domains_of(const char *ranks, const int *of)
{
    unsigned domains = 0;
    for (int i = 0; i < NODES; i++)
        domains |= ranks[i] != '0' ? 1u << of[i] : 0;
    return domains;
}

/* Outermost first: as few blocks as can be; when one does, as few racks as any one block needs;
 * with one block in all, as few racks as can be, and in a single rack as few nodes. */
static void check_small(const struct small *small, const char *ranks, int64_t size)
{
    static const int self[NODES] = {0, 1, 2, 3, 4, 5};
    unsigned blocks = domains_of(ranks, small->block), racks = domains_of(ranks, small->rack);
    int best = 99;
    assert_int_equal(popcount(blocks), fewest(small, small->block, size, (1u << NODES) - 1));
    for (int block = 0; block < NODES; block++) {
        unsigned among = 0;
        for (int i = 0; i < NODES; i++)
            among |= small->block[i] == block ? 1u << i : 0;
        int here = fewest(small, small->rack, size, among);
        best = here < best ? here : best;
    }
    if (popcount(blocks) == 1)
        assert_int_equal(popcount(racks), best);
    if (popcount(racks) == 1) {
        unsigned among = 0;
        for (int i = 0; i < NODES; i++)
            among |= racks >> small->rack[i] & 1 ? 1u << i : 0;
        assert_int_equal(popcount(domains_of(ranks, self)), fewest(small, self, size, among));
    }
}

static void small_worlds_are_spread_as_little_as_can_be(void **state)
{
    (void)state;
    struct prng prng = {77};
    static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
    for (int round = 0; round < 400; round++) {
        void *world = NULL;
        struct small small;
        struct place places[NODES];
        int64_t total = 0;
        for (int i = 0; i < NODES; i++) {
            small.room[i] = 1 + (int64_t)prng_below(&prng, 4);
            small.block[i] = (int)prng_below(&prng, 1 + (uint64_t)round % 3);
            small.rack[i] = small.block[i] * 2 + (int)prng_below(&prng, 2);
            places[i] = (struct place){names[small.block[i]], names[small.rack[i]], small.room[i]};
            total += small.room[i];
        }
        int64_t size = 2 + (int64_t)prng_below(&prng, (uint64_t)total - 1);
        world_setup(&world);
        world_places(world, places, NODES);
        uint64_t job = gang(world, "gang", size, "rack", TOPOLOGY_PREFERRED);
        check_small(&small, ranks_of(world, job, NODES), size);
        world_teardown(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(required_takes_the_tightest_domain),
        TEST(preferred_takes_the_fewest_domains),
        TEST(outer_levels_come_first),
        TEST(of_blocks_that_do_the_one_with_fewer_racks),
        TEST(racks_of_one_name_in_two_blocks_are_two),
        TEST(what_can_not_be_is_said_with_the_level),
        TEST(labels_are_made_for_groups),
        TEST(preemption_makes_room_within_a_domain),
        TEST(promises_are_made_within_a_domain),
        cmocka_unit_test(small_worlds_are_spread_as_little_as_can_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
