/* The stages of a request: who asks, for what, with which body, at which replica. See relay.h. */
#include "gateway/relay.h"
#include "gateway/answer.h"
#include "gateway/key_memo.h"
#include "gateway/relay_affine.h"
#include "gateway/relay_batch.h"
#include "gateway/relay_cache.h"
#include "gateway/relay_care.h"
#include "gateway/relay_guard.h"
#include "gateway/relay_hold.h"
#include "gateway/relay_limits.h"
#include "gateway/relay_shadow.h"
#include "gateway/relay_split.h"
#include "gateway/relay_trace.h"
#include "gateway/relay_turn.h"
#include "gateway/relay_usage.h"

#include "base/clock.h"
#include "base/memory.h"
#include "wire/http.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    WAIT_STEP_MS = 50, /* a replica that refused is asked again after so long */
    ID_LENGTH = 32,
};

static int64_t now_ms(void)
{
    return clock_held_ns() / 1000000;
}

/* ---- who asks -------------------------------------------------------------------------------- */

/* "Authorization: Bearer KEY" before "X-API-Key: KEY"; NULL without either. */
static const char *key_text(const struct http_request *request)
{
    const char *value = http_request_known(request, HTTP_NAME_AUTHORIZATION);
    if (value && !strncasecmp(value, "Bearer ", 7)) {
        value += 7;
        return value + strspn(value, " ");
    }
    return http_request_known(request, HTTP_NAME_X_API_KEY);
}

/* Looked up in each turn of the loop that needs it: keys are taken away by new routes. */
static void find_key(struct relay *relay)
{
    const char *text = key_text(relay->request);
    relay->key =
        text ? key_memo_find(relay->view->keys, relay->view->table, text, clock_wall_about_ms())
             : NULL;
    const char *id = relay->key ? relay->key->id : "";
    size_t length = strnlen(id, sizeof relay->key_id - 1);
    memcpy(relay->key_id, id, length);
    relay->key_id[length] = '\0';
    relay->key_id_length = (uint32_t)length;
    relay->asker[0] = '\0';
    if (relay->key && relay->key->team &&
        !memccpy(relay->asker, relay->key->team, 0, sizeof relay->asker))
        relay->asker[sizeof relay->asker - 1] = '\0';
}

const struct route_key *relay_key(struct relay *relay)
{
    if (!relay->key)
        find_key(relay);
    return relay->key;
}

static const struct route_service *service_named(const struct relay *relay, const char *route)
{
    const struct table_service *service = route_table_service(relay->view->table, route);
    return service ? service->route : NULL;
}

static enum stage_result refuse_key(struct relay *relay)
{
    relay_refuse(relay, 401, "invalid_api_key",
        "a valid key is needed: Authorization: Bearer KEY, or X-API-Key: KEY");
    return STAGE_ENDED;
}

/* Whether there is any service without keys: then a body has to be read to know. */
static bool has_public(const struct route_table *table)
{
    const struct routes *routes = route_table_routes(table);
    for (size_t i = 0; i < routes->service_count; i++) {
        if (routes->services[i].options->access == ACCESS_PUBLIC)
            return true;
    }
    return false;
}

static enum stage_result stage_key(struct relay *relay)
{
    const struct route_service *service;
    if (relay->target.ask <= ASK_SERVER)
        return STAGE_DONE;
    find_key(relay);
    if (relay->key)
        return STAGE_DONE;
    bool open = has_public(relay->view->table);
    /* A body, and a list, may be about public services. */
    if (open && relay->target.route[0] == '\0' && !key_text(relay->request))
        return STAGE_DONE;
    if (open && relay->target.ask == ASK_FORWARD_BODY)
        return STAGE_DONE;
    service = service_named(relay, relay->target.route);
    return service && service->options->access == ACCESS_PUBLIC ? STAGE_DONE : refuse_key(relay);
}

/* ---- for what -------------------------------------------------------------------------------- */

static enum stage_result stage_here(struct relay *relay)
{
    if (relay->target.ask >= ASK_FORWARD_PATH)
        return STAGE_DONE;
    return relay_answer_here(relay);
}

static bool speaks(const struct route_service *service, enum protocol protocol)
{
    return protocol == PROTOCOL_OPENAI ? service->openai : service->oip;
}

static enum stage_result refuse_route(struct relay *relay, const char *route)
{
    relay_refuse(relay, 404, "model_not_found", "there is no model \"%s\"", route);
    return STAGE_ENDED;
}

static enum stage_result stage_service(struct relay *relay)
{
    const char *route =
        relay->target.ask == ASK_FORWARD_BODY ? relay->body.scan.model : relay->target.route;
    const struct table_service *service = route_table_service(relay->view->table, route);
    /* Known from stage_key unless the body was waited for. */
    const struct route_key *key = relay_key(relay);
    if (!service || !route_allows(service->route, key))
        return key ? refuse_route(relay, route) : refuse_key(relay);
    if (!speaks(service->route, relay->target.protocol))
        return refuse_route(relay, route);
    relay->terms = service->terms;
    terms_hold(relay->terms, relay->view->number);
    relay_load_begin(relay);
    relay_split_draw(relay, &service->route->split);
    relay_shadow_draw(relay, &service->route->split);
    relay->body.bytes_max = relay->terms->options.body_bytes_max;
    if (http_request_body_length(relay->request) <= relay->body.bytes_max &&
        relay->body.received <= relay->body.bytes_max)
        return STAGE_DONE;
    relay_refuse(relay, 413, "request_too_large", "the body may have at most %lld bytes",
        (long long)relay->body.bytes_max);
    return STAGE_ENDED;
}

/* ---- at which replica ------------------------------------------------------------------------ */

static void on_look_again(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    relay_go(context);
}

void relay_stop_waiting(struct relay *relay)
{
    if (!relay->is_waiting)
        return;
    TAILQ_REMOVE(&relay->view->waiting, relay, link);
    relay->view->waiting_count--;
    figure_set(relay->view->figures, FIGURE_WAITING, relay->view->waiting_count);
    relay->is_waiting = false;
    event_del(&relay->timer);
}

void relay_wait(struct relay *relay, int64_t ms)
{
    struct worker_view *view = relay->view;
    struct timeval wait = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
    assert(!relay->is_waiting);
    relay->is_waiting = true;
    TAILQ_INSERT_TAIL(&view->waiting, relay, link);
    view->waiting_count++;
    figure_set(view->figures, FIGURE_WAITING, view->waiting_count);
    evtimer_assign(&relay->timer, view->base, on_look_again, relay);
    evtimer_add(&relay->timer, &wait);
}

static enum stage_result refuse_busy(struct relay *relay)
{
    relay_refuse_absent(relay);
    return STAGE_ENDED;
}

/* A rolling update, or the crash of the only replica, is over in a moment: the request waits for
 * it, within bounds, rather than fail. What was tried is forgotten, since it may be back. */
static enum stage_result wait_for_replica(struct relay *relay)
{
    struct worker_view *view = relay->view;
    int64_t now = now_ms();
    if (relay->wait_until_ms == 0)
        relay->wait_until_ms = now + WORKER_WAIT_MS;
    if (now >= relay->wait_until_ms || view->waiting_count >= WORKER_WAITING_MAX ||
        (relay->care && relay_care_instead(relay)))
        return refuse_busy(relay);
    relay->tried.count = 0;
    int64_t step = relay->wait_until_ms - now;
    relay_wait(relay, step > WAIT_STEP_MS ? WAIT_STEP_MS : step);
    return STAGE_WAITS;
}

static enum stage_result stage_replica(struct relay *relay)
{
    const struct table_service *service =
        route_table_service(relay->view->table, relay->terms->route);
    relay_stop_waiting(relay);
    if (!service) {
        relay_refuse(
            relay, 404, "model_not_found", "there is no model \"%s\"", relay->terms->route);
        return STAGE_ENDED;
    }
    struct balance_query query = {.version = relay->target.version,
        .arm = relay_split_arm(relay),
        .tried = &relay->tried,
        .again = relay->again,
        .now_ms = clock_held_ns() / 1000000,
        .affine = relay_affine(relay),
        .load_percent = relay->terms->options.routing.load_percent};
    /* So many refusals in a row are enough for one turn. */
    if (relay->tried.count < BALANCE_TRIED_MAX)
        relay->picked = relay_split_pick(service, &query, &relay->view->turn);
    if (relay->picked)
        relay_affine_note(relay, relay->picked->route->replica);
    return relay->picked ? STAGE_DONE : wait_for_replica(relay);
}

void relay_wake_waiting(struct worker_view *view)
{
    /* Those that go on waiting are put at the end: each is looked at once. */
    for (size_t left = view->waiting_count; left > 0 && !TAILQ_EMPTY(&view->waiting); left--)
        relay_go(TAILQ_FIRST(&view->waiting));
}

/* ---- the table ------------------------------------------------------------------------------- */

typedef enum stage_result stage_fn(struct relay *relay);

static stage_fn *const stages[] = {
    stage_key,
    stage_here,
    relay_stage_model,
    stage_service,
    relay_stage_care,
    relay_stage_labels,
    relay_stage_rights,
    relay_stage_body,
    relay_stage_oip,
    relay_stage_try,
    relay_stage_limits,
    relay_stage_guard,
    relay_stage_cache,
    relay_stage_circuit,
    relay_stage_hold,
    relay_stage_turn,
    relay_stage_usage,
    relay_stage_batch,
    stage_replica,
    relay_stage_forward,
};

static enum relay_wait wait_of(stage_fn *stage)
{
    if (stage == relay_stage_turn || stage == stage_replica)
        return WAIT_QUEUE;
    if (stage == relay_stage_cache)
        return WAIT_CACHE;
    return stage == relay_stage_batch ? WAIT_BATCH : WAIT_NONE;
}

void relay_go(struct relay *relay)
{
    relay_wait_over(relay);
    while (relay->stage < ARRAY_LEN(stages)) {
        enum stage_result result = stages[relay->stage](relay);
        if (result == STAGE_ENDED)
            return;
        if (result == STAGE_WAITS) {
            relay_wait_begin(relay, wait_of(stages[relay->stage]));
            relay->key = NULL;
            relay->picked = NULL;
            return;
        }
        relay->stage++;
    }
}

static void go_from(struct relay *relay, stage_fn *stage)
{
    relay->stage = 0;
    while (stages[relay->stage] != stage)
        relay->stage++;
    relay_go(relay);
}

void relay_choose_again(struct relay *relay)
{
    go_from(relay, stage_replica);
}

void relay_enter_service(struct relay *relay)
{
    go_from(relay, relay_stage_labels);
}

/* ---- begin and end --------------------------------------------------------------------------- */

/* Eight digits at once, in an order of their own: each half byte becomes a byte, and those above 9
 * get the distance from ':' to 'a' as well. */
static void put_hex8(char out[8], uint32_t number)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t word = number;
    word = (word | word << 16) & UINT64_C(0x0000ffff0000ffff);
    word = (word | word << 8) & UINT64_C(0x00ff00ff00ff00ff);
    word = (word | word << 4) & (ones * 0x0f);
    uint64_t letters = (word + ones * 6) >> 4 & ones;
    word += ones * '0' + letters * ('a' - '9' - 1);
    memcpy(out, &word, sizeof word);
}

/* Never the same twice: what the worker drew at its start, and a number that comes once in 2^64. It
 * is a name and no secret. */
static void make_id(char id[ID_LENGTH + 1], struct worker_view *view)
{
    const uint64_t halves[] = {view->names_begin, prng_next(&view->names)};
    for (size_t i = 0; i < 4; i++)
        put_hex8(id + 8 * i, (uint32_t)(halves[i / 2] >> i % 2 * 32));
    id[ID_LENGTH] = '\0';
}

/* The client's, if it can be a header's value and a log's; else one of our own. */
static void set_id(struct relay *relay)
{
    const char *given = http_request_known(relay->request, HTTP_NAME_X_REQUEST_ID);
    size_t length = given ? strlen(given) : 0;
    bool fine = length > 0 && length < sizeof relay->id;
    for (size_t i = 0; fine && i < length; i++)
        fine = given[i] > 0x20 && given[i] < 0x7f;
    if (fine)
        memcpy(relay->id, given, length + 1);
    else
        make_id(relay->id, relay->view);
    relay->id_length = (uint32_t)(fine ? length : ID_LENGTH);
}

/* The client went away. */
static void on_cancel(void *context)
{
    struct relay *relay = context;
    relay_attempt_end(relay, false);
    relay_cache_leave(relay, true);
    relay_account(relay, RELAY_CANCELLED);
    relay_free(relay);
}

static struct relay *relay_create(struct gateway_worker *worker, struct http_request *request)
{
    struct relay *relay = relay_alloc(gateway_worker_view(worker));
    relay->worker = worker;
    relay->request = request;
    relay->began_ns = clock_held_ns();
    set_id(relay);
    if (relay->view->tracer)
        relay_trace_begin(relay);
    figure_add(relay->view->figures, FIGURE_OPEN, 1);
    http_request_on_cancel(request, on_cancel, relay);
    return relay;
}

void relay_throttle(
    struct gateway_worker *worker, struct http_request *request, uint32_t retry_after_s)
{
    struct relay *relay = relay_create(worker, request);
    relay->target.protocol = target_protocol(http_request_path(request));
    relay->retry_after_s = retry_after_s;
    relay_refuse(relay, 429, "rate_limit_exceeded", "too many requests from this address");
}

void relay_begin(struct gateway_worker *worker, struct http_request *request)
{
    struct relay *relay = relay_create(worker, request);
    const char *path = http_request_path(request), *allow = NULL;
    int status = target_find(http_request_method(request), path, &relay->target, &allow);
    if (status == 200) {
        relay_go(relay);
        return;
    }
    relay->target.protocol = target_protocol(path);
    relay->allow = allow;
    if (status == 204)
        relay_respond(relay, 204, NULL, NULL, 0);
    else if (status == 405)
        relay_refuse(relay, 405, "method_not_allowed", "this path takes %s", allow);
    else
        relay_refuse(relay, 404, "not_found", "there is no such path here");
}

void relay_free(struct relay *relay)
{
    assert(!relay->attempt.exchange);
    relay_cache_leave(relay, false);
    relay_batch_leave(relay);
    relay_turn_leave(relay);
    relay_hold_leave(relay);
    relay_stop_waiting(relay);
    if (event_initialized(&relay->timer))
        event_del(&relay->timer);
    relay->view->held_bytes -= relay->body.held.length;
    figure_set(relay->view->figures, FIGURE_HELD_BYTES, relay->view->held_bytes);
    figure_add(relay->view->figures, FIGURE_OPEN, -1);
    strbuf_finish(&relay->body.held);
    answer_finish(relay);
    if (relay->care)
        relay_care_free(relay);
    if (relay->terms)
        terms_drop(relay->terms, relay->view->number);
    relay_guard_free(relay);
    relay_usage_free(relay);
    relay_keep(relay);
}
