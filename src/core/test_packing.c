/* Placement policies: cases worked out by hand, and properties of each. */
#include "base/prng.h"
#include "core/job.h"
#include "core/packing.h"
#include "core/packing_market.h"
#include "core/packing_take.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/shape.h"
#include "core/state.h"
#include "core/table.h"
#include "core/test_help.h"

#include <stdio.h>

/* A world of one pool "p" whose core has the policy. */
struct bench {
    struct core *core;
    int64_t now_ms;
    int next;
};

static struct bench bench_make(const char *policy, struct node *nodes, size_t count)
{
    struct core_options options = {.placement = policy};
    struct bench bench = {.core = core_create(&options), .now_ms = 1000};
    struct error err;
    struct pool pool = {.metadata.name = "p", .nodes = {nodes, count}};
    struct team team = team_make("t", NULL);
    assert_int_equal(core_load_end(bench.core, &err), 0);
    core_begin(bench.core, bench.now_ms);
    assert_int_equal(core_pool_put(bench.core, &pool, &err), 0);
    assert_int_equal(core_team_put(bench.core, &team, &err), 0);
    return bench;
}

struct place {
    char node[32];
    uint64_t devices;
};

static void keep_place(void *context, enum row_kind kind, const void *row)
{
    struct place *place = context;
    (void)kind;
    place->devices |= ((const struct placement_row *)row)->devices;
    *(uint64_t *)place->node = ((const struct placement_row *)row)->node;
}

/* Submits a job and says where it went; node "" for nowhere, and the job is taken back. */
static struct place put(struct bench *bench, int64_t cpu_milli, int64_t gib, int64_t milli)
{
    char name[32];
    struct error err;
    uint64_t id;
    snprintf(name, sizeof name, "j%d", bench->next++);
    struct job job = job_make("t", name, 0, 0);
    job.resources = (struct resources){
        .cpu_milli = cpu_milli, .memory_bytes = gib * GIB, .accelerator_milli = milli};
    struct place place = {{0}, 0};
    core_begin(bench->core, ++bench->now_ms);
    assert_int_equal(core_job_submit(bench->core, &job, &id, &err), 0);
    core_schedule(bench->core);
    uint64_t attempt = core_job(bench->core, id)->attempt;
    if (attempt) {
        core_placement_each(bench->core, attempt, keep_place, &place);
        const struct node_row *node = core_node(bench->core, *(uint64_t *)place.node);
        snprintf(place.node, sizeof place.node, "%s", core_symbol(bench->core, node->name));
    } else {
        assert_int_equal(core_job_cancel(bench->core, id, &err), 0);
    }
    core_end(bench->core);
    return place;
}

/* What the policy says of the node for one rank. */
static int64_t score(struct bench *bench, const char *node, int64_t cpu_milli, int64_t milli)
{
    struct live_shape shape = {.row = {.cpu_milli = cpu_milli, .accelerator_milli = milli}};
    struct live_job job = {.row.id = 1, .shape = &shape, .links = &job_links_none};
    packing_ready(bench->core, &shape);
    return packing_score(bench->core, &job, node_find(bench->core, "p", node), 1);
}

static void every_name_is_a_policy(void **state)
{
    (void)state;
    assert_string_equal(core_placement_name(0), "default");
    for (size_t i = 0; core_placement_name(i); i++)
        assert_non_null(packing_find(core_placement_name(i)));
    assert_ptr_equal(packing_find(NULL), packing_find("default"));
    assert_null(packing_find("fdg"));
}

/* a: 64 CPUs, 4 devices; b: 32 CPUs, 8 devices. */
static void two_nodes(struct node *nodes)
{
    nodes[0] = node_make("a", 64, 64, 4);
    nodes[1] = node_make("b", 32, 64, 8);
}

/* Best fit: 50 * (cpu left / 128 + devices left / 8), rounded up. For 2 CPUs and one device: a has
 * 62 and 3, 24.2 + 18.75 = 42.97; b has 30 and 7, 11.7 + 43.75 = 55.5. */
static void best_fit_counts_what_is_left(void **state)
{
    (void)state;
    struct node nodes[2];
    two_nodes(nodes);
    struct bench bench = bench_make("best-fit", nodes, 2);
    assert_int_equal(score(&bench, "a", 2000, 1000), 43);
    assert_int_equal(score(&bench, "b", 2000, 1000), 56);
    assert_string_equal(put(&bench, 2000, 1, 1000).node, "a");
    core_destroy(bench.core);
}

/* Dot product: 50 * (64/128 * 16/128 + 4/8 * 1/8) = 6.25 for a, 50 * (32/128 * 16/128 + 8/8 * 1/8)
 * = 7.8 for b. */
static void dot_product_avoids_nodes_with_much_room(void **state)
{
    (void)state;
    struct node nodes[2];
    two_nodes(nodes);
    struct bench bench = bench_make("dot-product", nodes, 2);
    assert_int_equal(score(&bench, "a", 16000, 1000), 7);
    assert_int_equal(score(&bench, "b", 16000, 1000), 8);
    core_destroy(bench.core);
}

/* Idle nodes: 33 less the devices, so a's 29 is better than b's 25. In use, with whole devices to
 * take: 50 less those. A broken device with 0.6 left: 100 less 6. */
static void gpu_packing_prefers_what_is_in_use(void **state)
{
    (void)state;
    struct node nodes[2];
    two_nodes(nodes);
    struct bench bench = bench_make("gpu-packing", nodes, 2);
    assert_int_equal(score(&bench, "a", 1000, 2000), 100 - 29);
    assert_int_equal(score(&bench, "b", 1000, 2000), 100 - 25);
    assert_string_equal(put(&bench, 1000, 1, 400).node, "a");
    assert_int_equal(score(&bench, "a", 1000, 2000), 100 - 48);
    assert_int_equal(score(&bench, "a", 1000, 500), 100 - 94);
    assert_int_equal(score(&bench, "a", 1000, 0), 100);
    core_destroy(bench.core);
}

/* Tiers of 25: the same sort alone 75, the same among others 50, idle 25, others 0; and up to 25
 * for what is used, of 8 devices. a has 3.5 left: 25 * 4.5 / 8 = 14. */
static void gpu_clustering_keeps_sorts_together(void **state)
{
    (void)state;
    struct node nodes[2];
    two_nodes(nodes);
    struct bench bench = bench_make("gpu-clustering", nodes, 2);
    assert_int_equal(score(&bench, "a", 1000, 500), 100 - 25 - 12);
    assert_int_equal(score(&bench, "b", 1000, 500), 100 - 25);
    assert_string_equal(put(&bench, 1000, 1, 500).node, "a");
    assert_int_equal(score(&bench, "a", 1000, 500), 100 - 75 - 14);
    assert_int_equal(score(&bench, "a", 1000, 1000), 100 - 14);
    assert_string_equal(put(&bench, 1000, 1, 1000).node, "b");
    core_destroy(bench.core);
}

static void first_fit_takes_the_first(void **state)
{
    (void)state;
    struct node nodes[2];
    two_nodes(nodes);
    struct bench bench = bench_make("first-fit", nodes, 2);
    assert_string_equal(put(&bench, 40000, 1, 0).node, "a");
    assert_string_equal(put(&bench, 30000, 1, 0).node, "b");
    assert_string_equal(put(&bench, 24000, 1, 500).node, "a");
    core_destroy(bench.core);
}

/* All typical jobs are halves of a device, so what is left of one is a fragment when it is below
 * a half. A node with 0.4 and 1.0 idle has F = 0.4. A share of 0.4 makes of that F = 0 on the
 * broken device, and on the whole one, of which it leaves 0.6, F = 0.4: sigmoid(0.4) = 0.598,
 * sigmoid(0) = 0.5. */
static void fgd_takes_the_device_that_leaves_no_fragment(void **state)
{
    (void)state;
    struct node nodes[] = {node_make("a", 64, 640, 64), node_make("b", 8, 64, 2)};
    struct bench bench = bench_make("fgd", nodes, 2);
    for (int i = 0; i < 40; i++)
        assert_string_not_equal(put(&bench, 1, 1, 500).node, "");
    struct live_node *b = node_find(bench.core, "p", "b");
    struct live_shape shape = {.row = {.cpu_milli = 1, .accelerator_milli = 400}};
    struct live_job job = {.row.id = 1, .shape = &shape, .links = &job_links_none};
    int16_t taken[64] = {600, 0};
    node_hold(b, &(struct shape_row){.cpu_milli = 1}, 1, 600, 1, 1);
    packing_ready(bench.core, &shape);
    assert_int_equal(packing_score(bench.core, &job, b, 1), 100 - 59);
    taken[0] = 0;
    assert_int_equal(packing_device(bench.core, &job, b, taken), 0);
    node_hold(b, &(struct shape_row){.cpu_milli = 1}, 1, 600, 1, -1);
    core_destroy(bench.core);
}

/* Typical jobs that differ only in memory are one: of 64 there are 56 of half a device and eight of
 * 0.9, each with a memory of its own. All of them make 95 %, so a device of which 0.6 are idle has
 * F = 8/64 * 0.6, and 0.3 when 0.3 are taken: sigmoid(-0.225) = 0.444. Told apart, five of the
 * eight were typical, and it were sigmoid(5/61 * 0.6 - 0.3) = 0.438. */
static void fgd_does_not_tell_jobs_apart_by_memory(void **state)
{
    (void)state;
    const struct shape_row one = {.cpu_milli = 1};
    struct node nodes[] = {node_make("a", 64, 640, 64), node_make("b", 8, 64, 1)};
    struct bench bench = bench_make("fgd", nodes, 2);
    struct live_node *b = node_find(bench.core, "p", "b");
    node_hold(b, &one, 1, 1000, 1, 1);
    for (int i = 0; i < 64; i++) {
        bool large = i % 8 == 0;
        assert_string_equal(put(&bench, 1, large ? i + 2 : 1, large ? 900 : 500).node, "a");
    }
    node_hold(b, &one, 1, 1000, 1, -1);
    node_hold(b, &one, 1, 400, 1, 1);
    assert_int_equal(score(&bench, "b", 1, 300), 100 - 44);
    node_hold(b, &one, 1, 400, 1, -1);
    core_destroy(bench.core);
}

/* ---- properties of all ------------------------------------------------------------------------
 */

/* Nodes of three sorts; `turn` gives another order and other names. */
static size_t some_nodes(struct node *nodes, char (*names)[16], int turn)
{
    size_t count = 24;
    for (size_t i = 0; i < count; i++) {
        size_t at = turn ? (i * 7 + (size_t)turn) % count : i;
        snprintf(
            names[at], sizeof names[at], "%c%d", turn ? 'z' : 'a', (int)(turn ? count - i : i));
        switch (i % 3) {
        case 0: nodes[at] = node_make(names[at], 48, 192, 4); break;
        case 1: nodes[at] = node_make(names[at], 96, 384, 8); break;
        default: nodes[at] = node_make(names[at], 64, 256, 2);
        }
    }
    return count;
}

static struct place put_some(struct bench *bench, struct prng *prng)
{
    static const int64_t cpu[] = {3000, 4000, 8000, 11000, 16000};
    static const int64_t milli[] = {0, 230, 320, 470, 650, 810, 1000, 1000, 2000, 4000};
    int64_t ask = milli[prng_next(prng) % ARRAY_LEN(milli)];
    int64_t cpus = cpu[prng_next(prng) % ARRAY_LEN(cpu)];
    return put(bench, cpus, cpus / 1000 * 4, ask);
}

/* Of each policy: the same jobs go to the same places in another run, and the state is sound. */
static void places_are_determined_and_sound(void **state)
{
    (void)state;
    for (size_t i = 0; core_placement_name(i); i++) {
        struct node nodes[24];
        char names[24][16];
        size_t count = some_nodes(nodes, names, 0);
        struct bench one = bench_make(core_placement_name(i), nodes, count);
        struct bench two = bench_make(core_placement_name(i), nodes, count);
        struct prng a = {7}, b = {7};
        struct error err;
        for (int step = 0; step < 250; step++) {
            struct place first = put_some(&one, &a), second = put_some(&two, &b);
            assert_string_equal(first.node, second.node);
            assert_true(first.devices == second.devices);
            if (step % 50 == 0 && core_check(one.core, &err) < 0)
                fail_msg("%s", err.text);
        }
        assert_true(core_digest(one.core) == core_digest(two.core));
        core_destroy(one.core);
        core_destroy(two.core);
    }
}

/* With other names and another order of nodes the default places and drops the same jobs. */
static void the_default_does_not_go_by_names(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct node nodes[24], others[24];
        char names[24][16], other_names[24][16];
        size_t count = some_nodes(nodes, names, 0);
        struct bench one = bench_make("default", nodes, count);
        struct bench two =
            bench_make("default", others, some_nodes(others, other_names, (int)seed));
        struct prng a = {seed}, b = {seed};
        int placed = 0, dropped = 0;
        for (int step = 0; step < 400; step++) {
            struct place first = put_some(&one, &a), second = put_some(&two, &b);
            assert_int_equal(*first.node == '\0', *second.node == '\0');
            placed += *first.node != '\0';
            dropped += *first.node == '\0';
        }
        assert_true(placed > 100 && dropped > 20);
        core_destroy(one.core);
        core_destroy(two.core);
    }
}

/* The mix is rows: a state that was loaded again decides as the one that went on. */
static void what_was_learnt_survives_loading(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("a", 96, 384, 8), node_make("b", 96, 384, 8)};
    nodes[0].count = nodes[1].count = 6;
    world_pool(world, "p", nodes, 2);
    world_team(world, "t");
    for (int i = 0; i < 60; i++) {
        char name[16];
        snprintf(name, sizeof name, "j%d", i);
        struct job job = job_make("t", name, 3 + i % 5, 0);
        job.resources.accelerator_milli = i % 3 ? 470 : 1000;
        (void)world_submit(world, &job);
        world_tick(world, 10);
        if (i % 20 == 19)
            world_reload(world);
    }
    assert_true(world->core->mix.ranks >= 16);
    assert_true(mix_check(world->core));
}

/* ---- the default: devices, CPU and memory in proportion -------------------------------------- */

/* Nodes of 8 devices, so many CPUs and 4096 GiB; all jobs ask for 10 CPUs and 10 GiB with one
 * device, but for half as many that ask for four times that with four. */
static void balance_of(int64_t node_cpu_milli, struct balance *ret)
{
    struct live_shape one = {
        .row = {.cpu_milli = 10000, .memory_bytes = 10 * GIB, .accelerator_milli = 1000}};
    struct live_shape four = {
        .row = {.cpu_milli = 40000, .memory_bytes = 40 * GIB, .accelerator_milli = 4000}};
    struct live_node node = {.row = {.devices = 8}};
    node.row.cpu_milli = node_cpu_milli;
    node.row.memory_bytes = 4096 * GIB;
    struct mix mix = {0};
    vec_push(&mix.items, ((struct mix_item){&one, 100, false}));
    vec_push(&mix.items, ((struct mix_item){&four, 25, false}));
    vec_push(&mix.classes, ((struct mix_class){.like = &node, .nodes = 10}));
    balance_make(&mix, VALUE_DEVICE, ret);
    mix_free(&mix);
}

/* In thousandths of a device, weighed: 8 devices beside 60 CPUs, of which a job takes 20. */
static int64_t stranded_milli(const struct balance *balance)
{
    struct reach has, asks;
    reach_make(balance, 60000, 4096 * GIB, &has);
    reach_make(balance, 10000, 10 * GIB, &asks);
    int64_t value = 8 * VALUE_DEVICE;
    return balance_stranded(balance, &has, &asks, 2, (int32_t)value) * 1000 / VALUE_DEVICE;
}

/* The 40 CPUs that are left bring 40 / (k * 10) devices within reach, for k = 0.7, 1, 1.45 and 2:
 * 5.714, 4, 2.759 and 2. So 2.286, 4, 5.241 and 6 are not. */
static void what_is_out_of_reach_counts_more_where_cpu_is_short(void **state)
{
    (void)state;
    struct balance balance;
    balance_of(160000, &balance); /* twice of what is asked */
    assert_in_range(stranded_milli(&balance), 5241 * 2000 - 4000, 5241 * 2000 + 4000);
    balance_of(80000, &balance);
    int64_t all = 2286 * 1000 + 4000 * 1050 + 5241 * 5000 + 6000 * 1680;
    assert_in_range(stranded_milli(&balance), all - 10000, all + 10000);
    balance_of(40000, &balance); /* not more than short */
    assert_in_range(stranded_milli(&balance), all - 10000, all + 10000);
}

/* Half of the demand asks for four devices, so half of what four fit in counts; ten times, as all
 * ask for the same beside a device. */
static void room_for_many_devices_counts_by_who_asks(void **state)
{
    (void)state;
    struct balance balance;
    balance_of(80000, &balance);
    assert_int_equal(balance.keep[3], 0);
    assert_int_equal(balance.keep[4], 2 * 10 * VALUE_DEVICE);
    assert_int_equal(balance.keep[7], 2 * 10 * VALUE_DEVICE);
    assert_int_equal(balance.keep[8], 4 * 10 * VALUE_DEVICE);
}

/* All ask for half of what nodes have beside a device: 100 * (850 - 500) / 850 times as much more,
 * and nine times as all ask for the same. */
static void room_for_many_devices_counts_more_where_cpu_is_plenty(void **state)
{
    (void)state;
    struct balance balance;
    balance_of(160000, &balance);
    assert_int_equal(balance.keep[4], 2 * 51 * VALUE_DEVICE);
    assert_int_equal(balance.keep[8], 4 * 51 * VALUE_DEVICE);
}

/* Nodes have 10 CPUs and 10 GiB beside a device. Half of the demand asks for that, with four
 * devices; half for one device and `low` or `high` of both. Returns how many times as much room
 * counts. */
static int32_t keep_where_few_differ(int64_t low, int64_t high)
{
    struct live_shape a = {.row = {.cpu_milli = low * 1000, .accelerator_milli = 1000}}, b = a,
                      four = a;
    struct live_node node = {.row = {.devices = 8, .cpu_milli = 80000, .memory_bytes = 80 * GIB}};
    struct mix mix = {0};
    struct balance balance;
    a.row.memory_bytes = low * GIB;
    b.row.cpu_milli = high * 1000;
    b.row.memory_bytes = high * GIB;
    four.row.accelerator_milli = 4000;
    four.row.cpu_milli = 40000;
    four.row.memory_bytes = 40 * GIB;
    vec_push(&mix.items, ((struct mix_item){&a, 50, false}));
    vec_push(&mix.items, ((struct mix_item){&b, 50, false}));
    vec_push(&mix.items, ((struct mix_item){&four, 25, false}));
    vec_push(&mix.classes, ((struct mix_class){.like = &node, .nodes = 10}));
    balance_make(&mix, VALUE_DEVICE, &balance);
    mix_free(&mix);
    return balance.keep[4] / (2 * VALUE_DEVICE);
}

/* From 250 thousandths of what nodes have on they are different, up to 190 they are alike, and at
 * 200 it is 9 * 50 / 60 times more. */
static void room_for_many_devices_counts_more_where_jobs_are_alike(void **state)
{
    (void)state;
    assert_int_equal(keep_where_few_differ(6, 14), 1);
    assert_int_equal(keep_where_few_differ(8, 12), 1 + 7);
    assert_int_equal(keep_where_few_differ(9, 11), 10);
}

/* ---- the default: classes of nodes fill together --------------------------------------------- */

/* What a device costs on ten nodes of eight with 12 CPUs beside each (`large`) and on twenty of two
 * with 52: 50 jobs of one device, and as many more in eights. */
static void prices_of(int64_t cpu_milli, int64_t *ret_large, int64_t *ret_small)
{
    struct live_shape one = {
        .row = {.cpu_milli = cpu_milli, .memory_bytes = GIB, .accelerator_milli = 1000}};
    struct live_shape eight = {
        .row = {.cpu_milli = 8 * cpu_milli, .memory_bytes = GIB, .accelerator_milli = 8000}};
    struct live_node large = {.row = {.devices = 8, .cpu_milli = 96000}}, small = large;
    large.row.memory_bytes = small.row.memory_bytes = 4096 * GIB;
    small.row.devices = 2;
    small.row.cpu_milli = 104000;
    struct mix mix = {0};
    struct values values = {0};
    struct balance balance;
    int64_t prices[MIX_CLASSES_MAX + 1];
    struct mix_class class = {.like = &large, .nodes = 10};
    memset(class.allowed, 0xff, sizeof class.allowed);
    vec_push(&mix.items, ((struct mix_item){&one, 56, false}));
    vec_push(&mix.items, ((struct mix_item){&eight, 7, false}));
    vec_push(&mix.classes, class);
    class.like = &small;
    class.nodes = 20;
    vec_push(&mix.classes, class);
    assert_true(values_make(&mix, &values));
    balance_make(&mix, values.device, &balance);
    market_make(&mix, &values, &balance, prices);
    *ret_large = prices[0] / VALUE_DEVICE;
    *ret_small = prices[1] / VALUE_DEVICE;
    values_finish(&values);
    mix_free(&mix);
}

/* With 12 CPUs an idle node of eight lacks CPU if it has half or a quarter of it, so that a job of
 * one device loses less there than on a node of two: it has to be dearer. With next to none it
 * loses the same on both, and all that is left to pay for is that those of eight go nowhere else.
 */
static void nodes_that_everybody_would_go_to_are_dearer(void **state)
{
    (void)state;
    int64_t large, small;
    prices_of(10000, &large, &small);
    assert_int_equal(small, 0);
    assert_true(large >= 1500 && large <= 4 * 1024);
    prices_of(100, &large, &small);
    assert_int_equal(small, 0);
    assert_true(large <= 1024);
    prices_of(40000, &large, &small); /* more than there is */
    assert_true(large == 0 && small == 0);
}

/* So many of 40 jobs of one device, and of four of eight, find a place on four nodes of eight
 * devices with 12 CPUs beside each and twenty of two with 52. All ask for so many CPUs a device,
 * give or take `apart`, which is in nobody's way: all do where the nodes of eight are kept for
 * those who need one. */
static int many_placed_by(const char *policy, int64_t cpu_milli, int64_t apart, uint64_t seed)
{
    struct node nodes[] = {node_make("large", 96, 4096, 8), node_make("small", 104, 4096, 2)};
    nodes[0].count = 4;
    nodes[1].count = 20;
    struct bench bench = bench_make(policy, nodes, 2);
    struct prng prng = {seed};
    int many = 4, placed = 0;
    for (int left = 44; left > 0; left--) {
        bool asks_many = (int)prng_below(&prng, (uint64_t)left) < many;
        int64_t devices = asks_many ? 8 : 1;
        many -= asks_many;
        int64_t cpu = cpu_milli + (int64_t)prng_below(&prng, 3) * apart - apart;
        placed += *put(&bench, cpu * devices, devices, 1000 * devices).node != '\0';
    }
    core_destroy(bench.core);
    return placed;
}

static void nodes_of_many_devices_are_kept_where_cpu_is_plenty(void **state)
{
    (void)state;
    int placed = 0;
    for (uint64_t seed = 1; seed <= 16; seed++)
        placed += many_placed_by("default", 5000, 0, seed);
    assert_in_range(placed, 16 * 44 - 20, 16 * 44);
}

/* As much as nodes have of CPU, less a sixth, give or take a sixth. */
static void nodes_of_many_devices_are_kept_where_jobs_are_alike(void **state)
{
    (void)state;
    int placed = 0;
    for (uint64_t seed = 1; seed <= 16; seed++)
        placed += many_placed_by("default", 10000, 2000, seed);
    assert_in_range(placed, 16 * 43, 16 * 44);
}

/* 9 CPUs are enough for nobody, 10 for half of the demand, 40 for all. */
static void demand_that_lacks_cpu_is_counted(void **state)
{
    (void)state;
    struct balance balance;
    balance_of(160000, &balance);
    int64_t whole = 3 * VALUE_DEVICE * balance.weights.lacks;
    assert_int_equal(balance_lacking(&balance, 9000, 3000), whole);
    assert_int_equal(balance_lacking(&balance, 10000, 3000), whole / 2);
    assert_int_equal(balance_lacking(&balance, 40000, 3000), 0);
    assert_int_equal(balance_lacking(&balance, 40000 * 1000, 3000), 0);
    assert_int_equal(balance_lacking(&balance, -1, 3000), whole);
}

/* So many of 80 jobs of one device find a place on five nodes with 12 CPUs a device and five with
 * 32, when half of them ask for 4 CPUs and half for 28: all do where those who ask for little go
 * where there is little. */
static int placed_by(const char *policy, uint64_t seed)
{
    struct node nodes[] = {node_make("a", 96, 4096, 8), node_make("b", 256, 4096, 8)};
    nodes[0].count = nodes[1].count = 5;
    struct bench bench = bench_make(policy, nodes, 2);
    struct prng prng = {seed};
    int much = 40, placed = 0;
    for (int left = 80; left > 0; left--) {
        bool asks_much = (int)prng_below(&prng, (uint64_t)left) < much;
        much -= asks_much;
        placed += *put(&bench, asks_much ? 28000 : 4000, 1, 1000).node != '\0';
    }
    core_destroy(bench.core);
    return placed;
}

static void devices_and_cpu_run_out_together(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        int placed = placed_by("default", seed);
        assert_true(placed >= 74 && placed >= placed_by("best-fit", seed));
    }
}

static int32_t draw(struct prng *prng, int32_t most_bits)
{
    return (int32_t)prng_below(prng, UINT64_C(1) << prng_below(prng, (uint64_t)most_bits + 1));
}

/* As reach_make and the tables make them, up to their limits. */
static void reach_draw(struct prng *prng, struct reach *ret)
{
    for (int i = 0; i < BALANCE_STEPS; i++) {
        ret->cpu[i] = draw(prng, 28);
        ret->memory[i] = draw(prng, 28);
    }
}

static void out_of_reach_is_the_same_side_by_side(void **state)
{
    struct prng prng = {23};
    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct balance balance = {0};
        struct reach has, asks;
        reach_draw(&prng, &has);
        reach_draw(&prng, &asks);
        for (int k = 0; k < BALANCE_STEPS; k++)
            balance.weights.reach[k] = draw(&prng, 13);
        int32_t value = draw(&prng, 23);
        assert_int_equal(balance_stranded_one(&balance, &has, &asks, value),
            balance_stranded(&balance, &has, &asks, 1, value));
    }
}

static void worth_is_the_least_of_all_lines(void **state)
{
    struct prng prng = {29};
    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct view view = {0};
        int32_t cost[VALUE_LINES], half = INT32_MAX, quarter = INT32_MAX;
        for (int k = 0; k < VALUE_LINES; k++) {
            view.sums[k] = draw(&prng, 22);
            view.rest[k] = draw(&prng, 28);
            cost[k] = draw(&prng, 28);
            int32_t left = view.rest[k] - cost[k];
            half = (int32_t)least(half, view.sums[k] + (left >> 1));
            quarter = (int32_t)least(quarter, view.sums[k] + (left >> 2));
        }
        struct rest rest;
        rest_after(&view, cost, &rest);
        struct worth worth = worth_of(&LANES8(view.sums), &rest);
        assert_int_equal(worth.half, half);
        assert_int_equal(worth.quarter, quarter);
        assert_int_equal(worth.bare, view.sums[0]);
    }
}

/* Jobs of many sizes, learnt as the mix. */
static struct bench bench_mixed(struct prng *prng)
{
    struct node nodes[] = {node_make("a", 64, 256, 8), node_make("b", 96, 512, 16)};
    nodes[0].count = nodes[1].count = 3;
    struct bench bench = bench_make(NULL, nodes, ARRAY_LEN(nodes));
    for (int i = 0; i < 80; i++) {
        int64_t milli = prng_below(prng, 4) ? 10 * (int64_t)prng_below(prng, 100)
                                            : 1000 * (1 + (int64_t)prng_below(prng, 8));
        put(&bench, 500 * (1 + (int64_t)prng_below(prng, 20)), (int64_t)prng_below(prng, 30),
            milli);
    }
    packing_learn(bench.core);
    return bench;
}

/* Two together are worth what they are worth apart, or more: so no size was left out that others do
 * not make up for. */
static void check_table(const int32_t (*table)[VALUE_LINES], int32_t count)
{
    for (int32_t a = 0; a <= count; a++) {
        for (int32_t b = 0; a + b <= count; b++) {
            for (int line = 0; line < VALUE_LINES; line++)
                assert_true(table[a][line] + table[b][line] <= table[a + b][line]);
        }
    }
}

static void values_are_no_less_together(void **state)
{
    struct prng prng = {31};
    (void)state;
    for (int round = 0; round < 10; round++) {
        struct bench bench = bench_mixed(&prng);
        struct values values = {0};
        assert_true(values_make(&bench.core->mix, &values));
        assert_true(values.tables.count > 0);
        for (size_t i = 0; i < values.tables.count; i++) {
            check_table(values.tables.items[i].level, VALUE_LEVELS);
            check_table(values.tables.items[i].whole, VALUE_DEVICES_MAX);
            assert_true(values.tables.items[i].level[VALUE_LEVELS][0] > 0);
        }
        values_finish(&values);
        core_destroy(bench.core);
    }
}

/* Which devices are broken is the same by what is free of the node and by looking at each. */
static void views_by_room_and_by_devices_are_the_same(void **state)
{
    static const int16_t nothing[DEVICES_MAX];
    struct prng prng = {37};
    size_t broken = 0;
    (void)state;
    for (int round = 0; round < 10; round++) {
        struct bench bench = bench_mixed(&prng);
        struct values values = {0};
        assert_true(values_make(&bench.core->mix, &values));
        TABLE_EACH (bench.core, ROW_NODE, struct live_node, node) {
            struct view room = {0}, devices = {0};
            view_make(&values, node, NULL, &room);
            view_make(&values, node, nothing, &devices);
            assert_memory_equal(&room, &devices, sizeof room);
            broken += (size_t)room.broken;
        }
        values_finish(&values);
        core_destroy(bench.core);
    }
    assert_true(broken > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_name_is_a_policy),
        TEST(best_fit_counts_what_is_left),
        TEST(dot_product_avoids_nodes_with_much_room),
        TEST(gpu_packing_prefers_what_is_in_use),
        TEST(gpu_clustering_keeps_sorts_together),
        TEST(first_fit_takes_the_first),
        TEST(fgd_takes_the_device_that_leaves_no_fragment),
        TEST(fgd_does_not_tell_jobs_apart_by_memory),
        TEST(places_are_determined_and_sound),
        TEST(what_is_out_of_reach_counts_more_where_cpu_is_short),
        TEST(room_for_many_devices_counts_by_who_asks),
        TEST(room_for_many_devices_counts_more_where_cpu_is_plenty),
        TEST(room_for_many_devices_counts_more_where_jobs_are_alike),
        TEST(nodes_that_everybody_would_go_to_are_dearer),
        TEST(nodes_of_many_devices_are_kept_where_cpu_is_plenty),
        TEST(nodes_of_many_devices_are_kept_where_jobs_are_alike),
        TEST(demand_that_lacks_cpu_is_counted),
        TEST(devices_and_cpu_run_out_together),
        TEST(the_default_does_not_go_by_names),
        TEST(what_was_learnt_survives_loading),
        TEST(out_of_reach_is_the_same_side_by_side),
        TEST(worth_is_the_least_of_all_lines),
        TEST(values_are_no_less_together),
        TEST(views_by_room_and_by_devices_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
