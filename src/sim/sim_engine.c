/* The simulated engine: its reports and their way to the core, and reconciliation. */
#include "sim/sim_engine_parts.h"

struct sim_engine *sim_engine_create(uint64_t seed, const struct sim_faults *faults)
{
    struct sim_engine *engine = mem_alloc(1, sizeof *engine);
    engine->prng.state = seed;
    engine->faults = *faults;
    engine->run_ms_max = 60 * 60 * 1000;
    return engine;
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

enum { REPORTS_MAX = 4096 };

/* ---- reports --------------------------------------------------------------------------- */

void queue_put(struct sim_engine *engine, int64_t due_ms, const struct sim_input *input)
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

void report_send(struct sim_engine *engine, int64_t now_ms, const struct sim_input *input)
{
    const struct sim_faults *faults = &engine->faults;
    if (sim_chance(&engine->prng, faults->report_lost))
        return;
    int copies = sim_chance(&engine->prng, faults->report_twice) ? 2 : 1;
    for (int i = 0; i < copies; i++)
        queue_put(
            engine, now_ms + sim_between(&engine->prng, 0, faults->report_delay_ms_max), input);
}

void report_attempt(struct sim_engine *engine, int64_t now_ms, struct core_report report)
{
    struct sim_input input = {.kind = INPUT_ATTEMPT_REPORT, .report = report};
    report_send(engine, now_ms, &input);
}

void run_say(struct sim_engine *engine, struct run *run, int64_t now_ms)
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
