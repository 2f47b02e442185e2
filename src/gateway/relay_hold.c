/* Holding requests for a service without replicas: see relay_hold.h.
 *
 * A held relay is among those that wait (relay.h) and is looked at again with the next table of
 * routes, which is how a replica comes, or when its time is over. It is counted with its service,
 * for all workers together, from the moment it is held until relay_hold_leave; so nothing is held
 * beyond the bounds but what several workers let in at the same moment. */
#include "gateway/relay_hold.h"
#include "gateway/relay_care.h"

#include "base/clock.h"
#include "gateway/service_load.h"

#include <assert.h>
#include <inttypes.h>

enum { RETRY_AFTER_S_MAX = 60 };

static bool has_replica(const struct relay *relay)
{
    const struct table_service *service =
        route_table_service(relay->view->table, relay->terms->route);
    for (size_t i = 0; service && i < service->route->replica_count; i++) {
        if (!service->route->replicas[i].draining)
            return true;
    }
    return !service; /* the stage that chooses says so */
}

/* By then those who wait have been answered, or given up. */
static int64_t retry_after_s(const struct service_hold *hold)
{
    int64_t seconds = (hold->wait_ms + 999) / 1000;
    return seconds < RETRY_AFTER_S_MAX ? seconds : RETRY_AFTER_S_MAX;
}

static enum stage_result refuse(struct relay *relay, const char *why)
{
    const struct service_hold *hold = &relay->terms->options.hold;
    relay->retry_after_s = retry_after_s(hold);
    relay_refuse(relay, 503, "no_replica", "no replica of \"%s\" is ready yet, and %s",
        relay->terms->route, why);
    return STAGE_ENDED;
}

static bool fits(struct relay *relay, struct service_load *load)
{
    const struct service_hold *hold = &relay->terms->options.hold;
    int64_t bytes = (int64_t)relay->body.held.length;
    bool fits = atomic_fetch_add(&load->held, 1) < hold->requests;
    fits = atomic_fetch_add(&load->held_bytes, bytes) + bytes <= hold->bytes && fits;
    relay->held_bytes = bytes;
    relay->is_held = true;
    if (!fits)
        relay_hold_leave(relay);
    return fits;
}

enum stage_result relay_stage_hold(struct relay *relay)
{
    const struct service_hold *hold = &relay->terms->options.hold;
    struct service_load *load = relay->terms->state->load;
    relay_stop_waiting(relay);
    if (hold->wait_ms == 0 || has_replica(relay)) {
        relay_hold_leave(relay);
        return STAGE_DONE;
    }
    int64_t now_ms = clock_held_ns() / 1000000;
    if (!relay->is_held) {
        if (!fits(relay, load))
            return refuse(relay, "as many requests as may be wait for one");
        relay->hold_until_ms = now_ms + hold->wait_ms;
        atomic_store(&load->demand, true);
        gateway_worker_tell(relay->worker);
        if (relay->care && relay_care_instead(relay)) {
            relay_hold_leave(relay);
            return refuse(relay, "another service is asked");
        }
    }
    if (now_ms >= relay->hold_until_ms) {
        relay_hold_leave(relay);
        return refuse(relay, "this request has waited for as long as it may");
    }
    relay_wait(relay, relay->hold_until_ms - now_ms);
    return STAGE_WAITS;
}

void relay_hold_leave(struct relay *relay)
{
    if (!relay->is_held)
        return;
    struct service_load *load = relay->terms->state->load;
    atomic_fetch_sub(&load->held, 1);
    atomic_fetch_sub(&load->held_bytes, relay->held_bytes);
    relay->is_held = false;
}

/* ---- what is counted ------------------------------------------------------------------------- */

void relay_load_begin(struct relay *relay)
{
    /* There since before these terms were offered; earlier ones of the service may not look. */
    if (relay->terms->options.measure == LATENCY_NONE)
        return;
    relay->is_measured = true;
    load_begin(relay->terms->state->load, relay->view->number, relay_began_ns(relay) / 1000);
}

/* What the client's mistake refused says nothing of replicas; what was refused for want of one, or
 * broken off, was never in time. */
void relay_load_end(struct relay *relay, enum relay_end end, int64_t now_ns)
{
    if (!relay->is_measured)
        return;
    struct service_load *load = relay->terms->state->load;
    int worker = relay->view->number, status = relay->answer.status;
    bool first = relay->terms->options.measure == LATENCY_FIRST && relay->answer.first_ns > 0;
    int64_t until_ns = first ? relay->answer.first_ns : now_ns;
    load_end(load, worker, now_ns / 1000);
    relay->is_measured = false;
    if (end == RELAY_BROKEN || status >= 500)
        load_took(load, worker, LOAD_NEVER);
    else if (end == RELAY_CANCELLED || status < 400)
        load_took(load, worker, (until_ns - relay_began_ns(relay)) / 1000);
}

void relay_load_leave(struct relay *relay)
{
    if (relay->is_measured)
        load_end(relay->terms->state->load, relay->view->number, clock_held_ns() / 1000);
    relay->is_measured = false;
}
