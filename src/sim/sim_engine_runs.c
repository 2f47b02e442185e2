/* Attempts that run: how they begin, go on and end. Each start is looked at by a witness, who knows
 * what really runs. */
#include "sim/sim_engine_parts.h"
#include "sim/sim_services.h"

#include <string.h>

void run_finish(struct run *run)
{
    free(run->held);
}

static size_t run_place(const struct sim_engine *engine, uint64_t attempt)
{
    size_t low = 0, high = engine->runs.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (engine->runs.items[middle].attempt < attempt)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct run *run_find(struct sim_engine *engine, uint64_t attempt)
{
    size_t i = run_place(engine, attempt);
    if (i == engine->runs.count || engine->runs.items[i].attempt != attempt)
        return NULL;
    return &engine->runs.items[i];
}

static struct run *run_insert(struct sim_engine *engine, const struct run *run)
{
    size_t i = run_place(engine, run->attempt);
    vec_push(&engine->runs, *run);
    memmove(&engine->runs.items[i + 1], &engine->runs.items[i],
        (engine->runs.count - 1 - i) * sizeof *run);
    engine->runs.items[i] = *run;
    return &engine->runs.items[i];
}

void run_over(struct run *run, enum end_reason reason, int32_t exit_status, bool complete)
{
    run->state = RUN_OVER;
    run->said_ms = 0;
    run->end = (struct core_report){.attempt = run->attempt,
        .kind = REPORT_ENDED,
        .reason = reason,
        .exit_status = exit_status,
        .complete = complete};
}

bool run_touches(const struct run *run, uint64_t node)
{
    for (size_t i = 0; i < run->held_count; i++)
        if (run->held[i].node == node)
            return true;
    return false;
}

/* How a job ends if nobody stops it, decided when it starts. */
static struct core_report run_fate(struct sim_engine *engine)
{
    static const struct {
        enum end_reason reason;
        int32_t status;
    } failures[] = {{END_EXIT, 1}, {END_EXIT, 137}, {END_SIGNAL, 11}, {END_OUT_OF_MEMORY, 9},
        {END_DISK_QUOTA, 1}};
    struct core_report report = {.kind = REPORT_ENDED, .reason = END_SUCCEEDED, .complete = true};
    if (!sim_chance(&engine->prng, engine->faults.job_fails))
        return report;
    size_t i = prng_below(&engine->prng, ARRAY_LEN(failures));
    report.reason = failures[i].reason;
    report.exit_status = failures[i].status;
    report.complete = false;
    return report;
}

static bool node_is_down(const struct sim_engine *engine, uint64_t node)
{
    for (size_t i = 0; i < engine->nodes.count; i++)
        if (engine->nodes.items[i].id == node)
            return engine->nodes.items[i].down;
    return false;
}

static void run_take_places(struct run *run, const struct sim_store *store)
{
    size_t count = sim_store_count(store, ROW_PLACEMENT);
    run->held = mem_alloc(count + 1, sizeof *run->held);
    for (size_t i = 0; i < count; i++) {
        const struct placement_row *row = sim_store_at(store, ROW_PLACEMENT, i);
        if (row->attempt == run->attempt)
            run->held[run->held_count++] =
                (struct held){row->node, row->devices, row->device_milli};
    }
}

/* What of one device a run uses. */
static int64_t run_uses(const struct run *run, uint64_t node, int device)
{
    int64_t milli = 0;
    for (size_t i = 0; i < run->held_count; i++)
        if (run->held[i].node == node && run->held[i].devices >> device & 1)
            milli += run->held[i].device_milli;
    return milli;
}

static void check_device(
    struct sim_engine *engine, const struct run *run, uint64_t node, int device)
{
    int64_t milli = 0;
    for (size_t i = 0; i < engine->runs.count; i++)
        if (engine->runs.items[i].state != RUN_OVER && !engine->runs.items[i].astray)
            milli += run_uses(&engine->runs.items[i], node, device);
    if (milli > 1000 && !engine->fault.code)
        error_set(&engine->fault, ERR_CORRUPT,
            "invariant 5: attempt %llu starts on device %d of node %llu, which is used to %lld",
            (unsigned long long)run->attempt, device, (unsigned long long)node, (long long)milli);
}

/* What a witness at the machines would say about this start. */
static void check_start(struct sim_engine *engine, const struct run *run)
{
    if (idmap_get(&engine->started, run->attempt) && !engine->fault.code)
        error_set(&engine->fault, ERR_CORRUPT, "invariant 2: attempt %llu was started twice",
            (unsigned long long)run->attempt);
    for (size_t i = 0; i < engine->runs.count; i++) {
        const struct run *other = &engine->runs.items[i];
        if (other->job != run->job || other->attempt == run->attempt || other->state == RUN_OVER ||
            other->astray || engine->fault.code)
            continue;
        error_set(&engine->fault, ERR_CORRUPT,
            "invariant 2: job %llu runs twice: attempt %llu started while %llu runs",
            (unsigned long long)run->job, (unsigned long long)run->attempt,
            (unsigned long long)other->attempt);
    }
    for (size_t i = 0; i < run->held_count; i++)
        for (int device = 0; device < 64; device++)
            if (run->held[i].devices >> device & 1)
                check_device(engine, run, run->held[i].node, device);
}

/* A replica runs until it is stopped, unless its revision is one that crashes, with any status, or
 * a fault ends it like a job. */
static void run_serve(struct sim_engine *engine, struct run *run, const struct replica_row *replica)
{
    enum sim_health health = sim_service_health(replica->service, replica->revision);
    bool crashes = health == HEALTH_CRASHES && !engine->calm;
    if (crashes)
        run->end_ms = run->start_ms + sim_between(&engine->prng, 0, 2000);
    else if (run->end.complete)
        run->end_ms = INT64_MAX;
}

/* Its site gives it so much time and no more. */
static void run_bound(struct sim_engine *engine, struct run *run)
{
    if (engine->calm || !engine->faults.site_ends ||
        !sim_chance(&engine->prng, engine->faults.site_ends))
        return;
    run->site_end_ms = run->start_ms + sim_between(&engine->prng, 1000, 3600 * 1000);
    if (run->end_ms <= run->site_end_ms)
        return;
    run->end_ms = run->site_end_ms;
    run->end = (struct core_report){
        .attempt = run->attempt, .kind = REPORT_ENDED, .reason = END_HANDED_OVER};
}

void run_begin(struct sim_engine *engine, const struct attempt_row *attempt,
    const struct sim_store *store, int64_t now_ms)
{
    struct run new = {.attempt = attempt->id, .job = attempt->job, .wanted = true};
    run_take_places(&new, store);
    struct run *run = run_insert(engine, &new);
    check_start(engine, run);
    idmap_put(&engine->started, attempt->id, engine);
    run->start_ms = now_ms + sim_between(&engine->prng, 0, 3000);
    run->end_ms = run->start_ms + sim_between(&engine->prng, 0, engine->run_ms_max);
    run->end = run_fate(engine);
    run->end.attempt = attempt->id;
    const struct replica_row *replica = sim_replica_of(store, run->job);
    if (replica)
        run_serve(engine, run, replica);
    run_bound(engine, run);
    run->ignores_term = sim_chance(&engine->prng, engine->faults.ignores_term);
    if (sim_chance(&engine->prng, 500))
        run->checkpoint_every_ms = sim_between(&engine->prng, 20 * 1000, 600 * 1000);
    run->checkpoint_ms = run->start_ms + run->checkpoint_every_ms;
    for (size_t i = 0; i < run->held_count; i++)
        if (node_is_down(engine, run->held[i].node))
            run_over(run, END_NODE_LOST, 0, false);
    if (run->state == RUN_STARTING && sim_chance(&engine->prng, engine->faults.start_fails))
        run_over(run, END_START_FAILED, 127, false);
    run_say(engine, run, now_ms);
    if (run->state == RUN_STARTING && sim_chance(&engine->prng, engine->faults.start_lost))
        run_over(run, END_LOST, 0, false);
}

void run_bury(struct sim_engine *engine, const struct attempt_row *attempt, bool stop)
{
    struct run new = {.attempt = attempt->id, .job = attempt->job, .wanted = true};
    struct run *run = run_insert(engine, &new);
    if (stop)
        run_over(run, END_SIGNAL, 15, false);
    else
        run_over(run, END_LOST, 0, false);
}

void run_stop(struct sim_engine *engine, struct run *run, int64_t grace_ms, int64_t now_ms)
{
    run->told_to_stop = true;
    run->kill_ms = now_ms + (grace_ms > 0 ? grace_ms : 0);
    if (run->ignores_term)
        return;
    int64_t end_ms = now_ms + sim_between(&engine->prng, 0, grace_ms > 0 ? grace_ms : 0);
    if (end_ms >= run->end_ms)
        return;
    run->end_ms = end_ms;
    run->end.complete = false;
    run->end.reason = sim_chance(&engine->prng, 300) ? END_EXIT : END_SIGNAL;
    run->end.exit_status = run->end.reason == END_EXIT ? (int32_t)prng_below(&engine->prng, 3) : 15;
    if (run->end.reason == END_EXIT && run->end.exit_status == 0)
        run->end.reason = END_SUCCEEDED;
}

void run_step(struct sim_engine *engine, struct run *run, int64_t now_ms)
{
    if (run->state == RUN_STARTING && run->start_ms <= now_ms) {
        run->state = RUN_RUNNING;
        run_say(engine, run, run->start_ms);
    }
    while (run->state == RUN_RUNNING && run->checkpoint_every_ms && run->checkpoint_ms <= now_ms &&
           run->checkpoint_ms < run->end_ms) {
        report_attempt(engine, run->checkpoint_ms,
            (struct core_report){
                .attempt = run->attempt, .kind = REPORT_CHECKPOINT, .at_ms = run->checkpoint_ms});
        run->checkpoint_ms += run->checkpoint_every_ms;
    }
    if (run->state == RUN_OVER)
        return;
    if (run->told_to_stop && run->kill_ms <= now_ms && run->kill_ms < run->end_ms)
        run_over(run, END_SIGNAL, 9, false);
    else if (run->end_ms <= now_ms) {
        struct core_report end = run->end;
        run_over(run, end.reason, end.exit_status, end.complete);
    }
    if (run->state == RUN_OVER)
        run_say(engine, run, now_ms);
}
