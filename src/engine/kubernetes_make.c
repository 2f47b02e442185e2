/* What is asked of the cluster for an attempt: what its pods need, the pods, and that all of it
 * goes away. Invariants:
 *  1. a request whose answer is missing is made again, and a name that is taken says that it had
 * been done; names come from the attempt's mark, so nothing is ever there twice;
 *  2. pods are made only when everything before them is there;
 *  3. a rank has at most one request under way, and so has the attempt beside its ranks. */
#include "engine/kubernetes_objects.h"

#include "base/strbuf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KILL_GRACE_S = 1 /* 0 would forget the pod, whatever becomes of its processes */ };

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
        kube_attempt_refused(attempt, &err, answer->retry_after_ms);
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
        kube_attempt_refused(attempt, &err, answer->retry_after_ms);
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
    kube_objects_secret(attempt, &body);
    attempt->call = ask(attempt, "POST", "secrets", NULL, body.text, on_secret, attempt);
    strbuf_finish(&body);
}

/* Of many attempts of a team that begin at once one sees to its policies, and the others wait. */
void kube_make_leave_policies(struct kube_attempt *attempt)
{
    struct kubernetes *engine = attempt->engine;
    if (!attempt->team || strmap_get(&engine->asking, attempt->team) != attempt)
        return;
    strmap_remove(&engine->asking, attempt->team);
    for (size_t i = 0; i < engine->attempts.count; i++) {
        struct kube_attempt *other = engine->attempts.items[i];
        if (other->step == KUBE_STEP_POLICY && other->team &&
            strcmp(other->team, attempt->team) == 0)
            kube_attempt_due(other);
    }
}

/* Applied under our field manager, so that an administrator's own fields stay. */
static void on_policy(void *ctx, const struct kube_answer *answer)
{
    struct kube_attempt *attempt = ctx;
    struct kubernetes *engine = attempt->engine;
    struct error err = {0};
    uintptr_t done = (uintptr_t)strmap_get(&engine->teams, attempt->team);
    attempt->call = NULL;
    kube_make_leave_policies(attempt);
    if (kube_answer_check(answer, "applying the team's network policy", &err) < 0) {
        kube_attempt_refused(attempt, &err, answer->retry_after_ms);
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
    if (strmap_get(&engine->asking, attempt->team))
        return;
    if (!kube_objects_policy(engine, attempt->team, done, &name, &text)) {
        attempt->step = attempt->ledger.bare ? KUBE_STEP_PODS : KUBE_STEP_SERVICE;
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
        strmap_put(&engine->asking, attempt->team, attempt);
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

/* The cluster has it now. What it is like the watch says, and may have said already. */
static void pod_made(struct kube_rank *rank)
{
    if (!rank->pod.created)
        rank->pod.created = rank->pod.exists = rank->seen = true;
    kube_attempt_due(rank->attempt);
}

/* The answer to making or looking for a pod. */
static void on_pod(void *ctx, const struct kube_answer *answer)
{
    struct kube_rank *rank = ctx;
    struct kube_attempt *attempt = rank->attempt;
    struct error err = {0};
    rank->call = NULL;
    if (answer->status == 201) {
        pod_made(rank);
        return;
    }
    if (answer->status == 409) {
        rank->call = ask_pod(rank, "GET", NULL, on_pod);
        return;
    }
    if (answer->status == 404 && rank->look) {
        rank->look = false;
        kube_attempt_saw(rank, NULL);
        return;
    }
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *pod = kube_answer_doc(answer, arena, "making a rank's pod", &err);
    if (pod && !is_ours(attempt, pod))
        pod = NULL, error_set(&err, ERR_CONFLICT, "the pod of rank %u is another's", rank->rank);
    if (!pod) {
        kube_attempt_refused(attempt, &err, answer->retry_after_ms);
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
        kube_attempt_note(attempt, "");
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
        kube_attempt_later(rank->attempt, &err, answer->retry_after_ms);
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

/* ---- taking it away -------------------------------------------------------------------------- */

static void on_cleaned(void *ctx, const struct kube_answer *answer)
{
    struct kube_attempt *attempt = ctx;
    struct error err = {0};
    attempt->call = NULL;
    if (answer->status != 404 &&
        kube_answer_check(answer, "deleting the gang's service", &err) < 0) {
        kube_attempt_later(attempt, &err, answer->retry_after_ms);
        return;
    }
    attempt->cleaned = true;
    kube_attempt_due(attempt);
}

/* The service takes its secret and its pods along: it owns them. The pods are asked for besides,
 * since the cluster's own cleaning takes its time. */
void kube_make_clean(struct kube_attempt *attempt)
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
    attempt->cleaned |= attempt->ledger.bare;
    if (!attempt->cleaned && !attempt->call)
        attempt->call =
            ask(attempt, "DELETE", "services", attempt->name, NULL, on_cleaned, attempt);
    if (!attempt->cleaned || !gone || attempt->call)
        return;
    if (attempt->wanted) {
        attempt->engine->site_told = 0; /* a report, after which it is asked for again */
        kube_site_changed(attempt->engine);
    }
    kube_ledger_drop(attempt);
    kube_attempt_remove(attempt);
}

/* ---- the whole ------------------------------------------------------------------------------- */

void kube_make_advance(struct kube_attempt *attempt)
{
    if (kube_attempt_is_waiting(attempt)) {
        kubernetes_retry_later(attempt, 0);
        return;
    }
    if (attempt->step == KUBE_STEP_INPUTS) {
        if (!kube_inputs_are_there(attempt))
            return;
        attempt->step = KUBE_STEP_POLICY;
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
        kube_attempt_save_made(attempt);
}

void kube_make_look(struct kube_attempt *attempt)
{
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        struct kube_rank *rank = &attempt->ranks[i];
        if (rank->look && !rank->call)
            rank->call = ask_pod(rank, "GET", NULL, on_pod);
    }
}

void kube_make_end_pods(struct kube_attempt *attempt)
{
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        if (attempt->ranks[i].pod.exists && !attempt->ranks[i].pod.over)
            delete_pod(&attempt->ranks[i]);
    }
}
