/* What the core's tests share: a core with a table of stored rows beside it. Every tick stores the
 * changes, checks the invariants, loads the stored rows into a fresh core and compares digests, so
 * each test is a test of loading as well. */
#pragma once

#include "base/vec.h"
#include "core/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants those four first. */
#include <cmocka.h>
#include <string.h>

struct stored_row {
    enum row_kind kind;
    uint64_t id;
    bool live;
    void *bytes;
};

struct world {
    struct core *core;
    struct core_options options; /* of every core that is loaded; see world_begin */
    int64_t now_ms;
    VEC(struct stored_row) rows;
    VEC(struct core_decision) decisions; /* of the last tick */
};

#define GIB       ((int64_t)1 << 30)
#define MINUTE_MS ((int64_t)60000)
#define HOUR_MS   ((int64_t)3600000)
#define START_MS  ((int64_t)1700000000000)

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int world_setup(void **state);
int world_teardown(void **state);
/* A new core with these options; before anything was done. */
void world_begin(struct world *world, const struct core_options *options);

/* Time passes by ms, then core_schedule, then everything is stored and compared. */
void world_tick(struct world *world, int64_t ms);
/* Replaces the core by one loaded from what is stored. */
void world_reload(struct world *world);

/* Pools and teams: NULL or 0 where it does not matter. */
struct node node_make(const char *name, int64_t cpus, int64_t gib, int64_t devices);
void world_pool(struct world *world, const char *name, struct node *nodes, size_t count);
struct team team_make(const char *name, const char *parent);
void world_team(struct world *world, const char *name);
void world_team_quota(struct world *world, const char *name, const char *parent,
    const char *resource, int64_t guarantee, int64_t limit);

/* A job of one rank that asks for CPUs, a GiB for each, and whole devices of type "gpu". */
struct job job_make(const char *team, const char *name, int64_t cpus, int64_t devices);
uint64_t world_submit(struct world *world, const struct job *job);
/* The state that job is in now, JOB_SUCCEEDED and so on for ended ones. */
int32_t world_state(struct world *world, uint64_t job);
/* The row as it was stored last, live or retired. */
const void *world_row(struct world *world, enum row_kind kind, uint64_t id);
const struct job_row *world_job(struct world *world, uint64_t id);
/* Its engine says: submitted and started. */
void world_start(struct world *world, uint64_t job);
/* Its engine says: ended. */
void world_end(struct world *world, uint64_t job, enum end_reason reason);
/* Its site ends the job's attempt at that moment. */
void world_site_end(struct world *world, uint64_t job, int64_t at_ms);
void world_end_complete(struct world *world, uint64_t job, bool complete);
void world_checkpoint(struct world *world, uint64_t job, int64_t at_ms);
/* The name of the node that rank 0 of the job is on, "" for none. */
const char *world_node_of(struct world *world, uint64_t job);
/* Decisions of a kind in the last tick. */
size_t world_decided(struct world *world, enum decision_kind kind);
/* How many rows of a kind were ever stored; a history row's id by its order. */
size_t world_row_count(struct world *world, enum row_kind kind);
const void *world_row_at(struct world *world, enum row_kind kind, size_t index);
