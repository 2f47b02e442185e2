/* Amounts as people write them, and back: sizes, CPUs, durations, moments, prices.
 * All are integers inside; nothing here rounds through a floating-point number. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* "512Mi", "16Gi", "1.5G", "1048576": bytes, with decimal (k M G T P) or binary (Ki .. Pi) units.
 * 0 or -1 (ERR_INVALID: what was expected and what came). */
MUST_CHECK int quantity_parse_bytes(const char *text, int64_t *ret_bytes, struct error *err);
/* "2", "0.5", "250m": thousandths. For CPUs and for shares of accelerators. */
MUST_CHECK int quantity_parse_milli(const char *text, int64_t *ret_milli, struct error *err);
/* "2.50": millionths, up to six decimals. For prices and weights. */
MUST_CHECK int quantity_parse_micro(const char *text, int64_t *ret_micro, struct error *err);
/* "90s", "10m", "1h30m", "250ms", "2d", "0": milliseconds. The parts are added up. */
MUST_CHECK int quantity_parse_duration(const char *text, int64_t *ret_ms, struct error *err);
/* "2026-01-31T08:30:00Z", with an optional fraction of up to nine digits (cut to milliseconds) and
 * "+02:00" (RFC 3339): milliseconds since the epoch, years 1970 to 9999 in UTC. */
MUST_CHECK int quantity_parse_time(const char *text, int64_t *ret_ms, struct error *err);

/* Each writes a short text that parses back to the same value, and returns out. Values are what
 * the parser of the kind gives: 0 or more, times within years 1970 to 9999. */
enum { QUANTITY_TEXT = 48 };
char *quantity_bytes(int64_t bytes, char out[QUANTITY_TEXT]); /* "16Gi" */
char *quantity_milli(int64_t milli, char out[QUANTITY_TEXT]); /* "0.5" */
char *quantity_micro(int64_t micro, char out[QUANTITY_TEXT]); /* "2.5" */
char *quantity_duration(int64_t ms, char out[QUANTITY_TEXT]); /* "1h30m" */
char *quantity_time(int64_t ms, char out[QUANTITY_TEXT]);     /* "2026-01-31T08:30:00Z" */

/* For people, cut to what matters: "1.5 GiB", "3m12s", "2d1h". Not meant to be parsed. A negative
 * duration counts as 0. */
char *quantity_human_bytes(int64_t bytes, char out[QUANTITY_TEXT]);
char *quantity_human_duration(int64_t ms, char out[QUANTITY_TEXT]);
