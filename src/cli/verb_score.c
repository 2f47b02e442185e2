/* muster score: run a model over a dataset, as a job whose result is a dataset. */
#include "base/memory.h"
#include "cli/api.h"
#include "cli/job.h"
#include "cli/verbs.h"
#include "spec/reference.h"

#include <inttypes.h>
#include <string.h>

enum {
    PAUSE_MS = 300,
    PATIENCE = 200 /* pauses in a row without any server: a minute */,
    SHARDS = 4
};

static const struct option_spec options[] = {
    {"output", 'o', OPTION_TEXT, "DATASET", "the dataset of the team that the scores become"},
    {"shards", 's', OPTION_NUMBER, "COUNT",
        "parts that are scored side by side; 4, or what the class given says"},
    {"runtime", 0, OPTION_TEXT, "RUNTIME", "what scores; the model's own unless it is given"},
    {"name", 'n', OPTION_TEXT, "NAME", "of the job; made from the model's unless it is given"},
    JOB_TEAM_OPTION,
    {"class", 'c', OPTION_TEXT, "CLASS", "the class of the job; batch-scoring unless it is given"},
    {"cpu", 0, OPTION_TEXT, "CPUS", "CPUs of each part: 2, 0.5"},
    {"memory", 'm', OPTION_TEXT, "SIZE", "memory of each part: 4Gi"},
    {"disk", 0, OPTION_TEXT, "SIZE", "disk space of each part: 10Gi"},
    {"follow", 'f', OPTION_FLAG, NULL, "wait until the scores are there"},
    {NULL},
};

static const char *text_or(const struct cli *cli, const char *option, const char *fallback)
{
    const char *text = arguments_text(cli->args, option);
    return text ? text : fallback;
}

/* The model's own runtime. */
static const char *find_runtime(
    struct cli *cli, struct api *api, const struct reference *model, struct error *err)
{
    const char *given = arguments_text(cli->args, "runtime");
    const struct doc *doc = NULL;
    if (given)
        return given;
    const char *target = arena_printf(
        cli->arena, "/v1/models/%s:%s", model->team[0] ? model->team : job_team(cli), model->name);
    if (api_get(api, cli->arena, target, &doc, err) < 0)
        return NULL;
    const char *runtime = view_text(doc, "spec.runtime");
    if (!runtime)
        error_set(err, ERR_INVALID, "the model %s names no runtime: say which with --runtime",
            model->name);
    return runtime;
}

static void add_port(struct arena *arena, struct doc *list, const char *name, const char *kind,
    const char *reference)
{
    struct doc *item = doc_append(list, doc_map(arena));
    doc_set_string(arena, item, "name", name);
    doc_set_string(arena, item, kind, reference);
}

static void set_spec(struct cli *cli, struct doc *spec, const char *runtime)
{
    static const char *const amounts[] = {"cpu", "memory", "disk"};
    struct arena *arena = cli->arena;
    struct doc *resources = doc_map(arena);
    doc_set_string(arena, spec, "class", text_or(cli, "class", "batch-scoring"));
    doc_set_string(arena, doc_set(arena, spec, "score", doc_map(arena)), "runtime", runtime);
    struct doc *inputs = doc_set(arena, spec, "inputs", doc_list(arena));
    add_port(arena, inputs, "model", "model", arguments_operand(cli->args, 0));
    add_port(arena, inputs, "data", "dataset", arguments_operand(cli->args, 1));
    struct doc *outputs = doc_set(arena, spec, "outputs", doc_list(arena));
    add_port(arena, outputs, "scores", "dataset", arguments_text(cli->args, "output"));
    /* A class of somebody's own may say how many; the built-in one leaves it to each job. */
    int64_t shards =
        arguments_number(cli->args, "shards", arguments_text(cli->args, "class") ? 0 : SHARDS);
    if (shards > 0)
        doc_set_int(arena, doc_set(arena, spec, "array", doc_map(arena)), "count", shards);
    for (size_t i = 0; i < ARRAY_LEN(amounts); i++)
        doc_set_string(arena, resources, amounts[i], arguments_text(cli->args, amounts[i]));
    if (resources->count > 0)
        doc_set(arena, spec, "resources", resources);
}

static struct doc *make_manifest(struct cli *cli, struct api *api, struct error *err)
{
    struct arena *arena = cli->arena;
    struct reference model;
    char key[API_KEY_TEXT];
    if (!arguments_text(cli->args, "output")) {
        error_set(err, ERR_INVALID, "say what the scores become: --output DATASET");
        return NULL;
    }
    if (reference_parse(arguments_operand(cli->args, 0), &model, err) < 0)
        return NULL;
    const char *runtime = find_runtime(cli, api, &model, err);
    if (!runtime)
        return NULL;
    api_make_key(key);
    struct doc *doc = doc_map(arena);
    doc_set_string(arena, doc, "apiVersion", "muster/v1");
    doc_set_string(arena, doc, "kind", "Job");
    struct doc *metadata = doc_set(arena, doc, "metadata", doc_map(arena));
    doc_set_string(arena, metadata, "name",
        text_or(cli, "name", arena_printf(arena, "score-%.40s-%.6s", model.name, key)));
    doc_set_string(arena, metadata, "team", job_team(cli));
    set_spec(cli, doc_set(arena, doc, "spec", doc_map(arena)), runtime);
    return doc;
}

/* ---- following ------------------------------------------------------------------------------ */

/* Whether all is over: the elements have ended and what they wrote was taken in, or never will. */
static bool is_over(const struct doc *job)
{
    const char *outputs = view_text(job, "status.outputs.state");
    return view_at(job, "status.ended") && (!outputs || strcmp(outputs, "pending") != 0);
}

static int say_end(struct cli *cli, const struct doc *job, struct error *err)
{
    const struct doc *outputs = view_at(job, "status.outputs.outputs");
    const char *why = view_text(job, "status.outputs.text");
    if (!outputs || !outputs->first || !view_text(outputs->first, "version")) {
        const char *own = outputs && outputs->first ? view_text(outputs->first, "error") : NULL;
        cli->exit_status = 1;
        cli_note(cli, "there are no scores: %s", own ? own : why ? why : "the job was forgotten");
        return 0;
    }
    return cli_puts(cli,
        arena_printf(cli->arena, "%s/%s:%s\n", view_text(job, "metadata.team"),
            view_text(outputs->first, "artifact"), view_text(outputs->first, "version")),
        err);
}

static int follow(struct cli *cli, struct api *api, const char *name, struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf target = {0};
    const struct doc *job = NULL;
    int failures = 0;
    job_append_target(cli, &target, name, "");
    cli_catch_interrupts(-1);
    for (;;) {
        struct error trouble = {0};
        if (api_get(api, cli->arena, target.text, &job, &trouble) == 0) {
            failures = 0;
            if (is_over(job))
                return say_end(cli, job, err);
        } else if ((trouble.code != ERR_UNAVAILABLE && trouble.code != ERR_UNKNOWN) ||
                   ++failures > PATIENCE) {
            return error_set(err, trouble.code, "%s", trouble.text);
        }
        cli_pause(PAUSE_MS);
        if (cli_interrupted()) {
            cli_note(cli, "%s goes on", name);
            cli->exit_status = 130;
            return 0;
        }
    }
}

static int run(struct cli *cli, struct error *err)
{
    struct api *api = cli_api(cli, err);
    struct doc *doc = api ? make_manifest(cli, api, err) : NULL;
    char key[API_KEY_TEXT];
    api_make_key(key);
    if (!doc || api_call(api, cli->arena, "POST", "/v1/jobs", doc, key, NULL, err) < 0)
        return -1;
    const char *name = arena_printf(
        cli->arena, "%s/%s", view_text(doc, "metadata.team"), view_text(doc, "metadata.name"));
    if (!arguments_flag(cli->args, "follow"))
        return cli_puts(cli, arena_printf(cli->arena, "%s\n", name), err);
    cli_note(cli, "job %s", name);
    return follow(cli, api, name, err);
}

const struct verb verb_score = {
    .name = "score",
    .operands = "MODEL DATASET",
    .summary = "run a model over a dataset, in parts side by side",
    .description =
        "Makes a job of the class batch-scoring: each element of its array scores its share with "
        "the "
        "runtime's score command, and what they wrote becomes the next version of the output "
        "dataset, whose lineage names model and data. An element that was preempted goes on with "
        "the block it was at.\n\n"
        "Model and data are named as NAME, NAME:3 or, models, NAME@production. With --follow the "
        "version of the scores is printed, and the exit status is 1 where there is none.",
    .examples = "muster score vision/digits@production vision/scans --output scan-scores "
                "--team vision --shards 8 --follow",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
