/* The checker of promises can fail: places that are promised and not there at their moment, and
 * promises that get later for no reason. Of node 1's four devices job 1 holds the first two and job
 * 2 is promised the third; job 1 has no time limit. */
#include "sim/invariants_parts.h"
#include "sim/test_state.h"

#include "core/limits.h"

#define MOMENT (NOW + 3600000)

static struct promise_row promise_make(void)
{
    return (struct promise_row){.id = 1,
        .job = 2,
        .node = 1,
        .devices = 4,
        .device_milli = 1000,
        .ranks = 1,
        .begin_ms = MOMENT};
}

static int judged(struct state *state, const struct promise_row *promise, struct error *err)
{
    state_put(state);
    sim_store_put(state->store, ROW_PROMISE, promise);
    return invariants_state(state->store, err);
}

static void assert_kept(struct state *state, const struct promise_row *promise)
{
    struct error err = {0};
    assert_int_equal(judged(state, promise, &err), 0);
}

static void assert_caught(struct state *state, const struct promise_row *promise)
{
    struct error err = {0};
    assert_broken(judged(state, promise, &err), &err, 10);
}

static void a_promise_of_what_is_free_passes(void **context)
{
    struct promise_row promise = promise_make();
    assert_kept(*context, &promise);
}

static void a_device_that_is_held_at_its_moment_is_caught(void **context)
{
    struct state *state = *context;
    struct promise_row promise = promise_make();
    promise.devices = 2;
    assert_caught(state, &promise);
    /* Time limit and grace end at the moment: it is free then. A millisecond more, and it is not.
     */
    state->job.time_limit_ms = 3600000 - 5000;
    state->job.grace_ms = 5000;
    assert_kept(state, &promise);
    state->job.grace_ms = 5001;
    assert_caught(state, &promise);
    /* The deadline ends it before the limit does. */
    state->job.deadline_ms = MOMENT - 5001;
    assert_kept(state, &promise);
}

static void cpu_that_is_held_at_its_moment_is_caught(void **context)
{
    struct state *state = *context;
    struct promise_row promise = promise_make();
    state->node.cpu_milli = 5999; /* two ranks hold 4000, the third needs 2000 */
    assert_caught(state, &promise);
    state->node.cpu_milli = 6000;
    assert_kept(state, &promise);
}

static void an_open_promise_waits_for_what_was_there_and_no_more(void **context)
{
    struct state *state = *context;
    struct promise_row promise = promise_make();
    promise.devices = 2;
    promise.open = 1;
    promise.last_attempt = 1;
    assert_kept(state, &promise);
    promise.last_attempt = 0; /* attempt 1 came after it was made */
    assert_caught(state, &promise);
    promise.last_attempt = 1;
    state->job.time_limit_ms = 2 * 3600000; /* and that ends by itself, too late */
    assert_caught(state, &promise);
}

static void a_place_that_is_promised_twice_is_caught(void **context)
{
    struct state *state = *context;
    struct promise_row promise = promise_make(), second = promise_make();
    struct job_row third = state->waiting;
    third.id = 3;
    third.name = SYM_TRAIN;
    sim_store_put(state->store, ROW_JOB, &third);
    second.id = 2;
    second.job = 3;
    sim_store_put(state->store, ROW_PROMISE, &second);
    assert_caught(state, &promise);
    second.node = 2; /* another node, and still the pool's second promise */
    sim_store_put(state->store, ROW_PROMISE, &second);
    assert_caught(state, &promise);
}

static void a_part_of_a_gang_is_caught(void **context)
{
    struct state *state = *context;
    struct promise_row promise = promise_make();
    state->waiting.size = state->waiting.size_min = state->waiting.size_max =
        state->waiting.size_now = 2;
    assert_caught(state, &promise);
    promise.ranks = 2;
    promise.devices = 12;
    assert_kept(state, &promise);
}

static void a_promise_to_who_does_not_wait_is_caught(void **context)
{
    struct state *state = *context;
    struct promise_row promise = promise_make();
    promise.job = 1;
    promise.ranks = 2;
    assert_caught(state, &promise);
}

/* ---- over time --------------------------------------------------------------------------- */

/* The promise moves to `begin_ms` in a tick with one decision. */
static int moved(struct state *state, int64_t begin_ms, bool open,
    const struct core_decision *decision, struct error *err)
{
    struct promise_row before = promise_make(), after = promise_make();
    struct sim_txn txn;
    state_put(state);
    sim_store_put(state->store, ROW_PROMISE, &before);
    sim_txn_init(&txn);
    txn.decisions.items = mem_alloc(1, sizeof *decision);
    txn.decisions.items[0] = *decision;
    txn.decisions.count = txn.decisions.capacity = 1;
    after.begin_ms = begin_ms;
    after.open = open;
    int result = invariants_promise_change(state->store, &txn, &after, err);
    sim_txn_finish(&txn);
    return result;
}

static void a_promise_that_gets_later_needs_a_reason(void **context)
{
    const struct core_decision reasons[] = {
        {.kind = DECISION_ADMIT, .job = 1}, /* of a higher priority, see below */
        {.kind = DECISION_NODE_LOST},
        {.kind = DECISION_NODE_RESERVE},
        {.kind = DECISION_POOL_PUT},
        {.kind = DECISION_CLAIM, .job = 2},
    };
    const struct core_decision none[] = {
        {.kind = DECISION_START, .job = 1},
        {.kind = DECISION_STOP, .job = 1},
        {.kind = DECISION_END, .job = 1},
        {.kind = DECISION_JOB_SUBMIT, .job = 1},
        {.kind = DECISION_PROMISE, .job = 2},
    };
    struct state *state = *context;
    struct error err = {0};
    state->job.priority = state->waiting.priority + 1;
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        assert_int_equal(moved(state, MOMENT + 1, false, &reasons[i], &err), 0);
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_broken(moved(state, MOMENT + 1, false, &none[i], &err), &err, 10);
        assert_broken(moved(state, MOMENT - 1, true, &none[i], &err), &err, 10);
        assert_int_equal(moved(state, MOMENT, false, &none[i], &err), 0);
        assert_int_equal(moved(state, MOMENT - 1, false, &none[i], &err), 0);
    }
    state->job.priority = state->waiting.priority; /* who has to respect it got a place */
    assert_broken(moved(state, MOMENT + 1, false, &reasons[0], &err), &err, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STATE_TEST(a_promise_of_what_is_free_passes),
        STATE_TEST(a_device_that_is_held_at_its_moment_is_caught),
        STATE_TEST(cpu_that_is_held_at_its_moment_is_caught),
        STATE_TEST(an_open_promise_waits_for_what_was_there_and_no_more),
        STATE_TEST(a_place_that_is_promised_twice_is_caught),
        STATE_TEST(a_part_of_a_gang_is_caught),
        STATE_TEST(a_promise_to_who_does_not_wait_is_caught),
        STATE_TEST(a_promise_that_gets_later_needs_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
