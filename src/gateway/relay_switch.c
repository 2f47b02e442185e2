/* From one service to another in the middle of a request: see relay_care.h. What the relay has of
 * the service that it leaves is let go of here, all of it; the next begins at its rights. */
#include "gateway/answer.h"
#include "gateway/relay_batch.h"
#include "gateway/relay_cache.h"
#include "gateway/relay_care.h"
#include "gateway/relay_guard.h"
#include "gateway/relay_hold.h"
#include "gateway/relay_limits.h"
#include "gateway/relay_split.h"
#include "gateway/relay_turn.h"
#include "gateway/relay_usage.h"

#include "base/clock.h"
#include "base/memory.h"
#include "gateway/member_scan.h"
#include "wire/http.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

/* ---- the model's name ------------------------------------------------------------------------ */

struct place {
    uint64_t begin, end;
    bool found;
};

static void on_member(const struct json_member *member, void *context)
{
    struct place *place = context;
    if (place->found || member->depth != 1 || strcmp(member->name, "model") != 0)
        return;
    *place = (struct place){member->begin, member->end, true};
}

/* The first one of the outermost object is what counted when the service was found. */
static bool find_model(const struct strbuf *held, struct place *ret)
{
    struct member_scan scan;
    *ret = (struct place){0};
    member_scan_init(&scan, on_member, ret);
    (void)member_scan_feed(&scan, strbuf_text(held), held->length);
    return ret->found && ret->begin < ret->end && ret->end <= held->length;
}

/* Names of routes need no escapes. */
static void put_model(struct relay *relay, const char *route)
{
    struct strbuf *held = &relay->body.held, next = {0};
    struct place place;
    bool found = find_model(held, &place);
    assert(found);
    (void)found;
    strbuf_append(&next, held->text, (size_t)place.begin);
    strbuf_putc(&next, '"');
    strbuf_puts(&next, route);
    strbuf_putc(&next, '"');
    strbuf_append(&next, held->text + place.end, held->length - (size_t)place.end);
    relay->view->held_bytes += next.length;
    relay->view->held_bytes -= held->length;
    strbuf_finish(held);
    *held = next;
}

/* ---- whether --------------------------------------------------------------------------------- */

/* Who owns the service that was asked names the others. Those of its own team it may give away;
 * another team's the client has to be allowed to use. */
static bool may_use(struct relay *relay, const struct table_service *service)
{
    return !strcmp(service->route->team, relay->care->asked->team) ||
           route_allows(service->route, relay_key(relay));
}

const struct table_service *relay_switch_target(struct relay *relay, const char *route)
{
    const struct relay_body *body = &relay->body;
    const struct table_service *service = route_table_service(relay->view->table, route);
    struct place place;
    if (!service || !relay->target.has_body || !body->ended || body->let_go)
        return NULL;
    bool speaks =
        relay->target.protocol == PROTOCOL_OPENAI ? service->route->openai : service->route->oip;
    if (!speaks || body->received > service->terms->options.body_bytes_max ||
        !may_use(relay, service))
        return NULL;
    if (relay->target.ask == ASK_FORWARD_BODY && !find_model(&body->held, &place))
        return NULL;
    return service;
}

/* ---- letting go ------------------------------------------------------------------------------ */

/* The body of a request in a batch goes with its member: a copy stays here. */
static void leave_batch(struct relay *relay)
{
    struct relay_body *body = &relay->body;
    if (!relay->batch)
        return;
    struct strbuf copy = {0};
    strbuf_append(&copy, strbuf_text(&body->held), body->held.length);
    relay_batch_leave(relay);
    body->held = copy;
    relay->view->held_bytes += copy.length;
}

static void leave_service(struct relay *relay)
{
    relay_attempt_end(relay, false);
    relay_cache_leave(relay, false);
    leave_batch(relay);
    relay_turn_leave(relay);
    relay_hold_leave(relay);
    relay_load_leave(relay);
    relay_stop_waiting(relay);
    if (event_initialized(&relay->timer))
        event_del(&relay->timer);
    answer_finish(relay);
    relay_guard_leave(relay);
    relay_usage_free(relay);
    terms_drop(relay->terms, relay->view->number);
    relay->times = (struct relay_times){0};
    relay->answer = (struct relay_answer){0};
    relay->attempt = (struct relay_attempt){0};
    relay->turn = (struct relay_turn){0};
    relay->tried = (struct balance_tried){0};
    relay->prefix = NULL;
    relay->labels = NULL;
    relay->wait_until_ms = 0;
    relay->retry_after_s = 0;
    relay->sent = 0;
    relay->arm = ROUTE_ARM_MAIN;
    relay->shadowed = false;
    relay->again = relay->batch_counts = relay->batch_passed = false;
    relay->care->hedge.state = HEDGE_NONE;
}

/* ---- the tries ------------------------------------------------------------------------------- */

void relay_switch_note(struct relay *relay, const char *why)
{
    struct relay_care *care = relay->care;
    assert(care->try_count < CARE_TRIES_MAX);
    struct arena *arena = http_request_arena(relay->request);
    care->tries[care->try_count++] =
        (struct care_try){arena_strdup(arena, relay->terms->route), arena_strdup(arena, why)};
}

void relay_switch_failed(struct relay *relay, int status, const char *why)
{
    relay_switch_note(relay, why);
    relay_try_in_time(relay);
    if (relay->limits)
        relay_limits_give_back(relay);
    relay->limits = NULL;
    relay->answer.status = status;
    relay_account_try(relay);
}

void relay_switch_answered(struct relay *relay, const char *why)
{
    relay_switch_note(relay, why);
    relay_try_in_time(relay);
    relay_account_try(relay);
    relay->limits = NULL;
}

void relay_switch(struct relay *relay, const struct table_service *service, int64_t version)
{
    leave_service(relay);
    relay_cascade_restore(relay);
    /* What the small model answers is judged each time. */
    relay->cache_passed = relay->care->part == CARE_SMALL;
    relay->terms = service->terms;
    terms_hold(relay->terms, relay->view->number);
    relay->body.bytes_max = relay->terms->options.body_bytes_max;
    relay->target.version = version;
    relay->turned_ns = clock_held_ns();
    relay_load_begin(relay);
    relay_split_draw(relay, &service->route->split);
    if (relay->target.ask == ASK_FORWARD_BODY)
        put_model(relay, relay->terms->route);
    figure_set(relay->view->figures, FIGURE_HELD_BYTES, relay->view->held_bytes);
    /* Both are of this turn of the loop only. */
    (void)relay_key(relay);
    relay->picked = NULL;
    relay_enter_service(relay);
}
