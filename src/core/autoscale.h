/* How many replicas a service is to have: one rule, fed with what gateways, engines and Prometheus
 * endpoints report, and with the time. The server drives it, and so does the bench that compares it
 * with other rules: the same reports give the same numbers.
 *
 * It knows no service and no core: its number is given to core_service_scale by whoever drives it.
 * What it remembers is bounded, and is not stored: after a restart of the server it decides nothing
 * downwards before it has seen as much again as such a decision needs. */
#pragma once

#include "core/autoscale_window.h"
#include "spec/kinds.h"

#include <stdbool.h>
#include <stdint.h>

/* What decided. */
enum autoscale_reason {
    AUTOSCALE_NO_DATA,     /* nothing is known: as it is */
    AUTOSCALE_LOAD,        /* requests under way and waiting, over the stable window */
    AUTOSCALE_PANIC,       /* the same over the panic window, far above what is there */
    AUTOSCALE_BACKLOG,     /* what has piled up, with no replica or too few */
    AUTOSCALE_LATENCY,     /* too many answers were later than the goal */
    AUTOSCALE_ACCELERATOR, /* its utilisation */
    AUTOSCALE_METRIC,      /* a metric; `metric` says which */
    AUTOSCALE_IDLE,        /* no request for as long as idle says */
    AUTOSCALE_MIN,         /* at least so many */
    AUTOSCALE_HOURS,       /* at least so many at this time */
    AUTOSCALE_MAX,         /* at most so many */
    AUTOSCALE_STEADY,      /* fewer would do, but not for long enough yet; or more would not last */
    AUTOSCALE_RATE,        /* more or fewer than a policy allows at a time */
    AUTOSCALE_TOLERANCE,   /* near enough to the target */
    AUTOSCALE_REASON_COUNT
};
extern const char *const autoscale_reason_names[]; /* "no-data", .. NULL */

/* Figures of a gateway that only grow, since it began, and what is there now. */
struct autoscale_load {
    uint64_t source; /* which gateway: another one begins at zero */
    int64_t at_ms;   /* when they were true */
    int64_t busy_us; /* requests under way or waiting, times microseconds */
    int64_t arrived; /* requests */
    int64_t ended;   /* of them */
    int64_t timed;   /* of these, those that a goal is for.. */
    int64_t late;    /* ..and later than it */
    int64_t open;    /* now, those that wait included */
    int64_t waiting; /* now */
};

/* A figure of now. */
struct autoscale_sample {
    int64_t at_ms;
    int64_t sum_micro; /* of all that were read */
    int32_t count;     /* how many these are; 0: none */
};

enum { AUTOSCALE_STALE_MS = 15000 }; /* what is older is no data */

/* What there is. */
struct autoscale_now {
    int64_t now_ms;
    int32_t wanted; /* replicas, at present */
    int32_t ready;  /* of them */
};

/* One thing that was looked at. */
struct autoscale_signal {
    bool known;
    int64_t value_micro, target_micro; /* of a replica, or as the signal has it */
    int32_t replicas;                  /* that it asks for */
};

enum autoscale_signal_kind {
    SIGNAL_LOAD,
    SIGNAL_PANIC,
    SIGNAL_BACKLOG,
    SIGNAL_LATENCY, /* values: shares of answers that are late, and that may be */
    SIGNAL_ACCELERATOR,
    SIGNAL_METRIC, /* the first of several */
    SIGNALS = SIGNAL_METRIC + AUTOSCALE_METRICS_MAX
};

struct autoscale_decision {
    int32_t wanted;
    int32_t asked;    /* by the reason, before bounds and stabilisation */
    int32_t min, max; /* that hold now */
    enum autoscale_reason reason;
    enum autoscale_reason bound; /* what changed `asked` into `wanted`; NO_DATA: nothing did */
    int32_t metric;              /* which one, of AUTOSCALE_METRIC */
    bool panic;
    int64_t start_ms; /* that replicas take to get ready, learned; 0: not known */
    struct autoscale_signal signals[SIGNALS];
};

struct autoscale;

/* Knows nothing. Destroyed by the caller. */
struct autoscale *autoscale_create(void);
void autoscale_destroy(struct autoscale *scale); /* NULL is fine */

/* A gateway's figures. Those that are older than the last, or less than they were, begin anew. */
void autoscale_report(struct autoscale *scale, const struct service_autoscale *options,
    const struct autoscale_load *load);
/* The mean utilisation of the accelerators of replicas, in millionths of a hundred per cent. */
void autoscale_accelerator(struct autoscale *scale, const struct autoscale_sample *sample);
/* A metric, by its number in the options. */
void autoscale_metric(
    struct autoscale *scale, size_t metric, const struct autoscale_sample *sample);
/* A replica was ready so long after it was asked for. */
void autoscale_started(struct autoscale *scale, int64_t ms);
/* What replicas take to get ready; 0: not known. */
int64_t autoscale_start_ms(const struct autoscale *scale);

/* What there should be, and why. Time goes on from call to call. The options may be others than
 * before. */
void autoscale_decide(struct autoscale *scale, const struct service_autoscale *options,
    const struct autoscale_now *now, struct autoscale_decision *ret);
/* The minimum that holds at that moment; *ret_hours (may be NULL): whether hours say so. */
int32_t autoscale_min(const struct service_autoscale *options, int64_t now_ms, bool *ret_hours);
/* How often it is asked. */
enum { AUTOSCALE_TICK_MS = 1000 };

/* ---- Kubernetes' formula ------------------------------------------------------------------------
 */

/* Of a metric of pods: those that it is known of, and those that are there without one. */
struct hpa_pods {
    int64_t sum_micro;
    int32_t known, missing;
};
/* ceil(known x mean / target), which is `replicas` while it is within the tolerance of a tenth;
 * where some are missing these count as if at the target when fewer are wished for and as if at
 * nothing when more are, and what that turns around changes nothing. */
int32_t hpa_wished(int32_t replicas, const struct hpa_pods *pods, int64_t target_micro);
/* ceil(ready x value / target), with the same tolerance, of a value for all; where there is no
 * replica, ceil(value / target). */
int32_t hpa_wished_value(
    int32_t replicas, int32_t ready, int64_t value_micro, int64_t target_micro);
/* ceil(value / target), where value / replicas is not within the tolerance of the target. */
int32_t hpa_wished_average(int32_t replicas, int64_t value_micro, int64_t target_micro);

/* What is known of a metric of a HorizontalPodAutoscaler. */
struct hpa_reading {
    bool known;
    struct hpa_pods pods; /* of resources and pods */
    int64_t value_micro;  /* of the others */
};

enum { HPA_TICK_MS = 15000, HPA_CHANGES = 64 };

/* What one remembers; zeroed: nothing. */
struct hpa_state {
    struct scale_wishes wishes;
    struct {
        int64_t at_ms;
        int32_t by;
    } changes[HPA_CHANGES]; /* a ring: those that were made last */
    size_t change_count;
    int64_t next_ms; /* when it decides again */
};

/* As Kubernetes decides: the most that a metric asks for, nothing less than there is while one is
 * not known, stabilised, within the policies, between min and max. readings: one for each metric of
 * hpa. False: it is not time yet, and *ret is untouched. */
bool hpa_decide(struct hpa_state *state, const struct hpa *hpa, const struct autoscale_now *now,
    const struct hpa_reading *readings, struct autoscale_decision *ret);
