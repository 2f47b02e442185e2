/* Asking for the usage of streams: see relay_usage.h. A body that is held is edited once, before
 * the first attempt; of one that is passed on in pieces each attempt is edited, since each begins
 * with its first byte. What usage_ask.h leaves as it is stays as it is, and so does the answer. */
#include "gateway/relay_usage.h"

#include "base/memory.h"
#include "gateway/answer.h"
#include "gateway/usage_ask.h"
#include "gateway/usage_strip.h"
#include "wire/http.h"
#include "wire/http_agent.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- the request ----------------------------------------------------------------------------- */

/* The responses API reports usage without being asked. */
static bool takes_options(const struct relay *relay)
{
    const char *verb = relay->target.verb;
    return relay->terms->options.usage == USAGE_ASK && relay->target.ask == ASK_FORWARD_BODY &&
           (!strcmp(verb, "/v1/chat/completions") || !strcmp(verb, "/v1/completions"));
}

enum stage_result relay_stage_usage(struct relay *relay)
{
    struct relay_body *body = &relay->body;
    if (!body->ended || relay->usage.asked || !takes_options(relay))
        return STAGE_DONE;
    relay->view->held_bytes -= body->held.length;
    relay->usage.asked = usage_ask_edit(&body->held);
    relay->view->held_bytes += body->held.length;
    return STAGE_DONE;
}

/* ---- in pieces ------------------------------------------------------------------------------- */

/* Whether the last bracket is in the piece and the edit belongs before it. An edit that belongs
 * further up comes too late. */
static bool edit_is_here(
    const struct usage_ask *ask, uint64_t before, size_t length, struct usage_edit *ret)
{
    return usage_ask_find(ask, ret) && ret->at == ask->scan.end && ret->removed == 0 &&
           ret->at >= before && ret->at < before + length;
}

static bool write_edited(struct relay *relay, const char *bytes, size_t length)
{
    struct http_exchange *exchange = relay->attempt.exchange;
    struct usage_ask *ask = relay->usage.ask;
    uint64_t before = ask->scan.offset;
    struct usage_edit edit;
    usage_ask_feed(ask, bytes, length);
    if (relay->usage.asked || !edit_is_here(ask, before, length, &edit))
        return http_exchange_write(exchange, bytes, length);
    size_t head = (size_t)(edit.at - before);
    relay->usage.asked = true;
    /* Each of them is sent or kept, whether more is welcome or not. */
    if (head > 0)
        (void)http_exchange_write(exchange, bytes, head);
    (void)http_exchange_write(exchange, edit.text, strlen(edit.text));
    return http_exchange_write(exchange, bytes + head, length - head);
}

static void fill_room(struct relay *relay)
{
    static const char spaces[USAGE_EDIT_BYTES_MAX] = {[0 ... USAGE_EDIT_BYTES_MAX - 1] = ' '};
    size_t used = relay->usage.asked ? strlen(USAGE_EDIT_WHOLE) : 0;
    if (used < sizeof spaces)
        (void)http_exchange_write(relay->attempt.exchange, spaces, sizeof spaces - used);
}

size_t relay_usage_room(struct relay *relay)
{
    if (!takes_options(relay))
        return 0;
    if (!relay->usage.ask)
        relay->usage.ask = mem_alloc(1, sizeof *relay->usage.ask);
    usage_ask_init(relay->usage.ask);
    relay->usage.asked = false;
    return USAGE_EDIT_BYTES_MAX;
}

bool relay_usage_write(struct relay *relay, const char *bytes, size_t length)
{
    if (relay->usage.ask && bytes)
        return write_edited(relay, bytes, length);
    if (bytes)
        return http_exchange_write(relay->attempt.exchange, bytes, length);
    if (relay->usage.ask)
        fill_room(relay);
    http_exchange_end_body(relay->attempt.exchange);
    return true;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static const char *field_of(const struct relay_answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->field_count; i++) {
        if (!strcasecmp(answer->fields[i].name, name))
            return answer->fields[i].value;
    }
    return NULL;
}

static bool usage_begin(struct relay *relay)
{
    struct relay_answer *answer = &relay->answer;
    if (!relay->usage.asked)
        return false;
    const char *type = field_of(answer, "Content-Type");
    if (!type || strncasecmp(type, "text/event-stream", 17) != 0 ||
        field_of(answer, "Content-Encoding"))
        return false;
    relay->usage.strip = mem_alloc(1, sizeof *relay->usage.strip);
    answer->length = -1;
    return true;
}

static bool usage_piece(struct relay *relay, const char *bytes, size_t length)
{
    const char *out;
    size_t count = usage_strip_piece(relay->usage.strip, bytes, length, &out);
    return count == 0 || answer_pass(relay, ANSWER_USAGE, out, count);
}

static bool usage_end(struct relay *relay)
{
    const char *out;
    size_t count = usage_strip_end(relay->usage.strip, &out);
    return count == 0 || answer_pass(relay, ANSWER_USAGE, out, count);
}

static void usage_finish(struct relay *relay)
{
    if (relay->usage.strip)
        usage_strip_finish(relay->usage.strip);
    free(relay->usage.strip);
    relay->usage.strip = NULL;
}

const struct answer_filter relay_usage_filter = {usage_begin, usage_piece, usage_end, usage_finish};

void relay_usage_free(struct relay *relay)
{
    free(relay->usage.ask);
    relay->usage.ask = NULL;
}
