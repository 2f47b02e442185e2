/* The cache's part of a relay on the side of the worker that a key belongs to: see relay_cache.h.
 *
 * A ticket that is to get the answer may find it with other gateways first: until they have said
 * so, or that there is none, it waits as the ones that follow it do. A relay may be gone by the
 * time that its ticket comes back: a lead that nobody wants any more goes to the next. */
#include "gateway/relay_cache_internal.h"

#include "base/clock.h"
#include "base/memory.h"
#include "gateway/cache_shared.h"
#include "gateway/relay.h"
#include "gateway/relay_cache.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

/* What came of a lead, on its way to the owner. */
struct settlement {
    struct post post;
    struct cache_outcome outcome;
    int64_t shared_bytes_max; /* 0: other gateways do not get it */
    char shelf[];
};

static int64_t now_ms(void)
{
    return clock_held_ns() / 1000000;
}

void relay_cache_free(struct relay_cache *ticket)
{
    cache_answer_unref(ticket->ticket.answer);
    strbuf_finish(&ticket->body);
    free(ticket);
}

/* ---- settling -------------------------------------------------------------------------------- */

static void show_figures(struct worker_view *view)
{
    struct cache_figures figures;
    cache_figures(view->cache, &figures);
    figure_set(view->figures, FIGURE_CACHE_ENTRIES, figures.entries);
    figure_set(view->figures, FIGURE_CACHE_BYTES, figures.bytes);
    figure_set(view->figures, FIGURE_CACHE_EVICTED, figures.evicted);
}

static void on_settlement(struct worker_view *view, struct post *post)
{
    struct settlement *settlement = (struct settlement *)post;
    const struct cache_outcome *outcome = &settlement->outcome;
    if (outcome->answer && settlement->shared_bytes_max > 0 && view->cache_shared)
        cache_shared_keep(view->cache_shared, outcome->shelf, &outcome->key, outcome->answer,
            outcome->ttl_ms, settlement->shared_bytes_max);
    cache_settle(view->cache, &settlement->outcome, now_ms());
    show_figures(view);
    free(settlement);
}

static void send_settlement(
    struct worker_view *view, struct relay_cache *ticket, struct settlement *settlement)
{
    if (ticket->owner == view->number)
        on_settlement(view, &settlement->post);
    else
        post_send(ticket->office, ticket->owner, &settlement->post);
}

void relay_cache_settle(
    struct worker_view *view, struct relay_cache *ticket, struct cache_answer *answer, bool gone)
{
    assert(!ticket->settled && ticket->ticket.verdict == CACHE_LEAD);
    ticket->settled = true;
    ticket->recording = false;
    size_t length = strlen(ticket->service);
    struct settlement *settlement = mem_alloc(1, sizeof *settlement + length + 1);
    memcpy(settlement->shelf, ticket->service, length + 1);
    settlement->post.deliver = on_settlement;
    settlement->shared_bytes_max = ticket->with_others ? ticket->shared_bytes_max : 0;
    settlement->outcome = (struct cache_outcome){.key = ticket->ticket.key,
        .answer = answer,
        .gone = gone,
        .shelf = settlement->shelf,
        .ttl_ms = ticket->ttl_ms,
        .shelf_bytes_max = ticket->shelf_bytes_max};
    send_settlement(view, ticket, settlement);
}

/* ---- verdicts -------------------------------------------------------------------------------- */

/* A lead that came for nobody goes to the next. */
static void give_back(struct worker_view *view, struct relay_cache *ticket)
{
    if (ticket->ticket.verdict == CACHE_LEAD)
        relay_cache_settle(view, ticket, NULL, true);
    relay_cache_free(ticket);
}

static void on_verdict(struct worker_view *view, struct post *post)
{
    struct relay_cache *ticket =
        (struct relay_cache *)((char *)post - offsetof(struct relay_cache, post));
    ticket->away = false;
    if (!ticket->relay) {
        give_back(view, ticket);
        return;
    }
    event_del(&ticket->relay->timer);
    relay_go(ticket->relay);
}

/* Also for tickets of the owner's own relays: their verdict comes in a later turn, so that nobody's
 * request goes on from inside another's. */
static void send_verdict(struct relay_cache *ticket)
{
    ticket->post.deliver = on_verdict;
    post_send(ticket->office, ticket->asker, &ticket->post);
}

static void on_waited_verdict(struct cache_ticket *ticket)
{
    send_verdict((struct relay_cache *)ticket);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static bool is_of_use(
    const struct relay_cache *ticket, const struct cache_answer *answer, int64_t left_ms)
{
    return left_ms > 0 && now_ms() - answer->made_ms < ticket->ttl_ms &&
           answer->body_length <= ticket->entry_bytes_max;
}

/* What other gateways had. Who follows the ticket gets it as well. */
static void on_shared(void *context, struct cache_answer *answer, int64_t left_ms)
{
    struct relay_cache *ticket = context;
    struct worker_view *view = ticket->at;
    if (answer && is_of_use(ticket, answer, left_ms)) {
        int64_t own_ms = ticket->ttl_ms - (now_ms() - answer->made_ms);
        struct cache_outcome outcome = {.key = ticket->ticket.key,
            .answer = answer,
            .shelf = ticket->service,
            .ttl_ms = own_ms < left_ms ? own_ms : left_ms,
            .shelf_bytes_max = ticket->shelf_bytes_max};
        cache_answer_ref(answer);
        ticket->ticket.answer = answer;
        ticket->ticket.verdict = CACHE_HIT;
        cache_settle(view->cache, &outcome, now_ms());
        show_figures(view);
    } else {
        cache_answer_unref(answer);
    }
    send_verdict(ticket);
}

static bool ask_others(struct worker_view *view, struct relay_cache *ticket)
{
    if (!ticket->with_others || ticket->ticket.anew || !view->cache_shared)
        return false;
    ticket->at = view;
    return cache_shared_ask(
        view->cache_shared, ticket->service, &ticket->ticket.key, on_shared, ticket);
}

/* On the owner's thread. Whether the ticket has its verdict. */
static bool ask_here(struct worker_view *view, struct relay_cache *ticket)
{
    enum cache_verdict verdict = cache_ask(view->cache, &ticket->ticket, now_ms());
    ticket->shared = verdict == CACHE_WAITS;
    show_figures(view);
    return !ticket->shared && !(verdict == CACHE_LEAD && ask_others(view, ticket));
}

static void on_asked(struct worker_view *view, struct post *post)
{
    struct relay_cache *ticket =
        (struct relay_cache *)((char *)post - offsetof(struct relay_cache, post));
    if (ask_here(view, ticket))
        send_verdict(ticket);
}

bool relay_cache_send(struct worker_view *view, struct relay_cache *ticket)
{
    ticket->post.deliver = on_asked;
    if (ticket->owner == ticket->asker)
        return ask_here(view, ticket);
    post_send(ticket->office, ticket->owner, &ticket->post);
    return false;
}

struct cache *relay_cache_create(size_t bytes_max)
{
    return cache_create(bytes_max, on_waited_verdict);
}
