/* From event to event. A tick of the core is one turn of the loop: what is due is told to it, it
 * decides, and what it decided is carried out. Stops without grace are due at once, so that a
 * moment may have several ticks; it ends when nothing is due and the core wants no further pass. */
#include "simulate/live.h"
#include "simulate/run_internal.h"

#include <assert.h>
#include <stdlib.h>

enum { TICKS_AT_ONCE_MAX = 1000 * 1000 }; /* of one moment: more is a defect of the core */

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void run_account(struct run *run, int64_t now_ms)
{
    int64_t passed_ms = now_ms - run->accounted_ms;
    if (passed_ms <= 0)
        return;
    const double values[SERIES_LINES] = {
        run->capacity_milli ? 100 * (double)run->held_milli / (double)run->capacity_milli : 0,
        (double)run->running, (double)(run->live - run->running)};
    if (run->metrics->first_submit_ms >= 0)
        series_add(&run->metrics->series, run->accounted_ms, now_ms, values);
    run->accounted_ms = now_ms;
    if (run->live == 0 || run->capacity_milli == 0)
        return;
    __int128 micro = run->demand_milli * 1000000 / run->capacity_milli;
    run->contention_micro += (micro > 1000000 ? micro : 1000000) * passed_ms;
    run->metrics->device_there_ms += (__int128)run->up_milli * passed_ms;
    if (run->options->mix && now_ms >= run->sample_ms) {
        int64_t since_ms = now_ms - run->sampled_ms;
        run->metrics->fragmented_ms +=
            (__int128)world_fragmented_micro(&run->world, run->options->mix) * since_ms / 1000;
        run->metrics->sampled_ms += (__int128)run->up_milli * since_ms;
        run->sampled_ms = now_ms;
        run->sample_ms = now_ms + run->options->sample_ms;
    }
}

/* The next job of the trace, and when it comes. */
static int job_fetch(struct run *run, struct error *err)
{
    const struct run_options *options = run->options;
    int64_t scale = options->scale_arrivals_milli;
    bool enough = options->jobs_max && run->metrics->jobs >= options->jobs_max;
    int got = enough ? 0 : trace_next(options->source, &run->coming, err);
    if (got < 0)
        return -1;
    int64_t before_ms = run->coming_ms;
    run->coming_ms = HEAP_NEVER;
    if (got == 0)
        return 0;
    run->coming_ms = run->coming.submit_ms;
    if (scale > 0)
        run->coming_ms = (int64_t)((__int128)run->coming_ms * 1000 / scale);
    /* The time to a deadline is the job's own. */
    if (run->coming.deadline_ms)
        run->coming.deadline_ms += run->coming_ms - run->coming.submit_ms;
    if (run->coming_ms < before_ms)
        return error_set(
            err, ERR_INVALID, "job %.64s comes before the one in front of it", run->coming.name);
    return 0;
}

static int jobs_come(struct run *run, struct error *err)
{
    const struct run_observer *observer = &run->options->observer;
    while (run->coming_ms <= run->now_ms) {
        if (live_submit(run, err) < 0 || job_fetch(run, err) < 0)
            return -1;
        if (observer->progress && run->metrics->jobs % RUN_PROGRESS_EVERY == 0)
            observer->progress(
                observer->context, run->metrics->jobs, run->options->source->expected, run->now_ms);
    }
    return 0;
}

static void items_due(struct run *run)
{
    struct heap_item *item;
    while ((item = heap_first(&run->heap)) && item->at_ms <= run->now_ms) {
        run->metrics->events++;
        if (item->order & LIVE_ORDER_JOB)
            live_due(run, (struct live_run *)item);
        else
            node_due(run, (struct live_node_run *)item);
    }
}

static void decision_keep(void *context, const struct core_decision *decision)
{
    struct run *run = context;
    const struct run_observer *observer = &run->options->observer;
    vec_push(&run->decisions, *decision);
    if (observer->decision)
        observer->decision(observer->context, decision, run->now_ms);
}

static int tick(struct run *run, struct error *err)
{
    struct core *core = run->world.core;
    const struct run_observer *observer = &run->options->observer;
    run->metrics->ticks++;
    core_begin(core, RUN_EPOCH_MS + run->now_ms);
    if (nodes_due(run, err) < 0)
        return -1;
    items_due(run);
    live_progress(run);
    if (jobs_come(run, err) < 0)
        return -1;
    core_schedule(core);
    vec_clear(&run->decisions);
    core_decisions(core, decision_keep, run);
    for (size_t i = 0; i < run->decisions.count; i++)
        live_decided(run, &run->decisions.items[i]);
    if (observer->tick && observer->tick(observer->context, core, run->now_ms, err) < 0)
        return -1;
    core_end(core);
    return 0;
}

/* When something is due next, as the core gets to see it; HEAP_NEVER: never. */
static int64_t next_ms(const struct run *run)
{
    const struct heap_item *item = heap_first(&run->heap);
    int64_t at_ms = least(run->coming_ms, nodes_next_ms(run));
    if (item)
        at_ms = least(at_ms, item->at_ms);
    int64_t core_ms = core_next_ms(run->world.core);
    if (core_ms != INT64_MAX)
        at_ms = least(at_ms, core_ms - RUN_EPOCH_MS);
    if (at_ms <= run->now_ms || at_ms == HEAP_NEVER)
        return at_ms == HEAP_NEVER ? at_ms : run->now_ms;
    int64_t step_ms = run->options->step_ms;
    return step_ms > 1 ? (at_ms + step_ms - 1) / step_ms * step_ms : at_ms;
}

static int loop(struct run *run, struct error *err)
{
    int64_t at_once = 0;
    int64_t until_ms = run->options->until_ms ? run->options->until_ms : TRACE_TIME_MS_MAX;
    if (job_fetch(run, err) < 0)
        return -1;
    while (run->live > 0 || run->coming_ms != HEAP_NEVER) {
        int64_t at_ms = next_ms(run);
        if (at_ms > until_ms)
            break;
        at_once = at_ms == run->now_ms ? at_once + 1 : 0;
        if (at_once > TICKS_AT_ONCE_MAX)
            return error_set(err, ERR_INTERNAL, "the scheduler comes to no rest");
        run_account(run, at_ms);
        run->now_ms = at_ms;
        if (tick(run, err) < 0)
            return -1;
    }
    return 0;
}

static void run_begin(struct run *run)
{
    struct metrics *metrics = run->metrics;
    run->by_cpu = run->world.accelerator_milli == 0;
    run->capacity_milli = run->by_cpu ? run->world.cpu_milli : run->world.accelerator_milli;
    run->up_milli = run->capacity_milli;
    run->prng.state = run->options->seed;
    metrics->accelerator_milli = run->world.accelerator_milli;
    metrics->by_cpu = run->by_cpu;
    metrics->capacity_milli = run->capacity_milli;
    metrics->first_submit_ms = -1;
    nodes_begin(run);
}

static void run_end(struct run *run)
{
    run->metrics->unfinished = run->live;
    live_drop(run);
    nodes_end(run);
    heap_finish(&run->heap);
    idmap_finish(&run->jobs);
    vec_free(&run->decisions);
    world_finish(&run->world);
}

int run_events(const struct run_options *options, struct metrics *metrics, struct error *err)
{
    struct run run = {.options = options, .metrics = metrics};
    if (world_init(&run.world, options->cluster, &options->core, err) < 0)
        return -1;
    run.world.restart_ms = options->restart_ms;
    run_begin(&run);
    int failed = loop(&run, err);
    run_end(&run);
    return failed;
}
