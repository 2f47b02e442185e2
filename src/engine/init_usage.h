/* What the processes of a sandbox used, as its process 1 sees it: by adding up /proc. */
#pragma once

#include "base/strbuf.h"
#include "engine/record.h"

#include <stdint.h>
#include <sys/resource.h>

struct usage_total {
    uint64_t cpu_ns;
    uint64_t memory_bytes; /* resident now; pages that processes share count for each */
    uint64_t read_bytes;
    uint64_t written_bytes;
};

/* Adds a process that was reaped, with the children it had waited for. */
void usage_add_ended(struct usage_total *total, const struct rusage *usage);
/* Adds every process there is but process 1. */
void usage_add_living(struct usage_total *total);
void usage_encode(struct strbuf *out, const struct usage_total *total);
/* Fields that are missing stay as they are. */
void usage_decode(const struct record *record, struct usage_total *ret);
