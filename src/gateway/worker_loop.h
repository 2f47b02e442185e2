/* How a worker waits. A thread that sleeps until something comes is woken ten to twenty
 * microseconds late, most of all on a virtual machine, whose processor is given back meanwhile.
 * Where replicas or clients answer sooner than that, looking again is cheaper than sleeping;
 * everywhere else it would burn the processor. So the loop learns: it looks on while most of its
 * waits lately were over soon. While it does, it looks at its connections itself, and at the event
 * loop, which has all the rest, now and then: their events then cost the system's part alone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct event_base;

enum {
    LOOP_LOOK_NS = 30 * 1000,       /* looked on for, before the thread sleeps */
    LOOP_SLEPT_SOON_NS = 50 * 1000, /* a sleep that looking on would have spared: it has its waking,
                                     * and what was served first */
};

/* Whether waits were over soon: how many of the last, in 65,536ths, the newer the weightier. */
struct loop_waits {
    uint32_t soon;
};

/* Whether the next wait is worth looking on for. */
bool loop_waits_worth(const struct loop_waits *waits);
/* A wait is over, soon or not. */
void loop_waits_note(struct loop_waits *waits, bool soon);

/* What is looked at without the event loop. */
struct loop_sockets {
    /* Serves what came, and what that left to do; whether there was anything. */
    bool (*serve)(void *ctx);
    /* Whether it is served so from now on, or by the event loop. */
    void (*set_apart)(void *ctx, bool apart);
    void *ctx;
};

struct worker_loop {
    struct event_base *base;
    struct loop_sockets sockets;
    bool apart;
    bool alone;        /* the only processor: whoever is to answer needs it */
    uint64_t served;   /* events of connections and links so far */
    int64_t asleep_ns; /* since when; 0: it is not */
    struct loop_waits waits;
};

/* Knows nothing of waits yet; base outlives it. */
void worker_loop_init(
    struct worker_loop *loop, struct event_base *base, const struct loop_sockets *sockets);
/* Runs until event_base_loopbreak. */
void worker_loop_run(struct worker_loop *loop);
/* The loop woke up with something to serve. */
void worker_loop_woke(struct worker_loop *loop);

/* Something was served that came from a client or a replica. */
static inline void worker_loop_served(struct worker_loop *loop)
{
    loop->served++;
    if (loop->asleep_ns)
        worker_loop_woke(loop);
}
