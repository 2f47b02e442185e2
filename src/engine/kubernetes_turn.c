/* The turn of the Kubernetes engine: attempts that are due are advanced in it, and reports
 * delivered. Nothing is reported from inside a call, nor while anything is being changed: what is
 * to be told is noted at the attempt, and the turn tells it. */
#include "engine/kubernetes.h"

#include "base/clock.h"

#include <event2/event.h>
#include <string.h>

enum { RETRY_FIRST_MS = 100, RETRY_MOST_MS = 2000 };

void kubernetes_turn(struct kubernetes *engine)
{
    event_active(&engine->turn, EV_TIMEOUT, 1);
}

/* Ever more seldom, until it was not needed for a while. */
void kubernetes_retry_later(struct kube_attempt *attempt, int64_t least_ms)
{
    struct kubernetes *engine = attempt->engine;
    int64_t now = clock_boot_ms();
    attempt->again = true;
    if (event_pending(&engine->retry, EV_TIMEOUT, NULL))
        return;
    if (now - engine->retried_ms > RETRY_MOST_MS * 2)
        engine->retry_ms = RETRY_FIRST_MS;
    engine->retried_ms = now;
    int64_t wait_ms = engine->retry_ms > least_ms ? engine->retry_ms : least_ms;
    struct timeval delay = {wait_ms / 1000, wait_ms % 1000 * 1000};
    engine->retry_ms = engine->retry_ms * 2 < RETRY_MOST_MS ? engine->retry_ms * 2 : RETRY_MOST_MS;
    event_add(&engine->retry, &delay);
}

static void on_retry(int fd, short what, void *ctx)
{
    struct kubernetes *engine = ctx;
    (void)fd, (void)what;
    for (size_t i = 0; i < engine->attempts.count; i++) {
        struct kube_attempt *attempt = engine->attempts.items[i];
        if (attempt->again)
            kube_attempt_due(attempt);
        attempt->again = false;
    }
}

/* What is due again by that waits for the next turn. */
static void advance_due(struct kubernetes *engine)
{
    size_t count = engine->due.count;
    for (size_t i = 0; i < count; i++) {
        struct kube_attempt *attempt = kubernetes_find(engine, engine->due.items[i]);
        if (!attempt || !attempt->due)
            continue;
        attempt->due = false;
        kube_attempt_advance(attempt); /* may remove it */
    }
    if (count == 0)
        return;
    memmove(engine->due.items, engine->due.items + count,
        (engine->due.count - count) * sizeof *engine->due.items);
    engine->due.count -= count;
}

static bool next_report(struct kube_attempt *attempt, struct report *ret_report)
{
    const struct kube_ledger *ledger = &attempt->ledger;
    *ret_report =
        (struct report){.attempt = ledger->attempt, .job = ledger->job, .at_ms = clock_wall_ms()};
    if (attempt->tell_started) {
        attempt->tell_started = false;
        ret_report->kind = ENGINE_REPORT_STARTED;
        ret_report->started_ms = ledger->started_ms;
    } else if (attempt->tell_sample) {
        attempt->tell_sample = false;
        ret_report->kind = ENGINE_REPORT_SAMPLE;
        kube_usage_sum(attempt, &ret_report->sample);
    } else if (attempt->tell_ended) {
        attempt->tell_ended = false;
        ret_report->kind = ENGINE_REPORT_ENDED;
        ret_report->ended = ledger->end;
    } else {
        return false;
    }
    return true;
}

/* A callback may change the list of attempts, and have more told. */
static void deliver(struct kubernetes *engine)
{
    struct report report;
    for (size_t i = 0; i < engine->telling.count; i++) {
        struct kube_attempt *attempt;
        while ((attempt = kubernetes_find(engine, engine->telling.items[i])) &&
               !attempt->ledger.forgotten && next_report(attempt, &report))
            engine->report(engine->context, &report);
    }
    vec_clear(&engine->telling);
}

static void deliver_site(struct kubernetes *engine)
{
    const struct report report = {.kind = ENGINE_REPORT_SITE, .at_ms = clock_wall_ms()};
    if (!engine->site_changed || !(engine->nodes_known && engine->pods_known))
        return;
    engine->site_changed = false;
    kube_site_show(engine);
    uint64_t hash = kube_site_hash(engine);
    if (hash == engine->site_told)
        return; /* nodes say every few seconds that nothing is new */
    engine->site_told = hash;
    engine->report(engine->context, &report);
}

static void on_turn(int fd, short what, void *ctx)
{
    struct kubernetes *engine = ctx;
    (void)fd, (void)what;
    advance_due(engine);
    deliver_site(engine); /* first: what is told then may be placed anew */
    deliver(engine);
}

void kubernetes_turn_init(struct kubernetes *engine)
{
    engine->retry_ms = RETRY_FIRST_MS;
    evtimer_assign(&engine->turn, engine->base, on_turn, engine);
    evtimer_assign(&engine->retry, engine->base, on_retry, engine);
}
