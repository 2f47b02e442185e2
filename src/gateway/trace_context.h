/* Trace context (W3C Recommendation "Trace Context"): traceparent and tracestate as they stand in
 * requests. Strict: what is not as the recommendation says is not passed on, and a trace begins
 * anew. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TRACE_PARENT_TEXT = 56, /* with its end */
    TRACE_STATE_TEXT = 513, /* the same; a longer tracestate is not passed on */
    TRACE_STATE_MEMBERS = 32,
    TRACE_SAMPLED = 1,
    TRACE_FLAGS = 3, /* sampled, and that the trace's id is random: no others are known */
};

struct trace_context {
    uint8_t trace[16], span[8];
    uint8_t flags;
};

/* Reads "00-<32 hex>-<16 hex>-<2 hex>", in lower case; ids that are all zeros are none. Of a later
 * version what the first had is read. *ret is untouched when it is false. */
bool trace_parent_read(const char *text, struct trace_context *ret);
/* As version 00. */
void trace_parent_write(const struct trace_context *context, char out[TRACE_PARENT_TEXT]);
/* Whether it is a list of at most 32 members "key=value" with different keys, none too long. */
bool trace_state_valid(const char *text);
/* Whether a trace that begins here is recorded: of a million so many, told by the trace's id alone,
 * so that everybody with the same ratio decides alike. */
bool trace_sampled(const struct trace_context *context, int64_t per_million);
