/* What a Service has recorded of its requests, and said of them by another: of kinds.h. */
#pragma once

#include <stdint.h>

/* Another service that is asked the same afterwards: see docs/gateway-secondary.md. */
struct service_secondary {
    const char *route; /* NULL: nobody is asked */
    int64_t sample_micro, per_minute, concurrency, queue;
    int64_t body_bytes_max, bytes_max, keep_ms;
    struct {
        const char *url; /* NULL: verdicts are recorded and go nowhere */
        int64_t timeout_ms, retries;
    } post;
};
/* What is recorded of its requests: see docs/gateway-record.md. */
struct service_record {
    int64_t sample_micro; /* 0: nothing */
    int64_t body_bytes_max, bytes_max, keep_ms;
};
