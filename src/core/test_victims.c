/* Which attempts give way, compared with the best set there is: in small worlds every set is tried.
 * And the same worlds under the other policies. */
#include "base/prng.h"
#include "core/test_help.h"

#include <stdio.h>
#include <stdlib.h>

enum { NODES_MAX_HERE = 4, JOBS_MAX_HERE = 12 };

struct victim_job {
    uint64_t id;
    int64_t lost_ms;                 /* device-milliseconds that its stop would lose */
    int64_t devices[NODES_MAX_HERE]; /* held on each node */
};

struct scene {
    struct world *world;
    struct prng prng;
    int64_t nodes, devices; /* of each */
    struct victim_job jobs[JOBS_MAX_HERE];
    size_t count;
    uint64_t first_node; /* id; the others follow */
    size_t collecting;
};

static int64_t below(struct scene *scene, uint64_t bound)
{
    return (int64_t)prng_below(&scene->prng, bound);
}

static void first_node(void *context, enum row_kind kind, const void *row)
{
    struct scene *scene = context;
    assert_int_equal(kind, ROW_NODE);
    if (!scene->first_node)
        scene->first_node = ((const struct node_row *)row)->id;
}

static void collect(void *context, enum row_kind kind, const void *row)
{
    struct scene *scene = context;
    const struct placement_row *one = row;
    assert_int_equal(kind, ROW_PLACEMENT);
    scene->jobs[scene->collecting].devices[one->node - scene->first_node] +=
        __builtin_popcountll(one->devices);
}

/* Jobs of one to three ranks of one or two devices, until none fits; each began at another moment
 * and wrote a checkpoint at another. */
static void scene_fill(struct scene *scene)
{
    struct world *world = scene->world;
    for (int i = 0; i < JOBS_MAX_HERE; i++) {
        char name[16];
        snprintf(name, sizeof name, "j%d", i);
        struct job job = job_make("t", name, 0, 1 + below(scene, 2));
        job.gang.size = 1 + below(scene, 3);
        job.resources.cpu_milli = 1;
        job.priority = PRIORITY_LOW + 100 * (2 - i / 4); /* falling: none makes another go */
        if (core_job_submit(world->core, &job, &scene->jobs[scene->count].id, NULL) < 0)
            continue;
        world_tick(world, MINUTE_MS * (1 + below(scene, 9)));
        uint64_t id = scene->jobs[scene->count].id;
        if (world_state(world, id) != JOB_STARTING) {
            assert_int_equal(core_job_cancel(world->core, id, NULL), 0);
            continue;
        }
        world_start(world, id);
        scene->count++;
    }
    world_tick(world, HOUR_MS);
    for (size_t i = 0; i < scene->count; i++) {
        struct victim_job *job = &scene->jobs[i];
        int64_t ago_ms = MINUTE_MS * (1 + below(scene, 50));
        world_checkpoint(world, job->id, world->now_ms - ago_ms);
        scene->collecting = i;
        core_placement_each(world->core, world_job(world, job->id)->attempt, collect, scene);
        for (int64_t n = 0; n < scene->nodes; n++)
            job->lost_ms += job->devices[n] * ago_ms;
    }
}

/* What the cheapest set loses that lets `ranks` ranks of `devices` devices fit. */
static int64_t best_loss(const struct scene *scene, int64_t ranks, int64_t devices)
{
    int64_t best = INT64_MAX;
    for (uint32_t set = 0; set < 1u << scene->count; set++) {
        int64_t loss = 0, fit = 0;
        int64_t held[NODES_MAX_HERE] = {0};
        for (size_t i = 0; i < scene->count; i++) {
            bool gone = set >> i & 1;
            loss += gone ? scene->jobs[i].lost_ms : 0;
            for (int64_t n = 0; !gone && n < scene->nodes; n++)
                held[n] += scene->jobs[i].devices[n];
        }
        for (int64_t n = 0; n < scene->nodes; n++)
            fit += (scene->devices - held[n]) / devices;
        if (fit >= ranks && loss < best)
            best = loss;
    }
    return best;
}

static int64_t lost_now(const struct world *world)
{
    int64_t lost_ms = 0;
    for (size_t i = 0; i < world->decisions.count; i++) {
        if (world->decisions.items[i].kind == DECISION_STOP)
            lost_ms += world->decisions.items[i].lost_ms;
    }
    return lost_ms;
}

struct sums {
    int64_t best_ms, lost_ms, cases, equal;
    int64_t worst_percent;
};

static void run_scene(uint64_t seed, const char *policy, struct sums *sums)
{
    void *state = NULL;
    world_setup(&state);
    struct scene scene = {.world = state, .prng = {seed}};
    world_begin(scene.world, &(struct core_options){.victims = policy});
    scene.nodes = 1 + below(&scene, NODES_MAX_HERE);
    scene.devices = 2 + 2 * below(&scene, 3);
    struct node node = node_make("n", 64, 64, scene.devices);
    node.count = scene.nodes;
    world_pool(scene.world, "p", &node, 1);
    world_team(scene.world, "t");
    core_row_each(scene.world->core, ROW_NODE, first_node, &scene);
    scene_fill(&scene);
    struct job urgent = job_make("t", "urgent", 0, 1 + below(&scene, (uint64_t)scene.devices));
    urgent.gang.size = 1 + below(&scene, 3);
    urgent.priority = PRIORITY_URGENT;
    urgent.resources.cpu_milli = 1;
    uint64_t id;
    if (core_job_submit(scene.world->core, &urgent, &id, NULL) == 0) {
        int64_t devices = urgent.resources.accelerator_milli / 1000;
        int64_t best_ms = best_loss(&scene, urgent.gang.size, devices);
        world_tick(scene.world, 0);
        int64_t lost_ms = lost_now(scene.world);
        assert_true(best_ms != INT64_MAX && lost_ms >= best_ms);
        assert_true(world_state(scene.world, id) == JOB_STARTING ||
                    world_row_count(scene.world, ROW_CLAIM) > 0);
        sums->cases += best_ms > 0;
        sums->equal += best_ms > 0 && lost_ms == best_ms;
        sums->best_ms += best_ms;
        sums->lost_ms += lost_ms;
        if (best_ms > 0 && lost_ms * 100 / best_ms > sums->worst_percent)
            sums->worst_percent = lost_ms * 100 / best_ms;
    }
    world_teardown(&state);
}

static struct sums run_scenes(const char *policy)
{
    const char *many = getenv("VICTIM_SEEDS");
    uint64_t seeds = many ? strtoull(many, NULL, 10) : 300;
    struct sums sums = {0};
    for (uint64_t seed = 1; seed <= seeds; seed++)
        run_scene(seed, policy, &sums);
    if (many)
        printf("%s: %lld cases, optimal in %lld, lost %.3f of the optimum, worst %lld%%\n", policy,
            (long long)sums.cases, (long long)sums.equal,
            (double)sums.lost_ms / (double)sums.best_ms, (long long)sums.worst_percent);
    return sums;
}

/* Measured over 3,000 seeds; the bands leave room for other seeds. */
static void loses_little_more_than_the_best_set(void **state)
{
    (void)state;
    struct sums sums = run_scenes("least-loss");
    assert_true(sums.cases > 100);
    assert_true(sums.lost_ms * 100 <= sums.best_ms * 102);
    assert_true(sums.equal * 100 >= sums.cases * 95);
}

/* In worlds as small as these most of what runs has to go, whoever chooses. */
static void the_usual_orders_lose_more(void **state)
{
    (void)state;
    int64_t ours_ms = run_scenes("least-loss").lost_ms;
    assert_true(run_scenes("youngest-first").lost_ms * 100 >= ours_ms * 120);
    assert_true(run_scenes("lowest-priority-first").lost_ms * 100 >= ours_ms * 120);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loses_little_more_than_the_best_set),
        cmocka_unit_test(the_usual_orders_lose_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
