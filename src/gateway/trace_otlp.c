/* Records as OTLP/JSON: see trace_otlp.h. As the mapping says: ids in hexadecimal, 64-bit numbers
 * as texts, enums as numbers. */
#include "gateway/trace_otlp.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "base/version.h"
#include "gateway/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* enum SpanKind and enum StatusCode of the protocol. */
enum { KIND_INTERNAL = 1, KIND_SERVER = 2, KIND_CLIENT = 3, STATUS_ERROR = 2 };
/* Of Span.flags: it is known whether the parent is remote, and it is. */
enum { FLAG_KNOWN = 0x100, FLAG_REMOTE = 0x200 };

/* ---- values ---------------------------------------------------------------------------------- */

static void put_id(struct strbuf *out, const char *member, const uint8_t *bytes, size_t count)
{
    strbuf_puts(out, member);
    for (size_t i = 0; i < count; i++)
        strbuf_printf(out, "%02x", bytes[i]);
    strbuf_puts(out, "\"");
}

static void begin_attribute(struct strbuf *out, const char *key)
{
    if (out->text[out->length - 1] != '[')
        strbuf_putc(out, ',');
    strbuf_printf(out, "{\"key\":\"%s\",\"value\":", key);
}

static void put_text(struct strbuf *out, const char *key, const char *text)
{
    begin_attribute(out, key);
    strbuf_puts(out, "{\"stringValue\":");
    strbuf_json(out, text);
    strbuf_puts(out, "}}");
}

static void put_number(struct strbuf *out, const char *key, int64_t number)
{
    begin_attribute(out, key);
    strbuf_printf(out, "{\"intValue\":\"%" PRId64 "\"}}", number);
}

static void put_flag(struct strbuf *out, const char *key, bool value)
{
    begin_attribute(out, key);
    strbuf_printf(out, "{\"boolValue\":%s}}", value ? "true" : "false");
}

static void put_status_code(struct strbuf *out, int status)
{
    if (status > 0)
        put_number(out, "http.response.status_code", status);
}

/* "127.0.0.1:51234" or "[::1]:51234", whose port stands apart. */
static void put_client(struct strbuf *out, const char *client)
{
    const char *port = strrchr(client, ':');
    bool brackets = *client == '[';
    char address[64];
    int length = port ? (int)(port - client) - 2 * brackets : (int)strlen(client);
    snprintf(address, sizeof address, "%.*s", length > 0 ? length : 0, client + brackets);
    put_text(out, "client.address", address);
    if (port)
        put_number(out, "client.port", strtol(port + 1, NULL, 10));
}

/* ---- spans ----------------------------------------------------------------------------------- */

struct span {
    const uint8_t *id, *parent; /* NULL: none */
    int kind;
    int64_t begin_ns, end_ns;
    unsigned flags;
    const char *state; /* of the trace; "": none */
};

/* Up to its attributes. Times that ran backwards would be refused. */
static void begin_span(struct strbuf *out, const struct trace_record *record,
    const struct span *span, int64_t wall_ns, const char *name)
{
    int64_t end = span->end_ns < span->begin_ns ? span->begin_ns : span->end_ns;
    put_id(out, "{\"traceId\":\"", record->context.trace, sizeof record->context.trace);
    put_id(out, ",\"spanId\":\"", span->id, 8);
    if (span->parent)
        put_id(out, ",\"parentSpanId\":\"", span->parent, 8);
    if (*record->state) {
        strbuf_puts(out, ",\"traceState\":");
        strbuf_json(out, record->state);
    }
    strbuf_printf(out, ",\"flags\":%u,\"name\":", span->flags | record->context.flags);
    strbuf_json(out, name);
    strbuf_printf(out,
        ",\"kind\":%d,\"startTimeUnixNano\":\"%" PRId64 "\",\"endTimeUnixNano\":\"%" PRId64
        "\",\"attributes\":[",
        span->kind, span->begin_ns + wall_ns, end + wall_ns);
}

/* Closes the attributes; failed: why, or NULL. */
static void end_span(struct strbuf *out, const char *failed)
{
    if (failed)
        put_text(out, "error.type", failed);
    strbuf_puts(out, "]");
    if (failed)
        strbuf_printf(out, ",\"status\":{\"code\":%d}", STATUS_ERROR);
    strbuf_puts(out, "}");
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
    const struct span span = {record->context.span, has_parent ? record->parent : NULL, KIND_SERVER,
        record->begin_ns, record->end_ns, FLAG_KNOWN | (has_parent ? FLAG_REMOTE : 0),
        record->state};
    snprintf(name, sizeof name, "%s%s%s", record->method, *record->route ? " " : "", record->route);
    begin_span(out, record, &span, wall_ns, name);
    put_text(out, "http.request.method", record->method);
    put_text(out, "url.path", record->path);
    put_text(out, "url.scheme", record->tls ? "https" : "http");
    if (*record->route)
        put_text(out, "http.route", record->route);
    put_status_code(out, record->status);
    put_client(out, record->client);
    if (*record->service)
        put_text(out, "muster.service", record->service);
    if (record->cache_hit)
        put_flag(out, "muster.cache.hit", true);
    if (record->cancelled)
        put_flag(out, "muster.cancelled", true);
    end_span(out, error_of(record->status, 500, record->broken, text));
}

static void write_model(struct strbuf *out, const struct trace_record *record,
    const struct trace_part *part, bool is_last)
{
    char text[16];
    if (*record->operation) {
        put_text(out, "gen_ai.operation.name", record->operation);
        put_text(out, "gen_ai.provider.name", "muster");
        put_text(out, "gen_ai.request.model", part->model);
    }
    if (*record->operation && is_last && record->tokens_known) {
        put_number(out, "gen_ai.usage.input_tokens", (int64_t)record->input_tokens);
        put_number(out, "gen_ai.usage.output_tokens", (int64_t)record->output_tokens);
    }
    put_text(out, "http.request.method", record->method);
    put_status_code(out, part->status);
    if (part->resend > 0)
        put_number(out, "http.request.resend_count", part->resend);
    put_number(out, "muster.replica", (int64_t)part->replica);
    put_number(out, "muster.model.version", part->version);
    if (part->batch_size > 0)
        put_number(out, "muster.batch.size", (int64_t)part->batch_size);
    end_span(out, error_of(part->status, 400, part->status == 0 && !record->cancelled, text));
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
    const struct span span = {part->span,
        part->inside < 0 ? record->context.span : record->parts[part->inside].span,
        model ? KIND_CLIENT : KIND_INTERNAL, part->begin_ns, part->end_ns, FLAG_KNOWN,
        record->state};
    snprintf(
        name, sizeof name, "%s %s", *record->operation ? record->operation : "infer", part->model);
    begin_span(out, record, &span, wall_ns, model ? name : names[part->kind]);
    if (model)
        write_model(out, record, part, is_last);
    else
        end_span(out, NULL);
}

size_t trace_otlp_record(
    struct strbuf *out, const struct trace_record *record, int64_t wall_ns, int first)
{
    if (!first)
        strbuf_putc(out, ',');
    write_request(out, record, wall_ns);
    for (size_t i = 0; i < record->part_count; i++) {
        strbuf_putc(out, ',');
        write_part(out, record, i, wall_ns);
    }
    return 1 + record->part_count;
}

void trace_otlp_begin(struct strbuf *out, const char *instance)
{
    strbuf_puts(out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    put_text(out, "service.name", "muster-gateway");
    put_text(out, "service.version", MUSTER_VERSION);
    put_text(out, "service.instance.id", instance);
    strbuf_puts(out, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"muster.gateway\"},\"spans\":[");
}

void trace_otlp_end(struct strbuf *out)
{
    strbuf_puts(out, "]}]}]}");
}
