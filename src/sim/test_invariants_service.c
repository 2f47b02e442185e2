/* The invariant checker can fail: services, replicas and their changes that are wrong in one way
 * each. The right state has a service of two replicas: job 1, ready, and job 2, which waits. */
#include "sim/test_state.h"

struct serving {
    struct state *state;
    struct service_row service;
    struct replica_row first, second;
    struct sim_txn txn;
};

static void serving_put(struct serving *serving)
{
    state_put(serving->state);
    sim_store_put(serving->state->store, ROW_SERVICE, &serving->service);
    sim_store_put(serving->state->store, ROW_REPLICA, &serving->first);
    sim_store_put(serving->state->store, ROW_REPLICA, &serving->second);
}

static struct serving serving_make(void **context)
{
    struct serving serving = {.state = *context};
    serving.state->job.service = serving.state->waiting.service = 1;
    serving.state->job.backoff_ms = 1000;
    serving.state->job.backoff_max_ms = 8000;
    serving.service = (struct service_row){.id = 1,
        .team = 1,
        .name = SYM_TRAIN,
        .revision = 2,
        .replicas = 2,
        .unavailable = 1,
        .number = 5};
    serving.first = (struct replica_row){
        .id = 1, .service = 1, .job = 1, .revision = 1, .number = 4, .attempt = 1, .ready = 1};
    serving.second =
        (struct replica_row){.id = 2, .service = 1, .job = 2, .revision = 2, .number = 5};
    sim_txn_init(&serving.txn);
    serving_put(&serving);
    return serving;
}

static void assert_state(struct serving *serving, int invariant)
{
    struct error err = {0};
    serving_put(serving);
    int result = invariants_state(serving->state->store, &err);
    if (invariant)
        assert_broken(result, &err, invariant);
    else
        assert_int_equal(result, 0);
    sim_txn_finish(&serving->txn);
}

static void assert_change(struct serving *serving, int invariant)
{
    struct error err = {0};
    struct invariants *inv = invariants_create();
    int result = invariants_change(inv, serving->state->store, &serving->txn, NOW, &err);
    invariants_destroy(inv);
    if (invariant)
        assert_broken(result, &err, invariant);
    else if (result < 0)
        fail_msg("%s", err.text);
    sim_txn_finish(&serving->txn);
}

static void decide(struct serving *serving, struct core_decision decision)
{
    struct decision_list *list = &serving->txn.decisions;
    list->items = mem_resize(list->items, list->count + 1, sizeof *list->items);
    list->items[list->count++] = decision;
    list->capacity = list->count;
}

static void put(struct serving *serving, enum row_kind kind, const void *row)
{
    sim_txn_add(&serving->txn, CHANGE_PUT, kind, row);
}

/* ---- states -------------------------------------------------------------------------------- */

static void a_right_service_passes(void **context)
{
    struct serving serving = serving_make(context);
    assert_state(&serving, 0);
}

static void too_many_replicas_are_caught(void **context)
{
    struct serving serving = serving_make(context);
    serving.service.replicas = 1;
    assert_state(&serving, 9);
}

static void replicas_of_a_deleted_service_are_caught(void **context)
{
    struct serving serving = serving_make(context);
    serving.service.deleted = 1;
    assert_state(&serving, 9);
}

static void a_ready_replica_that_does_not_run_is_caught(void **context)
{
    struct serving serving = serving_make(context);
    serving.second.ready = 1;
    assert_state(&serving, 9);
}

static void readiness_of_an_earlier_attempt_is_caught(void **context)
{
    struct serving serving = serving_make(context);
    serving.first.attempt = 7;
    assert_state(&serving, 9);
}

static void a_number_twice_is_caught(void **context)
{
    struct serving serving = serving_make(context);
    serving.second.number = 4;
    assert_state(&serving, 9);
}

static void a_replica_without_its_job_is_caught(void **context)
{
    struct serving serving = serving_make(context);
    serving.second.job = 77;
    assert_state(&serving, 7);
}

/* ---- changes ------------------------------------------------------------------------------- */

/* A third replica with that number. */
static void add_replica(struct serving *serving, int32_t number)
{
    struct job_row job = serving->state->waiting;
    job.id = 3;
    put(serving, ROW_JOB, &job);
    decide(serving, (struct core_decision){.kind = DECISION_JOB_SUBMIT, .job = 3});
    struct replica_row replica = serving->second;
    replica.id = 3;
    replica.job = 3;
    replica.number = number;
    put(serving, ROW_REPLICA, &replica);
}

static void a_new_number_passes_and_an_old_one_is_caught(void **context)
{
    for (int32_t number = 1; number <= 6; number++) {
        struct serving serving = serving_make(context);
        add_replica(&serving, number);
        assert_change(&serving, number > 5 ? 0 : 9);
    }
}

static void a_service_that_nobody_changed_is_caught(void **context)
{
    struct serving serving = serving_make(context);
    serving.service.replicas = 3;
    put(&serving, ROW_SERVICE, &serving.service);
    assert_change(&serving, 8);
}

static void readiness_without_a_decision_is_caught(void **context)
{
    struct serving serving = serving_make(context);
    serving.first.ready = 0;
    put(&serving, ROW_REPLICA, &serving.first);
    assert_change(&serving, 8);
}

/* Job 1, the only one that is ready, is stopped by its service. */
static void replace_first(struct serving *serving, bool said_by_check)
{
    serving->first.ready = 0;
    put(serving, ROW_REPLICA, &serving->first);
    serving->state->job.cancel = 1;
    serving->state->job.state = JOB_STOPPING;
    put(serving, ROW_JOB, &serving->state->job);
    serving->state->attempt.stop_reason = END_REPLACED;
    put(serving, ROW_ATTEMPT, &serving->state->attempt);
    decide(serving, (struct core_decision){.kind = DECISION_REPLICA_UNREADY,
                        .job = 1,
                        .attempt = 1,
                        .service = 1,
                        .reason = said_by_check ? END_NONE : END_REPLACED});
    decide(serving, (struct core_decision){
                        .kind = DECISION_STOP, .job = 1, .attempt = 1, .reason = END_REPLACED});
}

static void stopping_the_last_ready_one_is_caught(void **context)
{
    struct serving serving = serving_make(context);
    replace_first(&serving, false);
    assert_change(&serving, 9); /* 2 are wanted, 1 may be missing, 0 are ready */
}

static void stopping_one_that_checks_found_unready_passes(void **context)
{
    struct serving serving = serving_make(context);
    replace_first(&serving, true);
    assert_change(&serving, 0);
}

/* Attempt 1 ends by itself after two failures, and its job waits for so long. */
static void end_first(struct serving *serving, int32_t failures, int64_t wait_ms)
{
    struct state *state = serving->state;
    state->shape.accelerator_milli = state->shape.cpu_milli = 0; /* nothing to charge */
    state->shape.memory_bytes = 0;
    serving->first.ready = 0;
    state->job.failures = 2;
    serving_put(serving);
    state->job.failures = failures;
    state->job.state = JOB_WAITING;
    state->job.attempt = 0;
    state->job.not_before_ms = NOW + wait_ms;
    put(serving, ROW_JOB, &state->job);
    state->attempt.state = ATTEMPT_ENDED;
    state->attempt.end_reason = END_EXIT;
    state->attempt.ended_ms = NOW;
    sim_txn_add(&serving->txn, CHANGE_RETIRE, ROW_ATTEMPT, &state->attempt);
    decide(serving, (struct core_decision){.kind = DECISION_END, .job = 1, .attempt = 1});
    decide(serving, (struct core_decision){.kind = DECISION_REQUEUE, .job = 1});
}

static void a_restart_with_its_pause_passes(void **context)
{
    struct serving serving = serving_make(context);
    end_first(&serving, 3, 4000);
    assert_change(&serving, 0);
}

static void a_restart_too_soon_is_caught(void **context)
{
    struct serving serving = serving_make(context);
    end_first(&serving, 3, 2000);
    assert_change(&serving, 9);
}

static void forgotten_failures_are_caught(void **context)
{
    struct serving serving = serving_make(context);
    end_first(&serving, 1, 1000);
    assert_change(&serving, 9);
}

static void a_scale_that_is_answered_and_not_stored_is_caught(void **context)
{
    for (int32_t replicas = 1; replicas <= 2; replicas++) {
        struct serving serving = serving_make(context);
        struct error err = {0};
        struct sim_input input = {.kind = INPUT_SERVICE_SCALE, .id = 1, .replicas = replicas};
        struct sim_answer answer = {0};
        struct invariants *inv = invariants_create();
        int result = invariants_answered(inv, serving.state->store, &input, &answer, &err);
        if (replicas == serving.service.replicas)
            assert_int_equal(result, 0);
        else
            assert_broken(result, &err, 7);
        invariants_destroy(inv);
        sim_txn_finish(&serving.txn);
    }
}

/* ---- the end ------------------------------------------------------------------------------- */

static void a_service_at_rest_that_lacks_replicas_is_caught(void **context)
{
    struct serving serving = serving_make(context);
    struct error err = {0};
    struct invariants *inv = invariants_create();
    /* Job 2 waits for room: nothing can be said. */
    assert_int_equal(invariants_services_settled(inv, serving.state->store, &err), 0);
    assert_int_equal(invariants_count(inv)->services_settled, 0);
    serving.state->waiting.state = JOB_RUNNING; /* and never got ready */
    serving_put(&serving);
    assert_broken(invariants_services_settled(inv, serving.state->store, &err), &err, 9);
    assert_broken(invariants_final(inv, serving.state->store, &err), &err, 1);
    invariants_destroy(inv);
    sim_txn_finish(&serving.txn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STATE_TEST(a_right_service_passes),
        STATE_TEST(too_many_replicas_are_caught),
        STATE_TEST(replicas_of_a_deleted_service_are_caught),
        STATE_TEST(a_ready_replica_that_does_not_run_is_caught),
        STATE_TEST(readiness_of_an_earlier_attempt_is_caught),
        STATE_TEST(a_number_twice_is_caught),
        STATE_TEST(a_replica_without_its_job_is_caught),
        STATE_TEST(a_new_number_passes_and_an_old_one_is_caught),
        STATE_TEST(a_service_that_nobody_changed_is_caught),
        STATE_TEST(readiness_without_a_decision_is_caught),
        STATE_TEST(stopping_the_last_ready_one_is_caught),
        STATE_TEST(stopping_one_that_checks_found_unready_passes),
        STATE_TEST(a_restart_with_its_pause_passes),
        STATE_TEST(a_restart_too_soon_is_caught),
        STATE_TEST(forgotten_failures_are_caught),
        STATE_TEST(a_scale_that_is_answered_and_not_stored_is_caught),
        STATE_TEST(a_service_at_rest_that_lacks_replicas_is_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
