/* Records as OTLP: an ExportTraceServiceRequest in the JSON encoding, whose names are those of the
 * semantic conventions (http.*, gen_ai.*). JSON and not protobuf: every collector that takes
 * OTLP/HTTP takes both, it needs no library and no generated code, what is sent can be read, and
 * its length matters little away from the path of requests. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct strbuf;
struct trace_record;

/* Begins a request of a process of that name; then records, then the end. */
void trace_otlp_begin(struct strbuf *out, const char *instance);
/* first: no record was written before. wall_ns: what is added to monotonic times. Returns how many
 * spans it has. */
size_t trace_otlp_record(
    struct strbuf *out, const struct trace_record *record, int64_t wall_ns, int first);
void trace_otlp_end(struct strbuf *out);
