/* The invariant checker can fail: rollouts that are wrong in one way each. The right state has a
 * service of revision 2 with one main replica, job 1, of revision 1, and a canary, job 2. */
#include "sim/test_state.h"

struct rolling {
    struct state *state;
    struct service_row service;
    struct replica_row main, canary;
    struct rollout_row rollout;
    struct evidence_row seen[ARM_COUNT]; /* of ARM_MAIN: not stored */
    struct sim_txn txn;
};

static void rolling_put(struct rolling *rolling)
{
    struct sim_store *store = rolling->state->store;
    state_put(rolling->state);
    sim_store_put(store, ROW_SERVICE, &rolling->service);
    sim_store_put(store, ROW_REPLICA, &rolling->main);
    sim_store_put(store, ROW_REPLICA, &rolling->canary);
    sim_store_put(store, ROW_ROLLOUT, &rolling->rollout);
    sim_store_put(store, ROW_EVIDENCE, &rolling->seen[ARM_BASELINE]);
    sim_store_put(store, ROW_EVIDENCE, &rolling->seen[ARM_CANARY]);
}

static struct rolling rolling_make(void **context)
{
    struct rolling rolling = {.state = *context};
    rolling.state->job.service = rolling.state->waiting.service = 1;
    rolling.service = (struct service_row){.id = 1,
        .team = 1,
        .name = SYM_TRAIN,
        .revision = 2,
        .replicas = 1,
        .surge = 1,
        .number = 5};
    rolling.main = (struct replica_row){
        .id = 1, .service = 1, .job = 1, .revision = 1, .number = 4, .attempt = 1, .ready = 1};
    rolling.canary = (struct replica_row){
        .id = 2, .service = 1, .job = 2, .revision = 2, .number = 5, .arm = ARM_CANARY};
    rolling.rollout = (struct rollout_row){.id = 1,
        .service = 1,
        .state = ROLLOUT_TESTING,
        .stable = 1,
        .proven = 1,
        .plan = {.strategy = ROLLOUT_CANARY, .steps = 2, .weights = {10, 20}, .requests_min = 50}};
    for (int arm = ARM_BASELINE; arm < ARM_COUNT; arm++)
        rolling.seen[arm] =
            (struct evidence_row){.id = (uint64_t)arm, .rollout = 1, .arm = arm, .requests = 40};
    sim_txn_init(&rolling.txn);
    rolling_put(&rolling);
    return rolling;
}

static void assert_result(int result, const struct error *err, int invariant)
{
    if (invariant)
        assert_broken(result, err, invariant);
    else if (result < 0)
        fail_msg("%s", err->text);
}

static void assert_state(struct rolling *rolling, int invariant)
{
    struct error err = {0};
    rolling_put(rolling);
    assert_result(invariants_state(rolling->state->store, &err), &err, invariant);
    sim_txn_finish(&rolling->txn);
}

static void assert_change(struct rolling *rolling, int invariant)
{
    struct error err = {0};
    struct invariants *inv = invariants_create();
    int result = invariants_change(inv, rolling->state->store, &rolling->txn, NOW, &err);
    invariants_destroy(inv);
    assert_result(result, &err, invariant);
    sim_txn_finish(&rolling->txn);
}

static void decide(struct rolling *rolling, enum decision_kind kind)
{
    struct decision_list *list = &rolling->txn.decisions;
    list->items = mem_resize(list->items, list->count + 1, sizeof *list->items);
    list->items[list->count++] = (struct core_decision){.kind = kind, .service = 1};
    list->capacity = list->count;
}

static void put(struct rolling *rolling, enum row_kind kind, const void *row)
{
    sim_txn_add(&rolling->txn, CHANGE_PUT, kind, row);
}

/* ---- states -------------------------------------------------------------------------------- */

static void a_right_rollout_passes(void **context)
{
    struct rolling rolling = rolling_make(context);
    assert_state(&rolling, 0);
}

static void an_arm_of_an_ended_rollout_is_caught(void **context)
{
    static const int32_t states[] = {ROLLOUT_PROMOTED, ROLLOUT_ABORTED};
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        struct rolling rolling = rolling_make(context);
        rolling.rollout.state = states[i];
        assert_state(&rolling, 9);
    }
}

static void too_many_replicas_of_an_arm_are_caught(void **context)
{
    struct rolling rolling = rolling_make(context);
    rolling.main.arm = ARM_CANARY; /* two canaries, one is allowed */
    assert_state(&rolling, 9);
}

static void an_arm_that_the_strategy_has_not_is_caught(void **context)
{
    struct rolling rolling = rolling_make(context);
    rolling.rollout.plan.strategy = ROLLOUT_SHADOW;
    assert_state(&rolling, 9);
}

static void a_stable_revision_that_is_the_new_one_is_caught(void **context)
{
    struct rolling rolling = rolling_make(context);
    rolling.rollout.stable = 2;
    assert_state(&rolling, 9);
}

static void a_rollout_without_its_service_is_caught(void **context)
{
    struct rolling rolling = rolling_make(context);
    rolling.rollout.service = 77;
    assert_state(&rolling, 7);
}

/* ---- one version --------------------------------------------------------------------------- */

static void new_replica(struct rolling *rolling, int32_t arm, int32_t revision)
{
    struct job_row job = rolling->state->waiting;
    job.id = 3;
    put(rolling, ROW_JOB, &job);
    decide(rolling, DECISION_JOB_SUBMIT);
    rolling->txn.decisions.items[0].job = 3;
    struct replica_row replica = rolling->canary;
    replica.id = replica.job = 3;
    replica.number = 6;
    replica.arm = arm;
    replica.revision = revision;
    put(rolling, ROW_REPLICA, &replica);
}

/* By state and arm the one revision that is wanted; any other is caught. */
static void a_version_that_is_not_wanted_is_caught(void **context)
{
    static const struct {
        int32_t state, arm, wanted;
    } cases[] = {{ROLLOUT_TESTING, ARM_MAIN, 1}, {ROLLOUT_TESTING, ARM_BASELINE, 1},
        {ROLLOUT_TESTING, ARM_CANARY, 2}, {ROLLOUT_ABORTED, ARM_MAIN, 1},
        {ROLLOUT_PROMOTED, ARM_MAIN, 2}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int32_t revision = 1; revision <= 2; revision++) {
            struct rolling rolling = rolling_make(context);
            rolling.rollout.state = cases[i].state;
            rolling_put(&rolling);
            new_replica(&rolling, cases[i].arm, revision);
            assert_change(&rolling, revision == cases[i].wanted ? 0 : 9);
        }
    }
}

static void a_canary_that_nobody_promoted_is_caught(void **context)
{
    for (int promoted = 0; promoted < 2; promoted++) {
        struct rolling rolling = rolling_make(context);
        rolling.canary.arm = ARM_MAIN;
        put(&rolling, ROW_REPLICA, &rolling.canary);
        if (promoted)
            decide(&rolling, DECISION_ROLLOUT_PROMOTE);
        assert_change(&rolling, promoted ? 0 : 9);
    }
}

static void a_rollout_that_begins_from_another_version_is_caught(void **context)
{
    for (int32_t stable = 1; stable <= 2; stable++) {
        struct rolling rolling = rolling_make(context);
        rolling.rollout.state = ROLLOUT_PROMOTED; /* revision 2 is wanted */
        rolling_put(&rolling);
        rolling.rollout.state = ROLLOUT_STARTING;
        rolling.rollout.stable = stable;
        rolling.service.revision = 3;
        put(&rolling, ROW_ROLLOUT, &rolling.rollout);
        put(&rolling, ROW_SERVICE, &rolling.service);
        decide(&rolling, DECISION_SERVICE_PUT);
        decide(&rolling, DECISION_ROLLOUT_BEGIN);
        assert_change(&rolling, stable == 2 ? 0 : 9);
    }
}

/* ---- no data is no pass -------------------------------------------------------------------- */

/* Both arms of `requests`, and the rollout is promoted for that reason, or goes to its next step.
 */
static void pass(struct rolling *rolling, int64_t requests, enum rollout_reason reason)
{
    for (int arm = ARM_BASELINE; arm < ARM_COUNT; arm++)
        rolling->seen[arm].requests = requests;
    rolling_put(rolling);
    rolling->rollout.reason = (int32_t)reason;
    if (reason == REASON_NONE) {
        rolling->rollout.step = 1;
        decide(rolling, DECISION_ROLLOUT_STEP);
    } else {
        rolling->rollout.state = ROLLOUT_PROMOTED;
        decide(rolling, DECISION_ROLLOUT_PROMOTE);
    }
    put(rolling, ROW_ROLLOUT, &rolling->rollout);
}

static void a_pass_without_a_sample_is_caught(void **context)
{
    static const enum rollout_reason reasons[] = {REASON_PASSED, REASON_NONE, REASON_COMMAND};
    static const int64_t requests[] = {0, 49, 50};
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        for (size_t k = 0; k < ARRAY_LEN(requests); k++) {
            struct rolling rolling = rolling_make(context);
            pass(&rolling, requests[k], reasons[i]);
            assert_change(&rolling, requests[k] == 50 || reasons[i] == REASON_COMMAND ? 0 : 9);
        }
    }
}

static void a_pass_without_any_data_is_caught_where_none_is_asked(void **context)
{
    struct rolling rolling = rolling_make(context);
    rolling.rollout.plan.requests_min = 0;
    pass(&rolling, 0, REASON_PASSED);
    assert_change(&rolling, 9);
}

static void an_end_without_a_decision_is_caught(void **context)
{
    struct rolling rolling = rolling_make(context);
    rolling.rollout.state = ROLLOUT_ABORTED;
    put(&rolling, ROW_ROLLOUT, &rolling.rollout);
    assert_change(&rolling, 8);
}

/* ---- the end ------------------------------------------------------------------------------- */

static void assert_settled(struct rolling *rolling, bool fine)
{
    struct error err = {0};
    struct invariants *inv = invariants_create();
    rolling->state->waiting.state = JOB_RUNNING;
    rolling_put(rolling);
    int result = invariants_services_settled(inv, rolling->state->store, &err);
    assert_result(result, &err, fine ? 0 : 9);
    assert_int_equal(invariants_count(inv)->services_settled, fine);
    invariants_destroy(inv);
    sim_txn_finish(&rolling->txn);
}

static void a_rollout_at_rest_that_lacks_an_arm_is_caught(void **context)
{
    struct rolling rolling = rolling_make(context);
    rolling.rollout.plan.strategy = ROLLOUT_SHADOW; /* a main replica and a canary: all it wants */
    assert_settled(&rolling, true);
    rolling = rolling_make(context);
    assert_settled(&rolling, false); /* the baseline is missing */
}

/* Aborted, with a replica of each revision: the stable one is wanted, the other one is too much. */
static void an_ended_rollout_that_left_two_versions_is_caught(void **context)
{
    struct rolling rolling = rolling_make(context);
    rolling.rollout.state = ROLLOUT_ABORTED;
    rolling.canary.arm = ARM_MAIN;
    assert_settled(&rolling, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STATE_TEST(a_right_rollout_passes),
        STATE_TEST(an_arm_of_an_ended_rollout_is_caught),
        STATE_TEST(too_many_replicas_of_an_arm_are_caught),
        STATE_TEST(an_arm_that_the_strategy_has_not_is_caught),
        STATE_TEST(a_stable_revision_that_is_the_new_one_is_caught),
        STATE_TEST(a_rollout_without_its_service_is_caught),
        STATE_TEST(a_version_that_is_not_wanted_is_caught),
        STATE_TEST(a_canary_that_nobody_promoted_is_caught),
        STATE_TEST(a_rollout_that_begins_from_another_version_is_caught),
        STATE_TEST(a_pass_without_a_sample_is_caught),
        STATE_TEST(a_pass_without_any_data_is_caught_where_none_is_asked),
        STATE_TEST(an_end_without_a_decision_is_caught),
        STATE_TEST(a_rollout_at_rest_that_lacks_an_arm_is_caught),
        STATE_TEST(an_ended_rollout_that_left_two_versions_is_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
