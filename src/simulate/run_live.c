/* What becomes of a job: it comes, is placed, saves its work, is stopped, and ends. The model says
 * how fast it runs, the core says where; this file tells each of the other. */
#include "simulate/live.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- it comes -------------------------------------------------------------------------- */

static char *texts_copy(const struct trace_job *job)
{
    size_t name = strlen(job->name) + 1, team = strlen(job->team) + 1, model = strlen(job->model);
    char *texts = mem_alloc(name + team + model + 1, 1);
    memcpy(texts, job->name, name);
    memcpy(texts + name, job->team, team);
    memcpy(texts + name + team, job->model, model);
    return texts;
}

/* What a rank holds of the resource that counts. */
static int64_t counted_milli(const struct run *run, const struct live_run *job)
{
    return run->by_cpu ? job->cpu_milli : job->accelerator_milli;
}

static struct live_run *live_make(const struct run *run, const struct trace_job *from)
{
    const struct model_type *type = run->options->model->type;
    struct live_run *job = mem_alloc(1, sizeof *job + type->state_size);
    job->next.order = LIVE_ORDER_JOB | from->number;
    job->number = from->number;
    job->submit_ms = run->coming_ms;
    job->deadline_ms = from->deadline_ms;
    job->start_ms = job->done_ms = -1;
    job->stop_ms = HEAP_NEVER;
    job->cpu_milli = from->cpu_milli;
    job->accelerator_milli = from->accelerator_milli;
    job->ranks = from->ranks;
    job->ask_milli = counted_milli(run, job) * from->ranks;
    if (run->options->observer.job)
        job->texts = texts_copy(from);
    return job;
}

static void live_link(struct run *run, struct live_run *job)
{
    job->before = run->last;
    *(run->last ? &run->last->after : &run->first) = job;
    run->last = job;
    run->live++;
    run->demand_milli += job->ask_milli;
    idmap_put(&run->jobs, job->id, job);
}

static void live_unlink(struct run *run, struct live_run *job)
{
    *(job->before ? &job->before->after : &run->first) = job->after;
    *(job->after ? &job->after->before : &run->last) = job->before;
    run->live--;
    run->demand_milli -= job->ask_milli;
    idmap_remove(&run->jobs, job->id);
}

static void live_free(struct run *run, struct live_run *job)
{
    const struct speed_model *model = run->options->model;
    if (job->next.place)
        heap_set(&run->heap, &job->next, HEAP_NEVER);
    if (model->type->forget)
        model->type->forget(run->options->model, job->state);
    vec_free(&job->places.items);
    free(job->texts);
    free(job);
}

void live_drop(struct run *run)
{
    for (struct live_run *job; (job = run->first);) {
        live_unlink(run, job);
        live_free(run, job);
    }
}

/* What the model says of the job, told to the core. */
static void progress_tell(struct run *run, struct live_run *job)
{
    struct speed_model *model = run->options->model;
    struct model_progress progress = {0};
    struct core_speed speeds[MODEL_SPEEDS_MAX];
    struct error refused;
    static_assert((int)MODEL_SPEEDS_MAX <= (int)CORE_SPEEDS_MAX, "the core takes all");
    model->type->progress(model, job->state, &progress);
    for (size_t i = 0; i < progress.count; i++)
        speeds[i] = (struct core_speed){
            progress.speeds[i].ranks, progress.speeds[i].nodes, progress.speeds[i].rate_milli};
    const struct core_progress said = {.remaining = progress.remaining,
        .restart_ms = progress.restart_ms,
        .speeds = speeds,
        .speed_count = progress.count};
    int failed = core_job_progress(run->world.core, job->id, &said, &refused);
    assert(failed == 0);
    (void)failed;
}

/* The same, of a model that says something. */
static void say(struct run *run, struct live_run *job)
{
    if (run->options->progress_ms > 0 && run->options->model->type->progress)
        progress_tell(run, job);
}

void live_progress(struct run *run)
{
    int64_t every_ms = run->options->progress_ms;
    if (every_ms <= 0 || run->now_ms < run->progress_ms)
        return;
    run->progress_ms = (run->now_ms / every_ms + 1) * every_ms;
    for (struct live_run *job = run->first; job; job = job->after) {
        if (!job->attempt)
            continue;
        run->options->model->type->advance(run->options->model, job->state, run->now_ms);
        say(run, job);
    }
}

int live_submit(struct run *run, struct error *err)
{
    struct trace_job *from = &run->coming;
    struct speed_model *model = run->options->model;
    struct live_run *job = live_make(run, from);
    struct error refused = {0};
    run->metrics->jobs++;
    if (model->type->prepare(model, job->state, from, err) < 0) {
        live_free(run, job);
        return -1;
    }
    job->duration_ms = from->duration_ms;
    if (world_submit(&run->world, from, run->options->deadlines, &job->id, &refused) < 0) {
        live_free(run, job);
        run->metrics->impossible += refused.code == ERR_INVALID;
        return refused.code == ERR_INVALID
                   ? 0
                   : error_set(err, refused.code, "job %.64s: %s", from->name, refused.text);
    }
    if (run->metrics->first_submit_ms < 0)
        run->metrics->first_submit_ms = job->submit_ms;
    run->metrics->with_deadline += job->deadline_ms != 0;
    job->contention_before_micro = run->contention_micro;
    live_link(run, job);
    say(run, job);
    return 0;
}

/* ---- it runs --------------------------------------------------------------------------- */

/* Sets when it is to be looked at next. */
static void watch(struct run *run, struct live_run *job)
{
    const struct speed_model *model = run->options->model;
    int64_t next_ms = HEAP_NEVER;
    if (job->attempt) {
        next_ms = model->type->done_ms(model, job->state);
        int64_t saved_ms = model->type->checkpoint_ms
                               ? model->type->checkpoint_ms(model, job->state)
                               : MODEL_NEVER;
        next_ms = saved_ms < next_ms ? saved_ms : next_ms;
        next_ms = job->stop_ms < next_ms ? job->stop_ms : next_ms;
    }
    heap_set(&run->heap, &job->next, next_ms);
}

static void place(struct run *run, struct live_run *job)
{
    enum { NODES_HERE = 64 };
    struct speed_model *model = run->options->model;
    size_t parts = job->places.items.count;
    int32_t ranks_here[NODES_HERE];
    uint64_t ids_here[NODES_HERE];
    SCOPED(mem_scope) int32_t *ranks_more = NULL;
    SCOPED(mem_scope) uint64_t *ids_more = NULL;
    int32_t *ranks = ranks_here;
    uint64_t *ids = ids_here;
    if (parts > NODES_HERE) {
        ranks = ranks_more = mem_alloc(parts, sizeof *ranks);
        ids = ids_more = mem_alloc(parts, sizeof *ids);
    }
    struct model_place at = {.ranks_on = ranks, .node_ids = ids, .moved = job->starts > 1};
    for (size_t i = 0; i < parts; i++) {
        const struct world_place *part = &job->places.items.items[i];
        bool more = at.nodes > 0 && ids[at.nodes - 1] == part->node->id;
        at.nodes += !more;
        ids[at.nodes - 1] = part->node->id;
        ranks[at.nodes - 1] = (more ? ranks[at.nodes - 1] : 0) + part->ranks;
        at.ranks += part->ranks;
    }
    job->size = at.ranks;
    model->type->place(model, job->state, &at, run->now_ms);
}

static void start(struct run *run, struct live_run *job, uint64_t attempt)
{
    struct core_report report = {.attempt = attempt, .kind = REPORT_STARTED};
    assert(job->attempt == 0);
    world_places_read(&run->world, attempt, &job->places);
    if (job->places.items.count == 0)
        return; /* admitted and ended in one tick */
    if (run->options->mix)
        world_hold(&job->places, job->cpu_milli, -1);
    job->attempt = attempt;
    run->running++;
    job->starts++;
    job->placed_ms = run->now_ms;
    job->stop_ms = HEAP_NEVER;
    if (job->start_ms < 0) {
        job->start_ms = run->now_ms;
        quantile_add(&run->metrics->waiting_ms, job->start_ms - job->submit_ms);
        if (core_job(run->world.core, job->id)->priority >= PRIORITY_URGENT)
            quantile_add(&run->metrics->urgent_ms, job->start_ms - job->submit_ms);
    }
    run->metrics->starts++;
    run->metrics->decisions++;
    job->cost_hour_micro = core_attempt_hour_micro(run->world.core, attempt);
    place(run, job);
    run->held_milli += counted_milli(run, job) * job->size;
    core_attempt_report(run->world.core, &report);
    say(run, job);
    watch(run, job);
}

/* The attempt holds nothing any more from at_ms on. */
static void leave(struct run *run, struct live_run *job, int64_t at_ms)
{
    enum { HOUR_MS = 3600 * 1000, NANO_OF_MICRO = 1000 };
    int64_t held_ms = at_ms - job->placed_ms;
    int64_t milli = counted_milli(run, job) * job->size;
    run->held_milli -= milli;
    run->running--;
    if (run->options->mix)
        world_hold(&job->places, job->cpu_milli, 1);
    job->run_ms += held_ms;
    job->device_ms += job->accelerator_milli * job->size / 1000 * held_ms;
    run->metrics->device_held_ms += (__int128)milli * held_ms;
    run->metrics->cost_nano += (__int128)job->cost_hour_micro * NANO_OF_MICRO * held_ms / HOUR_MS;
    job->attempt = 0;
    job->stop_ms = HEAP_NEVER;
    heap_set(&run->heap, &job->next, HEAP_NEVER);
}

/* What it did since its newest checkpoint is lost. */
static void lose(struct run *run, struct live_run *job, int64_t at_ms, bool told)
{
    struct speed_model *model = run->options->model;
    struct model_loss loss = {0};
    model->type->stop(model, job->state, at_ms, told, &loss);
    int64_t milli = counted_milli(run, job);
    job->lost_ms += loss.lost_ms;
    run->metrics->device_lost_ms += (__int128)loss.device_ms * milli;
    leave(run, job, at_ms);
}

static void report_end(struct run *run, uint64_t attempt, enum end_reason reason)
{
    struct core_report report = {.attempt = attempt,
        .kind = REPORT_ENDED,
        .reason = reason,
        .complete = reason == END_SUCCEEDED};
    core_attempt_report(run->world.core, &report);
}

void live_due(struct run *run, struct live_run *job)
{
    const struct speed_model *model = run->options->model;
    int64_t at_ms = job->next.at_ms;
    uint64_t attempt = job->attempt;
    assert(attempt && at_ms <= run->now_ms);
    if (model->type->done_ms(model, job->state) <= at_ms) {
        model->type->advance(run->options->model, job->state, at_ms);
        job->done_ms = at_ms;
        leave(run, job, at_ms);
        report_end(run, attempt, END_SUCCEEDED);
    } else if (job->stop_ms <= at_ms) {
        lose(run, job, at_ms, true);
        say(run, job);
        report_end(run, attempt, END_EXIT);
    } else {
        struct core_report report = {
            .attempt = attempt, .kind = REPORT_CHECKPOINT, .at_ms = RUN_EPOCH_MS + at_ms};
        model->type->advance(run->options->model, job->state, at_ms);
        core_attempt_report(run->world.core, &report);
        watch(run, job);
    }
}

/* ---- it ends --------------------------------------------------------------------------- */

/* Finish-time fairness: how long it took over how long it would have taken alone on its share of
 * the cluster: duration times the mean contention while it was there. */
static int64_t fairness_micro(const struct run *run, const struct live_run *job, int64_t end_ms)
{
    __int128 contention_micro = run->contention_micro - job->contention_before_micro;
    int64_t took_ms = end_ms - job->submit_ms;
    if (contention_micro <= 0 || job->duration_ms <= 0 || took_ms <= 0)
        return 0;
    __int128 share_ms = job->duration_ms * contention_micro / took_ms; /* in millionths */
    return share_ms > 0 ? (int64_t)((__int128)took_ms * 1000000 * 1000000 / share_ms) : 0;
}

static void measure(struct run *run, const struct live_run *job, struct run_job *seen)
{
    enum { UNFAIR_MICRO = 1050000 };
    struct metrics *metrics = run->metrics;
    bool succeeded = seen->reason == END_SUCCEEDED;
    metrics->succeeded += succeeded;
    metrics->failed += !succeeded;
    if (seen->end_ms > metrics->last_end_ms)
        metrics->last_end_ms = seen->end_ms;
    if (!succeeded)
        return;
    metrics->in_time += job->deadline_ms && seen->end_ms <= job->deadline_ms;
    quantile_add(&metrics->completion_ms, seen->end_ms - job->submit_ms);
    if (job->duration_ms > 0)
        quantile_add(&metrics->slowdown_micro,
            (int64_t)((__int128)(seen->end_ms - job->submit_ms) * 1000000 / job->duration_ms));
    seen->fairness_micro = fairness_micro(run, job, seen->end_ms);
    if (seen->fairness_micro)
        quantile_add(&metrics->fairness_micro, seen->fairness_micro);
    metrics->unfair += seen->fairness_micro > UNFAIR_MICRO;
}

static void end(struct run *run, struct live_run *job, enum end_reason reason)
{
    struct run_job seen = {.number = job->number,
        .id = job->id,
        .submit_ms = job->submit_ms,
        .start_ms = job->start_ms,
        .end_ms = job->done_ms >= 0 ? job->done_ms : run->now_ms,
        .run_ms = job->run_ms,
        .lost_ms = job->lost_ms,
        .duration_ms = job->duration_ms,
        .deadline_ms = job->deadline_ms,
        .device_ms = job->device_ms,
        .ranks = job->ranks,
        .starts = job->starts,
        .preemptions = job->preemptions,
        .reason = reason};
    measure(run, job, &seen);
    if (job->texts) {
        seen.name = job->texts;
        seen.team = seen.name + strlen(seen.name) + 1;
        seen.model = seen.team + strlen(seen.team) + 1;
        run->options->observer.job(run->options->observer.context, &seen);
    }
    live_unlink(run, job);
    live_free(run, job);
}

/* Of an attempt that ended without our report: its node is gone. */
static void attempt_lost(struct run *run, struct live_run *job, uint64_t attempt)
{
    if (job->attempt != attempt)
        return;
    run->metrics->node_losses++;
    lose(run, job, run->now_ms, false);
}

static void told_to_stop(struct run *run, struct live_run *job, const struct core_decision *seen)
{
    bool preempted = seen->reason == END_PREEMPTED;
    if (job->attempt != seen->attempt || job->stop_ms != HEAP_NEVER)
        return;
    job->preemptions += preempted;
    run->metrics->preemptions += preempted;
    run->metrics->resizes += seen->reason == END_RESIZED;
    job->stop_ms = run->now_ms + run->options->grace_ms;
    watch(run, job);
}

void live_decided(struct run *run, const struct core_decision *decision)
{
    enum decision_kind kind = decision->kind;
    bool told = kind == DECISION_ADMIT || kind == DECISION_STOP || kind == DECISION_END ||
                kind == DECISION_JOB_END;
    struct live_run *job = told ? idmap_get(&run->jobs, decision->job) : NULL;
    if (!job)
        return;
    switch (decision->kind) {
    case DECISION_ADMIT: start(run, job, decision->attempt); break;
    case DECISION_STOP: told_to_stop(run, job, decision); break;
    case DECISION_END: attempt_lost(run, job, decision->attempt); break;
    case DECISION_JOB_END: end(run, job, (enum end_reason)decision->reason); break;
    default: break;
    }
}
