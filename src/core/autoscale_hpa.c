/* Kubernetes' formula for its HorizontalPodAutoscaler, autoscaling/v2, as it is documented: see
 * autoscale.h. In integers: a ratio is compared as a product, so that nothing is rounded before the
 * last step. */
#include "core/autoscale.h"
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

int32_t hpa_wished_value(int32_t replicas, int64_t value_micro, int64_t target_micro)
{
    assert(target_micro > 0);
    if (near_enough(value_micro, target_micro))
        return replicas;
    return counted((__int128)replicas * value_micro, target_micro);
}

int32_t hpa_wished_average(int32_t replicas, int64_t value_micro, int64_t target_micro)
{
    assert(target_micro > 0);
    if (near_enough(value_micro, (__int128)target_micro * replicas))
        return replicas;
    return counted(value_micro, target_micro);
}
