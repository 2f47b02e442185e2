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
#include "gateway/relay_turn.h"
#include "gateway/relay_usage.h"

#include "base/clock.h"
#include "base/memory.h"
#include "wire/http.h"

#include <assert.h>
#include <event2/event.h>
#include <string.h>
#include <strings.h>

enum { WAIT_STEP_MS = 50 }; /* a replica that refused is asked again after so long */

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

/* feature: what the service has to ask for, or the stage is passed by; 0: it always runs. wait:
 * what a request waits for in it. */
static const struct stage {
    stage_fn *run;
    uint32_t feature;
    enum relay_wait wait;
} stages[] = {
    {stage_key, 0, WAIT_NONE},
    {stage_here, 0, WAIT_NONE},
    {relay_stage_model, 0, WAIT_NONE},
    {stage_service, 0, WAIT_NONE},
    {relay_stage_care, TERMS_CARE, WAIT_NONE},
    {relay_stage_labels, TERMS_LABELS, WAIT_NONE},
    {relay_stage_rights, 0, WAIT_NONE},
    {relay_stage_body, 0, WAIT_NONE},
    {relay_stage_oip, 0, WAIT_NONE},
    {relay_stage_try, TERMS_CARE, WAIT_NONE},
    {relay_stage_limits, 0, WAIT_NONE},
    {relay_stage_guard, TERMS_GUARD, WAIT_NONE},
    {relay_stage_cache, TERMS_CACHE, WAIT_CACHE},
    {relay_stage_circuit, TERMS_CIRCUIT, WAIT_NONE},
    {relay_stage_hold, TERMS_HOLD, WAIT_NONE},
    {relay_stage_turn, TERMS_QUEUE, WAIT_QUEUE},
    {relay_stage_usage, TERMS_USAGE, WAIT_NONE},
    {relay_stage_batch, TERMS_BATCHING, WAIT_BATCH},
    {stage_replica, 0, WAIT_QUEUE},
    {relay_stage_forward, 0, WAIT_NONE},
};

uint32_t relay_stages(uint32_t features)
{
    uint32_t set = 0;
    for (size_t i = 0; i < ARRAY_LEN(stages); i++)
        set |= (uint32_t)(stages[i].feature == 0 || stages[i].feature & features) << i;
    return set;
}

/* Until the service is known all stages may run; of a request that is cared for those of care do,
 * whichever service is asked. */
static uint32_t stages_left(const struct relay *relay)
{
    const struct service_terms *terms = relay->terms;
    uint32_t set = !terms ? UINT32_MAX : relay->care ? terms->stages_cared : terms->stages;
    return set >> relay->stage << relay->stage;
}

void relay_go(struct relay *relay)
{
    relay_wait_over(relay);
    for (;;) {
        relay->stage = (size_t)__builtin_ctz(stages_left(relay));
        const struct stage *stage = &stages[relay->stage];
        enum stage_result result = stage->run(relay);
        if (result == STAGE_ENDED)
            return;
        if (result == STAGE_WAITS) {
            relay_wait_begin(relay, stage->wait);
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
    while (stages[relay->stage].run != stage)
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
