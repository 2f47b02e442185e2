/* One look at the clock for a turn of a loop: see clock.h. A file of its own, because fuzz targets
 * put clocks of theirs in the place of clock.c. */
#include "base/clock.h"

#include <assert.h>
#include <stdbool.h>

/* at_ns 0: not asked for yet. */
static _Thread_local struct {
    bool is;
    int64_t at_ns;
} held;

void clock_hold(void)
{
    assert(!held.is);
    held.is = true;
    held.at_ns = 0;
}

void clock_release(void)
{
    assert(held.is);
    held.is = false;
}

int64_t clock_held_ns(void)
{
    if (!held.is)
        return clock_monotonic_ns();
    if (held.at_ns == 0)
        held.at_ns = clock_monotonic_ns();
    return held.at_ns;
}
