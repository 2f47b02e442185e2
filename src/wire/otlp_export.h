/* Sending spans to a collector by OTLP over HTTP, from the loop that it is made on: nothing blocks,
 * and one request is under way at a time. What a collector says that it may get again it gets
 * again, with pauses that double, and then it is dropped; where spans wait meanwhile, and how many
 * may, is the caller's affair. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct event_base;
struct strbuf;
struct otlp_export;

struct otlp_export_options {
    struct event_base *base;
    /* http://HOST[:PORT], https://HOST[:PORT] or unix:/PATH, all with /v1/traces unless there is
     * another path behind the first two. */
    const char *address;
    const char *trust; /* PEM file: whom to trust over https; NULL: the system's CAs */
    int64_t period_ms; /* how often it looks for spans; 0: 1 s */
    /* Writes the next request, whole, and says how many spans it has; 0: there are none. */
    size_t (*gather)(void *context, struct strbuf *body);
    /* What became of spans. */
    void (*count)(void *context, size_t exported, size_t dropped);
    /* After otlp_export_end: all was sent, or it took too long. */
    void (*ended)(void *context);
    void *context;
};

/* ERR_INVALID: the address, and what it has to be; or the file of certificates. */
MUST_CHECK int otlp_export_create(
    const struct otlp_export_options *options, struct otlp_export **ret, struct error *err);
/* What is under way is given up, without a word. NULL is fine. */
void otlp_export_destroy(struct otlp_export *out);
/* Looks for spans now, unless some are being sent. */
void otlp_export_wake(struct otlp_export *out);
/* Sends what there is, within 2 s. Once. */
void otlp_export_end(struct otlp_export *out);
/* Checks an address without doing anything. */
MUST_CHECK int otlp_address_check(const char *address, struct error *err);
