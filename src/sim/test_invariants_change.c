/* The invariant checker can fail: transactions and answers that are wrong in one way each, and each
 * one is caught by the invariant it breaks. */
#include "sim/test_state.h"

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
    state_put(state);
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
    state_put(state);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        STATE_TEST(a_right_end_passes),
        STATE_TEST(a_change_without_its_decision_is_caught),
        STATE_TEST(a_decision_without_its_change_is_caught),
        STATE_TEST(a_deleted_job_is_caught),
        STATE_TEST(an_end_without_an_end_state_is_caught),
        STATE_TEST(an_attempt_number_used_twice_is_caught),
        STATE_TEST(an_id_used_again_is_caught),
        STATE_TEST(a_second_start_is_caught),
        STATE_TEST(a_retry_that_is_not_made_is_caught),
        STATE_TEST(a_preemption_that_costs_a_retry_is_caught),
        STATE_TEST(time_that_is_not_charged_is_caught),
        STATE_TEST(a_charge_at_a_wrong_price_is_caught),
        STATE_TEST(a_charge_with_a_wrong_sum_is_caught),
        STATE_TEST(an_accepted_job_that_is_not_stored_is_caught),
        STATE_TEST(a_job_that_never_ends_is_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
