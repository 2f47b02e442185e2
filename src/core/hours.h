/* Windows of the week: whether one holds, and when that may change next. Integers only; the moment
 * is the caller's. */
#pragma once

#include "spec/kinds.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the window holds at that moment, by a clock that is so many minutes ahead of UTC. */
bool hours_hold(const struct autoscale_hours *hours, int64_t offset_minutes, int64_t now_ms);

/* Whether a service is in its quiet hours; *ret_window (may be NULL): the first that holds. */
bool quiet_holds(const struct service_quiet *quiet, int64_t now_ms, size_t *ret_window);
/* The next moment after now at which that may change, within a day; INT64_MAX: never. */
int64_t quiet_next_ms(const struct service_quiet *quiet, int64_t now_ms);
