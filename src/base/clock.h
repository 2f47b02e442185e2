/* The clocks of the machine. Only what lives on a loop or at an edge may include this (wire,
 * engine, registry, server, cli): the core and what it is made of are told what time it is. */
#pragma once

#include <stdint.h>
#include <time.h>

/* Milliseconds since the Unix epoch; may jump when somebody sets the clock. */
int64_t clock_wall_ms(void);
/* The same as the kernel last noted it, up to a tick (10 ms) ago: a fifth of the time to ask. */
static inline int64_t clock_wall_about_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Milliseconds of a clock that never goes back and does not stop in suspend (CLOCK_BOOTTIME). */
int64_t clock_boot_ms(void);
/* Nanoseconds of CLOCK_MONOTONIC, for measuring. */
int64_t clock_monotonic_ns(void);

/* The monotonic clock of a thread may be held while it serves one event, which is over in
 * microseconds: a request asks for the time a dozen times on its way, and each look costs as much
 * as a lookup in a table. Between clock_hold and clock_release clock_held_ns is when it was first
 * asked for since; otherwise it is clock_monotonic_ns. Holds do not nest. */
void clock_hold(void);
void clock_release(void);
int64_t clock_held_ns(void);
