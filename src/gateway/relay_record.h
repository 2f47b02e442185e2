/* The recording of a relay: ANSWER_RECORD. See docs/gateway-record.md. */
#pragma once

struct answer_filter;

/* Hands the recorder what the replica got and answered, of the requests that are drawn. */
extern const struct answer_filter relay_record_filter;
