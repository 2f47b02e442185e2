/* The names of what columns of the tables may say (enum .. in rows.h), as the API and traces show
 * them. */
#include "base/memory.h"
#include "core/rows.h"

#include <assert.h>

const char *const job_state_names[] = {
    "held",
    "waiting",
    "queued",
    "starting",
    "running",
    "stopping",
    "succeeded",
    "failed",
    "cancelled",
    NULL,
};
const char *const attempt_state_names[] = {"admitted", "submitted", "started", "ended", NULL};
const char *const end_reason_names[] = {
    "none",
    "succeeded",
    "exit",
    "signal",
    "out-of-memory",
    "disk-quota",
    "start-failed",
    "preempted",
    "cancelled",
    "time-limit",
    "deadline",
    "node-lost",
    "drained",
    "resized",
    "lost",
    "dependency",
    "unhealthy",
    "replaced",
    "moved",
    "handed-over",
    NULL,
};
const char *const rollout_strategy_names[] = {"none", "canary", "blue-green", "shadow", NULL};
const char *const rollout_state_names[] = {
    "idle", "starting", "testing", "promoted", "aborted", NULL};
const char *const rollout_reason_names[] = {
    "none",
    "command",
    "readiness",
    "sample",
    "bake",
    "errors",
    "latency",
    "quality",
    "differences",
    "guard-errors",
    "guard-latency",
    "patience",
    "passed",
    NULL,
};
const char *const replica_arm_names[] = {"main", "baseline", "canary", NULL};
const char *const burst_verdict_names[] = {
    "none",
    "unfit",
    "soon",
    "no-room",
    "over-budget",
    "unbounded",
    "jurisdiction",
    "for-wait",
    "for-deadline",
    "for-lack",
    NULL,
};
static_assert(ARRAY_LEN(burst_verdict_names) == BURST_VERDICT_COUNT + 1, "a name for each verdict");
static_assert(ARRAY_LEN(rollout_reason_names) == REASON_COUNT + 1, "a name for each reason");
static_assert(ARRAY_LEN(end_reason_names) == END_REASON_COUNT + 1, "a name for each reason");
static_assert(ARRAY_LEN(job_state_names) == JOB_CANCELLED + 2, "a name for each state");
static_assert(ARRAY_LEN(attempt_state_names) == ATTEMPT_ENDED + 2, "a name for each state");
