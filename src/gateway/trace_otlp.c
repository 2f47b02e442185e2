/* Records as OTLP: see trace_otlp.h. */
#include "gateway/trace_otlp.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "gateway/trace.h"
#include "wire/otlp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_status_code(struct strbuf *out, int status)
{
    if (status > 0)
        otlp_put_number(out, "http.response.status_code", status);
}

/* "127.0.0.1:51234" or "[::1]:51234", whose port stands apart. */
static void put_client(struct strbuf *out, const char *client)
{
    const char *port = strrchr(client, ':');
    bool brackets = *client == '[';
    char address[64];
    int length = port ? (int)(port - client) - 2 * brackets : (int)strlen(client);
    snprintf(address, sizeof address, "%.*s", length > 0 ? length : 0, client + brackets);
    otlp_put_text(out, "client.address", address);
    if (port)
        otlp_put_number(out, "client.port", strtol(port + 1, NULL, 10));
}

/* ---- spans ----------------------------------------------------------------------------------- */

static void begin_span(struct strbuf *out, const struct trace_record *record,
    const struct otlp_span *own, int64_t wall_ns)
{
    struct otlp_span span = *own;
    span.trace = record->context.trace;
    span.state = record->state;
    span.flags |= OTLP_PARENT_KNOWN | record->context.flags;
    span.begin_ns += wall_ns;
    span.end_ns += wall_ns;
    otlp_span_begin(out, &span);
}

/* The conventions ask for few different texts: the status, or a word. */
static const char *error_of(int status, int least, bool broken, char text[16])
{
    if (broken)
        return "broken";
    if (status < least)
        return NULL;
    snprintf(text, 16, "%d", status);
    return text;
}

static void write_request(struct strbuf *out, const struct trace_record *record, int64_t wall_ns)
{
    static const uint8_t none[8];
    bool has_parent = memcmp(record->parent, none, sizeof none) != 0;
    char name[sizeof record->method + sizeof record->route], text[16];
    const struct otlp_span span = {.id = record->context.span,
        .parent = has_parent ? record->parent : NULL,
        .name = name,
        .kind = OTLP_SERVER,
        .flags = has_parent ? OTLP_PARENT_REMOTE : 0,
        .begin_ns = record->begin_ns,
        .end_ns = record->end_ns};
    snprintf(name, sizeof name, "%s%s%s", record->method, *record->route ? " " : "", record->route);
    begin_span(out, record, &span, wall_ns);
    otlp_put_text(out, "http.request.method", record->method);
    otlp_put_text(out, "url.path", record->path);
    otlp_put_text(out, "url.scheme", record->tls ? "https" : "http");
    if (*record->route)
        otlp_put_text(out, "http.route", record->route);
    put_status_code(out, record->status);
    put_client(out, record->client);
    if (*record->service)
        otlp_put_text(out, "muster.service", record->service);
    if (record->cache_hit)
        otlp_put_flag(out, "muster.cache.hit", true);
    if (record->cancelled)
        otlp_put_flag(out, "muster.cancelled", true);
    otlp_span_end(out, error_of(record->status, 500, record->broken, text));
}

static void write_model(struct strbuf *out, const struct trace_record *record,
    const struct trace_part *part, bool is_last)
{
    char text[16];
    if (*record->operation) {
        otlp_put_text(out, "gen_ai.operation.name", record->operation);
        otlp_put_text(out, "gen_ai.provider.name", "muster");
        otlp_put_text(out, "gen_ai.request.model", part->model);
    }
    if (*record->operation && is_last && record->tokens_known) {
        otlp_put_number(out, "gen_ai.usage.input_tokens", (int64_t)record->input_tokens);
        otlp_put_number(out, "gen_ai.usage.output_tokens", (int64_t)record->output_tokens);
    }
    otlp_put_text(out, "http.request.method", record->method);
    put_status_code(out, part->status);
    if (part->resend > 0)
        otlp_put_number(out, "http.request.resend_count", part->resend);
    otlp_put_number(out, "muster.replica", (int64_t)part->replica);
    otlp_put_number(out, "muster.model.version", part->version);
    if (part->batch_size > 0)
        otlp_put_number(out, "muster.batch.size", (int64_t)part->batch_size);
    otlp_span_end(out, error_of(part->status, 400, part->status == 0 && !record->cancelled, text));
}

static void write_part(
    struct strbuf *out, const struct trace_record *record, size_t i, int64_t wall_ns)
{
    static const char *const names[TRACE_KINDS] = {
        [TRACE_QUEUE] = "queue", [TRACE_CACHE] = "cache", [TRACE_BATCH] = "batch"};
    const struct trace_part *part = &record->parts[i];
    bool model = part->kind == TRACE_MODEL, is_last = true;
    char name[32 + sizeof part->model];
    for (size_t n = i + 1; n < record->part_count; n++)
        is_last = is_last && record->parts[n].kind != TRACE_MODEL;
    const struct otlp_span span = {.id = part->span,
        .parent = part->inside < 0 ? record->context.span : record->parts[part->inside].span,
        .name = model ? name : names[part->kind],
        .kind = model ? OTLP_CLIENT : OTLP_INTERNAL,
        .begin_ns = part->begin_ns,
        .end_ns = part->end_ns};
    snprintf(
        name, sizeof name, "%s %s", *record->operation ? record->operation : "infer", part->model);
    begin_span(out, record, &span, wall_ns);
    if (model)
        write_model(out, record, part, is_last);
    else
        otlp_span_end(out, NULL);
}

size_t trace_otlp_record(struct strbuf *out, const struct trace_record *record, int64_t wall_ns)
{
    write_request(out, record, wall_ns);
    for (size_t i = 0; i < record->part_count; i++)
        write_part(out, record, i, wall_ns);
    return 1 + record->part_count;
}

void trace_otlp_begin(struct strbuf *out, const char *instance)
{
    otlp_begin(out, "muster-gateway", "muster.gateway", instance);
}

void trace_otlp_end(struct strbuf *out)
{
    otlp_end(out);
}
