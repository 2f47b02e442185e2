/* The life of an attempt in a cluster. Invariants:
 *  1. an attempt is advanced by what was seen of it, never by what was asked for
 * (kubernetes_make.c);
 *  2. where one of a gang is refused, the others are taken away again;
 *  3. the end is written down when no rank runs any more and its log was read, and told after that.
 */
#include "engine/kubernetes_node.h"
#include "engine/kubernetes_objects.h"

#include "base/clock.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOG_WAIT_MS = 5 * 60 * 1000, /* for the rest of the logs at most, once all ranks are over */
    QUOTA_WAIT_MS = 5000,
};

/* ---- making and freeing --------------------------------------------------------------------- */

struct kube_attempt *kube_attempt_create(
    struct kubernetes *engine, const struct kube_ledger *ledger)
{
    struct kube_attempt *attempt = mem_alloc(1, sizeof *attempt);
    size_t at = engine->attempts.count;
    attempt->engine = engine;
    attempt->ledger = *ledger;
    attempt->log_fd = -1;
    attempt->ranks = mem_alloc(ledger->ranks, sizeof *attempt->ranks);
    for (uint32_t i = 0; i < ledger->ranks; i++) {
        attempt->ranks[i].attempt = attempt;
        attempt->ranks[i].rank = i;
        attempt->ranks[i].log.attempt = attempt;
        attempt->ranks[i].log.rank = i;
        kube_output_init(&attempt->ranks[i].log.output, KUBE_LINE_MAX);
    }
    engine_mark(engine->owner, ledger->attempt, attempt->name);
    while (at > 0 && engine->attempts.items[at - 1]->ledger.attempt > ledger->attempt)
        at--;
    vec_insert(&engine->attempts, at, attempt);
    idmap_put(&engine->by_id, ledger->attempt, attempt);
    return attempt;
}

static void cancel(struct kube_call **call)
{
    if (*call)
        kube_call_cancel(*call);
    *call = NULL;
}

void kube_attempt_remove(struct kube_attempt *attempt)
{
    struct kubernetes *engine = attempt->engine;
    size_t at = 0, end = engine->attempts.count;
    kube_log_close(attempt);
    cancel(&attempt->call);
    kube_make_leave_policies(attempt);
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        cancel(&attempt->ranks[i].call);
        kube_room_leave(&attempt->ranks[i]);
    }
    while (end - at > 1) {
        size_t middle = at + (end - at) / 2;
        bool after = engine->attempts.items[middle]->ledger.attempt > attempt->ledger.attempt;
        *(after ? &end : &at) = middle;
    }
    assert(engine->attempts.items[at] == attempt);
    vec_remove(&engine->attempts, at);
    idmap_remove(&engine->by_id, attempt->ledger.attempt);
    kube_objects_drop(attempt);
    kube_inputs_release(attempt);
    free(attempt->ranks);
    free(attempt);
}

void kube_attempt_due(struct kube_attempt *attempt)
{
    if (!attempt->due)
        vec_push(&attempt->engine->due, attempt->ledger.attempt);
    attempt->due = true;
    kubernetes_turn(attempt->engine);
}

void kube_attempt_tell(struct kube_attempt *attempt)
{
    vec_push(&attempt->engine->telling, attempt->ledger.attempt);
    kubernetes_turn(attempt->engine);
}

void kube_attempt_note(struct kube_attempt *attempt, const char *text)
{
    snprintf(attempt->why, sizeof attempt->why, "%.*s", (int)sizeof attempt->why - 1, text);
}

/* Not now: again a little later, whatever it was. */
void kube_attempt_later(struct kube_attempt *attempt, const struct error *err, int64_t least_ms)
{
    kube_attempt_note(attempt, err->text);
    kubernetes_retry_later(attempt, least_ms);
}

static bool is_passing(const struct error *err)
{
    return err->code == ERR_UNAVAILABLE || err->code == ERR_BUSY ||
           err->code == ERR_UNAUTHENTICATED;
}

bool kube_attempt_is_ending(const struct kube_attempt *attempt)
{
    return attempt->verdict.reason || attempt->ledger.stop_asked;
}

/* A quota of the namespace is used up. What holds nothing of it waits. A gang that got a part of
 * its pods gives them back, since others may wait for these with a part of theirs, and is queued
 * again after the same while. */
static void wait_for_quota(struct kube_attempt *attempt, const struct error *err)
{
    uint32_t there = 0;
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++)
        there += attempt->ranks[i].pod.created;
    attempt->patience_ms = clock_boot_ms() + QUOTA_WAIT_MS;
    kube_attempt_later(attempt, err, 0);
    if (there > 0 && !kube_attempt_is_ending(attempt)) {
        kube_verdict_decide(attempt, ENGINE_END_PREEMPTED, 0, -1, err->text);
        kube_attempt_due(attempt);
    }
}

bool kube_attempt_is_waiting(const struct kube_attempt *attempt)
{
    return clock_boot_ms() < attempt->patience_ms;
}

/* The API server refused something for good, or not. */
void kube_attempt_refused(struct kube_attempt *attempt, const struct error *err, int64_t least_ms)
{
    if (is_passing(err)) {
        kube_attempt_later(attempt, err, least_ms);
        return;
    }
    if (err->code == ERR_FULL) {
        wait_for_quota(attempt, err);
        return;
    }
    if (err->code == ERR_NOT_FOUND) /* the namespace: its policies are gone as well */
        strmap_finish(&attempt->engine->teams);
    if (!kube_attempt_is_ending(attempt))
        kube_verdict_decide(attempt, ENGINE_END_START_FAILED, 0, -1, err->text);
    kube_attempt_due(attempt);
}

void kube_attempt_saw(struct kube_rank *rank, const struct doc *object)
{
    struct kube_pod *pod = &rank->pod;
    if (object)
        kube_pod_read(object, pod);
    else
        pod->exists = false;
    if (pod->exists && !pod->over)
        kube_room_take(rank, pod->node);
    else
        kube_room_leave(rank);
    rank->seen = true;
    kube_attempt_due(rank->attempt);
}

/* ---- its start and its end ----------------------------------------------------------------------
 */

static void check_started(struct kube_attempt *attempt)
{
    struct error err = {0};
    uint32_t began = 0;
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++)
        began += attempt->ranks[i].pod.began;
    if (attempt->ledger.started_ms || began < attempt->ledger.ranks)
        return;
    attempt->ledger.started_ms = clock_wall_ms();
    if (kube_ledger_note(attempt, &err) < 0) { /* a failure of the machine has it seen again */
        attempt->ledger.started_ms = 0;
        kube_attempt_later(attempt, &err, 0);
        return;
    }
    attempt->tell_started = true;
    kube_attempt_tell(attempt);
    kube_usage_begin(attempt->engine);
}

/* Whether the logs are whole, or were waited for. An API server that does not answer is waited for
 * as long as it takes. */
static bool has_logs(struct kube_attempt *attempt)
{
    int64_t now = clock_boot_ms();
    if (!attempt->over_ms || !attempt->engine->about.answers)
        attempt->over_ms = now;
    return kube_log_advance(attempt) || !kube_log_may_come(attempt) ||
           now - attempt->over_ms >= LOG_WAIT_MS;
}

/* Nothing runs any more: writes the end down. */
static void finish(struct kube_attempt *attempt)
{
    struct error err = {0};
    bool whole = has_logs(attempt);
    if (!whole || (kube_attempt_is_waiting(attempt) && !attempt->ledger.stop_asked)) {
        kubernetes_retry_later(attempt, 0);
        return;
    }
    if (!attempt->verdict.reason)
        kube_verdict_judge_stopped(attempt);
    attempt->ledger.end = attempt->verdict;
    attempt->ledger.end.started_ms = attempt->ledger.started_ms;
    attempt->ledger.end.ended_ms = clock_wall_ms();
    attempt->ledger.end.stop_asked = attempt->ledger.stop_asked;
    attempt->ledger.ended = true;
    if (kube_ledger_save(attempt, &err) < 0) {
        attempt->ledger.ended = false;
        kube_attempt_later(attempt, &err, 0);
        return;
    }
    kube_log_close(attempt);
    attempt->tell_ended = true;
    kube_attempt_tell(attempt);
}

/* ---- the whole ------------------------------------------------------------------------------- */

void kube_attempt_save_made(struct kube_attempt *attempt)
{
    struct error err = {0};
    attempt->ledger.made = true;
    if (kube_ledger_note(attempt, &err) == 0) {
        kube_objects_drop(attempt);
        return;
    }
    attempt->ledger.made = false;
    kube_attempt_later(attempt, &err, 0);
}

/* Found after a restart that came before all of it was known to be there. What it is made of is not
 * known any more: either all ranks are there, or it is taken apart. */
static void settle_half_made(struct kube_attempt *attempt)
{
    uint32_t there = 0;
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        there += attempt->ranks[i].pod.created;
        if (attempt->ranks[i].look)
            return;
    }
    if (there == attempt->ledger.ranks)
        kube_attempt_save_made(attempt);
    else
        kube_verdict_decide(attempt, ENGINE_END_LOST, 0, -1,
            "the server ended before the cluster had all of the gang");
}

void kube_attempt_advance(struct kube_attempt *attempt)
{
    if (attempt->ledger.ended) {
        kube_make_end_pods(
            attempt); /* one that the API server made so late that nobody waited for it */
        if (attempt->ledger.forgotten)
            kube_make_clean(attempt);
        return;
    }
    if (attempt->unsure)
        return;
    kube_make_look(attempt);
    bool half_made = !attempt->labels && !attempt->ledger.made;
    if (!kube_attempt_is_ending(attempt) && half_made)
        settle_half_made(attempt);
    if (!kube_attempt_is_ending(attempt) && attempt->labels)
        kube_make_advance(attempt);
    bool done = kube_verdict_all_done(attempt);
    check_started(attempt);
    if (!kube_attempt_is_ending(attempt))
        kube_verdict_judge(attempt);
    if (kube_attempt_is_ending(attempt))
        kube_make_end_pods(attempt);
    if (kube_attempt_is_ending(attempt) && done && !attempt->call)
        finish(attempt);
    else
        (void)kube_log_advance(attempt);
}
