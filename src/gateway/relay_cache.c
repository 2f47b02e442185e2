/* The cache's part of a relay: see relay_cache.h.
 *
 * A ticket goes to the worker that the key belongs to (relay_cache_owner.c) and comes back with a
 * verdict; where both are the same worker nothing is sent, unless the ticket had to wait. The relay
 * may be gone by then: who holds the ticket at that moment frees it.
 *
 * What is kept: answers with status 200 that are complete (of a stream: up to its [DONE]), no
 * longer than entryBytesMax, and that say nothing against it (Vary, Set-Cookie, Content-Encoding,
 * Cache-Control). */
#include "gateway/relay_cache.h"

#include "base/clock.h"
#include "base/memory.h"
#include "gateway/answer.h"
#include "gateway/cache.h"
#include "gateway/cache_key.h"
#include "gateway/relay.h"
#include "gateway/relay_cache_internal.h"
#include "gateway/relay_guard.h"
#include "gateway/token_tail.h"
#include "wire/http.h"
#include "wire/http_text.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { FIELDS_MAX = 64, STREAM_END_BYTES = 64, TENANT_BYTES_MAX = 16384 };

static int64_t now_ms(void)
{
    return clock_held_ns() / 1000000;
}

/* ---- settling ---------------------------------------------------------------------------------
 */

/* The answer's reference goes along. */
static void settle(struct relay *relay, struct cache_answer *answer, bool gone)
{
    relay_cache_settle(relay->view, relay->cache, answer, gone);
}

void relay_cache_leave(struct relay *relay, bool gone)
{
    struct relay_cache *ticket = relay->cache;
    if (!ticket)
        return;
    relay->cache = NULL;
    if (ticket->away) {
        ticket->relay = NULL; /* the owner sends it back */
        return;
    }
    if (ticket->ticket.verdict == CACHE_LEAD && !ticket->settled)
        relay_cache_settle(relay->view, ticket, NULL, gone);
    relay_cache_free(ticket);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static bool header_has(const struct relay *relay, const char *name, const char *word)
{
    const char *value = http_request_header(relay->request, name);
    return value && http_list_has(value, strlen(value), word);
}

/* Those that may answer, and how they are guarded: a new version has answers of its own. The order
 * of replicas is that of the routes. */
static uint64_t versions_hash(const struct relay *relay)
{
    const struct table_service *service =
        route_table_service(relay->view->table, relay->terms->route);
    uint64_t hash = relay_guard_hash(relay);
    for (size_t i = 0; service && i < service->route->replica_count; i++) {
        const struct route_replica *replica = &service->route->replicas[i];
        bool asked = relay->target.version == BALANCE_ANY_VERSION ||
                     relay->target.version == replica->version;
        /* A sum over versions that are there: how many replicas have one does not count. */
        bool again = false;
        for (size_t k = 0; k < i && !again; k++)
            again = service->route->replicas[k].version == replica->version;
        if (asked && !again)
            hash += ((uint64_t)replica->version + 1) * 0x9e3779b97f4a7c15u;
    }
    return hash;
}

/* Keys of the same teams share answers, nobody else does. */
static void tenant_of(const struct route_key *key, struct strbuf *out)
{
    for (size_t i = 0; key && i < key->team_count && out->length < TENANT_BYTES_MAX; i++)
        strbuf_printf(out, "%s,", key->teams[i]);
    if (key && out->length >= TENANT_BYTES_MAX)
        strbuf_puts(out, key->id);
}

static int64_t json_length(const struct relay *relay)
{
    const char *text = http_request_header(relay->request, "Inference-Header-Content-Length");
    char *end;
    if (!text)
        return -1;
    long long length = strtoll(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' ? length : INT64_MAX;
}

static bool make_subject(struct relay *relay, struct cache_subject *ret)
{
    SCOPED(strbuf_finish) struct strbuf tenant = {0};
    const struct relay_body *body = &relay->body;
    tenant_of(relay_key(relay), &tenant);
    struct cache_request request = {.service = relay->terms->service,
        .tenant = strbuf_text(&tenant),
        .versions = versions_hash(relay),
        .protocol = relay->target.protocol,
        .verb = relay->target.verb,
        .body = strbuf_text(&body->held),
        .length = body->held.length,
        .json_length = json_length(relay),
        .sampled = relay->terms->options.cache.sampled};
    return cache_key_make(&request, ret);
}

static void on_waited_enough(evutil_socket_t fd, short what, void *context)
{
    struct relay *relay = context;
    (void)fd, (void)what;
    relay_cache_leave(relay, true);
    relay->cache_passed = true;
    relay_go(relay);
}

static void begin_waiting(struct relay *relay)
{
    int64_t ms = relay->terms->options.timeout_ms;
    struct timeval wait = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
    evtimer_assign(&relay->timer, relay->view->base, on_waited_enough, relay);
    evtimer_add(&relay->timer, &wait);
}

static struct relay_cache *make_ticket(struct relay *relay, const struct cache_subject *subject)
{
    const struct service_cache *options = &relay->terms->options.cache;
    struct post_office *office = relay->view->office;
    size_t length = strlen(relay->terms->service);
    uint64_t hash;
    memcpy(&hash, subject->key.bytes + 8, sizeof hash);
    struct relay_cache *ticket = mem_alloc(1, sizeof *ticket + length + 1);
    *ticket = (struct relay_cache){.ticket = {.key = subject->key,
                                       .waits = !subject->streams,
                                       .anew = header_has(relay, "Cache-Control", "no-cache")},
        .office = office,
        .asker = relay->view->number,
        .owner = post_owner(office, hash),
        .relay = relay,
        .with_others = options->shared,
        .ttl_ms = options->ttl_ms,
        .shared_bytes_max = options->shared_bytes_max,
        .entry_bytes_max = (size_t)options->entry_bytes_max,
        .shelf_bytes_max = (size_t)options->bytes_max / (size_t)post_office_workers(office)};
    memcpy(ticket->service, relay->terms->service, length + 1);
    return ticket;
}

/* Whether a ticket is under way or has its verdict. */
static bool ask(struct relay *relay)
{
    struct cache_subject subject;
    if (header_has(relay, "Cache-Control", "no-store") || !make_subject(relay, &subject))
        return false;
    struct relay_cache *ticket = make_ticket(relay, &subject);
    relay->cache = ticket;
    /* It may be back, and gone, once it is sent: it is away until it comes. */
    ticket->away = true;
    if (relay_cache_send(relay->view, ticket))
        ticket->away = false;
    return true;
}

/* ---- hits ------------------------------------------------------------------------------------ */

/* RFC 9110, 13.1.2: "*", or one of the list; weakly compared. */
static bool none_match(const struct relay *relay, const char *etag)
{
    const char *value = http_request_header(relay->request, "If-None-Match");
    return value && (!strcmp(value, "*") || strstr(value, etag));
}

static enum stage_result give_again(struct relay *relay)
{
    struct arena *arena = http_request_arena(relay->request);
    struct cache_answer *answer = relay->cache->ticket.answer;
    struct http_field fields[FIELDS_MAX + 4];
    size_t count = 0;
    for (; count < answer->field_count; count++)
        fields[count] =
            (struct http_field){answer->fields[count].name, answer->fields[count].value};
    fields[count++] = (struct http_field){"X-Request-ID", relay->id};
    fields[count++] = (struct http_field){"ETag", answer->etag};
    fields[count++] = (struct http_field){"X-Cache", "hit"};
    fields[count++] = (struct http_field){
        "Age", arena_printf(arena, "%" PRId64, (now_ms() - answer->made_ms) / 1000)};
    figure_add(
        relay->view->figures, relay->cache->shared ? FIGURE_CACHE_SHARED : FIGURE_CACHE_HITS, 1);
    relay->attempt.counts = relay_counts_of(relay, answer->version, answer->replica);
    relay->times.cached = true;
    relay->times.saved_us = answer->took_us;
    relay->times.saved_input = answer->input_tokens;
    relay->times.saved_output = answer->output_tokens;
    /* The ticket goes with the relay, which ends in here: the answer has to stay. */
    cache_answer_ref(answer);
    bool same = none_match(relay, answer->etag);
    answer_whole(relay, same ? 304 : answer->status, fields, count, same ? NULL : answer->body,
        same ? 0 : answer->body_length);
    cache_answer_unref(answer);
    return STAGE_ENDED;
}

/* ---- the stage ------------------------------------------------------------------------------- */

enum stage_result relay_stage_cache(struct relay *relay)
{
    /* What is on trial is asked each time, and its answers are given to nobody else. */
    if (relay->terms->options.cache.ttl_ms == 0 || relay->cache_passed ||
        relay->arm != ROUTE_ARM_MAIN)
        return STAGE_DONE;
    if (!relay->cache && (!relay->target.has_body || !relay->body.ended || !ask(relay)))
        return STAGE_DONE;
    struct relay_cache *ticket = relay->cache;
    if (ticket->away) {
        begin_waiting(relay);
        return STAGE_WAITS;
    }
    if (ticket->ticket.verdict == CACHE_HIT)
        return give_again(relay);
    figure_add(relay->view->figures, FIGURE_CACHE_MISSES, 1);
    if (ticket->ticket.verdict == CACHE_ALONE)
        relay_cache_leave(relay, false);
    relay->cache_passed = true;
    return STAGE_DONE;
}

/* ---- recording ------------------------------------------------------------------------------- */

static bool speaks_against(const struct http_field *field)
{
    static const char *const names[] = {"Vary", "Set-Cookie", "Content-Encoding"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!strcasecmp(field->name, names[i]))
            return true;
    }
    return !strcasecmp(field->name, "Cache-Control") &&
           (http_list_has(field->value, strlen(field->value), "no-store") ||
               http_list_has(field->value, strlen(field->value), "private"));
}

static bool may_keep(const struct relay *relay)
{
    const struct relay_answer *answer = &relay->answer;
    if (answer->status != 200 || answer->field_count > FIELDS_MAX ||
        answer->length > relay->terms->options.cache.entry_bytes_max)
        return false;
    for (size_t i = 0; i < answer->field_count; i++) {
        if (speaks_against(&answer->fields[i]))
            return false;
    }
    return true;
}

/* Strong: of this very answer. It is known before the answer is, so it is a name and no hash of it.
 */
static void make_etag(struct relay_cache *ticket)
{
    unsigned char random[8];
    char hex[2 * sizeof random + 1];
    randombytes_buf(random, sizeof random);
    sodium_bin2hex(hex, sizeof hex, random, sizeof random);
    char key[17];
    sodium_bin2hex(key, sizeof key, ticket->ticket.key.bytes, 8);
    snprintf(ticket->etag, sizeof ticket->etag, "\"%s-%s\"", key, hex);
}

static bool cache_begin(struct relay *relay)
{
    struct relay_cache *ticket = relay->cache;
    if (!ticket || ticket->settled)
        return false;
    if (!may_keep(relay)) {
        settle(relay, NULL, false);
        return false;
    }
    ticket->recording = true;
    make_etag(ticket);
    answer_add_field(relay, "ETag", ticket->etag);
    answer_add_field(relay, "X-Cache", "miss");
    return true;
}

static bool cache_piece(struct relay *relay, const char *bytes, size_t length)
{
    struct relay_cache *ticket = relay->cache;
    size_t most = (size_t)relay->terms->options.cache.entry_bytes_max;
    if (ticket->recording && ticket->body.length + length > most) {
        strbuf_finish(&ticket->body);
        settle(relay, NULL, false);
    }
    if (ticket->recording)
        strbuf_append(&ticket->body, bytes, length);
    return answer_pass(relay, ANSWER_CACHE, bytes, length);
}

/* A stream that broke off by itself ends like any other: only the last event tells. */
static bool is_complete(const struct relay *relay, const struct strbuf *body)
{
    if (!relay->answer.events)
        return true;
    const char *text = strbuf_text(body);
    size_t skip = body->length > STREAM_END_BYTES ? body->length - STREAM_END_BYTES : 0;
    return strstr(text + skip, "data: [DONE]") || strstr(text + skip, "data:[DONE]");
}

/* The fields that are the gateway's own are made anew for each asker. */
static bool is_own(const char *name)
{
    static const char *const names[] = {"X-Request-ID", "ETag", "X-Cache", "Age"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!strcasecmp(name, names[i]))
            return true;
    }
    return false;
}

static bool cache_end(struct relay *relay)
{
    struct relay_cache *ticket = relay->cache;
    const struct relay_answer *answer = &relay->answer;
    struct cache_field fields[FIELDS_MAX + 2];
    size_t count = 0;
    if (!ticket->recording)
        return true;
    if (!is_complete(relay, &ticket->body)) {
        settle(relay, NULL, false);
        return true;
    }
    for (size_t i = 0; i < answer->field_count && count < FIELDS_MAX; i++) {
        if (!is_own(answer->fields[i].name))
            fields[count++] = (struct cache_field){answer->fields[i].name, answer->fields[i].value};
    }
    struct cache_answer *kept = cache_answer_create(answer->status, fields, count, ticket->etag,
        strbuf_text(&ticket->body), ticket->body.length, now_ms());
    kept->replica = relay->attempt.replica;
    kept->version = relay->attempt.version;
    kept->took_us = (uint64_t)relay->times.model_ns / 1000;
    if (answer->tail)
        (void)token_tail_find(answer->tail, &kept->input_tokens, &kept->output_tokens);
    settle(relay, kept, false);
    return true;
}

const struct answer_filter relay_cache_filter = {cache_begin, cache_piece, cache_end, NULL};
