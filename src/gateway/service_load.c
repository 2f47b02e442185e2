/* The load of services: see service_load.h. The time that requests were there together is added up
 * at each change: those that are there, times the time since the last change. */
#include "gateway/service_load.h"

#include "base/strbuf.h"
#include "gateway/relay_turn.h"

#include <inttypes.h>

static uint64_t get(const atomic_uint_fast64_t *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

static void add(atomic_uint_fast64_t *count, uint64_t change)
{
    atomic_store_explicit(count, get(count) + change, memory_order_relaxed);
}

/* What has come up to now; a moment that is before the last, as of a request that was read with
 * others, is the last. */
static uint64_t busy_until(const struct load_counts *counts, int64_t now_us)
{
    int64_t last_us = atomic_load_explicit(&counts->last_us, memory_order_relaxed);
    uint64_t arrived = get(&counts->arrived), ended = get(&counts->ended);
    uint64_t open = arrived > ended ? arrived - ended : 0;
    return get(&counts->busy_us) + (now_us > last_us ? open * (uint64_t)(now_us - last_us) : 0);
}

static void settle(struct load_counts *counts, int64_t now_us)
{
    atomic_store_explicit(&counts->busy_us, busy_until(counts, now_us), memory_order_relaxed);
    if (now_us > atomic_load_explicit(&counts->last_us, memory_order_relaxed))
        atomic_store_explicit(&counts->last_us, now_us, memory_order_relaxed);
}

void load_begin(struct service_load *load, int worker, int64_t now_us)
{
    settle(&load->workers[worker], now_us);
    add(&load->workers[worker].arrived, 1);
}

void load_end(struct service_load *load, int worker, int64_t now_us)
{
    settle(&load->workers[worker], now_us);
    add(&load->workers[worker].ended, 1);
}

void load_took(struct service_load *load, int worker, int64_t us)
{
    add(&load->workers[worker].latency[histogram_bucket(us)], 1);
}

/* ---- the main thread --------------------------------------------------------------------------
 */

void load_read(const struct service_load *load, int64_t now_us, struct load_reading *ret)
{
    *ret = (struct load_reading){0};
    for (size_t i = 0; i < GATEWAY_WORKERS_MAX; i++) {
        const struct load_counts *counts = &load->workers[i];
        ret->ended += get(&counts->ended);
        ret->arrived += get(&counts->arrived);
        ret->busy_us += busy_until(counts, now_us);
        for (size_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++)
            ret->latency.counts[bucket] += get(&counts->latency[bucket]);
    }
}

/* Terms of one service follow each other in no order: its state is looked at with the first. */
static bool is_first(const struct service_terms *first, const struct service_terms *terms)
{
    while (first->state != terms->state)
        first = first->next;
    return first == terms;
}

bool load_take_demand(const struct service_terms *first)
{
    bool any = false;
    for (const struct service_terms *terms = first; terms; terms = terms->next) {
        if (terms->state->load)
            any = atomic_exchange(&terms->state->load->demand, false) || any;
    }
    return any;
}

static void write_one(const struct service_state *state, int64_t now_us, struct strbuf *out)
{
    struct load_reading reading;
    load_read(state->load, now_us, &reading);
    uint64_t open = reading.arrived > reading.ended ? reading.arrived - reading.ended : 0;
    int64_t held = (int64_t)atomic_load(&state->load->held);
    strbuf_puts(out, "{\"service\":");
    strbuf_json(out, state->service);
    strbuf_printf(out,
        ",\"arrived\":%" PRIu64 ",\"ended\":%" PRIu64 ",\"open\":%" PRIu64 ",\"waiting\":%" PRId64
        ",\"held\":%" PRId64 ",\"busyUs\":%" PRIu64 ",\"latency\":\"",
        reading.arrived, reading.ended, open,
        held + (state->turns ? (int64_t)turns_waiting(state->turns) : 0), held, reading.busy_us);
    histogram_write(&reading.latency, out);
    strbuf_puts(out, "\"}");
}

void load_write(const struct service_terms *first, int64_t now_us, struct strbuf *out)
{
    const char *comma = "";
    strbuf_putc(out, '[');
    for (const struct service_terms *terms = first; terms; terms = terms->next) {
        if (!terms->state->load || !is_first(first, terms))
            continue;
        strbuf_puts(out, comma);
        write_one(terms->state, now_us, out);
        comma = ",";
    }
    strbuf_putc(out, ']');
}
