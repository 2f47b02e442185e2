/* Why an attempt ended: one decision from what was seen of its pods, made once. */
#include "engine/kubernetes_node.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { SIGNAL_KILL = 9 };

void kube_verdict_decide(struct kube_attempt *attempt, enum engine_end_reason reason, int code,
    int32_t rank, const char *text)
{
    assert(reason != ENGINE_END_NONE && attempt->verdict.reason == ENGINE_END_NONE);
    attempt->verdict = (struct attempt_end){.reason = reason, .code = code, .rank = rank};
    snprintf(attempt->verdict.text, sizeof attempt->verdict.text, "%.*s",
        (int)sizeof attempt->verdict.text - 1, text);
}

/* Nothing of the rank runs, nor will. */
static bool is_done(const struct kube_rank *rank)
{
    const struct kube_pod *pod = &rank->pod;
    if (rank->look || (rank->call && !pod->created))
        return false;
    return pod->over || !pod->exists || pod->lost;
}

/* Why the rank ends the gang; NONE: it does not. */
static enum engine_end_reason cause_of(const struct kube_rank *rank)
{
    const struct kube_pod *pod = &rank->pod;
    bool by_itself = pod->cause == ENGINE_END_SIGNALLED || pod->cause == ENGINE_END_NONE ||
                     pod->cause == ENGINE_END_LOST || pod->cause == ENGINE_END_EXITED;
    if (rank->look)
        return ENGINE_END_NONE;
    if (pod->cause == ENGINE_END_NODE_LOST && !pod->lost &&
        !kube_node_is_down(rank->attempt->engine, pod->node))
        return ENGINE_END_DRAINED; /* by a taint of an administrator's: the node is well */
    if (pod->cause == ENGINE_END_DRAINED && kube_node_is_spot(rank->attempt->engine, pod->node))
        return ENGINE_END_PREEMPTED; /* its owner takes it back */
    if (pod->created && pod->deleting && by_itself)
        return ENGINE_END_CANCELLED;
    if (pod->created && !pod->exists && !pod->over)
        return ENGINE_END_CANCELLED;
    return pod->cause == ENGINE_END_SUCCEEDED ? ENGINE_END_NONE : pod->cause;
}

/* The rank that failed first decides. */
void kube_verdict_judge(struct kube_attempt *attempt)
{
    const struct kube_rank *first = NULL;
    uint32_t succeeded = 0;
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        const struct kube_rank *rank = &attempt->ranks[i];
        succeeded += rank->pod.cause == ENGINE_END_SUCCEEDED && rank->pod.over;
        if (!cause_of(rank))
            continue;
        if (!first || (rank->pod.ended_ms && rank->pod.ended_ms < first->pod.ended_ms))
            first = rank;
    }
    if (first) {
        enum engine_end_reason reason = cause_of(first);
        bool deleted = reason == ENGINE_END_CANCELLED;
        if (deleted) /* maybe the namespace was, and the policies with it */
            strmap_finish(&attempt->engine->teams);
        kube_verdict_decide(attempt, reason, deleted ? 0 : first->pod.code, (int32_t)first->rank,
            deleted ? "its pod was deleted in the cluster" : first->pod.text);
    } else if (succeeded == attempt->ledger.ranks) {
        kube_verdict_decide(attempt, ENGINE_END_SUCCEEDED, 0, -1, "");
    }
}

/* It was told to stop, and nothing of it is left. */
void kube_verdict_judge_stopped(struct kube_attempt *attempt)
{
    bool killed = attempt->ledger.kill_asked;
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        const struct kube_pod *pod = &attempt->ranks[i].pod;
        killed |= pod->cause == ENGINE_END_SIGNALLED && pod->code == SIGNAL_KILL;
        killed |= pod->lost;
    }
    kube_verdict_decide(attempt, killed ? ENGINE_END_KILLED : ENGINE_END_STOPPED, 0, -1, "");
}

bool kube_verdict_all_done(struct kube_attempt *attempt)
{
    bool done = true;
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        struct kube_pod *pod = &attempt->ranks[i].pod;
        pod->lost = pod->exists && !pod->over && pod->deleting &&
                    kube_node_is_down(attempt->engine, pod->node);
        done &= is_done(&attempt->ranks[i]);
    }
    return done;
}
