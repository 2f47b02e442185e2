/* The life of an attempt in a cluster. Invariants:
 *  1. an attempt is advanced by what was seen of it, never by what was asked for: a request whose
 * answer is missing is made again, and a name that is taken says that it had been done;
 *  2. names come from the attempt's mark, so nothing is ever there twice;
 *  3. pods are made only when everything before them is there; where one of a gang is refused, the
 * others are taken away again;
 *  4. the end is written down when no rank runs any more and its log was read, and told after that;
 *  5. a rank has at most one request under way, and so has the attempt beside its ranks. */
#include "engine/kubernetes.h"

#include "base/clock.h"
#include "base/strbuf.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOG_WAIT_MS = 10000, /* for the rest of the logs, once all ranks are over */
    QUOTA_WAIT_MS = 5000,
    SIGNAL_KILL = 9,
    KILL_GRACE_S = 1, /* 0 would forget the pod, whatever becomes of its processes */
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
    size_t at = 0;
    kube_log_close(attempt);
    cancel(&attempt->call);
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        cancel(&attempt->ranks[i].call);
        free(attempt->ranks[i].spec);
    }
    while (engine->attempts.items[at] != attempt)
        at++;
    vec_remove(&engine->attempts, at);
    idmap_remove(&engine->by_id, attempt->ledger.attempt);
    free(attempt->ranks);
    free(attempt->labels);
    free(attempt->service);
    free(attempt->secret);
    free(attempt->team);
    free(attempt);
}

void kube_attempt_due(struct kube_attempt *attempt)
{
    attempt->due = true;
    kubernetes_turn(attempt->engine);
}

static void note(struct kube_attempt *attempt, const char *text)
{
    snprintf(attempt->why, sizeof attempt->why, "%.*s", (int)sizeof attempt->why - 1, text);
}

/* Not now: again a little later, whatever it was. */
static void later(struct kube_attempt *attempt, const struct error *err, int64_t least_ms)
{
    note(attempt, err->text);
    kubernetes_retry_later(attempt, least_ms);
}

static bool is_passing(const struct error *err)
{
    return err->code == ERR_UNAVAILABLE || err->code == ERR_BUSY ||
           err->code == ERR_UNAUTHENTICATED;
}

static void decide(struct kube_attempt *attempt, enum engine_end_reason reason, int code,
    int32_t rank, const char *text)
{
    assert(reason != ENGINE_END_NONE && attempt->verdict.reason == ENGINE_END_NONE);
    attempt->verdict = (struct attempt_end){.reason = reason, .code = code, .rank = rank};
    snprintf(attempt->verdict.text, sizeof attempt->verdict.text, "%.*s",
        (int)sizeof attempt->verdict.text - 1, text);
}

static bool is_ending(const struct kube_attempt *attempt)
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
    later(attempt, err, 0);
    if (there > 0 && !is_ending(attempt)) {
        decide(attempt, ENGINE_END_PREEMPTED, 0, -1, err->text);
        kube_attempt_due(attempt);
    }
}

static bool is_waiting(const struct kube_attempt *attempt)
{
    return clock_boot_ms() < attempt->patience_ms;
}

/* The API server refused something for good, or not. */
static void refused(struct kube_attempt *attempt, const struct error *err, int64_t least_ms)
{
    if (is_passing(err)) {
        later(attempt, err, least_ms);
        return;
    }
    if (err->code == ERR_FULL) {
        wait_for_quota(attempt, err);
        return;
    }
    if (!is_ending(attempt))
        decide(attempt, ENGINE_END_START_FAILED, 0, -1, err->text);
    kube_attempt_due(attempt);
}

/* ---- what is made before the pods ------------------------------------------------------------ */

static struct kube_call *ask(struct kube_attempt *attempt, const char *method, const char *plural,
    const char *name, const char *body, kube_done_fn *done, void *ctx)
{
    SCOPED(mem_scope) char *path = kubernetes_path(attempt->engine, plural, name);
    const struct kube_request request = {
        .method = method, .target = path, .body = body, .length = body ? strlen(body) : 0};
    return kube_client_call(attempt->engine->client, &request, done, ctx);
}

static bool is_ours(const struct kube_attempt *attempt, const struct doc *object)
{
    return strcmp(kube_text(object, "metadata", "labels", KUBE_LABEL_ATTEMPT, NULL),
               attempt->name) == 0;
}

/* A service that was made, or was there already. */
static void on_service(void *ctx, const struct kube_answer *answer)
{
    struct kube_attempt *attempt = ctx;
    struct error err = {0};
    SCOPED(arena_scope) struct arena *arena = arena_create();
    attempt->call = NULL;
    if (answer->status == 409) {
        attempt->call = ask(attempt, "GET", "services", attempt->name, NULL, on_service, attempt);
        return;
    }
    const struct doc *service = kube_answer_doc(answer, arena, "making the gang's service", &err);
    if (service && !is_ours(attempt, service))
        service = NULL, error_set(&err, ERR_CONFLICT, "the service %s is another's", attempt->name);
    if (!service) {
        refused(attempt, &err, answer->retry_after_ms);
        return;
    }
    snprintf(attempt->owner_uid, sizeof attempt->owner_uid, "%s",
        kube_text(service, "metadata", "uid", NULL));
    attempt->step = KUBE_STEP_SECRET;
    kube_attempt_due(attempt);
}

static void on_secret(void *ctx, const struct kube_answer *answer)
{
    struct kube_attempt *attempt = ctx;
    struct error err = {0};
    attempt->call = NULL;
    if (answer->status != 409 && kube_answer_check(answer, "making the job's secret", &err) < 0) {
        refused(attempt, &err, answer->retry_after_ms);
        return;
    }
    attempt->step = KUBE_STEP_PODS;
    kube_attempt_due(attempt);
}

static void make_secret(struct kube_attempt *attempt)
{
    struct strbuf body = {0};
    if (!attempt->secret) {
        attempt->step = KUBE_STEP_PODS;
        return;
    }
    strbuf_printf(&body,
        "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"%s\",\"labels\":{%s},"
        "\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"name\":\"%s\",\"uid\":",
        attempt->name, attempt->labels, attempt->name);
    strbuf_json(&body, attempt->owner_uid);
    strbuf_printf(&body, "}]},%s", attempt->secret);
    attempt->call = ask(attempt, "POST", "secrets", NULL, body.text, on_secret, attempt);
    strbuf_finish(&body);
}

/* Applied under our field manager, so that an administrator's own fields stay. */
static void on_policy(void *ctx, const struct kube_answer *answer)
{
    struct kube_attempt *attempt = ctx;
    struct kubernetes *engine = attempt->engine;
    struct error err = {0};
    uintptr_t done = (uintptr_t)strmap_get(&engine->teams, attempt->team);
    attempt->call = NULL;
    if (kube_answer_check(answer, "applying the team's network policy", &err) < 0) {
        refused(attempt, &err, answer->retry_after_ms);
        return;
    }
    strmap_put(&engine->teams, attempt->team, (void *)(done + 1));
    kube_attempt_due(attempt);
}

static void see_to_policies(struct kube_attempt *attempt)
{
    struct kubernetes *engine = attempt->engine;
    unsigned done = (unsigned)(uintptr_t)strmap_get(&engine->teams, attempt->team);
    struct strbuf name = {0}, text = {0}, target = {0};
    if (!kube_objects_policy(engine, attempt->team, done, &name, &text)) {
        attempt->step = KUBE_STEP_SERVICE;
    } else {
        strbuf_printf(&target,
            "/apis/networking.k8s.io/v1/namespaces/%s/networkpolicies/%s?fieldManager=muster"
            "&force=true",
            engine->name_space, name.text);
        const struct kube_request request = {.method = "PATCH",
            .target = target.text,
            .content_type = "application/apply-patch+yaml",
            .body = text.text,
            .length = text.length};
        attempt->call = kube_client_call(engine->client, &request, on_policy, attempt);
    }
    strbuf_finish(&name);
    strbuf_finish(&text);
    strbuf_finish(&target);
}

/* ---- pods ------------------------------------------------------------------------------------ */

static char *pod_name(const struct kube_rank *rank)
{
    struct strbuf name = {0};
    strbuf_printf(&name, "%s-%u", rank->attempt->name, rank->rank);
    return strbuf_steal(&name);
}

static struct kube_call *ask_pod(
    struct kube_rank *rank, const char *method, const char *body, kube_done_fn *done)
{
    SCOPED(mem_scope) char *name = pod_name(rank);
    return ask(
        rank->attempt, method, "pods", strcmp(method, "POST") == 0 ? NULL : name, body, done, rank);
}

/* The answer to making or looking for a pod. */
static void on_pod(void *ctx, const struct kube_answer *answer)
{
    struct kube_rank *rank = ctx;
    struct kube_attempt *attempt = rank->attempt;
    struct error err = {0};
    SCOPED(arena_scope) struct arena *arena = arena_create();
    rank->call = NULL;
    if (answer->status == 409) {
        rank->call = ask_pod(rank, "GET", NULL, on_pod);
        return;
    }
    if (answer->status == 404 && rank->look) {
        rank->look = false;
        kube_attempt_saw(rank, NULL);
        return;
    }
    const struct doc *pod = kube_answer_doc(answer, arena, "making a rank's pod", &err);
    if (pod && !is_ours(attempt, pod))
        pod = NULL, error_set(&err, ERR_CONFLICT, "the pod of rank %u is another's", rank->rank);
    if (!pod) {
        refused(attempt, &err, answer->retry_after_ms);
        return;
    }
    rank->look = false;
    kube_attempt_saw(rank, pod);
}

static void make_pods(struct kube_attempt *attempt)
{
    uint32_t there = 0;
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        struct kube_rank *rank = &attempt->ranks[i];
        there += rank->pod.created;
        if (rank->pod.created || rank->call)
            continue;
        struct strbuf body = {0};
        kube_objects_pod(rank, &body);
        rank->call = ask_pod(rank, "POST", body.text, on_pod);
        strbuf_finish(&body);
    }
    if (there == attempt->ledger.ranks) {
        attempt->step = KUBE_STEP_MADE;
        note(attempt, "");
    }
}

static void on_deleted(void *ctx, const struct kube_answer *answer)
{
    struct kube_rank *rank = ctx;
    struct error err = {0};
    rank->call = NULL;
    if (answer->status == 404) {
        kube_attempt_saw(rank, NULL);
    } else if (kube_answer_check(answer, "deleting a rank's pod", &err) < 0) {
        rank->delete_sent = false;
        later(rank->attempt, &err, answer->retry_after_ms);
        return;
    }
    kube_attempt_due(rank->attempt);
}

static int64_t delete_grace_s(const struct kube_attempt *attempt)
{
    const struct kube_ledger *ledger = &attempt->ledger;
    uint64_t grace_ms = ledger->stop_asked ? (uint64_t)ledger->stop_grace_ms : ledger->grace_ms;
    int64_t grace_s = (int64_t)((grace_ms + 999) / 1000);
    return ledger->kill_asked || grace_s < KILL_GRACE_S ? KILL_GRACE_S : grace_s;
}

static void delete_pod(struct kube_rank *rank)
{
    int64_t grace_s = delete_grace_s(rank->attempt);
    char body[120];
    if (rank->call || (rank->delete_sent && grace_s >= rank->delete_grace_s))
        return;
    snprintf(body, sizeof body,
        "{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\",\"gracePeriodSeconds\":%" PRId64 "}",
        grace_s);
    rank->delete_sent = true;
    rank->delete_grace_s = grace_s;
    rank->call = ask_pod(rank, "DELETE", body, on_deleted);
}

void kube_attempt_saw(struct kube_rank *rank, const struct doc *object)
{
    struct kube_pod *pod = &rank->pod;
    if (object)
        kube_pod_read(object, pod);
    else
        pod->exists = false;
    rank->seen = true;
    kube_attempt_due(rank->attempt);
}

/* ---- the verdict ----------------------------------------------------------------------------- */

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
        !kube_site_node_is_down(rank->attempt->engine, pod->node))
        return ENGINE_END_DRAINED; /* by a taint of an administrator's: the node is well */
    if (pod->cause == ENGINE_END_DRAINED &&
        kube_site_node_is_spot(rank->attempt->engine, pod->node))
        return ENGINE_END_PREEMPTED; /* its owner takes it back */
    if (pod->created && pod->deleting && by_itself)
        return ENGINE_END_CANCELLED;
    if (pod->created && !pod->exists && !pod->over)
        return ENGINE_END_CANCELLED;
    return pod->cause == ENGINE_END_SUCCEEDED ? ENGINE_END_NONE : pod->cause;
}

/* The rank that failed first decides. */
static void judge(struct kube_attempt *attempt)
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
        decide(attempt, reason, deleted ? 0 : first->pod.code, (int32_t)first->rank,
            deleted ? "its pod was deleted in the cluster" : first->pod.text);
    } else if (succeeded == attempt->ledger.ranks) {
        decide(attempt, ENGINE_END_SUCCEEDED, 0, -1, "");
    }
}

/* It was told to stop, and nothing of it is left. */
static void judge_stopped(struct kube_attempt *attempt)
{
    bool killed = attempt->ledger.kill_asked;
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        const struct kube_pod *pod = &attempt->ranks[i].pod;
        killed |= pod->cause == ENGINE_END_SIGNALLED && pod->code == SIGNAL_KILL;
        killed |= pod->lost;
    }
    decide(attempt, killed ? ENGINE_END_KILLED : ENGINE_END_STOPPED, 0, -1, "");
}

static bool all_done(struct kube_attempt *attempt)
{
    bool done = true;
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        struct kube_pod *pod = &attempt->ranks[i].pod;
        pod->lost = pod->exists && !pod->over && pod->deleting &&
                    kube_site_node_is_down(attempt->engine, pod->node);
        done &= is_done(&attempt->ranks[i]);
    }
    return done;
}

static void check_started(struct kube_attempt *attempt)
{
    uint32_t began = 0;
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++)
        began += attempt->ranks[i].pod.began;
    if (attempt->ledger.started_ms || began < attempt->ledger.ranks)
        return;
    attempt->ledger.started_ms = clock_wall_ms();
    attempt->tell_started = true;
}

/* Nothing runs any more: writes the end down, once the logs are whole or were waited for. */
static void finish(struct kube_attempt *attempt)
{
    struct error err = {0};
    int64_t now = clock_boot_ms();
    if (!attempt->over_ms)
        attempt->over_ms = now;
    bool whole = kube_log_advance(attempt) || now - attempt->over_ms >= LOG_WAIT_MS;
    if (!whole || (is_waiting(attempt) && !attempt->ledger.stop_asked)) {
        kubernetes_retry_later(attempt, 0);
        return;
    }
    if (!attempt->verdict.reason)
        judge_stopped(attempt);
    attempt->ledger.end = attempt->verdict;
    attempt->ledger.end.started_ms = attempt->ledger.started_ms;
    attempt->ledger.end.ended_ms = clock_wall_ms();
    attempt->ledger.end.stop_asked = attempt->ledger.stop_asked;
    attempt->ledger.ended = true;
    if (kube_ledger_save(attempt, &err) < 0) {
        attempt->ledger.ended = false;
        later(attempt, &err, 0);
        return;
    }
    kube_log_close(attempt);
    attempt->tell_ended = true;
    kubernetes_turn(attempt->engine);
}

/* ---- taking it away -------------------------------------------------------------------------- */

static void on_cleaned(void *ctx, const struct kube_answer *answer)
{
    struct kube_attempt *attempt = ctx;
    struct error err = {0};
    attempt->call = NULL;
    if (answer->status != 404 &&
        kube_answer_check(answer, "deleting the gang's service", &err) < 0) {
        later(attempt, &err, answer->retry_after_ms);
        return;
    }
    attempt->cleaned = true;
    kube_attempt_due(attempt);
}

/* The service takes its secret and its pods along: it owns them. The pods are asked for besides,
 * since the cluster's own cleaning takes its time. */
static void clean(struct kube_attempt *attempt)
{
    bool gone = true;
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        struct kube_rank *rank = &attempt->ranks[i];
        if (rank->pod.exists && !rank->pod.lost) {
            gone = false;
            delete_pod(rank);
        }
        gone &= !rank->call;
    }
    if (!attempt->cleaned && !attempt->call)
        attempt->call =
            ask(attempt, "DELETE", "services", attempt->name, NULL, on_cleaned, attempt);
    if (!attempt->cleaned || !gone || attempt->call)
        return;
    kube_ledger_drop(attempt);
    kube_attempt_remove(attempt);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void save_made(struct kube_attempt *attempt)
{
    struct error err = {0};
    attempt->ledger.made = true;
    if (kube_ledger_save(attempt, &err) == 0)
        return;
    attempt->ledger.made = false;
    later(attempt, &err, 0);
}

static void make(struct kube_attempt *attempt)
{
    if (is_waiting(attempt)) {
        kubernetes_retry_later(attempt, 0);
        return;
    }
    if (attempt->step == KUBE_STEP_POLICY && !attempt->call)
        see_to_policies(attempt);
    if (attempt->step == KUBE_STEP_SERVICE && !attempt->call)
        attempt->call =
            ask(attempt, "POST", "services", NULL, attempt->service, on_service, attempt);
    if (attempt->step == KUBE_STEP_SECRET && !attempt->call)
        make_secret(attempt);
    if (attempt->step == KUBE_STEP_PODS)
        make_pods(attempt);
    if (attempt->step == KUBE_STEP_MADE && !attempt->ledger.made)
        save_made(attempt);
}

static void look_for(struct kube_attempt *attempt)
{
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        struct kube_rank *rank = &attempt->ranks[i];
        if (rank->look && !rank->call)
            rank->call = ask_pod(rank, "GET", NULL, on_pod);
    }
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
        save_made(attempt);
    else
        decide(attempt, ENGINE_END_LOST, 0, -1,
            "the server ended before the cluster had all of the gang");
}

static void end_pods(struct kube_attempt *attempt)
{
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        if (attempt->ranks[i].pod.exists && !attempt->ranks[i].pod.over)
            delete_pod(&attempt->ranks[i]);
    }
}

void kube_attempt_advance(struct kube_attempt *attempt)
{
    if (attempt->ledger.ended) {
        end_pods(attempt); /* one that the API server made so late that nobody waited for it */
        if (attempt->ledger.forgotten)
            clean(attempt);
        return;
    }
    if (attempt->unsure)
        return;
    look_for(attempt);
    bool half_made = !attempt->service && !attempt->ledger.made;
    if (!is_ending(attempt) && half_made)
        settle_half_made(attempt);
    if (!is_ending(attempt) && attempt->service)
        make(attempt);
    bool done = all_done(attempt);
    check_started(attempt);
    if (!is_ending(attempt))
        judge(attempt);
    if (is_ending(attempt))
        end_pods(attempt);
    if (is_ending(attempt) && done && !attempt->call)
        finish(attempt);
    else
        (void)kube_log_advance(attempt);
}
