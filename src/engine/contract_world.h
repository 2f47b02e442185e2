/* The engine that the contract is asked of, for tests: that of a pool whose manifest is named by
 * MUSTER_CONTRACT_POOL, or the local one. Runs the loop until something is reported, and remembers
 * every report.
 *
 * MUSTER_CONTRACT_FAULT names a command that does something to the site: `COMMAND api-stop`,
 * `api-start`, `api-hang`, `api-cut`, `api-late`, `cancel ID`, `preempt ID`, `node-down NODE`,
 * `node-up NODE`. It exits with 0, or with 77 when the site has no such fault.
 *
 * MUSTER_CONTRACT_CPU_MILLI is what a rank asks for where the site's nodes are small. */
#pragma once

#include "base/memory.h"
#include "engine/engine.h"

#include <event2/event.h>

struct contract;

/* Cmocka's set-up and tear-down: a contract with a data directory of its own; what runs is killed
 * and everything removed. */
int contract_set_up(void **state);
int contract_tear_down(void **state);

/* The engine, until it is dropped. */
struct engine *contract_engine(struct contract *contract);
/* Whether it is the engine of this machine. */
bool contract_is_local(const struct contract *contract);
/* The caller dies and comes back. */
void contract_drop_engine(struct contract *contract);
void contract_make_engine(struct contract *contract);
/* In a process of its own: makes the engine, starts the launch, runs the loop, and is killed after
 * so many microseconds. */
void contract_start_and_be_killed(
    struct contract *contract, const struct launch *launch, unsigned after_us);
/* The place of one rank on each of so many of the site's nodes. */
const struct launch_placement *contract_places(struct contract *contract, size_t count);

/* A launch of `sh -c script` with so many ranks, each on a node of its own where there are as many,
 * as attempt `number` of job `job`. It lives as long as the contract's next call of it. */
struct launch *contract_script(
    struct contract *contract, uint64_t job, uint32_t number, uint32_t ranks, const char *script);
uint64_t contract_attempt(uint64_t job, uint32_t number);
void contract_start(struct contract *contract, const struct launch *launch);
/* Runs the loop until a report of that kind came for the attempt. It fails the test when that
 * takes minutes: far longer than anything here, so not a timed assertion. */
const struct report *contract_wait(
    struct contract *contract, enum engine_report_kind kind, uint64_t attempt);
const struct attempt_end *contract_wait_end(struct contract *contract, uint64_t attempt);
/* Runs the loop until the attempt's log has the text. */
void contract_wait_log(struct contract *contract, uint64_t job, uint32_t number, const char *text);
size_t contract_count(
    const struct contract *contract, enum engine_report_kind kind, uint64_t attempt);
void contract_clear(struct contract *contract);
/* Runs the loop once, for at most 50 ms. */
void contract_turn(struct contract *contract);
/* The whole log as "RANK o|e TEXT" lines; the caller frees it. */
char *contract_log(struct contract *contract, uint64_t job, uint32_t number);
void contract_assert_log(
    struct contract *contract, uint64_t job, uint32_t number, const char *text);
void contract_assert_end(
    struct contract *contract, uint64_t attempt, enum engine_end_reason reason, int code);
/* Does something to the site; skips the test where that is not possible. */
void contract_fault(struct contract *contract, const char *fault, const char *argument);
