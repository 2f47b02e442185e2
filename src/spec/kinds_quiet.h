/* The quiet hours of a Service: a part of kinds.h, which includes it behind the types that it uses.
 */
#pragma once

#include "spec/kinds_base.h"
#include "spec/kinds_scaling.h"

#include <stddef.h>
#include <stdint.h>

/* When other resources will do: see docs/service-quiet.md. */
struct service_quiet {
    struct {
        struct autoscale_hours *items; /* without `min` */
        size_t count;
    } hours;
    const char *utc_offset;
    int64_t utc_offset_minutes;
    struct resources resources;
    struct label_list env;
};
