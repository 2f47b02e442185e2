/* What attempts use, asked of the cluster while any of them runs. The metrics API is asked first:
 * one question for all pods, and the right to it shows nothing else. A cluster without it, or that
 * does not let us, is asked for the summaries of the kubelets that have our pods, one after the
 * other; the right to these is far wider, so an administrator has to have given it. Where neither
 * answers nothing is known, and both are tried again after a while. Invariants:
 *  1. at most one question is under way;
 *  2. what an attempt has used never becomes less. */
#include "engine/kubernetes_node.h"

#include "base/clock.h"
#include "base/strbuf.h"
#include "engine/kube_metrics.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PERIOD_MS = 10 * 1000,
    AGAIN_MS = 5 * 60 * 1000, /* the better way is tried again */
    NAME_MAX_BYTES = 128,
    SET_BACK_MS = 60 * 1000, /* the cluster's clock was, if a sample is that much older */
    PATIENCE_MS = 60 * 1000, /* a kubelet measures when it is asked, and nothing waits for it */
};

enum source { FROM_METRICS, FROM_SUMMARIES, FROM_NOWHERE };

struct kube_usage {
    struct kubernetes *engine;
    struct event timer;
    struct kube_call *call;
    enum source source;
    int64_t since_ms; /* of the source, boot clock */
    size_t next;      /* the node whose summary is asked for next */
};

/* ---- samples --------------------------------------------------------------------------------- */

/* "MARK-RANK". */
static struct kube_rank *rank_of(const struct kubernetes *engine, const char *pod)
{
    char mark[NAME_MAX_BYTES];
    const char *dash = strrchr(pod, '-');
    uint64_t id = 0;
    if (!dash || (size_t)(dash - pod) >= sizeof mark)
        return NULL;
    snprintf(mark, sizeof mark, "%.*s", (int)(dash - pod), pod);
    unsigned long rank = strtoul(dash + 1, NULL, 10);
    struct kube_attempt *attempt =
        engine_mark_read(mark, engine->owner, &id) ? kubernetes_find(engine, id) : NULL;
    return attempt && rank < attempt->ledger.ranks ? &attempt->ranks[rank] : NULL;
}

/* Those of the metrics API come again until there is a newer one; where several answer, also older
 * ones. */
static bool is_old(const struct kube_rank *rank, const struct kube_sample *sample)
{
    int64_t last_ms = rank->usage.at_ms;
    return sample->at_ms <= last_ms && last_ms - sample->at_ms < SET_BACK_MS;
}

static void take(void *ctx, const struct kube_sample *sample)
{
    struct kube_usage *usage = ctx;
    struct kubernetes *engine = usage->engine;
    if (strcmp(sample->name_space, engine->name_space) != 0)
        return;
    struct kube_rank *rank = rank_of(engine, sample->name);
    if (!rank || !rank->attempt->ledger.started_ms || rank->attempt->ledger.ended ||
        is_old(rank, sample))
        return;
    int64_t started_ms = rank->attempt->ledger.started_ms;
    if (!sample->total)
        rank->usage.cpu_ns += kube_sample_used_ns(
            sample, rank->usage.at_ms, started_ms, clock_wall_ms() - started_ms);
    else if (sample->cpu_nano > rank->usage.cpu_ns)
        rank->usage.cpu_ns = sample->cpu_nano;
    rank->usage.at_ms = sample->at_ms;
    rank->usage.memory_bytes = sample->memory_bytes;
    rank->attempt->tell_sample = true;
    kube_attempt_tell(rank->attempt);
}

void kube_usage_sum(struct kube_attempt *attempt, struct attempt_usage *ret_usage)
{
    *ret_usage = (struct attempt_usage){.accelerator_milli = -1};
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        ret_usage->cpu_ns += attempt->ranks[i].usage.cpu_ns;
        ret_usage->memory_bytes += attempt->ranks[i].usage.memory_bytes;
    }
    if (ret_usage->memory_bytes > attempt->memory_peak_bytes)
        attempt->memory_peak_bytes = ret_usage->memory_bytes;
    ret_usage->memory_peak_bytes = attempt->memory_peak_bytes;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void wait(struct kube_usage *usage)
{
    const struct timeval period = {PERIOD_MS / 1000, PERIOD_MS % 1000 * 1000};
    event_add(&usage->timer, &period);
}

static void choose(struct kube_usage *usage, enum source source)
{
    usage->source = source;
    usage->since_ms = clock_boot_ms();
}

static void ask_next_summary(struct kube_usage *usage);

static bool is_withheld(const struct kube_answer *answer)
{
    return answer->status == 401 || answer->status == 403 || answer->status == 404;
}

static void on_metrics(void *ctx, const struct kube_answer *answer)
{
    struct kube_usage *usage = ctx;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    usage->call = NULL;
    kube_metrics_read(kube_answer_doc(answer, arena, "the metrics API", NULL), take, usage);
    /* 503: it is registered, and nothing answers behind it. */
    if (!is_withheld(answer) && answer->status != 503) {
        wait(usage);
        return;
    }
    choose(usage, FROM_SUMMARIES);
    usage->next = 0;
    ask_next_summary(usage);
}

static void ask_metrics(struct kube_usage *usage)
{
    const struct kubernetes *engine = usage->engine;
    struct strbuf target = {0};
    strbuf_printf(&target,
        "/apis/metrics.k8s.io/v1beta1/namespaces/%s/pods?labelSelector=muster.dev%%2Fowner%%3D%s"
        "%%2Cmuster.dev%%2Fpool%%3D%s",
        engine->name_space, engine->owner, engine->pool);
    const struct kube_request request = {
        .method = "GET", .target = target.text, .timeout_ms = PATIENCE_MS};
    usage->call = kube_client_call(engine->client, &request, on_metrics, usage);
    strbuf_finish(&target);
}

static void on_summary(void *ctx, const struct kube_answer *answer)
{
    struct kube_usage *usage = ctx;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    usage->call = NULL;
    kube_metrics_read_summary(
        kube_answer_doc(answer, arena, "a kubelet's summary", NULL), take, usage);
    if (answer->status == 401 || answer->status == 403) {
        choose(usage, FROM_NOWHERE);
        wait(usage);
        return;
    }
    ask_next_summary(usage);
}

/* Of the next node that has pods of ours; the round is over where there is none. */
static void ask_next_summary(struct kube_usage *usage)
{
    const struct kubernetes *engine = usage->engine;
    while (usage->next < engine->nodes.count) {
        const struct kube_node *node = engine->nodes.items[usage->next++];
        struct strbuf target = {0};
        if (!node->there || !node->own_pods || node->about.health == ENGINE_NODE_DOWN)
            continue;
        strbuf_printf(
            &target, "/api/v1/nodes/%s/proxy/stats/summary?only_cpu_and_memory=true", node->name);
        const struct kube_request request = {
            .method = "GET", .target = target.text, .timeout_ms = PATIENCE_MS};
        usage->call = kube_client_call(engine->client, &request, on_summary, usage);
        strbuf_finish(&target);
        return;
    }
    wait(usage);
}

static bool any_runs(const struct kubernetes *engine)
{
    for (size_t i = 0; i < engine->attempts.count; i++) {
        const struct kube_ledger *ledger = &engine->attempts.items[i]->ledger;
        if (ledger->started_ms && !ledger->ended)
            return true;
    }
    return false;
}

static void on_timer(int fd, short what, void *ctx)
{
    struct kube_usage *usage = ctx;
    (void)fd, (void)what;
    if (!any_runs(usage->engine))
        return; /* the next that starts begins it again */
    if (usage->source != FROM_METRICS && clock_boot_ms() - usage->since_ms >= AGAIN_MS)
        choose(usage, FROM_METRICS);
    usage->next = 0;
    if (usage->source == FROM_METRICS)
        ask_metrics(usage);
    else if (usage->source == FROM_SUMMARIES)
        ask_next_summary(usage);
    else
        wait(usage);
}

void kube_usage_begin(struct kubernetes *engine)
{
    struct kube_usage *usage = engine->usage;
    if (!usage->call && !event_pending(&usage->timer, EV_TIMEOUT, NULL))
        wait(usage);
}

struct kube_usage *kube_usage_create(struct kubernetes *engine)
{
    struct kube_usage *usage = mem_alloc(1, sizeof *usage);
    usage->engine = engine;
    evtimer_assign(&usage->timer, engine->base, on_timer, usage);
    return usage;
}

void kube_usage_destroy(struct kube_usage *usage)
{
    if (!usage)
        return;
    if (usage->call)
        kube_call_cancel(usage->call);
    event_del(&usage->timer);
    free(usage);
}
