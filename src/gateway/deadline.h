/* Deadlines that clients ask for, as texts of header fields. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What is left, in milliseconds, as clients and replicas are told. */
#define DEADLINE_FIELD "X-Request-Timeout-Ms"

enum { DEADLINE_TEXT = 24 };
/* Longer ones are as good as none, and are cut to this. */
#define DEADLINE_MS_MAX (7LL * 86400000)

/* "1500": milliseconds, digits alone. False: it is none. */
bool deadline_parse_ms(const char *text, int64_t *ret_ms);
/* "1500m", "2S": as gRPC has it, at most eight digits and one of H M S m u n; rounded up. */
bool deadline_parse_grpc(const char *text, int64_t *ret_ms);
/* 0 or more, as digits within out. */
const char *deadline_text(int64_t ms, char out[DEADLINE_TEXT]);
/* What is left, for the next hop; 0 once it has passed. */
int64_t deadline_left_ms(int64_t deadline_ns, int64_t now_ns);
