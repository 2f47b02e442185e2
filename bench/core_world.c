/* Mixes, clusters and the core that is measured: see core_world.h. */
#include "core_world.h"

#include "trace/trace.h"

#include <string.h>
#include <time.h>

void must(int failed, const struct error *err)
{
    if (failed == 0)
        return;
    fprintf(stderr, "core: %s\n", err->text);
    exit(1);
}

int64_t bench_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- mixes ------------------------------------------------------------------------------- */

static void mix_ten(struct bench_mix *mix)
{
    static const int64_t shapes[][3] = {{1000, 2, 0}, {2000, 4, 0}, {4000, 8, 0}, {8000, 16, 0},
        {500, 1, 0}, {4000, 16, 1000}, {8000, 32, 2000}, {16000, 64, 4000}, {32000, 128, 8000},
        {2000, 8, 1000}};
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        struct mix_shape shape = {shapes[i][0], shapes[i][1] * GIB, shapes[i][2], ""};
        vec_push(&mix->shapes, shape);
        vec_push(&mix->jobs, (uint32_t)i);
    }
    vec_push(&mix->nodes, ((struct mix_node){64000, 512 * GIB, 8, "a100"}));
    vec_push(&mix->nodes, ((struct mix_node){64000, 256 * GIB, 0, ""}));
    mix->jobs_per_node = 14;
}

/* As openb is: most jobs share a device, some have whole ones, some none; CPU and memory vary. */
static void mix_drawn(struct bench_mix *mix)
{
    static const struct mix_node nodes[] = {{96000, 393216 * MIB, 8, "G2"},
        {96000, 786432 * MIB, 2, "T4"}, {64000, 262144 * MIB, 2, "P100"},
        {128000, 786432 * MIB, 8, "G3"}, {94000, 262144 * MIB, 0, ""}};
    static const uint32_t parts[] = {35, 25, 15, 5, 20};
    struct prng prng = {151};
    for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
        for (uint32_t n = 0; n < parts[i]; n++)
            vec_push(&mix->nodes, nodes[i]);
    }
    for (uint32_t i = 0; i < 151; i++) {
        uint64_t kind = prng_below(&prng, 100);
        struct mix_shape shape = {.cpu_milli = 500 * (1 + (int64_t)prng_below(&prng, 40)),
            .memory_bytes = 512 * MIB * (1 + (int64_t)prng_below(&prng, 80))};
        int64_t whole = (int64_t)1 << prng_below(&prng, 4);
        shape.accelerator_milli = kind < 15   ? 0
                                  : kind < 60 ? 10 * (10 + (int64_t)prng_below(&prng, 85))
                                  : kind < 90 ? 1000
                                              : 1000 * whole;
        vec_push(&mix->shapes, shape);
    }
    /* Few shapes are common, as in the trace. */
    for (int i = 0; i < 8000; i++) {
        uint64_t at = prng_below(&prng, 151);
        vec_push(&mix->jobs, (uint32_t)(at * prng_below(&prng, 152) / 151));
    }
    mix->jobs_per_node = 8;
}

static bool same_shape(const struct mix_shape *a, const struct mix_shape *b)
{
    return a->cpu_milli == b->cpu_milli && a->memory_bytes == b->memory_bytes &&
           a->accelerator_milli == b->accelerator_milli && strcmp(a->types, b->types) == 0;
}

static uint32_t shape_find(struct bench_mix *mix, const struct trace_job *job)
{
    struct mix_shape shape = {job->cpu_milli, job->memory_bytes, job->accelerator_milli, ""};
    snprintf(shape.types, sizeof shape.types, "%s", job->accelerators);
    for (size_t i = 0; i < mix->shapes.count; i++) {
        if (same_shape(&mix->shapes.items[i], &shape))
            return (uint32_t)i;
    }
    vec_push(&mix->shapes, shape);
    return (uint32_t)mix->shapes.count - 1;
}

static void shuffle(struct bench_mix *mix)
{
    struct prng prng = {42};
    for (size_t i = mix->jobs.count; i > 1; i--) {
        size_t other = prng_below(&prng, i);
        uint32_t shape = mix->jobs.items[i - 1];
        mix->jobs.items[i - 1] = mix->jobs.items[other];
        mix->jobs.items[other] = shape;
    }
}

static void mix_openb(struct bench_mix *mix, const char *traces)
{
    const struct trace_format *format = trace_format_find("openb");
    char nodes[512], pods[512];
    struct error err;
    snprintf(nodes, sizeof nodes, "%s/openb-fgd-2023/openb_node_list_all_node.csv", traces);
    snprintf(pods, sizeof pods, "%s/openb-fgd-2023/openb_pod_list_default.csv.gz", traces);
    struct trace_cluster cluster;
    trace_cluster_init(&cluster);
    must(format->nodes(&cluster, nodes, &err), &err);
    for (size_t i = 0; i < cluster.nodes.count; i++) {
        const struct trace_node *from = &cluster.nodes.items[i];
        struct mix_node node = {from->cpu_milli, from->memory_bytes, from->devices, ""};
        snprintf(node.type, sizeof node.type, "%s", from->accelerator ? from->accelerator : "");
        vec_push(&mix->nodes, node);
    }
    struct trace_options options = {.jobs = pods, .steady = true};
    struct trace_source *source = format->open(&options, &err);
    struct trace_job job;
    int got = source ? 1 : -1;
    while (got > 0 && (got = trace_next(source, &job, &err)) > 0)
        vec_push(&mix->jobs, shape_find(mix, &job));
    must(got, &err);
    trace_close(source);
    shuffle(mix);
    mix->jobs_per_node = 5.4;
    trace_cluster_finish(&cluster);
}

bool mix_open(struct bench_mix *mix, const char *name)
{
    const char *traces = getenv("MUSTER_TRACES");
    *mix = (struct bench_mix){0};
    if (strcmp(name, "ten") == 0)
        mix_ten(mix);
    else if (strcmp(name, "openb") == 0 && traces && *traces)
        mix_openb(mix, traces);
    else if (strcmp(name, "openb") == 0 || strcmp(name, "drawn") == 0)
        mix_drawn(mix);
    return mix->shapes.count > 0;
}

void mix_finish(struct bench_mix *mix)
{
    vec_free(&mix->shapes);
    vec_free(&mix->jobs);
    vec_free(&mix->nodes);
}

uint32_t mix_shape_at(const struct bench_mix *mix, size_t job)
{
    return mix->jobs.items[job % mix->jobs.count];
}

/* ---- the cluster ------------------------------------------------------------------------- */

/* Node i of n is like the one at the same part of the mix's list, so that kinds keep their order
 * and their shares. */
static void put_nodes(struct bench *bench, int64_t nodes)
{
    const struct bench_mix *mix = &bench->mix;
    struct error err;
    SCOPED(mem_scope) struct node *specs = mem_alloc((size_t)nodes, sizeof *specs);
    SCOPED(mem_scope) struct label *labels = mem_alloc((size_t)nodes, sizeof *labels);
    char(*names)[16] = mem_alloc((size_t)nodes, sizeof *names);
    for (int64_t i = 0; i < nodes; i++) {
        const struct mix_node *like =
            &mix->nodes.items[(size_t)i * mix->nodes.count / (size_t)nodes];
        snprintf(names[i], sizeof names[i], "n%06d", (int)i);
        labels[i] = (struct label){"accelerator", like->type};
        specs[i] = (struct node){.name = names[i],
            .count = 1,
            .type = "n",
            .capacity = {like->cpu_milli, like->memory_bytes, 1000 * GIB,
                like->devices ? like->type : NULL, like->devices * (int64_t)1000},
            .labels = {&labels[i], like->devices ? 1 : 0},
            .fractional = true};
    }
    struct pool pool = {.metadata = {.name = "bench"},
        .engine = ENGINE_SLURM,
        .nodes = {specs, (size_t)nodes},
        .prices = {.currency = "EUR"}};
    must(core_pool_put(bench->core, &pool, &err), &err);
    free(names);
}

void bench_team(struct bench *bench, const char *name, const char *resource, int64_t guarantee)
{
    struct error err;
    struct quota quota = {.resource = resource, .guarantee = guarantee, .limit = -1};
    struct team team = {.metadata = {.name = name},
        .weight_micro = 1000 * 1000,
        .borrow = true,
        .uid = -1,
        .quotas = {&quota, resource ? 1 : 0},
        .jobs_max = INT64_C(100) * 1000 * 1000};
    must(core_team_put(bench->core, &team, &err), &err);
}

void bench_open(struct bench *bench, const char *mix, int64_t nodes)
{
    struct error err;
    *bench = (struct bench){.now_ms = INT64_C(1700000000000)};
    if (!mix_open(&bench->mix, mix)) {
        fprintf(stderr, "core: there is no mix %s\n", mix);
        exit(2);
    }
    bench->core = core_create(NULL);
    must(core_load_end(bench->core, &err), &err);
    core_begin(bench->core, bench->now_ms);
    put_nodes(bench, nodes);
    bench_team(bench, "bench", NULL, 0);
    core_end(bench->core);
}

void bench_finish(struct bench *bench)
{
    core_destroy(bench->core);
    mix_finish(&bench->mix);
}

/* ---- jobs -------------------------------------------------------------------------------- */

uint64_t bench_submit(struct bench *bench, const struct job *like)
{
    static const char *command[] = {"true"};
    struct error err;
    char name[32];
    uint64_t id;
    struct job job = *like;
    snprintf(name, sizeof name, "job-%llu", (unsigned long long)bench->names++);
    job.metadata.name = name;
    job.metadata.team = job.metadata.team ? job.metadata.team : "bench";
    job.command.items = command;
    job.command.count = 1;
    job.gang.size = job.gang.size ? job.gang.size : 1;
    job.priority = job.priority ? job.priority : PRIORITY_NORMAL;
    job.preemptions_max = -1;
    job.preemptible = true;
    must(core_job_submit(bench->core, &job, &id, &err), &err);
    return id;
}

uint64_t bench_submit_shape(struct bench *bench, uint32_t at, bool hold)
{
    const struct mix_shape *shape = &bench->mix.shapes.items[at];
    const char *list[8];
    char types[sizeof shape->types];
    struct node_requirement require = {"accelerator", LABEL_IN, {list, 0}};
    memcpy(types, shape->types, sizeof types);
    for (char *save, *type = strtok_r(types, "|", &save); type && require.values.count < 8;
         type = strtok_r(NULL, "|", &save))
        list[require.values.count++] = type;
    struct job job = {.hold = hold,
        .resources = {.cpu_milli = shape->cpu_milli,
            .memory_bytes = shape->memory_bytes,
            .accelerator_milli = shape->accelerator_milli},
        .placement = {.require = {&require, require.values.count > 0}}};
    return bench_submit(bench, &job);
}

static void look(void *context, const struct core_change *change)
{
    (void)change;
    ++*(size_t *)context;
}

int64_t bench_tick(struct bench *bench)
{
    size_t changes = 0;
    core_begin(bench->core, ++bench->now_ms);
    int64_t begin_ns = bench_clock_ns();
    core_schedule(bench->core);
    int64_t ns = bench_clock_ns() - begin_ns;
    core_changes(bench->core, look, &changes);
    core_end(bench->core);
    return ns;
}
