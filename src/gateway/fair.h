/* Who is next at a service whose replicas are busy: priorities first, and within one priority each
 * tenant by its weight. Deterministic but for the order in which threads come; no clock.
 *
 * Fairness is start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996), in place of deficit round
 * robin (Shreedhar, Varghese, SIGCOMM 1995): both give a tenant with requests waiting its share
 * within one request of each other tenant, but a start tag is a number, which workers with queues
 * of their own can compare without a lock; a round would be one list for all. Tenants are counted
 * in 256 flows by hash: two that meet in one share its share.
 *
 * Shedding is by the wait that a request would have, when it comes: whoever would wait too long is
 * told so at once, and may go elsewhere, and what waits is still wanted when its turn comes. That
 * is how DAGOR (Zhou et al., SoCC 2018) sheds by priority and Breakwater (Cho et al., OSDI 2020) by
 * the delay of the queue. CoDel and adaptive LIFO (Maurer, Fail at Scale, ACM Queue 2015) decide
 * when a request leaves the queue: after the wait, which its client has paid for by then. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FAIR_LEVELS = 4, FAIR_WORKERS_MAX = 16 };

struct fair;

/* For that many workers. */
struct fair *fair_create(int workers);
void fair_destroy(struct fair *fair); /* NULL is fine; nobody may wait */

/* One that waits; in memory of its owner, who does not touch it meanwhile. */
struct fair_entry {
    uint64_t rank, order;
    size_t at;
    uint16_t flow;
    uint8_t level;
};

struct fair_ask {
    uint64_t tenant;      /* a hash */
    int64_t weight_micro; /* 1000 or more */
    int level;            /* 0: the lowest priority, to FAIR_LEVELS - 1 */
    int64_t length;       /* requests that may wait */
    int64_t wait_us;      /* the longest wait */
    int64_t mean_us;      /* that a request takes; 0: not known */
    int64_t capacity;     /* requests that may run at once, 1 or more */
};

enum fair_answer { FAIR_RUNS, FAIR_WAITS, FAIR_REFUSED };

/* A request comes to a worker. FAIR_REFUSED: *ret_wait_us is how long it would have waited. After
 * FAIR_WAITS, and after a request that ran is over, the caller gives turns: fair_next. */
enum fair_answer fair_enter(struct fair *fair, int worker, const struct fair_ask *ask,
    struct fair_entry *entry, int64_t *ret_wait_us);
/* One that ran is over. */
void fair_leave(struct fair *fair);
/* Gives a turn, if there is room: it is for the first of the worker that is returned. -1: nobody
 * waits, or all is busy. */
int fair_next(struct fair *fair, int64_t capacity);
/* On that worker: whose turn it is; it runs. NULL: nobody waits here any more; the turn is over and
 * is the caller's to give to others. */
struct fair_entry *fair_take(struct fair *fair, int worker);
/* On its worker: it no longer waits. */
void fair_cancel(struct fair *fair, int worker, struct fair_entry *entry);
/* How many wait, and how many run. */
size_t fair_waiting(const struct fair *fair);
size_t fair_running(const struct fair *fair);
