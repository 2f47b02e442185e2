/* How a worker waits: see worker_loop.h. */
#include "gateway/worker_loop.h"

#include "base/clock.h"
#include "base/processors.h"

#include <event2/event.h>

enum {
    WHOLE = 65536,
    WORTH = WHOLE * 3 / 4, /* of the waits have to be over soon */
    WEIGHT = 32,           /* a wait is one in so many */
    /* Looks at the connections, WATCHER_TOLD_MAX each, before the event loop has its turn. */
    LOOKS_MAX = 4,
};

bool loop_waits_worth(const struct loop_waits *waits)
{
    return waits->soon >= WORTH;
}

void loop_waits_note(struct loop_waits *waits, bool soon)
{
    waits->soon += (soon ? WHOLE / WEIGHT : 0) - waits->soon / WEIGHT;
}

void worker_loop_init(
    struct worker_loop *loop, struct event_base *base, const struct loop_sockets *sockets)
{
    *loop =
        (struct worker_loop){.base = base, .sockets = *sockets, .alone = processors_at_work() < 2};
}

void worker_loop_woke(struct worker_loop *loop)
{
    loop_waits_note(&loop->waits, clock_monotonic_ns() - loop->asleep_ns <= LOOP_SLEPT_SOON_NS);
    loop->asleep_ns = 0;
}

/* False when the loop is to end. */
static bool turn(struct worker_loop *loop, int flags)
{
    return event_base_loop(loop->base, flags) >= 0 && !event_base_got_break(loop->base);
}

static void set_apart(struct worker_loop *loop, bool apart)
{
    if (loop->apart != apart)
        loop->sockets.set_apart(loop->sockets.ctx, apart);
    loop->apart = apart;
}

/* Serves the connections while there is something to serve, then what the event loop has; false
 * when the loop is to end. */
static bool serve_apart(struct worker_loop *loop)
{
    for (int i = 0; i < LOOKS_MAX && loop->sockets.serve(loop->sockets.ctx); i++)
        ;
    return turn(loop, EVLOOP_NONBLOCK);
}

/* Looks again and again until something is served, or it has been LOOP_LOOK_NS; false when the loop
 * is to end. */
static bool look_on(struct worker_loop *loop)
{
    const uint64_t before = loop->served;
    const int64_t until_ns = clock_monotonic_ns() + LOOP_LOOK_NS;
    bool goes_on = true;
    do
        goes_on = loop->sockets.serve(loop->sockets.ctx) || turn(loop, EVLOOP_NONBLOCK);
    while (goes_on && loop->served == before && clock_monotonic_ns() < until_ns);
    loop_waits_note(&loop->waits, loop->served != before);
    return goes_on;
}

/* Serves what is ready; sleeps until something is. False when the loop is to end. */
static bool sleep_on(struct worker_loop *loop)
{
    set_apart(loop, false);
    loop->asleep_ns = loop->alone ? 0 : clock_monotonic_ns();
    bool goes_on = turn(loop, EVLOOP_ONCE);
    loop->asleep_ns = 0;
    return goes_on;
}

void worker_loop_run(struct worker_loop *loop)
{
    bool goes_on = true;
    while (goes_on) {
        const uint64_t before = loop->served;
        if (loop_waits_worth(&loop->waits)) {
            set_apart(loop, true);
            goes_on = serve_apart(loop);
            if (goes_on && loop->served == before)
                goes_on = look_on(loop);
        }
        if (goes_on && loop->served == before)
            goes_on = sleep_on(loop);
    }
    set_apart(loop, false);
}
