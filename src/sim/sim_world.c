/* Worlds from a seed: pools, teams and the commands about what exists. Jobs are in sim_jobs.c.
 *
 * No expression draws two numbers: C leaves open which of them would be drawn first, and the
 * compilers differ. */
#include "sim/sim_world.h"

#include "sim/sim_jobs.h"
#include "sim/sim_services.h"

#include <stdio.h>
#include <string.h>

enum { MINUTE_MS = 60 * 1000, HOUR_MS = 60 * MINUTE_MS };
#define GIB ((int64_t)1 << 30)

#define CALM_FAULTS                                                                                \
    {                                                                                              \
        .report_delay_ms_max = 500, .job_fails = 100, .ignores_term = 100                          \
    }
#define SOME_FAULTS                                                                                \
    {                                                                                              \
        .report_lost = 50, .report_twice = 50, .report_delay_ms_max = 5000, .lie = 20,             \
        .stale = 50, .start_lost = 20, .start_fails = 30, .job_fails = 200, .ignores_term = 200,   \
        .node_lost = 15, .engine_dies = 3, .commit_fails = 20, .commit_unknown = 20, .crash = 20,  \
        .clock_back = 10                                                                           \
    }
#define ENGINE_FAULTS                                                                              \
    {                                                                                              \
        .report_lost = 200, .report_twice = 200, .report_delay_ms_max = 30000, .lie = 150,         \
        .stale = 200, .start_lost = 100, .start_fails = 100, .site_ends = 100, .job_fails = 300,   \
        .ignores_term = 400, .node_lost = 60, .engine_dies = 15, .commit_fails = 5,                \
        .commit_unknown = 5, .crash = 5, .clock_back = 30                                          \
    }
#define STORE_FAULTS                                                                               \
    {                                                                                              \
        .report_lost = 20, .report_twice = 20, .report_delay_ms_max = 2000, .lie = 10,             \
        .stale = 20, .start_lost = 10, .start_fails = 10, .site_ends = 200, .job_fails = 100,      \
        .ignores_term = 100, .node_lost = 5, .commit_fails = 120, .commit_unknown = 120,           \
        .crash = 120, .clock_back = 10                                                             \
    }

/* A server that serves: most of what happens is about replicas. */
#define SERVICE_FAULTS                                                                             \
    {                                                                                              \
        .report_lost = 30, .report_twice = 30, .report_delay_ms_max = 3000, .lie = 10,             \
        .stale = 30, .start_lost = 10, .start_fails = 20, .site_ends = 200, .job_fails = 100,      \
        .ignores_term = 200, .node_lost = 10, .engine_dies = 3, .commit_fails = 40,                \
        .commit_unknown = 40, .crash = 40, .clock_back = 10                                        \
    }

/* Nodes come and go all the time. */
#define SPOT_FAULTS                                                                                \
    {                                                                                              \
        .report_lost = 20, .report_twice = 20, .report_delay_ms_max = 3000, .lie = 10,             \
        .stale = 30, .start_lost = 10, .start_fails = 20, .job_fails = 50, .ignores_term = 100,    \
        .node_lost = 150, .engine_dies = 3, .commit_fails = 20, .commit_unknown = 20, .crash = 20, \
        .clock_back = 10                                                                           \
    }

/* clang-format off */
/* Counts are the most there can be; shares are thousandths; times are minutes of virtual time. */
#define PROFILE(name_, steps_, pools_, groups_, nodes_, teams_, jobs_, gang_, run_, accelerators_, \
    fractions_, constraints_, quotas_, submits_, commands_, reconfigures_, services_, faults_)     \
    {.name = name_, .steps = steps_, .step_ms_max = 40 * 1000, .run_ms_max = run_ * MINUTE_MS,     \
     .pools_max = pools_, .groups_max = groups_, .group_nodes_max = nodes_, .teams_max = teams_,   \
     .jobs_live_max = jobs_, .gang_max = gang_, .accelerators = accelerators_,                     \
     .fractions = fractions_, .constraints = constraints_, .quotas = quotas_,                      \
     .submits = submits_, .commands = commands_, .reconfigures = reconfigures_,                    \
     .services = services_, .faults = faults_}

const struct sim_profile sim_profiles[] = {
    /*                    cluster         load        shares of
     *            steps   pools groups nodes  teams jobs gang run  accel. fract. constr. quotas
     *            submits commands reconfigures services */
    PROFILE("small",         240, 1, 1, 2,  4, 30, 4, 30,   500, 300,  300,  600,
            350, 250, 250, 0, SOME_FAULTS),
    PROFILE("accelerators",  240, 2, 2, 4,  4, 30, 8, 30,  1000, 500,  300,  600,
            350, 250, 250, 0, SOME_FAULTS),
    PROFILE("quotas",        240, 2, 2, 4,  6, 30, 4, 30,   500, 300,   50, 1000,
            450, 250, 250, 0, CALM_FAULTS),
    PROFILE("constraints",   240, 3, 2, 4,  4, 30, 4, 30,   500, 300, 1000,  600,
            350, 250, 250, 0, SOME_FAULTS),
    PROFILE("engine-faults", 240, 2, 2, 4,  4, 30, 4, 30,   500, 300,  300,  600,
            350, 250, 250, 0, ENGINE_FAULTS),
    PROFILE("store-faults",  240, 2, 2, 4,  4, 30, 4, 30,   500, 300,  300,  600,
            350, 250, 250, 0, STORE_FAULTS),
    PROFILE("reconfigure",   240, 3, 2, 4,  4, 30, 4, 30,   500, 300,  300,  600,
            350, 500, 600, 0, SOME_FAULTS),
    PROFILE("crowded",       240, 2, 2, 4,  4, 60, 4, 20,   500, 300,  100,  600,
            800, 250, 250, 0, SOME_FAULTS),
    PROFILE("services",      320, 2, 2, 4,  3, 20, 2, 20,   500, 300,  100,  400,
            200, 300, 100, 600, SERVICE_FAULTS),
    {.name = "spot", .steps = 240, .step_ms_max = 40 * 1000, .run_ms_max = 20 * MINUTE_MS,
        .pools_max = 2, .groups_max = 2, .group_nodes_max = 4, .teams_max = 3,
        .jobs_live_max = 20, .gang_max = 4, .accelerators = 500, .fractions = 300,
        .constraints = 50, .quotas = 400, .submits = 350, .commands = 250, .reconfigures = 100,
        .spot = true, .faults = SPOT_FAULTS},
    /* Gangs that wait for room beside small jobs, most with time limits, in racks. */
    {.name = "backfill", .steps = 320, .step_ms_max = 60 * 1000, .run_ms_max = 20 * MINUTE_MS,
     .pools_max = 2, .groups_max = 2, .group_nodes_max = 6, .teams_max = 3, .jobs_live_max = 50,
     .gang_max = 8, .accelerators = 700, .fractions = 300, .constraints = 100, .quotas = 300,
     .submits = 700, .commands = 200, .reconfigures = 200, .limits = 800, .topology = 700,
     .faults = SOME_FAULTS},
    /* Gangs of any size on whole devices, and rounds that move them about. */
    {.name = "elastic", .steps = 240, .step_ms_max = 40 * 1000, .run_ms_max = 30 * MINUTE_MS,
     .pools_max = 2, .groups_max = 2, .group_nodes_max = 4, .teams_max = 4, .jobs_live_max = 40,
     .gang_max = 8, .accelerators = 1000, .fractions = 100, .constraints = 100, .quotas = 400,
     .submits = 500, .commands = 400, .reconfigures = 150, .services = 100, .progress = 700,
     .core = {.allotment = "elastic", .round_ms = MINUTE_MS}, .faults = SOME_FAULTS},
    /* Three pools at sites with prices, some with burst policies; jobs with data and limits. */
    {.name = "pools", .steps = 280, .step_ms_max = 60 * 1000, .run_ms_max = 30 * MINUTE_MS,
     .pools_max = 3, .groups_max = 2, .group_nodes_max = 3, .teams_max = 3, .jobs_live_max = 40,
     .gang_max = 5, .accelerators = 600, .fractions = 300, .constraints = 200, .quotas = 300,
     .submits = 600, .commands = 250, .reconfigures = 300, .limits = 600, .topology = 150,
     .sites = 700, .forecasts = 500, .faults = SOME_FAULTS},
    /* The same with services, whose replicas come and go home. */
    {.name = "pools-services", .steps = 240, .step_ms_max = 90 * 1000, .run_ms_max = 20 * MINUTE_MS,
     .pools_max = 3, .groups_max = 2, .group_nodes_max = 2, .teams_max = 3, .jobs_live_max = 30,
     .gang_max = 3, .accelerators = 300, .fractions = 300, .constraints = 100, .quotas = 200,
     .submits = 500, .commands = 350, .reconfigures = 150, .services = 500, .limits = 700,
     .sites = 700, .forecasts = 400, .faults = SOME_FAULTS},
    /* And with rounds, whose jobs come whole. */
    {.name = "pools-elastic", .steps = 240, .step_ms_max = 60 * 1000, .run_ms_max = 30 * MINUTE_MS,
     .pools_max = 3, .groups_max = 2, .group_nodes_max = 3, .teams_max = 3, .jobs_live_max = 40,
     .gang_max = 6, .accelerators = 900, .fractions = 100, .constraints = 100, .quotas = 300,
     .submits = 550, .commands = 300, .reconfigures = 200, .limits = 700, .sites = 700,
     .forecasts = 300, .progress = 500,
     .core = {.allotment = "elastic", .round_ms = MINUTE_MS}, .faults = SOME_FAULTS},
    {.name = NULL},
};
/* clang-format on */

const struct sim_profile *sim_profile_find(const char *name)
{
    for (const struct sim_profile *profile = sim_profiles; profile->name; profile++)
        if (strcmp(profile->name, name) == 0)
            return profile;
    return NULL;
}

void sim_world_init(struct sim_world *world, const struct sim_profile *profile, uint64_t seed)
{
    *world = (struct sim_world){.profile = profile, .prng = {seed}};
}

static const char *pick(struct prng *prng, const char *const *from, size_t count)
{
    return from[prng_below(prng, count)];
}
#define PICK(prng, array) pick((prng), (array), ARRAY_LEN(array))

static const char *const pool_names[] = {"alpha", "beta", "gamma"};
static const char *const group_names[] = {"a", "b", "c", "d"};
static const char *const team_names[] = {"research", "product", "vision", "speech", "fraud", "ops"};
static const char *const jurisdictions[] = {"eu", "us"};
static const char *const node_types[] = {"small", "large", "huge"};
static const char *const accelerator_types[] = {"a100", "h100"};
static const char *const sites[] = {"north", "south"};
static const char *const zones[] = {"z1", "z2", "z3"};

/* ---- pools ----------------------------------------------------------------------------- */

static void make_capacity(struct sim_world *world, struct node *node)
{
    struct prng *prng = &world->prng;
    node->capacity.cpu_milli = sim_between(prng, 2, 16) * 1000;
    node->capacity.memory_bytes = sim_between(prng, 4, 64) * GIB;
    node->capacity.disk_bytes = sim_between(prng, 10, 100) * GIB;
    if (!sim_chance(prng, world->profile->accelerators))
        return;
    node->capacity.accelerator = PICK(prng, accelerator_types);
    node->capacity.accelerator_milli = sim_between(prng, 1, 8) * 1000;
    node->fractional = sim_chance(prng, world->profile->fractions);
}

static void make_marks(struct sim_world *world, struct arena *arena, struct node *node)
{
    struct prng *prng = &world->prng;
    node->labels.items = arena_alloc(arena, 2, sizeof *node->labels.items);
    node->labels.items[node->labels.count++] = (struct label){"zone", PICK(prng, zones)};
    if (sim_chance(prng, 300))
        node->labels.items[node->labels.count++] = (struct label){"disk", "ssd"};
    if (!sim_chance(prng, world->profile->constraints / 4))
        return;
    node->taints.items = arena_alloc(arena, 1, sizeof *node->taints.items);
    node->taints.count = 1;
    struct taint *taint = &node->taints.items[0];
    taint->key = "dedicated";
    taint->value = sim_chance(prng, 500) ? "ml" : "web";
    taint->effect = sim_chance(prng, 700) ? TAINT_NO_SCHEDULE : TAINT_NO_EXECUTE;
}

static void make_prices(struct sim_world *world, struct arena *arena, struct prices *prices)
{
    struct prng *prng = &world->prng;
    prices->currency = "EUR";
    prices->cpu_hour_micro = sim_between(prng, 0, 100 * 1000);
    prices->memory_gib_hour_micro = sim_between(prng, 0, 10 * 1000);
    prices->disk_gib_hour_micro = sim_between(prng, 0, 1000);
    prices->accelerators.items = arena_alloc(arena, 2, sizeof *prices->accelerators.items);
    for (size_t i = 0; i < ARRAY_LEN(accelerator_types); i++)
        prices->accelerators.items[prices->accelerators.count++] =
            (struct named_price){accelerator_types[i], sim_between(prng, 100 * 1000, 5000 * 1000)};
    if (!sim_chance(prng, 300))
        return;
    prices->nodes.items = arena_alloc(arena, 1, sizeof *prices->nodes.items);
    prices->nodes.count = 1;
    prices->nodes.items[0].name = PICK(prng, node_types);
    prices->nodes.items[0].hour_micro = sim_between(prng, 1000, 9000 * 1000);
}

static void make_levels(struct sim_world *world, struct arena *arena, struct pool *pool)
{
    pool->levels.items = arena_alloc(arena, 2, sizeof *pool->levels.items);
    if (sim_chance(&world->prng, 500))
        pool->levels.items[pool->levels.count++] = (struct topology_level){.name = "zone"};
    pool->levels.items[pool->levels.count].name = "rack";
    pool->levels.items[pool->levels.count++].nodes = sim_between(&world->prng, 1, 3);
}

/* Where it stands, and whether it costs extra to go there. The first pool is always open. */
static void make_site(struct sim_world *world, const char *name, struct pool *pool)
{
    struct prng *prng = &world->prng;
    if (sim_chance(prng, world->profile->sites))
        pool->site = PICK(prng, sites);
    pool->prices.egress_gib_micro = sim_between(prng, 0, 200 * 1000);
    pool->keep_inputs_ms = sim_chance(prng, 700) ? sim_between(prng, 1, 30) * MINUTE_MS : 0;
    pool->link_bytes = sim_chance(prng, 500) ? sim_between(prng, 1, 1000) << 20 : 0;
    if (strcmp(name, pool_names[0]) == 0 || !sim_chance(prng, 600))
        return;
    pool->burst.after_ms = sim_between(prng, 0, 20 * MINUTE_MS);
    pool->burst.budget_micro = sim_between(prng, 1, 20 * 1000 * 1000);
    pool->burst.period_ms = sim_between(prng, MINUTE_MS, 3 * HOUR_MS);
}

static void make_pool(
    struct sim_world *world, struct arena *arena, const char *name, struct sim_input *ret_input)
{
    struct prng *prng = &world->prng;
    *ret_input = (struct sim_input){.kind = INPUT_POOL_PUT};
    struct pool *pool = &ret_input->pool;
    pool->metadata.name = name;
    pool->engine = (enum engine_kind)prng_below(prng, 3);
    pool->jurisdiction = sim_chance(prng, 700) ? PICK(prng, jurisdictions) : NULL;
    pool->spot = world->profile->spot ? strcmp(name, "beta") == 0 : sim_chance(prng, 200);
    pool->nodes.count = (size_t)sim_between(prng, 1, world->profile->groups_max);
    pool->nodes.items = arena_alloc(arena, pool->nodes.count, sizeof *pool->nodes.items);
    for (size_t i = 0; i < pool->nodes.count; i++) {
        struct node *node = &pool->nodes.items[i];
        node->name = group_names[i];
        node->count = sim_between(prng, 1, world->profile->group_nodes_max);
        node->type = PICK(prng, node_types);
        make_capacity(world, node);
        make_marks(world, arena, node);
    }
    make_prices(world, arena, &pool->prices);
    if (world->profile->sites)
        make_site(world, name, pool);
    if (world->profile->topology && sim_chance(prng, world->profile->topology))
        make_levels(world, arena, pool);
}

/* ---- teams ----------------------------------------------------------------------------- */

static void make_quotas(struct sim_world *world, struct arena *arena, struct team *team)
{
    static const struct {
        const char *resource;
        int64_t unit;
        int64_t most;
    } kinds[] = {{"cpu", 1000, 24}, {"memory", GIB, 64}, {"disk", GIB, 100},
        {"accelerators", 1000, 8}, {"a100", 1000, 8}, {"h100", 1000, 8}};
    struct prng *prng = &world->prng;
    team->quotas.items = arena_alloc(arena, ARRAY_LEN(kinds), sizeof *team->quotas.items);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!sim_chance(prng, 350))
            continue;
        struct quota *quota = &team->quotas.items[team->quotas.count++];
        quota->resource = kinds[i].resource;
        quota->limit = -1;
        if (sim_chance(prng, 600))
            quota->guarantee = sim_between(prng, 0, kinds[i].most / 2) * kinds[i].unit;
        if (sim_chance(prng, 600))
            quota->limit = quota->guarantee + sim_between(prng, 0, kinds[i].most) * kinds[i].unit;
    }
}

static void make_team(
    struct sim_world *world, struct arena *arena, size_t index, struct sim_input *ret_input)
{
    struct prng *prng = &world->prng;
    *ret_input = (struct sim_input){.kind = INPUT_TEAM_PUT};
    struct team *team = &ret_input->team;
    team->metadata.name = team_names[index];
    if (index > 0 && sim_chance(prng, 400))
        team->parent = team_names[prng_below(prng, index)];
    else if (sim_chance(prng, 20))
        team->parent = team_names[prng_below(prng, ARRAY_LEN(team_names))]; /* may be a cycle */
    team->weight_micro = sim_between(prng, 1, 8) * 500 * 1000;
    team->borrow = sim_chance(prng, 850);
    team->uid = -1;
    team->host_network = sim_chance(prng, 100);
    team->jobs_max = sim_chance(prng, 100) ? sim_between(prng, 1, 10) : 100000;
    if (sim_chance(prng, world->profile->quotas))
        make_quotas(world, arena, team);
}

bool sim_world_setup(
    struct sim_world *world, struct arena *arena, int step, struct sim_input *ret_input)
{
    const struct sim_profile *profile = world->profile;
    if (step < profile->pools_max)
        make_pool(world, arena, pool_names[step], ret_input);
    else if (step < profile->pools_max + profile->teams_max)
        make_team(world, arena, (size_t)(step - profile->pools_max), ret_input);
    else
        return false;
    return true;
}

/* ---- commands about what exists ---------------------------------------------------------- */

static uint64_t pick_id(struct sim_world *world, const struct sim_store *store, enum row_kind kind)
{
    size_t count = sim_store_count(store, kind);
    if (sim_chance(&world->prng, 20))
        return 1 + prng_below(&world->prng, 10000); /* one that is perhaps not there */
    if (!count)
        return 0;
    return sim_row_id(sim_store_at(store, kind, prng_below(&world->prng, count)));
}

static bool command_reconfigure(
    struct sim_world *world, struct arena *arena, struct sim_input *ret_input)
{
    struct prng *prng = &world->prng;
    const struct sim_profile *profile = world->profile;
    size_t pool = prng_below(prng, (uint64_t)profile->pools_max);
    size_t team = prng_below(prng, (uint64_t)profile->teams_max);
    uint64_t what = prng_below(prng, 10);
    if (what < 4) {
        make_pool(world, arena, pool_names[pool], ret_input);
    } else if (what < 8) {
        make_team(world, arena, team, ret_input);
    } else {
        *ret_input = (struct sim_input){.kind = what == 8 ? INPUT_POOL_DELETE : INPUT_TEAM_DELETE,
            .name = what == 8 ? pool_names[pool] : team_names[team]};
    }
    return true;
}

static bool command_job(
    struct sim_world *world, const struct sim_store *store, struct sim_input *ret_input)
{
    static const enum input_kind kinds[] = {
        INPUT_JOB_CANCEL, INPUT_JOB_HOLD, INPUT_JOB_RELEASE, INPUT_JOB_RELEASE};
    *ret_input = (struct sim_input){.kind = kinds[prng_below(&world->prng, ARRAY_LEN(kinds))]};
    ret_input->id = pick_id(world, store, ROW_JOB);
    return ret_input->id != 0;
}

/* A job of some work says how fast it is with how many ranks: more or less concave, or nonsense. */
static bool command_progress(struct sim_world *world, struct arena *arena,
    const struct sim_store *store, struct sim_input *ret_input)
{
    struct prng *prng = &world->prng;
    *ret_input = (struct sim_input){.kind = INPUT_JOB_PROGRESS};
    ret_input->id = pick_id(world, store, ROW_JOB);
    struct core_speed *speeds = arena_alloc(arena, 8, sizeof *speeds);
    struct core_progress *say = &ret_input->progress;
    int64_t rate_milli = sim_between(prng, 0, 100 * 1000);
    *say = (struct core_progress){.remaining = sim_between(prng, -1, 1000 * 1000),
        .restart_ms = sim_between(prng, 0, 2) * sim_between(prng, 0, MINUTE_MS),
        .speeds = speeds};
    for (int32_t ranks = 1; ranks <= 8 && sim_chance(prng, 900); ranks++) {
        rate_milli += sim_between(prng, -1000, 10 * 1000);
        speeds[say->speed_count++] =
            (struct core_speed){ranks, (ranks + 3) / 4, rate_milli < 0 ? 0 : rate_milli};
    }
    return ret_input->id != 0;
}

static bool command_node(struct sim_world *world, const struct sim_store *store, int64_t now_ms,
    struct sim_input *ret_input)
{
    static const enum node_wish wishes[] = {
        NODE_CORDON, NODE_UNCORDON, NODE_UNCORDON, NODE_UNCORDON, NODE_DRAIN};
    struct prng *prng = &world->prng;
    const struct node_row *node = sim_store_row(store, ROW_NODE, pick_id(world, store, ROW_NODE));
    const struct pool_row *pool = node ? sim_store_row(store, ROW_POOL, node->pool) : NULL;
    if (!pool)
        return false;
    *ret_input = (struct sim_input){.kind = INPUT_NODE_WISH};
    snprintf(ret_input->pool_name, sizeof ret_input->pool_name, "%.63s",
        sim_store_symbol(store, pool->name));
    snprintf(ret_input->node_name, sizeof ret_input->node_name, "%.63s",
        sim_store_symbol(store, node->name));
    ret_input->wish = wishes[prng_below(prng, ARRAY_LEN(wishes))];
    if (!sim_chance(prng, 300))
        return true;
    ret_input->kind = INPUT_NODE_RESERVE;
    ret_input->begin_ms = now_ms + sim_between(prng, -MINUTE_MS, 40 * MINUTE_MS);
    if (sim_chance(prng, 700))
        ret_input->end_ms = ret_input->begin_ms + sim_between(prng, 1, 20 * MINUTE_MS);
    return true;
}

/* About a job that a burst policy was asked about, of a state some minutes ago; now and then one
 * that can not be. */
static bool command_forecast(struct sim_world *world, const struct sim_store *store, int64_t now_ms,
    struct sim_input *ret_input)
{
    struct prng *prng = &world->prng;
    size_t count = sim_store_count(store, ROW_BROKER);
    *ret_input = (struct sim_input){.kind = INPUT_FORECAST_EXPECT,
        .wait_ms = sim_chance(prng, 700) ? sim_between(prng, 0, 30 * 1000) : 0};
    if (!count || sim_chance(prng, 100))
        return true;
    const struct broker_row *row = sim_store_at(store, ROW_BROKER, prng_below(prng, count));
    ret_input->kind = INPUT_FORECAST;
    ret_input->forecast.job = row->job;
    ret_input->forecast.at_ms = now_ms - sim_between(prng, -1000, 3 * MINUTE_MS);
    ret_input->forecast.start_ms =
        ret_input->forecast.at_ms + sim_between(prng, -1000, 40 * MINUTE_MS);
    return true;
}

bool sim_world_command(struct sim_world *world, struct arena *arena, const struct sim_store *store,
    int64_t now_ms, struct sim_input *ret_input)
{
    if (sim_chance(&world->prng, world->profile->reconfigures))
        return command_reconfigure(world, arena, ret_input);
    if (world->profile->services && sim_chance(&world->prng, world->profile->services))
        return sim_service_command(world, store, ret_input);
    if (world->profile->forecasts && sim_chance(&world->prng, world->profile->forecasts))
        return command_forecast(world, store, now_ms, ret_input);
    if (world->profile->progress && sim_chance(&world->prng, world->profile->progress))
        return command_progress(world, arena, store, ret_input);
    if (sim_chance(&world->prng, 600))
        return command_job(world, store, ret_input);
    return command_node(world, store, now_ms, ret_input);
}

bool sim_world_submit(struct sim_world *world, struct arena *arena, const struct sim_store *store,
    int64_t now_ms, struct sim_input *ret_input)
{
    if (sim_store_count(store, ROW_JOB) >= (size_t)world->profile->jobs_live_max)
        return false;
    size_t team = prng_below(&world->prng, (uint64_t)world->profile->teams_max);
    sim_job_make(world, arena, store, team_names[team], now_ms, ret_input);
    return true;
}
