/* The inputs of a step: commands that people give, what engines report, what the server's checks
 * and its gateway find out of replicas; and in the drain, what takes obstacles away. They are
 * gathered from the committed rows: nothing here asks the core. */
#include "sim/sim_state.h"

#include "sim/sim_services.h"

#include <string.h>

enum { INPUTS_MAX = 256 }; /* of one step */

void sim_add(struct sim *sim, const struct sim_input *input)
{
    if (sim->inputs.count < INPUTS_MAX)
        vec_push(&sim->inputs, *input);
}

void sim_gather_commands(struct sim *sim)
{
    struct sim_input input;
    int commands = sim_chance(&sim->prng, sim->profile.commands) ? 1 : 0;
    int submits = sim_chance(&sim->prng, sim->profile.submits) ? 1 : 0;
    if (submits && sim_chance(&sim->prng, 200))
        submits += (int)prng_below(&sim->prng, 4);
    for (int i = 0; i < submits; i++)
        if (sim_world_submit(&sim->world, sim->arena, sim->store, sim->now_ms, &input))
            sim_add(sim, &input);
    if (commands && sim_chance(&sim->prng, 200))
        commands += (int)prng_below(&sim->prng, 3);
    for (int i = 0; i < commands; i++)
        if (sim_world_command(&sim->world, sim->arena, sim->store, sim->now_ms, &input))
            sim_add(sim, &input);
}

void sim_gather_reports(struct sim *sim)
{
    struct sim_input input;
    while (sim->inputs.count < INPUTS_MAX && sim_engine_report(sim->engine, sim->now_ms, &input))
        sim_add(sim, &input);
}

void sim_gather_services(struct sim *sim)
{
    struct sim_input input;
    for (size_t i = 0; i < sim_store_count(sim->store, ROW_REPLICA); i++) {
        const struct replica_row *replica = sim_store_at(sim->store, ROW_REPLICA, i);
        if (sim_replica_check(&sim->prng, sim->store, replica, sim->calm, sim->now_ms, &input))
            sim_add(sim, &input);
        if (sim_replica_measure(&sim->prng, replica, &input))
            sim_add(sim, &input);
    }
    for (size_t i = 0; i < sim->hopeless.count; i++) {
        input = (struct sim_input){.kind = INPUT_SERVICE_DELETE, .id = sim->hopeless.items[i]};
        sim_add(sim, &input);
    }
    vec_clear(&sim->hopeless);
}

static void node_input(
    const struct sim *sim, const struct node_row *node, struct sim_input *ret_input)
{
    const struct pool_row *pool = sim_store_row(sim->store, ROW_POOL, node->pool);
    snprintf(ret_input->pool_name, sizeof ret_input->pool_name, "%.63s",
        sim_store_symbol(sim->store, pool->name));
    snprintf(ret_input->node_name, sizeof ret_input->node_name, "%.63s",
        sim_store_symbol(sim->store, node->name));
}

static void gather_node_wish(struct sim *sim, const struct node_row *node, enum node_wish wish)
{
    struct sim_input input = {.kind = INPUT_NODE_WISH, .wish = wish};
    node_input(sim, node, &input);
    sim_add(sim, &input);
}

void sim_gather_alarm(struct sim *sim)
{
    for (size_t i = 0; sim->shadow && i < sim_store_count(sim->store, ROW_NODE); i++) {
        const struct node_row *node = sim_store_at(sim->store, ROW_NODE, i);
        if (node->cordoned || node->draining || node->leaving)
            continue;
        gather_node_wish(sim, node, NODE_UNCORDON);
        return;
    }
}

/* Of three rollouts one is promoted and one aborted; the third ends or pauses by itself. */
static void gather_verdicts(struct sim *sim)
{
    for (size_t i = 0; i < sim_store_count(sim->store, ROW_ROLLOUT); i++) {
        const struct rollout_row *rollout = sim_store_at(sim->store, ROW_ROLLOUT, i);
        static const enum rollout_command orders[] = {
            ROLLOUT_DO_PROMOTE, ROLLOUT_DO_ABORT, ROLLOUT_DO_RESUME};
        struct sim_input input = {.kind = INPUT_ROLLOUT, .id = rollout->service};
        input.rollout = orders[rollout->id % ARRAY_LEN(orders)];
        sim_add(sim, &input);
    }
}

void sim_gather_relief(struct sim *sim)
{
    gather_verdicts(sim);
    for (size_t i = 0; i < sim_store_count(sim->store, ROW_NODE); i++) {
        const struct node_row *node = sim_store_at(sim->store, ROW_NODE, i);
        struct sim_input input = {.kind = INPUT_NODE_RESERVE};
        node_input(sim, node, &input);
        sim_add(sim, &input);
        gather_node_wish(sim, node, NODE_UNCORDON);
    }
    for (size_t i = 0; i < sim_store_count(sim->store, ROW_JOB); i++) {
        const struct job_row *job = sim_store_at(sim->store, ROW_JOB, i);
        struct sim_input input = {.kind = INPUT_JOB_RELEASE, .id = job->id};
        bool alone = job->service && !sim_replica_of(sim->store, job->id);
        if (alone)
            input.kind = INPUT_JOB_CANCEL;
        if (alone || job->state == JOB_HELD)
            sim_add(sim, &input);
    }
}

void sim_gather_cancels(struct sim *sim)
{
    for (size_t i = 0; i < sim_store_count(sim->store, ROW_SERVICE); i++) {
        struct sim_input input = {.kind = INPUT_SERVICE_DELETE,
            .id = sim_row_id(sim_store_at(sim->store, ROW_SERVICE, i))};
        sim_add(sim, &input);
    }
    for (size_t i = 0; i < sim_store_count(sim->store, ROW_JOB); i++) {
        struct sim_input input = {
            .kind = INPUT_JOB_CANCEL, .id = sim_row_id(sim_store_at(sim->store, ROW_JOB, i))};
        if (!sim_replica_of(sim->store, input.id))
            sim_add(sim, &input);
    }
}
