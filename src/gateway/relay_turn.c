/* Turns of relays: see relay_turn.h.
 *
 * 1. A turn is given to a worker by a message, even to one's own: so no relay runs within the end
 *    of another. A worker has one message for each service, which is on its way or not.
 * 2. A relay that waits is in its worker's heap and has a timer; it leaves both when its turn
 *    comes, its time is over or its client is gone. */
#include "gateway/relay_turn.h"

#include "base/clock.h"
#include "base/memory.h"
#include "gateway/post.h"
#include "wire/http.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

struct grant {
    struct post post;
    struct turns *turns;
    atomic_int_fast64_t count; /* turns that the worker was given and has not taken */
};

struct turns {
    struct fair *fair;
    struct service_state *state;
    atomic_int_fast64_t capacity; /* as the last that came knew it */
    atomic_int_fast64_t moving;   /* messages on their way */
    struct grant grants[GATEWAY_WORKERS_MAX];
};

_Static_assert((int)GATEWAY_WORKERS_MAX <= (int)FAIR_WORKERS_MAX, "each worker has a lane");

static void on_grant(struct worker_view *view, struct post *post);

struct turns *turns_create(int workers, struct service_state *state)
{
    struct turns *turns = mem_alloc(1, sizeof *turns);
    turns->fair = fair_create(workers);
    turns->state = state;
    for (int i = 0; i < workers; i++) {
        turns->grants[i].post.deliver = on_grant;
        turns->grants[i].turns = turns;
    }
    return turns;
}

void turns_destroy(struct turns *turns)
{
    if (!turns)
        return;
    assert(!turns_moving(turns));
    fair_destroy(turns->fair);
    free(turns);
}

bool turns_moving(const struct turns *turns)
{
    return atomic_load(&turns->moving) > 0;
}

size_t turns_waiting(const struct turns *turns)
{
    return fair_waiting(turns->fair);
}

/* ---- giving ---------------------------------------------------------------------------------- */

static void give_turns(struct turns *turns, struct post_office *office)
{
    for (int worker; (worker = fair_next(turns->fair, atomic_load(&turns->capacity))) >= 0;) {
        struct grant *grant = &turns->grants[worker];
        if (atomic_fetch_add(&grant->count, 1) > 0)
            continue;
        atomic_fetch_add(&turns->moving, 1);
        post_send(office, worker, &grant->post);
    }
}

static struct relay *relay_of(struct fair_entry *entry)
{
    return (struct relay *)((char *)entry - offsetof(struct relay, turn.entry));
}

static void run(struct relay *relay)
{
    relay->turn.state = TURN_RUNS;
    relay->turn.began_ns = clock_monotonic_ns();
    service_count_admitted(relay->terms->state, relay->view->number);
}

static void on_grant(struct worker_view *view, struct post *post)
{
    struct grant *grant = (struct grant *)post;
    struct turns *turns = grant->turns;
    /* From here on the message may be sent again. `moving` keeps the turns until all were taken. */
    for (int_fast64_t left = atomic_exchange(&grant->count, 0); left > 0; left--) {
        struct fair_entry *entry = fair_take(turns->fair, view->number);
        if (!entry) {
            give_turns(turns, view->office);
            continue;
        }
        struct relay *relay = relay_of(entry);
        event_del(&relay->timer);
        run(relay);
        relay_go(relay);
    }
    atomic_fetch_sub(&turns->moving, 1);
}

void relay_turn_leave(struct relay *relay)
{
    struct relay_turn *turn = &relay->turn;
    enum turn_state state = turn->state;
    if (state == TURN_NONE)
        return;
    struct turns *turns = relay->terms->state->turns;
    turn->state = TURN_NONE;
    if (state == TURN_WAITS) {
        fair_cancel(turns->fair, relay->view->number, &turn->entry);
        return;
    }
    /* How long a turn takes: also of those that failed, which took it as well. */
    limit_learn_time(&relay->terms->state->learned, (clock_monotonic_ns() - turn->began_ns) / 1000);
    fair_leave(turns->fair);
    give_turns(turns, relay->view->office);
}

/* ---- the stage ------------------------------------------------------------------------------- */

static void refuse(struct relay *relay, enum service_refusal why, int64_t wait_us)
{
    service_count_refused(relay->terms->state, relay->view->number, why);
    relay->retry_after_s = wait_us < 1000000 ? 1 : (wait_us + 999999) / 1000000;
    relay_refuse(relay, 503, "overloaded",
        why == REFUSED_WAITED ? "\"%s\" is busy: no replica had time for this request"
                              : "\"%s\" is busy: this request would wait too long",
        relay->terms->route);
}

static void on_too_late(evutil_socket_t fd, short what, void *context)
{
    struct relay *relay = context;
    (void)fd, (void)what;
    relay_turn_leave(relay);
    refuse(relay, REFUSED_WAITED, relay->terms->options.queue.wait_ms * 1000);
}

/* Without a replica as with one: it is waited for as without a queue. */
static int64_t capacity_of(const struct relay *relay)
{
    const struct table_service *service =
        route_table_service(relay->view->table, relay->terms->route);
    int64_t replicas = 0;
    for (size_t i = 0; service && i < service->route->replica_count; i++)
        replicas += !service->route->replicas[i].draining;
    return (replicas > 0 ? replicas : 1) * relay->terms->options.queue.concurrency;
}

static enum stage_result wait_for_turn(struct relay *relay, struct turns *turns)
{
    int64_t wait_ms = relay->terms->options.queue.wait_ms;
    struct timeval wait = {(time_t)(wait_ms / 1000), (suseconds_t)(wait_ms % 1000 * 1000)};
    relay->turn.state = TURN_WAITS;
    evtimer_assign(&relay->timer, relay->view->base, on_too_late, relay);
    evtimer_add(&relay->timer, &wait);
    give_turns(turns, relay->view->office);
    return STAGE_WAITS;
}

enum stage_result relay_stage_turn(struct relay *relay)
{
    const struct service_queue *queue = &relay->terms->options.queue;
    if (queue->concurrency == 0 || relay->turn.state == TURN_RUNS)
        return STAGE_DONE;
    /* There since before these terms were offered; earlier ones of the service may not look. */
    struct turns *turns = relay->terms->state->turns;
    if (relay->turn.state == TURN_WAITS)
        return STAGE_WAITS;
    struct fair_ask ask = {.tenant = relay->turn.tenant,
        .weight_micro = relay->turn.weight_micro,
        .level = relay->turn.level,
        .length = queue->length,
        .wait_us = queue->wait_ms * 1000,
        .mean_us = (int64_t)atomic_load_explicit(
            &relay->terms->state->learned.mean_us, memory_order_relaxed),
        .capacity = capacity_of(relay)};
    int64_t wait_us = 0;
    if (atomic_load_explicit(&turns->capacity, memory_order_relaxed) != ask.capacity)
        atomic_store(&turns->capacity, ask.capacity);
    switch (fair_enter(turns->fair, relay->view->number, &ask, &relay->turn.entry, &wait_us)) {
    case FAIR_RUNS: run(relay); return STAGE_DONE;
    case FAIR_WAITS: return wait_for_turn(relay, turns);
    default: refuse(relay, REFUSED_BUSY, wait_us); return STAGE_ENDED;
    }
}
