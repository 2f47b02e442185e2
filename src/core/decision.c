/* Decisions: what the audit records, in the order it was decided. */
#include "core/core.h"
#include "core/state.h"
#include "core/table.h"

#include <assert.h>

const char *const decision_names[] = {
    "pool-put",
    "pool-delete",
    "team-put",
    "team-delete",
    "job-submit",
    "job-cancel",
    "job-hold",
    "job-release",
    "node-cordon",
    "node-uncordon",
    "node-drain",
    "node-reserve",
    "node-lost",
    "node-up",
    "admit",
    "start",
    "stop",
    "end",
    "requeue",
    "job-end",
    "claim",
    "service-put",
    "service-delete",
    "replica-ready",
    "replica-unready",
    "promise",
    "rollout-begin",
    "rollout-step",
    "rollout-pause",
    "rollout-resume",
    "rollout-promote",
    "rollout-abort",
    "service-scale",
    "burst",
    "burst-refused",
    "burst-recall",
    "data-copy",
    "data-drop",
    NULL,
};
static_assert(ARRAY_LEN(decision_names) == DECISION_KIND_COUNT + 1, "a name for each decision");

void decide(struct core *core, struct core_decision decision)
{
    assert((unsigned)decision.kind < DECISION_KIND_COUNT);
    decision.at_ms = core->now_ms;
    vec_push(&core->decisions, decision);
}

void core_decisions(struct core *core, core_decision_fn *visit, void *context)
{
    for (size_t i = 0; i < core->decisions.count; i++)
        visit(context, &core->decisions.items[i]);
}

size_t core_decision_count(const struct core *core)
{
    return core->decisions.count;
}
