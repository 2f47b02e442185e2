/* Seeded random commands and reports, wise and foolish, with everything checked after every tick:
 * the invariants of one state, that reloading gives the same digest, and over time that ended jobs
 * stay ended, that ids are never used twice and that what is told to stop is never more than it
 * was allowed. CORE_SEEDS in the environment sets how many seeds, CORE_SEED runs one. */
#include "base/prng.h"
#include "core/allot.h"
#include "core/test_help.h"

#include <stdio.h>
#include <stdlib.h>

enum { TICKS = 60, JOBS_MAX = 256 };

struct run {
    struct world *world;
    struct prng prng;
    uint64_t jobs[JOBS_MAX];
    size_t job_count;
    int names;
    bool plain; /* nothing that keeps scores from being remembered */
};

static uint64_t below(struct run *run, uint64_t bound)
{
    return prng_below(&run->prng, bound);
}

static bool chance(struct run *run, uint64_t percent)
{
    return below(run, 100) < percent;
}

static const char *const team_names[] = {"root-a", "root-b", "a-one", "a-two", "b-one"};
static const char *const team_parents[] = {NULL, NULL, "root-a", "root-a", "root-b"};
static const char *const resources[] = {"cpu", "accelerators", "gpu", "memory"};

static void put_team(struct run *run)
{
    size_t i = below(run, ARRAY_LEN(team_names));
    struct team team = team_make(team_names[i], team_parents[i]);
    struct quota quotas[2];
    team.weight_micro = (int64_t)below(run, 4) * 1000000;
    team.borrow = chance(run, 85);
    team.quotas.items = quotas;
    team.quotas.count = below(run, 3);
    for (size_t q = 0; q < team.quotas.count; q++) {
        int64_t guarantee = (int64_t)below(run, 5) * 1000;
        quotas[q].resource = resources[below(run, 2) + 2 * q];
        quotas[q].guarantee = guarantee;
        quotas[q].limit = chance(run, 50) ? -1 : guarantee + (int64_t)below(run, 8) * 1000;
        if (q == 1 && strcmp(quotas[q].resource, "memory") == 0)
            quotas[q].guarantee = 0, quotas[q].limit = (int64_t)below(run, 64) * GIB;
    }
    if (core_team_put(run->world->core, &team, NULL) < 0 && chance(run, 50)) {
        team.quotas.count = 0;
        (void)!core_team_put(run->world->core, &team, NULL);
    }
}

static void put_pool(struct run *run)
{
    struct label labels[] = {{"zone", chance(run, 50) ? "east" : "west"}};
    struct taint taints[] = {
        {"spot", "yes", chance(run, 50) ? TAINT_NO_EXECUTE : TAINT_NO_SCHEDULE}};
    struct node nodes[] = {
        node_make("g", 8, 32, 4), node_make("c", 16, 64, 0), node_make("h", 4, 16, 2)};
    nodes[0].count = 1 + (int64_t)below(run, 3);
    nodes[1].labels.items = labels;
    nodes[1].labels.count = 1;
    nodes[2].count = (int64_t)below(run, 3);
    nodes[2].fractional = chance(run, 50);
    if (chance(run, 20)) {
        nodes[2].taints.items = taints;
        nodes[2].taints.count = 1;
    }
    struct named_price price = {"gpu", 1000000 + (int64_t)below(run, 5)};
    struct pool pool = {.prices = {.currency = "EUR", .accelerators = {&price, 1}}};
    pool.metadata.name = chance(run, 70) ? "here" : "there";
    pool.nodes.items = nodes;
    pool.nodes.count = 1 + below(run, 3);
    pool.prices.cpu_hour_micro = (int64_t)below(run, 3) * 1000;
    (void)!core_pool_put(run->world->core, &pool, NULL);
}

static void submit(struct run *run)
{
    char name[32], before[32];
    snprintf(name, sizeof name, "job%d", run->names++);
    snprintf(before, sizeof before, "job%d", (int)below(run, (uint64_t)run->names));
    static const int64_t milli[] = {0, 0, 250, 500, 700, 1000, 1000, 2000, 4000};
    static const int32_t priorities[] = {100, 500, 500, 800, 1000, 650};
    struct label labels[] = {{"app", chance(run, 50) ? "x" : "y"}};
    struct node_requirement require[] = {
        {"zone", (enum label_operator)below(run, 4), {(const char *[]){"east"}, 1}}};
    struct dependency dependency = {before, (enum dependency_condition)below(run, 2)};
    const char *team = team_names[below(run, ARRAY_LEN(team_names))];
    struct job job = job_make(team, name, 1 + (int64_t)below(run, 4), 0);
    job.resources.accelerator_milli = milli[below(run, ARRAY_LEN(milli))];
    job.resources.accelerator = job.resources.accelerator_milli && chance(run, 80) ? "gpu" : NULL;
    job.priority = priorities[below(run, ARRAY_LEN(priorities))];
    job.gang.size = 1 + (int64_t)below(run, 4);
    job.gang.min = chance(run, 30) ? 1 : 0;
    job.gang.max = chance(run, 30) ? job.gang.size + (int64_t)below(run, 3) : 0;
    job.preemptible = chance(run, 85);
    job.preemptions_max = chance(run, 70) ? -1 : (int64_t)below(run, 3);
    job.min_runtime_ms = chance(run, 30) ? (int64_t)below(run, 600000) : 0;
    job.shrink_on_node_loss = chance(run, 50);
    job.retries.limit = (int64_t)below(run, 3);
    job.retries.backoff_ms = (int64_t)below(run, 60000);
    job.retries.backoff_max_ms = chance(run, 50) ? 120000 : 0;
    job.time_limit_ms = chance(run, 40) ? 1 + (int64_t)below(run, 3600000) : 0;
    job.deadline_ms = chance(run, 15) ? run->world->now_ms + (int64_t)below(run, 7200000) : 0;
    job.start_after_ms = chance(run, 15) ? run->world->now_ms + (int64_t)below(run, 600000) : 0;
    job.hold = chance(run, 5);
    job.metadata.labels = (struct label_list){labels, chance(run, 50)};
    job.placement.spread = !run->plain && chance(run, 30) ? SPREAD_SPREAD : SPREAD_PACK;
    job.placement.exclusive = chance(run, 10);
    if (run->plain)
        job.gang = (struct gang){.size = 1 + (int64_t)below(run, 2)};
    else if (chance(run, 10))
        job.placement.apart = (struct label_list){labels, 1};
    else if (chance(run, 5))
        job.placement.near = (struct label_list){labels, 1};
    job.placement.require.items = require;
    job.placement.require.count = chance(run, 10);
    job.depends_on.items = &dependency;
    job.depends_on.count = chance(run, 15);
    if (chance(run, 10)) {
        job.array.count = 1 + (int64_t)below(run, 5);
        job.array.parallel = (int64_t)below(run, 3);
    }
    uint64_t id;
    if (core_job_submit(run->world->core, &job, &id, NULL) < 0)
        return;
    for (int64_t i = 0; i < (job.array.count ? job.array.count : 1); i++) {
        if (run->job_count < JOBS_MAX)
            run->jobs[run->job_count++] = id + (uint64_t)i;
    }
}

static uint64_t any_job(struct run *run)
{
    return run->job_count ? run->jobs[below(run, run->job_count)] : 1;
}

static void report(struct run *run)
{
    uint64_t job = any_job(run);
    const struct job_row *row = core_job(run->world->core, job);
    struct core_report say = {.attempt = row && row->attempt ? row->attempt : job + 1};
    say.kind = (enum report_kind)below(run, 4);
    say.reason = (enum end_reason)below(run, END_REASON_COUNT);
    say.exit_status = (int32_t)below(run, 256);
    say.at_ms = run->world->now_ms - (int64_t)below(run, 100000) + 1000;
    say.complete = chance(run, 20);
    if (say.kind == REPORT_ENDED && chance(run, 50))
        say.reason = END_SUCCEEDED;
    core_attempt_report(run->world->core, &say);
}

static void progress(struct run *run)
{
    struct core_speed speeds[4];
    int32_t ranks = 0;
    for (size_t i = 0; i < ARRAY_LEN(speeds); i++) {
        ranks += 1 + (int32_t)below(run, 3);
        speeds[i] = (struct core_speed){ranks, 1, (int64_t)below(run, 100000)};
    }
    struct core_progress say = {.remaining = (int64_t)below(run, 1000000) - 1,
        .restart_ms = (int64_t)below(run, 100000),
        .speeds = speeds,
        .speed_count = below(run, ARRAY_LEN(speeds) + 1)};
    (void)!core_job_progress(run->world->core, any_job(run), &say, NULL);
}

static const char *any_node(struct run *run)
{
    static const char *const names[] = {
        "g", "g[1]", "g[2]", "g[3]", "c", "h", "h[1]", "h[2]", "none"};
    return names[below(run, ARRAY_LEN(names))];
}

static void node_event(struct run *run)
{
    struct core *core = run->world->core;
    const char *pool = chance(run, 70) ? "here" : "there";
    const char *node = any_node(run);
    int64_t begin_ms = run->world->now_ms + (int64_t)below(run, 1200000) - 60000;
    int64_t end_ms;
    switch (below(run, 5)) {
    case 0: (void)!core_node_wish(core, pool, node, (enum node_wish)below(run, 3), NULL); break;
    case 1: (void)!core_node_wish(core, pool, node, NODE_UNCORDON, NULL); break;
    case 2:
        if (run->plain)
            break;
        end_ms = chance(run, 30) ? 0 : begin_ms + (int64_t)below(run, 600000);
        (void)!core_node_reserve(core, pool, node, begin_ms, end_ms, NULL);
        break;
    default: core_node_report(core, pool, node, chance(run, 60));
    }
}

static void command(struct run *run)
{
    struct core *core = run->world->core;
    switch (below(run, 22)) {
    case 20:
    case 21: progress(run); break;
    case 0: put_team(run); break;
    case 1: node_event(run); break;
    case 2: (void)!core_job_cancel(core, any_job(run), NULL); break;
    case 3: (void)!core_job_hold(core, any_job(run), NULL); break;
    case 4: (void)!core_job_release(core, any_job(run), NULL); break;
    case 5: (void)!core_team_delete(core, team_names[below(run, 5)], NULL); break;
    case 6: put_pool(run); break;
    case 7:
        if (chance(run, 20))
            (void)!core_pool_delete(core, chance(run, 50) ? "here" : "there", NULL);
        break;
    case 8:
    case 9:
    case 10:
    case 11:
    case 12: submit(run); break;
    default: report(run);
    }
}

typedef VEC(struct core_report) report_vec;

static void obey(void *context, const struct attempt_row *attempt, const struct attempt_wish *wish)
{
    report_vec *reports = context;
    struct core_report report = {.attempt = attempt->id, .reason = END_SIGNAL};
    report.kind = wish->stop ? REPORT_ENDED : REPORT_STARTED;
    if (wish->stop || attempt->state < ATTEMPT_STARTED)
        vec_push(reports, report);
}

/* With an engine that does what it is told and no further command, the core comes to rest: nobody
 * is stopped for somebody who is stopped for the first. Time stands all but still, so that no limit
 * or wait ends meanwhile. */
static void comes_to_rest(struct run *run)
{
    for (int round = 0; round < 100; round++) {
        report_vec reports = {0};
        core_attempt_each(run->world->core, obey, &reports);
        size_t count = reports.count;
        for (size_t i = 0; i < count; i++)
            core_attempt_report(run->world->core, &reports.items[i]);
        vec_free(&reports);
        world_tick(run->world, 0);
        if (count == 0)
            return;
    }
    fail_msg("still moving after 100 rounds");
}

/* Every policy has its share of the seeds, the default half of them. */
static void choose_policy(struct run *run, uint64_t seed)
{
    size_t count = 0;
    while (allot_policy(count))
        count++;
    const struct allotment_policy *policy = allot_policy(seed % 2 ? 0 : seed / 2 % count);
    struct core_options options = {.allotment = policy->name,
        .round_ms = policy->round_ms ? 1000 + (int64_t)below(run, 200000) : 0,
        .round_anchor_ms = (int64_t)below(run, 100000)};
    world_begin(run->world, &options);
}

static uint64_t run_seed(uint64_t seed)
{
    void *state = NULL;
    world_setup(&state);
    struct run run = {.world = state, .prng = {seed}, .plain = seed % 4 < 2};
    choose_policy(&run, seed);
    for (size_t i = 0; i < ARRAY_LEN(team_names); i++) {
        struct team team = team_make(team_names[i], team_parents[i]);
        assert_int_equal(core_team_put(run.world->core, &team, NULL), 0);
    }
    put_pool(&run);
    for (int tick = 0; tick < TICKS; tick++) {
        uint64_t commands = below(&run, 12);
        for (uint64_t i = 0; i < commands; i++)
            command(&run);
        world_tick(run.world, chance(&run, 20) ? 0 : (int64_t)below(&run, 300000));
        assert_true(core_next_ms(run.world->core) > run.world->now_ms);
        if (chance(&run, 5))
            world_reload(run.world);
    }
    comes_to_rest(&run);
    uint64_t digest = core_digest(run.world->core);
    world_teardown(&state);
    return digest;
}

/* One column of one row gets another value: a byte changed, a number off by one or enormous. */
static void damage(struct prng *prng, enum row_kind kind, void *row)
{
    const struct row_type *type = row_type(kind);
    const struct column *column = &type->columns[prng_below(prng, type->column_count)];
    char *at = (char *)row + column->offset;
    int64_t value = 0;
    switch (prng_below(prng, 4)) {
    case 0: at[prng_below(prng, column->size)] ^= (char)(1 << prng_below(prng, 8)); return;
    case 1: value = (int64_t)prng_next(prng); break;
    case 2: value = (int64_t)prng_below(prng, 5) - 2; break;
    default: memcpy(&value, at, column->size < 8 ? column->size : 8); value++;
    }
    memcpy(at, &value, column->size < 8 ? column->size : 8);
}

static void load_damaged(struct world *world, struct prng *prng)
{
    struct core *core = core_create(NULL);
    size_t victim = prng_below(prng, world->rows.count);
    bool loaded = true, missing = prng_below(prng, 4) == 0;
    for (int kind = 0; kind < ROW_KIND_COUNT && loaded; kind++) {
        for (size_t i = 0; i < world->rows.count && loaded; i++) {
            const struct stored_row *row = &world->rows.items[i];
            if ((int)row->kind != kind || !row->live)
                continue;
            if (i == victim && missing)
                continue;
            SCOPED(mem_scope) void *copy = mem_alloc(1, row_type(row->kind)->size);
            memcpy(copy, row->bytes, row_type(row->kind)->size);
            if (i == victim)
                damage(prng, row->kind, copy);
            loaded = core_load_row(core, row->kind, copy, NULL) == 0;
        }
    }
    if (loaded && core_load_end(core, NULL) == 0) {
        core_begin(core, world->now_ms + 1000);
        core_schedule(core);
        core_end(core);
    }
    core_destroy(core);
}

static void damaged_rows_are_refused_or_harmless(void **state)
{
    struct run run = {.world = *state, .prng = {4711}};
    for (size_t i = 0; i < ARRAY_LEN(team_names); i++) {
        struct team team = team_make(team_names[i], team_parents[i]);
        assert_int_equal(core_team_put(run.world->core, &team, NULL), 0);
    }
    put_pool(&run);
    for (int tick = 0; tick < 30; tick++) {
        for (int i = 0; i < 10; i++)
            command(&run);
        world_tick(run.world, 1000);
        for (int i = 0; i < 40; i++)
            load_damaged(run.world, &run.prng);
    }
}

static void holds_its_invariants_whatever_is_sent(void **state)
{
    (void)state;
    const char *one = getenv("CORE_SEED"), *many = getenv("CORE_SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1;
    uint64_t count = one ? 1 : many ? strtoull(many, NULL, 10) : 100;
    for (uint64_t seed = first; seed < first + count; seed++) {
        if (many || one)
            printf("seed %llu: ", (unsigned long long)seed);
        uint64_t digest = run_seed(seed);
        if (many || one)
            printf("%016llx\n", (unsigned long long)digest);
    }
}

/* Seeds that once failed: 292, two jobs took the same place from each other for ever; 2980, one
 * stopped another again and again for a place beside a third, which was stopped before it came. */
static void holds_them_where_it_once_did_not(void **state)
{
    (void)state;
    static const uint64_t seeds[] = {292, 2980};
    for (size_t i = 0; i < ARRAY_LEN(seeds); i++)
        run_seed(seeds[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(damaged_rows_are_refused_or_harmless),
        cmocka_unit_test(holds_them_where_it_once_did_not),
        cmocka_unit_test(holds_its_invariants_whatever_is_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
