/* Arrivals alone: each job is placed or dropped before the next one comes, and none leaves. What is
 * allocated and fragmented is taken when the jobs that came so far ask for a share of the cluster.
 * This is how FGD (Weng et al., ATC 2023) compares placement policies. */
#include "simulate/run_internal.h"
#include "simulate/world.h"

#include <string.h>

struct arrivals {
    const struct run_options *options;
    struct world world;
    struct world_places places; /* of the job that came last */
    struct metrics *metrics;
    int64_t arrived_milli, allocated_milli;
    int64_t now_ms; /* moves by one with each job: ids of the core begin with the time */
    size_t point;   /* the next of metrics_points */
};

struct admitted {
    uint64_t job, attempt;
};

static void decision_seen(void *context, const struct core_decision *decision)
{
    struct admitted *admitted = context;
    if (decision->kind == DECISION_ADMIT && decision->job == admitted->job)
        admitted->attempt = decision->attempt;
}

/* slack: thousandths of a per cent that may be missing. The last job that still comes leaves what
 * came a little below the share at which arrivals end. */
static void points_take(struct arrivals *run, int64_t slack)
{
    int64_t whole_milli = run->world.accelerator_milli;
    while (run->point < METRICS_POINTS && whole_milli > 0 &&
           (__int128)run->arrived_milli * 100000 >=
               (__int128)whole_milli * (metrics_points[run->point] * 1000 - slack)) {
        struct metrics_point *point = &run->metrics->points[run->point++];
        const struct fragment_mix *mix = run->options->mix;
        point->reached = true;
        point->allocated_milli = run->allocated_milli;
        if (mix)
            point->fragmented_milli = (world_fragmented_micro(&run->world, mix) + 500) / 1000;
    }
}

/* The same at each per cent, for plots. */
static void curve_take(struct arrivals *run)
{
    struct metrics *metrics = run->metrics;
    int64_t whole_milli = run->world.accelerator_milli;
    if (whole_milli <= 0)
        return;
    __int128 percent = (__int128)run->arrived_milli * 100 / whole_milli;
    while (metrics->curve_count < METRICS_PERCENTS && metrics->curve_count <= percent) {
        int32_t at = metrics->curve_count++;
        metrics->curve_allocated_milli[at] = run->allocated_milli;
        if (run->options->mix && run->options->curve)
            metrics->curve_fragmented_milli[at] =
                (world_fragmented_micro(&run->world, run->options->mix) + 500) / 1000;
    }
}

static int tick_end(struct arrivals *run, struct error *err)
{
    const struct run_observer *observer = &run->options->observer;
    int failed = observer->tick ? observer->tick(observer->context, run->world.core,
                                      run->now_ms - RUN_EPOCH_MS, err)
                                : 0;
    core_end(run->world.core);
    run->metrics->ticks++;
    return failed;
}

/* Submits, and takes it back when it has no place at once. */
static int job_arrive(struct arrivals *run, const struct trace_job *job, struct error *err)
{
    struct core *core = run->world.core;
    struct admitted admitted = {0};
    struct error refused = {0};
    run->arrived_milli += job->accelerator_milli * job->ranks;
    run->metrics->jobs++;
    if (world_submit(&run->world, job, false, &admitted.job, &refused) < 0) {
        if (refused.code != ERR_INVALID)
            return error_set(err, refused.code, "%s", refused.text);
        run->metrics->impossible++;
        return 0;
    }
    core_schedule(core);
    core_decisions(core, decision_seen, &admitted);
    if (!admitted.attempt) {
        run->metrics->dropped++;
        return core_job_cancel(core, admitted.job, err);
    }
    run->metrics->decisions++;
    run->allocated_milli += job->accelerator_milli * job->ranks;
    world_places_read(&run->world, admitted.attempt, &run->places);
    world_hold(&run->places, job->cpu_milli, -1);
    return 0;
}

static int arrivals_run(struct arrivals *run, struct error *err)
{
    const struct run_options *options = run->options;
    struct trace_job job;
    int got;
    while ((got = trace_next(options->source, &job, err)) > 0) {
        if (options->jobs_max && run->metrics->jobs >= options->jobs_max)
            return 0;
        core_begin(run->world.core, ++run->now_ms);
        if (job_arrive(run, &job, err) < 0 || tick_end(run, err) < 0)
            return -1;
        points_take(run, 0);
        curve_take(run);
        if (options->observer.progress && run->metrics->jobs % RUN_PROGRESS_EVERY == 0)
            options->observer.progress(options->observer.context, run->metrics->jobs,
                options->source->expected, run->now_ms - RUN_EPOCH_MS);
    }
    return got;
}

/* The policy learns what these jobs ask, and forgets the jobs. */
static int mix_tell(struct arrivals *run, const struct trace_list *known, struct error *err)
{
    struct core *core = run->world.core;
    VEC(uint64_t) ids = {0};
    int failed = 0;
    core_begin(core, ++run->now_ms);
    for (size_t i = 0; i < trace_list_count(known) && !failed; i++) {
        struct error refused = {0};
        uint64_t id;
        if (world_submit(&run->world, trace_list_at(known, i), false, &id, &refused) < 0) {
            failed =
                refused.code == ERR_INVALID ? 0 : error_set(err, refused.code, "%s", refused.text);
            continue;
        }
        vec_push(&ids, id);
        failed = core_job_hold(core, id, err);
    }
    core_schedule(core);
    for (size_t i = 0; i < ids.count && !failed; i++)
        failed = core_job_cancel(core, ids.items[i], err);
    vec_free(&ids);
    core_end(core);
    return failed;
}

int run_arrivals(const struct run_options *options, struct metrics *metrics, struct error *err)
{
    struct arrivals run = {.options = options, .metrics = metrics, .now_ms = RUN_EPOCH_MS};
    if (world_init(&run.world, options->cluster, &options->core, err) < 0)
        return -1;
    metrics->accelerator_milli = metrics->capacity_milli = run.world.accelerator_milli;
    int failed = options->known ? mix_tell(&run, options->known, err) : 0;
    if (!failed)
        failed = arrivals_run(&run, err);
    points_take(&run, 500);
    metrics->allocated_end_milli = run.allocated_milli;
    vec_free(&run.places.items);
    world_finish(&run.world);
    return failed;
}
