/* What is known of the batches of a service: shared by its workers, shown by the main thread. A
 * part of struct service_state. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct batch_service;
struct service_terms;
struct strbuf;

enum { BATCH_SIZES = 12 };

/* Written by the worker that has the service's batches, but for `alone`. */
struct batch_figures {
    struct batch_service *service; /* of the worker that has it, and only looked at there */
    atomic_uint_fast64_t waiting;  /* now; above 0 others may not pass by */
    atomic_bool gathers; /* a request that comes while a replica is idle waits for others */
    atomic_uint_fast64_t calls, requests, rows; /* since the start, as the next */
    atomic_uint_fast64_t sizes[BATCH_SIZES];    /* calls with at most 2^i requests */
    atomic_uint_fast64_t wait_us, again;        /* again: requests of a call that failed */
    atomic_uint_fast64_t alone;                 /* could not be in a batch */
    atomic_uint_fast64_t call_ns, row_ns,
        depth; /* a and b as learned; calls at once at a replica */
};

/* A batch of so many requests and rows, which waited so long together, is on its way. */
void batch_figures_add(
    struct batch_figures *figures, uint64_t requests, uint64_t rows, uint64_t wait_us);
/* The items of "batching" of GET /status: services that have it, of all the terms there are. */
void batch_figures_write(const struct service_terms *first, struct strbuf *out);
/* The same in Prometheus' text form. */
void batch_figures_write_metrics(const struct service_terms *first, struct strbuf *out);
