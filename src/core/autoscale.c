/* The rule by which services are scaled: see autoscale.h.
 *
 * Each signal that is asked for and of which something is known says how many replicas it takes;
 * the most of these is what is asked for. Then come bounds, in this order: a wish for fewer has to
 * have lasted for `down`, one for more for `up`; the minimum, that of the hours, the maximum.
 *
 * The signals:
 * - load: requests under way, or what arrives times what a request takes if that is more (requests
 *   that wait for a place hide how many would be under way), over the stable window, plus what has
 *   piled up, to be worked off within the stable window or the time that a replica takes to start.
 * - panic: the same over the panic window. Where it asks for panic_percent of what is ready it is
 *   believed, and nothing goes down until it has not for a whole stable window.
 * - latency: while more answers than allowed are late although hardly a request waits for a
 *   place, a replica is given less: an eighth less than it had, as often as that has had its
 *   effect, down to a quarter of what in_flight says. It is given more again, by an eighth, where
 *   hardly any is late ten stable windows later. And where the goal is missed, a wish for fewer
 *   has to last longer: up to four times `down`.
 * - accelerator, metrics: replicas x value / target, as Kubernetes has it.
 *
 * Invariants:
 * 1. wanted is within [0, REPLICAS_MAX], and within [min, max] whatever was reported.
 * 2. Without data of the last AUTOSCALE_STALE_MS it changes for min, hours and max alone.
 * 3. It goes down only where load was reported all through the stable window, never in panic, and
 *    to zero only where no request was there all through `idle`.
 * 4. There is no division but by what is checked to be above zero, and no product overflows: what
 *    is reported is cut to bounds where it comes in. */
#include "core/autoscale.h"

#include "base/memory.h"
#include "core/limits.h"
#include "core/sort.h"

#include <assert.h>
#include <stdlib.h>

enum {
    MICRO = 1000000,
    LATENCY_ENDED_MIN = 20, /* answers, below which a share of late ones says nothing */
    LATENCY_CALM_PART = 4,  /* of what is allowed: fewer late ones than this are hardly any */
    WAITING_PART = 8,       /* of requests there: where more wait, that is what makes them late */
    TOLERANCE_PARTS = 10,
    LEARNED_CALM_WINDOWS = 10, /* without hardly a late one before more is tried */
    LEARNED_PARTS = 8,         /* a replica is given an eighth less, or more */
    LEARNED_LEAST_PART = 4,    /* of what is asked for: less than this is not learned */
    PATIENCE_LEAST = 8,        /* eighths of `down`.. */
    PATIENCE_MOST = 32,
    START_WEIGHT = 4, /* a start counts a quarter against those before */
    START_MS_MAX = 3600 * 1000,
    OPEN_MAX = 10 * 1000 * 1000, /* requests at once */
};

const char *const autoscale_reason_names[] = {
    [AUTOSCALE_NO_DATA] = "no-data",
    [AUTOSCALE_LOAD] = "load",
    [AUTOSCALE_PANIC] = "panic",
    [AUTOSCALE_BACKLOG] = "backlog",
    [AUTOSCALE_LATENCY] = "latency",
    [AUTOSCALE_ACCELERATOR] = "accelerator",
    [AUTOSCALE_METRIC] = "metric",
    [AUTOSCALE_IDLE] = "idle",
    [AUTOSCALE_MIN] = "min",
    [AUTOSCALE_HOURS] = "hours",
    [AUTOSCALE_MAX] = "max",
    [AUTOSCALE_STEADY] = "steady",
    [AUTOSCALE_RATE] = "rate",
    [AUTOSCALE_TOLERANCE] = "tolerance",
    [AUTOSCALE_REASON_COUNT] = NULL,
};

struct autoscale {
    struct scale_window window;
    struct scale_wishes wishes;
    struct autoscale_load last; /* at_ms 0: none */
    int64_t since_ms;           /* it was reported without a gap since then */
    int64_t active_ms;          /* a request was last there */
    int64_t panic_until_ms;
    int64_t start_ms;         /* that replicas take; 0: not known */
    int64_t learned_micro;    /* requests at once that a replica is given for the goal; 0: any */
    int64_t learned_ms;       /* since when */
    int64_t patience_eighths; /* of `down`; 0: as many as there are */
    int64_t patience_ms;      /* when it was last looked at */
    int32_t ready;            /* as last seen, and since when */
    int64_t ready_ms;
    struct autoscale_sample accelerator, metrics[AUTOSCALE_METRICS_MAX];
};

struct autoscale *autoscale_create(void)
{
    return mem_alloc(1, sizeof(struct autoscale));
}

void autoscale_destroy(struct autoscale *scale)
{
    free(scale);
}

/* ---- what is reported ------------------------------------------------------------------------ */

static int64_t bounded(int64_t value, int64_t max)
{
    return least(most(value, 0), max);
}

static bool follows(const struct autoscale_load *before, const struct autoscale_load *load)
{
    return before->at_ms > 0 && load->source == before->source && load->at_ms > before->at_ms &&
           load->at_ms - before->at_ms <= AUTOSCALE_STALE_MS && load->arrived >= before->arrived &&
           load->ended >= before->ended && load->timed >= before->timed &&
           load->late >= before->late;
}

static void take_difference(struct autoscale *scale, const struct service_autoscale *options,
    const struct autoscale_load *load)
{
    const struct autoscale_load *before = &scale->last;
    int64_t span_us = (load->at_ms - before->at_ms) * 1000;
    int64_t open = bounded(load->open, OPEN_MAX), waiting = bounded(load->waiting, open);
    struct scale_sums sums = {
        .busy_us = bounded(load->busy_us - before->busy_us, span_us * OPEN_MAX),
        .arrived = bounded(load->arrived - before->arrived, OPEN_MAX),
        .ended = bounded(load->ended - before->ended, OPEN_MAX),
        .timed = bounded(load->timed - before->timed, OPEN_MAX),
        .late = bounded(load->late - before->late, OPEN_MAX),
    };
    /* The integral of those that wait is not reported: the mean of both ends is near enough. */
    sums.waiting_us = least((waiting + before->waiting) * span_us / 2, sums.busy_us);
    scale_window_add(
        &scale->window, scale_width(options->stable_ms), before->at_ms, load->at_ms, &sums);
    if (sums.arrived > 0 || before->open > 0)
        scale->active_ms = load->at_ms;
}

void autoscale_report(struct autoscale *scale, const struct service_autoscale *options,
    const struct autoscale_load *load)
{
    assert(load->at_ms > 0);
    if (load->source == scale->last.source && load->at_ms == scale->last.at_ms)
        return;
    if (follows(&scale->last, load))
        take_difference(scale, options, load);
    else
        scale->since_ms = load->at_ms;
    if (load->open > 0)
        scale->active_ms = load->at_ms;
    scale->last = *load;
    scale->last.open = bounded(load->open, OPEN_MAX);
    scale->last.waiting = bounded(load->waiting, scale->last.open);
}

void autoscale_accelerator(struct autoscale *scale, const struct autoscale_sample *sample)
{
    scale->accelerator = *sample;
}

void autoscale_metric(struct autoscale *scale, size_t metric, const struct autoscale_sample *sample)
{
    assert(metric < AUTOSCALE_METRICS_MAX);
    scale->metrics[metric] = *sample;
}

void autoscale_started(struct autoscale *scale, int64_t ms)
{
    ms = bounded(ms, START_MS_MAX);
    scale->start_ms =
        scale->start_ms == 0 ? ms : (scale->start_ms * (START_WEIGHT - 1) + ms) / START_WEIGHT;
}

int64_t autoscale_start_ms(const struct autoscale *scale)
{
    return scale->start_ms;
}

/* ---- signals --------------------------------------------------------------------------------- */

/* One decision, while it is made. */
struct deciding {
    struct autoscale *scale;
    const struct service_autoscale *options;
    const struct autoscale_now *now;
    struct autoscale_decision *decision;
};

static int32_t replicas_of(int64_t amount_micro, int64_t each_micro)
{
    assert(each_micro > 0);
    int64_t count = amount_micro / each_micro + (amount_micro % each_micro > 0);
    return (int32_t)bounded(count, REPLICAS_MAX);
}

static bool is_fresh(int64_t at_ms, int64_t now_ms)
{
    return at_ms > 0 && now_ms - at_ms <= AUTOSCALE_STALE_MS;
}

/* What a replica is to have at once by the options, in millionths; 0: they do not say. */
static int64_t asked_micro(const struct deciding *in)
{
    return in->options->in_flight * in->options->use_percent * (MICRO / 100);
}

/* And with what the goal taught; 0: not known. */
static int64_t each_micro(const struct deciding *in)
{
    int64_t asked = asked_micro(in);
    int64_t learned = in->scale->learned_micro;
    return learned > 0 && (asked == 0 || learned < asked) ? learned : asked;
}

/* Requests that would be under way at once were there room, on average over the time. */
static int64_t offered_micro(const struct scale_sums *sums)
{
    if (sums->covered_ms <= 0)
        return 0;
    int64_t running_us = sums->busy_us - sums->waiting_us;
    int64_t running = (int64_t)((__int128)running_us * 1000 / sums->covered_ms);
    if (sums->ended == 0 || sums->arrived <= sums->ended)
        return running;
    /* What arrives times what each takes. Of requests that have not ended the rest is missing, so
     * this is never too much. */
    __int128 offered = (__int128)running * sums->arrived / sums->ended, bound = OPEN_MAX;
    return (int64_t)(offered < bound * MICRO ? offered : bound * MICRO);
}

/* To work off what waits within that time, so many have to be under way beside the others. */
static int64_t backlog_micro(const struct deciding *in, const struct scale_sums *sums)
{
    int64_t within_ms = most(in->options->stable_ms, in->scale->start_ms);
    int64_t running_us = sums->busy_us - sums->waiting_us;
    int64_t waiting = in->scale->last.waiting;
    if (sums->ended == 0)
        return waiting * MICRO;
    return (int64_t)((__int128)running_us * waiting * 1000 / sums->ended / within_ms);
}

static void set_signal(
    struct deciding *in, int kind, int64_t value, int64_t target, int32_t replicas)
{
    in->decision->signals[kind] = (struct autoscale_signal){
        .known = true, .value_micro = value, .target_micro = target, .replicas = replicas};
}

/* Fewer only where a tenth more would not ask for what is there: a load that trembles about a
 * boundary goes over it once. */
static int32_t tolerant(const struct deciding *in, int64_t load, int64_t each)
{
    int32_t asked = replicas_of(load, each), wanted = in->now->wanted;
    if (asked >= wanted)
        return asked;
    return (int32_t)least(replicas_of(load + load / TOLERANCE_PARTS, each), wanted);
}

static void look_at_load(struct deciding *in)
{
    const struct service_autoscale *options = in->options;
    struct autoscale *scale = in->scale;
    int64_t now_ms = in->now->now_ms, each = each_micro(in);
    struct scale_sums stable = scale_window_sum(&scale->window, now_ms, options->stable_ms);
    struct scale_sums panic = scale_window_sum(&scale->window, now_ms, options->panic_ms);
    /* Of a service without replicas this is of a time when it had some. */
    if (each == 0 || stable.covered_ms == 0 || in->now->wanted == 0)
        return;
    int64_t piled = backlog_micro(in, &stable);
    int64_t load = offered_micro(&stable) + piled, sudden = offered_micro(&panic) + piled;
    set_signal(in, SIGNAL_LOAD, load, each, tolerant(in, load, each));
    if (panic.covered_ms == 0)
        return;
    int32_t hurried = replicas_of(sudden, each);
    set_signal(in, SIGNAL_PANIC, sudden, each, hurried);
    if ((int64_t)hurried * 100 >= options->panic_percent * most(in->now->ready, 1) &&
        hurried > in->now->ready)
        scale->panic_until_ms = now_ms + options->stable_ms;
}

/* Without a replica nothing is under way: what waits, or has just come, is all there is to go by.
 */
static void look_at_backlog(struct deciding *in)
{
    const struct autoscale *scale = in->scale;
    int64_t each = each_micro(in), open = scale->last.open * MICRO;
    if (in->now->wanted > 0 || (scale->last.open == 0 && scale->active_ms < scale->last.at_ms))
        return;
    set_signal(
        in, SIGNAL_BACKLOG, open, each, (int32_t)most(each ? replicas_of(open, each) : 1, 1));
}

/* What was late before replicas were there says nothing about them, and a request that was there
 * then has to have ended: four times what one takes is enough for nearly all. */
static struct scale_sums judged(const struct deciding *in, const struct scale_sums *stable)
{
    const struct autoscale *scale = in->scale;
    int64_t takes_ms = stable->ended > 0 ? stable->busy_us / stable->ended / 1000 : 0;
    int64_t since = most(scale->ready_ms + 4 * takes_ms, scale->learned_ms);
    int64_t span = least(in->options->stable_ms, in->now->now_ms - since - scale->window.width_ms);
    struct scale_sums none = {0};
    return span > 0 ? scale_window_sum(&scale->window, in->now->now_ms, span) : none;
}

static void learn(struct deciding *in, int64_t each)
{
    int64_t asked = asked_micro(in), floor = asked > 0 ? asked / LEARNED_LEAST_PART : MICRO / 16;
    in->scale->learned_micro = asked > 0 && each >= asked ? 0 : most(each, floor);
    in->scale->learned_ms = in->now->now_ms;
}

/* Replicas that are there and have requests enough are too slow with so many at once. */
static void judge_replicas(struct deciding *in, const struct scale_sums *stable, int64_t allowed)
{
    struct autoscale *scale = in->scale;
    struct scale_sums sums = judged(in, stable);
    int32_t ready = in->now->ready;
    if (sums.timed < LATENCY_ENDED_MIN || ready == 0 || ready < in->now->wanted)
        return;
    int64_t share = sums.late * MICRO / sums.timed, each = each_micro(in);
    int64_t had = (int64_t)((__int128)sums.busy_us * 1000 / most(sums.covered_ms, 1) / ready);
    bool served = stable->waiting_us * WAITING_PART <= stable->busy_us;
    if (share > allowed && served)
        learn(in, (each && each < had ? each : had) * (LEARNED_PARTS - 1) / LEARNED_PARTS);
    else if (scale->learned_micro > 0 && share * LATENCY_CALM_PART <= allowed &&
             in->now->now_ms - scale->learned_ms >= in->options->stable_ms * LEARNED_CALM_WINDOWS)
        learn(in, scale->learned_micro * (LEARNED_PARTS + 1) / LEARNED_PARTS);
}

/* Where the goal is missed since replicas were let go that are needed again, the next ones are kept
 * for longer. Looked at once in a stable window. */
static void judge_patience(struct deciding *in, const struct scale_sums *stable, int64_t allowed)
{
    struct autoscale *scale = in->scale;
    if (stable->timed < LATENCY_ENDED_MIN ||
        in->now->now_ms - scale->patience_ms < in->options->stable_ms)
        return;
    int64_t share = stable->late * MICRO / stable->timed;
    int64_t patience = scale->patience_eighths ? scale->patience_eighths : PATIENCE_LEAST;
    if (share > allowed)
        patience *= 2;
    else if (share * LATENCY_CALM_PART <= allowed)
        patience--;
    scale->patience_eighths = least(most(patience, PATIENCE_LEAST), PATIENCE_MOST);
    scale->patience_ms = in->now->now_ms;
}

static void look_at_latency(struct deciding *in)
{
    const struct service_autoscale *options = in->options;
    struct autoscale *scale = in->scale;
    if (options->latency.goal_ms == 0) {
        scale->learned_micro = 0;
        scale->patience_eighths = 0;
        return;
    }
    int64_t allowed = (100000 - options->latency.percent_milli) * (MICRO / 100000);
    struct scale_sums stable =
        scale_window_sum(&scale->window, in->now->now_ms, options->stable_ms);
    judge_replicas(in, &stable, allowed);
    judge_patience(in, &stable, allowed);
    if (stable.timed > 0)
        set_signal(in, SIGNAL_LATENCY, stable.late * MICRO / stable.timed, allowed, 0);
}

/* The load is asked for with what the goal allows a replica: what is beyond the load without it is
 * the goal's. */
static void credit_latency(struct deciding *in)
{
    struct autoscale_signal *load = &in->decision->signals[SIGNAL_LOAD];
    struct autoscale_signal *latency = &in->decision->signals[SIGNAL_LATENCY];
    int64_t asked = asked_micro(in);
    if (in->scale->learned_micro == 0 || !load->known)
        return;
    latency->known = true;
    latency->replicas = load->replicas;
    if (asked > 0) {
        load->target_micro = asked;
        load->replicas = replicas_of(load->value_micro, asked);
    } else {
        load->known = false;
    }
}

static void look_at_rest(struct deciding *in)
{
    const struct service_autoscale *options = in->options;
    const struct autoscale *scale = in->scale;
    const struct autoscale_sample *used = &scale->accelerator;
    int64_t now_ms = in->now->now_ms;
    int32_t count = (int32_t)most(in->now->ready, 1);
    if (options->accelerator_percent > 0 && used->count > 0 && is_fresh(used->at_ms, now_ms)) {
        int64_t target = options->accelerator_percent * MICRO;
        struct hpa_pods pods = {
            used->sum_micro, used->count, (int32_t)most(in->now->ready - used->count, 0)};
        set_signal(in, SIGNAL_ACCELERATOR, used->sum_micro / used->count, target,
            hpa_wished(count, &pods, target));
    }
    for (size_t i = 0; i < options->metrics.count && i < AUTOSCALE_METRICS_MAX; i++) {
        const struct autoscale_metric *metric = &options->metrics.items[i];
        const struct autoscale_sample *sample = &scale->metrics[i];
        if (sample->count == 0 || !is_fresh(sample->at_ms, now_ms))
            continue;
        if (metric->average_micro > 0)
            set_signal(in, SIGNAL_METRIC + (int)i, sample->sum_micro, metric->average_micro,
                hpa_wished_average(count, sample->sum_micro, metric->average_micro));
        else
            set_signal(in, SIGNAL_METRIC + (int)i, sample->sum_micro, metric->value_micro,
                hpa_wished_value(count, count, sample->sum_micro, metric->value_micro));
    }
}

/* ---- what they ask for together ---------------------------------------------------------------
 */

static const enum autoscale_reason signal_reasons[] = {
    [SIGNAL_LOAD] = AUTOSCALE_LOAD,
    [SIGNAL_PANIC] = AUTOSCALE_PANIC,
    [SIGNAL_BACKLOG] = AUTOSCALE_BACKLOG,
    [SIGNAL_LATENCY] = AUTOSCALE_LATENCY,
    [SIGNAL_ACCELERATOR] = AUTOSCALE_ACCELERATOR,
    [SIGNAL_METRIC] = AUTOSCALE_METRIC,
};

/* Whether each signal that the options name is known: without that nothing goes down. */
static bool all_known(const struct deciding *in)
{
    const struct service_autoscale *options = in->options;
    const struct autoscale_signal *signals = in->decision->signals;
    bool load = options->in_flight > 0 || options->latency.goal_ms > 0;
    bool known = !load || (in->scale->last.at_ms > 0 && in->scale->window.width_ms > 0 &&
                              in->now->now_ms - in->scale->since_ms >= options->stable_ms);
    known = known && (options->accelerator_percent == 0 || signals[SIGNAL_ACCELERATOR].known);
    for (size_t i = 0; i < options->metrics.count && i < AUTOSCALE_METRICS_MAX; i++)
        known = known && signals[SIGNAL_METRIC + i].known;
    return known;
}

static void ask(struct deciding *in)
{
    struct autoscale_decision *decision = in->decision;
    decision->asked = -1;
    for (int i = 0; i < SIGNALS; i++) {
        const struct autoscale_signal *signal = &decision->signals[i];
        if (!signal->known || (i == SIGNAL_PANIC && !decision->panic) ||
            signal->replicas <= decision->asked)
            continue;
        decision->asked = signal->replicas;
        decision->reason = signal_reasons[least(i, SIGNAL_METRIC)];
        decision->metric = i - SIGNAL_METRIC;
    }
    bool nothing = decision->asked < 0;
    if (nothing || (decision->asked < in->now->wanted && (decision->panic || !all_known(in)))) {
        decision->asked = in->now->wanted;
        decision->reason = nothing || !decision->panic ? AUTOSCALE_NO_DATA : AUTOSCALE_PANIC;
    }
    decision->asked = (int32_t)bounded(decision->asked, REPLICAS_MAX);
}

/* Whether a metric asks for replicas, which it may of a service that has none. */
static bool metric_asks(const struct autoscale_decision *decision)
{
    for (int i = SIGNAL_METRIC; i < SIGNALS; i++) {
        if (decision->signals[i].known && decision->signals[i].replicas > 0)
            return true;
    }
    return false;
}

/* The last replica goes only by this; whether it has to stay. */
static bool consider_zero(struct deciding *in)
{
    const struct autoscale *scale = in->scale;
    struct autoscale_decision *decision = in->decision;
    bool there = in->now->wanted > 0;
    bool idle = !decision->panic && scale->last.open == 0 &&
                is_fresh(scale->last.at_ms, in->now->now_ms) &&
                scale->last.at_ms - most(scale->active_ms, scale->since_ms) >= in->options->idle_ms;
    if (decision->signals[SIGNAL_BACKLOG].known || metric_asks(decision))
        return there;
    if (decision->min > 0 || (there && !idle))
        return true;
    decision->asked = 0;
    decision->reason = AUTOSCALE_IDLE;
    return false;
}

/* ---- bounds ---------------------------------------------------------------------------------- */

static int64_t minute_of_week(int64_t now_ms, int64_t offset_minutes)
{
    enum { DAY = 24 * 60, WEEK = 7 * DAY };
    /* The epoch began on a Thursday; a Monday is day 0. */
    int64_t minute = now_ms / 60000 + offset_minutes + 3 * DAY;
    return (minute % WEEK + WEEK) % WEEK;
}

static bool hours_hold(const struct autoscale_hours *hours, int64_t minute_of_week)
{
    enum { DAY = 24 * 60 };
    int64_t day = minute_of_week / DAY, minute = minute_of_week % DAY, before = (day + 6) % 7;
    bool today = hours->day_bits >> day & 1, yesterday = hours->day_bits >> before & 1;
    if (hours->from_minute < hours->to_minute)
        return today && minute >= hours->from_minute && minute < hours->to_minute;
    return (today && minute >= hours->from_minute) || (yesterday && minute < hours->to_minute);
}

int32_t autoscale_min(const struct service_autoscale *options, int64_t now_ms, bool *ret_hours)
{
    int64_t min = options->min, minute = minute_of_week(now_ms, options->utc_offset_minutes);
    bool by_hours = false;
    for (size_t i = 0; i < options->hours.count; i++) {
        const struct autoscale_hours *hours = &options->hours.items[i];
        if (hours->min <= min || !hours_hold(hours, minute))
            continue;
        min = hours->min;
        by_hours = true;
    }
    if (ret_hours)
        *ret_hours = by_hours;
    return (int32_t)least(min, options->max);
}

/* A wish has to last: down to the most that was asked for in the time, up to the least. */
static int32_t steady(struct deciding *in)
{
    const struct service_autoscale *options = in->options;
    struct scale_wishes *wishes = &in->scale->wishes;
    int32_t asked = in->decision->asked, wanted = in->now->wanted;
    int64_t patience = most(in->scale->patience_eighths, PATIENCE_LEAST);
    int64_t width =
        scale_width(most(options->down_ms * PATIENCE_MOST / PATIENCE_LEAST, options->up_ms));
    int64_t down_ms = options->down_ms * patience / PATIENCE_LEAST;
    scale_wishes_add(wishes, width, in->now->now_ms, asked);
    if (in->decision->reason == AUTOSCALE_IDLE || in->decision->reason == AUTOSCALE_BACKLOG)
        return asked;
    if (asked < wanted && options->down_ms > 0) {
        int32_t lasting = scale_wishes_most(wishes, in->now->now_ms, down_ms, asked);
        return (int32_t)least(lasting, wanted);
    }
    if (asked > wanted && options->up_ms > 0) {
        int32_t lasting = scale_wishes_least(wishes, in->now->now_ms, options->up_ms, asked);
        return (int32_t)most(lasting, wanted);
    }
    return asked;
}

static void bound(struct deciding *in, bool keeps_one, bool by_hours)
{
    struct autoscale_decision *decision = in->decision;
    int32_t wanted = steady(in);
    if (wanted == 0 && keeps_one)
        wanted = 1;
    if (wanted != decision->asked)
        decision->bound = AUTOSCALE_STEADY;
    if (wanted < decision->min || (wanted == decision->min && decision->asked < wanted)) {
        wanted = decision->min;
        decision->bound = by_hours ? AUTOSCALE_HOURS : AUTOSCALE_MIN;
    }
    if (wanted > decision->max) {
        wanted = decision->max;
        decision->bound = AUTOSCALE_MAX;
    }
    decision->wanted = wanted;
}

void autoscale_decide(struct autoscale *scale, const struct service_autoscale *options,
    const struct autoscale_now *now, struct autoscale_decision *ret)
{
    assert(options->max > 0 && options->max <= REPLICAS_MAX && now->wanted >= 0);
    struct autoscale_decision decision = {.start_ms = scale->start_ms};
    struct deciding in = {scale, options, now, &decision};
    bool by_hours;
    decision.min = autoscale_min(options, now->now_ms, &by_hours);
    decision.max = (int32_t)options->max;
    if (now->ready != scale->ready) {
        scale->ready = now->ready;
        scale->ready_ms = now->now_ms;
    }
    if (is_fresh(scale->last.at_ms, now->now_ms)) {
        look_at_latency(&in);
        look_at_load(&in);
        look_at_backlog(&in);
        credit_latency(&in);
    }
    look_at_rest(&in);
    decision.panic = scale->panic_until_ms > now->now_ms;
    ask(&in);
    bool keeps_one = consider_zero(&in);
    bound(&in, keeps_one, by_hours);
    *ret = decision;
}
