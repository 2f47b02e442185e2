/* Reserving and settling: see relay_limits.h.
 *
 * 1. What was taken is settled exactly once, in relay_account, through which every relay ends.
 * 2. A request that reached no replica cost no tokens and no money, but was a request.
 * 3. A client that goes away, or a replica, settles with what was passed on. */
#include "gateway/relay_limits.h"

#include "base/clock.h"
#include "base/memory.h"
#include "gateway/limit.h"
#include "gateway/limit_estimate.h"
#include "gateway/limit_shared.h"
#include "gateway/relay_rights.h"
#include "wire/http.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { FIELDS_ADDED = 7, NUMBER_TEXT = 24 };

struct relay_limits {
    struct limit_store *store;
    struct limit_rules rules;
    struct limit_hold hold;
    struct limit_wish wish;
    struct limit_cost reserved;
    struct limit_standings stand;
    int64_t *elsewhere;    /* what counts over all gateways; NULL: not known */
    struct limit_ask *ask; /* of the shared counters; NULL: nothing */
    bool asking;           /* its answer has not come yet */
    bool taken, admitted;
    bool line_ended; /* the last byte of the answer's stream that counts was a line's end */
    int64_t events;
    int64_t wait_s; /* of a refusal; 0: it says nothing about that */
    char numbers[5][NUMBER_TEXT];
    char durations[2][LIMIT_DURATION_TEXT];
};

/* ---- which there are ------------------------------------------------------------------------- */

static struct relay_limits *make_room(struct relay *relay, size_t count)
{
    struct arena *arena = http_request_arena(relay->request);
    struct relay_limits *limits = arena_alloc(arena, 1, sizeof *limits);
    limits->rules.items = arena_alloc(arena, count, sizeof *limits->rules.items);
    limits->rules.room = count;
    limits->hold.items = arena_alloc(arena, count, sizeof *limits->hold.items);
    limits->store = route_table_limits(relay->view->table);
    return limits;
}

enum stage_result relay_stage_rights(struct relay *relay)
{
    const struct service_gateway *options = &relay->terms->options;
    if (options->queue.concurrency > 0 || options->batching.max > 1)
        relay_rights_turn(relay, relay->key);
    size_t count = relay_rights_count(&options->limits, relay->key);
    if (count == 0)
        return STAGE_DONE;
    struct relay_limits *limits = make_room(relay, count);
    limits->rules.shared = relay->view->shared != NULL;
    relay->limits = limits;
    relay_rights_gather(relay, relay->key, limits->store, &limits->rules);
    return STAGE_DONE;
}

/* ---- taking ---------------------------------------------------------------------------------- */

static int64_t money_of(const struct relay *relay, int64_t input, int64_t output)
{
    const struct service_limits *limits = &relay->terms->options.limits;
    const struct limit_prices prices = {
        limits->price.requests_micro, limits->price.input_micro, limits->price.output_micro};
    return limit_money(&prices, input, output);
}

/* Only the OpenAI API reports tokens. Of embeddings nothing is written. */
static bool writes_tokens(const struct relay *relay)
{
    return strcmp(relay->target.verb, "/v1/embeddings") != 0;
}

static void estimate(struct relay *relay)
{
    struct relay_limits *limits = relay->limits;
    const struct limit_learned *learned = &relay->terms->state->learned;
    const struct strbuf *held = &relay->body.held;
    if (relay->target.protocol == PROTOCOL_OPENAI) {
        int64_t announced = http_request_body_length(relay->request);
        int64_t length = announced > relay->body.received ? announced : relay->body.received;
        limit_wish_read(strbuf_text(held), held->length, &limits->wish);
        limits->reserved.input_tokens = limit_input_estimate(learned, length);
        if (writes_tokens(relay))
            limits->reserved.output_tokens = limit_output_estimate(learned, &limits->wish);
    }
    limits->reserved.money_micro =
        money_of(relay, limits->reserved.input_tokens, limits->reserved.output_tokens);
}

/* In the currency, with six digits behind the point. */
static const char *most_text(const struct limit_refusal *refusal, int64_t amount, char text[48])
{
    if (refusal->what == LIMIT_MONEY)
        snprintf(text, 48, "%" PRId64 ".%06" PRId64, amount / 1000000, amount % 1000000);
    else
        snprintf(text, 48, "%" PRId64, amount);
    return text;
}

/* How long a request that is under way will take: nobody knows, but how long they usually do. */
static int64_t usual_ms(const struct relay *relay)
{
    return (int64_t)atomic_load_explicit(
               &relay->terms->state->learned.mean_us, memory_order_relaxed) /
           1000;
}

static enum stage_result refuse(struct relay *relay, const struct limit_refusal *refusal)
{
    char most[48], asked[48];
    struct relay_limits *limits = relay->limits;
    const char *what = limit_what_text(refusal->what), *per = limit_window_text(refusal->window);
    int64_t wait_ms = refusal->wait_ms;
    service_count_refused(relay->terms->state, relay->view->number, (int)refusal->what);
    most_text(refusal, refusal->most, most);
    most_text(refusal, refusal->asked, asked);
    if (refusal->asked > refusal->most) {
        relay_refuse(relay, 429, "rate_limit_exceeded",
            "the limit is %s %s %s, and this request alone may need %s: ask for less", most, what,
            per, asked);
        return STAGE_ENDED;
    }
    if (refusal->what == LIMIT_CONCURRENCY)
        wait_ms = usual_ms(relay);
    limits->wait_s = wait_ms < 1000 ? 1 : (wait_ms + 999) / 1000;
    relay_refuse(relay, 429, "rate_limit_exceeded",
        "the limit of %s %s %s is reached; try again in %" PRId64 " s", most, what, per,
        limits->wait_s);
    return STAGE_ENDED;
}

static enum stage_result admit(struct relay *relay)
{
    relay->limits->admitted = true;
    if (relay->terms->options.queue.concurrency == 0)
        service_count_admitted(relay->terms->state, relay->view->number);
    return STAGE_DONE;
}

static enum stage_result take_here(struct relay *relay)
{
    struct relay_limits *limits = relay->limits;
    struct limit_refusal refusal;
    if (!limits_take(limits->store, &limits->rules, &limits->reserved, clock_wall_ms(),
            &limits->hold, &refusal))
        return refuse(relay, &refusal);
    limits->taken = true;
    return STAGE_DONE;
}

/* ---- the shared counters --------------------------------------------------------------------- */

/* What was taken here is given back first: a part of each limit is taken instead. */
static enum stage_result take_share(struct relay *relay, int64_t gateways)
{
    struct relay_limits *limits = relay->limits;
    limits_give_back(limits->store, &limits->hold, clock_wall_ms());
    for (size_t i = 0; i < limits->rules.count; i++) {
        if (limits->rules.items[i].window != LIMIT_NOW)
            limits->rules.items[i].most /= gateways;
    }
    return take_here(relay) == STAGE_ENDED ? STAGE_ENDED : admit(relay);
}

static enum stage_result others_away(struct relay *relay)
{
    struct relay_limits *limits = relay->limits;
    const struct limit_shared_options *options = limit_shared_options(relay->view->shared);
    figure_add(relay->view->figures, FIGURE_LIMITS_REDIS_AWAY, 1);
    if (options->away == LIMIT_AWAY_LOCAL)
        return admit(relay);
    if (options->away == LIMIT_AWAY_SHARE)
        return take_share(relay, options->gateways);
    limits_give_back(limits->store, &limits->hold, clock_wall_ms());
    service_count_refused(relay->terms->state, relay->view->number, REFUSED_AWAY);
    relay_refuse(relay, 503, "limits_unavailable", "limits cannot be checked now; try again");
    return STAGE_ENDED;
}

static void on_said(
    void *context, enum limit_said said, const struct limit_refusal *refusal, const int64_t *used)
{
    struct relay *relay = context;
    struct relay_limits *limits = relay->limits;
    limits->asking = false;
    if (said == LIMIT_SAID_TAKEN) {
        size_t count = limits->rules.count;
        limits->elsewhere =
            arena_alloc(http_request_arena(relay->request), count, sizeof *limits->elsewhere);
        memcpy(limits->elsewhere, used, count * sizeof *limits->elsewhere);
        admit(relay);
        relay_go(relay);
        return;
    }
    limits->ask = NULL;
    if (said == LIMIT_SAID_AWAY) {
        if (others_away(relay) == STAGE_DONE)
            relay_go(relay);
        return;
    }
    limits_give_back(limits->store, &limits->hold, clock_wall_ms());
    refuse(relay, refusal);
}

static enum stage_result ask_others(struct relay *relay)
{
    struct relay_limits *limits = relay->limits;
    bool away;
    limits->ask = limit_shared_take(
        relay->view->shared, &limits->rules, &limits->reserved, on_said, relay, &away);
    limits->asking = limits->ask != NULL;
    if (limits->asking)
        return STAGE_WAITS;
    return away ? others_away(relay) : admit(relay);
}

/* Here first: what does not fit here does not fit over all. */
enum stage_result relay_stage_limits(struct relay *relay)
{
    struct relay_limits *limits = relay->limits;
    if (!limits || limits->admitted)
        return STAGE_DONE;
    if (limits->asking)
        return STAGE_WAITS;
    estimate(relay);
    if (take_here(relay) == STAGE_ENDED)
        return STAGE_ENDED;
    return relay->view->shared ? ask_others(relay) : admit(relay);
}

/* ---- what the client is told ----------------------------------------------------------------- */

static const char *number_text(int64_t number, char text[NUMBER_TEXT])
{
    char *at = text + NUMBER_TEXT - 1;
    *at = '\0';
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return at;
}

static size_t put_standing(struct relay_limits *limits, const struct limit_standing *standing,
    const char *const names[3], size_t which, struct http_field *out)
{
    if (!standing->known)
        return 0;
    out[0] = (struct http_field){names[0], number_text(standing->most, limits->numbers[which])};
    out[1] = (struct http_field){names[1], number_text(standing->left, limits->numbers[which + 2])};
    out[2] =
        (struct http_field){names[2], limit_duration(standing->reset_ms, limits->durations[which])};
    return 3;
}

struct http_field *relay_limits_fields(
    struct relay *relay, const struct http_field *fields, size_t *count)
{
    static const char *const of_requests[] = {"x-ratelimit-limit-requests",
        "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"};
    static const char *const of_tokens[] = {
        "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"};
    struct relay_limits *limits = relay->limits;
    struct http_field *out =
        arena_alloc(http_request_arena(relay->request), *count + FIELDS_ADDED, sizeof *out);
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        if (strncasecmp(fields[i].name, "x-ratelimit-", 12) != 0)
            out[kept++] = fields[i];
    }
    limits_stand(limits->store, &limits->rules, limits->elsewhere, clock_wall_ms(), &limits->stand);
    kept += put_standing(limits, &limits->stand.requests, of_requests, 0, out + kept);
    kept += put_standing(limits, &limits->stand.tokens, of_tokens, 1, out + kept);
    if (limits->wait_s > 0)
        out[kept++] =
            (struct http_field){"Retry-After", number_text(limits->wait_s, limits->numbers[4])};
    *count = kept;
    return out;
}

/* ---- settling -------------------------------------------------------------------------------- */

/* An event of a stream ends with an empty line. */
void relay_limits_piece(struct relay *relay, const char *bytes, size_t length)
{
    struct relay_limits *limits = relay->limits;
    const char *end = bytes + length;
    for (const char *at = bytes; at < end; at++) {
        if (*at == '\n') {
            limits->events += limits->line_ended;
            limits->line_ended = !limits->line_ended;
            continue;
        }
        if (*at == '\r')
            continue;
        limits->line_ended = false;
        const char *next = memchr(at, '\n', (size_t)(end - at));
        at = next ? next - 1 : end - 1;
    }
}

static bool worked(const struct relay *relay, enum relay_end end)
{
    int status = relay->answer.status;
    return relay->attempt.counts && (status == 0 ? end == RELAY_CANCELLED : status < 400);
}

/* Each event of a stream is about a token; of other answers the length says how much was written,
 * in the tokens for a byte that requests have. */
static int64_t delivered_tokens(const struct relay *relay)
{
    if (!writes_tokens(relay))
        return 0;
    if (relay->answer.events)
        return relay->limits->events;
    return limit_input_estimate(&relay->terms->state->learned, relay->answer.bytes);
}

static void learn(struct relay *relay, int64_t input_tokens, int64_t output_tokens)
{
    int64_t answers = relay->limits->wish.answers;
    limit_learn(&relay->terms->state->learned, relay->body.received, input_tokens,
        answers > 0 ? output_tokens / answers : output_tokens);
}

/* Where there is a queue the turns tell. */
static void learn_time(struct relay *relay)
{
    if (relay->attempt.counts && relay->attempt.began_ns &&
        relay->terms->options.queue.concurrency == 0)
        limit_learn_time(
            &relay->terms->state->learned, (clock_held_ns() - relay->attempt.began_ns) / 1000);
}

/* Shared counters have no way back: there it has been asked, and cost nothing. */
void relay_limits_give_back(struct relay *relay)
{
    struct relay_limits *limits = relay->limits;
    if (limits->asking)
        limit_ask_abandon(limits->ask);
    else if (limits->ask)
        limit_ask_settle(limits->ask, NULL);
    limits->ask = NULL;
    limits->asking = false;
    if (limits->taken)
        limits_give_back(limits->store, &limits->hold, clock_wall_ms());
    limits->taken = false;
}

void relay_limits_settle(struct relay *relay, enum relay_end end, bool reported,
    uint64_t input_tokens, uint64_t output_tokens)
{
    struct relay_limits *limits = relay->limits;
    struct limit_cost cost = {0};
    if (!limits->taken)
        return;
    learn_time(relay);
    if (reported) {
        cost.input_tokens = (int64_t)input_tokens;
        cost.output_tokens = (int64_t)output_tokens;
        if (end == RELAY_COMPLETE && relay->answer.status < 400)
            learn(relay, cost.input_tokens, cost.output_tokens);
    } else if (worked(relay, end) && relay->target.protocol == PROTOCOL_OPENAI) {
        cost.input_tokens = limits->reserved.input_tokens;
        cost.output_tokens = delivered_tokens(relay);
    }
    if (reported || worked(relay, end))
        cost.money_micro = money_of(relay, cost.input_tokens, cost.output_tokens);
    limits_settle(limits->store, &limits->hold, &cost, clock_wall_ms());
    if (limits->asking)
        limit_ask_abandon(limits->ask);
    else if (limits->ask)
        limit_ask_settle(limits->ask, &cost);
    limits->ask = NULL;
}
