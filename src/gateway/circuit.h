/* Circuit breaker of a service, shared by all workers: after failures in a row it refuses at once
 * for a time that grows, then lets single requests through to see. Time comes in as a parameter.
 *
 * Any success closes it. Which failures count, and whether all replicas are failing, the caller
 * knows. */
#pragma once

#include "spec/kinds.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Zeroed: closed. */
struct circuit {
    atomic_int_fast64_t until_ms; /* monotonic: refuses until then; 0: closed */
    atomic_uint_fast32_t failures, level;
    atomic_bool probing; /* one was let through and has not come back */
    atomic_uint_fast64_t opened, refused;
};

enum circuit_way { CIRCUIT_CLOSED, CIRCUIT_PROBE, CIRCUIT_REFUSES };

/* Whether a request may pass. After CIRCUIT_PROBE exactly one of circuit_succeeded,
 * circuit_probe_failed and circuit_probe_gone is called for it. *ret_wait_ms: of a refusal. */
enum circuit_way circuit_enter(struct circuit *circuit, const struct service_circuit *options,
    int64_t now_ms, int64_t *ret_wait_ms);
/* A request was answered. probe: it was let through to see. */
void circuit_succeeded(struct circuit *circuit, bool probe);
/* A request failed. True: so many in a row did that the circuit should open, if all replicas are
 * failing. */
bool circuit_failed(struct circuit *circuit, const struct service_circuit *options);
/* Opens it, unless it is. Whether it was closed before. */
bool circuit_open(struct circuit *circuit, const struct service_circuit *options, int64_t now_ms);
/* The probe failed: twice as long as before. */
void circuit_probe_failed(
    struct circuit *circuit, const struct service_circuit *options, int64_t now_ms);
/* The probe's client went away before there was an answer: the next request is the probe. */
void circuit_probe_gone(struct circuit *circuit);
/* "closed", "open", "probing". */
const char *circuit_text(const struct circuit *circuit, int64_t now_ms);
