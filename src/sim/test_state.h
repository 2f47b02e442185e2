/* A small right state that tests of the invariant checker break in one place: one pool with two
 * nodes, one team, two jobs of one shape; the first runs two ranks on node 1, the second waits. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sim/invariants.h"

#define GIB ((int64_t)1 << 30)
#define NOW INT64_C(1700000000000)

enum {
    SYM_POOL = 1,
    SYM_NODE,
    SYM_TYPE,
    SYM_A100,
    SYM_TEAM,
    SYM_JOB,
    SYM_OTHER_JOB,
    SYM_ZONE,
    SYM_Z1,
    SYM_CPU,
    SYM_KIND,
    SYM_TRAIN,
    SYM_COUNT
};

/* Tests change a row here and put all of them in their places. */
struct state {
    struct sim_store *store;
    struct pool_row pool;
    struct node_row node;
    struct team_row team;
    struct quota_row quota;
    struct shape_row shape;
    struct job_row job, waiting;
    struct attempt_row attempt;
    struct placement_row placement;
};

/* As cmocka wants them: *context becomes the state. */
int state_setup(void **context);
int state_teardown(void **context);
/* Stores every row of the state as it is now. */
void state_put(struct state *state);
/* The check failed by that invariant. */
void assert_broken(int result, const struct error *err, int invariant);

#define STATE_TEST(function) cmocka_unit_test_setup_teardown(function, state_setup, state_teardown)
