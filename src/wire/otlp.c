/* See otlp.h. As the protocol's mapping to JSON says: ids in hexadecimal, 64-bit numbers as texts,
 * enums as numbers. Where a comma belongs is told by what was written last. */
#include "wire/otlp.h"

#include "base/strbuf.h"
#include "base/version.h"

#include <inttypes.h>
#include <stddef.h>

enum { STATUS_ERROR = 2 };

static void put_comma(struct strbuf *out)
{
    if (out->text[out->length - 1] != '[')
        strbuf_putc(out, ',');
}

static void put_id(struct strbuf *out, const char *member, const uint8_t *bytes, size_t count)
{
    strbuf_puts(out, member);
    for (size_t i = 0; i < count; i++)
        strbuf_printf(out, "%02x", bytes[i]);
    strbuf_puts(out, "\"");
}

static void begin_attribute(struct strbuf *out, const char *key)
{
    put_comma(out);
    strbuf_printf(out, "{\"key\":\"%s\",\"value\":", key);
}

void otlp_put_text(struct strbuf *out, const char *key, const char *text)
{
    begin_attribute(out, key);
    strbuf_puts(out, "{\"stringValue\":");
    strbuf_json(out, text);
    strbuf_puts(out, "}}");
}

void otlp_put_number(struct strbuf *out, const char *key, int64_t number)
{
    begin_attribute(out, key);
    strbuf_printf(out, "{\"intValue\":\"%" PRId64 "\"}}", number);
}

void otlp_put_flag(struct strbuf *out, const char *key, bool value)
{
    begin_attribute(out, key);
    strbuf_printf(out, "{\"boolValue\":%s}}", value ? "true" : "false");
}

/* Times that ran backwards would be refused. */
void otlp_span_begin(struct strbuf *out, const struct otlp_span *span)
{
    int64_t end = span->end_ns < span->begin_ns ? span->begin_ns : span->end_ns;
    put_comma(out);
    put_id(out, "{\"traceId\":\"", span->trace, 16);
    put_id(out, ",\"spanId\":\"", span->id, 8);
    if (span->parent)
        put_id(out, ",\"parentSpanId\":\"", span->parent, 8);
    if (span->state && *span->state) {
        strbuf_puts(out, ",\"traceState\":");
        strbuf_json(out, span->state);
    }
    strbuf_printf(out, ",\"flags\":%u,\"name\":", span->flags);
    strbuf_json(out, span->name);
    strbuf_printf(out,
        ",\"kind\":%d,\"startTimeUnixNano\":\"%" PRId64 "\",\"endTimeUnixNano\":\"%" PRId64
        "\",\"attributes\":[",
        (int)span->kind, span->begin_ns, end);
}

void otlp_span_end(struct strbuf *out, const char *failed)
{
    if (failed)
        otlp_put_text(out, "error.type", failed);
    strbuf_puts(out, "]");
    if (failed)
        strbuf_printf(out, ",\"status\":{\"code\":%d}", STATUS_ERROR);
    strbuf_puts(out, "}");
}

void otlp_begin(struct strbuf *out, const char *program, const char *scope, const char *instance)
{
    strbuf_puts(out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    otlp_put_text(out, "service.name", program);
    otlp_put_text(out, "service.version", MUSTER_VERSION);
    otlp_put_text(out, "service.instance.id", instance);
    strbuf_printf(out, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"%s\"},\"spans\":[", scope);
}

void otlp_end(struct strbuf *out)
{
    strbuf_puts(out, "]}]}]}");
}
