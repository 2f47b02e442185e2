/* Records as OTLP (wire/otlp.h), with the names of the semantic conventions (http.*, gen_ai.*). */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct strbuf;
struct trace_record;

/* Begins a request of a process of that name; then records, then the end. */
void trace_otlp_begin(struct strbuf *out, const char *instance);
/* wall_ns: what is added to monotonic times. Returns how many spans it has. */
size_t trace_otlp_record(struct strbuf *out, const struct trace_record *record, int64_t wall_ns);
void trace_otlp_end(struct strbuf *out);
