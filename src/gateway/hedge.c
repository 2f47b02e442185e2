/* Latencies and budgets of hedging: see hedge.h. */
#include "gateway/hedge.h"

enum { FIRST_EXPONENT = 6, AHEAD = 1, SAVED_MAX = 10 };

static int bucket_of(int64_t us)
{
    if (us < 1 << FIRST_EXPONENT)
        return 0;
    int exponent = 63 - __builtin_clzll((unsigned long long)us);
    int bucket = (exponent - FIRST_EXPONENT) * 4 + (int)(us >> (exponent - 2) & 3);
    return bucket < HEDGE_BUCKETS ? bucket : HEDGE_BUCKETS - 1;
}

static int64_t upper_end(int bucket)
{
    return (int64_t)(4 + bucket % 4 + 1) << (bucket / 4 + FIRST_EXPONENT - 2);
}

/* What others add meanwhile may be lost: it is one sample of two thousand. */
static void fade(struct hedge_latency *latency)
{
    uint_fast32_t total = 0;
    for (int i = 0; i < HEDGE_BUCKETS; i++) {
        uint_least16_t half = atomic_load_explicit(&latency->counts[i], memory_order_relaxed) / 2;
        atomic_store_explicit(&latency->counts[i], half, memory_order_relaxed);
        total += half;
    }
    atomic_store_explicit(&latency->total, total, memory_order_relaxed);
}

void hedge_latency_add(struct hedge_latency *latency, int64_t us)
{
    atomic_fetch_add_explicit(&latency->counts[bucket_of(us)], 1, memory_order_relaxed);
    uint_fast32_t total = atomic_fetch_add_explicit(&latency->total, 1, memory_order_relaxed) + 1;
    if (total == HEDGE_SAMPLES_MAX)
        fade(latency);
}

int64_t hedge_latency_quantile(const struct hedge_latency *latency, int percent)
{
    uint64_t sum = 0, seen = 0;
    for (int i = 0; i < HEDGE_BUCKETS; i++)
        sum += atomic_load_explicit(&latency->counts[i], memory_order_relaxed);
    if (sum < HEDGE_SAMPLES_MIN)
        return 0;
    for (int i = 0; i < HEDGE_BUCKETS; i++) {
        seen += atomic_load_explicit(&latency->counts[i], memory_order_relaxed);
        if (seen * 100 >= sum * (uint64_t)percent)
            return upper_end(i);
    }
    return upper_end(HEDGE_BUCKETS - 1);
}

void hedge_budget_earn(struct hedge_budget *budget, int64_t percent)
{
    budget->spent_milli -= percent * 10;
    if (budget->spent_milli < -SAVED_MAX * 1000)
        budget->spent_milli = -SAVED_MAX * 1000;
}

bool hedge_budget_take(struct hedge_budget *budget)
{
    if (budget->spent_milli + 1000 > AHEAD * 1000)
        return false;
    budget->spent_milli += 1000;
    return true;
}
