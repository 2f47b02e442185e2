/* Sockets: devices of a rank within the fewest, against every choice there is; that what is
 * required is kept in a whole core and over reloads, and what no socket could ever hold is refused.
 */
#include "base/prng.h"
#include "base/sockets.h"
#include "core/pool.h"
#include "core/socket.h"
#include "core/test_help.h"

#include <stdio.h>
#include <stdlib.h>

enum { DEVICES = 8 };

/* ---- choosing, by itself ----------------------------------------------------------------- */

struct bench {
    struct live_node node;
    struct sockets sockets;
    int16_t held[DEVICES_MAX], claimed[DEVICES_MAX];
    uint64_t free;
};

static void bench_draw(struct bench *bench, struct prng *prng)
{
    *bench = (struct bench){.sockets.count = 1 + prng_below(prng, 4)};
    bench->node.row.devices = DEVICES;
    bench->node.sockets = &bench->sockets;
    bench->node.device_held = bench->held;
    bench->node.device_claimed = bench->claimed;
    for (int i = 0; i < DEVICES; i++) {
        bool taken = prng_below(prng, 3) == 0;
        bench->sockets.devices[prng_below(prng, bench->sockets.count)] |= (uint64_t)1 << i;
        bench->held[i] = taken ? 1000 : 0;
        bench->free |= taken ? 0 : (uint64_t)1 << i;
    }
}

static int touched(const struct bench *bench, uint64_t devices)
{
    int count = 0;
    for (size_t s = 0; s < bench->sockets.count; s++)
        count += (bench->sockets.devices[s] & devices) != 0;
    return count;
}

/* The fewest sockets that `need` of the free devices can lie in, by trying all sets. */
static int fewest(const struct bench *bench, int need)
{
    int best = DEVICES + 1;
    for (uint64_t set = 1; set < (uint64_t)1 << DEVICES; set++) {
        if ((set & ~bench->free) == 0 && __builtin_popcountll(set) == need &&
            touched(bench, set) < best)
            best = touched(bench, set);
    }
    return best;
}

/* The most ranks of `need` that can lie in one socket each, by trying all ways. */
static int most_whole(const struct bench *bench, uint64_t free, int need)
{
    int best = 0;
    for (uint64_t set = free; set; set = (set - 1) & free) {
        if (__builtin_popcountll(set) != need || touched(bench, set) != 1)
            continue;
        int rest = 1 + most_whole(bench, free & ~set, need);
        best = rest > best ? rest : best;
        break; /* which devices of a socket are taken makes no difference.. */
    }
    for (size_t s = 0; s < bench->sockets.count; s++) { /* ..but which socket might */
        uint64_t here = bench->sockets.devices[s] & free, set = 0;
        for (int i = 0; __builtin_popcountll(here) >= need && i < need; i++) {
            set |= here & -here;
            here &= here - 1;
        }
        if (!set)
            continue;
        int rest = 1 + most_whole(bench, free & ~set, need);
        best = rest > best ? rest : best;
    }
    return best;
}

static void check_plan(const struct bench *bench, int need, int ranks, const struct plan *plan)
{
    uint64_t taken = 0;
    int whole = 0, all = 0;
    for (size_t i = 0; i < plan->parts.count; i++) {
        const struct plan_part *part = &plan->parts.items[i];
        assert_true((part->devices & ~bench->free) == 0 && (part->devices & taken) == 0);
        assert_int_equal(__builtin_popcountll(part->devices), need * part->ranks);
        taken |= part->devices;
        all += part->ranks;
        whole += touched(bench, part->devices) == 1 ? part->ranks : 0;
        assert_true(touched(bench, part->devices) == 1 || part->ranks == 1);
    }
    assert_int_equal(all, ranks);
    int could = most_whole(bench, bench->free, need);
    assert_int_equal(whole, could < ranks ? could : ranks);
    assert_int_equal(whole == ranks,
        sockets_whole(&bench->node, &(struct shape_row){.accelerator_milli = need * 1000}, ranks));
    if (ranks == 1)
        assert_int_equal(touched(bench, taken), fewest(bench, need));
}

static void no_rank_is_split_that_has_room(void **state)
{
    struct prng prng = {7};
    (void)state;
    for (int run = 0; run < 3000; run++) {
        struct bench bench;
        struct plan plan = {0};
        bench_draw(&bench, &prng);
        int free = __builtin_popcountll(bench.free), need = 1 + (int)prng_below(&prng, DEVICES);
        if (need > free)
            continue;
        int ranks = 1 + (int)prng_below(&prng, (uint64_t)(free / need));
        const struct shape_row shape = {.accelerator_milli = need * 1000};
        sockets_plan(&bench.node, &bench.node, &shape, ranks, &plan);
        check_plan(&bench, need, ranks, &plan);
        /* As many as one socket holds go to one. */
        int one = sockets_ranks(&bench.node, &shape, false);
        if (ranks <= one)
            assert_int_equal(plan.parts.count, 1);
        plan_finish(&plan);
    }
}

static void of_sockets_with_room_the_tightest_is_taken(void **state)
{
    struct bench bench = {.sockets = {2, {0x0f, 0xf0}}, .free = 0x37};
    const struct shape_row shape = {.accelerator_milli = 2000};
    struct plan plan = {0};
    (void)state;
    bench.node.row.devices = DEVICES;
    bench.node.sockets = &bench.sockets;
    bench.node.device_held = bench.held;
    bench.node.device_claimed = bench.claimed;
    for (int i = 0; i < DEVICES; i++)
        bench.held[i] = (bench.free >> i & 1) ? 0 : 1000;
    sockets_plan(&bench.node, &bench.node, &shape, 1, &plan);
    assert_int_equal(plan.parts.count, 1);
    assert_true(plan.parts.items[0].devices == 0x30); /* two free there, three in the other */
    plan_finish(&plan);
}

/* ---- in a core --------------------------------------------------------------------------- */

static const char *const two[] = {"0-3", "4-7"};

static struct node socket_node(const char *name, size_t sockets)
{
    struct node node = node_make(name, 64, 256, DEVICES);
    node.sockets = (struct text_list){(const char **)(uintptr_t)two, sockets};
    return node;
}

static struct job within(const char *name, int64_t devices, const char *level, bool required)
{
    struct job job = job_make("t", name, 1, devices);
    job.topology.within = level;
    job.topology.mode = required ? TOPOLOGY_REQUIRED : TOPOLOGY_PREFERRED;
    return job;
}

/* All devices that the job's live attempt holds; on one node here. */
static uint64_t devices_of(struct world *world, uint64_t job)
{
    uint64_t devices = 0;
    for (size_t i = 0; i < world->rows.count; i++) {
        const struct placement_row *one = world->rows.items[i].bytes;
        if (world->rows.items[i].kind == ROW_PLACEMENT && world->rows.items[i].live &&
            one->attempt == world_job(world, job)->attempt)
            devices |= one->devices;
    }
    return devices;
}

static void a_rank_waits_for_a_socket_that_it_requires(void **state)
{
    struct world *world = *state;
    struct node node = socket_node("n", 2);
    struct core_block block;
    world_pool(world, "p", &node, 1);
    world_team(world, "t");
    struct job small = job_make("t", "small", 1, 2);
    uint64_t first = world_submit(world, &small);
    small.metadata.name = "small2";
    small.resources.accelerator_milli = 3000;
    uint64_t second = world_submit(world, &small);
    world_tick(world, 0);
    assert_true(devices_of(world, first) == 0x03);
    assert_true(devices_of(world, second) == 0x70); /* not split, though nobody asked */
    struct job job = within("job", 3, "socket", true);
    uint64_t id = world_submit(world, &job);
    world_tick(world, 0);
    assert_int_equal(world_state(world, id), JOB_QUEUED); /* 2 and 1 are free */
    core_job_blocked(world->core, id, &block);
    assert_int_equal(block.kind, BLOCK_ROOM);
    assert_true(block.held == 0 && block.need == 1);
    world_start(world, first);
    world_end_complete(world, first, true);
    world_tick(world, 0);
    assert_true(devices_of(world, id) == 0x07);
    /* One that does not require it takes what is left, from two sockets. */
    job = job_make("t", "split", 1, 2);
    uint64_t split = world_submit(world, &job);
    world_tick(world, 0);
    assert_true(devices_of(world, split) == 0x88);
}

static void a_gang_that_requires_a_socket_is_in_one(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {socket_node("a", 0), socket_node("b", 2)};
    world_pool(world, "p", nodes, 2);
    world_team(world, "t");
    struct job job = within("gang", 2, "socket", true);
    job.gang.size = 2;
    uint64_t id = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(world_node_of(world, id), "b"); /* nothing is known of the sockets of a */
    assert_true(devices_of(world, id) == 0x0f);
}

static void what_no_socket_holds_is_refused(void **state)
{
    struct world *world = *state;
    struct node node = socket_node("n", 2);
    struct error err;
    uint64_t id;
    world_pool(world, "p", &node, 1);
    world_team(world, "t");
    struct job job = within("job", 5, "socket", true);
    assert_int_equal(core_job_submit(world->core, &job, &id, &err), -1);
    assert_non_null(strstr(err.text, "no socket holds"));
    job = within("job", 2, "socket", true);
    job.gang.size = 3;
    assert_int_equal(core_job_submit(world->core, &job, &id, &err), -1);
    assert_non_null(strstr(err.text, "no socket holds 6 accelerators, idle; the largest"));
    job = within("job", 0, "socket", true);
    assert_int_equal(core_job_submit(world->core, &job, &id, &err), -1);
    assert_non_null(strstr(err.text, "only whole accelerators"));
    job = within("job", 5, "socket", false);
    assert_int_equal(core_job_submit(world->core, &job, &id, &err), 0);
}

/* What is preferred chooses the node as well: the other is fuller, and would split it. */
static void a_node_that_need_not_split_is_preferred(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {socket_node("a", 2), socket_node("b", 2)};
    world_pool(world, "p", nodes, 2);
    world_team(world, "t");
    for (int i = 0; i < 2; i++) {
        char name[8];
        snprintf(name, sizeof name, "f%d", i);
        struct job fill = job_make("t", name, 1, 3);
        fill.placement.spread = SPREAD_PACK;
        (void)world_submit(world, &fill);
    }
    world_tick(world, 0); /* both on one node, one free in each socket */
    struct job job = within("job", 2, "socket", false);
    uint64_t id = world_submit(world, &job);
    world_tick(world, 0);
    uint64_t devices = devices_of(world, id);
    assert_true((devices & 0x0f) == 0 || (devices & 0xf0) == 0);
}

static void lists_that_are_none_are_refused(void **state)
{
    struct world *world = *state;
    struct node node = socket_node("n", 1);
    struct pool pool = {.metadata.name = "p", .nodes = {&node, 1}};
    struct error err;
    assert_int_equal(core_pool_put(world->core, &pool, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_non_null(strstr(err.text, "n: sockets: expected each of the node's 8 accelerators"));
}

/* Jobs come and go: who requires a socket is never split, and nobody is while one had room for him.
 */
static void sockets_hold_over_seeds(void **state)
{
    struct world *world = *state;
    struct node node = socket_node("n", 2);
    struct prng prng = {11};
    uint64_t jobs[200] = {0};
    node.count = 2;
    world_pool(world, "p", &node, 1);
    world_team(world, "t");
    for (int i = 0; i < 200; i++) {
        char name[8];
        bool required = prng_below(&prng, 2);
        snprintf(name, sizeof name, "j%d", i);
        struct job job = within(name, 1 + (int64_t)prng_below(&prng, 4), "socket", required);
        jobs[i] = world_submit(world, &job);
        uint64_t end = jobs[prng_below(&prng, (uint64_t)i + 1)];
        if (core_job(world->core, end) && core_job(world->core, end)->attempt) {
            world_start(world, end);
            world_end_complete(world, end, true);
        }
        world_tick(world, MINUTE_MS);
        for (int j = 0; j <= i; j++) {
            const struct job_row *row = core_job(world->core, jobs[j]);
            if (!row || !row->attempt ||
                core_shape(world->core, row->shape)->topology != WISH_REQUIRED)
                continue;
            uint64_t devices = devices_of(world, jobs[j]);
            assert_true((devices & 0x0f) == 0 || (devices & 0xf0) == 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_rank_is_split_that_has_room),
        cmocka_unit_test(of_sockets_with_room_the_tightest_is_taken),
        TEST(a_rank_waits_for_a_socket_that_it_requires),
        TEST(a_gang_that_requires_a_socket_is_in_one),
        TEST(what_no_socket_holds_is_refused),
        TEST(a_node_that_need_not_split_is_preferred),
        TEST(lists_that_are_none_are_refused),
        TEST(sockets_hold_over_seeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
