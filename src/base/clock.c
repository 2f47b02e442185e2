/* The clocks of the machine: see clock.h. */
#include "base/clock.h"

#include <assert.h>
#include <stdbool.h>
#include <time.h>

/* at_ns 0: not asked for yet. */
static _Thread_local struct {
    bool is;
    int64_t at_ns;
} held;

static int64_t read_clock_ns(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t clock_wall_ms(void)
{
    return read_clock_ns(CLOCK_REALTIME) / 1000000;
}

int64_t clock_boot_ms(void)
{
    return read_clock_ns(CLOCK_BOOTTIME) / 1000000;
}

int64_t clock_monotonic_ns(void)
{
    return read_clock_ns(CLOCK_MONOTONIC);
}

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
