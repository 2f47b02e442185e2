/* See secondary.h. A question holds copies of all it needs; what it knows of its replica is the
 * exchange and the replica's state, which lives while something is under way there. Questions start
 * from a turn of the loop of their own, so that the client's last bytes go out first. */
#include "gateway/secondary.h"

#include "base/clock.h"
#include "base/memory.h"
#include "gateway/balance.h"
#include "gateway/member_scan.h"
#include "gateway/recorder.h"
#include "gateway/table.h"
#include "gateway/target.h"
#include "gateway/token_tail.h"
#include "gateway/usage.h"
#include "gateway/worker.h"
#include "wire/http.h"
#include "wire/http_agent.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct question {
    TAILQ_ENTRY(question) link;
    struct secondary *secondary;
    struct record_entry *entry;
    struct secondary_target target;
    char route[TARGET_ROUTE_BYTES];
    char team[RECORD_SERVICE_BYTES];
    int64_t concurrency, answer_max;
    /* While it is under way. */
    struct http_exchange *exchange;
    struct replica_state *state;
    struct usage_counts *counts;
    struct event *timer; /* the end of its time */
    struct token_tail tail;
    int64_t began_ns, first_ns;
};
TAILQ_HEAD(question_list, question);

struct secondary {
    struct gateway_worker *worker;
    struct worker_view *view;
    struct event *kick;
    struct question_list waiting, running;
    size_t waiting_count, running_count;
};

/* ---- budgets --------------------------------------------------------------------------------- */

/* The minute and its count in one word, so that workers need no lock. */
bool secondary_may(struct service_terms *terms, int64_t now_ms)
{
    atomic_uint_fast64_t *spent = &terms->state->secondary_spent;
    uint64_t minute = (uint64_t)(now_ms / 60000) & 0xffffffffu;
    uint64_t most = (uint64_t)terms->options.secondary.per_minute;
    uint64_t before = atomic_load_explicit(spent, memory_order_relaxed), after;
    do {
        uint64_t count = before >> 32 == minute ? before & 0xffffffffu : 0;
        if (count >= most)
            return false;
        after = minute << 32 | (count + 1);
    } while (!atomic_compare_exchange_weak_explicit(
        spent, &before, after, memory_order_relaxed, memory_order_relaxed));
    return true;
}

static size_t count_of(const struct question_list *list, const char *service)
{
    size_t count = 0;
    struct question *question;
    TAILQ_FOREACH(question, list, link)
    count += !strcmp(question->entry->service, service);
    return count;
}

/* ---- the body -------------------------------------------------------------------------------- */

struct place {
    uint64_t begin, end;
};

static void find_model(const struct json_member *member, void *context)
{
    struct place *place = context;
    if (member->depth == 1 && !member->escaped && !strcmp(member->name, "model") && !place->end)
        *place = (struct place){member->begin, member->end};
}

bool secondary_rename(const char *body, size_t length, const char *model, struct strbuf *out)
{
    struct member_scan scan;
    struct place place = {0};
    member_scan_init(&scan, find_model, &place);
    if (member_scan_feed(&scan, body, length) != MEMBER_SCAN_DONE || place.end == 0 ||
        place.end > length || body[place.begin] != '"')
        return false;
    strbuf_append(out, body, place.begin);
    strbuf_json(out, model);
    strbuf_append(out, body + place.end, length - place.end);
    return true;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void question_free(struct question *question)
{
    if (question->timer)
        event_free(question->timer);
    free(question);
}

/* Counted for the service that was asked, so that what it cost is not lost; under a key of its own.
 */
static size_t latency_bucket(uint64_t us)
{
    size_t i = 0;
    while (i < ARRAY_LEN(((struct usage_counts *)0)->latency) - 1 && us > (uint64_t)64 << i)
        i++;
    return i;
}

static void account(struct question *question, bool failed)
{
    struct usage_counts *counts = question->counts;
    uint64_t us = (uint64_t)question->entry->total_us, input = 0, output = 0;
    usage_add(&counts->requests, 1);
    usage_add(failed || question->entry->status >= 500 ? &counts->failed
              : question->entry->status >= 400         ? &counts->refused
                                                       : &counts->succeeded,
        1);
    usage_add(&counts->bytes_in, question->entry->request.length);
    usage_add(&counts->bytes_out, question->entry->answer.length);
    usage_add(&counts->busy_us, us);
    usage_add(&counts->latency_us_sum, us);
    usage_add(&counts->latency[latency_bucket(us)], 1);
    if (question->target.protocol == PROTOCOL_OPENAI &&
        token_tail_find(&question->tail, &input, &output)) {
        usage_add(&counts->input_tokens, input);
        usage_add(&counts->output_tokens, output);
    }
}

static void kick(struct secondary *secondary)
{
    event_active(secondary->kick, EV_TIMEOUT, 0);
}

/* The verdict goes to the recorder, also one that says why there is none. */
static void conclude(struct question *question, const char *failure)
{
    struct secondary *secondary = question->secondary;
    struct record_entry *entry = question->entry;
    int64_t now = clock_monotonic_ns();
    if (failure) {
        entry->without = failure;
        figure_add(secondary->view->figures, FIGURE_SECONDARY_FAILED, 1);
    }
    if (question->state) {
        entry->first_us = question->first_ns ? (question->first_ns - question->began_ns) / 1000 : 0;
        entry->total_us = (now - question->began_ns) / 1000;
        account(question, failure != NULL);
        replica_state_done(question->state, failure != NULL);
        TAILQ_REMOVE(&secondary->running, question, link);
        secondary->running_count--;
    }
    recorder_take(secondary->view->recorder, entry);
    question_free(question);
    kick(secondary);
}

/* ---- the exchange ---------------------------------------------------------------------------- */

static void on_head(struct http_exchange *exchange, const struct http_answer *head, void *context)
{
    struct question *question = context;
    (void)exchange;
    question->first_ns = clock_monotonic_ns();
    question->entry->status = head->status;
    for (size_t i = 0; i < head->field_count; i++) {
        if (!strcasecmp(head->fields[i].name, "Content-Encoding"))
            question->entry->without = "encoded";
    }
}

static void on_piece(
    struct http_exchange *exchange, const void *bytes, size_t length, void *context)
{
    struct question *question = context;
    struct record_entry *entry = question->entry;
    if (question->target.protocol == PROTOCOL_OPENAI)
        token_tail_add(&question->tail, bytes, length);
    if ((int64_t)(entry->answer.length + length) > question->answer_max) {
        http_exchange_cancel(exchange);
        conclude(question, "too large");
        return;
    }
    strbuf_append(&entry->answer, bytes, length);
}

static void on_end(struct http_exchange *exchange, void *context)
{
    (void)exchange;
    conclude(context, NULL);
}

static void on_fail(struct http_exchange *exchange, enum http_failure failure, bool answered,
    const char *text, void *context)
{
    (void)exchange, (void)answered, (void)text;
    conclude(context, failure == HTTP_FAILED_TIMEOUT   ? "timeout"
                      : failure == HTTP_FAILED_CONNECT ? "no connection"
                                                       : "no answer");
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct question *question = context;
    (void)fd, (void)what;
    http_exchange_cancel(question->exchange);
    conclude(question, "timeout");
}

/* ---- beginning ------------------------------------------------------------------------------- */

static bool may_ask(const struct question *question, const struct table_service *service)
{
    const struct route_service *route = service->route;
    bool speaks = question->target.protocol == PROTOCOL_OPENAI ? route->openai : route->oip;
    return speaks &&
           (!strcmp(route->team, question->team) || route->options->access != ACCESS_TEAM);
}

static const struct table_replica *pick(
    struct question *question, const struct table_service *service)
{
    static const struct balance_tried none;
    struct balance_query query = {.version = BALANCE_ANY_VERSION,
        .tried = &none,
        .now_ms = clock_monotonic_ns() / 1000000,
        .load_percent = service->terms->options.routing.load_percent};
    return balance_pick(service, &query, &question->secondary->view->turn);
}

static void count_for(struct question *question, const struct table_service *service,
    const struct table_replica *replica)
{
    struct usage_series series = {
        .version = replica->route->version, .replica = replica->route->replica};
    snprintf(series.service, sizeof series.service, "%s", service->route->service);
    snprintf(series.key, sizeof series.key, "secondary");
    question->counts = usage_counts_of(question->secondary->view->usage, &series);
}

static void begin_exchange(struct question *question, struct http_endpoint *endpoint,
    int64_t timeout_ms, const char *body, size_t length)
{
    static const struct http_exchange_callbacks callbacks = {
        .on_head = on_head, .on_piece = on_piece, .on_end = on_end, .on_fail = on_fail};
    struct secondary *secondary = question->secondary;
    struct record_entry *entry = question->entry;
    const struct http_field fields[] = {{"Content-Type", entry->type}, {"X-Request-ID", entry->id}};
    struct http_exchange_request request = {.method = "POST",
        .target = entry->path,
        .fields = fields,
        .field_count = ARRAY_LEN(fields),
        .body = body,
        .length = (int64_t)length,
        .timeout_ms = timeout_ms};
    struct timeval limit = {(time_t)(timeout_ms / 1000), (suseconds_t)(timeout_ms % 1000 * 1000)};
    question->timer = evtimer_new(secondary->view->base, on_timer, question);
    assert(question->timer);
    event_add(question->timer, &limit);
    TAILQ_INSERT_TAIL(&secondary->running, question, link);
    secondary->running_count++;
    question->began_ns = clock_monotonic_ns();
    replica_state_begin(question->state);
    figure_add(secondary->view->figures, FIGURE_SECONDARY_ASKED, 1);
    question->exchange = http_exchange_begin(endpoint, &request, &callbacks, question);
}

/* It is on no list. */
static void begin(struct question *question)
{
    struct secondary *secondary = question->secondary;
    struct record_entry *entry = question->entry;
    SCOPED(strbuf_finish) struct strbuf renamed = {0};
    const struct table_service *service =
        route_table_service(secondary->view->table, question->route);
    if (!service || !may_ask(question, service)) {
        conclude(question, "no such service");
        return;
    }
    snprintf(entry->by, sizeof entry->by, "%s", service->route->service);
    if (question->target.by_body &&
        !secondary_rename(entry->request.text, entry->request.length, question->route, &renamed)) {
        conclude(question, "no model in the request");
        return;
    }
    const struct table_replica *replica = pick(question, service);
    struct http_endpoint *endpoint =
        replica ? gateway_worker_endpoint(secondary->worker, replica) : NULL;
    if (!endpoint) {
        conclude(question, "no replica is ready");
        return;
    }
    entry->version = replica->route->version;
    entry->replica = replica->route->replica;
    count_for(question, service, replica);
    question->state = replica->state;
    const struct strbuf *body = question->target.by_body ? &renamed : &entry->request;
    begin_exchange(
        question, endpoint, service->terms->options.timeout_ms, strbuf_text(body), body->length);
}

/* The first that its service lets begin. */
static struct question *next_question(struct secondary *secondary)
{
    struct question *question;
    if (secondary->running_count >= SECONDARY_RUNNING_MAX)
        return NULL;
    TAILQ_FOREACH(question, &secondary->waiting, link)
    {
        if ((int64_t)count_of(&secondary->running, question->entry->service) <
            question->concurrency)
            return question;
    }
    return NULL;
}

static void on_kick(evutil_socket_t fd, short what, void *context)
{
    struct secondary *secondary = context;
    (void)fd, (void)what;
    for (struct question *question = next_question(secondary); question;
         question = next_question(secondary)) {
        TAILQ_REMOVE(&secondary->waiting, question, link);
        secondary->waiting_count--;
        begin(question);
    }
}

void secondary_ask(struct secondary *secondary, const struct service_terms *terms,
    const struct secondary_target *target, struct record_entry *entry)
{
    const struct service_secondary *options = &terms->options.secondary;
    if (secondary->waiting_count >= SECONDARY_WAITING_MAX ||
        (int64_t)count_of(&secondary->waiting, entry->service) >=
            options->queue + options->concurrency) {
        figure_add(secondary->view->figures, FIGURE_SECONDARY_DROPPED, 1);
        recorder_give_up(secondary->view->recorder, entry, false);
        return;
    }
    struct question *question = mem_alloc(1, sizeof *question);
    *question = (struct question){.secondary = secondary,
        .entry = entry,
        .target = *target,
        .concurrency = options->concurrency,
        .answer_max = options->body_bytes_max};
    snprintf(question->route, sizeof question->route, "%s", options->route);
    snprintf(question->team, sizeof question->team, "%s", terms->team);
    snprintf(entry->by, sizeof entry->by, "%s", options->route);
    snprintf(entry->path, sizeof entry->path, "%s%s%s", target->by_body ? "" : "/v2/models/",
        target->by_body ? "" : options->route, target->verb);
    TAILQ_INSERT_TAIL(&secondary->waiting, question, link);
    secondary->waiting_count++;
    kick(secondary);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct secondary *secondary_create(struct gateway_worker *worker)
{
    struct secondary *secondary = mem_alloc(1, sizeof *secondary);
    secondary->worker = worker;
    secondary->view = gateway_worker_view(worker);
    TAILQ_INIT(&secondary->waiting);
    TAILQ_INIT(&secondary->running);
    secondary->kick = event_new(secondary->view->base, -1, 0, on_kick, secondary);
    if (secondary->kick)
        return secondary;
    free(secondary);
    return NULL;
}

static void give_up(struct secondary *secondary, struct question *question)
{
    if (question->exchange) {
        http_exchange_cancel(question->exchange);
        replica_state_done(question->state, false);
    }
    recorder_give_up(secondary->view->recorder, question->entry, false);
    question_free(question);
}

static void give_up_all(struct secondary *secondary, struct question_list *list)
{
    while (!TAILQ_EMPTY(list)) {
        struct question *question = TAILQ_FIRST(list);
        TAILQ_REMOVE(list, question, link);
        give_up(secondary, question);
    }
}

void secondary_destroy(struct secondary *secondary)
{
    if (!secondary)
        return;
    give_up_all(secondary, &secondary->waiting);
    give_up_all(secondary, &secondary->running);
    event_free(secondary->kick);
    free(secondary);
}
