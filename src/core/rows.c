/* The columns of every table, as data. A column is described once, here; its name in SQL, in the
 * API and in digests is that of the struct's member. */
#include "core/rows.h"

#include "base/memory.h"
#include "spec/kinds.h"

#include <assert.h>
#include <string.h>

static const char *const engine_names[] = {"local", "slurm", "kubernetes", NULL};
static const char *const node_state_names[] = {"up", "lost", NULL};
static const char *const price_of_names[] = {"node", "accelerator", NULL};
static const char *const topology_names[] = {"none", "preferred", "required", NULL};
static const char *const spot_use_names[] = {"allowed", "never", "only", NULL};
static const char *const condition_names[] = {"succeeded", "ended", NULL};

#define COLUMN_(row, member, type_, ...)                                                           \
    {                                                                                              \
        .name = #member, .type = type_, .offset = offsetof(struct row, member),                    \
        .size = sizeof(((struct row *)0)->member), __VA_ARGS__                                     \
    }
#define ID(row, member, ...)     COLUMN_(row, member, COLUMN_ID, __VA_ARGS__)
#define TIME(row, member, ...)   COLUMN_(row, member, COLUMN_TIME, __VA_ARGS__)
#define ENUM(row, member, list)  COLUMN_(row, member, COLUMN_ENUM, .names = (list))
#define SYMBOL(row, member, ...) COLUMN_(row, member, COLUMN_SYMBOL, __VA_ARGS__)
#define INDEXED                  .indexed = true
#define RELATION                 .indexed = true, .fixed = true
#define PLAIN                    .indexed = false
#define INT(row, member)         COLUMN_(row, member, COLUMN_INT, PLAIN)
#define LENGTH(row, member)      COLUMN_(row, member, COLUMN_LENGTH, PLAIN)
#define INT32(row, member)       COLUMN_(row, member, COLUMN_INT32, PLAIN)
#define FLAG(row, member)        COLUMN_(row, member, COLUMN_FLAG, PLAIN)
#define TEXT(row, member)        COLUMN_(row, member, COLUMN_TEXT, PLAIN)

static const struct column counter_columns[] = {
    ID(counter_row, id, PLAIN),
    TEXT(counter_row, name),
    INT(counter_row, last),
};

static const struct column symbol_columns[] = {
    ID(symbol_row, id, PLAIN),
    FLAG(symbol_row, pinned),
    TEXT(symbol_row, text),
};

static const struct column pool_columns[] = {
    ID(pool_row, id, PLAIN),
    SYMBOL(pool_row, name, PLAIN),
    SYMBOL(pool_row, currency, PLAIN),
    SYMBOL(pool_row, jurisdiction, PLAIN),
    ENUM(pool_row, engine, engine_names),
    FLAG(pool_row, spot),
    INT(pool_row, cpu_hour_micro),
    INT(pool_row, memory_gib_hour_micro),
    INT(pool_row, disk_gib_hour_micro),
    LENGTH(pool_row, spot_up_ms),
    LENGTH(pool_row, spot_down_ms),
    INT(pool_row, spot_losses),
    TIME(pool_row, spot_at_ms, PLAIN),
    SYMBOL(pool_row, site, PLAIN),
    INT(pool_row, link_bytes),
    INT(pool_row, egress_gib_micro),
    LENGTH(pool_row, keep_ms),
    INT(pool_row, burst_budget_micro),
    LENGTH(pool_row, burst_after_ms),
    LENGTH(pool_row, burst_period_ms),
    TIME(pool_row, burst_begin_ms, PLAIN),
    INT(pool_row, burst_spent_micro),
    FLAG(pool_row, partial),
};

static const struct column price_columns[] = {
    ID(price_row, id, PLAIN),
    ID(price_row, pool, PLAIN),
    ENUM(price_row, of, price_of_names),
    SYMBOL(price_row, name, PLAIN),
    INT(price_row, hour_micro),
};

static const struct column level_columns[] = {
    ID(level_row, id, PLAIN),
    ID(level_row, pool, PLAIN),
    SYMBOL(level_row, name, PLAIN),
    SYMBOL(level_row, label, PLAIN),
};

static const struct column node_columns[] = {
    ID(node_row, id, PLAIN),
    ID(node_row, pool, RELATION),
    SYMBOL(node_row, name, PLAIN),
    SYMBOL(node_row, type, PLAIN),
    SYMBOL(node_row, accelerator, PLAIN),
    INT32(node_row, devices),
    FLAG(node_row, fractional),
    FLAG(node_row, cordoned),
    FLAG(node_row, draining),
    FLAG(node_row, leaving),
    ENUM(node_row, state, node_state_names),
    INT(node_row, cpu_milli),
    INT(node_row, memory_bytes),
    INT(node_row, disk_bytes),
    TIME(node_row, since_ms, PLAIN),
    SYMBOL(node_row, sockets, PLAIN),
};

static const struct column node_label_columns[] = {
    ID(node_label_row, id, PLAIN),
    ID(node_label_row, node, PLAIN),
    INT32(node_label_row, effect),
    SYMBOL(node_label_row, key, PLAIN),
    SYMBOL(node_label_row, value, PLAIN),
};

static const struct column reservation_columns[] = {
    ID(reservation_row, id, PLAIN),
    ID(reservation_row, node, PLAIN),
    TIME(reservation_row, begin_ms, PLAIN),
    TIME(reservation_row, end_ms, PLAIN),
};

static const struct column team_columns[] = {
    ID(team_row, id, PLAIN),
    SYMBOL(team_row, name, PLAIN),
    ID(team_row, parent, PLAIN),
    INT(team_row, weight_micro),
    INT(team_row, jobs_max),
    FLAG(team_row, borrow),
    FLAG(team_row, host_network),
    INT(team_row, usage),
    TIME(team_row, usage_at_ms, PLAIN),
};

static const struct column quota_columns[] = {
    ID(quota_row, id, PLAIN),
    ID(quota_row, team, PLAIN),
    SYMBOL(quota_row, resource, PLAIN),
    INT(quota_row, guarantee),
    INT(quota_row, limit),
};

static const struct column shape_columns[] = {
    ID(shape_row, id, PLAIN),
    INT(shape_row, cpu_milli),
    INT(shape_row, memory_bytes),
    INT(shape_row, disk_bytes),
    INT(shape_row, accelerator_milli),
    SYMBOL(shape_row, accelerator, PLAIN),
    SYMBOL(shape_row, pool, PLAIN),
    SYMBOL(shape_row, node_type, PLAIN),
    SYMBOL(shape_row, jurisdiction, PLAIN),
    INT32(shape_row, spread),
    FLAG(shape_row, exclusive),
    ENUM(shape_row, topology, topology_names),
    SYMBOL(shape_row, within, PLAIN),
    ENUM(shape_row, spot, spot_use_names),
    INT(shape_row, mix),
};

static const struct column rule_columns[] = {
    ID(rule_row, id, PLAIN),
    ID(rule_row, shape, PLAIN),
    INT32(rule_row, rule),
    SYMBOL(rule_row, key, PLAIN),
    SYMBOL(rule_row, value, PLAIN),
};

static const struct column job_columns[] = {
    ID(job_row, id, PLAIN),
    ID(job_row, team, RELATION),
    ID(job_row, shape, PLAIN),
    ID(job_row, attempt, PLAIN),
    ID(job_row, array, PLAIN),
    COLUMN_(job_row, name_hash, COLUMN_INT, RELATION),
    SYMBOL(job_row, name, PLAIN),
    SYMBOL(job_row, class_name, PLAIN),
    INT32(job_row, array_index),
    INT32(job_row, array_parallel),
    ENUM(job_row, state, job_state_names),
    ENUM(job_row, end_reason, end_reason_names),
    INT32(job_row, exit_status),
    INT32(job_row, priority),
    INT32(job_row, size),
    INT32(job_row, size_min),
    INT32(job_row, size_max),
    INT32(job_row, size_now),
    INT32(job_row, attempts),
    INT32(job_row, retries_left),
    INT32(job_row, failures),
    INT32(job_row, preemptions),
    INT32(job_row, preemptions_max),
    FLAG(job_row, preemptible),
    FLAG(job_row, shrink_on_node_loss),
    FLAG(job_row, service),
    FLAG(job_row, cancel),
    TIME(job_row, submitted_ms, PLAIN),
    TIME(job_row, queued_ms, PLAIN),
    TIME(job_row, not_before_ms, PLAIN),
    TIME(job_row, deadline_ms, PLAIN),
    LENGTH(job_row, time_limit_ms),
    LENGTH(job_row, min_runtime_ms),
    LENGTH(job_row, grace_ms),
    LENGTH(job_row, backoff_ms),
    LENGTH(job_row, backoff_max_ms),
    TIME(job_row, checkpoint_ms, PLAIN),
    TIME(job_row, ended_ms, INDEXED),
    INT32(job_row, vain),
    INT32(job_row, interval_ms),
    INT32(job_row, put_off_s),
    FLAG(job_row, saves_on_stop),
};

static const struct column job_label_columns[] = {
    ID(job_label_row, id, PLAIN),
    ID(job_label_row, job, RELATION),
    SYMBOL(job_label_row, key, PLAIN),
    SYMBOL(job_label_row, value, PLAIN),
};

static const struct column dependency_columns[] = {
    ID(dependency_row, id, PLAIN),
    ID(dependency_row, job, RELATION),
    ID(dependency_row, on_job, PLAIN),
    ENUM(dependency_row, condition, condition_names),
};

static const struct column attempt_columns[] = {
    ID(attempt_row, id, PLAIN),
    ID(attempt_row, job, RELATION),
    INT32(attempt_row, number),
    ENUM(attempt_row, state, attempt_state_names),
    INT32(attempt_row, size),
    ENUM(attempt_row, stop_reason, end_reason_names),
    ENUM(attempt_row, end_reason, end_reason_names),
    INT32(attempt_row, exit_status),
    TIME(attempt_row, admitted_ms, PLAIN),
    TIME(attempt_row, started_ms, PLAIN),
    TIME(attempt_row, stop_ms, PLAIN),
    TIME(attempt_row, ended_ms, INDEXED),
    TIME(attempt_row, checkpoint_ms, PLAIN),
    TIME(attempt_row, site_end_ms, PLAIN),
};

static const struct column placement_columns[] = {
    ID(placement_row, id, PLAIN),
    ID(placement_row, attempt, RELATION),
    ID(placement_row, node, PLAIN),
    COLUMN_(placement_row, devices, COLUMN_INT, PLAIN),
    INT(placement_row, device_milli),
    INT32(placement_row, first_rank),
    INT32(placement_row, ranks),
    TIME(placement_row, since_ms, PLAIN),
};

static const struct column span_columns[] = {
    ID(span_row, id, PLAIN),
    ID(span_row, placement, PLAIN),
    TIME(span_row, begin_ms, PLAIN),
    TIME(span_row, end_ms, PLAIN),
    INT(span_row, cpu_milli),
    INT(span_row, memory_bytes),
    INT(span_row, disk_bytes),
    INT(span_row, accelerator_milli),
    SYMBOL(span_row, accelerator, PLAIN),
    SYMBOL(span_row, currency, PLAIN),
    INT(span_row, hour_micro),
};

static const struct column claim_columns[] = {
    ID(claim_row, id, PLAIN),
    ID(claim_row, job, PLAIN),
    ID(claim_row, node, PLAIN),
    COLUMN_(claim_row, devices, COLUMN_INT, PLAIN),
    INT(claim_row, device_milli),
    INT32(claim_row, ranks),
};

static const struct column promise_columns[] = {
    ID(promise_row, id, PLAIN),
    ID(promise_row, job, PLAIN),
    ID(promise_row, node, PLAIN),
    COLUMN_(promise_row, devices, COLUMN_INT, PLAIN),
    INT(promise_row, device_milli),
    INT32(promise_row, ranks),
    FLAG(promise_row, open),
    TIME(promise_row, begin_ms, PLAIN),
    ID(promise_row, last_attempt, PLAIN),
    FLAG(promise_row, stale),
    TIME(promise_row, look_ms, PLAIN),
};

static const struct column service_columns[] = {
    ID(service_row, id, PLAIN),
    ID(service_row, team, RELATION),
    SYMBOL(service_row, name, PLAIN),
    INT32(service_row, revision),
    INT32(service_row, replicas),
    INT32(service_row, surge),
    INT32(service_row, unavailable),
    INT32(service_row, number),
    INT32(service_row, refusals),
    TIME(service_row, not_before_ms, PLAIN),
    FLAG(service_row, deleted),
};

static const struct column replica_columns[] = {
    ID(replica_row, id, PLAIN),
    ID(replica_row, service, RELATION),
    ID(replica_row, job, RELATION),
    INT32(replica_row, revision),
    INT32(replica_row, number),
    ID(replica_row, attempt, PLAIN),
    FLAG(replica_row, ready),
    TIME(replica_row, since_ms, PLAIN),
    ENUM(replica_row, arm, replica_arm_names),
    TIME(replica_row, recalled_ms, PLAIN),
    FLAG(replica_row, leaving),
};

/* One of an array: a column of its own, with its number. */
#define ONE_OF(row, name_, member, type_)                                                          \
    {                                                                                              \
        .name = (name_), .type = type_, .offset = offsetof(struct row, member),                    \
        .size = sizeof(((struct row *)0)->member)                                                  \
    }
#define PLAN(member, type_) ONE_OF(rollout_row, #member, plan.member, type_)
#define STEP(n)                                                                                    \
    ONE_OF(rollout_row, "weight_" #n, plan.weights[n], COLUMN_INT32),                              \
        ONE_OF(rollout_row, "bake_" #n "_ms", plan.bakes_ms[n], COLUMN_LENGTH)

static const struct column rollout_columns[] = {
    ID(rollout_row, id, PLAIN),
    ID(rollout_row, service, RELATION),
    {.name = "strategy",
        .type = COLUMN_ENUM,
        .offset = offsetof(struct rollout_row, plan.strategy),
        .size = sizeof(int32_t),
        .names = rollout_strategy_names},
    PLAN(steps, COLUMN_INT32),
    STEP(0),
    STEP(1),
    STEP(2),
    STEP(3),
    STEP(4),
    STEP(5),
    STEP(6),
    STEP(7),
    PLAN(patience_ms, COLUMN_LENGTH),
    PLAN(by_time, COLUMN_FLAG),
    PLAN(give_up, COLUMN_FLAG),
    PLAN(requests_min, COLUMN_INT),
    PLAN(alpha_ppm, COLUMN_INT),
    PLAN(error_margin_ppm, COLUMN_INT),
    PLAN(latency_margin_ppm, COLUMN_INT),
    PLAN(quality_margin_ppm, COLUMN_INT),
    PLAN(guard_requests, COLUMN_INT),
    PLAN(guard_errors_ppm, COLUMN_INT),
    PLAN(guard_p99_us, COLUMN_INT),
    PLAN(differences_ppm, COLUMN_INT),
    ENUM(rollout_row, state, rollout_state_names),
    INT32(rollout_row, step),
    FLAG(rollout_row, paused),
    ENUM(rollout_row, reason, rollout_reason_names),
    INT32(rollout_row, stable),
    INT32(rollout_row, proven),
    TIME(rollout_row, began_ms, PLAIN),
    TIME(rollout_row, step_ms, PLAIN),
    ONE_OF(rollout_row, "seen_main", step_seen[ARM_MAIN], COLUMN_INT),
    ONE_OF(rollout_row, "seen_baseline", step_seen[ARM_BASELINE], COLUMN_INT),
    ONE_OF(rollout_row, "seen_canary", step_seen[ARM_CANARY], COLUMN_INT),
};
static_assert(ROLLOUT_STEPS_MAX == 8, "a column for each step");

#define WITHIN(n) ONE_OF(evidence_row, "within_" #n, within[n], COLUMN_INT)
#define SCORES(n) ONE_OF(evidence_row, "scores_" #n, scores[n], COLUMN_INT)

static const struct column evidence_columns[] = {
    ID(evidence_row, id, PLAIN),
    ID(evidence_row, rollout, RELATION),
    ENUM(evidence_row, arm, replica_arm_names),
    INT(evidence_row, requests),
    INT(evidence_row, errors),
    WITHIN(0),
    WITHIN(1),
    WITHIN(2),
    WITHIN(3),
    WITHIN(4),
    WITHIN(5),
    WITHIN(6),
    WITHIN(7),
    WITHIN(8),
    WITHIN(9),
    WITHIN(10),
    WITHIN(11),
    WITHIN(12),
    WITHIN(13),
    WITHIN(14),
    WITHIN(15),
    WITHIN(16),
    WITHIN(17),
    WITHIN(18),
    WITHIN(19),
    WITHIN(20),
    WITHIN(21),
    WITHIN(22),
    WITHIN(23),
    SCORES(0),
    SCORES(1),
    SCORES(2),
    SCORES(3),
    SCORES(4),
    SCORES(5),
    SCORES(6),
    SCORES(7),
    SCORES(8),
    SCORES(9),
    SCORES(10),
    INT(evidence_row, compared),
    INT(evidence_row, differing),
};
static_assert(ROLLOUT_BUCKETS == 24 && ROLLOUT_SCORES == 11, "a column for each");

static const struct column allotment_columns[] = {
    ID(allotment_row, id, PLAIN),
    ID(allotment_row, job, RELATION),
    INT32(allotment_row, target),
    INT32(allotment_row, turn),
    INT32(allotment_row, level),
    TIME(allotment_row, level_ms, PLAIN),
    INT(allotment_row, note),
    LENGTH(allotment_row, served_ms),
    INT(allotment_row, served_device_ms),
    INT(allotment_row, remaining),
    LENGTH(allotment_row, restart_ms),
    TIME(allotment_row, reported_ms, PLAIN),
};

static const struct column speed_columns[] = {
    ID(speed_row, id, PLAIN),
    ID(speed_row, allotment, PLAIN),
    INT32(speed_row, ranks),
    INT32(speed_row, nodes),
    INT(speed_row, rate_milli),
};

static const struct column spot_columns[] = {
    ID(spot_row, id, PLAIN),
    ID(spot_row, job, RELATION),
    LENGTH(spot_row, duration_ms),
    LENGTH(spot_row, interval_ms),
    LENGTH(spot_row, restart_ms),
    LENGTH(spot_row, saved_ms),
    TIME(spot_row, since_ms, PLAIN),
    TIME(spot_row, again_ms, PLAIN),
    INT32(spot_row, now),
};

static const struct column data_columns[] = {
    ID(data_row, id, PLAIN),
    ID(data_row, job, RELATION),
    SYMBOL(data_row, site, PLAIN),
    INT(data_row, bytes),
    SYMBOL(data_row, version, PLAIN),
};

static const struct column copy_columns[] = {
    ID(copy_row, id, PLAIN),
    SYMBOL(copy_row, site, PLAIN),
    SYMBOL(copy_row, version, PLAIN),
    INT(copy_row, bytes),
    TIME(copy_row, since_ms, PLAIN),
    TIME(copy_row, used_ms, PLAIN),
    LENGTH(copy_row, transfer_ms),
    INT(copy_row, egress_micro),
    SYMBOL(copy_row, currency, PLAIN),
};

static const struct column broker_columns[] = {
    ID(broker_row, id, PLAIN),
    ID(broker_row, job, RELATION),
    ID(broker_row, pool, PLAIN),
    ENUM(broker_row, verdict, burst_verdict_names),
    ID(broker_row, refused_by, PLAIN),
    LENGTH(broker_row, duration_ms),
    LENGTH(broker_row, wait_ms),
    TIME(broker_row, look_ms, PLAIN),
    TIME(broker_row, due_ms, PLAIN),
    INT(broker_row, reserved_micro),
    INT(broker_row, egress_micro),
    TIME(broker_row, forecast_ms, PLAIN),
    TIME(broker_row, start_ms, PLAIN),
    TIME(broker_row, since_ms, PLAIN),
    INT(broker_row, seen),
    TIME(broker_row, lease_ms, PLAIN),
    INT(broker_row, booked_micro),
};

static const struct column charge_columns[] = {
    ID(charge_row, id, PLAIN),
    ID(charge_row, attempt, RELATION),
    ID(charge_row, job, RELATION),
    ID(charge_row, team, RELATION),
    ID(charge_row, pool, PLAIN),
    ID(charge_row, node, PLAIN),
    TIME(charge_row, begin_ms, PLAIN),
    TIME(charge_row, end_ms, INDEXED),
    LENGTH(charge_row, wasted_ms),
    INT(charge_row, cpu_milli),
    INT(charge_row, memory_bytes),
    INT(charge_row, disk_bytes),
    INT(charge_row, accelerator_milli),
    SYMBOL(charge_row, accelerator, PLAIN),
    SYMBOL(charge_row, currency, PLAIN),
    INT(charge_row, hour_micro),
    INT(charge_row, cost_nano),
    INT(charge_row, wasted_nano),
};

static const struct column capacity_columns[] = {
    ID(capacity_row, id, PLAIN),
    ID(capacity_row, pool, RELATION),
    ID(capacity_row, node, PLAIN),
    TIME(capacity_row, begin_ms, PLAIN),
    TIME(capacity_row, end_ms, INDEXED),
    INT(capacity_row, hour_micro),
    INT(capacity_row, cost_nano),
    SYMBOL(capacity_row, currency, PLAIN),
};

#define TABLE(text, row, list)                                                                     \
    {                                                                                              \
        .name = (text), .size = sizeof(struct row), .columns = (list),                             \
        .column_count = ARRAY_LEN(list)                                                            \
    }
/* A table whose rows are deleted when they go, never retired. */
#define DELETED(text, row, list)                                                                   \
    {                                                                                              \
        .name = (text), .size = sizeof(struct row), .columns = (list),                             \
        .column_count = ARRAY_LEN(list), .deleted = true                                           \
    }
#define HISTORY(text, row, list)                                                                   \
    {                                                                                              \
        .name = (text), .size = sizeof(struct row), .columns = (list),                             \
        .column_count = ARRAY_LEN(list), .history = true                                           \
    }

static const struct row_type row_types[ROW_KIND_COUNT] = {
    [ROW_COUNTER] = DELETED("counter", counter_row, counter_columns),
    [ROW_SYMBOL] = TABLE("symbol", symbol_row, symbol_columns),
    [ROW_POOL] = TABLE("pool", pool_row, pool_columns),
    [ROW_PRICE] = DELETED("price", price_row, price_columns),
    [ROW_LEVEL] = DELETED("level", level_row, level_columns),
    [ROW_NODE] = TABLE("node", node_row, node_columns),
    [ROW_NODE_LABEL] = DELETED("node_label", node_label_row, node_label_columns),
    [ROW_RESERVATION] = DELETED("reservation", reservation_row, reservation_columns),
    [ROW_TEAM] = TABLE("team", team_row, team_columns),
    [ROW_QUOTA] = DELETED("quota", quota_row, quota_columns),
    [ROW_SHAPE] = DELETED("shape", shape_row, shape_columns),
    [ROW_RULE] = DELETED("rule", rule_row, rule_columns),
    [ROW_JOB] = TABLE("job", job_row, job_columns),
    [ROW_JOB_LABEL] = TABLE("job_label", job_label_row, job_label_columns),
    [ROW_DEPENDENCY] = TABLE("dependency", dependency_row, dependency_columns),
    [ROW_ATTEMPT] = TABLE("attempt", attempt_row, attempt_columns),
    [ROW_PLACEMENT] = TABLE("placement", placement_row, placement_columns),
    [ROW_SPAN] = TABLE("span", span_row, span_columns),
    [ROW_CLAIM] = DELETED("claim", claim_row, claim_columns),
    [ROW_PROMISE] = DELETED("promise", promise_row, promise_columns),
    [ROW_SERVICE] = TABLE("service", service_row, service_columns),
    [ROW_REPLICA] = TABLE("replica", replica_row, replica_columns),
    [ROW_ALLOTMENT] = DELETED("allotment", allotment_row, allotment_columns),
    [ROW_SPEED] = DELETED("speed", speed_row, speed_columns),
    [ROW_SPOT] = DELETED("spot", spot_row, spot_columns),
    [ROW_ROLLOUT] = DELETED("rollout", rollout_row, rollout_columns),
    [ROW_EVIDENCE] = DELETED("evidence", evidence_row, evidence_columns),
    [ROW_DATA] = DELETED("job_data", data_row, data_columns),
    [ROW_BROKER] = DELETED("broker", broker_row, broker_columns),
    [ROW_COPY] = DELETED("copy", copy_row, copy_columns),
    [ROW_CHARGE] = HISTORY("charge", charge_row, charge_columns),
    [ROW_CAPACITY] = HISTORY("capacity", capacity_row, capacity_columns),
};

const struct row_type *row_type(enum row_kind kind)
{
    assert((unsigned)kind < ROW_KIND_COUNT);
    return &row_types[kind];
}

bool row_same(const struct row_type *type, const void *one, const void *other)
{
    for (size_t i = 0; i < type->column_count; i++) {
        const struct column *column = &type->columns[i];
        const char *a = (const char *)one + column->offset;
        const char *b = (const char *)other + column->offset;
        if (column->type == COLUMN_TEXT ? strcmp(a, b) != 0 : memcmp(a, b, column->size) != 0)
            return false;
    }
    return true;
}
