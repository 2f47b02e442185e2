/* The world of the core's tests: see test_help.h. The stored rows are a plain list in the order
 * they were first stored, searched from end to end, so that nothing of the core's tables is used to
 * check them. */
#include "core/test_help.h"

#include <stdio.h>
#include <stdlib.h>

int world_setup(void **state)
{
    struct world *world = mem_alloc(1, sizeof *world);
    world->core = core_create(NULL);
    world->now_ms = START_MS;
    core_begin(world->core, world->now_ms);
    *state = world;
    return 0;
}

void world_begin(struct world *world, const struct core_options *options)
{
    core_destroy(world->core);
    world->options = *options;
    world->core = core_create(options);
    core_begin(world->core, world->now_ms);
}

int world_teardown(void **state)
{
    struct world *world = *state;
    core_destroy(world->core);
    for (size_t i = 0; i < world->rows.count; i++)
        free(world->rows.items[i].bytes);
    vec_free(&world->rows);
    vec_free(&world->decisions);
    free(world);
    return 0;
}

static struct stored_row *stored_find(struct world *world, enum row_kind kind, uint64_t id)
{
    for (size_t i = 0; i < world->rows.count; i++) {
        if (world->rows.items[i].kind == kind && world->rows.items[i].id == id)
            return &world->rows.items[i];
    }
    return NULL;
}

static void store_change(void *context, const struct core_change *change)
{
    struct world *world = context;
    uint64_t id = *(const uint64_t *)change->row;
    struct stored_row *row = stored_find(world, change->kind, id);
    if (!row) {
        assert_int_not_equal(change->change, CHANGE_DELETE);
        vec_push(&world->rows, ((struct stored_row){.kind = change->kind, .id = id}));
        row = &world->rows.items[world->rows.count - 1];
        row->bytes = mem_alloc(1, row_type(change->kind)->size);
        row->live = true;
    }
    assert_true(row->live);
    if (change->change != CHANGE_DELETE)
        memcpy(row->bytes, change->row, row_type(change->kind)->size);
    row->live = change->change == CHANGE_PUT && !row_type(change->kind)->history;
}

static void keep_decision(void *context, const struct core_decision *decision)
{
    struct world *world = context;
    vec_push(&world->decisions, *decision);
}

static struct core *load(struct world *world)
{
    struct core *core = core_create(&world->options);
    struct error err;
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++) {
        uint64_t last = 0;
        for (;;) {
            struct stored_row *next = NULL;
            for (size_t i = 0; i < world->rows.count; i++) {
                struct stored_row *row = &world->rows.items[i];
                if ((int)row->kind == kind && row->live && row->id > last &&
                    (!next || row->id < next->id))
                    next = row;
            }
            if (!next)
                break;
            last = next->id;
            if (core_load_row(core, (enum row_kind)kind, next->bytes, &err) < 0)
                fail_msg("%s", err.text);
        }
    }
    if (core_load_end(core, &err) < 0)
        fail_msg("%s", err.text);
    return core;
}

static void check(const struct core *core)
{
    struct error err;
    if (core_check(core, &err) < 0)
        fail_msg("%s", err.text);
}

void world_tick(struct world *world, int64_t ms)
{
    world->now_ms += ms;
    core_begin(world->core, world->now_ms);
    core_schedule(world->core);
    core_changes(world->core, store_change, world);
    vec_clear(&world->decisions);
    core_decisions(world->core, keep_decision, world);
    core_end(world->core);
    check(world->core);
    struct core *other = load(world);
    assert_int_equal(core_digest(other), core_digest(world->core));
    core_destroy(other);
}

void world_reload(struct world *world)
{
    core_destroy(world->core);
    world->core = load(world);
    core_begin(world->core, world->now_ms);
}

struct node node_make(const char *name, int64_t cpus, int64_t gib, int64_t devices)
{
    return (struct node){
        .name = name,
        .count = 1,
        .capacity = {.cpu_milli = cpus * 1000,
            .memory_bytes = gib * GIB,
            .disk_bytes = 100 * GIB,
            .accelerator = devices ? "gpu" : NULL,
            .accelerator_milli = devices * 1000},
        .fractional = true,
    };
}

static void must(int rc, const struct error *err)
{
    if (rc < 0)
        fail_msg("%s", err->text);
}

void world_pool(struct world *world, const char *name, struct node *nodes, size_t count)
{
    struct error err;
    struct pool pool = {.metadata.name = name, .nodes = {nodes, count}};
    must(core_pool_put(world->core, &pool, &err), &err);
}

struct team team_make(const char *name, const char *parent)
{
    return (struct team){
        .metadata.name = name,
        .parent = parent,
        .weight_micro = 1000000,
        .borrow = true,
        .jobs_max = 100000,
    };
}

void world_team(struct world *world, const char *name)
{
    struct error err;
    struct team team = team_make(name, NULL);
    must(core_team_put(world->core, &team, &err), &err);
}

void world_team_quota(struct world *world, const char *name, const char *parent,
    const char *resource, int64_t guarantee, int64_t limit)
{
    struct error err;
    struct team team = team_make(name, parent);
    struct quota quota = {.resource = resource, .guarantee = guarantee, .limit = limit};
    team.quotas.items = &quota;
    team.quotas.count = 1;
    must(core_team_put(world->core, &team, &err), &err);
}

struct job job_make(const char *team, const char *name, int64_t cpus, int64_t devices)
{
    return (struct job){
        .metadata = {.name = name, .team = team},
        .gang.size = 1,
        .resources = {.cpu_milli = cpus * 1000,
            .memory_bytes = cpus * GIB,
            .accelerator = devices ? "gpu" : NULL,
            .accelerator_milli = devices * 1000},
        .priority = PRIORITY_NORMAL,
        .preemptible = true,
        .preemptions_max = -1,
        .grace_ms = 30000,
    };
}

uint64_t world_submit(struct world *world, const struct job *job)
{
    struct error err;
    uint64_t id = 0;
    must(core_job_submit(world->core, job, &id, &err), &err);
    return id;
}

const void *world_row(struct world *world, enum row_kind kind, uint64_t id)
{
    struct stored_row *row = stored_find(world, kind, id);
    return row ? row->bytes : NULL;
}

const struct job_row *world_job(struct world *world, uint64_t id)
{
    const struct job_row *live = core_job(world->core, id);
    const struct job_row *row = live ? live : world_row(world, ROW_JOB, id);
    assert_non_null(row);
    return row;
}

int32_t world_state(struct world *world, uint64_t job)
{
    return world_job(world, job)->state;
}

static uint64_t attempt_of(struct world *world, uint64_t job)
{
    const struct job_row *row = core_job(world->core, job);
    assert_non_null(row);
    assert_int_not_equal(row->attempt, 0);
    return row->attempt;
}

void world_start(struct world *world, uint64_t job)
{
    struct core_report report = {.attempt = attempt_of(world, job), .kind = REPORT_SUBMITTED};
    assert_true(core_attempt_report(world->core, &report));
    report.kind = REPORT_STARTED;
    assert_true(core_attempt_report(world->core, &report));
}

void world_site_end(struct world *world, uint64_t job, int64_t at_ms)
{
    struct core_report report = {
        .attempt = attempt_of(world, job), .kind = REPORT_SITE_END, .at_ms = at_ms};
    assert_true(core_attempt_report(world->core, &report));
}

void world_end(struct world *world, uint64_t job, enum end_reason reason)
{
    struct core_report report = {
        .attempt = attempt_of(world, job), .kind = REPORT_ENDED, .reason = reason};
    report.exit_status = reason == END_EXIT ? 1 : 0;
    assert_true(core_attempt_report(world->core, &report));
}

void world_end_complete(struct world *world, uint64_t job, bool complete)
{
    struct core_report report = {.attempt = attempt_of(world, job),
        .kind = REPORT_ENDED,
        .reason = END_EXIT,
        .complete = complete};
    assert_true(core_attempt_report(world->core, &report));
}

void world_checkpoint(struct world *world, uint64_t job, int64_t at_ms)
{
    struct core_report report = {
        .attempt = attempt_of(world, job), .kind = REPORT_CHECKPOINT, .at_ms = at_ms};
    assert_true(core_attempt_report(world->core, &report));
}

struct first_node {
    uint64_t node;
};

static void keep_first(void *context, enum row_kind kind, const void *row)
{
    struct first_node *first = context;
    assert_int_equal(kind, ROW_PLACEMENT);
    if (!first->node)
        first->node = ((const struct placement_row *)row)->node;
}

const char *world_node_of(struct world *world, uint64_t job)
{
    struct first_node first = {0};
    const struct job_row *row = core_job(world->core, job);
    if (!row || !row->attempt)
        return "";
    core_placement_each(world->core, row->attempt, keep_first, &first);
    const struct node_row *node = core_node(world->core, first.node);
    assert_non_null(node);
    return core_symbol(world->core, node->name);
}

size_t world_decided(struct world *world, enum decision_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < world->decisions.count; i++)
        count += world->decisions.items[i].kind == kind;
    return count;
}

size_t world_row_count(struct world *world, enum row_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < world->rows.count; i++)
        count += world->rows.items[i].kind == kind;
    return count;
}

const void *world_row_at(struct world *world, enum row_kind kind, size_t index)
{
    for (size_t i = 0; i < world->rows.count; i++) {
        if (world->rows.items[i].kind == kind && index-- == 0)
            return world->rows.items[i].bytes;
    }
    return NULL;
}
