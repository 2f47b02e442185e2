/* The remembered scores against the plain loop over all nodes: over seeds, while jobs come and go,
 * places are claimed, nodes are cordoned, lost and changed, every shape's best node has to be the
 * one that looking at every node gives. */
#include "base/prng.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/packing.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/score.h"
#include "core/shape.h"
#include "core/state.h"
#include "core/table.h"
#include "core/test_help.h"

#include <stdio.h>
#include <stdlib.h>

enum { STEPS = 400, RUNNING_MAX = 2000 };

struct run {
    struct core *core;
    struct prng prng;
    int64_t now_ms;
    int64_t nodes; /* of the large pool */
    int names;
    size_t compared, rooms;
    VEC(uint64_t) attempts;
};

static uint64_t below(struct run *run, uint64_t bound)
{
    return prng_below(&run->prng, bound);
}

static void put_pools(struct run *run, int64_t disk_gib)
{
    struct node small[] = {node_make("a", 8, 32, 2), node_make("b", 16, 32, 0)};
    struct node large[] = {
        node_make("g", 32, 128, 8), node_make("h", 64, 256, 4), node_make("c", 96, 384, 0)};
    small[0].count = small[1].count = 3;
    for (size_t i = 0; i < ARRAY_LEN(large); i++) {
        large[i].count = run->nodes / 3;
        large[i].capacity.disk_bytes = disk_gib * GIB;
    }
    large[1].fractional = false;
    struct pool pools[] = {{.metadata.name = "small", .nodes = {small, ARRAY_LEN(small)}},
        {.metadata.name = "large", .nodes = {large, ARRAY_LEN(large)}}};
    for (size_t i = 0; i < ARRAY_LEN(pools); i++)
        (void)!core_pool_put(run->core, &pools[i], NULL);
}

static void submit(struct run *run)
{
    static const int64_t milli[] = {0, 0, 300, 500, 1000, 1000, 2000, 4000, 8000};
    static const int32_t priorities[] = {500, 500, 800, 1000};
    char name[32];
    snprintf(name, sizeof name, "job%d", run->names++);
    struct job job = job_make("t", name, 1 + (int64_t)below(run, 12), 0);
    job.resources.accelerator_milli = milli[below(run, ARRAY_LEN(milli))];
    job.resources.accelerator = job.resources.accelerator_milli && below(run, 2) ? "gpu" : NULL;
    job.priority = priorities[below(run, ARRAY_LEN(priorities))];
    job.placement.exclusive = below(run, 40) == 0;
    job.placement.pool = below(run, 10) ? NULL : below(run, 2) ? "large" : "small";
    job.gang.size = below(run, 10) ? 1 : 2 + (int64_t)below(run, 4);
    uint64_t id;
    (void)!core_job_submit(run->core, &job, &id, NULL);
}

static void keep_admitted(void *context, const struct core_decision *decision)
{
    struct run *run = context;
    if (decision->kind == DECISION_ADMIT)
        vec_push(&run->attempts, decision->attempt);
}

static void end_one(struct run *run)
{
    if (!run->attempts.count)
        return;
    size_t at = below(run, run->attempts.count);
    struct core_report report = {.attempt = run->attempts.items[at], .kind = REPORT_ENDED};
    report.reason = END_SUCCEEDED;
    report.complete = true;
    core_attempt_report(run->core, &report);
    vec_remove(&run->attempts, at);
}

static void change_node(struct run *run)
{
    char name[32];
    uint64_t number = 1 + below(run, (uint64_t)run->nodes / 3);
    snprintf(name, sizeof name, number > 1 ? "%c[%d]" : "%c", "ghc"[below(run, 3)], (int)number);
    switch (below(run, 4)) {
    case 0: (void)!core_node_wish(run->core, "large", name, NODE_CORDON, NULL); break;
    case 1: (void)!core_node_wish(run->core, "large", name, NODE_UNCORDON, NULL); break;
    case 2: core_node_report(run->core, "large", name, false); break;
    default: core_node_report(run->core, "large", name, true);
    }
}

static struct live_node *plain_best(struct core *core, const struct live_job *job)
{
    struct live_node *best = NULL;
    shape_candidates(core, job->shape);
    struct live_node *const *nodes = job->shape->candidates.items;
    size_t count = job->shape->candidates.count;
    for (size_t begin = 0, end; begin < count && !best; begin = end) {
        struct plan plan = {0};
        end = plan_pool_end(core, job->shape, nodes, begin, count);
        if (plan_make_pool(core, job, nodes + begin, end - begin, 1, 1, &plan))
            best = plan.parts.items[0].node;
        plan_finish(&plan);
    }
    return best;
}

/* What the policy remembers of nodes and shapes gives the score that it computes without. */
static void compare_scores(struct run *run, struct live_shape *shape)
{
    struct live_job like = {.shape = shape, .links = &job_links_none};
    shape_candidates(run->core, shape);
    packing_ready(run->core, shape);
    for (size_t i = 0; i < shape->candidates.count; i++) {
        const struct live_node *node = shape->candidates.items[i];
        if (below(run, 8) > 0)
            continue;
        int32_t ranks = fit_ranks(run->core, &like, node, 1 + (int32_t)below(run, 3));
        struct live_shape plain_shape = *shape;
        struct live_job plain = {.shape = &plain_shape, .links = &job_links_none};
        struct live_node copy = *node;
        plain_shape.packing = NULL;
        if (ranks > 0)
            assert_int_equal(packing_score(run->core, &like, node, ranks),
                packing_score(run->core, &plain, &copy, ranks));
    }
}

static void compare(struct run *run)
{
    TABLE_EACH (run->core, ROW_SHAPE, struct live_shape, shape) {
        struct live_job like = {.shape = shape, .links = &job_links_none};
        if (below(run, 4) == 0 || !score_usable(run->core, &like))
            continue;
        assert_ptr_equal(plan_node(run->core, &like), plain_best(run->core, &like));
        if (below(run, 16) == 0)
            compare_scores(run, shape);
        run->compared++;
    }
}

/* The ranks that fit the nodes of a pool, most of all pools; `plain` is unset when some node is not
 * to be had although there is room on it. */
static int64_t plain_room(struct core *core, const struct live_job *job, bool *plain)
{
    int64_t most = 0, pool = 0;
    const struct live_pool *of = NULL;
    int64_t milli = job->shape->row.accelerator_milli;
    *plain = milli == 0 || milli >= DEVICE_MILLI; /* broken devices may not add up */
    shape_candidates(core, job->shape);
    for (size_t i = 0; i < job->shape->candidates.count; i++) {
        const struct live_node *node = job->shape->candidates.items[i];
        if (node->exclusive_held || node->exclusive_claimed || node->promises ||
            job->shape->row.exclusive)
            *plain = false;
        pool = node->pool == of ? pool : 0;
        of = node->pool;
        pool += fit_ranks(core, job, node, GANG_SIZE_MAX);
        most = pool > most ? pool : most;
    }
    return most;
}

/* What is remembered for gangs is never too little, and exact where only room decides. */
static void compare_room(struct run *run)
{
    TABLE_EACH (run->core, ROW_SHAPE, struct live_shape, shape) {
        struct live_job like = {.shape = shape, .links = &job_links_none};
        bool plain;
        int64_t room = plain_room(run->core, &like, &plain);
        if (below(run, 4) == 0)
            continue;
        assert_true(room == 0 || gang_room_for(run->core, shape, room));
        if (plain) {
            assert_false(gang_room_for(run->core, shape, room + 1));
            run->rooms++;
        }
    }
}

static void step(struct run *run)
{
    run->now_ms += (int64_t)below(run, 5000);
    core_begin(run->core, run->now_ms);
    uint64_t comes = below(run, 12), goes = below(run, 12);
    for (uint64_t i = 0; i < comes; i++)
        submit(run);
    for (uint64_t i = 0; i < goes; i++)
        end_one(run);
    if (below(run, 10) == 0)
        change_node(run);
    if (below(run, 50) == 0)
        put_pools(run, 100 + (int64_t)below(run, 3));
    compare(run);
    compare_room(run);
    core_schedule(run->core);
    compare(run);
    compare_room(run);
    core_decisions(run->core, keep_admitted, run);
    core_end(run->core);
    while (run->attempts.count > RUNNING_MAX)
        end_one(run);
}

static void run_seed(uint64_t seed, int64_t nodes)
{
    struct run run = {
        .core = core_create(NULL), .prng = {seed}, .now_ms = START_MS, .nodes = nodes};
    struct error err;
    assert_int_equal(core_load_end(run.core, &err), 0);
    core_begin(run.core, run.now_ms);
    struct team team = team_make("t", NULL);
    assert_int_equal(core_team_put(run.core, &team, NULL), 0);
    put_pools(&run, 100);
    for (int i = 0; i < STEPS; i++) {
        step(&run);
        if (i % 50 == 0 && core_check(run.core, &err) < 0)
            fail_msg("seed %d, step %d: %s", (int)seed, i, err.text);
    }
    assert_true(run.compared > STEPS);
    assert_true(run.rooms > 0);
    vec_free(&run.attempts);
    core_destroy(run.core);
}

static void finds_the_node_that_the_plain_loop_finds(void **state)
{
    (void)state;
    const char *many = getenv("CORE_SEEDS");
    uint64_t count = many ? strtoull(many, NULL, 10) : 12;
    for (uint64_t seed = 1; seed <= count; seed++)
        run_seed(seed, seed % 3 ? 30 : 400);
}

/* More nodes than a bound of the second level covers. */
static void finds_it_among_thousands_of_nodes(void **state)
{
    (void)state;
    run_seed(1, 9000);
}

static void note_many(struct live_node *node, size_t times)
{
    for (size_t i = 0; i < times; i++)
        journal_note(node);
}

/* However often a node changes, until the journal does not reach back to what the shape saw last:
 * it sees how the node is in the end. */
static void many_changes_of_a_node_are_one(void **state)
{
    struct world *world = *state;
    struct node nodes[] = {node_make("n", 8, 32, 0), node_make("m", 8, 32, 0)};
    world_pool(world, "p", nodes, 2);
    world_team(world, "t");
    struct job job = job_make("t", "a", 2, 0);
    world_submit(world, &job);
    struct live_job *live = (struct live_job *)world->core->tables[ROW_JOB].entries.items[0].item;
    assert_true(score_usable(world->core, live));
    struct live_node *best = score_best(world->core, live);
    best->exclusive_held = 1;
    note_many(best, 200000);
    assert_true(score_usable(world->core, live));
    assert_ptr_not_equal(score_best(world->core, live), best);
    best->exclusive_held = 0;
    note_many(best, 1);
    assert_ptr_equal(score_best(world->core, live), best);
}

/* Numbers of all sizes, near each other and far apart. */
static int64_t amount_draw(struct prng *prng)
{
    int64_t amount = (int64_t)(prng_next(prng) >> (1 + prng_below(prng, 63)));
    return prng_below(prng, 8) ? amount : prng_below(prng, 2) ? FREE_ANY : FREE_NONE;
}

static struct node_free free_draw(struct prng *prng)
{
    int64_t cpu_milli = amount_draw(prng), memory = amount_draw(prng), disk = amount_draw(prng);
    return (struct node_free){{cpu_milli, memory, disk}, amount_draw(prng)};
}

static int64_t amount_near(struct prng *prng, int64_t amount)
{
    int64_t less = (int64_t)prng_below(prng, 4) - 1;
    return amount > 1 && prng_below(prng, 2) ? amount - less : amount_draw(prng);
}

static bool free_enough(const struct node_free *free, const struct node_free *least)
{
    return free->all.cpu_milli >= least->all.cpu_milli &&
           free->all.memory_bytes >= least->all.memory_bytes &&
           free->all.disk_bytes >= least->all.disk_bytes && free->devices >= least->devices;
}

/* What has enough of everything is never taken for one that has not by its key. */
static void keys_never_hide_a_node(void **state)
{
    struct prng prng = {41};
    size_t fits = 0, refused = 0;
    (void)state;
    for (int i = 0; i < 200000; i++) {
        struct node_free free = free_draw(&prng), least = free;
        least.all.cpu_milli = amount_near(&prng, free.all.cpu_milli);
        least.all.memory_bytes = amount_near(&prng, free.all.memory_bytes);
        least.all.disk_bytes = amount_near(&prng, free.all.disk_bytes);
        least.devices = amount_near(&prng, free.devices);
        bool fit = free_enough(&free, &least), may = key_enough(free_key(&free), free_key(&least));
        assert_true(may || !fit);
        fits += fit;
        refused += !may;
    }
    assert_true(fits > 1000 && refused > 1000);
}

/* As of what a rank needs: of what it does not ask for, anything. */
static int64_t need_near(struct prng *prng, int64_t amount)
{
    int64_t need = amount_near(prng, amount);
    return need > 0 ? need : FREE_ANY;
}

/* What a key says is enough for sure is enough, also of nodes that nobody may come to. */
static void sure_keys_are_never_wrong(void **state)
{
    static const struct node_free none = {{FREE_NONE, FREE_NONE, FREE_NONE}, FREE_NONE};
    struct prng prng = {43};
    size_t sure = 0, missed = 0;
    (void)state;
    for (int i = 0; i < 200000; i++) {
        struct node_free free = free_draw(&prng), least = free;
        least.all.cpu_milli = need_near(&prng, free.all.cpu_milli);
        least.all.memory_bytes = need_near(&prng, free.all.memory_bytes);
        least.all.disk_bytes = need_near(&prng, free.all.disk_bytes);
        least.devices = need_near(&prng, free.devices);
        if (prng_below(&prng, 8) == 0)
            least = (struct node_free){{FREE_ANY, FREE_ANY, FREE_ANY}, FREE_ANY};
        if (least.all.cpu_milli > free.all.cpu_milli || free.devices == FREE_NONE ||
            free.all.memory_bytes == FREE_NONE || free.all.disk_bytes == FREE_NONE)
            free = prng_below(&prng, 2) ? none : least;
        bool fit = free_enough(&free, &least);
        bool is = key_enough(free_key(&free), free_key_sure(&least));
        assert_true(fit || !is);
        sure += is;
        missed += fit && !is;
    }
    assert_true(sure > 1000 && missed > 1000);
}

static void the_most_of_keys_is_of_each_number(void **state)
{
    struct prng prng = {47};
    (void)state;
    for (int i = 0; i < 100000; i++) {
        uint64_t a = prng_next(&prng) & FREE_MOST, b = prng_next(&prng) & FREE_MOST;
        uint64_t top = key_most(a, b);
        for (int shift = 0; shift < 64; shift += 16) {
            uint64_t x = a >> shift & 0xffff, y = b >> shift & 0xffff;
            assert_int_equal(top >> shift & 0xffff, x > y ? x : y);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_node_that_the_plain_loop_finds),
        cmocka_unit_test(finds_it_among_thousands_of_nodes),
        TEST(many_changes_of_a_node_are_one),
        cmocka_unit_test(keys_never_hide_a_node),
        cmocka_unit_test(sure_keys_are_never_wrong),
        cmocka_unit_test(the_most_of_keys_is_of_each_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
