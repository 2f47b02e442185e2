/* The recording of a relay: ANSWER_RECORD. See docs/gateway-record.md. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct answer_filter;
struct record_entry;
struct relay;
struct worker_view;

/* Hands the recorder what the replica got and answered, of the requests that are drawn. */
extern const struct answer_filter relay_record_filter;

/* ---- also for secondary scoring ---------------------------------------------------------------
 */

/* Whether one of a part of all requests is drawn. */
bool relay_record_draw(struct worker_view *view, int64_t sample_micro);
/* An entry with the request in it and what is known of its answer, for bodies of at most
 * body_bytes_max, of which it may hold `copies`. NULL, counted: it cannot be recorded. */
struct record_entry *relay_record_start(
    struct relay *relay, int64_t body_bytes_max, int64_t copies);
/* Whether the client's own key stands in it. */
bool relay_record_has_key(const struct relay *relay, const struct record_entry *entry);
