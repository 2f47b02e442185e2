/* From an attempt of the core to a launch of an engine: the job's stored manifest says what runs,
 * the attempt's placements say where. Everything lives in one arena for the time of the call. */
#include "server/launch.h"

#include "base/vec.h"
#include "core/core.h"
#include "server/artifacts.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/engines.h"
#include "server/job_origin.h"
#include "server/job_traces.h"
#include "server/names.h"
#include "server/programs.h"
#include "server/score.h"
#include "server/services.h"
#include "server/snapshots.h"
#include "server/status.h"
#include "server/uids.h"
#include "server/vault.h"
#include "server/versions.h"
#include "spec/spec.h"
#include "store/store.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

struct launch_builder {
    struct server *server;
    struct arena *arena;
    struct launch launch;
    const struct job *job;
    struct engine *engine;
    struct launch_placement here;            /* all of them, on this machine */
    VEC(struct launch_placement) placements; /* at a site, one by one */
    VEC(uint32_t) devices;
    VEC(struct launch_secret) secrets;
    VEC(struct launch_input) inputs;
};

uid_t launch_team_uid(struct server *server, const char *team)
{
    return geteuid() == 0 ? uids_get(server->uids, team) : 0;
}

/* The nodes of local pools are parts of this machine, so that all placements of an attempt are one
 * here: its ranks share a sandbox. The devices come in the order of the ranks, each of which asked
 * for as many as the others; ranks that share a device name it once each. */
static void add_placement(void *context, enum row_kind kind, const void *data)
{
    struct launch_builder *builder = context;
    const struct placement_row *row = data;
    struct launch_placement *here = &builder->here;
    assert(kind == ROW_PLACEMENT);
    (void)kind;
    here->ranks += (uint32_t)row->ranks;
    here->device_milli = (uint32_t)row->device_milli;
    for (uint32_t i = 0; i < 64; i++) {
        if (row->devices >> i & 1)
            vec_push(&builder->devices, i);
    }
}

/* At a site each node is one; what its devices are called there is the site's to say. */
static void add_site_placement(void *context, enum row_kind kind, const void *data)
{
    struct launch_builder *builder = context;
    const struct core *core = builder->server->core;
    const struct placement_row *row = data;
    const struct node_row *node = core_node(core, row->node);
    (void)kind;
    uint32_t *devices = arena_alloc(builder->arena, ENGINE_DEVICES_MAX, sizeof *devices);
    struct launch_placement place = {.node = node ? core_symbol(core, node->name) : "",
        .first_rank = (uint32_t)row->first_rank,
        .ranks = (uint32_t)row->ranks,
        .devices = devices,
        .device_milli = (uint32_t)row->device_milli};
    for (uint32_t i = 0; i < ENGINE_DEVICES_MAX; i++) {
        if (row->devices >> i & 1)
            devices[place.device_count++] = i;
    }
    vec_push(&builder->placements, place);
}

static void set_placement(struct launch_builder *builder, const struct attempt_row *attempt)
{
    if (builder->engine != builder->server->engine) {
        core_placement_each(builder->server->core, attempt->id, add_site_placement, builder);
        builder->launch.placements = builder->placements.items;
        builder->launch.placement_count = builder->placements.count;
        return;
    }
    builder->here.node = engine_node(builder->server->engine)->name;
    core_placement_each(builder->server->core, attempt->id, add_placement, builder);
    builder->here.devices = builder->devices.items;
    builder->here.device_count = builder->devices.count;
    builder->launch.placements = &builder->here;
    builder->launch.placement_count = 1;
}

/* MUSTER_PARAMETER_LEARNING_RATE for learning-rate. */
static const char *parameter_variable(struct arena *arena, const char *name)
{
    char *variable = arena_printf(arena, "MUSTER_PARAMETER_%s", name);
    for (char *c = variable; *c; c++) {
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
        else if (!(*c >= 'A' && *c <= 'Z') && !(*c >= '0' && *c <= '9'))
            *c = '_';
    }
    return variable;
}

/* The trace that the attempt's processes go on in: below its span where there is one, otherwise
 * below whoever submitted the job. How many variables: 0 to 2. */
static size_t find_trace(struct launch_builder *builder, const struct attempt_row *attempt,
    struct launch_variable ret[2])
{
    const struct server *server = builder->server;
    struct job_origin origin = {0};
    struct trace_context context;
    char parent[TRACE_PARENT_TEXT];
    const struct job_row *job = core_job(server->core, attempt->job);
    bool submitted_in_one = job && job_origin_find(server, job, &origin);
    if (submitted_in_one)
        context = origin.context;
    if (!(server->job_traces && job_traces_parent(server->job_traces, attempt, &context)) &&
        !submitted_in_one)
        return 0;
    trace_parent_write(&context, parent);
    ret[0] = (struct launch_variable){"TRACEPARENT", arena_strdup(builder->arena, parent)};
    ret[1] = (struct launch_variable){"TRACESTATE", arena_strdup(builder->arena, origin.state)};
    return origin.state[0] ? 2 : 1;
}

/* Its own variable of that name stays: whoever submitted it knows of another trace. */
static void set_trace(struct launch_builder *builder, const struct attempt_row *attempt)
{
    struct launch *launch = &builder->launch;
    struct launch_variable trace[2];
    for (size_t i = 0; i < launch->variable_count; i++) {
        if (strcmp(launch->variables[i].name, "TRACEPARENT") == 0)
            return;
    }
    size_t count = find_trace(builder, attempt, trace);
    if (count == 0)
        return;
    struct launch_variable *variables =
        arena_alloc(builder->arena, launch->variable_count + count, sizeof *variables);
    memcpy(variables, trace, count * sizeof *variables);
    for (size_t i = 0; i < launch->variable_count; i++)
        variables[count + i] = launch->variables[i];
    launch->variables = variables;
    launch->variable_count += count;
}

/* Parameters come last, and win over variables of the same name: what is recorded is what it ran
 * with. */
static void set_variables(struct launch_builder *builder)
{
    const struct label_list *env = &builder->job->env;
    const struct label_list *parameters = &builder->job->parameters;
    struct launch_variable *variables =
        arena_alloc(builder->arena, env->count + parameters->count + 1, sizeof *variables);
    size_t count = 0;
    for (size_t i = 0; i < env->count; i++)
        variables[count++] = (struct launch_variable){env->items[i].key, env->items[i].value};
    for (size_t i = 0; i < parameters->count; i++)
        variables[count++] =
            (struct launch_variable){parameter_variable(builder->arena, parameters->items[i].key),
                parameters->items[i].value};
    builder->launch.variables = variables;
    builder->launch.variable_count = count;
}

/* ---- artifacts ------------------------------------------------------------------------------ */

/* The folder of an input, once it lies there. */
static int add_input(
    struct launch_builder *builder, const struct job_input *input, struct error *err)
{
    struct server *server = builder->server;
    enum kind kind = input->model ? KIND_MODEL : KIND_DATASET;
    struct reference reference;
    struct version version;
    if (reference_parse(input->model ? input->model : input->dataset, &reference, err) < 0 ||
        versions_resolve(server, builder->arena, kind, builder->job->metadata.team, &reference,
            &version, err) < 0)
        return -1;
    const char *path = artifacts_path(server->artifacts, version.tree, err);
    if (!path)
        return error_prefix(
            err, "the input %s (%s)", input->name, input->model ? input->model : input->dataset);
    struct launch_input item = {input->name, arena_strdup(builder->arena, path), false};
    vec_push(&builder->inputs, item);
    return 0;
}

/* All of them are asked for, so that they are laid out one after the other without waiting for the
 * next look. The error is that of the first that can never come, else of the first that waits. */
static int add_inputs(struct launch_builder *builder, struct error *err)
{
    struct error first = {0}, own;
    for (size_t i = 0; i < builder->job->inputs.count; i++) {
        if (add_input(builder, &builder->job->inputs.items[i], &own) == 0)
            continue;
        if (!first.code || (artifacts_may_come(&first) && !artifacts_may_come(&own)))
            first = own;
    }
    if (builder->launch.serve.on || builder->job->score.runtime) {
        /* Where muster was installed without them, what needs none still runs. */
        struct launch_input programs = {PROGRAMS_INPUT, programs_runtimes(builder->arena), true};
        if (access(programs.folder, X_OK) == 0)
            vec_push(&builder->inputs, programs);
    }
    builder->launch.inputs = builder->inputs.items;
    builder->launch.input_count = builder->inputs.count;
    return first.code ? error_set(err, first.code, "%s", first.text) : 0;
}

static void set_tolerations(struct launch_builder *builder)
{
    const struct placement *placement = &builder->job->placement;
    size_t count = placement->tolerations.count;
    struct launch_toleration *items = arena_alloc(builder->arena, count + 1, sizeof *items);
    for (size_t i = 0; i < count; i++)
        items[i] = (struct launch_toleration){
            placement->tolerations.items[i].key, placement->tolerations.items[i].value};
    builder->launch.tolerations = items;
    builder->launch.toleration_count = count;
}

/* All elements of an array write into the folders of the first, each into a part of its own. */
static void set_outputs(struct launch_builder *builder, const struct job_row *row)
{
    const struct job *job = builder->job;
    const char **outputs = arena_alloc(builder->arena, job->outputs.count + 1, sizeof *outputs);
    for (size_t i = 0; i < job->outputs.count; i++)
        outputs[i] = job->outputs.items[i].name;
    builder->launch.outputs = outputs;
    builder->launch.output_count = job->outputs.count;
    if (row->array) {
        builder->launch.output_job = row->array;
        builder->launch.output_part = arena_printf(builder->arena, "%06d", (int)row->array_index);
    }
}

static int add_secrets(struct launch_builder *builder, struct error *err)
{
    for (size_t i = 0; i < builder->job->secrets.count; i++) {
        const struct secret_ref *reference = &builder->job->secrets.items[i];
        char *value;
        size_t size;
        if (vault_get(builder->server->vault, builder->server->reader, builder->job->metadata.team,
                reference->name, &value, &size, err) < 0)
            return -1;
        struct launch_secret secret = {
            .name = reference->env ? reference->env : reference->file,
            .value = value,
            .size = size,
            .as_file = reference->env == NULL,
        };
        vec_push(&builder->secrets, secret);
    }
    return 0;
}

static void set_numbers(struct launch_builder *builder, const struct attempt_row *attempt)
{
    const struct job *job = builder->job;
    struct launch *launch = &builder->launch;
    launch->attempt = attempt->id;
    launch->job = attempt->job;
    launch->attempt_number = (uint32_t)attempt->number;
    launch->epoch = (uint64_t)store_epoch(builder->server->store);
    launch->world_size = (uint32_t)attempt->size;
    launch->cpu_milli = (uint64_t)job->resources.cpu_milli;
    launch->memory_bytes = (uint64_t)job->resources.memory_bytes;
    launch->disk_bytes = (uint64_t)job->resources.disk_bytes;
    launch->accelerator_type = job->resources.accelerator;
    launch->network = job->network == NETWORK_HOST   ? ENGINE_NETWORK_HOST
                      : job->network == NETWORK_GANG ? ENGINE_NETWORK_GANG
                                                     : ENGINE_NETWORK_NONE;
    launch->grace_ms = (uint64_t)job->grace_ms;
    if (job->time_limit_ms > 0)
        launch->walltime_ms = (uint64_t)(job->time_limit_ms + job->grace_ms);
    launch->log_file_bytes = (uint64_t)job->log.max_bytes;
    launch->log_files = (uint32_t)job->log.files;
    launch->snapshot_fd = -1;
}

/* The arguments with NULL at the end. */
static const char *const *argument_vector(struct arena *arena, const struct text_list *command)
{
    const char **argv = arena_alloc(arena, command->count + 1, sizeof *argv);
    for (size_t i = 0; i < command->count; i++)
        argv[i] = command->items[i];
    return argv;
}

/* As launch_attempt. */
static int fill(struct launch_builder *builder, const struct attempt_row *attempt,
    const struct job_row *row, struct error *err)
{
    struct server *server = builder->server;
    const struct job *job = builder->job;
    set_numbers(builder, attempt);
    builder->launch.job_name = core_symbol(server->core, row->name);
    builder->launch.team_name = job->metadata.team;
    builder->launch.uid = launch_team_uid(server, job->metadata.team);
    builder->launch.gid = builder->launch.uid;
    builder->launch.argv = argument_vector(builder->arena, &job->command);
    builder->launch.image = job->image;
    builder->launch.manifest = job;
    set_tolerations(builder);
    if (geteuid() == 0 && builder->launch.uid == 0)
        return error_set(err, ERR_INTERNAL, "the team %s has no uid to run as", job->metadata.team);
    set_variables(builder);
    set_trace(builder, attempt);
    /* Before its inputs: what serves is shown the programs of the runtimes, too. */
    if (server->services && job->service)
        services_launch(server->services, builder->arena, builder->engine, &builder->launch);
    set_placement(builder, attempt);
    set_outputs(builder, row);
    if (add_inputs(builder, err) < 0)
        return artifacts_may_come(err) ? 1 : -1;
    if (add_secrets(builder, err) < 0)
        return -1;
    builder->launch.secrets = builder->secrets.items;
    builder->launch.secret_count = builder->secrets.count;
    if (job->workdir) {
        builder->launch.snapshot_fd = snapshots_open(server->config.data_dir, job->workdir, err);
        if (builder->launch.snapshot_fd < 0)
            return -1;
    }
    return 0;
}

static void builder_finish(struct launch_builder *builder)
{
    for (size_t i = 0; i < builder->secrets.count; i++)
        vault_free(
            (char *)(uintptr_t)builder->secrets.items[i].value, builder->secrets.items[i].size);
    vec_free(&builder->secrets);
    vec_free(&builder->inputs);
    vec_free(&builder->devices);
    vec_free(&builder->placements);
    if (builder->launch.snapshot_fd >= 0)
        close(builder->launch.snapshot_fd);
}

/* An element of an array is told which one it is, and of how many. */
static void add_array_index(struct arena *arena, struct job *job, const struct job_row *row)
{
    if (!row->array)
        return;
    struct label *items = arena_alloc(arena, job->env.count + 2, sizeof *items);
    if (job->env.count)
        memcpy(items, job->env.items, job->env.count * sizeof *items);
    items[job->env.count++] =
        (struct label){"MUSTER_ARRAY_INDEX", arena_printf(arena, "%d", (int)row->array_index)};
    items[job->env.count++] = (struct label){
        "MUSTER_ARRAY_COUNT", arena_printf(arena, "%lld", (long long)job->array.count)};
    job->env.items = items;
}

int launch_attempt(struct server *server, struct engine *engine, const struct attempt_row *attempt,
    struct error *err)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct job_row *row = core_job(server->core, attempt->job);
    assert(row);
    struct doc *doc = status_job_manifest(server, arena, row->array ? row->array : row->id);
    struct field_errors *errors = arena_alloc(arena, 1, sizeof *errors);
    struct manifest manifest;
    if (!doc)
        return error_set(err, ERR_CORRUPT, "the job's manifest is missing in the store");
    if (manifest_decode(arena, doc, NULL, &manifest, errors) < 0)
        return field_errors_summary(errors, err);
    add_array_index(arena, &manifest.job, row);
    score_expand(arena, &manifest.job, row);
    struct launch_builder builder = {.server = server,
        .engine = engine,
        .arena = arena,
        .job = &manifest.job,
        .launch.snapshot_fd = -1};
    int rc = fill(&builder, attempt, row, err);
    artifacts_set_wait(server->artifacts, row->id, rc > 0 ? err->text : NULL);
    if (rc == 0)
        rc = engine_start(engine, &builder.launch, err);
    builder_finish(&builder);
    return rc;
}
