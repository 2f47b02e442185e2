/* The figures of HorizontalPodAutoscalers: see scaling_internal.h. What replicas use comes from
 * their engine; processor time is what came between two of its samples, which are some seconds
 * apart. */
#include "server/scaling_internal.h"

#include "base/memory.h"
#include "core/core.h"
#include "engine/engine.h"
#include "server/usage.h"

#include <stdlib.h>
#include <string.h>

enum { MICRO = 1000000, SPAN_MS_MIN = 1000 };

/* ---- what replicas use ------------------------------------------------------------------------
 */

struct replica_use {
    bool seen;
    uint64_t cpu_ns;
    int64_t at_ms;     /* of cpu_ns */
    int64_t cpu_micro; /* of what it asks for, in millionths of a per cent; -1: not known yet */
};

static struct replica_use *use_of(struct scaled *one, uint64_t attempt)
{
    struct replica_use *use = idmap_get(&one->used, attempt);
    if (use)
        return use;
    use = mem_alloc(1, sizeof *use);
    use->cpu_micro = -1;
    idmap_put(&one->used, attempt, use);
    vec_push(&one->used_ids, attempt);
    return use;
}

static void forget_use(struct scaled *one, size_t i)
{
    free(idmap_remove(&one->used, one->used_ids.items[i]));
    vec_remove(&one->used_ids, i);
}

void use_begin(struct scaled *one)
{
    one->ready = 0;
    one->accelerator = one->cpu = one->memory = (struct autoscale_sample){0};
    for (size_t i = one->used_ids.count; i-- > 0;) {
        struct replica_use *use = idmap_get(&one->used, one->used_ids.items[i]);
        if (!use->seen)
            forget_use(one, i);
        else
            use->seen = false;
    }
}

void use_finish(struct scaled *one)
{
    while (one->used_ids.count > 0)
        forget_use(one, one->used_ids.count - 1);
    vec_free(&one->used_ids);
    idmap_finish(&one->used);
}

static void add_sample(struct autoscale_sample *sample, int64_t micro, int64_t now_ms)
{
    sample->at_ms = now_ms;
    sample->sum_micro += micro;
    sample->count++;
}

/* A hundred per cent is what the replica asks for, as in Kubernetes. */
static void follow_cpu(
    struct replica_use *use, const struct attempt_usage *used, int64_t asked_milli, int64_t now_ms)
{
    if (used->cpu_ns == use->cpu_ns || now_ms - use->at_ms < SPAN_MS_MIN || asked_milli <= 0)
        return;
    if (use->at_ms > 0 && used->cpu_ns > use->cpu_ns)
        use->cpu_micro = (int64_t)((__int128)(used->cpu_ns - use->cpu_ns) * 100 * 1000 /
                                   (now_ms - use->at_ms) / asked_milli);
    use->cpu_ns = used->cpu_ns;
    use->at_ms = now_ms;
}

void use_add(
    struct scaling *scaling, struct scaled *one, const struct replica_row *row, int64_t now_ms)
{
    const struct server *server = scaling->services->server;
    const struct attempt_usage *used = usage_get(server->usage, row->attempt);
    const struct job_row *job = core_job(server->core, row->job);
    const struct shape_row *shape = job ? core_shape(server->core, job->shape) : NULL;
    if (!used || !shape)
        return;
    struct replica_use *use = use_of(one, row->attempt);
    use->seen = true;
    follow_cpu(use, used, shape->cpu_milli, now_ms);
    if (use->cpu_micro >= 0)
        add_sample(&one->cpu, use->cpu_micro, now_ms);
    if (shape->memory_bytes > 0)
        add_sample(&one->memory,
            (int64_t)((__int128)used->memory_bytes * 100 * MICRO / shape->memory_bytes), now_ms);
    if (used->accelerator_milli >= 0)
        add_sample(&one->accelerator, (int64_t)used->accelerator_milli * 100000, now_ms);
}

/* ---- readings ---------------------------------------------------------------------------------
 */

static void read_pods(
    const struct scaled *one, int64_t sum_micro, int32_t count, struct hpa_reading *ret)
{
    ret->known = count > 0;
    ret->value_micro = sum_micro;
    ret->pods = (struct hpa_pods){sum_micro, count, one->ready > count ? one->ready - count : 0};
}

/* What muster knows by itself. */
static void read_own(
    const struct scaled *one, const char *name, int64_t now_ms, struct hpa_reading *ret)
{
    const struct {
        const char *name;
        const struct autoscale_sample *sample;
    } samples[] = {
        {"gpu_utilization", &one->accelerator}, {"cpu", &one->cpu}, {"memory", &one->memory}};
    const struct autoscale_load *load = &one->load;
    bool is_fresh = load->at_ms > 0 && now_ms - load->at_ms <= AUTOSCALE_STALE_MS;
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        if (!strcmp(name, samples[i].name))
            read_pods(one, samples[i].sample->sum_micro, samples[i].sample->count, ret);
    }
    if (is_fresh && !strcmp(name, "requests_in_flight"))
        read_pods(one, load->open * MICRO, one->ready, ret);
    if (is_fresh && !strcmp(name, "requests_waiting"))
        read_pods(one, load->waiting * MICRO, one->ready, ret);
    if (is_fresh && one->ready == 0 && !strncmp(name, "requests_", 9)) {
        ret->known = true;
        ret->pods = (struct hpa_pods){0};
    }
}

static void read_one(const struct scaled *one, const struct service *service,
    const struct hpa_metric *metric, int64_t now_ms, struct hpa_reading *ret)
{
    int at = metric->kind == HPA_RESOURCE ? -1 : scaled_metric(service, metric->name);
    if (at < 0) {
        read_own(one, metric->name, now_ms, ret);
        return;
    }
    const struct metric_feed *feed = one->sources[at];
    struct autoscale_sample sample = feed ? metric_sample(feed) : (struct autoscale_sample){0};
    if (sample.count == 0 || now_ms - sample.at_ms > AUTOSCALE_STALE_MS)
        return;
    struct prom_figures figures = metric_figures(feed);
    read_pods(one, figures.sum_micro, figures.count, ret);
    ret->value_micro = sample.sum_micro;
}

void hpa_read(const struct scaled *one, const struct service *service, const struct hpa *hpa,
    int64_t now_ms, struct hpa_reading readings[AUTOSCALE_METRICS_MAX])
{
    for (size_t i = 0; i < AUTOSCALE_METRICS_MAX; i++) {
        readings[i] = (struct hpa_reading){0};
        if (i < hpa->metrics.count && hpa->metrics.items[i].name)
            read_one(one, service, &hpa->metrics.items[i], now_ms, &readings[i]);
    }
}
