/* Hedges: see relay_care.h. While a hedge runs there are two attempts: relay->attempt and the
 * hedge's. Its callbacks go through here; once the first attempt is out of the way, the hedge's
 * becomes relay->attempt and they are passed on. */
#include "gateway/relay_care.h"
#include "gateway/relay_split.h"

#include "base/clock.h"
#include "base/memory.h"
#include "spec/serving.h"
#include "wire/http_agent.h"

#include <assert.h>
#include <event2/event.h>
#include <string.h>

static const struct http_exchange_callbacks callbacks;

static void swap_attempts(struct relay *relay)
{
    struct relay_attempt other = relay->attempt;
    relay->attempt = relay->care->hedge.attempt;
    relay->care->hedge.attempt = other;
}

/* Cancels relay->attempt, which nobody waits for any more. That it was slow is known at least. */
static void drop_attempt(struct relay *relay)
{
    struct relay_attempt *attempt = &relay->attempt;
    int64_t now_ns = clock_held_ns();
    replica_state_measure(attempt->state, (now_ns - attempt->began_ns) / 1000, now_ns / 1000000);
    http_exchange_cancel(attempt->exchange);
    relay_attempt_close(relay, false);
}

void relay_hedge_leave(struct relay *relay)
{
    struct relay_hedge *hedge = &relay->care->hedge;
    enum hedge_state before = hedge->state;
    hedge->state = before == HEDGE_NONE ? HEDGE_NONE : HEDGE_OVER;
    if (before == HEDGE_ARMED)
        event_del(&hedge->timer);
    if (before != HEDGE_RUNS)
        return;
    swap_attempts(relay);
    drop_attempt(relay);
    swap_attempts(relay);
}

bool relay_hedge_takes_over(struct relay *relay)
{
    struct relay_hedge *hedge = &relay->care->hedge;
    if (hedge->state != HEDGE_RUNS)
        return false;
    assert(!relay->attempt.exchange);
    hedge->state = HEDGE_OVER;
    relay->attempt = hedge->attempt;
    return true;
}

/* ---- the hedge's exchange -------------------------------------------------------------------- */

static void on_head(struct http_exchange *exchange, const struct http_answer *head, void *context)
{
    struct relay *relay = context;
    struct relay_hedge *hedge = &relay->care->hedge;
    if (hedge->state == HEDGE_RUNS) {
        /* An error is no reason to give up who may still answer. */
        if (head->status >= 500 || head->status == 429) {
            relay_hedge_leave(relay);
            return;
        }
        drop_attempt(relay);
        (void)relay_hedge_takes_over(relay);
        figure_add(relay->view->figures, FIGURE_HEDGE_WON, 1);
    }
    relay_exchange_callbacks.on_head(exchange, head, relay);
}

static void on_piece(
    struct http_exchange *exchange, const void *bytes, size_t length, void *context)
{
    relay_exchange_callbacks.on_piece(exchange, bytes, length, context);
}

static void on_end(struct http_exchange *exchange, void *context)
{
    relay_exchange_callbacks.on_end(exchange, context);
}

static void on_fail(struct http_exchange *exchange, enum http_failure failure, bool answered,
    const char *text, void *context)
{
    struct relay *relay = context;
    if (relay->care->hedge.state != HEDGE_RUNS) {
        relay_exchange_callbacks.on_fail(exchange, failure, answered, text, relay);
        return;
    }
    /* The first attempt goes on alone. */
    swap_attempts(relay);
    if (failure == HTTP_FAILED_CONNECT)
        replica_state_refused(relay->attempt.state, clock_held_ns() / 1000000);
    relay_attempt_close(relay, true);
    swap_attempts(relay);
    relay->care->hedge.state = HEDGE_OVER;
}

static const struct http_exchange_callbacks callbacks = {on_head, on_piece, on_end, on_fail, NULL};

/* ---- when ------------------------------------------------------------------------------------ */

static const struct table_replica *other_replica(struct relay *relay)
{
    const struct table_service *service =
        route_table_service(relay->view->table, relay->terms->route);
    struct balance_tried tried = relay->tried;
    balance_note(&tried, relay->attempt.replica);
    struct balance_query query = {.version = relay->target.version,
        .arm = relay_split_arm(relay),
        .tried = &tried,
        .now_ms = clock_held_ns() / 1000000,
        .load_percent = relay->terms->options.routing.load_percent};
    return service ? balance_pick(service, &query, &relay->view->turn) : NULL;
}

static void on_slow(evutil_socket_t fd, short what, void *context)
{
    struct relay_care *care = context;
    struct relay *relay = care->relay;
    struct hedge_budget *budget = &relay->terms->uses[relay->view->number].hedges;
    (void)fd, (void)what;
    care->hedge.state = HEDGE_OVER;
    const struct table_replica *replica = other_replica(relay);
    if (!replica || !hedge_budget_take(budget))
        return;
    struct relay_attempt first = relay->attempt;
    bool begun = relay_attempt_begin(relay, replica, &callbacks);
    care->hedge.attempt = relay->attempt;
    relay->attempt = first;
    if (!begun)
        return;
    care->hedge.state = HEDGE_RUNS;
    figure_add(relay->view->figures, FIGURE_HEDGED, 1);
}

static bool is_safe(const struct relay *relay)
{
    static const char *const verbs[] = {
        "/infer", "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"};
    const struct text_list *safe = &relay->terms->options.hedge.safe;
    const char *name = NULL;
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (!strcmp(relay->target.verb, verbs[i]))
            name = hedge_safe_names[i];
    }
    for (size_t i = 0; name && i < safe->count; i++) {
        if (!strcmp(safe->items[i], name))
            return true;
    }
    return false;
}

/* In microseconds; 0: it is not known yet. */
static int64_t delay_us(const struct relay *relay)
{
    int64_t ms;
    int percent;
    (void)hedge_after_parse(relay->terms->options.hedge.after, &ms, &percent);
    return percent > 0 ? hedge_latency_quantile(&relay->terms->state->hedge, percent) : ms * 1000;
}

void relay_hedge_arm(struct relay *relay)
{
    struct relay_hedge *hedge = &relay->care->hedge;
    struct service_terms *terms = relay->terms;
    /* What is on trial answers for itself. */
    if (!terms->options.hedge.after || relay->attempt.streamed || !is_safe(relay) ||
        relay->arm != ROUTE_ARM_MAIN || hedge->state != HEDGE_NONE)
        return;
    hedge_budget_earn(&terms->uses[relay->view->number].hedges, terms->options.hedge.percent);
    int64_t us = delay_us(relay);
    if (us == 0)
        return;
    struct timeval wait = {(time_t)(us / 1000000), (suseconds_t)(us % 1000000)};
    hedge->state = HEDGE_ARMED;
    evtimer_assign(&hedge->timer, relay->view->base, on_slow, relay->care);
    evtimer_add(&hedge->timer, &wait);
}
