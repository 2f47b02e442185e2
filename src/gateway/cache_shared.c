/* Answers in Redis: see cache_shared.h. Of a service there are two keys: a hash of the sealed
 * answers, with the sum of their bytes in the field "bytes", and a sorted set of when each ends.
 * Scripts change both, so that the sum is never below what is there. Their names are hashes with
 * the secret: gateways with other secrets meet nowhere, and nobody learns what was asked. */
#include "gateway/cache_shared.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "gateway/redis_link.h"
#include "gateway/worker.h"

#include <assert.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHA_BYTES = 64,
    KEY_BYTES = 64,
    FIELD_BYTES = 2 * CACHE_KEY_BYTES + 1,
    NUMBER_BYTES = 24,
    ASKS_MAX = 1024,          /* under way, also those that nobody waits for any more */
    KEPT_BYTES_MAX = 8 << 20, /* on their way */
    PAUSE_MS = 1000,          /* after it did not answer in time */
    LATE_MAX = 3,             /* so often in a row, and the connection is given up */
    REPLY_BYTES_MAX = 16 << 20,
};

/* KEYS: the hash, the set. ARGV: the field, the most bytes. */
static const char get_script[] =
    "local size = redis.call('HSTRLEN', KEYS[1], ARGV[1])\n"
    "local ends = redis.call('ZSCORE', KEYS[2], ARGV[1])\n"
    "if size == 0 or size > tonumber(ARGV[2]) or not ends then return {0} end\n"
    "local time = redis.call('TIME')\n"
    "local left = tonumber(ends) - time[1] * 1000 - math.floor(time[2] / 1000)\n"
    "if left <= 0 then return {0} end\n"
    "return {left, redis.call('HGET', KEYS[1], ARGV[1])}\n";

/* The same, then the value, its time and the most bytes of all. What ends first makes room; a
 * bounded number at once, since nothing else is answered meanwhile. An entry counts 200 bytes more
 * than its value. A hash without its set was left by an eviction: it begins anew. */
static const char keep_script[] =
    "local most = tonumber(ARGV[4])\n"
    "local size = #ARGV[2] + 200\n"
    "local time = redis.call('TIME')\n"
    "local now = time[1] * 1000 + math.floor(time[2] / 1000)\n"
    "local bytes = tonumber(redis.call('HGET', KEYS[1], 'bytes') or '0')\n"
    "local function drop(field)\n"
    "  local had = redis.call('HSTRLEN', KEYS[1], field)\n"
    "  redis.call('ZREM', KEYS[2], field)\n"
    "  if had > 0 then\n"
    "    redis.call('HDEL', KEYS[1], field)\n"
    "    bytes = bytes - had - 200\n"
    "  end\n"
    "end\n"
    "drop(ARGV[1])\n"
    "for i = 1, 64 do\n"
    "  local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')\n"
    "  if not first[1] then\n"
    "    redis.call('DEL', KEYS[1])\n"
    "    bytes = 0\n"
    "    break\n"
    "  end\n"
    "  if bytes + size <= most and tonumber(first[2]) > now then break end\n"
    "  drop(first[1])\n"
    "end\n"
    "local fits = bytes + size <= most\n"
    "if fits then\n"
    "  bytes = bytes + size\n"
    "  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])\n"
    "  redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3]), ARGV[1])\n"
    "end\n"
    "redis.call('HSET', KEYS[1], 'bytes', string.format('%.0f', bytes))\n"
    "local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')\n"
    "local ends = last[1] and string.format('%.0f', last[2] + 1000) or '1'\n"
    "redis.call('PEXPIREAT', KEYS[1], ends)\n"
    "redis.call('PEXPIREAT', KEYS[2], ends)\n"
    "return {fits and 1 or 0}\n";

struct cache_shared {
    const struct cache_shared_options *options;
    struct worker_figures *figures;
    struct event_base *base;
    struct redis_link *link;
    char get_sha[SHA_BYTES], keep_sha[SHA_BYTES]; /* "": not loaded yet */
    size_t asks, kept_bytes;
    int64_t pause_until_ms;
    int late; /* answers that did not come in time, in a row */
};

struct shared_ask {
    struct cache_shared *shared;
    struct cache_key key;
    cache_shared_fn *fn; /* NULL: nobody waits any more */
    void *context;
    struct event timer;
};

struct shared_keep {
    struct cache_shared *shared;
    size_t bytes;
};

static int64_t now_ms(void)
{
    return clock_monotonic_ns() / 1000000;
}

static void count(struct cache_shared *shared, enum figure figure)
{
    figure_add(shared->figures, figure, 1);
}

/* ---- the connection -------------------------------------------------------------------------- */

static void take_sha(
    struct cache_shared *shared, const struct redis_reply *reply, char sha[SHA_BYTES])
{
    if (reply->failed || !reply->text || reply->length >= SHA_BYTES) {
        redis_link_reset(shared->link, reply->text ? reply->text : "the connection was lost");
        return;
    }
    strcpy(sha, reply->text);
}

static void on_get_loaded(void *context, const struct redis_reply *reply)
{
    struct cache_shared *shared = context;
    take_sha(shared, reply, shared->get_sha);
}

static void on_keep_loaded(void *context, const struct redis_reply *reply)
{
    struct cache_shared *shared = context;
    take_sha(shared, reply, shared->keep_sha);
}

static void load_scripts(struct cache_shared *shared)
{
    const char *get[] = {"SCRIPT", "LOAD", get_script};
    const char *keep[] = {"SCRIPT", "LOAD", keep_script};
    shared->get_sha[0] = shared->keep_sha[0] = '\0';
    redis_link_send(shared->link, ARRAY_LEN(get), get, on_get_loaded, shared);
    redis_link_send(shared->link, ARRAY_LEN(keep), keep, on_keep_loaded, shared);
}

static void on_up(void *context)
{
    struct cache_shared *shared = context;
    shared->late = 0;
    load_scripts(shared);
}

/* It answered with an error: most likely it has forgotten the scripts. */
static void on_refusal(struct cache_shared *shared)
{
    if (shared->get_sha[0] && shared->keep_sha[0])
        load_scripts(shared);
}

struct cache_shared *cache_shared_open(struct redis_library *library, struct event_base *base,
    const struct cache_shared_options *options, struct worker_figures *figures)
{
    struct cache_shared *shared = mem_alloc(1, sizeof *shared);
    shared->options = options;
    shared->figures = figures;
    shared->base = base;
    shared->link = redis_link_open(library, base,
        &(struct redis_link_options){
            options->address, "the cache of several gateways", REPLY_BYTES_MAX, on_up},
        shared);
    return shared;
}

void cache_shared_close(struct cache_shared *shared)
{
    if (!shared)
        return;
    redis_link_close(shared->link);
    assert(shared->asks == 0 && shared->kept_bytes == 0);
    free(shared);
}

static bool may_be_used(const struct cache_shared *shared)
{
    return redis_link_is_up(shared->link) && shared->get_sha[0] && shared->keep_sha[0] &&
           now_ms() >= shared->pause_until_ms;
}

/* ---- words ----------------------------------------------------------------------------------- */

/* A command about one answer. */
struct command {
    const char *words[9];
    size_t lengths[9];
    int count;
    char hash[KEY_BYTES], set[KEY_BYTES], field[FIELD_BYTES];
};

static void put_word(struct command *command, const char *word, size_t length)
{
    assert((size_t)command->count < ARRAY_LEN(command->words));
    command->words[command->count] = word;
    command->lengths[command->count++] = length;
}

static void put_text(struct command *command, const char *text)
{
    put_word(command, text, strlen(text));
}

/* A hash of the bytes that nobody makes without the secret, in hex. */
static void name_of(const struct cache_shared *shared, const void *bytes, size_t length, char *ret,
    size_t hash_bytes)
{
    uint8_t hash[CACHE_KEY_BYTES];
    crypto_generichash(hash, hash_bytes, bytes, length, shared->options->secret.bytes,
        sizeof shared->options->secret.bytes);
    sodium_bin2hex(ret, 2 * hash_bytes + 1, hash, hash_bytes);
}

/* Both keys in one slot of a cluster: a script may only use such. */
static void begin_command(const struct cache_shared *shared, const char *sha, const char *service,
    const struct cache_key *key, struct command *ret)
{
    char shelf[2 * 16 + 1];
    *ret = (struct command){.count = 0};
    name_of(shared, service, strlen(service), shelf, 16);
    name_of(shared, key->bytes, sizeof key->bytes, ret->field, CACHE_KEY_BYTES);
    snprintf(ret->hash, sizeof ret->hash, "muster:cache:{%s}:answers", shelf);
    snprintf(ret->set, sizeof ret->set, "muster:cache:{%s}:ends", shelf);
    put_text(ret, "EVALSHA");
    put_text(ret, sha);
    put_text(ret, "2");
    put_text(ret, ret->hash);
    put_text(ret, ret->set);
    put_text(ret, ret->field);
}

static struct cache_moment moment_now(void)
{
    return (struct cache_moment){now_ms(), clock_wall_ms()};
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void tell(struct shared_ask *ask, struct cache_answer *answer, int64_t left_ms)
{
    cache_shared_fn *fn = ask->fn;
    event_del(&ask->timer);
    ask->fn = NULL;
    fn(ask->context, answer, left_ms);
}

/* NULL: it is a miss, whatever the server has there; counted. */
static struct cache_answer *read_answer(
    const struct shared_ask *ask, const struct redis_reply *reply)
{
    struct cache_shared *shared = ask->shared;
    const struct cache_moment moment = moment_now();
    if (reply->failed) {
        count(shared, FIGURE_CACHE_REDIS_AWAY);
        return NULL;
    }
    if (reply->count != 1 || (reply->numbers[0] <= 0 && reply->text)) {
        count(shared, FIGURE_CACHE_REDIS_INVALID);
        return NULL;
    }
    if (!reply->text) {
        count(shared, FIGURE_CACHE_REDIS_MISSES);
        return NULL;
    }
    struct cache_answer *answer =
        cache_value_open(&shared->options->secret, &ask->key, reply->text, reply->length, &moment);
    count(shared, answer ? FIGURE_CACHE_REDIS_HITS : FIGURE_CACHE_REDIS_INVALID);
    return answer;
}

static void on_got(void *context, const struct redis_reply *reply)
{
    struct shared_ask *ask = context;
    struct cache_shared *shared = ask->shared;
    shared->asks--;
    if (reply->failed && reply->text)
        on_refusal(shared);
    if (!reply->failed)
        shared->late = 0;
    if (ask->fn) {
        struct cache_answer *answer = read_answer(ask, reply);
        tell(ask, answer, answer ? reply->numbers[0] : 0);
    }
    free(ask);
}

static void on_too_late(evutil_socket_t fd, short what, void *context)
{
    struct shared_ask *ask = context;
    struct cache_shared *shared = ask->shared;
    (void)fd, (void)what;
    count(shared, FIGURE_CACHE_REDIS_AWAY);
    shared->pause_until_ms = now_ms() + PAUSE_MS;
    bool hopeless = ++shared->late >= LATE_MAX;
    tell(ask, NULL, 0);
    if (hopeless)
        redis_link_reset(shared->link, "it does not answer in time"); /* the ask goes with it */
}

bool cache_shared_ask(struct cache_shared *shared, const char *service, const struct cache_key *key,
    cache_shared_fn *fn, void *context)
{
    char most[NUMBER_BYTES];
    struct command command;
    const int64_t wait_ms = shared->options->wait_ms;
    struct timeval wait = {(time_t)(wait_ms / 1000), (suseconds_t)(wait_ms % 1000 * 1000)};
    if (!may_be_used(shared) || shared->asks >= ASKS_MAX) {
        count(shared, FIGURE_CACHE_REDIS_AWAY);
        return false;
    }
    begin_command(shared, shared->get_sha, service, key, &command);
    snprintf(most, sizeof most, "%d", CACHE_VALUE_BYTES_MAX);
    put_text(&command, most);
    struct shared_ask *ask = mem_alloc(1, sizeof *ask);
    *ask = (struct shared_ask){.shared = shared, .key = *key, .fn = fn, .context = context};
    if (!redis_link_send_sized(
            shared->link, command.count, command.words, command.lengths, on_got, ask)) {
        free(ask);
        return false;
    }
    shared->asks++;
    evtimer_assign(&ask->timer, shared->base, on_too_late, ask);
    evtimer_add(&ask->timer, &wait);
    return true;
}

/* ---- keeping --------------------------------------------------------------------------------- */

static void on_kept(void *context, const struct redis_reply *reply)
{
    struct shared_keep *keep = context;
    struct cache_shared *shared = keep->shared;
    bool kept = !reply->failed && reply->count == 1 && reply->numbers[0] == 1;
    shared->kept_bytes -= keep->bytes;
    count(shared, kept ? FIGURE_CACHE_REDIS_KEPT : FIGURE_CACHE_REDIS_DROPPED);
    if (reply->failed && reply->text)
        on_refusal(shared);
    free(keep);
}

static bool send_keep(
    struct cache_shared *shared, const struct command *command, const struct strbuf *value)
{
    struct shared_keep *keep = mem_alloc(1, sizeof *keep);
    *keep = (struct shared_keep){shared, value->length};
    if (!redis_link_send_sized(
            shared->link, command->count, command->words, command->lengths, on_kept, keep)) {
        free(keep);
        return false;
    }
    shared->kept_bytes += value->length;
    return true;
}

void cache_shared_keep(struct cache_shared *shared, const char *service,
    const struct cache_key *key, const struct cache_answer *answer, int64_t ttl_ms,
    int64_t bytes_max)
{
    SCOPED(strbuf_finish) struct strbuf value = {0};
    char ttl[NUMBER_BYTES], most[NUMBER_BYTES];
    const struct cache_moment moment = moment_now();
    struct command command;
    if (!may_be_used(shared) || shared->kept_bytes + answer->bytes > KEPT_BYTES_MAX ||
        !cache_value_seal(&shared->options->secret, key, answer, &moment, &value)) {
        count(shared, FIGURE_CACHE_REDIS_DROPPED);
        return;
    }
    begin_command(shared, shared->keep_sha, service, key, &command);
    snprintf(ttl, sizeof ttl, "%" PRId64, ttl_ms);
    snprintf(most, sizeof most, "%" PRId64, bytes_max);
    put_word(&command, value.text, value.length);
    put_text(&command, ttl);
    put_text(&command, most);
    if (!send_keep(shared, &command, &value))
        count(shared, FIGURE_CACHE_REDIS_DROPPED);
}
