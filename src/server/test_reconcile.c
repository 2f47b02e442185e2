/* Reconciliation looks at what something was heard of, and at everything now and then: with an
 * engine that counts what it is asked, and a core that wants nothing. */
#include "base/clock.h"
#include "base/memory.h"
#include "base/test.h"
#include "engine/engine_operations.h"
#include "server/effects.h"
#include "server/reconcile.h"
#include "server/test_world.h"

#include <event2/event.h>
#include <stdlib.h>

enum { ATTEMPTS = 1000, MINUTE_MS = 60 * 1000 };
#define NOW_MS ((int64_t)1 << 40) /* long after any machine started */

struct counting {
    struct engine engine;
    struct engine *before;
    size_t observed, viewed, killed, forgotten;
    enum engine_attempt_state states[ATTEMPTS]; /* of attempt i + 1; NONE of them is wanted */
    bool gone[ATTEMPTS];
    bool refuses; /* to forget */
};

static struct counting *counting_of(const struct engine *engine)
{
    return (struct counting *)(uintptr_t)engine;
}

static struct attempt_view view_of(const struct counting *counting, size_t i)
{
    return (struct attempt_view){
        .attempt = i + 1, .job = i + 1, .attempt_number = 1, .state = counting->states[i]};
}

static void observe(const struct engine *engine, struct attempt_view **ret_views, size_t *ret_count)
{
    struct counting *counting = counting_of(engine);
    *ret_views = mem_alloc(ATTEMPTS, sizeof **ret_views);
    *ret_count = 0;
    counting->observed++;
    for (size_t i = 0; i < ATTEMPTS; i++) {
        if (!counting->gone[i])
            (*ret_views)[(*ret_count)++] = view_of(counting, i);
    }
}

static bool view(const struct engine *engine, uint64_t attempt, struct attempt_view *ret_view)
{
    struct counting *counting = counting_of(engine);
    counting->viewed++;
    if (attempt < 1 || attempt > ATTEMPTS) { /* one that the core began */
        *ret_view = (struct attempt_view){.attempt = attempt, .state = ENGINE_ATTEMPT_RUNNING};
        return true;
    }
    if (counting->gone[attempt - 1])
        return false;
    *ret_view = view_of(counting, attempt - 1);
    return true;
}

static int kill_one(struct engine *engine, uint64_t attempt, struct error *err)
{
    (void)attempt, (void)err;
    counting_of(engine)->killed++;
    return 0;
}

static int forget(struct engine *engine, uint64_t attempt, struct error *err)
{
    struct counting *counting = counting_of(engine);
    if (counting->refuses)
        return error_set(err, ERR_UNAVAILABLE, "not now");
    counting->forgotten++;
    counting->gone[attempt - 1] = true;
    return 0;
}

static const struct engine_node *node(const struct engine *engine)
{
    static const struct engine_node here = {.name = "here", .cpu_milli = 4000};
    (void)engine;
    return &here;
}

/* Its attempts run, and nobody wants them. */
static struct counting *counting_begin(struct world *world)
{
    static const struct engine_operations operations = {
        .observe = observe, .view = view, .kill = kill_one, .forget = forget, .node = node};
    struct counting *counting = mem_alloc(1, sizeof *counting);
    counting->engine.operations = &operations;
    for (size_t i = 0; i < ATTEMPTS; i++)
        counting->states[i] = ENGINE_ATTEMPT_RUNNING;
    counting->before = world->server.engine;
    world->server.engine = &counting->engine;
    reconciler_touch_all(world->server.reconciler);
    return counting;
}

static void counting_end(struct world *world, struct counting *counting)
{
    world->server.engine = counting->before;
    world_destroy(world);
    free(counting);
}

static void test_what_nothing_was_heard_of_is_not_looked_at(void **state)
{
    struct world *world = world_create();
    struct counting *counting = counting_begin(world);
    struct reconciler *reconciler = world->server.reconciler;
    (void)state;
    reconciler_run(reconciler, NOW_MS); /* everything */
    assert_int_equal(counting->observed, 1);
    assert_int_equal(counting->killed, ATTEMPTS);
    counting->viewed = 0;
    for (int i = 0; i < 100; i++)
        reconciler_run(reconciler, NOW_MS);
    assert_int_equal(counting->observed, 1);
    assert_int_equal(counting->viewed, 0);
    reconciler_touch(reconciler, 7);
    reconciler_touch(reconciler, 7);
    reconciler_run(reconciler, NOW_MS);
    assert_int_equal(counting->viewed, 1);
    assert_int_equal(counting->killed, ATTEMPTS + 1);
    counting_end(world, counting);
}

/* The core does not know it any more: no row changes that would have it looked at. */
static void test_the_end_of_what_is_not_wanted_is_cleaned_up_after(void **state)
{
    struct world *world = world_create();
    struct counting *counting = counting_begin(world);
    const struct report report = {.kind = ENGINE_REPORT_ENDED, .attempt = 9, .job = 9};
    (void)state;
    reconciler_run(world->server.reconciler, NOW_MS);
    counting->states[8] = ENGINE_ATTEMPT_ENDED;
    reconciler_report(&world->server, &report);
    event_base_loop(world->server.base, EVLOOP_ONCE); /* the tick that it asks for */
    world_settle(world);
    assert_int_equal(counting->forgotten, 1);
    assert_true(counting->gone[8]);
    counting_end(world, counting);
}

static void test_what_could_not_be_done_is_tried_again(void **state)
{
    struct world *world = world_create();
    struct counting *counting = counting_begin(world);
    struct reconciler *reconciler = world->server.reconciler;
    (void)state;
    reconciler_run(reconciler, NOW_MS);
    counting->states[2] = counting->states[5] = ENGINE_ATTEMPT_ENDED;
    counting->refuses = true;
    reconciler_touch(reconciler, 3);
    reconciler_touch(reconciler, 6);
    reconciler_run(reconciler, NOW_MS);
    counting->viewed = 0;
    reconciler_run(reconciler, NOW_MS);
    assert_int_equal(counting->viewed, 2);
    counting->refuses = false;
    reconciler_run(reconciler, NOW_MS);
    assert_int_equal(counting->forgotten, 2);
    counting->viewed = 0;
    reconciler_run(reconciler, NOW_MS);
    assert_int_equal(counting->viewed, 0);
    counting_end(world, counting);
}

/* Whatever was not heard of is found: everything is looked at again after a minute, and when the
 * state was loaded again. */
static void test_everything_is_looked_at_now_and_then(void **state)
{
    struct world *world = world_create();
    struct counting *counting = counting_begin(world);
    struct reconciler *reconciler = world->server.reconciler;
    (void)state;
    reconciler_run(reconciler, NOW_MS);
    reconciler_run(reconciler, NOW_MS + MINUTE_MS - 1);
    assert_int_equal(counting->observed, 1);
    reconciler_run(reconciler, NOW_MS + MINUTE_MS);
    assert_int_equal(counting->observed, 2);
    assert_int_equal(counting->killed, 2 * ATTEMPTS);
    reconciler_run(reconciler, NOW_MS + 2 * MINUTE_MS - 1);
    assert_int_equal(counting->observed, 2);
    assert_int_equal(effects_reload(&world->server), 0);
    assert_int_equal(counting->observed, 3);
    counting_end(world, counting);
}

static int run_job(struct tick *tick, void *context, struct error *why)
{
    struct node node = {
        .name = "n", .count = 1, .capacity = {.cpu_milli = 4000, .memory_bytes = 1 << 30}};
    const struct pool pool = {.metadata.name = "p", .nodes = {&node, 1}};
    const struct job job = {.metadata = {.name = "j", .team = "root"}, .gang.size = 1};
    (void)why;
    assert_works(core_pool_put(tick_core(tick), &pool, err));
    assert_works(core_job_submit(tick_core(tick), &job, context, err));
    return 0;
}

/* Its row changed: the engine is asked about it, without its whole list, and has started it. */
static void test_an_attempt_that_the_core_begins_is_looked_at(void **state)
{
    struct world *world = world_create();
    struct counting *counting = counting_begin(world);
    uint64_t job = 0;
    (void)state;
    reconciler_run(world->server.reconciler, clock_boot_ms());
    assert_works(ticker_submit(world->server.ticker, "tester", run_job, NULL, &job, err));
    world_settle(world);
    assert_int_equal(counting->observed, 1);
    assert_int_equal(core_job(world->server.core, job)->state, JOB_RUNNING);
    counting_end(world, counting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_nothing_was_heard_of_is_not_looked_at),
        cmocka_unit_test(test_the_end_of_what_is_not_wanted_is_cleaned_up_after),
        cmocka_unit_test(test_what_could_not_be_done_is_tried_again),
        cmocka_unit_test(test_everything_is_looked_at_now_and_then),
        cmocka_unit_test(test_an_attempt_that_the_core_begins_is_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
