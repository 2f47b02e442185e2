/* Stored rows that can not be are refused, each with what is wrong: a state by hand with a row of
 * every kind, and one number of one of its rows changed. */
#include "base/hash.h"
#include "base/memory.h"
#include "core/core.h"
#include "core/limits.h"
#include "core/spot.h"
#include "core/test_help.h"

#include <stdio.h>

/* ---- the state ------------------------------------------------------------------------------- */

/* Symbols; those from RUNS on only jobs name. */
enum { POOL = 1, NODE, TEAM, GPU, KEY, SITE, VERSION, SERVICE, CPU, RUNS, KEPT, WAITS, SERVES };

static const char *const symbols[] = {
    [POOL] = "pool",
    [NODE] = "node",
    [TEAM] = "team",
    [GPU] = "gpu",
    [KEY] = "key",
    [SITE] = "site",
    [VERSION] = "dataset/team/one:1",
    [SERVICE] = "service",
    [CPU] = "cpu",
    [RUNS] = "runs",
    [KEPT] = "kept",
    [WAITS] = "waits",
    [SERVES] = "serves",
};

/* Ids of the jobs with these names. */
enum { JOB_RUNS = 1, JOB_KEPT, JOB_WAITS, JOB_SERVES };

static const struct pool_row pool = {.id = 1,
    .name = POOL,
    .site = SITE,
    .burst_budget_micro = 1,
    .burst_period_ms = HOUR_MS,
    .burst_begin_ms = START_MS};
static const struct price_row price = {.id = 1, .pool = 1, .name = NODE, .hour_micro = 1};
static const struct level_row level = {.id = 1, .pool = 1, .name = KEY, .label = KEY};
static const struct node_row node = {.id = 1,
    .pool = 1,
    .name = NODE,
    .accelerator = GPU,
    .devices = 4,
    .cpu_milli = 64000,
    .memory_bytes = 64 * GIB};
static const struct node_label_row node_label = {
    .id = 1, .node = 1, .effect = -1, .key = KEY, .value = NODE};
static const struct reservation_row reservation = {
    .id = 1, .node = 1, .begin_ms = START_MS + HOUR_MS, .end_ms = START_MS + 2 * HOUR_MS};
static const struct team_row team = {
    .id = 1, .name = TEAM, .weight_micro = 1000000, .jobs_max = 100, .borrow = 1};
static const struct quota_row quota = {.id = 1, .team = 1, .resource = CPU, .limit = -1};
static const struct shape_row shape = {.id = 1,
    .cpu_milli = 1000,
    .memory_bytes = GIB,
    .accelerator_milli = 1000,
    .accelerator = GPU,
    .topology = WISH_PREFERRED,
    .within = KEY};
static const struct rule_row rule = {.id = 1, .shape = 1, .key = KEY, .value = NODE};
#define JOB(id_, name_, state_, ...)                                                               \
    {                                                                                              \
        .id = (id_), .team = 1, .shape = 1, .name = (name_), .state = (state_), .size = 1,         \
        .size_min = 1, .size_max = 1, .size_now = 1, .submitted_ms = START_MS,                     \
        .queued_ms = START_MS, __VA_ARGS__                                                         \
    }
static struct job_row jobs[] = {
    JOB(JOB_RUNS, RUNS, JOB_RUNNING, .attempt = 1, .attempts = 1,
        .deadline_ms = START_MS + 9 * HOUR_MS),
    JOB(JOB_KEPT, KEPT, JOB_QUEUED, .preemptible = 1),
    JOB(JOB_WAITS, WAITS, JOB_WAITING, .preemptible = 1),
    JOB(JOB_SERVES, SERVES, JOB_QUEUED, .service = 1),
};
static const struct job_label_row job_label = {.id = 1, .job = JOB_RUNS, .key = KEY, .value = RUNS};
static const struct dependency_row dependency = {.id = 1, .job = JOB_WAITS, .on_job = JOB_RUNS};
static const struct attempt_row attempt = {.id = 1,
    .job = JOB_RUNS,
    .number = 1,
    .state = ATTEMPT_STARTED,
    .size = 1,
    .admitted_ms = START_MS,
    .started_ms = START_MS};
static const struct placement_row placement = {.id = 1,
    .attempt = 1,
    .node = 1,
    .devices = 1,
    .device_milli = 1000,
    .ranks = 1,
    .since_ms = START_MS};
static const struct span_row span = {
    .id = 1, .placement = 1, .begin_ms = START_MS - HOUR_MS, .end_ms = START_MS};
static const struct claim_row claim = {
    .id = 1, .job = JOB_KEPT, .node = 1, .devices = 2, .device_milli = 1000, .ranks = 1};
static const struct promise_row promise = {.id = 1,
    .job = JOB_SERVES,
    .node = 1,
    .devices = 4,
    .device_milli = 1000,
    .ranks = 1,
    .begin_ms = START_MS + HOUR_MS};
static const struct service_row service = {
    .id = 1, .team = 1, .name = SERVICE, .revision = 2, .replicas = 1, .surge = 2, .number = 1};
static const struct replica_row replica = {
    .id = 1, .service = 1, .job = JOB_SERVES, .revision = 2, .number = 1};
static const struct allotment_row allotment = {
    .id = 1, .job = JOB_RUNS, .target = 1, .remaining = -1};
static const struct speed_row speed = {
    .id = 1, .allotment = 1, .ranks = 1, .nodes = 1, .rate_milli = 1000};
static const struct spot_row spot = {
    .id = 1, .job = JOB_RUNS, .duration_ms = HOUR_MS, .since_ms = START_MS};
static const struct rollout_row rollout = {.id = 1,
    .service = 1,
    .plan = {.strategy = ROLLOUT_BLUE_GREEN,
        .steps = 1,
        .alpha_ppm = 50000,
        .differences_ppm = 10000},
    .state = ROLLOUT_PROMOTED,
    .stable = 1};
static const struct evidence_row evidence = {.id = 1, .rollout = 1, .arm = ARM_CANARY};
static const struct data_row data = {
    .id = 1, .job = JOB_RUNS, .site = SITE, .bytes = GIB, .version = VERSION};
static const struct broker_row broker = {.id = 1, .job = JOB_SERVES};
static const struct copy_row copy = {
    .id = 1, .site = SITE, .version = VERSION, .bytes = GIB, .since_ms = START_MS};

static const struct {
    enum row_kind kind;
    const void *row;
} rows[] = {
    {ROW_POOL, &pool},
    {ROW_PRICE, &price},
    {ROW_LEVEL, &level},
    {ROW_NODE, &node},
    {ROW_NODE_LABEL, &node_label},
    {ROW_RESERVATION, &reservation},
    {ROW_TEAM, &team},
    {ROW_QUOTA, &quota},
    {ROW_SHAPE, &shape},
    {ROW_RULE, &rule},
    {ROW_JOB, &jobs[0]},
    {ROW_JOB, &jobs[1]},
    {ROW_JOB, &jobs[2]},
    {ROW_JOB, &jobs[3]},
    {ROW_JOB_LABEL, &job_label},
    {ROW_DEPENDENCY, &dependency},
    {ROW_ATTEMPT, &attempt},
    {ROW_PLACEMENT, &placement},
    {ROW_SPAN, &span},
    {ROW_CLAIM, &claim},
    {ROW_PROMISE, &promise},
    {ROW_SERVICE, &service},
    {ROW_REPLICA, &replica},
    {ROW_ALLOTMENT, &allotment},
    {ROW_SPEED, &speed},
    {ROW_SPOT, &spot},
    {ROW_ROLLOUT, &rollout},
    {ROW_EVIDENCE, &evidence},
    {ROW_DATA, &data},
    {ROW_BROKER, &broker},
    {ROW_COPY, &copy},
};

/* ---- what is wrong with it ------------------------------------------------------------------- */

enum { ELSEWHERE = 99 }; /* no row has this id */

struct damage {
    enum row_kind kind;
    const char *column; /* of the row of that kind whose id is `id`.. */
    int64_t value;      /* ..says this instead */
    const char *why;    /* it is refused */
    uint64_t id;        /* 0: the first one */
    int again;          /* it is there so often besides, under other ids */
    uint64_t missing;   /* bits: kinds of which there are no rows */
    enum row_kind told; /* the kind that is named for it, if not its own */
};

#define TWICE(kind, why)                                                                           \
    {                                                                                              \
        kind, NULL, 0, why, .again = 1                                                             \
    }
#define NUMBERS "numbers out of range"
#define LENGTHS(kind, col, why)                                                                    \
    {kind, col, -1, why},                                                                          \
    {                                                                                              \
        kind, col, TIME_MS_MAX + 1, why                                                            \
    }
#define AMOUNTS(kind, col, why)                                                                    \
    {kind, col, -1, why},                                                                          \
    {                                                                                              \
        kind, col, AMOUNT_MAX + 1, why                                                             \
    }

static const struct damage cluster[] = {
    {ROW_COUNTER, "last", -1, "not a counter"},
    {ROW_SYMBOL, "text", 0, "not a text"},
    TWICE(ROW_SYMBOL, "its text is there twice"),
    {ROW_POOL, "currency", ELSEWHERE, "it names a symbol that is not there, or not pinned"},
    {ROW_POOL, "currency", RUNS, "it names a symbol that is not there, or not pinned"},
    {ROW_POOL, "id", 0, "ids do not ascend"},
    {ROW_COPY, "id", 101, "ids beyond its counter"},
    {ROW_SYMBOL, NULL, 0, "ids beyond its counter", .missing = 1ull << ROW_COUNTER},
    {ROW_POOL, "name", 0, "its name is missing or taken"},
    TWICE(ROW_POOL, "its name is missing or taken"),
    {ROW_POOL, "spot_up_ms", -1, NUMBERS},
    {ROW_POOL, "spot_up_ms", SPOT_SEEN_MAX + 1, NUMBERS},
    {ROW_POOL, "spot_down_ms", -1, NUMBERS},
    {ROW_POOL, "spot_down_ms", SPOT_SEEN_MAX + 1, NUMBERS},
    {ROW_POOL, "spot_losses", -1, NUMBERS},
    LENGTHS(ROW_POOL, "spot_at_ms", NUMBERS),
    {ROW_POOL, "link_bytes", -1, "a site's numbers out of range"},
    {ROW_POOL, "egress_gib_micro", -1, "a site's numbers out of range"},
    LENGTHS(ROW_POOL, "keep_ms", "a site's numbers out of range"),
    {ROW_POOL, "burst_budget_micro", -1, "a burst policy out of range"},
    {ROW_POOL, "burst_period_ms", 0, "a burst policy out of range"},
    {ROW_POOL, "burst_spent_micro", -1, "a burst policy out of range"},
    LENGTHS(ROW_POOL, "burst_begin_ms", "a burst policy out of range"),
    LENGTHS(ROW_POOL, "burst_after_ms", "a burst policy out of range"),
    LENGTHS(ROW_POOL, "burst_period_ms", "a burst policy out of range"),
    {ROW_PRICE, "pool", ELSEWHERE, "no pool or a negative price"},
    {ROW_PRICE, "hour_micro", -1, "no pool or a negative price"},
    {ROW_LEVEL, "pool", ELSEWHERE, "no pool, name or label"},
    {ROW_LEVEL, "name", 0, "no pool, name or label"},
    {ROW_LEVEL, "label", 0, "no pool, name or label"},
    {ROW_LEVEL, NULL, 0, "too many levels", .again = LEVELS_MAX},
    {ROW_NODE, "pool", ELSEWHERE, "no pool, or its name is taken"},
    TWICE(ROW_NODE, "no pool, or its name is taken"),
    {ROW_NODE, "devices", -1, "amounts out of range"},
    {ROW_NODE, "devices", DEVICES_MAX + 1, "amounts out of range"},
    AMOUNTS(ROW_NODE, "cpu_milli", "amounts out of range"),
    AMOUNTS(ROW_NODE, "memory_bytes", "amounts out of range"),
    AMOUNTS(ROW_NODE, "disk_bytes", "amounts out of range"),
    {ROW_NODE, "state", -1, "amounts out of range"},
    {ROW_NODE, "state", NODE_LOST + 1, "amounts out of range"},
    {ROW_NODE, "sockets", KEY, "no lists of devices"},
    {ROW_NODE_LABEL, "node", ELSEWHERE, "no node"},
    {ROW_RESERVATION, "node", ELSEWHERE, "no node or no length"},
    {ROW_RESERVATION, "end_ms", START_MS + HOUR_MS, "no node or no length"},
    {ROW_TEAM, "name", 0, "its name is missing or taken"},
    TWICE(ROW_TEAM, "its name is missing or taken"),
    {ROW_TEAM, "id", (int64_t)UINT32_MAX + 1, NUMBERS},
    {ROW_TEAM, "usage", -1, NUMBERS},
    {ROW_TEAM, "weight_micro", -1, NUMBERS},
    {ROW_TEAM, "parent", ELSEWHERE, "no parent"},
    {ROW_TEAM, "parent", 1, "a cycle"},
    {ROW_QUOTA, "team", ELSEWHERE, "no team or amounts out of range"},
    {ROW_QUOTA, "resource", 0, "no team or amounts out of range"},
    {ROW_QUOTA, "guarantee", -1, "no team or amounts out of range"},
    {ROW_QUOTA, "limit", -2, "no team or amounts out of range"},
};

static const struct damage work[] = {
    AMOUNTS(ROW_SHAPE, "cpu_milli", "amounts out of range"),
    AMOUNTS(ROW_SHAPE, "memory_bytes", "amounts out of range"),
    AMOUNTS(ROW_SHAPE, "disk_bytes", "amounts out of range"),
    {ROW_SHAPE, "accelerator_milli", -1, "amounts out of range"},
    {ROW_SHAPE, "accelerator_milli", DEVICES_MAX *DEVICE_MILLI + 1, "amounts out of range"},
    {ROW_SHAPE, "mix", -1, "its part of the mix"},
    {ROW_SHAPE, "mix", (int64_t)INT32_MAX + 1, "its part of the mix"},
    {ROW_SHAPE, "topology", WISH_REQUIRED + 1, "a topology without a level"},
    {ROW_SHAPE, "topology", WISH_NONE, "a topology without a level"},
    {ROW_SHAPE, "within", 0, "a topology without a level"},
    {ROW_RULE, "shape", ELSEWHERE, "no shape"},
    {ROW_JOB, "team", ELSEWHERE, "no team, shape or name"},
    {ROW_JOB, "shape", ELSEWHERE, "no team, shape or name"},
    {ROW_JOB, "name", 0, "no team, shape or name"},
    {ROW_JOB, "name", RUNS, "its name is taken", .id = JOB_KEPT},
    {ROW_JOB, "name_hash", 1, "not the hash of its name"},
    {ROW_JOB, "array", 1, "not an element of an array"},
    {ROW_JOB, "size_min", 0, NUMBERS},
    {ROW_JOB, "size_min", 2, NUMBERS},
    {ROW_JOB, "size_max", GANG_SIZE_MAX + 1, NUMBERS},
    {ROW_JOB, "state", -1, NUMBERS},
    {ROW_JOB, "state", JOB_SUCCEEDED, NUMBERS},
    {ROW_JOB, "backoff_ms", -1, NUMBERS},
    {ROW_JOB, "time_limit_ms", -1, NUMBERS},
    {ROW_JOB, "vain", -1, NUMBERS},
    LENGTHS(ROW_JOB, "grace_ms", NUMBERS),
    LENGTHS(ROW_JOB, "deadline_ms", NUMBERS),
    {ROW_JOB, "interval_ms", -1, NUMBERS},
    {ROW_JOB, "put_off_s", -1, NUMBERS},
    {ROW_JOB_LABEL, "job", ELSEWHERE, "no job"},
    {ROW_DEPENDENCY, "job", ELSEWHERE, "no job, or none that was there before"},
    {ROW_DEPENDENCY, "on_job", 0, "no job, or none that was there before"},
    {ROW_DEPENDENCY, "on_job", JOB_WAITS, "no job, or none that was there before"},
    {ROW_DEPENDENCY, "on_job", JOB_SERVES, "no job, or none that was there before"},
    {ROW_ALLOTMENT, "job", ELSEWHERE, "no job, or it has one"},
    TWICE(ROW_ALLOTMENT, "no job, or it has one"),
    {ROW_ALLOTMENT, "target", -1, NUMBERS},
    {ROW_ALLOTMENT, "target", GANG_SIZE_MAX + 1, NUMBERS},
    {ROW_ALLOTMENT, "served_ms", -1, NUMBERS},
    {ROW_ALLOTMENT, "served_device_ms", -1, NUMBERS},
    {ROW_ALLOTMENT, "remaining", -2, NUMBERS},
    {ROW_ALLOTMENT, "restart_ms", -1, NUMBERS},
    {ROW_SPEED, "allotment", ELSEWHERE, "no allotment, or it has enough"},
    {ROW_SPEED, NULL, 0, "no allotment, or it has enough", .again = CORE_SPEEDS_MAX},
    {ROW_SPEED, "ranks", 0, NUMBERS},
    {ROW_SPEED, "ranks", GANG_SIZE_MAX + 1, NUMBERS},
    {ROW_SPEED, "nodes", 0, NUMBERS},
    {ROW_SPEED, "rate_milli", -1, NUMBERS},
    {ROW_SPOT, "job", ELSEWHERE, "no job, or it has one"},
    TWICE(ROW_SPOT, "no job, or it has one"),
    {ROW_SPOT, "job", JOB_KEPT, "a job without a deadline"},
    {ROW_SPOT, "duration_ms", 0, NUMBERS},
    LENGTHS(ROW_SPOT, "duration_ms", NUMBERS),
    LENGTHS(ROW_SPOT, "interval_ms", NUMBERS),
    LENGTHS(ROW_SPOT, "restart_ms", NUMBERS),
    LENGTHS(ROW_SPOT, "saved_ms", NUMBERS),
    {ROW_SPOT, "since_ms", 0, NUMBERS},
    LENGTHS(ROW_SPOT, "since_ms", NUMBERS),
    LENGTHS(ROW_SPOT, "again_ms", NUMBERS),
    {ROW_SPOT, "now", SPOT_NOWHERE - 1, NUMBERS},
    {ROW_SPOT, "now", SPOT_ON_DEMAND + 1, NUMBERS},
    {ROW_DATA, "job", ELSEWHERE, "no job or site, or bytes out of range"},
    {ROW_DATA, "site", 0, "no job or site, or bytes out of range"},
    AMOUNTS(ROW_DATA, "bytes", "no job or site, or bytes out of range"),
    {ROW_BROKER, "job", ELSEWHERE, "no job or no pool, or it has one"},
    {ROW_BROKER, "pool", ELSEWHERE, "no job or no pool, or it has one"},
    {ROW_BROKER, "pool", 1, "no job or no pool, or it has one"},
    TWICE(ROW_BROKER, "no job or no pool, or it has one"),
    {ROW_BROKER, "verdict", -1, NUMBERS},
    {ROW_BROKER, "verdict", BURST_VERDICT_COUNT, NUMBERS},
    LENGTHS(ROW_BROKER, "duration_ms", NUMBERS),
    LENGTHS(ROW_BROKER, "wait_ms", NUMBERS),
    LENGTHS(ROW_BROKER, "look_ms", NUMBERS),
    LENGTHS(ROW_BROKER, "due_ms", NUMBERS),
    LENGTHS(ROW_BROKER, "forecast_ms", NUMBERS),
    LENGTHS(ROW_BROKER, "start_ms", NUMBERS),
    LENGTHS(ROW_BROKER, "since_ms", NUMBERS),
    LENGTHS(ROW_BROKER, "lease_ms", NUMBERS),
    {ROW_BROKER, "lease_ms", START_MS, NUMBERS},
    {ROW_BROKER, "seen", -1, NUMBERS},
    {ROW_BROKER, "booked_micro", -1, NUMBERS},
    {ROW_BROKER, "reserved_micro", -1, NUMBERS},
    {ROW_BROKER, "egress_micro", -1, NUMBERS},
    {ROW_BROKER, "egress_micro", 1, NUMBERS},
    {ROW_COPY, "site", 0, "no version or site"},
    {ROW_COPY, "version", 0, "no version or site"},
    AMOUNTS(ROW_COPY, "bytes", NUMBERS),
    LENGTHS(ROW_COPY, "since_ms", NUMBERS),
    LENGTHS(ROW_COPY, "used_ms", NUMBERS),
    LENGTHS(ROW_COPY, "transfer_ms", NUMBERS),
    {ROW_COPY, "egress_micro", -1, NUMBERS},
    TWICE(ROW_COPY, "there is one of that version at that site already"),
};

static const struct damage places[] = {
    {ROW_ATTEMPT, "job", ELSEWHERE, "not its job's live attempt"},
    {ROW_ATTEMPT, "job", JOB_KEPT, "not its job's live attempt"},
    {ROW_ATTEMPT, "size", 0, "not its job's live attempt"},
    {ROW_ATTEMPT, "size", GANG_SIZE_MAX + 1, "not its job's live attempt"},
    {ROW_ATTEMPT, "state", -1, "not its job's live attempt"},
    {ROW_ATTEMPT, "state", ATTEMPT_ENDED, "not its job's live attempt"},
    LENGTHS(ROW_ATTEMPT, "site_end_ms", "its site ends it at no such moment"),
    {ROW_PLACEMENT, "attempt", ELSEWHERE, "no attempt or node"},
    {ROW_PLACEMENT, "node", ELSEWHERE, "no attempt or node"},
    {ROW_PLACEMENT, "devices", 1 << 4, "devices or ranks out of range"},
    {ROW_PLACEMENT, "device_milli", -1, "devices or ranks out of range"},
    {ROW_PLACEMENT, "device_milli", DEVICE_MILLI + 1, "devices or ranks out of range"},
    {ROW_PLACEMENT, "ranks", 0, "devices or ranks out of range"},
    {ROW_PLACEMENT, "ranks", GANG_SIZE_MAX + 1, "devices or ranks out of range"},
    {ROW_SPAN, "placement", ELSEWHERE, "no placement"},
    {ROW_SPAN, "end_ms", START_MS - HOUR_MS - 1, NUMBERS},
    {ROW_SPAN, "hour_micro", -1, NUMBERS},
    {ROW_CLAIM, "job", ELSEWHERE, "no waiting job or no node"},
    {ROW_CLAIM, "job", JOB_RUNS, "no waiting job or no node"},
    {ROW_CLAIM, "node", ELSEWHERE, "no waiting job or no node"},
    {ROW_CLAIM, "devices", 1 << 4, "devices or ranks out of range"},
    {ROW_CLAIM, "ranks", 0, "devices or ranks out of range"},
    {ROW_PROMISE, "job", ELSEWHERE, "no job that competes or no node"},
    {ROW_PROMISE, "job", JOB_RUNS, "no job that competes or no node"},
    {ROW_PROMISE, "job", JOB_KEPT, "no job that competes or no node"},
    {ROW_PROMISE, "job", JOB_WAITS, "no job that competes or no node"},
    {ROW_PROMISE, "node", ELSEWHERE, "no job that competes or no node"},
    {ROW_PROMISE, "devices", 1 << 4, "devices, ranks or moment out of range"},
    {ROW_PROMISE, "begin_ms", -1, "devices, ranks or moment out of range"},
    {ROW_JOB, "state", JOB_HELD, "its state contradicts its rows", .id = JOB_RUNS},
    {ROW_JOB, "state", JOB_HELD, "its state contradicts its rows", .id = JOB_KEPT},
    {ROW_JOB, "state", JOB_STARTING, "its state contradicts its rows", .id = JOB_WAITS},
    {ROW_JOB, "state", JOB_QUEUED, "its state contradicts its rows", .id = JOB_WAITS},
    {ROW_ATTEMPT, "state", ATTEMPT_SUBMITTED, "its state contradicts its rows", .told = ROW_JOB},
    {ROW_JOB, NULL, 0, "its state contradicts its rows",
        .missing = 1ull << ROW_PLACEMENT | 1ull << ROW_SPAN},
};

static const struct damage services[] = {
    {ROW_SERVICE, "team", ELSEWHERE, "no team, or its name is missing or taken"},
    {ROW_SERVICE, "name", 0, "no team, or its name is missing or taken"},
    TWICE(ROW_SERVICE, "no team, or its name is missing or taken"),
    {ROW_SERVICE, "revision", 0, NUMBERS},
    {ROW_SERVICE, "replicas", -1, NUMBERS},
    {ROW_SERVICE, "replicas", REPLICAS_MAX + 1, NUMBERS},
    {ROW_SERVICE, "surge", -1, NUMBERS},
    {ROW_SERVICE, "surge", 0, NUMBERS},
    {ROW_SERVICE, "surge", REPLICAS_MAX + 1, NUMBERS},
    {ROW_SERVICE, "unavailable", -1, NUMBERS},
    {ROW_SERVICE, "unavailable", REPLICAS_MAX + 1, NUMBERS},
    {ROW_SERVICE, "number", -1, NUMBERS},
    {ROW_SERVICE, "refusals", -1, NUMBERS},
    {ROW_REPLICA, "service", ELSEWHERE, "no service, or no job for it"},
    {ROW_REPLICA, "job", ELSEWHERE, "no service, or no job for it"},
    {ROW_REPLICA, "job", JOB_KEPT, "no service, or no job for it"},
    TWICE(ROW_REPLICA, "no service, or no job for it"),
    LENGTHS(ROW_REPLICA, "recalled_ms", "a moment out of range"),
    {ROW_ROLLOUT, "service", ELSEWHERE, "no service"},
    TWICE(ROW_ROLLOUT, "its service has another"),
    {ROW_ROLLOUT, "strategy", ROLLOUT_PLAIN, NUMBERS},
    {ROW_ROLLOUT, "steps", 0, NUMBERS},
    {ROW_ROLLOUT, "steps", ROLLOUT_STEPS_MAX + 1, NUMBERS},
    {ROW_ROLLOUT, "step", -1, NUMBERS},
    {ROW_ROLLOUT, "step", 1, NUMBERS},
    {ROW_ROLLOUT, "alpha_ppm", 0, NUMBERS},
    {ROW_ROLLOUT, "alpha_ppm", 1000001, NUMBERS},
    {ROW_ROLLOUT, "differences_ppm", 0, NUMBERS},
    {ROW_ROLLOUT, "differences_ppm", 1000000, NUMBERS},
    {ROW_ROLLOUT, "stable", -1, NUMBERS},
    {ROW_ROLLOUT, "stable", 3, NUMBERS},
    {ROW_EVIDENCE, "rollout", ELSEWHERE, "no rollout"},
    TWICE(ROW_EVIDENCE, "no arm, or one that has evidence"),
    {ROW_EVIDENCE, "arm", ARM_MAIN, "no arm, or one that has evidence"},
    {ROW_EVIDENCE, "arm", ARM_COUNT, "no arm, or one that has evidence"},
};

/* ---- loading it ------------------------------------------------------------------------------ */

static void damage_row(const struct damage *damage, void *row)
{
    const struct row_type *type = row_type(damage->kind);
    for (size_t i = 0; i < type->column_count; i++) {
        const struct column *column = &type->columns[i];
        if (strcmp(column->name, damage->column) != 0)
            continue;
        memcpy((char *)row + column->offset, &damage->value, column->size < 8 ? column->size : 8);
        return;
    }
    fail_msg("%s has no column %s", type->name, damage->column);
}

/* Loads a row of the state, or what the damage makes of it. */
static int load_one(struct core *core, enum row_kind kind, const void *row,
    const struct damage *damage, struct error *err)
{
    uint64_t id = *(const uint64_t *)row;
    bool hit = damage->kind == kind && id == (damage->id ? damage->id : 1);
    SCOPED(mem_scope) void *made = mem_alloc(1, row_type(kind)->size);
    memcpy(made, row, row_type(kind)->size);
    if (damage->missing >> kind & 1)
        return 0;
    if (hit && damage->column)
        damage_row(damage, made);
    if (core_load_row(core, kind, made, err) < 0)
        return -1;
    for (int i = 0; hit && i < damage->again; i++) {
        *(uint64_t *)made = 50 + (uint64_t)i;
        if (core_load_row(core, kind, made, err) < 0)
            return -1;
    }
    return 0;
}

static int load_first(struct core *core, const struct damage *damage, struct error *err)
{
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++) {
        struct counter_row row = {.id = 1 + (uint64_t)kind, .last = 100};
        snprintf(row.name, sizeof row.name, "%s", row_type((enum row_kind)kind)->name);
        if (load_one(core, ROW_COUNTER, &row, damage, err) < 0)
            return -1;
    }
    for (uint64_t i = POOL; i < ARRAY_LEN(symbols); i++) {
        struct symbol_row row = {.id = i, .pinned = i < RUNS};
        snprintf(row.text, sizeof row.text, "%s", symbols[i]);
        if (load_one(core, ROW_SYMBOL, &row, damage, err) < 0)
            return -1;
    }
    return 0;
}

static int load(const struct damage *damage, struct error *err)
{
    struct core *core = core_create(NULL);
    int rc = load_first(core, damage, err);
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
        jobs[i].name_hash = hash_text(symbols[jobs[i].name]);
    for (size_t i = 0; i < ARRAY_LEN(rows) && rc == 0; i++)
        rc = load_one(core, rows[i].kind, rows[i].row, damage, err);
    rc = rc == 0 ? core_load_end(core, err) : rc;
    core_destroy(core);
    return rc;
}

static void refused(const struct damage *damages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct damage *one = &damages[i];
        const char *told = row_type(one->told ? one->told : one->kind)->name;
        struct error err;
        const char *column = one->column ? one->column : "";
        if (load(one, &err) == 0)
            fail_msg("%s %s %lld: it is taken", row_type(one->kind)->name, column,
                (long long)one->value);
        assert_int_equal(err.code, ERR_CORRUPT);
        if (!strstr(err.text, told) || !strstr(err.text, one->why))
            fail_msg("%s %s %lld: %s", row_type(one->kind)->name, column, (long long)one->value,
                err.text);
    }
}

static void what_is_whole_is_taken(void **state)
{
    const struct damage none = {.kind = ROW_KIND_COUNT};
    struct error err;
    (void)state;
    if (load(&none, &err) < 0)
        fail_msg("%s", err.text);
}

static void damaged_clusters_are_refused(void **state)
{
    (void)state;
    refused(cluster, ARRAY_LEN(cluster));
}

static void damaged_jobs_are_refused(void **state)
{
    (void)state;
    refused(work, ARRAY_LEN(work));
}

static void damaged_places_are_refused(void **state)
{
    (void)state;
    refused(places, ARRAY_LEN(places));
}

static void damaged_services_are_refused(void **state)
{
    (void)state;
    refused(services, ARRAY_LEN(services));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_whole_is_taken),
        cmocka_unit_test(damaged_clusters_are_refused),
        cmocka_unit_test(damaged_jobs_are_refused),
        cmocka_unit_test(damaged_places_are_refused),
        cmocka_unit_test(damaged_services_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
