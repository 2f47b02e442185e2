/* Kubernetes' rules for its HorizontalPodAutoscaler, autoscaling/v2, as it is documented: see
 * autoscale.h. In integers: a ratio is compared as a product, so that nothing is rounded before the
 * last step. */
#include "core/autoscale.h"

#include "base/memory.h"
#include "core/limits.h"
#include "core/sort.h"

#include <assert.h>

enum { TOLERANCE_PARTS = 10 };

static int32_t counted(__int128 amount, __int128 each)
{
    __int128 count = amount <= 0 ? 0 : (amount + each - 1) / each;
    return count > REPLICAS_MAX ? REPLICAS_MAX : (int32_t)count;
}

/* Whether value / target is within a tenth of one. */
static bool near_enough(__int128 value, __int128 target)
{
    __int128 difference = value > target ? value - target : target - value;
    return difference * TOLERANCE_PARTS <= target;
}

int32_t hpa_wished(int32_t replicas, const struct hpa_pods *pods, int64_t target_micro)
{
    assert(target_micro > 0 && pods->known >= 0 && pods->missing >= 0);
    if (pods->known == 0)
        return replicas;
    __int128 sum = pods->sum_micro, full = (__int128)target_micro * pods->known;
    bool more = sum > full;
    if (pods->missing == 0)
        return near_enough(sum, full) ? replicas : counted(sum, target_micro);
    /* The cautious guess about those that nothing is known of. */
    int32_t all = pods->known + pods->missing;
    __int128 assumed = more ? sum : sum + (__int128)target_micro * pods->missing;
    __int128 all_full = (__int128)target_micro * all;
    if (near_enough(assumed, all_full) || more != (assumed > all_full))
        return replicas;
    int32_t wished = counted(assumed, target_micro);
    bool turned = more ? wished < replicas : wished > replicas;
    return turned ? replicas : wished;
}

int32_t hpa_wished_value(int32_t replicas, int32_t ready, int64_t value_micro, int64_t target_micro)
{
    assert(target_micro > 0);
    if (replicas > 0 && near_enough(value_micro, target_micro))
        return replicas;
    return counted((__int128)(replicas > 0 ? ready : 1) * value_micro, target_micro);
}

int32_t hpa_wished_average(int32_t replicas, int64_t value_micro, int64_t target_micro)
{
    assert(target_micro > 0);
    if (replicas > 0 && near_enough(value_micro, (__int128)target_micro * replicas))
        return replicas;
    return counted(value_micro, target_micro);
}

/* ---- policies -------------------------------------------------------------------------------- */

static const struct hpa_policy up_policies[] = {
    {HPA_POLICY_PERCENT, 100, 15}, {HPA_POLICY_PODS, 4, 15}};
static const struct hpa_policy down_policies[] = {{HPA_POLICY_PERCENT, 100, 15}};

enum { DOWN_STABILIZATION_S = 300 };

/* What a direction goes by, with Kubernetes' defaults where nothing is said. */
struct rules {
    const struct hpa_policy *policies;
    size_t count;
    enum hpa_select select;
    int64_t stabilization_ms;
};

static struct rules rules_of(const struct hpa_rules *said, bool up)
{
    struct rules rules = {
        said->policies.items, said->policies.count, said->select, said->stabilization_s * 1000};
    if (rules.count == 0) {
        rules.policies = up ? up_policies : down_policies;
        rules.count = up ? ARRAY_LEN(up_policies) : ARRAY_LEN(down_policies);
    }
    if (said->stabilization_s < 0)
        rules.stabilization_ms = up ? 0 : DOWN_STABILIZATION_S * 1000;
    return rules;
}

/* How many there were so long ago. */
static int64_t count_before(
    const struct hpa_state *state, const struct autoscale_now *now, int64_t period_ms)
{
    int64_t count = now->wanted;
    size_t kept = state->change_count < HPA_CHANGES ? state->change_count : HPA_CHANGES;
    for (size_t i = 0; i < kept; i++) {
        if (state->changes[i].at_ms > now->now_ms - period_ms)
            count -= state->changes[i].by;
    }
    return most(count, 0);
}

/* The number beyond which a policy does not let it go. */
static int64_t limit_of(const struct hpa_policy *policy, int64_t before, bool up)
{
    if (policy->kind == HPA_POLICY_PODS)
        return up ? before + policy->value : before - policy->value;
    if (up)
        return (before * (100 + policy->value) + 99) / 100;
    return before * (100 - least(policy->value, 100)) / 100;
}

static int32_t limited(const struct hpa_state *state, const struct autoscale_now *now,
    const struct rules *rules, int32_t wished)
{
    bool up = wished > now->wanted, far = rules->select == HPA_SELECT_MAX;
    if (rules->select == HPA_SELECT_DISABLED)
        return now->wanted;
    int64_t limit = 0;
    for (size_t i = 0; i < rules->count; i++) {
        const struct hpa_policy *policy = &rules->policies[i];
        int64_t before = count_before(state, now, policy->period_s * 1000);
        int64_t one = limit_of(policy, before, up);
        limit = i == 0 ? one : up == far ? most(limit, one) : least(limit, one);
    }
    if (up)
        return (int32_t)least(most(limit, now->wanted), wished);
    return (int32_t)most(least(limit, now->wanted), wished);
}

/* ---- deciding -------------------------------------------------------------------------------- */

static int32_t wished_by(const struct hpa_metric *metric, const struct hpa_reading *reading,
    const struct autoscale_now *now)
{
    if (metric->kind == HPA_PODS || metric->kind == HPA_RESOURCE)
        return hpa_wished(now->wanted, &reading->pods, metric->target_micro);
    if (metric->target == HPA_VALUE)
        return hpa_wished_value(
            now->wanted, now->ready, reading->value_micro, metric->target_micro);
    return hpa_wished_average(now->wanted, reading->value_micro, metric->target_micro);
}

static void ask_metrics(const struct hpa *hpa, const struct autoscale_now *now,
    const struct hpa_reading *readings, struct autoscale_decision *decision)
{
    bool all_known = true;
    decision->asked = -1;
    for (size_t i = 0; i < hpa->metrics.count && i < AUTOSCALE_METRICS_MAX; i++) {
        const struct hpa_metric *metric = &hpa->metrics.items[i];
        struct autoscale_signal *signal = &decision->signals[SIGNAL_METRIC + i];
        if (!metric->name)
            continue;
        all_known = all_known && readings[i].known;
        if (!readings[i].known)
            continue;
        bool pods = metric->kind == HPA_PODS || metric->kind == HPA_RESOURCE;
        signal->known = true;
        signal->target_micro = metric->target_micro;
        signal->value_micro = !pods ? readings[i].value_micro
                              : readings[i].pods.known > 0
                                  ? readings[i].pods.sum_micro / readings[i].pods.known
                                  : 0;
        signal->replicas = wished_by(metric, &readings[i], now);
        if (signal->replicas <= decision->asked)
            continue;
        decision->asked = signal->replicas;
        decision->metric = (int32_t)i;
        decision->reason = signal->replicas == now->wanted ? AUTOSCALE_TOLERANCE : AUTOSCALE_METRIC;
    }
    if (decision->asked >= 0 && (all_known || decision->asked >= now->wanted))
        return;
    decision->asked = now->wanted;
    decision->reason = AUTOSCALE_NO_DATA;
}

/* Down to the most, up to the least that was asked for in the direction's time. */
static int32_t stabilised(struct hpa_state *state, const struct rules *up, const struct rules *down,
    const struct autoscale_now *now, int32_t asked)
{
    int64_t width = scale_width(most(up->stabilization_ms, down->stabilization_ms));
    scale_wishes_add(&state->wishes, width, now->now_ms, asked);
    if (asked > now->wanted && up->stabilization_ms > 0) {
        int32_t lasting =
            scale_wishes_least(&state->wishes, now->now_ms, up->stabilization_ms, asked);
        return (int32_t)most(lasting, now->wanted);
    }
    if (asked < now->wanted && down->stabilization_ms > 0) {
        int32_t lasting =
            scale_wishes_most(&state->wishes, now->now_ms, down->stabilization_ms, asked);
        return (int32_t)least(lasting, now->wanted);
    }
    return asked;
}

static int32_t bounded(const struct hpa *hpa, struct autoscale_decision *decision, int32_t wanted)
{
    if (wanted < hpa->min) {
        decision->bound = AUTOSCALE_MIN;
        return (int32_t)hpa->min;
    }
    if (wanted > hpa->max) {
        decision->bound = AUTOSCALE_MAX;
        return (int32_t)hpa->max;
    }
    return wanted;
}

/* Below the minimum or above the maximum it goes there first, whatever metrics say. */
static void settle(struct hpa_state *state, const struct hpa *hpa, const struct autoscale_now *now,
    struct autoscale_decision *decision)
{
    struct rules up = rules_of(&hpa->up, true), down = rules_of(&hpa->down, false);
    int32_t steady = stabilised(state, &up, &down, now, decision->asked);
    if (steady != decision->asked)
        decision->bound = AUTOSCALE_STEADY;
    int32_t wanted = bounded(hpa, decision, steady);
    if (now->wanted < hpa->min || now->wanted > hpa->max) {
        decision->wanted = wanted;
        return;
    }
    decision->wanted = wanted == now->wanted
                           ? wanted
                           : limited(state, now, wanted > now->wanted ? &up : &down, wanted);
    if (decision->wanted != wanted)
        decision->bound = AUTOSCALE_RATE;
}

bool hpa_decide(struct hpa_state *state, const struct hpa *hpa, const struct autoscale_now *now,
    const struct hpa_reading *readings, struct autoscale_decision *ret)
{
    struct autoscale_decision decision = {.min = (int32_t)hpa->min, .max = (int32_t)hpa->max};
    bool due = now->now_ms >= state->next_ms || state->next_ms > now->now_ms + HPA_TICK_MS;
    if (!due)
        return false;
    state->next_ms = now->now_ms + HPA_TICK_MS;
    ask_metrics(hpa, now, readings, &decision);
    settle(state, hpa, now, &decision);
    if (decision.wanted != now->wanted) {
        size_t at = state->change_count++ % HPA_CHANGES;
        state->changes[at].at_ms = now->now_ms;
        state->changes[at].by = decision.wanted - now->wanted;
    }
    *ret = decision;
    return true;
}
