/* The invariant checker can fail: states and transactions that are wrong in one way each, and
 * each one is caught by the invariant it breaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sim/invariants.h"

#include <stdio.h>
#include <string.h>

#define GIB ((int64_t)1 << 30)
#define NOW INT64_C(1700000000000)

enum {
    SYM_POOL = 1,
    SYM_NODE,
    SYM_TYPE,
    SYM_A100,
    SYM_TEAM,
    SYM_JOB,
    SYM_OTHER_JOB,
    SYM_ZONE,
    SYM_Z1,
    SYM_CPU,
    SYM_KIND,
    SYM_TRAIN,
    SYM_COUNT
};

/* One pool with two nodes, one team, two jobs of one shape: the first runs two ranks on node 1,
 * the second waits. Tests change one row of it and put it back. */
struct state {
    struct sim_store *store;
    struct pool_row pool;
    struct node_row node;
    struct team_row team;
    struct quota_row quota;
    struct shape_row shape;
    struct job_row job, waiting;
    struct attempt_row attempt;
    struct placement_row placement;
};

static void put_symbols(struct sim_store *store)
{
    static const char *const texts[SYM_COUNT] = {"", "pool", "node", "small", "a100", "team", "job",
        "other", "zone", "z1", "cpu", "kind", "train"};
    for (uint64_t id = 1; id < SYM_COUNT; id++) {
        struct symbol_row row = {.id = id};
        snprintf(row.text, sizeof row.text, "%s", texts[id]);
        sim_store_put(store, ROW_SYMBOL, &row);
    }
}

static void put_all(struct state *state)
{
    sim_store_put(state->store, ROW_POOL, &state->pool);
    sim_store_put(state->store, ROW_NODE, &state->node);
    struct node_row other = state->node;
    other.id = 2;
    sim_store_put(state->store, ROW_NODE, &other);
    sim_store_put(state->store, ROW_TEAM, &state->team);
    sim_store_put(state->store, ROW_QUOTA, &state->quota);
    sim_store_put(state->store, ROW_SHAPE, &state->shape);
    sim_store_put(state->store, ROW_JOB, &state->job);
    sim_store_put(state->store, ROW_JOB, &state->waiting);
    sim_store_put(state->store, ROW_ATTEMPT, &state->attempt);
    sim_store_put(state->store, ROW_PLACEMENT, &state->placement);
}

static int state_setup(void **context)
{
    struct state *state = test_calloc(1, sizeof *state);
    state->store = sim_store_create();
    state->pool = (struct pool_row){.id = 1, .name = SYM_POOL};
    state->node = (struct node_row){.id = 1,
        .pool = 1,
        .name = SYM_NODE,
        .type = SYM_TYPE,
        .accelerator = SYM_A100,
        .devices = 4,
        .cpu_milli = 8000,
        .memory_bytes = 16 * GIB,
        .disk_bytes = 16 * GIB};
    state->team = (struct team_row){.id = 1, .name = SYM_TEAM, .borrow = 1, .jobs_max = 100};
    state->quota = (struct quota_row){.id = 1, .team = 1, .resource = SYM_CPU, .limit = 6000};
    state->shape = (struct shape_row){.id = 1,
        .cpu_milli = 2000,
        .memory_bytes = GIB,
        .accelerator = SYM_A100,
        .accelerator_milli = 1000};
    state->job = (struct job_row){.id = 1,
        .team = 1,
        .shape = 1,
        .attempt = 1,
        .name = SYM_JOB,
        .state = JOB_RUNNING,
        .size = 2,
        .size_min = 2,
        .size_max = 2,
        .size_now = 2,
        .attempts = 1,
        .preemptions_max = -1,
        .preemptible = 1,
        .submitted_ms = NOW};
    state->waiting = (struct job_row){.id = 2,
        .team = 1,
        .shape = 1,
        .name = SYM_OTHER_JOB,
        .state = JOB_QUEUED,
        .size = 1,
        .size_min = 1,
        .size_max = 1,
        .size_now = 1,
        .preemptions_max = -1,
        .submitted_ms = NOW};
    state->attempt = (struct attempt_row){.id = 1,
        .job = 1,
        .number = 1,
        .state = ATTEMPT_STARTED,
        .size = 2,
        .admitted_ms = NOW,
        .started_ms = NOW};
    state->placement = (struct placement_row){
        .id = 1, .attempt = 1, .node = 1, .devices = 3, .device_milli = 1000, .ranks = 2};
    put_symbols(state->store);
    put_all(state);
    *context = state;
    return 0;
}

static int state_teardown(void **context)
{
    struct state *state = *context;
    sim_store_destroy(state->store);
    test_free(state);
    return 0;
}

static void assert_broken(int result, const struct error *err, int invariant)
{
    char begin[32];
    snprintf(begin, sizeof begin, "invariant %d:", invariant);
    assert_int_equal(result, -1);
    if (!strstr(err->text, begin))
        fail_msg("expected \"%s\", got \"%s\"", begin, err->text);
}

static void assert_state_broken(struct state *state, int invariant)
{
    struct error err = {0};
    put_all(state);
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
    put_all(state);
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
    put_all(state);
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
    put_all(state);
    assert_broken(decided(state, &stop, &err), &err, 6);
}

static void an_attempt_beyond_its_time_limit_is_caught(void **context)
{
    struct state *state = *context;
    struct error err = {0};
    state->job.time_limit_ms = 1000;
    put_all(state);
    assert_broken(invariants_time(state->store, NOW + 1000, &err), &err, 1);
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

/* ---- transactions ---------------------------------------------------------------------- */

struct transaction {
    struct sim_txn txn;
    struct invariants *inv;
};

static void transaction_begin(struct transaction *transaction)
{
    sim_txn_init(&transaction->txn);
    transaction->inv = invariants_create();
}

static void decide(struct transaction *transaction, enum decision_kind kind, uint64_t id)
{
    struct decision_list *list = &transaction->txn.decisions;
    list->items = mem_resize(list->items, list->count + 1, sizeof *list->items);
    list->items[list->count++] = (struct core_decision){.kind = kind, .job = id, .attempt = id};
    list->capacity = list->count;
}

static int transaction_end(
    struct transaction *transaction, const struct state *state, struct error *err)
{
    int result = invariants_change(transaction->inv, state->store, &transaction->txn, NOW, err);
    invariants_destroy(transaction->inv);
    sim_txn_finish(&transaction->txn);
    return result;
}

/* Job 1 and its attempt end well at NOW. */
static void end_job(struct transaction *transaction, struct state *state)
{
    state->attempt.state = ATTEMPT_ENDED;
    state->attempt.end_reason = END_SUCCEEDED;
    state->attempt.ended_ms = NOW;
    state->job.state = JOB_SUCCEEDED;
    state->job.end_reason = END_SUCCEEDED;
    state->job.ended_ms = NOW;
    state->job.attempt = 0;
    sim_txn_add(&transaction->txn, CHANGE_RETIRE, ROW_JOB, &state->job);
    sim_txn_add(&transaction->txn, CHANGE_RETIRE, ROW_ATTEMPT, &state->attempt);
    decide(transaction, DECISION_END, 1);
}

static void a_right_end_passes(void **context)
{
    struct state *state = *context;
    struct transaction transaction;
    struct error err = {0};
    transaction_begin(&transaction);
    end_job(&transaction, state);
    decide(&transaction, DECISION_JOB_END, 1);
    assert_int_equal(transaction_end(&transaction, state, &err), 0);
}

static void a_change_without_its_decision_is_caught(void **context)
{
    struct state *state = *context;
    struct transaction transaction;
    struct error err = {0};
    transaction_begin(&transaction);
    end_job(&transaction, state);
    assert_broken(transaction_end(&transaction, state, &err), &err, 8);
}

static void a_decision_without_its_change_is_caught(void **context)
{
    struct state *state = *context;
    struct transaction transaction;
    struct error err = {0};
    transaction_begin(&transaction);
    decide(&transaction, DECISION_START, 1);
    assert_broken(transaction_end(&transaction, state, &err), &err, 8);
}

static void a_deleted_job_is_caught(void **context)
{
    struct state *state = *context;
    struct transaction transaction;
    struct error err = {0};
    transaction_begin(&transaction);
    sim_txn_add(&transaction.txn, CHANGE_DELETE, ROW_JOB, &state->waiting);
    assert_broken(transaction_end(&transaction, state, &err), &err, 1);
}

static void an_end_without_an_end_state_is_caught(void **context)
{
    struct state *state = *context;
    struct transaction transaction;
    struct error err = {0};
    transaction_begin(&transaction);
    decide(&transaction, DECISION_JOB_END, 2);
    sim_txn_add(&transaction.txn, CHANGE_RETIRE, ROW_JOB, &state->waiting);
    assert_broken(transaction_end(&transaction, state, &err), &err, 1);
}

static void an_attempt_number_used_twice_is_caught(void **context)
{
    struct state *state = *context;
    struct transaction transaction;
    struct error err = {0};
    struct attempt_row second = state->attempt;
    second.id = 2;
    transaction_begin(&transaction);
    decide(&transaction, DECISION_ADMIT, 2);
    sim_txn_add(&transaction.txn, CHANGE_PUT, ROW_ATTEMPT, &second);
    assert_broken(transaction_end(&transaction, state, &err), &err, 2);
}

static void an_id_used_again_is_caught(void **context)
{
    struct state *state = *context;
    struct transaction transaction;
    struct error err = {0};
    struct claim_row claim = {.id = 5, .job = 2, .node = 2};
    sim_store_put(state->store, ROW_CLAIM, &claim);
    claim.id = 4;
    transaction_begin(&transaction);
    decide(&transaction, DECISION_CLAIM, 2);
    sim_txn_add(&transaction.txn, CHANGE_PUT, ROW_CLAIM, &claim);
    assert_broken(transaction_end(&transaction, state, &err), &err, 1);
}

static void a_second_start_is_caught(void **context)
{
    struct state *state = *context;
    struct transaction transaction;
    struct error err = {0};
    state->attempt.started_ms++;
    transaction_begin(&transaction);
    sim_txn_add(&transaction.txn, CHANGE_PUT, ROW_ATTEMPT, &state->attempt);
    assert_broken(transaction_end(&transaction, state, &err), &err, 2);
}

static void a_retry_that_is_not_made_is_caught(void **context)
{
    struct state *state = *context;
    struct transaction transaction;
    struct error err = {0};
    transaction_begin(&transaction);
    state->job.retries_left = 1;
    state->job.state = JOB_FAILED;
    state->job.attempt = 0;
    state->job.ended_ms = NOW;
    state->job.end_reason = END_EXIT;
    sim_txn_add(&transaction.txn, CHANGE_RETIRE, ROW_JOB, &state->job);
    decide(&transaction, DECISION_JOB_END, 1);
    assert_broken(transaction_end(&transaction, state, &err), &err, 1);
}

static void a_preemption_that_costs_a_retry_is_caught(void **context)
{
    struct state *state = *context;
    struct transaction transaction;
    struct error err = {0};
    state->job.retries_left = 2;
    put_all(state);
    transaction_begin(&transaction);
    state->job.retries_left = 1;
    state->job.attempt = 0;
    state->job.state = JOB_QUEUED;
    state->attempt.state = ATTEMPT_ENDED;
    state->attempt.end_reason = END_PREEMPTED;
    state->attempt.ended_ms = NOW;
    sim_txn_add(&transaction.txn, CHANGE_PUT, ROW_JOB, &state->job);
    sim_txn_add(&transaction.txn, CHANGE_RETIRE, ROW_ATTEMPT, &state->attempt);
    decide(&transaction, DECISION_END, 1);
    decide(&transaction, DECISION_REQUEUE, 1);
    assert_broken(transaction_end(&transaction, state, &err), &err, 1);
}

static void time_that_is_not_charged_is_caught(void **context)
{
    struct state *state = *context;
    struct transaction transaction;
    struct error err = {0};
    state->attempt.admitted_ms = NOW - 1000;
    put_all(state);
    transaction_begin(&transaction);
    end_job(&transaction, state);
    decide(&transaction, DECISION_JOB_END, 1);
    assert_broken(transaction_end(&transaction, state, &err), &err, 8);
}

static void a_charge_at_a_wrong_price_is_caught(void **context)
{
    struct state *state = *context;
    struct transaction transaction;
    struct error err = {0};
    struct charge_row charge = {.id = 1,
        .attempt = 1,
        .job = 1,
        .pool = 1,
        .node = 1,
        .begin_ms = NOW - 3600,
        .end_ms = NOW,
        .cpu_milli = 4000,
        .hour_micro = 1000,
        .cost_nano = 1000};
    transaction_begin(&transaction);
    sim_txn_add(&transaction.txn, CHANGE_PUT, ROW_CHARGE, &charge);
    assert_broken(transaction_end(&transaction, state, &err), &err, 8);
}

static void a_charge_with_a_wrong_sum_is_caught(void **context)
{
    struct state *state = *context;
    struct transaction transaction;
    struct error err = {0};
    struct charge_row charge = {.id = 1,
        .attempt = 1,
        .job = 1,
        .pool = 1,
        .node = 1,
        .begin_ms = NOW - 3600,
        .end_ms = NOW,
        .cpu_milli = 4000,
        .hour_micro = 1000,
        .cost_nano = 1001};
    transaction_begin(&transaction);
    sim_txn_add(&transaction.txn, CHANGE_PUT, ROW_CHARGE, &charge);
    assert_broken(transaction_end(&transaction, state, &err), &err, 8);
}

/* ---- answers --------------------------------------------------------------------------- */

static void an_accepted_job_that_is_not_stored_is_caught(void **context)
{
    struct state *state = *context;
    struct invariants *inv = invariants_create();
    struct sim_input input = {.kind = INPUT_JOB_SUBMIT};
    struct sim_answer answer = {.id = 77};
    struct error err = {0};
    assert_broken(invariants_answered(inv, state->store, &input, &answer, &err), &err, 7);
    invariants_destroy(inv);
}

static void a_job_that_never_ends_is_caught(void **context)
{
    struct state *state = *context;
    struct invariants *inv = invariants_create();
    struct error err = {0};
    assert_broken(invariants_final(inv, state->store, &err), &err, 1);
    invariants_destroy(inv);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, state_setup, state_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_right_state_passes),
        TEST(a_rank_without_a_place_is_caught),
        TEST(a_rank_with_two_places_is_caught),
        TEST(a_gang_below_its_least_size_is_caught),
        TEST(a_waiting_job_that_holds_an_attempt_is_caught),
        TEST(two_live_attempts_of_a_job_are_caught),
        TEST(a_device_given_out_twice_is_caught),
        TEST(a_device_that_a_node_has_not_is_caught),
        TEST(fewer_devices_than_asked_for_are_caught),
        TEST(a_share_of_an_undivided_device_is_caught),
        TEST(a_share_of_another_size_is_caught),
        TEST(a_node_beyond_its_cpus_is_caught),
        TEST(a_lost_node_that_holds_something_is_caught),
        TEST(a_job_preempted_too_often_is_caught),
        TEST(two_jobs_of_one_name_are_caught),
        TEST(a_row_that_refers_to_nothing_is_caught),
        TEST(two_claims_of_one_device_are_caught),
        TEST(a_place_on_a_cordoned_node_is_caught),
        TEST(a_place_of_another_type_is_caught),
        TEST(a_place_in_another_jurisdiction_is_caught),
        TEST(a_missing_label_is_caught),
        TEST(a_taint_that_is_not_tolerated_is_caught),
        TEST(a_place_without_what_it_should_be_near_is_caught),
        TEST(a_place_in_the_way_of_maintenance_is_caught),
        TEST(a_team_beyond_its_limit_is_caught),
        TEST(a_team_that_borrows_without_leave_is_caught),
        TEST(a_place_before_a_dependency_ended_is_caught),
        TEST(a_place_before_its_moment_is_caught),
        TEST(a_right_preemption_passes),
        TEST(a_preemption_of_the_untouchable_is_caught),
        TEST(a_preemption_before_the_least_run_time_is_caught),
        TEST(a_preemption_once_too_often_is_caught),
        TEST(a_preemption_that_hides_its_loss_is_caught),
        TEST(a_preemption_for_nobody_is_caught),
        TEST(an_attempt_beyond_its_time_limit_is_caught),
        TEST(a_job_that_starves_is_caught),
        TEST(a_right_end_passes),
        TEST(a_change_without_its_decision_is_caught),
        TEST(a_decision_without_its_change_is_caught),
        TEST(a_deleted_job_is_caught),
        TEST(an_end_without_an_end_state_is_caught),
        TEST(an_attempt_number_used_twice_is_caught),
        TEST(an_id_used_again_is_caught),
        TEST(a_second_start_is_caught),
        TEST(a_retry_that_is_not_made_is_caught),
        TEST(a_preemption_that_costs_a_retry_is_caught),
        TEST(time_that_is_not_charged_is_caught),
        TEST(a_charge_at_a_wrong_price_is_caught),
        TEST(a_charge_with_a_wrong_sum_is_caught),
        TEST(an_accepted_job_that_is_not_stored_is_caught),
        TEST(a_job_that_never_ends_is_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
