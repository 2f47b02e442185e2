/* Scoring: see score.h. */
#include "server/score.h"

#include "base/strbuf.h"
#include "engine/engine.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/programs.h"
#include "spec/reference.h"
#include "spec/spec.h"
#include "spec/template.h"

#include <inttypes.h>
#include <string.h>

/* Where the engine shows inputs and outputs. */
#define INPUTS  ENGINE_INPUTS_PATH "/"
#define OUTPUTS ENGINE_OUTPUTS_PATH "/"

static const struct job_input *find_input(const struct job *job, const char *name)
{
    for (size_t i = 0; i < job->inputs.count; i++) {
        if (strcmp(job->inputs.items[i].name, name) == 0)
            return &job->inputs.items[i];
    }
    return NULL;
}

/* ---- when it is submitted ---------------------------------------------------------------------
 */

static int check_command(const struct text_list *command, struct error *err)
{
    for (size_t i = 0; i < command->count; i++) {
        if (template_check(command->items[i], TEMPLATE_SCORE, err) < 0)
            return error_prefix(err, "argument %zu of the command", i + 1);
    }
    return 0;
}

/* What the job says itself wins. */
static void add_env(
    struct arena *arena, const struct label_list *env, const char *const *values, struct job *job)
{
    struct label *items = arena_alloc(arena, env->count + job->env.count + 1, sizeof *items);
    size_t count = 0;
    for (size_t i = 0; i < env->count; i++) {
        SCOPED(strbuf_finish) struct strbuf text = {0};
        if (label_find(&job->env, env->items[i].key))
            continue;
        template_expand(env->items[i].value, values, &text);
        items[count++] = (struct label){env->items[i].key, arena_strdup(arena, strbuf_text(&text))};
    }
    for (size_t i = 0; i < job->env.count; i++)
        items[count++] = job->env.items[i];
    job->env.items = items;
    job->env.count = count;
}

/* What is the same for all elements. */
static void fill_values(
    struct arena *arena, const struct job *job, const char *values[PLACEHOLDER_COUNT])
{
    struct reference model = {0};
    const struct job_input *input = find_input(job, "model");
    if (input && input->model && reference_parse(input->model, &model, NULL) == 0) {
        values[PLACEHOLDER_NAME] = arena_strdup(arena, model.name);
        values[PLACEHOLDER_VERSION] = arena_printf(arena, "%" PRId64, model.version);
    }
    /* A part of a CPU is one for whoever starts threads. */
    int64_t cpus = (job->resources.cpu_milli + 999) / 1000;
    values[PLACEHOLDER_MODEL] = INPUTS "model";
    values[PLACEHOLDER_DATA] = INPUTS "data";
    values[PLACEHOLDER_OUTPUT] = OUTPUTS "scores";
    values[PLACEHOLDER_RUNTIMES] = INPUTS PROGRAMS_INPUT;
    values[PLACEHOLDER_CPUS] = arena_printf(arena, "%" PRId64, cpus > 0 ? cpus : 1);
    values[PLACEHOLDER_SHARDS] =
        arena_printf(arena, "%" PRId64, job->array.count > 0 ? job->array.count : 1);
}

static const struct runtime *find_runtime(
    const struct server *server, const char *name, struct error *err)
{
    const struct catalog_entry *entry = catalog_find(server->catalog, KIND_RUNTIME, name);
    if (!entry) {
        error_set(err, ERR_NOT_FOUND, "there is no Runtime %s", name);
        return NULL;
    }
    if (entry->manifest->runtime.score_command.count == 0) {
        error_set(err, ERR_INVALID, "the Runtime %s cannot score: it has no scoreCommand", name);
        return NULL;
    }
    return &entry->manifest->runtime;
}

/* The Runtime may be changed before the job is stored: copies. */
static void take_over(struct arena *arena, const struct runtime *runtime, struct job *job)
{
    const struct text_list *command = &runtime->score_command;
    const char *values[PLACEHOLDER_COUNT] = {0};
    const char **items = arena_alloc(arena, command->count, sizeof *items);
    struct label_list env = {
        arena_alloc(arena, runtime->env.count + 1, sizeof *env.items), runtime->env.count};
    for (size_t i = 0; i < command->count; i++)
        items[i] = arena_strdup(arena, command->items[i]);
    for (size_t i = 0; i < env.count; i++)
        env.items[i] = (struct label){arena_strdup(arena, runtime->env.items[i].key),
            arena_strdup(arena, runtime->env.items[i].value)};
    job->command = (struct text_list){items, command->count};
    if (!job->image)
        job->image = arena_strdup(arena, runtime->image);
    fill_values(arena, job, values);
    add_env(arena, &env, values, job);
}

int score_complete(
    const struct server *server, struct arena *arena, struct job *job, struct error *err)
{
    if (!job->score.runtime)
        return 0;
    if (find_input(job, PROGRAMS_INPUT))
        return error_set(err, ERR_INVALID,
            "no input of a scoring job may be called %s: so is the folder of the runtimes' "
            "programs",
            PROGRAMS_INPUT);
    if (job->inputs.count >= ENGINE_ARTIFACTS_MAX)
        return error_set(
            err, ERR_INVALID, "a scoring job has at most %d inputs", ENGINE_ARTIFACTS_MAX - 1);
    if (job->command.count > 0)
        return check_command(&job->command, err);
    const struct runtime *runtime = find_runtime(server, job->score.runtime, err);
    if (!runtime)
        return -1;
    take_over(arena, runtime, job);
    return 0;
}

/* ---- when it is launched ----------------------------------------------------------------------
 */

void score_expand(struct arena *arena, struct job *job, const struct job_row *row)
{
    const char *values[PLACEHOLDER_COUNT] = {0};
    if (!job->score.runtime)
        return;
    fill_values(arena, job, values);
    values[PLACEHOLDER_SHARD] = arena_printf(arena, "%d", row->array ? (int)row->array_index : 0);
    const char **items = arena_alloc(arena, job->command.count, sizeof *items);
    for (size_t i = 0; i < job->command.count; i++) {
        SCOPED(strbuf_finish) struct strbuf text = {0};
        template_expand(job->command.items[i], values, &text);
        items[i] = arena_strdup(arena, strbuf_text(&text));
    }
    job->command.items = items;
}
