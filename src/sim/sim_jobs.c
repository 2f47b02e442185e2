/* Random jobs: each feature is there in a share of them, alone and with the others. */
#include "sim/sim_jobs.h"

#include <string.h>

enum { MINUTE_MS = 60 * 1000 };
#define GIB ((int64_t)1 << 30)

static const char *const job_labels[] = {"train", "serve", "etl"};

static void make_resources(struct sim_world *world, struct resources *asks)
{
    struct prng *prng = &world->prng;
    asks->cpu_milli =
        sim_chance(prng, 300) ? sim_between(prng, 1, 1000) : sim_between(prng, 1, 6) * 1000;
    asks->memory_bytes = sim_between(prng, 1, 12) * GIB;
    asks->disk_bytes = sim_chance(prng, 500) ? sim_between(prng, 1, 20) * GIB : 0;
    if (!sim_chance(prng, world->profile->accelerators))
        return;
    asks->accelerator = sim_chance(prng, 500) ? "a100" : "h100";
    if (sim_chance(prng, world->profile->fractions))
        asks->accelerator_milli = sim_between(prng, 1, 9) * 100;
    else
        asks->accelerator_milli = sim_between(prng, 1, 3) * 1000;
}

static void make_gang(struct sim_world *world, struct gang *gang)
{
    struct prng *prng = &world->prng;
    gang->size = sim_chance(prng, 500) ? 1 : sim_between(prng, 1, world->profile->gang_max);
    if (!sim_chance(prng, 300))
        return;
    gang->min = sim_between(prng, 1, gang->size);
    gang->max = sim_between(prng, gang->size, gang->size + 2);
}

static void make_requirements(
    struct sim_world *world, struct arena *arena, struct placement *placement)
{
    static const char *values[][2] = {{"z1", "z2"}, {"z2", "z3"}, {"z3", "z1"}};
    struct prng *prng = &world->prng;
    placement->require.items = arena_alloc(arena, 2, sizeof *placement->require.items);
    struct node_requirement *zone = &placement->require.items[placement->require.count++];
    zone->key = "zone";
    zone->operation = sim_chance(prng, 600) ? LABEL_IN : LABEL_NOT_IN;
    zone->values.items = values[prng_below(prng, 3)];
    zone->values.count = (size_t)sim_between(prng, 1, 2);
    if (!sim_chance(prng, 300))
        return;
    struct node_requirement *disk = &placement->require.items[placement->require.count++];
    *disk = (struct node_requirement){
        .key = "disk", .operation = sim_chance(prng, 500) ? LABEL_EXISTS : LABEL_ABSENT};
}

static void make_affinity(struct sim_world *world, struct arena *arena, struct placement *placement)
{
    struct prng *prng = &world->prng;
    struct label *label = arena_alloc(arena, 1, sizeof *label);
    *label = (struct label){"kind", job_labels[prng_below(prng, ARRAY_LEN(job_labels))]};
    struct label_list *list = sim_chance(prng, 400) ? &placement->near : &placement->apart;
    *list = (struct label_list){label, 1};
}

static void make_placement(
    struct sim_world *world, struct arena *arena, struct placement *placement)
{
    struct prng *prng = &world->prng;
    placement->spread = sim_chance(prng, 300) ? SPREAD_SPREAD : SPREAD_PACK;
    placement->spot = sim_chance(prng, 40) ? SPOT_NEVER : SPOT_ALLOWED;
    if (!sim_chance(prng, world->profile->constraints))
        return;
    if (sim_chance(prng, 150))
        placement->pool = sim_chance(prng, 500) ? "alpha" : "beta";
    if (sim_chance(prng, 150))
        placement->node_type = sim_chance(prng, 500) ? "small" : "large";
    if (sim_chance(prng, 150))
        placement->jurisdiction = sim_chance(prng, 500) ? "eu" : "us";
    if (sim_chance(prng, 400))
        make_requirements(world, arena, placement);
    if (sim_chance(prng, 300))
        make_affinity(world, arena, placement);
    placement->exclusive = sim_chance(prng, 150);
    if (!sim_chance(prng, 500))
        return;
    placement->tolerations.items = arena_alloc(arena, 1, sizeof *placement->tolerations.items);
    placement->tolerations.count = 1;
    placement->tolerations.items[0] =
        (struct toleration){"dedicated", sim_chance(prng, 500) ? "ml" : NULL};
}

static void make_topology(struct sim_world *world, struct job *job)
{
    static const char *const levels[] = {"rack", "rack", "zone", "node", "cage"};
    job->topology.within = levels[prng_below(&world->prng, ARRAY_LEN(levels))];
    job->topology.mode = sim_chance(&world->prng, 500) ? TOPOLOGY_REQUIRED : TOPOLOGY_PREFERRED;
}

static void make_times(struct sim_world *world, int64_t now_ms, struct job *job)
{
    struct prng *prng = &world->prng;
    if (sim_chance(prng, 100))
        job->start_after_ms = now_ms + sim_between(prng, 0, 20 * MINUTE_MS);
    if (sim_chance(prng, 100))
        job->deadline_ms = now_ms + sim_between(prng, MINUTE_MS, 90 * MINUTE_MS);
    if (sim_chance(prng, world->profile->limits ? world->profile->limits : 300))
        job->time_limit_ms = sim_between(prng, MINUTE_MS, 40 * MINUTE_MS);
    if (sim_chance(prng, world->profile->spot ? 500 : 20)) {
        job->deadline_ms = now_ms + sim_between(prng, 10 * MINUTE_MS, 120 * MINUTE_MS);
        job->duration_ms = sim_between(prng, MINUTE_MS, 40 * MINUTE_MS);
        job->checkpoint.restart_ms = sim_chance(prng, 500) ? sim_between(prng, 1, MINUTE_MS) : 0;
    }
    job->checkpoint.on_stop = sim_chance(prng, 200);
    job->grace_ms = sim_chance(prng, 100) ? 0 : sim_between(prng, 1000, MINUTE_MS);
    job->checkpoint.interval_ms = sim_chance(prng, 500) ? sim_between(prng, 1, 10) * MINUTE_MS : 0;
    if (sim_chance(prng, 300))
        job->min_runtime_ms = sim_between(prng, 0, 10 * MINUTE_MS);
}

static void make_data(struct sim_world *world, struct arena *arena, struct job *job)
{
    static const char *const sites[] = {"north", "south", "nowhere"};
    struct prng *prng = &world->prng;
    if (sim_chance(prng, 300))
        job->duration_ms = sim_between(prng, MINUTE_MS, 40 * MINUTE_MS);
    job->data.items = arena_alloc(arena, ARRAY_LEN(sites), sizeof *job->data.items);
    for (size_t i = 0; i < ARRAY_LEN(sites); i++) {
        if (!sim_chance(prng, 300))
            continue;
        struct job_data *data = &job->data.items[job->data.count++];
        data->site = sites[i];
        data->bytes = sim_between(prng, 0, 64 * 1024) << 20;
        if (sim_chance(prng, 700))
            data->version =
                arena_printf(arena, "dataset/%s:%d", sites[i], (int)sim_between(prng, 1, 2));
    }
}

static void make_dependencies(
    struct sim_world *world, struct arena *arena, const struct sim_store *store, struct job *job)
{
    struct prng *prng = &world->prng;
    size_t count = sim_store_count(store, ROW_JOB);
    if (!count || !sim_chance(prng, 150))
        return;
    job->depends_on.count = (size_t)sim_between(prng, 1, 2);
    job->depends_on.items =
        arena_alloc(arena, job->depends_on.count, sizeof *job->depends_on.items);
    for (size_t i = 0; i < job->depends_on.count; i++) {
        uint64_t id = sim_row_id(sim_store_at(store, ROW_JOB, prng_below(prng, count)));
        job->depends_on.items[i] =
            (struct dependency){arena_printf(arena, "%llu", (unsigned long long)id),
                sim_chance(prng, 500) ? DEPENDENCY_SUCCEEDED : DEPENDENCY_ENDED};
    }
    if (job->depends_on.count == 2 &&
        strcmp(job->depends_on.items[0].job, job->depends_on.items[1].job) == 0)
        job->depends_on.count = 1;
}

static void make_metadata(
    struct sim_world *world, struct arena *arena, const char *team, struct metadata *metadata)
{
    struct prng *prng = &world->prng;
    uint64_t number = world->jobs_named++;
    if (number > 0 && sim_chance(prng, 20))
        number--; /* a name that is perhaps taken */
    metadata->name = arena_printf(arena, "job-%llu", (unsigned long long)number);
    metadata->team = sim_chance(prng, 5) ? "nobody" : team;
    if (!sim_chance(prng, 500))
        return;
    metadata->labels.items = arena_alloc(arena, 1, sizeof *metadata->labels.items);
    metadata->labels.count = 1;
    metadata->labels.items[0] =
        (struct label){"kind", job_labels[prng_below(prng, ARRAY_LEN(job_labels))]};
}

void sim_job_make(struct sim_world *world, struct arena *arena, const struct sim_store *store,
    const char *team, int64_t now_ms, struct sim_input *ret_input)
{
    static const int64_t priorities[] = {
        PRIORITY_LOW, PRIORITY_NORMAL, PRIORITY_NORMAL, PRIORITY_HIGH, PRIORITY_URGENT};
    static const char *command[] = {"true"};
    struct prng *prng = &world->prng;
    *ret_input = (struct sim_input){.kind = INPUT_JOB_SUBMIT};
    struct job *job = &ret_input->job;
    make_metadata(world, arena, team, &job->metadata);
    job->command = (struct text_list){command, 1};
    make_gang(world, &job->gang);
    make_resources(world, &job->resources);
    make_placement(world, arena, &job->placement);
    job->priority = sim_chance(prng, 800) ? priorities[prng_below(prng, ARRAY_LEN(priorities))]
                                          : sim_between(prng, 0, 1000);
    job->preemptible = sim_chance(prng, 800);
    job->preemptions_max = sim_chance(prng, 300) ? sim_between(prng, 0, 3) : -1;
    job->shrink_on_node_loss = sim_chance(prng, 300);
    if (sim_chance(prng, 400)) {
        job->retries.limit = sim_between(prng, 1, 3);
        job->retries.backoff_ms = sim_between(prng, 0, 2 * MINUTE_MS);
        job->retries.backoff_max_ms = job->retries.backoff_ms + sim_between(prng, 0, MINUTE_MS);
    }
    if (world->profile->topology && sim_chance(prng, world->profile->topology))
        make_topology(world, job);
    make_times(world, now_ms, job);
    if (world->profile->sites)
        make_data(world, arena, job);
    make_dependencies(world, arena, store, job);
    if (sim_chance(prng, 60)) {
        job->array.count = sim_between(prng, 1, 6);
        job->array.parallel = sim_between(prng, 0, 3);
    }
    job->hold = sim_chance(prng, 60);
    job->service = sim_chance(prng, 30);
    job->network = NETWORK_GANG;
}
