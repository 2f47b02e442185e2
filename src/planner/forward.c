/* Forward runs: see forward.h.
 *
 *     loop    the next end of an attempt, or the next moment of the core, whichever is first
 *             ends that fall together (within a small part of the time gone by) are one tick
 *             the core schedules; what it admits starts at once, what it stops ends soon
 *
 * What is not modelled: jobs that will come, nodes that will fail, services that scale. */
#include "planner/forward.h"

#include "base/map.h"
#include "base/memory.h"
#include "base/vec.h"

#include <assert.h>
#include <stdlib.h>

enum {
    STOP_MS = 2000,        /* from the word to stop to the end, at most the grace */
    GRAIN_PART = 512,      /* ends within this part of the time gone by are taken together.. */
    GRAIN_MAX_MS = 60000,  /* ..but never further apart than this */
    IDLE_TICKS_MAX = 2000, /* ticks in a row that change nothing: nothing more will happen */
    ENOUGH_TICKS = 16,     /* between two questions whether that is enough */
};

/* Work of a job, which outlives its attempts. */
struct work {
    uint64_t job;
    int64_t total_ms, done_ms;
    uint64_t attempt;   /* that runs, or 0 */
    int64_t begun_ms;   /* of it */
    int64_t end_ms;     /* of it; INT64_MAX: never */
    int64_t hour_micro; /* what it costs */
    bool stopping;
};

struct moment {
    int64_t at_ms;
    uint64_t attempt;
    struct work *work;
};

struct run {
    struct core *core;
    const struct forward_options *options;
    struct forward_result *result;
    struct arena *arena;
    struct idmap works; /* by job */
    VEC(struct moment) heap;
    VEC(struct core_decision) decisions;
    int64_t now_ms;
    int64_t until_ms;
    int64_t waiting; /* jobs that may start yet */
    bool declined;   /* the target turned a pool down */
    bool found;      /* the target has started or ended, or no pool is left for it */
};

/* ---- the heap of ends ---------------------------------------------------------------------- */

static bool before(const struct moment *a, const struct moment *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->attempt < b->attempt;
}

static void heap_push(struct run *run, struct moment moment)
{
    vec_push(&run->heap, moment);
    struct moment *items = run->heap.items;
    for (size_t i = run->heap.count - 1; i > 0 && before(&items[i], &items[(i - 1) / 2]);) {
        struct moment other = items[(i - 1) / 2];
        items[(i - 1) / 2] = items[i];
        items[i] = other;
        i = (i - 1) / 2;
    }
}

static struct moment heap_pop(struct run *run)
{
    struct moment *items = run->heap.items, top = items[0];
    items[0] = items[--run->heap.count];
    for (size_t i = 0;;) {
        size_t least = i, left = 2 * i + 1, right = left + 1;
        if (left < run->heap.count && before(&items[left], &items[least]))
            least = left;
        if (right < run->heap.count && before(&items[right], &items[least]))
            least = right;
        if (least == i)
            return top;
        struct moment other = items[least];
        items[least] = items[i];
        items[i] = other;
        i = least;
    }
}

/* An entry that was overtaken by another end of the same attempt, or by its end. */
static bool stale(const struct moment *moment)
{
    return moment->work->attempt != moment->attempt || moment->work->end_ms != moment->at_ms;
}

static bool heap_first(struct run *run, int64_t *ret_ms)
{
    while (run->heap.count > 0 && stale(&run->heap.items[0]))
        (void)heap_pop(run);
    if (run->heap.count == 0)
        return false;
    *ret_ms = run->heap.items[0].at_ms;
    return true;
}

/* ---- jobs ---------------------------------------------------------------------------------- */

void forward_describe(const struct core *core, const struct job_row *job, struct history_job *ret)
{
    const struct team_row *team = core_team(core, job->team);
    history_describe(job, core_shape(core, job->shape), team ? core_symbol(core, team->name) : "",
        core_symbol(core, job->name), core_symbol(core, job->class_name), ret);
}

static struct work *work_of(struct run *run, uint64_t job)
{
    struct work *work = idmap_get(&run->works, job);
    if (work)
        return work;
    work = arena_alloc(run->arena, 1, sizeof *work);
    work->job = job;
    idmap_put(&run->works, job, work);
    return work;
}

static void end_at(struct run *run, struct work *work, int64_t at_ms)
{
    work->end_ms = at_ms;
    if (at_ms != INT64_MAX)
        heap_push(run, (struct moment){at_ms, work->attempt, work});
}

static int64_t stop_length(const struct job_row *job)
{
    return job->grace_ms < STOP_MS ? job->grace_ms : STOP_MS;
}

/* The attempt runs from begun_ms on; elapsed_ms of it are known to be over. */
static void begin_attempt(
    struct run *run, const struct job_row *job, int64_t begun_ms, int64_t elapsed_ms)
{
    struct work *work = work_of(run, job->id);
    work->attempt = job->attempt;
    work->begun_ms = begun_ms;
    work->stopping = false;
    work->hour_micro = core_attempt_hour_micro(run->core, job->attempt);
    if (job->service) {
        end_at(run, work, INT64_MAX);
        return;
    }
    if (!work->total_ms) {
        struct history_job known;
        forward_describe(run->core, job, &known);
        work->total_ms = history_draw(run->options->history, &known, job->id, elapsed_ms,
            run->options->scenario, run->options->scenarios);
    }
    int64_t left = work->total_ms - work->done_ms;
    end_at(run, work, begun_ms + (left > elapsed_ms ? left : elapsed_ms + 1));
}

static void stop_attempt(struct run *run, uint64_t id)
{
    const struct attempt_row *attempt = core_attempt(run->core, id);
    const struct job_row *job = attempt ? core_job(run->core, attempt->job) : NULL;
    struct work *work = job ? work_of(run, job->id) : NULL;
    if (!work || work->attempt != id || work->stopping)
        return;
    work->stopping = true;
    int64_t end_ms = run->now_ms + stop_length(job);
    if (end_ms >= work->end_ms)
        return;
    /* What a checkpoint saved needs not be done again. */
    if (job->checkpoint_ms >= work->begun_ms)
        work->done_ms += run->now_ms - work->begun_ms;
    end_at(run, work, end_ms);
}

/* Only a job that waited when the run began has no work yet. */
static void count_start(struct run *run, const struct job_row *job)
{
    if (idmap_get(&run->works, job->id))
        return;
    run->waiting--;
    run->found = run->found || job->id == run->options->target;
    if (run->options->started)
        run->options->started(run->options->context, job->id, run->now_ms);
}

/* What the attempt cost from the run's beginning on. */
static void count_cost(struct run *run, const struct work *work, int64_t end_ms)
{
    int64_t from_ms = work->begun_ms > run->options->now_ms ? work->begun_ms : run->options->now_ms;
    if (run->options->held && end_ms > from_ms)
        run->options->held(run->options->context, work->job,
            (int64_t)((__int128)work->hour_micro * 1000 * (end_ms - from_ms) / 3600000));
}

static void report(struct run *run, uint64_t attempt, enum report_kind kind, bool complete)
{
    (void)core_attempt_report(run->core, &(struct core_report){.attempt = attempt,
                                             .kind = kind,
                                             .reason = complete ? END_SUCCEEDED : END_SIGNAL,
                                             .exit_status = complete ? 0 : 15,
                                             .at_ms = run->now_ms,
                                             .complete = complete});
}

/* ---- a tick -------------------------------------------------------------------------------- */

static void on_decision(void *context, const struct core_decision *decision)
{
    struct run *run = context;
    if (decision->kind == DECISION_ADMIT || decision->kind == DECISION_STOP ||
        decision->kind == DECISION_JOB_END)
        vec_push(&run->decisions, *decision);
}

static void decline(struct run *run, const struct core_decision *decision)
{
    const struct forward_options *options = run->options;
    bool left = core_job_decline(run->core, decision->attempt);
    if (decision->job != options->target)
        return;
    run->found = !left;
    if (!run->declined && options->until_ms - run->now_ms > options->on_ms)
        run->until_ms = run->now_ms + options->on_ms;
    run->declined = true;
}

static void on_admitted(struct run *run, const struct core_decision *decision)
{
    uint64_t id = decision->attempt;
    const struct attempt_row *attempt = core_attempt(run->core, id);
    const struct forward_options *options = run->options;
    if (!attempt)
        return;
    if (options->declines && !idmap_get(&run->works, decision->job) &&
        options->declines(options->context, decision->job, decision->pool, run->now_ms)) {
        decline(run, decision);
        return;
    }
    report(run, id, REPORT_STARTED, false);
    const struct job_row *job = core_job(run->core, attempt->job);
    run->result->admissions++;
    count_start(run, job);
    begin_attempt(run, job, run->now_ms, 0);
}

static void on_job_end(struct run *run, const struct core_decision *decision)
{
    const struct work *work = idmap_get(&run->works, decision->job);
    run->waiting -= !work;
    run->found = run->found || decision->job == run->options->target;
    if (run->options->ended)
        run->options->ended(
            run->options->context, decision->job, run->now_ms, (enum end_reason)decision->reason);
}

/* Returns whether anything was decided. */
static bool tick(struct run *run)
{
    core_schedule(run->core);
    vec_clear(&run->decisions);
    core_decisions(run->core, on_decision, run);
    for (size_t i = 0; i < run->decisions.count; i++) {
        const struct core_decision *decision = &run->decisions.items[i];
        switch (decision->kind) {
        case DECISION_ADMIT: on_admitted(run, decision); break;
        case DECISION_STOP: stop_attempt(run, decision->attempt); break;
        default: on_job_end(run, decision); break;
        }
    }
    core_end(run->core);
    run->result->ticks++;
    return run->decisions.count > 0;
}

/* Ends every attempt whose end is near enough to the first one; the tick is at the last of them. */
static void take_ends(struct run *run, int64_t first_ms)
{
    int64_t grain = (first_ms - run->options->now_ms) / GRAIN_PART;
    grain = grain < GRAIN_MAX_MS ? grain : GRAIN_MAX_MS;
    VEC(struct moment) ends = {0};
    int64_t at_ms;
    while (heap_first(run, &at_ms) && at_ms <= first_ms + grain) {
        struct moment moment = heap_pop(run);
        vec_push(&ends, moment);
        run->now_ms = at_ms > run->now_ms ? at_ms : run->now_ms;
    }
    core_begin(run->core, run->now_ms);
    for (size_t i = 0; i < ends.count; i++) {
        struct work *work = ends.items[i].work;
        work->attempt = 0;
        count_cost(run, work, ends.items[i].at_ms);
        report(run, ends.items[i].attempt, REPORT_ENDED, !work->stopping);
    }
    vec_free(&ends);
}

struct replicas {
    VEC(struct core_wanted) wanted;
};

static void list_replica(void *context, const struct core_wanted *wanted)
{
    struct replicas *replicas = context;
    vec_push(&replicas->wanted, *wanted);
}

/* Replicas are not made here: their services ask again later. */
static void refuse_replicas(struct run *run)
{
    struct replicas replicas = {{0}};
    core_service_wanted(run->core, list_replica, &replicas);
    for (size_t i = 0; i < replicas.wanted.count; i++)
        core_replica_refused(run->core, &replicas.wanted.items[i]);
    vec_free(&replicas.wanted);
}

static void run_loop(struct run *run)
{
    const struct forward_options *options = run->options;
    int64_t idle = 0;
    while (!run->found && (options->target || run->waiting > 0 || run->heap.count > 0)) {
        int64_t next_ms = core_next_ms(run->core), end_ms = INT64_MAX;
        bool ends = heap_first(run, &end_ms);
        if (next_ms <= run->now_ms)
            next_ms = run->now_ms + 1;
        if (!ends && (next_ms == INT64_MAX || idle > IDLE_TICKS_MAX))
            return;
        int64_t at_ms = ends && end_ms < next_ms ? end_ms : next_ms;
        if (at_ms > run->until_ms || (run->result->ticks % ENOUGH_TICKS == 0 && options->enough &&
                                         options->enough(options->context))) {
            run->result->cut = true;
            run->now_ms = at_ms > run->until_ms ? run->until_ms : run->now_ms;
            return;
        }
        run->now_ms = at_ms;
        if (ends && end_ms <= at_ms)
            take_ends(run, end_ms);
        else
            core_begin(run->core, at_ms);
        refuse_replicas(run);
        idle = tick(run) ? 0 : idle + 1;
    }
}

/* ---- the beginning ------------------------------------------------------------------------- */

static void count_job(void *context, enum row_kind kind, const void *row)
{
    struct run *run = context;
    const struct job_row *job = row;
    (void)kind;
    run->waiting += job->attempt == 0;
}

struct attempts {
    VEC(uint64_t) ids;
};

static void list_attempt(void *context, enum row_kind kind, const void *row)
{
    struct attempts *attempts = context;
    (void)kind;
    vec_push(&attempts->ids, *(const uint64_t *)row);
}

/* What runs goes on, what was told to stop ends soon, what was admitted starts. */
static void begin(struct run *run)
{
    struct attempts attempts = {{0}};
    core_row_each(run->core, ROW_JOB, count_job, run);
    core_row_each(run->core, ROW_ATTEMPT, list_attempt, &attempts);
    core_begin(run->core, run->now_ms);
    for (size_t i = 0; i < attempts.ids.count; i++) {
        const struct attempt_row *attempt = core_attempt(run->core, attempts.ids.items[i]);
        const struct job_row *job = core_job(run->core, attempt->job);
        int64_t begun_ms = attempt->started_ms ? attempt->started_ms : run->now_ms;
        if (attempt->state != ATTEMPT_STARTED)
            report(run, attempt->id, REPORT_STARTED, false);
        begin_attempt(run, job, begun_ms < run->now_ms ? begun_ms : run->now_ms,
            begun_ms < run->now_ms ? run->now_ms - begun_ms : 0);
        if (attempt->stop_reason != END_NONE)
            stop_attempt(run, attempt->id);
    }
    vec_free(&attempts.ids);
    refuse_replicas(run);
    (void)tick(run);
}

void forward_run(
    struct core *core, const struct forward_options *options, struct forward_result *ret)
{
    struct run run = {.core = core,
        .options = options,
        .result = ret,
        .arena = arena_create(),
        .now_ms = options->now_ms,
        .until_ms = options->until_ms};
    *ret = (struct forward_result){0};
    core_run_forward(core);
    begin(&run);
    run_loop(&run);
    ret->reached_ms = run.now_ms;
    vec_free(&run.heap);
    vec_free(&run.decisions);
    idmap_finish(&run.works);
    arena_destroy(run.arena);
}
