/* What arrives on a link: see http_agent.h. Heads and bodies are parsed where they were read; the
 * strings of a head are terminated in place, as each is followed by a byte of syntax. */
#include "wire/http_agent_internal.h"

#include "wire/http_text.h"

#include <string.h>
#include <strings.h>

/* What became of a step: there may be more to do, bytes are missing, or the exchange is over. */
enum step { STEP_AGAIN, STEP_WAIT, STEP_ENDED };

/* ------- the head ------- */

/* Fields that are about this connection and not about the answer; Content-Length is told apart, as
 * the answer's length. */
#define ABOUT_CONNECTION                                                                           \
    (HTTP_NAME_BIT(HTTP_NAME_TE) | HTTP_NAME_BIT(HTTP_NAME_TRAILER) |                              \
        HTTP_NAME_BIT(HTTP_NAME_UPGRADE) | HTTP_NAME_BIT(HTTP_NAME_CONNECTION) |                   \
        HTTP_NAME_BIT(HTTP_NAME_KEEP_ALIVE) | HTTP_NAME_BIT(HTTP_NAME_CONTENT_LENGTH) |            \
        HTTP_NAME_BIT(HTTP_NAME_PROXY_CONNECTION) | HTTP_NAME_BIT(HTTP_NAME_TRANSFER_ENCODING))

/* A Connection field that names other fields, which then go no further (RFC 9110 7.6.1). */
static bool names_fields(const struct http_field *field)
{
    return field->known == HTTP_NAME_CONNECTION && strcasecmp(field->value, "close") != 0 &&
           strcasecmp(field->value, "keep-alive") != 0;
}

/* Drops those that some Connection field names. Answers that need it are rare. */
static size_t named_fields_drop(
    struct http_field *fields, size_t count, const struct http_head *head, const char *bytes)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        bool named = false;
        for (size_t j = 0; j < head->field_count && !named; j++) {
            const struct http_field_slice *slice = &head->fields[j];
            named = slice->known == HTTP_NAME_CONNECTION &&
                    http_list_has(bytes + slice->value.offset, slice->value.length, fields[i].name);
        }
        if (!named)
            fields[kept++] = fields[i];
    }
    return kept;
}

static size_t fields_make(struct http_field *fields, const struct http_head *head, char *bytes)
{
    size_t count = 0;
    bool naming = false;
    for (size_t i = 0; i < head->field_count; i++) {
        const struct http_field_slice *slice = &head->fields[i];
        struct http_field field = {bytes + slice->name.offset, bytes + slice->value.offset, true,
            slice->known, slice->name.length, slice->value.length};
        bytes[slice->name.offset + slice->name.length] = '\0';
        bytes[slice->value.offset + slice->value.length] = '\0';
        naming |= names_fields(&field);
        if (!http_name_among(field.known, ABOUT_CONNECTION))
            fields[count++] = field;
    }
    return naming ? named_fields_drop(fields, count, head, bytes) : count;
}

static int64_t announced_length(const struct http_head *head)
{
    switch (head->framing) {
    case HTTP_BODY_NONE: return 0;
    case HTTP_BODY_LENGTH: return (int64_t)head->content_length;
    default: return -1;
    }
}

static enum step answer_begin(struct http_link *link, char *bytes)
{
    struct http_agent *agent = link_agent(link);
    struct http_exchange *exchange = &link->exchange;
    const struct http_head *head = &link->parser.head;
    bool has_body = http_response_has_body(head, exchange->to_head);
    bool tells_length = has_body || exchange->to_head || head->status == 304;
    struct http_answer answer = {
        .status = head->status,
        .fields = agent->fields,
        .field_count = fields_make(agent->fields, head, bytes),
        .length = tells_length ? announced_length(head) : 0,
        .until_close = has_body && head->framing == HTTP_BODY_UNTIL_CLOSE,
    };
    http_body_init(&link->body, has_body ? head->framing : HTTP_BODY_NONE,
        has_body ? head->content_length : 0);
    exchange->answered = true;
    link->progress = true;
    exchange->callbacks.on_head(exchange, &answer, exchange->ctx);
    return link->state == LINK_DEAD ? STEP_ENDED : STEP_AGAIN;
}

/* The head has not come whole: what the shared array holds of it would be lost. */
static void slices_keep(struct http_link *link)
{
    if (link->parser.head.fields != link_agent(link)->slices)
        return;
    if (!link->slices)
        link->slices = mem_alloc(FIELDS_MAX, sizeof *link->slices);
    memcpy(link->slices, link_agent(link)->slices,
        link->parser.head.field_count * sizeof *link->slices);
    link->parser.head.fields = link->slices;
}

static enum step step_head(struct http_link *link, char *bytes, size_t length, size_t *ret_used)
{
    struct http_agent *agent = link_agent(link);
    struct http_exchange *exchange = &link->exchange;
    struct http_head_parser *parser = &link->parser;
    *ret_used = 0;
    if (length == 0)
        return STEP_WAIT;
    if (!link->parsing)
        http_head_parser_init(parser, HTTP_RESPONSE, &agent->head_limits, agent->slices);
    link->parsing = true;
    switch (http_head_memo_parse(agent->heads, &link->hint, parser, bytes, length)) {
    case HTTP_PARSE_MORE: slices_keep(link); return STEP_WAIT;
    case HTTP_PARSE_FAULT:
        link_fail(link, HTTP_FAILED_ANSWER, "the answer of %s is not HTTP: %s",
            link->endpoint->name, parser->fault->text);
        return STEP_ENDED;
    default: break;
    }
    link->parsing = false;
    *ret_used = parser->head.bytes;
    if (parser->head.status >= 200)
        return answer_begin(link, bytes);
    if (parser->head.status == 101 || ++exchange->informational > INFORMATIONAL_MAX) {
        link_fail(link, HTTP_FAILED_ANSWER, "%s sent %s", link->endpoint->name,
            parser->head.status == 101 ? "101 without being asked to upgrade"
                                       : "too many 1xx answers");
        return STEP_ENDED;
    }
    return STEP_AGAIN;
}

/* ------- the body ------- */

/* The answer is complete; surplus: bytes came after it, which nobody asked for. */
static enum step answer_complete(struct http_link *link, bool surplus)
{
    struct http_agent *agent = link_agent(link);
    struct http_exchange *exchange = &link->exchange;
    const struct http_endpoint *endpoint = link->endpoint;
    bool sent = exchange->request_complete && http_buffer_length(&link->output) == 0;
    bool good = link->parser.head.keep_alive && link->body.framing != HTTP_BODY_UNTIL_CLOSE &&
                !surplus && !link->input_ended && !link->write_broken && link_is_silent(link);
    bool keep =
        good && sent && !endpoint->released && endpoint->idle_count < agent->options.idle_max;
    /* on_end may begin another exchange on this link: nothing of this one is used after it. */
    if (keep) {
        exchange->open = false;
        agent->stats.exchanges--;
        link_park(link);
    } else {
        link_kill(link);
    }
    exchange->callbacks.on_end(exchange, exchange->ctx);
    return STEP_ENDED;
}

static enum step step_body(struct http_link *link, char *bytes, size_t length, size_t *ret_used)
{
    struct http_exchange *exchange = &link->exchange;
    size_t piece;
    *ret_used = 0;
    if (link->body.complete)
        return answer_complete(link, length > 0);
    enum http_parse_result result = http_body_next(&link->body, bytes, length, ret_used, &piece);
    if (result == HTTP_PARSE_FAULT) {
        link_fail(link, HTTP_FAILED_ANSWER, "the answer of %s is not HTTP: %s",
            link->endpoint->name, link->body.fault->text);
        return STEP_ENDED;
    }
    if (piece > 0)
        exchange->callbacks.on_piece(exchange, bytes + *ret_used - piece, piece, exchange->ctx);
    if (link->state == LINK_DEAD)
        return STEP_ENDED;
    return *ret_used > 0 || result == HTTP_PARSE_DONE ? STEP_AGAIN : STEP_WAIT;
}

bool answer_take(struct http_link *link, char *bytes, size_t length, size_t *ret_used)
{
    enum step step = STEP_AGAIN;
    size_t used = 0;
    while (step == STEP_AGAIN && !link->exchange.paused) {
        size_t taken;
        step = link->exchange.answered ? step_body(link, bytes + used, length - used, &taken)
                                       : step_head(link, bytes + used, length - used, &taken);
        used += taken;
    }
    *ret_used = used;
    return step == STEP_ENDED;
}

void answer_input_ended(struct http_link *link)
{
    struct http_exchange *exchange = &link->exchange;
    bool silent = http_buffer_length(&link->input) == 0 && exchange->informational == 0;
    if (exchange->answered && link->body.framing == HTTP_BODY_UNTIL_CLOSE && !link->input_broken)
        answer_complete(link, false);
    else if (exchange->answered)
        link_fail(link, HTTP_FAILED_CLOSED, "%s closed the connection in the middle of its answer",
            link->endpoint->name);
    else if (link->kept && silent)
        link_fail(link, HTTP_FAILED_STALE,
            "%s closed a kept connection before a byte of its answer", link->endpoint->name);
    else
        link_fail(link, HTTP_FAILED_CLOSED, "%s closed the connection before its answer",
            link->endpoint->name);
}
