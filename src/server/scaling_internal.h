/* What the files of scaling share. Not for other files.
 *
 *     scaling.c          which services, the clock, decisions on their way to the core
 *     scaling_load.c     asks the gateway for the load
 *     scaling_metrics.c  asks Prometheus endpoints
 *     scaling_hpa.c      HorizontalPodAutoscalers: their figures
 *     scaling_words.c    what is decided and why, for people */
#pragma once

#include "base/histogram.h"
#include "base/map.h"
#include "base/vec.h"
#include "core/autoscale.h"
#include "server/catalog.h"
#include "server/scaling.h"
#include "server/services_internal.h"
#include "wire/prom_text.h"

struct event;
struct load_link;
struct metric_feed;

/* One service. */
struct scaled {
    char key[CATALOG_KEY];
    bool seen; /* during a walk */
    uint64_t service;
    struct autoscale *scale;
    struct autoscale_decision decision;
    bool decided;
    int64_t decided_ms,
        changed_ms;            /* when it was last looked at; when it last changed the number */
    int32_t from;              /* replicas before that */
    enum autoscale_reason why; /* of that */
    int32_t ready;
    int32_t started;          /* the newest replica whose start was learned */
    struct histogram latency; /* of requests, as the gateway has it */
    struct histogram before;  /* the same at the beginning of the window that is shown */
    int64_t before_ms;
    struct autoscale_sample accelerator, cpu, memory; /* of replicas; use of what they ask for */
    struct autoscale_load load;                       /* as the gateway last said */
    struct idmap used;                                /* attempt: struct replica_use */
    VEC(uint64_t) used_ids;
    struct hpa_state hpa;
    struct metric_feed *sources[AUTOSCALE_METRICS_MAX]; /* by number in the service; NULL: none */
};

struct scaling {
    struct services *services;
    struct event *timer;
    struct load_link *link;
    struct strmap by_key;
    VEC(struct scaled *) items;
};

/* The service as it is applied now, or NULL. */
const struct service *scaled_service(const struct scaling *scaling, const struct scaled *one);
struct scaled *scaled_find(const struct scaling *scaling, const char *key);
/* The metric of that name among those of the service, or -1. */
int scaled_metric(const struct service *service, const char *name);
/* Decides for all services, now. */
void scaling_decide(struct scaling *scaling);

/* ---- scaling_hpa.c ---- */

/* What replicas use, one after the other: begins, adds one that is ready, forgets those that went.
 */
void use_begin(struct scaled *one);
void use_add(
    struct scaling *scaling, struct scaled *one, const struct replica_row *row, int64_t now_ms);
void use_finish(struct scaled *one);
/* What is known of the metrics of the autoscaler. */
void hpa_read(const struct scaled *one, const struct service *service, const struct hpa *hpa,
    int64_t now_ms, struct hpa_reading readings[AUTOSCALE_METRICS_MAX]);

/* ---- scaling_load.c ---- */

MUST_CHECK int load_link_create(struct scaling *scaling, struct load_link **ret, struct error *err);
void load_link_destroy(struct load_link *link); /* NULL is fine */
/* Asks, unless it does already; scaling_decide is called when there is demand. */
void load_link_ask(struct load_link *link);
/* Whether the last question was answered. */
bool load_link_is_up(const struct load_link *link);

/* ---- scaling_metrics.c ---- */

/* Makes the sources what the service says, and begins readings that are due. */
void feeds_follow(
    struct scaling *scaling, struct scaled *one, const struct service *service, int64_t now_ms);
void feeds_finish(struct scaled *one);
/* What was read last, or nothing. */
struct autoscale_sample metric_sample(const struct metric_feed *source);
/* What the samples were before they were put together. */
struct prom_figures metric_figures(const struct metric_feed *source);
/* Why there is nothing, in a sentence; "": there is. */
const char *metric_trouble(const struct metric_feed *source);
