/* Circuit breakers: see circuit.h. `until_ms` is the state; the counters beside it may lag behind
 * it by a request, as workers do not wait for each other. */
#include "gateway/circuit.h"

static int64_t open_for(const struct service_circuit *options, uint_fast32_t level)
{
    int64_t ms = options->open_ms;
    for (uint_fast32_t i = 0; i < level && ms < options->open_max_ms; i++)
        ms *= 2;
    return ms < options->open_max_ms ? ms : options->open_max_ms;
}

enum circuit_way circuit_enter(struct circuit *circuit, const struct service_circuit *options,
    int64_t now_ms, int64_t *ret_wait_ms)
{
    int64_t until = atomic_load_explicit(&circuit->until_ms, memory_order_relaxed);
    bool nobody = false;
    if (until == 0)
        return CIRCUIT_CLOSED;
    if (until <= now_ms && atomic_compare_exchange_strong(&circuit->probing, &nobody, true))
        return CIRCUIT_PROBE;
    *ret_wait_ms = until > now_ms ? until - now_ms : options->open_ms;
    atomic_fetch_add_explicit(&circuit->refused, 1, memory_order_relaxed);
    return CIRCUIT_REFUSES;
}

void circuit_succeeded(struct circuit *circuit, bool probe)
{
    /* Read before they are written: nothing moves between processors while all is well. */
    if (atomic_load_explicit(&circuit->failures, memory_order_relaxed) > 0)
        atomic_store_explicit(&circuit->failures, 0, memory_order_relaxed);
    if (atomic_load_explicit(&circuit->until_ms, memory_order_relaxed) != 0) {
        atomic_store(&circuit->level, 0);
        atomic_store(&circuit->until_ms, 0);
    }
    if (probe)
        atomic_store(&circuit->probing, false);
}

bool circuit_failed(struct circuit *circuit, const struct service_circuit *options)
{
    uint_fast32_t row = atomic_fetch_add_explicit(&circuit->failures, 1, memory_order_relaxed) + 1;
    return options->failures > 0 && (int64_t)row >= options->failures &&
           atomic_load_explicit(&circuit->until_ms, memory_order_relaxed) == 0;
}

bool circuit_open(struct circuit *circuit, const struct service_circuit *options, int64_t now_ms)
{
    int_fast64_t closed = 0;
    bool opens =
        atomic_compare_exchange_strong(&circuit->until_ms, &closed, now_ms + open_for(options, 0));
    if (opens)
        atomic_fetch_add_explicit(&circuit->opened, 1, memory_order_relaxed);
    return opens;
}

void circuit_probe_failed(
    struct circuit *circuit, const struct service_circuit *options, int64_t now_ms)
{
    uint_fast32_t level = atomic_load(&circuit->level);
    /* Beyond this the longest was reached: an hour is less than 2^22 times 10 ms. */
    level = level < 32 ? level + 1 : level;
    atomic_store(&circuit->level, level);
    atomic_store(&circuit->until_ms, now_ms + open_for(options, level));
    atomic_store(&circuit->probing, false);
}

void circuit_probe_gone(struct circuit *circuit)
{
    atomic_store(&circuit->probing, false);
}

const char *circuit_text(const struct circuit *circuit, int64_t now_ms)
{
    int64_t until = atomic_load_explicit(&circuit->until_ms, memory_order_relaxed);
    return until == 0 ? "closed" : until > now_ms ? "open" : "probing";
}
