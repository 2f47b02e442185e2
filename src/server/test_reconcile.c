/* Reconciliation looks at what something was heard of, and at everything now and then: with an
 * engine that counts what it is asked, and a core that wants nothing. */
#include "base/memory.h"
#include "base/test.h"
#include "engine/engine_operations.h"
#include "server/reconcile.h"
#include "server/test_world.h"

#include <event2/event.h>
#include <stdlib.h>

enum { ATTEMPTS = 1000 };

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
    if (attempt < 1 || attempt > ATTEMPTS || counting->gone[attempt - 1])
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
    reconciler_run(reconciler); /* everything */
    assert_int_equal(counting->observed, 1);
    assert_int_equal(counting->killed, ATTEMPTS);
    counting->viewed = 0;
    for (int i = 0; i < 100; i++)
        reconciler_run(reconciler);
    assert_int_equal(counting->observed, 1);
    assert_int_equal(counting->viewed, 0);
    reconciler_touch(reconciler, 7);
    reconciler_touch(reconciler, 7);
    reconciler_run(reconciler);
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
    reconciler_run(world->server.reconciler);
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
    reconciler_run(reconciler);
    counting->states[2] = counting->states[5] = ENGINE_ATTEMPT_ENDED;
    counting->refuses = true;
    reconciler_touch(reconciler, 3);
    reconciler_touch(reconciler, 6);
    reconciler_run(reconciler);
    counting->viewed = 0;
    reconciler_run(reconciler);
    assert_int_equal(counting->viewed, 2);
    counting->refuses = false;
    reconciler_run(reconciler);
    assert_int_equal(counting->forgotten, 2);
    counting->viewed = 0;
    reconciler_run(reconciler);
    assert_int_equal(counting->viewed, 0);
    counting_end(world, counting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_nothing_was_heard_of_is_not_looked_at),
        cmocka_unit_test(test_the_end_of_what_is_not_wanted_is_cleaned_up_after),
        cmocka_unit_test(test_what_could_not_be_done_is_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
