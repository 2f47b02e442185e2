/* Secondary scoring in the way of a relay: ANSWER_SECONDARY. See docs/gateway-secondary.md. */
#pragma once

struct answer_filter;

/* Copies the request and its answer, and has another service asked once that has gone out. */
extern const struct answer_filter relay_secondary_filter;
