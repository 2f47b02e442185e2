/* The machines under the simulated engine: nodes that fall and come back, and what else goes wrong
 * as the seed says. */
#include "sim/sim_engine_parts.h"

#include <stdio.h>
#include <string.h>

void node_say(struct sim_engine *engine, struct world_node *node, bool up, int64_t now_ms)
{
    struct sim_input input = {.kind = INPUT_NODE_REPORT, .up = up};
    memcpy(input.pool_name, node->pool_name, sizeof input.pool_name);
    memcpy(input.node_name, node->name, sizeof input.node_name);
    node->said_ms = now_ms;
    report_send(engine, now_ms, &input);
}

/* A report names a node; a pool that was made anew may have another one of that name. */
void node_lost_delivered(struct sim_engine *engine, const struct sim_input *input)
{
    for (size_t n = 0; n < engine->nodes.count; n++) {
        const struct world_node *node = &engine->nodes.items[n];
        if (strcmp(node->name, input->node_name) != 0 ||
            strcmp(node->pool_name, input->pool_name) != 0)
            continue;
        for (size_t i = 0; i < engine->runs.count; i++)
            if (run_touches(&engine->runs.items[i], node->id))
                engine->runs.items[i].astray = true;
    }
}

static void node_fall(struct sim_engine *engine, struct world_node *node, int64_t now_ms)
{
    node->down = true;
    node->back_ms = now_ms + sim_between(&engine->prng, 1000, 1200 * 1000);
    for (size_t i = 0; i < engine->runs.count; i++) {
        struct run *run = &engine->runs.items[i];
        if (run->state != RUN_OVER && run_touches(run, node->id))
            run_over(run, END_NODE_LOST, 0, false);
    }
}

static void nodes_learn(struct sim_engine *engine, const struct sim_store *store)
{
    size_t count = sim_store_count(store, ROW_NODE);
    for (size_t i = 0; i < count; i++) {
        const struct node_row *row = sim_store_at(store, ROW_NODE, i);
        const struct pool_row *pool = sim_store_row(store, ROW_POOL, row->pool);
        if (engine->nodes.count > 0 && engine->nodes.items[engine->nodes.count - 1].id >= row->id)
            continue;
        struct world_node node = {.id = row->id};
        snprintf(
            node.pool_name, sizeof node.pool_name, "%.63s", sim_store_symbol(store, pool->name));
        snprintf(node.name, sizeof node.name, "%.63s", sim_store_symbol(store, row->name));
        vec_push(&engine->nodes, node);
    }
}

/* ---- faults ----------------------------------------------------------------------------------
 */

static void world_lie(struct sim_engine *engine, int64_t now_ms)
{
    struct run *run = engine->runs.count
                          ? &engine->runs.items[prng_below(&engine->prng, engine->runs.count)]
                          : NULL;
    struct core_report report = {.attempt = run ? run->attempt : 1};
    switch (prng_below(&engine->prng, engine->faults.site_ends ? 7 : 6)) {
    case 0: report.kind = REPORT_STARTED; break;
    case 1: report.kind = REPORT_SUBMITTED; break;
    case 2:
        report.kind = REPORT_CHECKPOINT;
        report.at_ms = now_ms + sim_between(&engine->prng, -7200 * 1000, 7200 * 1000);
        break;
    case 3: /* it ended, although it runs */
        report.kind = REPORT_ENDED;
        report.reason = sim_chance(&engine->prng, 500) ? END_SUCCEEDED : END_EXIT;
        report.complete = report.reason == END_SUCCEEDED;
        report.exit_status = !report.complete;
        if (run)
            run->astray = true;
        break;
    case 6:
        report.kind = REPORT_SITE_END;
        report.at_ms = now_ms + sim_between(&engine->prng, -3600 * 1000, 7200 * 1000);
        break;
    case 4: /* of an attempt that never was */
        report.kind = (enum report_kind)prng_below(&engine->prng, 4);
        report.reason = END_SUCCEEDED;
        report.attempt = 1000000 + prng_below(&engine->prng, 1000);
        break;
    default: /* a node is gone, although it is not */
        if (engine->nodes.count)
            node_say(engine, &engine->nodes.items[prng_below(&engine->prng, engine->nodes.count)],
                false, now_ms);
        return;
    }
    report_attempt(engine, now_ms, report);
}

static void world_faults(struct sim_engine *engine, int64_t now_ms)
{
    const struct sim_faults *faults = &engine->faults;
    if (sim_chance(&engine->prng, faults->lie))
        world_lie(engine, now_ms);
    if (engine->stale_count && sim_chance(&engine->prng, faults->stale)) {
        size_t known = engine->stale_count < STALE_COUNT ? engine->stale_count : STALE_COUNT;
        const struct sim_input *old = &engine->stale[prng_below(&engine->prng, known)];
        queue_put(engine, now_ms, old);
        /* An end said once is true for ever; a start is not. */
    }
    if (engine->nodes.count && sim_chance(&engine->prng, faults->node_lost)) {
        struct world_node *node =
            &engine->nodes.items[prng_below(&engine->prng, engine->nodes.count)];
        if (!node->down) {
            node_fall(engine, node, now_ms);
            node_say(engine, node, false, now_ms);
        }
    }
    if (sim_chance(&engine->prng, faults->engine_dies))
        for (size_t i = 0; i < engine->runs.count; i++)
            if (engine->runs.items[i].state != RUN_OVER)
                run_over(&engine->runs.items[i], END_LOST, 0, false);
}

void sim_engine_advance(struct sim_engine *engine, const struct sim_store *store, int64_t now_ms)
{
    nodes_learn(engine, store);
    world_faults(engine, now_ms);
    for (size_t i = 0; i < engine->runs.count; i++)
        run_step(engine, &engine->runs.items[i], now_ms);
    for (size_t i = 0; i < engine->nodes.count; i++) {
        struct world_node *node = &engine->nodes.items[i];
        if (!node->down || node->back_ms > now_ms)
            continue;
        node->down = false;
        node_say(engine, node, true, now_ms);
    }
}
