/* The invariant checker can fail: states that are wrong in one way each, and each one is caught by
 * the invariant it breaks. */
#include "sim/test_state.h"

static void assert_state_broken(struct state *state, int invariant)
{
    struct error err = {0};
    state_put(state);
    assert_broken(invariants_state(state->store, &err), &err, invariant);
}

/* The tick took one decision. */
static int decided(struct state *state, const struct core_decision *decision, struct error *err)
{
    struct sim_txn txn;
    sim_txn_init(&txn);
    txn.decisions.items = mem_alloc(1, sizeof *decision);
    txn.decisions.items[0] = *decision;
    txn.decisions.count = txn.decisions.capacity = 1;
    int result = invariants_admission(state->store, &txn, NOW, err);
    sim_txn_finish(&txn);
    return result;
}

/* The tick admitted attempt 1. */
static int admission(struct state *state, struct error *err)
{
    struct core_decision admit = {.kind = DECISION_ADMIT, .job = 1, .attempt = 1};
    return decided(state, &admit, err);
}

/* The tick preempts attempt 1 for job 2, which claims node 2; nothing is lost, it just started. */
static int preemption(struct state *state, struct error *err)
{
    struct core_decision stop = {
        .kind = DECISION_STOP, .reason = END_PREEMPTED, .job = 1, .attempt = 1, .for_job = 2};
    struct claim_row claim = {
        .id = 1, .job = 2, .node = 2, .devices = 1, .device_milli = 1000, .ranks = 1};
    sim_store_put(state->store, ROW_CLAIM, &claim);
    state->attempt.stop_reason = END_PREEMPTED;
    state->job.state = JOB_STOPPING;
    state_put(state);
    return decided(state, &stop, err);
}

static void assert_preemption_broken(struct state *state, int invariant)
{
    struct error err = {0};
    assert_broken(preemption(state, &err), &err, invariant);
}

static void assert_admission_broken(struct state *state, int invariant)
{
    struct error err = {0};
    state_put(state);
    assert_broken(admission(state, &err), &err, invariant);
}

/* ---- the state itself ------------------------------------------------------------------ */

static void a_right_state_passes(void **context)
{
    struct state *state = *context;
    struct error err = {0};
    assert_int_equal(invariants_state(state->store, &err), 0);
    assert_int_equal(admission(state, &err), 0);
    assert_int_equal(invariants_time(state->store, NOW, &err), 0);
}

static void a_rank_without_a_place_is_caught(void **context)
{
    struct state *state = *context;
    state->placement.ranks = 1;
    state->placement.devices = 1;
    assert_state_broken(state, 3);
}

static void a_rank_with_two_places_is_caught(void **context)
{
    struct state *state = *context;
    struct placement_row second = {.id = 2,
        .attempt = 1,
        .node = 2,
        .devices = 1,
        .device_milli = 1000,
        .first_rank = 0,
        .ranks = 1};
    sim_store_put(state->store, ROW_PLACEMENT, &second);
    assert_state_broken(state, 3);
}

static void a_gang_below_its_least_size_is_caught(void **context)
{
    struct state *state = *context;
    state->attempt.size = 1;
    state->placement.ranks = 1;
    state->placement.devices = 1;
    assert_state_broken(state, 3);
}

static void a_waiting_job_that_holds_an_attempt_is_caught(void **context)
{
    struct state *state = *context;
    state->job.state = JOB_QUEUED;
    assert_state_broken(state, 2);
}

static void two_live_attempts_of_a_job_are_caught(void **context)
{
    struct state *state = *context;
    struct attempt_row second = state->attempt;
    second.id = 2;
    sim_store_put(state->store, ROW_ATTEMPT, &second);
    assert_state_broken(state, 2);
}

static void a_device_given_out_twice_is_caught(void **context)
{
    struct state *state = *context;
    struct attempt_row attempt = state->attempt;
    struct placement_row placement = {
        .id = 2, .attempt = 2, .node = 1, .devices = 2, .device_milli = 1000, .ranks = 1};
    state->waiting.state = JOB_RUNNING;
    state->waiting.attempt = 2;
    state->waiting.attempts = 1;
    attempt.id = attempt.job = 2;
    attempt.size = 1;
    sim_store_put(state->store, ROW_ATTEMPT, &attempt);
    sim_store_put(state->store, ROW_PLACEMENT, &placement);
    assert_state_broken(state, 5);
}

static void a_device_that_a_node_has_not_is_caught(void **context)
{
    struct state *state = *context;
    state->placement.devices = 1 | 1 << 4;
    assert_state_broken(state, 5);
}

static void fewer_devices_than_asked_for_are_caught(void **context)
{
    struct state *state = *context;
    state->placement.devices = 1;
    assert_state_broken(state, 5);
}

static void a_share_of_an_undivided_device_is_caught(void **context)
{
    struct state *state = *context;
    state->shape.accelerator_milli = 500;
    state->placement.device_milli = 500;
    state->placement.devices = 1;
    state->placement.ranks = 1;
    state->attempt.size = state->job.size = state->job.size_min = state->job.size_max = 1;
    assert_admission_broken(state, 5);
}

static void a_share_of_another_size_is_caught(void **context)
{
    struct state *state = *context;
    state->shape.accelerator_milli = 500;
    state->placement.device_milli = 400;
    state->placement.devices = 1;
    state->placement.ranks = 1;
    state->attempt.size = state->job.size = state->job.size_min = state->job.size_max = 1;
    assert_state_broken(state, 5);
}

static void a_node_beyond_its_cpus_is_caught(void **context)
{
    struct state *state = *context;
    state->node.cpu_milli = 3000;
    assert_state_broken(state, 5);
}

static void a_lost_node_that_holds_something_is_caught(void **context)
{
    struct state *state = *context;
    state->node.state = NODE_LOST;
    assert_state_broken(state, 5);
}

static void a_job_preempted_too_often_is_caught(void **context)
{
    struct state *state = *context;
    state->job.preemptions = 2;
    state->job.preemptions_max = 1;
    assert_state_broken(state, 6);
}

static void two_jobs_of_one_name_are_caught(void **context)
{
    struct state *state = *context;
    state->waiting.name = state->job.name;
    assert_state_broken(state, 1);
}

static void a_row_that_refers_to_nothing_is_caught(void **context)
{
    struct state *state = *context;
    state->waiting.shape = 9;
    assert_state_broken(state, 7);
}

static void two_claims_of_one_device_are_caught(void **context)
{
    struct state *state = *context;
    struct claim_row claim = {
        .id = 1, .job = 2, .node = 2, .devices = 1, .device_milli = 1000, .ranks = 1};
    sim_store_put(state->store, ROW_CLAIM, &claim);
    claim.id = 2;
    sim_store_put(state->store, ROW_CLAIM, &claim);
    assert_state_broken(state, 6);
}

/* ---- admissions ------------------------------------------------------------------------ */

static void a_place_on_a_cordoned_node_is_caught(void **context)
{
    struct state *state = *context;
    state->node.cordoned = 1;
    assert_admission_broken(state, 5);
}

static void a_place_of_another_type_is_caught(void **context)
{
    struct state *state = *context;
    state->shape.node_type = SYM_ZONE;
    assert_admission_broken(state, 5);
}

static void a_place_in_another_jurisdiction_is_caught(void **context)
{
    struct state *state = *context;
    state->shape.jurisdiction = SYM_ZONE;
    assert_admission_broken(state, 5);
}

static void a_missing_label_is_caught(void **context)
{
    struct state *state = *context;
    struct rule_row rule = {
        .id = 1, .shape = 1, .rule = LABEL_IN, .key = SYM_ZONE, .value = SYM_Z1};
    sim_store_put(state->store, ROW_RULE, &rule);
    assert_admission_broken(state, 5);
}

static void a_taint_that_is_not_tolerated_is_caught(void **context)
{
    struct state *state = *context;
    struct node_label_row taint = {
        .id = 1, .node = 1, .effect = TAINT_NO_SCHEDULE, .key = SYM_ZONE, .value = SYM_Z1};
    sim_store_put(state->store, ROW_NODE_LABEL, &taint);
    assert_admission_broken(state, 5);
}

static void a_place_without_what_it_should_be_near_is_caught(void **context)
{
    struct state *state = *context;
    struct rule_row rule = {.id = 1, .shape = 1, .rule = 17, .key = SYM_KIND, .value = SYM_TRAIN};
    sim_store_put(state->store, ROW_RULE, &rule);
    assert_admission_broken(state, 5);
}

static void a_place_in_the_way_of_maintenance_is_caught(void **context)
{
    struct state *state = *context;
    struct reservation_row reservation = {
        .id = 1, .node = 1, .begin_ms = NOW + 1000, .end_ms = NOW + 2000};
    sim_store_put(state->store, ROW_RESERVATION, &reservation);
    assert_admission_broken(state, 5);
}

static void a_team_beyond_its_limit_is_caught(void **context)
{
    struct state *state = *context;
    state->quota.limit = 3000;
    assert_admission_broken(state, 4);
}

static void a_team_that_borrows_without_leave_is_caught(void **context)
{
    struct state *state = *context;
    state->team.borrow = 0;
    state->quota.guarantee = 2000;
    assert_admission_broken(state, 4);
}

static void a_place_before_a_dependency_ended_is_caught(void **context)
{
    struct state *state = *context;
    struct dependency_row dependency = {.id = 1, .job = 1, .on_job = 2};
    sim_store_put(state->store, ROW_DEPENDENCY, &dependency);
    assert_admission_broken(state, 1);
}

static void a_place_before_its_moment_is_caught(void **context)
{
    struct state *state = *context;
    state->job.not_before_ms = NOW + 1;
    assert_admission_broken(state, 1);
}

static void a_right_preemption_passes(void **context)
{
    struct error err = {0};
    assert_int_equal(preemption(*context, &err), 0);
}

static void a_preemption_of_the_untouchable_is_caught(void **context)
{
    struct state *state = *context;
    state->job.preemptible = 0;
    assert_preemption_broken(state, 6);
}

static void a_preemption_before_the_least_run_time_is_caught(void **context)
{
    struct state *state = *context;
    state->job.min_runtime_ms = 1;
    assert_preemption_broken(state, 6);
}

static void a_preemption_once_too_often_is_caught(void **context)
{
    struct state *state = *context;
    state->job.preemptions = state->job.preemptions_max = 1;
    assert_preemption_broken(state, 6);
}

static void a_preemption_that_hides_its_loss_is_caught(void **context)
{
    struct state *state = *context;
    state->attempt.started_ms = NOW - 1000;
    assert_preemption_broken(state, 6);
}

static void a_preemption_for_nobody_is_caught(void **context)
{
    struct state *state = *context;
    struct core_decision stop = {
        .kind = DECISION_STOP, .reason = END_PREEMPTED, .job = 1, .attempt = 1, .for_job = 2};
    struct error err = {0};
    state->attempt.stop_reason = END_PREEMPTED;
    state->job.state = JOB_STOPPING;
    state_put(state);
    assert_broken(decided(state, &stop, &err), &err, 6);
}

static void an_attempt_beyond_its_time_limit_is_caught(void **context)
{
    struct state *state = *context;
    struct error err = {0};
    state->job.time_limit_ms = 1000;
    state_put(state);
    assert_broken(invariants_time(state->store, NOW + 1000, &err), &err, 1);
}

static void an_attempt_that_runs_into_maintenance_is_caught(void **context)
{
    struct state *state = *context;
    struct error err = {0};
    struct reservation_row reservation = {
        .id = 1, .node = 1, .begin_ms = NOW, .end_ms = NOW + 1000};
    sim_store_put(state->store, ROW_RESERVATION, &reservation);
    assert_broken(invariants_time(state->store, NOW, &err), &err, 5);
}

/* ---- many pools ------------------------------------------------------------------------ */

/* A second pool with a node, 3. */
static void second_pool(struct state *state)
{
    struct pool_row pool = {.id = 2, .name = SYM_ZONE};
    struct node_row node = state->node;
    node.id = 3;
    node.pool = 2;
    sim_store_put(state->store, ROW_POOL, &pool);
    sim_store_put(state->store, ROW_NODE, &node);
}

static void a_job_in_two_pools_at_once_is_caught(void **context)
{
    struct state *state = *context;
    struct placement_row there = state->placement;
    second_pool(state);
    there.id = 2;
    there.node = 3;
    sim_store_put(state->store, ROW_PLACEMENT, &there);
    assert_admission_broken(state, 2);
}

static void places_kept_in_two_pools_are_caught(void **context)
{
    struct state *state = *context;
    struct claim_row claim = {
        .id = 1, .job = 2, .node = 2, .devices = 1, .device_milli = 1000, .ranks = 1};
    second_pool(state);
    sim_store_put(state->store, ROW_CLAIM, &claim);
    claim.id = 2;
    claim.node = 3;
    sim_store_put(state->store, ROW_CLAIM, &claim);
    assert_admission_broken(state, 6);
}

/* The attempt that is preempted is in pool 1, and what is kept for the other job in pool 2. */
static void a_preemption_in_another_pool_is_caught(void **context)
{
    struct state *state = *context;
    struct core_decision stop = {
        .kind = DECISION_STOP, .reason = END_PREEMPTED, .job = 1, .attempt = 1, .for_job = 2};
    struct claim_row claim = {
        .id = 1, .job = 2, .node = 3, .devices = 1, .device_milli = 1000, .ranks = 1};
    struct error err = {0};
    second_pool(state);
    sim_store_put(state->store, ROW_CLAIM, &claim);
    state->attempt.stop_reason = END_PREEMPTED;
    state->job.state = JOB_STOPPING;
    state_put(state);
    assert_broken(decided(state, &stop, &err), &err, 6);
}

static void a_job_that_starves_is_caught(void **context)
{
    struct state *state = *context;
    struct error err = {0};
    struct sim_txn txn;
    sim_txn_init(&txn);
    txn.tick = sim_store_next_tick(state->store);
    sim_txn_add(&txn, CHANGE_RETIRE, ROW_ATTEMPT, &state->attempt);
    sim_txn_add(&txn, CHANGE_RETIRE, ROW_JOB, &state->job);
    sim_txn_add(&txn, CHANGE_DELETE, ROW_PLACEMENT, &state->placement);
    assert_int_equal(sim_store_commit(state->store, &txn, COMMIT_DONE, &err), 0);
    sim_txn_finish(&txn);
    assert_broken(invariants_idle(state->store, NOW, &err), &err, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STATE_TEST(a_right_state_passes),
        STATE_TEST(a_rank_without_a_place_is_caught),
        STATE_TEST(a_rank_with_two_places_is_caught),
        STATE_TEST(a_gang_below_its_least_size_is_caught),
        STATE_TEST(a_waiting_job_that_holds_an_attempt_is_caught),
        STATE_TEST(two_live_attempts_of_a_job_are_caught),
        STATE_TEST(a_device_given_out_twice_is_caught),
        STATE_TEST(a_device_that_a_node_has_not_is_caught),
        STATE_TEST(fewer_devices_than_asked_for_are_caught),
        STATE_TEST(a_share_of_an_undivided_device_is_caught),
        STATE_TEST(a_share_of_another_size_is_caught),
        STATE_TEST(a_node_beyond_its_cpus_is_caught),
        STATE_TEST(a_lost_node_that_holds_something_is_caught),
        STATE_TEST(a_job_preempted_too_often_is_caught),
        STATE_TEST(two_jobs_of_one_name_are_caught),
        STATE_TEST(a_row_that_refers_to_nothing_is_caught),
        STATE_TEST(two_claims_of_one_device_are_caught),
        STATE_TEST(a_place_on_a_cordoned_node_is_caught),
        STATE_TEST(a_place_of_another_type_is_caught),
        STATE_TEST(a_place_in_another_jurisdiction_is_caught),
        STATE_TEST(a_missing_label_is_caught),
        STATE_TEST(a_taint_that_is_not_tolerated_is_caught),
        STATE_TEST(a_place_without_what_it_should_be_near_is_caught),
        STATE_TEST(a_place_in_the_way_of_maintenance_is_caught),
        STATE_TEST(a_team_beyond_its_limit_is_caught),
        STATE_TEST(a_team_that_borrows_without_leave_is_caught),
        STATE_TEST(a_place_before_a_dependency_ended_is_caught),
        STATE_TEST(a_place_before_its_moment_is_caught),
        STATE_TEST(a_right_preemption_passes),
        STATE_TEST(a_preemption_of_the_untouchable_is_caught),
        STATE_TEST(a_preemption_before_the_least_run_time_is_caught),
        STATE_TEST(a_preemption_once_too_often_is_caught),
        STATE_TEST(a_preemption_that_hides_its_loss_is_caught),
        STATE_TEST(a_preemption_for_nobody_is_caught),
        STATE_TEST(an_attempt_beyond_its_time_limit_is_caught),
        STATE_TEST(an_attempt_that_runs_into_maintenance_is_caught),
        STATE_TEST(a_job_in_two_pools_at_once_is_caught),
        STATE_TEST(places_kept_in_two_pools_are_caught),
        STATE_TEST(a_preemption_in_another_pool_is_caught),
        STATE_TEST(a_job_that_starves_is_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
