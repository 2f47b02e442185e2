/* The trace of a request: see relay_trace.h. Who sent a context decides whether it is recorded; the
 * gateway decides for traces that begin here. */
#include "gateway/relay_trace.h"

#include "base/memory.h"
#include "base/prng.h"
#include "gateway/relay.h"
#include "wire/http.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Of the worker's numbers, which nobody knows the beginning of. Zeros are no id. */
static void new_id(struct relay *relay, uint8_t *id, size_t count)
{
    for (size_t i = 0; i < count; i += sizeof(uint64_t)) {
        uint64_t number = prng_next(&relay->view->names);
        memcpy(id + i, &number, sizeof number);
    }
    id[count - 1] |= id[count - 1] == 0;
}

/* ---- the context of the request -------------------------------------------------------------- */

/* The one field of that name; NULL: there is none, or several, of which none can be believed. */
static const char *only_field(const struct http_request *request, const char *name)
{
    struct http_field field;
    const char *found = NULL;
    for (size_t i = 0; http_request_header_at(request, i, &field); i++) {
        if (strcasecmp(field.name, name) != 0)
            continue;
        if (found)
            return NULL;
        found = field.value;
    }
    return found;
}

/* Several are one list, in their order. */
static const char *state_of(struct relay *relay)
{
    char *joined = arena_alloc(http_request_arena(relay->request), TRACE_STATE_TEXT, 1);
    struct http_field field;
    size_t length = 0;
    for (size_t i = 0; http_request_header_at(relay->request, i, &field); i++) {
        if (strcasecmp(field.name, "tracestate") != 0)
            continue;
        int wrote = snprintf(
            joined + length, TRACE_STATE_TEXT - length, "%s%s", length ? "," : "", field.value);
        length += (size_t)wrote;
        if (length >= TRACE_STATE_TEXT)
            return NULL;
    }
    return length > 0 && trace_state_valid(joined) ? joined : NULL;
}

static void begin_record(struct relay *relay, const uint8_t *parent)
{
    struct trace_record *record =
        arena_alloc(http_request_arena(relay->request), 1, sizeof *record);
    record->context = relay->trace->context;
    record->begin_ns = relay->began_ns;
    if (parent)
        memcpy(record->parent, parent, sizeof record->parent);
    relay->trace->record = record;
}

void relay_trace_begin(struct relay *relay)
{
    struct relay_trace *trace = arena_alloc(http_request_arena(relay->request), 1, sizeof *trace);
    const char *parent = only_field(relay->request, "traceparent");
    struct trace_context *context = &trace->context;
    uint8_t remote[8];
    relay->trace = trace;
    bool has_parent = parent && trace_parent_read(parent, context);
    if (has_parent) {
        memcpy(remote, context->span, sizeof remote);
        trace->state = state_of(relay);
    } else {
        new_id(relay, context->trace, sizeof context->trace);
        context->flags = TRACE_FLAGS & ~TRACE_SAMPLED;
        if (trace_sampled(context, tracer_ratio(relay->view->tracer)))
            context->flags |= TRACE_SAMPLED;
    }
    new_id(relay, context->span, sizeof context->span);
    trace->attempt = *context;
    if (context->flags & TRACE_SAMPLED)
        begin_record(relay, has_parent ? remote : NULL);
}

/* ---- for the replica ------------------------------------------------------------------------- */

bool relay_trace_replaces(const char *name)
{
    return (name[0] == 't' || name[0] == 'T') &&
           (!strcasecmp(name, "traceparent") || !strcasecmp(name, "tracestate"));
}

size_t relay_trace_fields(struct relay *relay, struct http_field *fields)
{
    struct relay_trace *trace = relay->trace;
    size_t count = 0;
    trace_parent_write(&trace->attempt, trace->parent);
    fields[count++] = (struct http_field){"traceparent", trace->parent};
    if (trace->state)
        fields[count++] = (struct http_field){"tracestate", trace->state};
    return count;
}

/* ---- parts ----------------------------------------------------------------------------------- */

static void copy(char *out, size_t room, const char *text)
{
    size_t length = strnlen(text, room - 1);
    while (text[length] && length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
        length--;
    memcpy(out, text, length);
    out[length] = '\0';
}

/* Its place; -1: there is no room, and it is left out. */
static int add_part(
    struct relay *relay, enum trace_kind kind, const uint8_t *span, int64_t begin_ns)
{
    struct trace_record *record = relay->trace->record;
    if (record->part_count == TRACE_PARTS_MAX)
        return -1;
    struct trace_part *part = &record->parts[record->part_count];
    *part = (struct trace_part){.kind = kind, .inside = -1, .begin_ns = begin_ns};
    if (span)
        memcpy(part->span, span, sizeof part->span);
    else
        new_id(relay, part->span, sizeof part->span);
    return (int)record->part_count++;
}

void relay_trace_waited(struct relay *relay, enum relay_wait what, int64_t begin_ns, int64_t end_ns)
{
    static const enum trace_kind kinds[RELAY_WAITS] = {
        [WAIT_QUEUE] = TRACE_QUEUE, [WAIT_CACHE] = TRACE_CACHE, [WAIT_BATCH] = TRACE_BATCH};
    if (!relay->trace->record)
        return;
    int place = add_part(relay, kinds[what], NULL, begin_ns);
    if (place >= 0)
        relay->trace->record->parts[place].end_ns = end_ns;
}

void relay_trace_attempt(struct relay *relay, int64_t begin_ns)
{
    struct relay_trace *trace = relay->trace;
    new_id(relay, trace->attempt.span, sizeof trace->attempt.span);
    if (!trace->record)
        return;
    relay->attempt.part = 1 + add_part(relay, TRACE_MODEL, trace->attempt.span, begin_ns);
    if (relay->attempt.part == 0)
        return;
    struct trace_part *part = &trace->record->parts[relay->attempt.part - 1];
    copy(part->model, sizeof part->model, relay->terms->route);
    part->replica = relay->attempt.replica;
    part->version = relay->attempt.version;
    part->resend = relay->retries;
    part->end_ns = begin_ns;
}

void relay_trace_attempt_over(struct relay *relay, int64_t end_ns, int status)
{
    struct trace_record *record = relay->trace->record;
    if (!record || relay->attempt.part == 0)
        return;
    struct trace_part *part = &record->parts[relay->attempt.part - 1];
    part->end_ns = end_ns;
    part->status = status;
    relay->attempt.part = 0;
}

void relay_trace_batch_begin(struct relay *relay, char parent[TRACE_PARENT_TEXT])
{
    new_id(relay, relay->trace->attempt.span, sizeof relay->trace->attempt.span);
    trace_parent_write(&relay->trace->attempt, parent);
}

/* Inside the batch's span, which ended just now. */
void relay_trace_batch_over(
    struct relay *relay, int64_t begin_ns, int64_t end_ns, int status, uint64_t batch_size)
{
    struct relay_trace *trace = relay->trace;
    if (!trace->record)
        return;
    int batch = (int)trace->record->part_count - 1;
    int place = add_part(relay, TRACE_MODEL, trace->attempt.span, begin_ns);
    if (place < 0)
        return;
    struct trace_part *part = &trace->record->parts[place];
    part->inside = batch >= 0 && trace->record->parts[batch].kind == TRACE_BATCH ? batch : -1;
    part->end_ns = end_ns;
    part->status = status;
    part->batch_size = batch_size;
    copy(part->model, sizeof part->model, relay->terms->route);
    part->replica = relay->attempt.replica;
    part->version = relay->attempt.version;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* The words of the conventions for what the OpenAI API does. */
static const char *operation_of(const char *verb)
{
    static const char *const words[][2] = {{"/v1/chat/completions", "chat"},
        {"/v1/completions", "text_completion"}, {"/v1/embeddings", "embeddings"},
        {"/v1/responses", "chat"}};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!strcmp(words[i][0], verb))
            return words[i][1];
    }
    return "";
}

static const char *method_of(const char *method)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (!strcmp(known[i], method))
            return method;
    }
    return "_OTHER";
}

static void set_route(const struct relay *relay, struct trace_record *record)
{
    const char *verb = relay->target.verb ? relay->target.verb : "";
    if (relay->target.ask == ASK_FORWARD_BODY)
        copy(record->route, sizeof record->route, verb);
    else if (relay->target.ask == ASK_FORWARD_PATH && relay->target.route[0])
        snprintf(record->route, sizeof record->route, "/v2/models/{model}%.40s", verb);
}

static void set_about(const struct relay *relay, struct trace_record *record)
{
    const struct http_peer *peer = http_request_peer(relay->request);
    copy(record->method, sizeof record->method, method_of(http_request_method(relay->request)));
    copy(record->path, sizeof record->path, http_request_path(relay->request));
    copy(record->client, sizeof record->client, peer->address);
    record->tls = peer->is_tls;
    set_route(relay, record);
    if (relay->trace->state)
        copy(record->state, sizeof record->state, relay->trace->state);
    if (!relay->terms)
        return;
    copy(record->service, sizeof record->service, relay->terms->service);
    if (relay->target.protocol == PROTOCOL_OPENAI && relay->target.verb)
        copy(record->operation, sizeof record->operation, operation_of(relay->target.verb));
}

/* Health checks are asked all the time and are nobody's request. */
static bool is_of_interest(const struct relay *relay)
{
    return relay->terms || relay->target.ask > ASK_READY || relay->answer.status == 404;
}

void relay_trace_end(
    struct relay *relay, enum relay_end end, int64_t now_ns, const struct relay_tokens *tokens)
{
    struct trace_record *record = relay->trace->record;
    if (!record || !is_of_interest(relay))
        return;
    set_about(relay, record);
    record->end_ns = now_ns;
    record->status = relay->answer.status;
    record->broken = end == RELAY_BROKEN;
    record->cancelled = end == RELAY_CANCELLED;
    record->cache_hit = relay->times.cached;
    record->tokens_known = tokens->known;
    record->input_tokens = tokens->input;
    record->output_tokens = tokens->output;
    tracer_push(relay->view->tracer, relay->view->number, record);
    relay->trace->record = NULL;
}
