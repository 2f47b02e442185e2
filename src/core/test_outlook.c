/* A pass that leaves out who has nothing to expect decides as one that gives everybody his turn:
 * two cores are told the same over seeds, one of which foresees nothing, and have the same digests
 * and decisions after every tick. The kinds of worlds differ in what keeps a pass from being calm:
 * none of it, priorities, guarantees and limits, arrays, time limits, several pools, and all of
 * that. */
#include "base/prng.h"
#include "core/state.h"
#include "core/test_help.h"

#include <stdio.h>

enum { TICKS = 120, SEEDS = 12, JOBS_MAX = 512 };

struct sort_of_world {
    bool priorities, quotas, arrays, limits, pools, nodes_fail, reclaims, firm;
};

struct both {
    const struct sort_of_world *of;
    struct prng prng;
    struct core *cores[2]; /* the first foresees */
    int64_t now_ms;
    uint64_t jobs[JOBS_MAX];
    size_t job_count;
    int names;
    size_t left_out; /* lanes that got no turn */
};

static uint64_t below(struct both *both, uint64_t bound)
{
    return prng_below(&both->prng, bound);
}

static bool chance(struct both *both, uint64_t percent)
{
    return below(both, 100) < percent;
}

static void pool_put(struct both *both, const char *name, int64_t nodes)
{
    struct node node = node_make("n", 16, 64, 8);
    node.count = nodes;
    node.fractional = true;
    struct pool pool = {.metadata = {.name = name},
        .engine = ENGINE_SLURM,
        .nodes = {&node, 1},
        .prices = {.currency = "EUR"}};
    for (int i = 0; i < 2; i++)
        assert_int_equal(core_pool_put(both->cores[i], &pool, NULL), 0);
}

static void team_put(struct both *both, const char *name, const char *parent)
{
    struct team team = team_make(name, parent);
    struct quota quota = {.resource = "accelerators", .guarantee = 8000, .limit = -1};
    if (both->of->reclaims && strcmp(name, "a") == 0) {
        quota.guarantee = 48000;
        team.quotas.items = &quota;
        team.quotas.count = 1;
    } else if (both->of->quotas && chance(both, 60)) {
        quota.guarantee = (int64_t)below(both, 3) * 8000;
        quota.limit = chance(both, 50) ? -1 : 24000;
        team.quotas.items = &quota;
        team.quotas.count = 1;
    }
    for (int i = 0; i < 2; i++) {
        if (core_team_put(both->cores[i], &team, NULL) == 0)
            continue;
        team.quotas.count = 0; /* more than its parent's */
        assert_int_equal(core_team_put(both->cores[i], &team, NULL), 0);
    }
}

static void submit_job(struct both *both, const struct job *job)
{
    uint64_t id[2] = {0};
    for (int i = 0; i < 2; i++)
        (void)!core_job_submit(both->cores[i], job, &id[i], NULL);
    assert_int_equal(id[0], id[1]);
    if (id[0] && both->job_count < JOBS_MAX)
        both->jobs[both->job_count++] = id[0];
}

static void submit(struct both *both)
{
    static const char *const teams[] = {"a", "b", "c", "below-c"};
    static const struct {
        int64_t cpus, milli, ranks;
    } asks[] = {{1, 250, 1}, {1, 1000, 1}, {4, 0, 1}, {2, 2000, 1}, {4, 8000, 1}, {1, 1000, 12},
        {8, 8000, 2}, {8, 8000, 3}};
    char name[32];
    size_t ask = below(both, ARRAY_LEN(asks));
    snprintf(name, sizeof name, "j%d", both->names++);
    struct job job = job_make(teams[below(both, 4)], name, asks[ask].cpus, 0);
    job.resources.accelerator_milli = asks[ask].milli;
    job.gang.size = asks[ask].ranks;
    job.priority = both->of->priorities ? (int64_t)below(both, 3) * 300 + 100 : 500;
    if (both->of->quotas)
        job.preemptible = !both->of->firm && chance(both, 80);
    if (both->of->limits && chance(both, 50))
        job.time_limit_ms = (int64_t)(1 + below(both, 4)) * 10 * MINUTE_MS;
    if (both->of->arrays && chance(both, 20))
        job.array.count = 4, job.array.parallel = 1;
    submit_job(both, &job);
}

/* Team a takes back what others borrowed, with gangs that are the same. */
static void submit_gangs(struct both *both)
{
    char name[32];
    int64_t ranks = 2 + (int64_t)below(both, 3);
    for (uint64_t left = below(both, 5); left; left--) {
        snprintf(name, sizeof name, "g%d", both->names++);
        struct job job = job_make("a", name, 1, 1);
        job.gang.size = ranks;
        submit_job(both, &job);
    }
}

static void report(struct both *both)
{
    if (!both->job_count)
        return;
    uint64_t id = both->jobs[below(both, both->job_count)];
    const struct job_row *job = core_job(both->cores[0], id);
    if (!job || !job->attempt)
        return;
    struct core_report said = {.attempt = job->attempt, .kind = REPORT_SUBMITTED};
    struct core_report then = {.attempt = job->attempt, .kind = REPORT_STARTED};
    if (chance(both, 70))
        then = (struct core_report){
            .attempt = job->attempt, .kind = REPORT_ENDED, .reason = END_EXIT, .complete = true};
    for (int i = 0; i < 2; i++) {
        core_attempt_report(both->cores[i], &said);
        core_attempt_report(both->cores[i], &then);
    }
}

static void node_report(struct both *both)
{
    char name[8];
    snprintf(name, sizeof name, "n-%d", (int)below(both, 6) + 1);
    bool up = chance(both, 70);
    for (int i = 0; i < 2; i++)
        core_node_report(both->cores[i], "p", name, up);
}

static void decision_add(void *context, const struct core_decision *decision)
{
    uint64_t *digest = context;
    const uint64_t parts[] = {(uint64_t)decision->kind, decision->job, decision->attempt,
        decision->node, (uint64_t)decision->reason, (uint64_t)decision->begin_ms};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        *digest = (*digest ^ parts[i]) * 0x100000001b3u;
}

static void count_left_out(struct both *both)
{
    const struct core *core = both->cores[0];
    for (size_t t = 0; t < core->waiting.count; t++)
        both->left_out += core->waiting.items[t]->lanes.count > core->waiting.items[t]->lanes_ready;
}

static void tick(struct both *both)
{
    uint64_t digests[2] = {0};
    both->now_ms += (int64_t)below(both, 3 * MINUTE_MS);
    for (int i = 0; i < 2; i++)
        core_begin(both->cores[i], both->now_ms);
    for (uint64_t left = below(both, 4); left; left--)
        submit(both);
    if (both->of->reclaims && chance(both, 30))
        submit_gangs(both);
    for (uint64_t left = below(both, 6); left; left--)
        report(both);
    if (both->of->nodes_fail && chance(both, 10))
        node_report(both);
    for (int i = 0; i < 2; i++) {
        core_schedule(both->cores[i]);
        core_decisions(both->cores[i], decision_add, &digests[i]);
        core_end(both->cores[i]);
        struct error err;
        assert_int_equal(core_check(both->cores[i], &err), 0);
    }
    assert_int_equal(digests[0], digests[1]);
    assert_int_equal(core_digest(both->cores[0]), core_digest(both->cores[1]));
    assert_int_equal(core_next_ms(both->cores[0]), core_next_ms(both->cores[1]));
    count_left_out(both);
}

static size_t run_seed(const struct sort_of_world *of, uint64_t seed)
{
    struct both both = {.of = of, .prng = {seed}, .now_ms = START_MS};
    for (int i = 0; i < 2; i++) {
        both.cores[i] = core_create(NULL);
        both.cores[i]->foresight_off = i == 1;
        assert_int_equal(core_load_end(both.cores[i], NULL), 0);
        core_begin(both.cores[i], both.now_ms);
    }
    pool_put(&both, "p", 6);
    if (of->pools)
        pool_put(&both, "q", 2);
    team_put(&both, "a", NULL);
    team_put(&both, "b", NULL);
    team_put(&both, "c", NULL);
    team_put(&both, "below-c", "c");
    for (int i = 0; i < 2; i++)
        core_end(both.cores[i]);
    for (int i = 0; i < TICKS; i++)
        tick(&both);
    for (int i = 0; i < 2; i++)
        core_destroy(both.cores[i]);
    return both.left_out;
}

static void decides_as_if_everybody_had_his_turn(void **state)
{
    (void)state;
    static const struct sort_of_world kinds[] = {{0}, {.priorities = true}, {.quotas = true},
        {.arrays = true, .limits = true}, {.pools = true, .limits = true}, {.nodes_fail = true},
        {.quotas = true, .firm = true}, {.reclaims = true},
        {.reclaims = true, .pools = true, .limits = true},
        {true, true, true, true, true, true, true, false}};
    for (size_t m = 0; m < ARRAY_LEN(kinds); m++) {
        size_t left_out = 0;
        for (uint64_t seed = 1; seed <= SEEDS; seed++)
            left_out += run_seed(&kinds[m], seed);
        assert_true(left_out > SEEDS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decides_as_if_everybody_had_his_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
