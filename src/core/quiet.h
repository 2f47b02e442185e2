/* Whether so little is asked of a service that cheaper replicas will do (`spec.quiet.load`): a rule
 * that is fed with what gateways count, and with the time. The same reports give the same answer.
 *
 * Rates are those of windows that follow each other, a quarter of `for` long and a minute at most.
 * It is quiet once every window for as long as `for` was below `below`, and until one is at or
 * above `above`, or as soon as so much has come that it will be. Reports that fail to come decide
 * nothing: what was seen before them does not count, and it stays quiet or not. */
#pragma once

#include "spec/kinds.h"

#include <stdbool.h>
#include <stdint.h>

enum { QUIET_STALE_MS = 15000 }; /* between two reports, at most */

/* Requests so far, by one gateway: another begins at 0. */
struct quiet_report {
    uint64_t source;
    int64_t at_ms;
    int64_t arrived;
};

/* What is remembered; zeroed: nothing. */
struct quiet_load {
    bool holds;
    bool begun;       /* there is a last report.. */
    bool is_measured; /* ..and a window that was complete */
    struct quiet_report last, window;
    int64_t calm_since_ms; /* 0: the last window was not below */
    int64_t rate_micro;    /* requests a second, of the last window */
    int64_t changed_ms;    /* when it last became quiet, or ceased to be; 0: never */
};

/* How long a window is. */
int64_t quiet_window_ms(const struct service_quiet_load *rule);
/* Takes a report. Whether it became quiet, or ceased to be. */
bool quiet_load_report(struct quiet_load *load, const struct service_quiet_load *rule,
    const struct quiet_report *report);
