/* The simulated engine: the world of running attempts and of nodes.
 *
 * Invariants: `runs` is sorted by attempt id and holds each id once; a run that is over stays until
 * the core has let go of its attempt, so that its end can be told again; an id that ever ran is in
 * `started` for good. A run is `astray` when the core was told something untrue about it (a lie, a
 * node that seemed lost): what the core then does with its place is no fault of the core's. */
#include "sim/sim_engine.h"

#include "base/map.h"
#include "base/vec.h"
#include "sim/sim_services.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { RESEND_MS = 15 * 1000, REPORTS_MAX = 4096, STALE_COUNT = 16 };

enum run_state { RUN_STARTING, RUN_RUNNING, RUN_OVER };

struct held {
    uint64_t node;
    uint64_t devices;
    int64_t device_milli;
};

struct run {
    uint64_t attempt;
    uint64_t job;
    enum run_state state;
    bool wanted; /* seen in this reconciliation */
    bool told_to_stop;
    bool ignores_term;
    bool astray;
    int64_t start_ms;    /* STARTING: when it will run */
    int64_t end_ms;      /* when it ends by itself, as below */
    int64_t site_end_ms; /* when its site ends it; 0: never */
    int64_t kill_ms;     /* told to stop: when SIGKILL comes */
    int64_t said_ms;     /* when its state was last told */
    int64_t checkpoint_every_ms, checkpoint_ms;
    struct core_report end;
    struct held *held;
    size_t held_count;
};

struct world_node {
    uint64_t id;
    char pool_name[64], name[64];
    bool down;
    int64_t back_ms;
    int64_t said_ms;
};

struct delivery {
    int64_t due_ms;
    uint64_t sequence;
    struct sim_input input;
};

struct sim_engine {
    struct prng prng;
    struct sim_faults faults;
    int64_t run_ms_max;
    uint64_t sequence;
    VEC(struct run) runs;
    VEC(struct world_node) nodes;
    VEC(struct delivery) queue; /* by due_ms, then sequence */
    struct sim_input stale[STALE_COUNT];
    size_t stale_count;
    struct idmap started;
    bool calm;
    struct error fault; /* the first thing that went wrong */
};

struct sim_engine *sim_engine_create(uint64_t seed, const struct sim_faults *faults)
{
    struct sim_engine *engine = mem_alloc(1, sizeof *engine);
    engine->prng.state = seed;
    engine->faults = *faults;
    engine->run_ms_max = 60 * 60 * 1000;
    return engine;
}

static void run_finish(struct run *run)
{
    free(run->held);
}

void sim_engine_destroy(struct sim_engine *engine)
{
    if (!engine)
        return;
    for (size_t i = 0; i < engine->runs.count; i++)
        run_finish(&engine->runs.items[i]);
    vec_free(&engine->runs);
    vec_free(&engine->nodes);
    vec_free(&engine->queue);
    idmap_finish(&engine->started);
    free(engine);
}

void sim_engine_set_run_max(struct sim_engine *engine, int64_t run_ms_max)
{
    engine->run_ms_max = run_ms_max;
}

void sim_engine_calm(struct sim_engine *engine, int64_t now_ms)
{
    engine->faults = (struct sim_faults){0};
    engine->calm = true;
    sim_engine_disconnect(engine);
    for (size_t i = 0; i < engine->nodes.count; i++)
        if (engine->nodes.items[i].down)
            engine->nodes.items[i].back_ms = now_ms;
}

int sim_engine_check(const struct sim_engine *engine, struct error *err)
{
    if (!engine->fault.code)
        return 0;
    return error_set(err, engine->fault.code, "%s", engine->fault.text);
}

size_t sim_engine_running(const struct sim_engine *engine)
{
    size_t count = 0;
    for (size_t i = 0; i < engine->runs.count; i++)
        count += engine->runs.items[i].state != RUN_OVER;
    return count;
}

/* ---- reports --------------------------------------------------------------------------- */

static void queue_put(struct sim_engine *engine, int64_t due_ms, const struct sim_input *input)
{
    struct delivery delivery = {due_ms, engine->sequence++, *input};
    if (engine->queue.count == REPORTS_MAX)
        return;
    vec_push(&engine->queue, delivery);
    size_t i = engine->queue.count - 1;
    while (i > 0 && engine->queue.items[i - 1].due_ms > due_ms) {
        engine->queue.items[i] = engine->queue.items[i - 1];
        i--;
    }
    engine->queue.items[i] = delivery;
}

/* Sends a report on its way, which may lose, double or delay it. */
static void report_send(struct sim_engine *engine, int64_t now_ms, const struct sim_input *input)
{
    const struct sim_faults *faults = &engine->faults;
    if (sim_chance(&engine->prng, faults->report_lost))
        return;
    int copies = sim_chance(&engine->prng, faults->report_twice) ? 2 : 1;
    for (int i = 0; i < copies; i++)
        queue_put(
            engine, now_ms + sim_between(&engine->prng, 0, faults->report_delay_ms_max), input);
}

static void report_attempt(struct sim_engine *engine, int64_t now_ms, struct core_report report)
{
    struct sim_input input = {.kind = INPUT_ATTEMPT_REPORT, .report = report};
    report_send(engine, now_ms, &input);
}

static void run_say(struct sim_engine *engine, struct run *run, int64_t now_ms)
{
    static const enum report_kind kinds[] = {
        [RUN_STARTING] = REPORT_SUBMITTED, [RUN_RUNNING] = REPORT_STARTED};
    struct core_report report = {.attempt = run->attempt};
    if (run->state == RUN_OVER)
        report = run->end;
    else
        report.kind = kinds[run->state];
    run->said_ms = now_ms;
    report_attempt(engine, now_ms, report);
    if (run->state == RUN_RUNNING && run->site_end_ms)
        report_attempt(engine, now_ms,
            (struct core_report){
                .attempt = run->attempt, .kind = REPORT_SITE_END, .at_ms = run->site_end_ms});
}

static void node_lost_delivered(struct sim_engine *engine, const struct sim_input *input);

bool sim_engine_report(struct sim_engine *engine, int64_t now_ms, struct sim_input *ret_input)
{
    if (!engine->queue.count || engine->queue.items[0].due_ms > now_ms)
        return false;
    *ret_input = engine->queue.items[0].input;
    vec_remove(&engine->queue, 0);
    engine->stale[engine->stale_count++ % STALE_COUNT] = *ret_input;
    if (ret_input->kind == INPUT_NODE_REPORT && !ret_input->up)
        node_lost_delivered(engine, ret_input);
    return true;
}

void sim_engine_disconnect(struct sim_engine *engine)
{
    vec_clear(&engine->queue);
    for (size_t i = 0; i < engine->runs.count; i++)
        engine->runs.items[i].said_ms = 0;
    for (size_t i = 0; i < engine->nodes.count; i++)
        engine->nodes.items[i].said_ms = 0;
}

/* ---- runs ------------------------------------------------------------------------------ */

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

static struct run *run_find(struct sim_engine *engine, uint64_t attempt)
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

static void run_over(struct run *run, enum end_reason reason, int32_t exit_status, bool complete)
{
    run->state = RUN_OVER;
    run->said_ms = 0;
    run->end = (struct core_report){.attempt = run->attempt,
        .kind = REPORT_ENDED,
        .reason = reason,
        .exit_status = exit_status,
        .complete = complete};
}

static bool run_touches(const struct run *run, uint64_t node)
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

/* The engine takes a start: the attempt will run, fail to start, or be forgotten. */
static void run_begin(struct sim_engine *engine, const struct attempt_row *attempt,
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

/* An attempt of which nothing is known here, and that cannot be started any more. */
static void run_bury(struct sim_engine *engine, const struct attempt_row *attempt, bool stop)
{
    struct run new = {.attempt = attempt->id, .job = attempt->job, .wanted = true};
    struct run *run = run_insert(engine, &new);
    if (stop)
        run_over(run, END_SIGNAL, 15, false);
    else
        run_over(run, END_LOST, 0, false);
}

static void run_stop(struct sim_engine *engine, struct run *run, int64_t grace_ms, int64_t now_ms)
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

static void run_step(struct sim_engine *engine, struct run *run, int64_t now_ms)
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

/* ---- nodes ----------------------------------------------------------------------------- */

static void node_say(struct sim_engine *engine, struct world_node *node, bool up, int64_t now_ms)
{
    struct sim_input input = {.kind = INPUT_NODE_REPORT, .up = up};
    memcpy(input.pool_name, node->pool_name, sizeof input.pool_name);
    memcpy(input.node_name, node->name, sizeof input.node_name);
    node->said_ms = now_ms;
    report_send(engine, now_ms, &input);
}

/* The core has heard that a node is gone, true or not: it lets go of everything on it. A report
 * names a node; a pool that was made anew may have another one of that name. */
static void node_lost_delivered(struct sim_engine *engine, const struct sim_input *input)
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

/* ---- the world ------------------------------------------------------------------------- */

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

/* ---- reconciliation -------------------------------------------------------------------- */

struct reconciliation {
    struct sim_engine *engine;
    const struct sim_store *store;
    int64_t now_ms;
};

static void reconcile_wish(
    void *context, const struct attempt_row *attempt, const struct attempt_wish *wish)
{
    struct reconciliation *reconciliation = context;
    struct sim_engine *engine = reconciliation->engine;
    int64_t now_ms = reconciliation->now_ms;
    struct run *run = run_find(engine, attempt->id);
    if (!run) {
        if (wish->stop || attempt->state != ATTEMPT_ADMITTED)
            run_bury(engine, attempt, wish->stop);
        else
            run_begin(engine, attempt, reconciliation->store, now_ms);
        return;
    }
    run->wanted = true;
    if (wish->stop && !run->told_to_stop && run->state != RUN_OVER)
        run_stop(engine, run, wish->grace_ms, now_ms);
    bool heard = run->state == RUN_STARTING ? attempt->state >= ATTEMPT_SUBMITTED
                                            : attempt->state >= ATTEMPT_STARTED;
    if (run->state == RUN_OVER)
        heard = false;
    if (!heard && run->said_ms + RESEND_MS <= now_ms)
        run_say(engine, run, now_ms);
}

/* What runs and is not wanted: the core has let go of it, which it may only do when told so. */
static void reconcile_orphan(struct sim_engine *engine, struct run *run)
{
    if (run->state == RUN_OVER || run->astray || engine->fault.code)
        return;
    error_set(&engine->fault, ERR_CORRUPT,
        "invariant 2: the core has forgotten attempt %llu of job %llu, which still runs",
        (unsigned long long)run->attempt, (unsigned long long)run->job);
}

static void reconcile_nodes(
    struct sim_engine *engine, const struct sim_store *store, int64_t now_ms)
{
    for (size_t i = 0; i < engine->nodes.count; i++) {
        struct world_node *node = &engine->nodes.items[i];
        const struct node_row *row = sim_store_row(store, ROW_NODE, node->id);
        if (!row || (row->state == NODE_LOST) == node->down || node->said_ms + RESEND_MS > now_ms)
            continue;
        node_say(engine, node, !node->down, now_ms);
    }
}

void sim_engine_reconcile(struct sim_engine *engine, const struct core *core,
    const struct sim_store *store, int64_t now_ms)
{
    struct reconciliation reconciliation = {engine, store, now_ms};
    for (size_t i = 0; i < engine->runs.count; i++)
        engine->runs.items[i].wanted = false;
    core_attempt_each(core, reconcile_wish, &reconciliation);
    size_t kept = 0;
    for (size_t i = 0; i < engine->runs.count; i++) {
        struct run *run = &engine->runs.items[i];
        if (run->wanted) {
            engine->runs.items[kept++] = *run;
            continue;
        }
        reconcile_orphan(engine, run);
        run_finish(run);
    }
    engine->runs.count = kept;
    reconcile_nodes(engine, store, now_ms);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t sim_engine_next_ms(const struct sim_engine *engine)
{
    int64_t next_ms = engine->queue.count ? engine->queue.items[0].due_ms : INT64_MAX;
    for (size_t i = 0; i < engine->runs.count; i++) {
        const struct run *run = &engine->runs.items[i];
        if (run->state == RUN_OVER) {
            next_ms = least(next_ms, run->said_ms + RESEND_MS);
            continue;
        }
        next_ms = least(next_ms, run->state == RUN_STARTING ? run->start_ms : run->end_ms);
        if (run->told_to_stop)
            next_ms = least(next_ms, run->kill_ms);
    }
    for (size_t i = 0; i < engine->nodes.count; i++)
        if (engine->nodes.items[i].down)
            next_ms = least(next_ms, engine->nodes.items[i].back_ms);
    return next_ms;
}
