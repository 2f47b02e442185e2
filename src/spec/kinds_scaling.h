/* How many replicas a service has: what a Service says of it, and HorizontalPodAutoscaler. Parts of
 * kinds.h, which has the units and the rules for text and lists. */
#pragma once

#include "spec/kinds_base.h"

#include <stddef.h>
#include <stdint.h>

/* What of an answer a goal is for. */
enum latency_of { LATENCY_NONE, LATENCY_FIRST, LATENCY_WHOLE };

/* A figure read from elsewhere, by which replicas are scaled: see docs/gateway-autoscaling.md. */
enum metric_of { METRIC_OF_SUM, METRIC_OF_MEAN, METRIC_OF_MOST };
struct service_metric {
    const char *name;         /* as autoscaling names it */
    const char *url;          /* of a Prometheus endpoint; NULL: */
    const char *path;         /* of each replica's own one */
    const char *series;       /* NULL: name */
    struct label_list labels; /* that its samples have to have */
    enum metric_of of;        /* what several samples are together */
};

/* Of a metric: what there is to be for each replica, or of all of them. One is 0. */
struct autoscale_metric {
    const char *name;
    int64_t average_micro, value_micro;
};

/* At least so many replicas in a part of some days. */
struct autoscale_hours {
    const char *from, *to; /* "08:00"; to not after from: of the next day */
    struct text_list days; /* "mon"; none: all */
    int64_t min;
    int64_t from_minute, to_minute; /* of the day; follow from the texts */
    int64_t day_bits;               /* bit 0: Monday */
};

enum { AUTOSCALE_METRICS_MAX = 8, AUTOSCALE_HOURS_MAX = 32 };

/* How many replicas there are to be; max 0: as many as `replicas` says. */
struct service_autoscale {
    int64_t min, max;
    int64_t in_flight;   /* requests under way and waiting, of a replica; 0: not looked at */
    int64_t use_percent; /* of in_flight that is aimed at */
    struct {
        int64_t goal_ms; /* 0: none */
        int64_t percent_milli;
        enum latency_of of;
    } latency;
    int64_t accelerator_percent; /* 0: not looked at */
    struct {
        struct autoscale_metric *items;
        size_t count;
    } metrics;
    int64_t stable_ms, panic_ms, panic_percent;
    int64_t idle_ms;        /* without a request, before the last replica goes */
    int64_t up_ms, down_ms; /* that a wish has to last */
    struct {
        struct autoscale_hours *items;
        size_t count;
    } hours;
    const char *utc_offset; /* of the hours: "+02:00" */
    int64_t utc_offset_minutes;
};

/* ---- HorizontalPodAutoscaler -----------------------------------------------------------------
 */

enum hpa_metric_kind { HPA_RESOURCE, HPA_PODS, HPA_OBJECT, HPA_EXTERNAL, HPA_CONTAINER };
enum hpa_target { HPA_UTILIZATION, HPA_AVERAGE_VALUE, HPA_VALUE };

/* As it is written; what counts of it follows in struct hpa_metric. */
struct hpa_source {
    const char *name;
    enum hpa_target target;
    int64_t utilization;
    const char *average, *value;
};

struct hpa_metric {
    enum hpa_metric_kind kind;
    struct hpa_source resource, pods, object, external;
    const char *name; /* of the metric; NULL: it is not used */
    enum hpa_target target;
    int64_t target_micro; /* of a utilization: of a per cent */
};

enum hpa_policy_kind { HPA_POLICY_PODS, HPA_POLICY_PERCENT };
enum hpa_select { HPA_SELECT_MAX, HPA_SELECT_MIN, HPA_SELECT_DISABLED };
enum { HPA_POLICIES_MAX = 16 };

struct hpa_policy {
    enum hpa_policy_kind kind;
    int64_t value, period_s;
};

struct hpa_rules {
    int64_t stabilization_s; /* -1: as Kubernetes has it */
    enum hpa_select select;
    struct {
        struct hpa_policy *items;
        size_t count;
    } policies; /* none: as Kubernetes has them */
};

struct hpa {
    struct metadata metadata;
    const char *target_version, *target_kind;
    const char *target; /* a Service of the team */
    int64_t min, max;
    struct {
        struct hpa_metric *items;
        size_t count;
    } metrics;
    struct hpa_rules up, down;
};
