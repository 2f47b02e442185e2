/* Machines that come and go: failures drawn from a seed, and spot capacity as a file has it. */
#include "simulate/live.h"
#include "trace/draw.h"

#include <assert.h>
#include <stdlib.h>

static void node_set(struct run *run, struct world_node *node, bool up)
{
    int64_t milli = run->by_cpu ? node->of->cpu_milli : (int64_t)node->of->devices * 1000;
    if (node->up == up)
        return;
    node->up = up;
    run->up_milli += up ? milli : -milli;
    core_node_report(run->world.core, node->pool, node->of->name, up);
}

/* What an event adds later is not there yet. */
static void nodes_absent(struct run *run)
{
    core_begin(run->world.core, RUN_EPOCH_MS);
    for (size_t i = 0; i < run->world.cluster->nodes.count; i++) {
        if (run->world.nodes[i].of->absent)
            node_set(run, &run->world.nodes[i], false);
    }
    core_end(run->world.core);
}

void nodes_begin(struct run *run)
{
    const struct run_options *options = run->options;
    size_t count = options->cluster->nodes.count;
    nodes_absent(run);
    if (options->node_mtbf_ms <= 0)
        return;
    run->failures = mem_alloc(count + 1, sizeof *run->failures);
    for (size_t i = 0; i < count; i++) {
        struct live_node_run *node = &run->failures[i];
        node->next.order = i;
        node->node = &run->world.nodes[i];
        heap_set(&run->heap, &node->next, draw_exponential(&run->prng, options->node_mtbf_ms));
    }
}

void node_due(struct run *run, struct live_node_run *node)
{
    const struct run_options *options = run->options;
    node_set(run, node->node, !node->node->up);
    int64_t mean_ms = node->node->up ? options->node_mtbf_ms : options->node_mttr_ms;
    heap_set(&run->heap, &node->next, node->next.at_ms + draw_exponential(&run->prng, mean_ms));
}

int64_t nodes_next_ms(const struct run *run)
{
    const struct trace_events *events = run->options->events;
    return events && run->event < events->items.count ? events->items.items[run->event].at_ms
                                                      : HEAP_NEVER;
}

int nodes_due(struct run *run, struct error *err)
{
    while (nodes_next_ms(run) <= run->now_ms) {
        const struct trace_event *event = &run->options->events->items.items[run->event++];
        struct world_node *node = strmap_get(&run->world.by_name, event->node);
        if (!node)
            return error_set(
                err, ERR_INVALID, "an event names the node %.64s, which there is not", event->node);
        node_set(run, node, event->up);
    }
    return 0;
}

void nodes_end(struct run *run)
{
    free(run->failures);
    run->failures = NULL;
}
