/* Shared counters: see limit_shared.h. A counter is a hash of slot to amount, which expires with
 * its window. The first script looks at all counters before it adds to any; scripts run alone. */
#include "gateway/limit_shared.h"

#include "base/clock.h"
#include "base/memory.h"
#include "gateway/redis_link.h"

#include <assert.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One that is late so often in a row is given up with all that it was asked, which it would hold
 * for as long as it hangs; and it is left alone for a while. */
enum { LATE_MAX = 3, PAUSE_MS = 1000 };
enum { SHA_BYTES = 48, KEY_BYTES = 72, NUMBER_BYTES = 24, WORDS_MAX = 3 + 5 * LIMIT_RULES_MAX };

/* For each key its slot's length, the limit and the amount. The answer: 0, then for each key the
 * slot and what counts now; or the place of the one that refuses, and the wait. */
static const char take_script[] =
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "local answer = {0}\n"
    "for i = 1, #KEYS do\n"
    "  local width, most = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1])\n"
    "  local amount, slot = tonumber(ARGV[3 * i]), math.floor(now / width)\n"
    "  local all, slots, used = redis.call('HGETALL', KEYS[i]), {}, 0\n"
    "  for j = 1, #all, 2 do\n"
    "    local at, count = tonumber(all[j]), tonumber(all[j + 1])\n"
    "    if at > slot - 16 then slots[at] = count used = used + count\n"
    "    else redis.call('HDEL', KEYS[i], all[j]) end\n"
    "  end\n"
    "  if used + amount > most then\n"
    "    if amount > most then return {i, -1} end\n"
    "    for at = slot - 15, slot do\n"
    "      used = used - (slots[at] or 0)\n"
    "      if used + amount <= most then return {i, (at + 16) * width - now} end\n"
    "    end\n"
    "    return {i, width}\n"
    "  end\n"
    "  answer[2 * i] = slot\n"
    "  answer[2 * i + 1] = used + amount\n"
    "end\n"
    "for i = 1, #KEYS do\n"
    "  redis.call('HINCRBY', KEYS[i], answer[2 * i], ARGV[3 * i])\n"
    "  redis.call('PEXPIRE', KEYS[i], ARGV[3 * i - 2] * 17)\n"
    "end\n"
    "return answer\n";

/* For each key its slot's length, the slot that was added to, what was taken and what was used. */
static const char settle_script[] =
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "for i = 1, #KEYS do\n"
    "  local width, slot = tonumber(ARGV[4 * i - 3]), ARGV[4 * i - 2]\n"
    "  local change = tonumber(ARGV[4 * i]) - tonumber(ARGV[4 * i - 1])\n"
    "  if change > 0 then\n"
    "    redis.call('HINCRBY', KEYS[i], math.floor(now / width), change)\n"
    "    redis.call('PEXPIRE', KEYS[i], width * 17)\n"
    "  elseif change < 0 and redis.call('HEXISTS', KEYS[i], slot) == 1 then\n"
    "    redis.call('HINCRBY', KEYS[i], slot, change)\n"
    "  end\n"
    "end\n"
    "return {0}\n";

struct limit_shared {
    const struct limit_shared_options *options;
    struct event_base *base;
    struct redis_link *link;
    char take_sha[SHA_BYTES], settle_sha[SHA_BYTES]; /* "": not loaded yet */
    int late;               /* answers in a row that did not come in time */
    int64_t pause_until_ms; /* nothing is asked before */
};

struct limit_ask {
    struct limit_shared *shared;
    limit_answer_fn *fn; /* NULL: nobody waits any more */
    void *context;
    struct event timer;
    size_t count;
    struct ask_item {
        struct limit_rule rule;
        size_t place; /* among the rules */
        int64_t amount, slot;
    } items[];
};

/* ---- the connection -------------------------------------------------------------------------- */

static void keep_sha(
    struct limit_shared *shared, const struct redis_reply *reply, char sha[SHA_BYTES])
{
    if (reply->failed || !reply->text || strlen(reply->text) >= SHA_BYTES) {
        redis_link_reset(shared->link, reply->text ? reply->text : "the connection was lost");
        return;
    }
    strcpy(sha, reply->text);
}

static void on_take_loaded(void *context, const struct redis_reply *reply)
{
    struct limit_shared *shared = context;
    keep_sha(shared, reply, shared->take_sha);
}

static void on_settle_loaded(void *context, const struct redis_reply *reply)
{
    struct limit_shared *shared = context;
    keep_sha(shared, reply, shared->settle_sha);
}

static void on_up(void *context)
{
    struct limit_shared *shared = context;
    const char *take[] = {"SCRIPT", "LOAD", take_script};
    const char *settle[] = {"SCRIPT", "LOAD", settle_script};
    shared->take_sha[0] = shared->settle_sha[0] = '\0';
    redis_link_send(shared->link, 3, take, on_take_loaded, shared);
    redis_link_send(shared->link, 3, settle, on_settle_loaded, shared);
}

struct limit_shared *limit_shared_open(struct redis_library *library, struct event_base *base,
    const struct limit_shared_options *options)
{
    struct limit_shared *shared = mem_alloc(1, sizeof *shared);
    shared->options = options;
    shared->base = base;
    shared->link = redis_link_open(library, base,
        &(struct redis_link_options){
            options->address, "what counts the limits of several gateways", 0, on_up},
        shared);
    return shared;
}

void limit_shared_close(struct limit_shared *shared)
{
    if (!shared)
        return;
    redis_link_close(shared->link);
    free(shared);
}

const struct limit_shared_options *limit_shared_options(const struct limit_shared *shared)
{
    return shared->options;
}

/* ---- words ----------------------------------------------------------------------------------- */

/* A command as it is put together. */
struct command {
    const char *words[WORDS_MAX];
    int count;
    char keys[LIMIT_RULES_MAX][KEY_BYTES];
    char numbers[4 * LIMIT_RULES_MAX + 1][NUMBER_BYTES];
    size_t number_count;
};

static void put_number(struct command *command, int64_t number)
{
    char *text = command->numbers[command->number_count++];
    snprintf(text, NUMBER_BYTES, "%" PRId64, number);
    command->words[command->count++] = text;
}

/* All keys in one slot of a cluster: a script may only use such. */
static void put_keys(struct command *command, const char *sha, const struct limit_ask *ask)
{
    command->words[command->count++] = "EVALSHA";
    command->words[command->count++] = sha;
    put_number(command, (int64_t)ask->count);
    for (size_t i = 0; i < ask->count; i++) {
        const struct limit_rule *rule = &ask->items[i].rule;
        snprintf(command->keys[i], KEY_BYTES, "muster:{limits}:%016" PRIx64 "%016" PRIx64 ":%d%d",
            rule->shared[0], rule->shared[1], (int)rule->what, (int)rule->window);
        command->words[command->count++] = command->keys[i];
    }
}

/* ---- taking ---------------------------------------------------------------------------------- */

static void answer(struct limit_ask *ask, enum limit_said said, const struct limit_refusal *refusal,
    const int64_t *used)
{
    limit_answer_fn *fn = ask->fn;
    event_del(&ask->timer);
    ask->fn = NULL;
    fn(ask->context, said, refusal, used);
}

static void on_taken(struct limit_ask *ask, const struct redis_reply *reply)
{
    int64_t used[LIMIT_RULES_MAX] = {0};
    for (size_t i = 0; i < ask->count; i++) {
        ask->items[i].slot = reply->numbers[1 + 2 * i];
        used[ask->items[i].place] = reply->numbers[2 + 2 * i];
    }
    if (ask->fn)
        answer(ask, LIMIT_SAID_TAKEN, NULL, used);
    else
        limit_ask_settle(ask, NULL);
}

static void on_refused(struct limit_ask *ask, const struct redis_reply *reply)
{
    const struct ask_item *item = &ask->items[reply->numbers[0] - 1];
    const struct limit_refusal refusal = {
        item->rule.what, item->rule.window, item->rule.most, item->amount, reply->numbers[1]};
    if (ask->fn)
        answer(ask, LIMIT_SAID_REFUSED, &refusal, NULL);
    free(ask);
}

/* Answers of another form come from what is no Redis, or has lost the scripts. */
static void on_reply(void *context, const struct redis_reply *reply)
{
    struct limit_ask *ask = context;
    if (ask->fn && !reply->failed)
        ask->shared->late = 0;
    int64_t first = reply->count > 0 ? reply->numbers[0] : -1;
    if (!reply->failed && first == 0 && reply->count == 1 + 2 * ask->count) {
        on_taken(ask, reply);
        return;
    }
    if (!reply->failed && first > 0 && first <= (int64_t)ask->count && reply->count == 2) {
        on_refused(ask, reply);
        return;
    }
    if (reply->text)
        ask->shared->take_sha[0] = '\0';
    if (ask->fn)
        answer(ask, LIMIT_SAID_AWAY, NULL, NULL);
    if (reply->text)
        on_up(ask->shared);
    free(ask);
}

static void on_too_late(evutil_socket_t fd, short what, void *context)
{
    struct limit_ask *ask = context;
    struct limit_shared *shared = ask->shared;
    (void)fd, (void)what;
    bool hopeless = ++shared->late >= LATE_MAX;
    answer(ask, LIMIT_SAID_AWAY, NULL, NULL);
    if (!hopeless)
        return;
    shared->late = 0;
    shared->pause_until_ms = clock_monotonic_ns() / 1000000 + PAUSE_MS;
    redis_link_reset(shared->link, "it does not answer in time"); /* the ask goes with it */
}

static struct limit_ask *ask_create(
    struct limit_shared *shared, const struct limit_rules *rules, const struct limit_cost *cost)
{
    struct limit_ask *ask = mem_alloc(1, sizeof *ask + rules->count * sizeof *ask->items);
    ask->shared = shared;
    for (size_t i = 0; i < rules->count; i++) {
        if (rules->items[i].window != LIMIT_NOW)
            ask->items[ask->count++] = (struct ask_item){.rule = rules->items[i],
                .place = i,
                .amount = limit_amount_of(rules->items[i].what, cost)};
    }
    return ask;
}

static bool send_take(struct limit_ask *ask)
{
    struct command command = {0};
    put_keys(&command, ask->shared->take_sha, ask);
    for (size_t i = 0; i < ask->count; i++) {
        put_number(&command, limit_slot_ms(ask->items[i].rule.window));
        put_number(&command, ask->items[i].rule.most);
        put_number(&command, ask->items[i].amount);
    }
    return redis_link_send(ask->shared->link, command.count, command.words, on_reply, ask);
}

static bool may_be_asked(const struct limit_shared *shared)
{
    return shared->take_sha[0] && shared->settle_sha[0] &&
           clock_monotonic_ns() / 1000000 >= shared->pause_until_ms;
}

struct limit_ask *limit_shared_take(struct limit_shared *shared, const struct limit_rules *rules,
    const struct limit_cost *cost, limit_answer_fn *fn, void *context, bool *ret_away)
{
    const int64_t wait_ms = shared->options->wait_ms;
    struct timeval wait = {wait_ms / 1000, wait_ms % 1000 * 1000};
    struct limit_ask *ask = ask_create(shared, rules, cost);
    *ret_away = false;
    if (ask->count > 0 && may_be_asked(shared) && send_take(ask)) {
        ask->fn = fn;
        ask->context = context;
        evtimer_assign(&ask->timer, shared->base, on_too_late, ask);
        evtimer_add(&ask->timer, &wait);
        return ask;
    }
    *ret_away = ask->count > 0;
    free(ask);
    return NULL;
}

void limit_ask_abandon(struct limit_ask *ask)
{
    assert(ask->fn);
    event_del(&ask->timer);
    ask->fn = NULL;
}

void limit_ask_settle(struct limit_ask *ask, const struct limit_cost *cost)
{
    static const struct limit_cost nothing;
    struct command command = {0};
    put_keys(&command, ask->shared->settle_sha, ask);
    for (size_t i = 0; i < ask->count; i++) {
        put_number(&command, limit_slot_ms(ask->items[i].rule.window));
        put_number(&command, ask->items[i].slot);
        put_number(&command, ask->items[i].amount);
        put_number(&command, limit_amount_of(ask->items[i].rule.what, cost ? cost : &nothing));
    }
    redis_link_send(ask->shared->link, command.count, command.words, NULL, NULL);
    free(ask);
}
