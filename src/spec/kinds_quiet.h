/* The quiet hours of a Service: a part of kinds.h, which includes it behind the types that it uses.
 */
#pragma once

#include "spec/kinds_base.h"
#include "spec/kinds_scaling.h"

#include <stddef.h>
#include <stdint.h>

/* So few requests a second that it is quiet. */
struct service_quiet_load {
    int64_t below_micro; /* 0: the load decides nothing */
    int64_t above_micro; /* from there on it is no more */
    int64_t for_ms;
};

/* When other resources will do: see docs/service-quiet.md. */
struct service_quiet {
    struct {
        struct autoscale_hours *items; /* without `min` */
        size_t count;
    } hours;
    const char *utc_offset;
    int64_t utc_offset_minutes;
    struct service_quiet_load load;
    struct resources resources;
    struct label_list env;
};
