/* The right state that tests break. */
#include "sim/test_state.h"

#include <stdio.h>
#include <string.h>

static void put_symbols(struct sim_store *store)
{
    static const char *const texts[SYM_COUNT] = {"", "pool", "node", "small", "a100", "team", "job",
        "other", "zone", "z1", "cpu", "kind", "train"};
    for (uint64_t id = 1; id < SYM_COUNT; id++) {
        struct symbol_row row = {.id = id};
        snprintf(row.text, sizeof row.text, "%s", texts[id]);
        sim_store_put(store, ROW_SYMBOL, &row);
    }
}

void state_put(struct state *state)
{
    sim_store_put(state->store, ROW_POOL, &state->pool);
    sim_store_put(state->store, ROW_NODE, &state->node);
    struct node_row other = state->node;
    other.id = 2;
    sim_store_put(state->store, ROW_NODE, &other);
    sim_store_put(state->store, ROW_TEAM, &state->team);
    sim_store_put(state->store, ROW_QUOTA, &state->quota);
    sim_store_put(state->store, ROW_SHAPE, &state->shape);
    sim_store_put(state->store, ROW_JOB, &state->job);
    sim_store_put(state->store, ROW_JOB, &state->waiting);
    sim_store_put(state->store, ROW_ATTEMPT, &state->attempt);
    sim_store_put(state->store, ROW_PLACEMENT, &state->placement);
}

int state_setup(void **context)
{
    struct state *state = test_calloc(1, sizeof *state);
    state->store = sim_store_create();
    state->pool = (struct pool_row){.id = 1, .name = SYM_POOL};
    state->node = (struct node_row){.id = 1,
        .pool = 1,
        .name = SYM_NODE,
        .type = SYM_TYPE,
        .accelerator = SYM_A100,
        .devices = 4,
        .cpu_milli = 8000,
        .memory_bytes = 16 * GIB,
        .disk_bytes = 16 * GIB};
    state->team = (struct team_row){.id = 1, .name = SYM_TEAM, .borrow = 1, .jobs_max = 100};
    state->quota = (struct quota_row){.id = 1, .team = 1, .resource = SYM_CPU, .limit = 6000};
    state->shape = (struct shape_row){.id = 1,
        .cpu_milli = 2000,
        .memory_bytes = GIB,
        .accelerator = SYM_A100,
        .accelerator_milli = 1000};
    state->job = (struct job_row){.id = 1,
        .team = 1,
        .shape = 1,
        .attempt = 1,
        .name = SYM_JOB,
        .state = JOB_RUNNING,
        .size = 2,
        .size_min = 2,
        .size_max = 2,
        .size_now = 2,
        .attempts = 1,
        .preemptions_max = -1,
        .preemptible = 1,
        .submitted_ms = NOW};
    state->waiting = (struct job_row){.id = 2,
        .team = 1,
        .shape = 1,
        .name = SYM_OTHER_JOB,
        .state = JOB_QUEUED,
        .size = 1,
        .size_min = 1,
        .size_max = 1,
        .size_now = 1,
        .preemptions_max = -1,
        .submitted_ms = NOW};
    state->attempt = (struct attempt_row){.id = 1,
        .job = 1,
        .number = 1,
        .state = ATTEMPT_STARTED,
        .size = 2,
        .admitted_ms = NOW,
        .started_ms = NOW};
    state->placement = (struct placement_row){
        .id = 1, .attempt = 1, .node = 1, .devices = 3, .device_milli = 1000, .ranks = 2};
    put_symbols(state->store);
    state_put(state);
    *context = state;
    return 0;
}

int state_teardown(void **context)
{
    struct state *state = *context;
    sim_store_destroy(state->store);
    test_free(state);
    return 0;
}

void assert_broken(int result, const struct error *err, int invariant)
{
    char begin[32];
    snprintf(begin, sizeof begin, "invariant %d:", invariant);
    assert_int_equal(result, -1);
    if (!strstr(err->text, begin))
        fail_msg("expected \"%s\", got \"%s\"", begin, err->text);
}
