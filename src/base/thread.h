/* Threads: how they are started, and what they ask of the system's scheduler. For the edges only,
 * as clock.h. */
#pragma once

#include <pthread.h>

/* Starts a thread that gets no signals, which are the main thread's. 0, or an errno. */
int thread_start(pthread_t *ret_thread, void *(*body)(void *), void *argument);

/* The calling thread serves others, who wait: once it is awake it comes before threads that are in
 * the middle of their time (3 ms and more, as a rule), by asking for less time at once (struct
 * sched_attr, EEVDF, since Linux 6.12; no right is needed). Its share of the processor stays what
 * it was. Where the system knows nothing of it, nothing happens. */
void thread_be_prompt(void);
/* The calling thread works in the background: waking it interrupts nobody (SCHED_BATCH). */
void thread_be_patient(void);
