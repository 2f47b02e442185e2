/* Figures of Prometheus endpoints: see scaling_internal.h. A source is read every READ_MS, each
 * reading within TIMEOUT_MS as a whole and BYTES_MAX, whatever the other side does; one that fails
 * leaves what was read before to grow stale, which counts as no data (core/autoscale.h).
 *
 * A source is either one endpoint or one of each ready replica. Its targets are read at the same
 * time, and the sample is made when the last of them is done: `count` is the number of targets (or
 * of the endpoint's samples) that had a figure. */
#include "server/scaling_internal.h"

#include "base/memory.h"
#include "server/fetch.h"
#include "wire/prom_text.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_MS = 5000, TIMEOUT_MS = 3000, BYTES_MAX = 16 << 20, TARGETS_MAX = 64 };

/* One endpoint of a reading. */
struct target {
    struct metric_feed *source;
    struct fetch *fetch; /* NULL: it is over */
    struct prom_reader reader;
};

struct metric_feed {
    struct scaling *scaling;
    struct event *timer; /* the end of a reading */
    char *text;          /* of what it was made: another one is another source */
    struct service_metric metric;
    struct prom_label *labels;
    char address[300], path[1100];
    struct http_endpoint *endpoint; /* of a URL */
    struct target *targets[TARGETS_MAX];
    size_t target_count, open;
    struct prom_figures figures;
    int64_t began_ms;
    struct autoscale_sample sample;
    struct prom_figures sampled; /* what it was made of */
    char trouble[TROUBLE_TEXT];
};

/* ---- a reading --------------------------------------------------------------------------------
 */

static void add_figures(struct metric_feed *source, const struct prom_figures *found)
{
    struct prom_figures *all = &source->figures;
    if (found->count == 0)
        return;
    all->most_micro = all->count == 0 || found->most_micro > all->most_micro ? found->most_micro
                                                                             : all->most_micro;
    all->sum_micro += found->sum_micro;
    all->count += found->count;
}

/* What several samples are together. */
static int64_t value_of(const struct metric_feed *source)
{
    const struct prom_figures *all = &source->figures;
    if (source->metric.of == METRIC_OF_MEAN)
        return all->sum_micro / all->count;
    return source->metric.of == METRIC_OF_MOST ? all->most_micro : all->sum_micro;
}

static void drop_targets(struct metric_feed *source)
{
    for (size_t i = 0; i < source->target_count; i++) {
        fetch_cancel(source->targets[i]->fetch);
        free(source->targets[i]);
    }
    source->target_count = source->open = 0;
}

static void end_reading(struct metric_feed *source)
{
    event_del(source->timer);
    drop_targets(source);
    if (source->figures.count == 0) {
        if (!source->trouble[0])
            snprintf(source->trouble, sizeof source->trouble, "there is no sample of %.100s",
                source->metric.series ? source->metric.series : source->metric.name);
        return;
    }
    source->trouble[0] = '\0';
    source->sampled = source->figures;
    source->sample = (struct autoscale_sample){
        .at_ms = source->began_ms, .sum_micro = value_of(source), .count = source->figures.count};
}

static void target_over(struct target *target, const char *trouble)
{
    struct metric_feed *source = target->source;
    target->fetch = NULL;
    if (trouble)
        snprintf(source->trouble, sizeof source->trouble, "%s", trouble);
    if (--source->open == 0)
        end_reading(source);
}

static void take(void *context, const void *bytes, size_t length)
{
    prom_feed(&((struct target *)context)->reader, bytes, length);
}

static void on_answer(void *context, const struct fetch_answer *answer)
{
    struct target *target = context;
    char text[64];
    if (answer->status != 200) {
        snprintf(text, sizeof text, "it answered with status %d", answer->status);
        target_over(target, answer->trouble ? answer->trouble : text);
        return;
    }
    struct prom_figures found = prom_end(&target->reader);
    add_figures(target->source, &found);
    target_over(target, NULL);
}

/* Those that have answered by now count. */
static void on_too_late(evutil_socket_t fd, short what, void *context)
{
    struct metric_feed *source = context;
    (void)fd, (void)what;
    snprintf(source->trouble, sizeof source->trouble, "it did not answer within %d seconds",
        TIMEOUT_MS / 1000);
    end_reading(source);
}

static void add_target(
    struct metric_feed *source, struct http_endpoint *endpoint, const struct prom_query *query)
{
    const struct fetch_request request = {
        .target = source->path, .timeout_ms = TIMEOUT_MS, .bytes_max = BYTES_MAX, .take = take};
    if (source->target_count >= TARGETS_MAX)
        return;
    struct target *target = mem_alloc(1, sizeof *target);
    target->source = source;
    prom_begin(&target->reader, query);
    source->targets[source->target_count++] = target;
    source->open++;
    target->fetch = fetch_begin(endpoint, &request, on_answer, target);
}

static void begin_reading(struct metric_feed *source, const struct scaled *one, int64_t now_ms)
{
    static const struct timeval too_late = {TIMEOUT_MS / 1000, 0};
    const struct services *services = source->scaling->services;
    const struct service_metric *metric = &source->metric;
    const struct prom_query query = {.series = metric->series ? metric->series : metric->name,
        .labels = source->labels,
        .label_count = metric->labels.count,
        .now_ms = now_ms};
    source->began_ms = now_ms;
    source->figures = (struct prom_figures){0};
    if (source->endpoint)
        add_target(source, source->endpoint, &query);
    for (size_t i = 0; !source->endpoint && i < services->replicas.count; i++) {
        const struct replica *replica = services->replicas.items[i];
        if (replica->service == one->service && replica->started && !replica->stopping &&
            replica->endpoint)
            add_target(source, replica->endpoint, &query);
    }
    if (source->open > 0)
        event_add(source->timer, &too_late);
}

/* ---- sources ----------------------------------------------------------------------------------
 */

static char *source_text(const struct service_metric *metric)
{
    struct strbuf text = {0};
    strbuf_printf(&text, "%s %s %s %s %d", metric->name, metric->url ? metric->url : "",
        metric->path ? metric->path : "", metric->series ? metric->series : "", (int)metric->of);
    for (size_t i = 0; i < metric->labels.count; i++)
        strbuf_printf(&text, "\n%s=%s", metric->labels.items[i].key, metric->labels.items[i].value);
    return strbuf_steal(&text);
}

static char *kept(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

static void keep_metric(struct metric_feed *source, const struct service_metric *metric)
{
    size_t count = metric->labels.count;
    source->metric = *metric;
    source->metric.name = mem_strdup(metric->name);
    source->metric.series = kept(metric->series);
    source->metric.url = source->metric.path = NULL;
    source->labels = mem_alloc(count + 1, sizeof *source->labels);
    for (size_t i = 0; i < count; i++)
        source->labels[i] = (struct prom_label){
            mem_strdup(metric->labels.items[i].key), mem_strdup(metric->labels.items[i].value)};
}

static void source_destroy(struct metric_feed *source)
{
    if (!source)
        return;
    drop_targets(source);
    event_free(source->timer);
    http_endpoint_release(source->endpoint);
    for (size_t i = 0; i < source->metric.labels.count; i++) {
        free((char *)source->labels[i].key);
        free((char *)source->labels[i].value);
    }
    free(source->labels);
    free((char *)source->metric.name);
    free((char *)source->metric.series);
    free(source->text);
    free(source);
}

static int open_endpoint(struct metric_feed *source, struct error *err)
{
    const struct services *services = source->scaling->services;
    struct tls_client *trust = NULL;
    if (strncmp(source->address, "https:", 6) == 0 &&
        server_trust(services->server, &trust, err) < 0)
        return -1;
    return http_endpoint_create_url(
        services->agent, source->address, trust, &source->endpoint, err);
}

static struct metric_feed *source_create(
    struct scaling *scaling, const struct service_metric *metric, char *text)
{
    struct metric_feed *source = mem_alloc(1, sizeof *source);
    struct error err = {0};
    source->scaling = scaling;
    source->text = text;
    source->timer = event_new(scaling->services->server->base, -1, EV_TIMEOUT, on_too_late, source);
    assert(source->timer);
    keep_metric(source, metric);
    const char *slash = metric->url ? strchr(strstr(metric->url, "://") + 3, '/') : NULL;
    snprintf(source->path, sizeof source->path, "%s",
        slash          ? slash
        : metric->path ? metric->path
                       : "/");
    if (!metric->url)
        return source;
    snprintf(
        source->address, sizeof source->address, "%.*s", (int)(slash - metric->url), metric->url);
    if (open_endpoint(source, &err) < 0)
        snprintf(source->trouble, sizeof source->trouble, "%.200s", err.text);
    return source;
}

void feeds_follow(
    struct scaling *scaling, struct scaled *one, const struct service *service, int64_t now_ms)
{
    for (size_t i = 0; i < ARRAY_LEN(one->sources); i++) {
        struct metric_feed *source = one->sources[i];
        char *text = i < service->metrics.count ? source_text(&service->metrics.items[i]) : NULL;
        if (source && (!text || strcmp(source->text, text) != 0)) {
            source_destroy(source);
            source = NULL;
        }
        if (!source && text)
            source = source_create(scaling, &service->metrics.items[i], text);
        else
            free(text);
        one->sources[i] = source;
        bool possible = source && (source->endpoint || !source->address[0]);
        if (possible && source->open == 0 &&
            (now_ms - source->began_ms >= READ_MS || now_ms < source->began_ms))
            begin_reading(source, one, now_ms);
    }
}

void feeds_finish(struct scaled *one)
{
    for (size_t i = 0; i < ARRAY_LEN(one->sources); i++) {
        source_destroy(one->sources[i]);
        one->sources[i] = NULL;
    }
}

struct autoscale_sample metric_sample(const struct metric_feed *source)
{
    return source->sample;
}

struct prom_figures metric_figures(const struct metric_feed *source)
{
    return source->sampled;
}

const char *metric_trouble(const struct metric_feed *source)
{
    return source->trouble;
}
