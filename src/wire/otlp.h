/* Spans as OTLP: an ExportTraceServiceRequest in the JSON encoding. JSON and not protobuf: every
 * collector that takes OTLP/HTTP takes both, it needs no library and no generated code, what is
 * sent can be read, and its length matters little away from the path of requests. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct strbuf;

/* enum SpanKind of the protocol. */
enum otlp_kind { OTLP_INTERNAL = 1, OTLP_SERVER = 2, OTLP_CLIENT = 3 };
/* Of Span.flags, beside those of the trace: it is known whether the parent is remote, and it is. */
enum { OTLP_PARENT_KNOWN = 0x100, OTLP_PARENT_REMOTE = 0x200 };

struct otlp_span {
    const uint8_t *trace;     /* 16 bytes */
    const uint8_t *id;        /* 8 bytes */
    const uint8_t *parent;    /* the same; NULL: none */
    const char *state, *name; /* state: of the trace; NULL or "": none */
    enum otlp_kind kind;
    unsigned flags;
    int64_t begin_ns, end_ns; /* of the wall clock; an end before its begin is taken for it */
};

/* Begins a request of a program of that name; then spans, then the end. */
void otlp_begin(struct strbuf *out, const char *program, const char *scope, const char *instance);
void otlp_end(struct strbuf *out);

/* A span up to its attributes; these; their end. */
void otlp_span_begin(struct strbuf *out, const struct otlp_span *span);
void otlp_put_text(struct strbuf *out, const char *key, const char *text);
void otlp_put_number(struct strbuf *out, const char *key, int64_t number);
void otlp_put_flag(struct strbuf *out, const char *key, bool value);
/* failed: why, one of few texts, and the span's status is that of an error; or NULL. */
void otlp_span_end(struct strbuf *out, const char *failed);
