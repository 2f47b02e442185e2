/* See trials.h. An ask holds nothing of its replica but the exchange, which goes on when the
 * replica's state goes away; whoever waits for it is called once, from the loop. */
#include "server/trials.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "core/core.h"
#include "server/services_internal.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum { ANSWER_FIELDS_MAX = 100 };

struct trial_ask {
    TAILQ_ENTRY(trial_ask) link;
    struct trials *trials;
    struct http_exchange *exchange;
    struct event *timer; /* the end of its time */
    trial_done *done;
    void *context;
    char replica[TRIAL_NAME_BYTES];
    struct trial_answer answer;
    struct arena *arena; /* the answer's fields */
    struct strbuf body;
    int64_t began_ns, first_ns;
};

struct trials {
    struct services *services;
    struct trial *list;
    size_t count;
    TAILQ_HEAD(trial_asks, trial_ask) asks;
    size_t ask_count;
    uint64_t turn;
    uint64_t opened, asked, failed;
};

static int64_t now_ms(void)
{
    return clock_monotonic_ns() / 1000000;
}

/* ---- replicas -------------------------------------------------------------------------------- */

struct choice {
    struct replica *replica;
    const char *name;
    int64_t version;
    bool ready;
};

/* What is there, for whoever asks for what is not. */
struct look {
    size_t replicas, of_version, named;
};

static bool choice_of(struct services *services, struct replica *replica, struct choice *ret)
{
    const struct core *core = services->server->core;
    const struct replica_row *row = core_replica_of(core, replica->job);
    const struct job_row *job = core_job(core, replica->job);
    const struct revision *revision =
        services_revision_of(services, replica->service, replica->revision);
    if (!row || !job || !revision || replica->stopping || !replica->endpoint)
        return false;
    *ret = (struct choice){.replica = replica,
        .name = core_symbol(core, job->name),
        .version = revision->version,
        .ready = row->ready && row->attempt == replica->attempt};
    return true;
}

static bool is_meant(const struct trial *trial, const struct choice *choice, struct look *look)
{
    look->replicas++;
    if (trial->version != TRIAL_ANY_VERSION && trial->version != choice->version)
        return false;
    look->of_version++;
    if (trial->replica[0] && strcmp(trial->replica, choice->name) != 0)
        return false;
    look->named++;
    return choice->ready || trial->unready;
}

static int say_missing(const struct trial *trial, const struct look *look, struct error *err)
{
    if (look->replicas == 0)
        return error_set(err, ERR_UNAVAILABLE,
            "%s has no replica that runs: muster describe service %s says why", trial->service,
            trial->service);
    if (look->of_version == 0)
        return error_set(err, ERR_NOT_FOUND, "no replica of %s runs version %" PRId64,
            trial->service, trial->version);
    if (look->named == 0)
        return error_set(
            err, ERR_NOT_FOUND, "%s has no replica %s that runs", trial->service, trial->replica);
    return error_set(err, ERR_UNAVAILABLE,
        "no replica of %s that is meant is ready; with unready they are asked all the same",
        trial->service);
}

static uint64_t service_of(const struct trials *trials, const struct trial *trial)
{
    char team[TRIAL_NAME_BYTES];
    size_t length = strcspn(trial->service, "/");
    memcpy(team, trial->service, length);
    team[length] = '\0';
    return core_service_find(trials->services->server->core, team, trial->service + length + 1);
}

/* They take turns. */
static int choose(
    struct trials *trials, const struct trial *trial, struct choice *ret, struct error *err)
{
    struct services *services = trials->services;
    uint64_t service = service_of(trials, trial);
    size_t count = services->replicas.count;
    struct look look = {0};
    struct choice found = {0}, one;
    if (!service)
        return error_set(err, ERR_NOT_FOUND, "there is no service %s", trial->service);
    for (size_t i = 0; i < count; i++) {
        struct replica *replica = services->replicas.items[(i + trials->turn) % count];
        if (replica->service == service && choice_of(services, replica, &one) &&
            is_meant(trial, &one, &look) && !found.replica)
            found = one;
    }
    if (!found.replica)
        return say_missing(trial, &look, err);
    *ret = found;
    return 0;
}

int trial_check(struct trials *trials, const struct trial *trial, struct error *err)
{
    struct choice choice;
    return choose(trials, trial, &choice, err);
}

/* ---- trials ---------------------------------------------------------------------------------- */

static void forget_idle(struct trials *trials)
{
    int64_t before = now_ms() - TRIAL_IDLE_MS;
    struct trial **at = &trials->list;
    while (*at) {
        struct trial *trial = *at;
        if (trial->used_ms >= before) {
            at = &trial->next;
            continue;
        }
        *at = trial->next;
        trials->count--;
        free(trial);
    }
}

struct trial *trial_open(struct trials *trials, const struct trial *trial, struct error *err)
{
    unsigned char random[(TRIAL_ID_TEXT - 1) / 2];
    forget_idle(trials);
    if (trials->count >= TRIALS_MAX) {
        error_set(err, ERR_BUSY, "%d trials are open already; try again later", TRIALS_MAX);
        return NULL;
    }
    struct trial *kept = mem_alloc(1, sizeof *kept);
    *kept = *trial;
    randombytes_buf(random, sizeof random);
    sodium_bin2hex(kept->id, sizeof kept->id, random, sizeof random);
    kept->used_ms = now_ms();
    kept->next = trials->list;
    trials->list = kept;
    trials->count++;
    trials->opened++;
    return kept;
}

struct trial *trial_find(
    struct trials *trials, const char *service, const char *user, const char *id, struct error *err)
{
    forget_idle(trials);
    for (struct trial *trial = trials->list; trial; trial = trial->next) {
        if (strcmp(trial->id, id) != 0 || strcmp(trial->service, service) != 0 ||
            strcmp(trial->user, user) != 0)
            continue;
        trial->used_ms = now_ms();
        return trial;
    }
    error_set(err, ERR_NOT_FOUND, "%s has no such trial of %s: it may be over; open another",
        service, user);
    return NULL;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void ask_free(struct trial_ask *ask)
{
    TAILQ_REMOVE(&ask->trials->asks, ask, link);
    ask->trials->ask_count--;
    event_free(ask->timer);
    arena_destroy(ask->arena);
    strbuf_finish(&ask->body);
    free(ask);
}

void trial_ask_cancel(struct trial_ask *ask)
{
    http_exchange_cancel(ask->exchange);
    ask_free(ask);
}

/* The exchange is over. */
static void conclude(struct trial_ask *ask, const char *failure)
{
    int64_t now = clock_monotonic_ns();
    struct trial_answer *answer = &ask->answer;
    answer->replica = ask->replica;
    answer->failure = failure;
    answer->body = strbuf_text(&ask->body);
    answer->length = ask->body.length;
    answer->total_us = (now - ask->began_ns) / 1000;
    answer->first_us = ask->first_ns ? (ask->first_ns - ask->began_ns) / 1000 : 0;
    ask->trials->failed += failure || answer->status >= 500;
    ask->done(ask->context, answer);
    ask_free(ask);
}

static void on_head(struct http_exchange *exchange, const struct http_answer *head, void *context)
{
    struct trial_ask *ask = context;
    size_t count = head->field_count < ANSWER_FIELDS_MAX ? head->field_count : ANSWER_FIELDS_MAX;
    struct http_field *fields = arena_alloc(ask->arena, count + 1, sizeof *fields);
    (void)exchange;
    for (size_t i = 0; i < count; i++)
        fields[i] = (struct http_field){arena_strdup(ask->arena, head->fields[i].name),
            arena_strdup(ask->arena, head->fields[i].value)};
    ask->first_ns = clock_monotonic_ns();
    ask->answer.status = head->status;
    ask->answer.fields = fields;
    ask->answer.field_count = count;
}

static void on_piece(
    struct http_exchange *exchange, const void *bytes, size_t length, void *context)
{
    struct trial_ask *ask = context;
    size_t room = TRIAL_ANSWER_BYTES_MAX - ask->body.length;
    strbuf_append(&ask->body, bytes, length < room ? length : room);
    if (length <= room)
        return;
    ask->answer.cut = true;
    http_exchange_cancel(exchange);
    conclude(ask, NULL);
}

static void on_end(struct http_exchange *exchange, void *context)
{
    (void)exchange;
    conclude(context, NULL);
}

static void on_fail(struct http_exchange *exchange, enum http_failure failure, bool answered,
    const char *text, void *context)
{
    (void)exchange, (void)failure, (void)answered;
    conclude(context, text);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct trial_ask *ask = context;
    (void)fd, (void)what;
    http_exchange_cancel(ask->exchange);
    conclude(ask, "it took longer than the request's time");
}

static struct trial_ask *ask_create(
    struct trials *trials, const struct choice *choice, trial_done *done, void *context)
{
    struct trial_ask *ask = mem_alloc(1, sizeof *ask);
    ask->trials = trials;
    ask->done = done;
    ask->context = context;
    snprintf(ask->replica, sizeof ask->replica, "%s", choice->name);
    ask->answer.version = choice->version;
    ask->answer.ready = choice->ready;
    ask->arena = arena_create();
    ask->timer = event_new(trials->services->server->base, -1, EV_TIMEOUT, on_timer, ask);
    assert(ask->timer);
    TAILQ_INSERT_TAIL(&trials->asks, ask, link);
    trials->ask_count++;
    return ask;
}

struct trial_ask *trial_ask_begin(struct trials *trials, const struct trial *trial,
    const struct trial_request *request, trial_done *done, void *context, struct error *err)
{
    static const struct http_exchange_callbacks callbacks = {
        .on_head = on_head, .on_piece = on_piece, .on_end = on_end, .on_fail = on_fail};
    struct choice choice;
    if (trials->ask_count >= TRIAL_REQUESTS_MAX) {
        error_set(err, ERR_BUSY, "%d requests of trials are under way; try again in a moment",
            TRIAL_REQUESTS_MAX);
        return NULL;
    }
    if (choose(trials, trial, &choice, err) < 0)
        return NULL;
    struct trial_ask *ask = ask_create(trials, &choice, done, context);
    struct http_exchange_request out = {.method = request->method,
        .target = request->target,
        .fields = request->fields,
        .field_count = request->field_count,
        .body = request->body,
        .length = (int64_t)request->length,
        .timeout_ms = TRIAL_TIMEOUT_MAX_MS}; /* the timer ends it earlier */
    struct timeval limit = {
        (time_t)(request->timeout_ms / 1000), (suseconds_t)(request->timeout_ms % 1000 * 1000)};
    trials->turn++;
    trials->asked++;
    ask->began_ns = clock_monotonic_ns();
    ask->exchange = http_exchange_begin(choice.replica->endpoint, &out, &callbacks, ask);
    event_add(ask->timer, &limit);
    return ask;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct trials *trials_create(struct services *services)
{
    struct trials *trials = mem_alloc(1, sizeof *trials);
    trials->services = services;
    TAILQ_INIT(&trials->asks);
    return trials;
}

/* Those who wait are told, so that they do not give up later what is gone. */
void trials_destroy(struct trials *trials)
{
    if (!trials)
        return;
    while (!TAILQ_EMPTY(&trials->asks)) {
        struct trial_ask *ask = TAILQ_FIRST(&trials->asks);
        http_exchange_cancel(ask->exchange);
        conclude(ask, "the server ends");
    }
    while (trials->list) {
        struct trial *next = trials->list->next;
        free(trials->list);
        trials->list = next;
    }
    free(trials);
}

void trials_write_metrics(const struct trials *trials, struct strbuf *out)
{
    const struct {
        const char *name, *help;
        uint64_t value;
    } figures[] = {
        {"trials_opened_total", "Trials of services that were opened.", trials->opened},
        {"trial_requests_total", "Requests made in trials, which count nowhere else.",
            trials->asked},
        {"trial_requests_failed_total", "Those that got no answer, or one with status 500 or more.",
            trials->failed},
    };
    for (size_t i = 0; i < ARRAY_LEN(figures); i++)
        strbuf_printf(out, "# HELP muster_%s %s\n# TYPE muster_%s counter\nmuster_%s %" PRIu64 "\n",
            figures[i].name, figures[i].help, figures[i].name, figures[i].name, figures[i].value);
}
