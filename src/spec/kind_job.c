/* The table of Job: work that runs to its end. */
#include "spec/tables.h"

#include <ctype.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* clang-format off: a field is a paragraph, not a column */

enum { GANG_MAX = 4096, ARRAY_MAX = 10000, ARTIFACTS_MAX = 32 };

static const struct field_word network_words[] = {
    {"none", NETWORK_NONE, "no network"},
    {"gang", NETWORK_GANG, "a private one between the job's ranks"},
    {"host", NETWORK_HOST, "the machine's, where the team may"},
    {NULL},
};

static const struct field_word condition_words[] = {
    {"succeeded", DEPENDENCY_SUCCEEDED, "it has succeeded"},
    {"ended", DEPENDENCY_ENDED, "it has ended, however"},
    {NULL},
};

/* ---- parts ----------------------------------------------------------------------------- */

static void finish_gang(struct field_reader *reader, void *object)
{
    const struct gang *gang = object;
    if (gang->min > gang->size)
        fields_report(reader, "min", "expected at most size, %" PRId64 ", got %" PRId64, gang->size,
            gang->min);
    if (gang->max && gang->max < gang->size)
        fields_report(reader, "max", "expected at least size, %" PRId64 ", got %" PRId64,
            gang->size, gang->max);
}

static const struct field gang_fields[] = {
    {.name = "size",
        .type = FIELD_INT,
        .fallback = 1,
        .min = 1,
        .max = GANG_MAX,
        .offset = offsetof(struct gang, size),
        .doc = "Ranks, started together or not at all."},
    {.name = "min",
        .type = FIELD_INT,
        .min = 1,
        .max = GANG_MAX,
        .fallback_doc = "`size`",
        .offset = offsetof(struct gang, min),
        .doc = "Ranks that are enough to go on with."},
    {.name = "max",
        .type = FIELD_INT,
        .min = 1,
        .max = GANG_MAX,
        .fallback_doc = "`size`",
        .offset = offsetof(struct gang, max),
        .doc = "Ranks that can be made use of."},
};
static const struct field_table gang_table = FIELD_TABLE(
    "Gang", struct gang, gang_fields, .finish = finish_gang, .doc = "How many ranks a job has.");

static const struct field dependency_fields[] = {
    {.name = "job",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_reference,
        .offset = offsetof(struct dependency, job),
        .doc = "A job of the team, by name or id."},
    {.name = "condition",
        .type = FIELD_ENUM,
        .words = condition_words,
        .fallback = DEPENDENCY_SUCCEEDED,
        .offset = offsetof(struct dependency, condition),
        .doc = "What it has to have come to."},
};
static const struct field_table dependency_table = FIELD_TABLE("Dependency", struct dependency,
    dependency_fields, .shorthand = "job", .doc = "A job that has to end first.");

/* The structs without a name of their own are members of struct job: their tables have offsets in
 * it, and the fields that hold them stand at offset 0. */
static void finish_retries(struct field_reader *reader, void *object)
{
    const struct job *job = object;
    if (job->retries.backoff_max_ms < job->retries.backoff_ms)
        fields_report(reader, "backoffMax", "expected at least as long as backoff");
}

static int64_t backoff_max_fallback(const void *object)
{
    const struct job *job = object;
    return job->retries.backoff_ms > MINUTES(10) ? job->retries.backoff_ms : MINUTES(10);
}

static const struct field retries_fields[] = {
    {.name = "limit",
        .type = FIELD_INT,
        .max = 1000,
        .offset = offsetof(struct job, retries.limit),
        .doc = "Attempts after the first that may fail. Preemptions do not count."},
    {.name = "backoff",
        .type = FIELD_DURATION,
        .fallback = SECONDS(10),
        .max = DAYS(7),
        .offset = offsetof(struct job, retries.backoff_ms),
        .doc = "The wait before the first retry; it doubles from one to the next."},
    {.name = "backoffMax",
        .type = FIELD_DURATION,
        .max = DAYS(7),
        .fallback_of = backoff_max_fallback,
        .fallback_doc = "10m, or `backoff` if longer",
        .offset = offsetof(struct job, retries.backoff_max_ms),
        .doc = "The longest wait."},
};
static const struct field_table retries_table = FIELD_TABLE("Retries", struct job, retries_fields,
    .finish = finish_retries, .doc = "What happens when an attempt fails.");

static void finish_array(struct field_reader *reader, void *object)
{
    const struct job *job = object;
    if (job->array.parallel > job->array.count)
        fields_report(reader, "parallel", "expected at most count, %" PRId64 ", got %" PRId64,
            job->array.count, job->array.parallel);
}

static const struct field_word topology_words[] = {
    {"required", TOPOLOGY_REQUIRED, "in one domain, or it waits"},
    {"preferred", TOPOLOGY_PREFERRED, "in as few domains as there is room for"},
    {NULL},
};

static void finish_topology(struct field_reader *reader, void *object)
{
    const struct job *job = object;
    if (!job->topology.within && job->topology.mode == TOPOLOGY_REQUIRED)
        fields_report(reader, "within", "required with mode, but not given");
}

static const struct field topology_fields[] = {
    {.name = "within",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .offset = offsetof(struct job, topology.within),
        .also = "level",
        .doc = "A level of `spec.topology.levels` of the pools, such as `rack`, or `node`, or "
               "`socket` for whole devices."},
    {.name = "mode",
        .type = FIELD_ENUM,
        .words = topology_words,
        .fallback = TOPOLOGY_PREFERRED,
        .offset = offsetof(struct job, topology.mode),
        .doc = "What it means when no domain has room for all."},
};
static const struct field_table topology_table =
    FIELD_TABLE("Topology", struct job, topology_fields, .finish = finish_topology,
        .doc = "The domain that the ranks of a gang share.");

static const struct field array_fields[] = {
    {.name = "count",
        .type = FIELD_INT,
        .flags = FIELD_REQUIRED,
        .min = 1,
        .max = ARRAY_MAX,
        .offset = offsetof(struct job, array.count),
        .doc = "Elements; each is a job, and knows its index."},
    {.name = "parallel",
        .type = FIELD_INT,
        .min = 1,
        .max = ARRAY_MAX,
        .fallback_doc = "all",
        .offset = offsetof(struct job, array.parallel),
        .doc = "Elements that run at once."},
};
static const struct field_table array_table = FIELD_TABLE(
    "Array", struct job, array_fields, .finish = finish_array, .doc = "The same job many times.");

static const struct field log_fields[] = {
    {.name = "maxBytes",
        .type = FIELD_BYTES,
        .fallback = 16 << 20,
        .min = 64 << 10,
        .max = 1 << 30,
        .offset = offsetof(struct job, log.max_bytes),
        .doc = "Size of a file of a rank's log."},
    {.name = "files",
        .type = FIELD_INT,
        .fallback = 4,
        .min = 1,
        .max = 100,
        .offset = offsetof(struct job, log.files),
        .doc = "Files kept; older ones are dropped."},
};
static const struct field_table log_table =
    FIELD_TABLE("Log", struct job, log_fields, .doc = "How much of the log is kept.");

static const struct field checkpoint_fields[] = {
    {.name = "interval",
        .type = FIELD_DURATION,
        .min = 1,
        .max = DAYS(30),
        .fallback_doc = "not known",
        .offset = offsetof(struct job, checkpoint.interval_ms),
        .doc = "How often the job writes a checkpoint."},
    {.name = "restart",
        .type = FIELD_DURATION,
        .min = 1,
        .max = DAYS(1),
        .fallback_doc = "not known",
        .offset = offsetof(struct job, checkpoint.restart_ms),
        .doc = "How long it takes to start again and go on from a checkpoint."},
    {.name = "onStop",
        .type = FIELD_BOOL,
        .offset = offsetof(struct job, checkpoint.on_stop),
        .doc = "Whether it writes one when it is told to stop, within its grace period: then a "
               "preemption loses nothing."},
};
static const struct field_table checkpoint_table = FIELD_TABLE(
    "Checkpoint", struct job, checkpoint_fields, .doc = "What the job says of its checkpoints.");

static const struct field parameter_fields[] = {
    {.name = "name",
        .type = FIELD_TEXT,
        .rule = &rule_label_key,
        .offset = offsetof(struct label, key),
        .doc = "The parameter."},
    {.name = "value",
        .type = FIELD_TEXT,
        .rule = &rule_line,
        .offset = offsetof(struct label, value),
        .doc = "Its value."},
};
static const struct field_table parameter_table = FIELD_TABLE(
    "Parameter", struct label, parameter_fields, .pair = true, .doc = "A parameter of a job.");

static void finish_input(struct field_reader *reader, void *object)
{
    const struct job_input *input = object;
    if (!input->dataset == !input->model)
        fields_report(reader, "", "expected either dataset or model, got %s",
            input->dataset ? "both" : "neither");
    check_dataset(reader, "dataset", input->dataset);
}

static const struct field input_fields[] = {
    {.name = "name",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_name,
        .offset = offsetof(struct job_input, name),
        .doc = "It is the folder `/inputs/<name>`, read-only, which the variable "
               "`MUSTER_INPUT_<NAME>` names."},
    {.name = "dataset",
        .type = FIELD_TEXT,
        .rule = &rule_artifact,
        .offset = offsetof(struct job_input, dataset),
        .doc = "A dataset: `digits` (its newest version), `digits:3`, `vision/digits`."},
    {.name = "model",
        .type = FIELD_TEXT,
        .rule = &rule_artifact,
        .offset = offsetof(struct job_input, model),
        .doc = "Or a model: as a dataset, or `digits@production`."},
};
static const struct field_table input_table = FIELD_TABLE("JobInput", struct job_input,
    input_fields, .finish = finish_input, .doc = "An artifact that a job reads.");

static const struct field_word relation_words[] = {
    {"none", VARIANT_NONE, "a model of its own"},
    {"quantized", VARIANT_QUANTIZED, "the parent with numbers of fewer bits"},
    {"pruned", VARIANT_PRUNED, "the parent with weights left out"},
    {"distilled", VARIANT_DISTILLED, "a smaller model taught by the parent"},
    {NULL},
};

static void finish_output(struct field_reader *reader, void *object)
{
    const struct job_output *output = object;
    if (!output->dataset == !output->model)
        fields_report(reader, "", "expected either dataset or model, got %s",
            output->dataset ? "both" : "neither");
    if (!output->parent != (output->relation == VARIANT_NONE))
        fields_report(reader, output->parent ? "parent" : "relation", "needs a %s beside it",
            output->parent ? "relation" : "parent");
    if (output->parent && output->dataset)
        fields_report(reader, "parent", "a dataset is no variant of a model");
}

static const struct field output_fields[] = {
    {.name = "name",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_name,
        .offset = offsetof(struct job_output, name),
        .doc = "It is the folder `/outputs/<name>`, which the variable `MUSTER_OUTPUT_<NAME>` "
               "names."},
    {.name = "dataset",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .offset = offsetof(struct job_output, dataset),
        .doc = "A Dataset of the team."},
    {.name = "model",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .offset = offsetof(struct job_output, model),
        .doc = "Or a Model of the team."},
    {.name = "relation",
        .type = FIELD_ENUM,
        .words = relation_words,
        .fallback = VARIANT_NONE,
        .offset = offsetof(struct job_output, relation),
        .doc = "What the model is of its parent."},
    {.name = "parent",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .offset = offsetof(struct job_output, parent),
        .doc = "The name of an input, the model that this one is a variant of."},
};
static const struct field_table output_table = FIELD_TABLE("JobOutput", struct job_output,
    output_fields, .finish = finish_output, .doc = "An artifact that a job writes.");

static const struct field score_fields[] = {
    {.name = "runtime",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .offset = offsetof(struct score, runtime),
        .doc = "The Runtime whose score command runs the input `model` over the input `data` into "
               "the output `scores`; each element of an array does its share."},
};
static const struct field_table score_table =
    FIELD_TABLE("Score", struct score, score_fields, .doc = "A scoring job.");

/* ---- the whole ------------------------------------------------------------------------- */

static int64_t network_fallback(const void *object)
{
    const struct job *job = object;
    return job->gang.size > 1 || job->gang.max > 1 ? NETWORK_GANG : NETWORK_NONE;
}

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

static void check_dependencies(struct field_reader *reader, const struct job *job)
{
    for (size_t i = 0; i < job->depends_on.count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (!same(job->depends_on.items[i].job, job->depends_on.items[j].job))
                continue;
            char path[40];
            snprintf(path, sizeof path, "dependsOn[%zu]", i);
            fields_report(reader, path, "dependsOn[%zu] is the same job", j);
            break;
        }
    }
}

/* Names become variables: two that differ only in what a variable cannot tell are one. */
static bool same_variable(const char *a, const char *b)
{
    for (; *a && *b; a++, b++) {
        int left = isalnum((unsigned char)*a) ? toupper((unsigned char)*a) : '_';
        int right = isalnum((unsigned char)*b) ? toupper((unsigned char)*b) : '_';
        if (left != right)
            return false;
    }
    return *a == *b;
}

static void check_parameters(struct field_reader *reader, const struct job *job)
{
    const struct label *items = job->parameters.items;
    for (size_t i = 0; i < job->parameters.count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (same_variable(items[i].key, items[j].key)) {
                fields_report(reader, "parameters", "%s and %s are the same variable", items[j].key,
                    items[i].key);
                return;
            }
        }
    }
}

static const struct job_input *find_input(const struct job *job, const char *name)
{
    for (size_t i = 0; i < job->inputs.count; i++) {
        if (strcmp(job->inputs.items[i].name, name) == 0)
            return &job->inputs.items[i];
    }
    return NULL;
}

static void check_inputs(struct field_reader *reader, const struct job *job)
{
    for (size_t i = 0; i < job->inputs.count; i++) {
        char path[40];
        snprintf(path, sizeof path, "inputs[%zu].name", i);
        for (size_t j = 0; j < i; j++) {
            if (!same_variable(job->inputs.items[i].name, job->inputs.items[j].name))
                continue;
            fields_report(reader, path, "inputs[%zu] has that name", j);
            break;
        }
    }
}

static void check_output(struct field_reader *reader, const struct job *job, size_t i)
{
    const struct job_output *output = &job->outputs.items[i];
    char path[40];
    for (size_t j = 0; j < i; j++) {
        const struct job_output *other = &job->outputs.items[j];
        snprintf(path, sizeof path, "outputs[%zu]", i);
        if (same_variable(output->name, other->name))
            fields_report(reader, path, "outputs[%zu] has that name", j);
        else if (same(output->dataset, other->dataset) || same(output->model, other->model))
            fields_report(reader, path, "outputs[%zu] makes the same version", j);
    }
    const struct job_input *parent = output->parent ? find_input(job, output->parent) : NULL;
    snprintf(path, sizeof path, "outputs[%zu].parent", i);
    if (output->parent && (!parent || !parent->model))
        fields_report(reader, path, "expected the name of an input that is a model");
}

static void check_outputs(struct field_reader *reader, const struct job *job)
{
    for (size_t i = 0; i < job->outputs.count; i++)
        check_output(reader, job, i);
}

/* What the runtime's score command is given. */
static void check_scoring(struct field_reader *reader, const struct job *job)
{
    const struct job_input *model = find_input(job, "model"), *data = find_input(job, "data");
    bool scores = false;
    for (size_t i = 0; i < job->outputs.count; i++)
        scores = scores || strcmp(job->outputs.items[i].name, "scores") == 0;
    if (!model || !model->model)
        fields_report(reader, "inputs", "scoring needs an input \"model\" that is a model");
    if (!data || !data->dataset)
        fields_report(reader, "inputs", "scoring needs an input \"data\" that is a dataset");
    if (!scores)
        fields_report(reader, "outputs", "scoring needs an output \"scores\"");
}

static void finish_job_spec(struct field_reader *reader, void *object)
{
    const struct job *job = object;
    check_command(reader, "command", &job->command);
    check_secrets(reader, job->secrets.items, job->secrets.count, &job->env);
    check_parameters(reader, job);
    check_inputs(reader, job);
    check_outputs(reader, job);
    if (job->score.runtime && job->command.count == 0)
        check_scoring(reader, job);
    check_dependencies(reader, job);
    if (job->start_after_ms && job->deadline_ms && job->deadline_ms <= job->start_after_ms)
        fields_report(reader, "deadline", "expected a time after startAfter");
    if (job->shrink_on_node_loss && (job->gang.min == 0 || job->gang.min == job->gang.size))
        fields_report(reader, "shrinkOnNodeLoss", "needs a gang.min below gang.size");
    if (job->service && job->array.count > 0)
        fields_report(reader, "array", "a service has replicas, not array elements");
}

static const struct field job_spec_fields[] = {
    {.name = "class",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .offset = offsetof(struct job, class_name),
        .doc = "A Class that says what is not said here."},
    {.name = "command",
        .type = FIELD_TEXTS,
        .flags = FIELD_REQUIRED,
        .unless = "score",
        .rule = &rule_long,
        .min = 1,
        .max = 256,
        .offset = offsetof(struct job, command),
        .also = "args cmd script",
        .doc = "The program and its arguments. There is no shell unless it is named here."},
    {.name = "image",
        .type = FIELD_TEXT,
        .rule = &rule_line,
        .fallback_doc = "the pool's",
        .offset = offsetof(struct job, image),
        .doc = "The image of its containers, in pools with the engine `kubernetes`. In others "
               "there are no images: it runs what is on the machine."},
    {.name = "env",
        .type = FIELD_MAP,
        .table = &variable_table,
        .max = 256,
        .offset = offsetof(struct job, env),
        .also = "environment variables",
        .doc = "Environment variables."},
    {.name = "secrets",
        .type = FIELD_OBJECTS,
        .table = &secret_table,
        .max = 64,
        .offset = offsetof(struct job, secrets),
        .doc = "Secrets of the team that it sees."},
    {.name = "workdir",
        .type = FIELD_TEXT,
        .rule = &rule_digest,
        .fallback_doc = "empty",
        .offset = offsetof(struct job, workdir),
        .doc = "The snapshot that its working directory starts from."},
    {.name = "parameters",
        .type = FIELD_MAP,
        .table = &parameter_table,
        .max = 256,
        .offset = offsetof(struct job, parameters),
        .also = "params hyperparameters",
        .doc = "What it is run with; each is the variable `MUSTER_PARAMETER_<NAME>`, and is "
               "recorded with what the job makes."},
    {.name = "inputs",
        .type = FIELD_OBJECTS,
        .table = &input_table,
        .max = ARTIFACTS_MAX,
        .offset = offsetof(struct job, inputs),
        .doc = "Datasets and models that it reads. Which version a reference means is settled when "
               "the job is submitted."},
    {.name = "outputs",
        .type = FIELD_OBJECTS,
        .table = &output_table,
        .max = ARTIFACTS_MAX,
        .offset = offsetof(struct job, outputs),
        .doc = "Datasets and models of the team that get a new version when the job has "
               "succeeded."},
    {.name = "score",
        .type = FIELD_OBJECT,
        .table = &score_table,
        .offset = offsetof(struct job, score),
        .doc = "Runs a model over a dataset, in place of a command."},
    {.name = "gang",
        .type = FIELD_OBJECT,
        .table = &gang_table,
        .offset = offsetof(struct job, gang),
        .also = "ranks replicas nodes worldSize",
        .doc = "How many ranks it has."},
    {.name = "resources",
        .type = FIELD_OBJECT,
        .table = &resources_table,
        .offset = offsetof(struct job, resources),
        .doc = "What each rank gets."},
    {.name = "placement",
        .type = FIELD_OBJECT,
        .table = &placement_table,
        .offset = offsetof(struct job, placement),
        .doc = "Where it may run."},
    {.name = "topology",
        .type = FIELD_OBJECT,
        .table = &topology_table,
        .also = "switches rack topologyWish",
        .doc = "How near to each other its ranks are."},
    {.name = "priority",
        .type = FIELD_INT,
        .words = priority_words,
        .fallback = PRIORITY_NORMAL,
        .max = 1000,
        .offset = offsetof(struct job, priority),
        .doc = "Who goes first: low is 100, normal 500, high 800, urgent 1000."},
    {.name = "preemptible",
        .type = FIELD_BOOL,
        .fallback = true,
        .offset = offsetof(struct job, preemptible),
        .doc = "Whether it may be stopped for another, to go on later from its checkpoint."},
    {.name = "minRuntime",
        .type = FIELD_DURATION,
        .max = DAYS(30),
        .offset = offsetof(struct job, min_runtime_ms),
        .doc = "How long an attempt runs before it may be preempted."},
    {.name = "preemptionsMax",
        .type = FIELD_INT,
        .fallback = 10,
        .min = -1,
        .max = 1000000,
        .offset = offsetof(struct job, preemptions_max),
        .doc = "How often it may be preempted; -1: any number of times."},
    {.name = "grace",
        .type = FIELD_DURATION,
        .fallback = SECONDS(30),
        .max = MINUTES(60),
        .offset = offsetof(struct job, grace_ms),
        .also = "terminationGracePeriodSeconds",
        .doc = "The time from SIGTERM to SIGKILL."},
    {.name = "shrinkOnNodeLoss",
        .type = FIELD_BOOL,
        .offset = offsetof(struct job, shrink_on_node_loss),
        .doc = "Whether it goes on with fewer ranks, down to `gang.min`, when a node is lost."},
    {.name = "retries",
        .type = FIELD_OBJECT,
        .table = &retries_table,
        .also = "restarts backoffLimit",
        .doc = "What happens when an attempt fails."},
    {.name = "startAfter",
        .type = FIELD_TIME,
        .min = 1,
        .offset = offsetof(struct job, start_after_ms),
        .doc = "It does not start before."},
    {.name = "deadline",
        .type = FIELD_TIME,
        .min = 1,
        .offset = offsetof(struct job, deadline_ms),
        .doc = "It fails if it has not ended by then."},
    {.name = "timeLimit",
        .type = FIELD_DURATION,
        .min = 1,
        .max = DAYS(366),
        .fallback_doc = "none",
        .offset = offsetof(struct job, time_limit_ms),
        .also = "timeout walltime",
        .doc = "How long an attempt may run."},
    {.name = "duration",
        .type = FIELD_DURATION,
        .min = 1,
        .max = DAYS(366),
        .fallback_doc = "not known",
        .offset = offsetof(struct job, duration_ms),
        .also = "expected runtime estimate",
        .doc = "How long its work is expected to take in all. With a deadline, it decides when "
               "the job may wait for spot capacity."},
    {.name = "dependsOn",
        .type = FIELD_OBJECTS,
        .table = &dependency_table,
        .max = 64,
        .offset = offsetof(struct job, depends_on),
        .also = "after needs dependencies",
        .doc = "Jobs that have to end first; a plain name is enough."},
    {.name = "array",
        .type = FIELD_OBJECT,
        .table = &array_table,
        .doc = "The same job many times."},
    {.name = "hold",
        .type = FIELD_BOOL,
        .offset = offsetof(struct job, hold),
        .doc = "Whether it waits until it is released."},
    {.name = "service",
        .type = FIELD_BOOL,
        .offset = offsetof(struct job, service),
        .doc = "Whether it runs until it is stopped."},
    {.name = "network",
        .type = FIELD_ENUM,
        .words = network_words,
        .fallback_of = network_fallback,
        .fallback_doc = "`gang` with several ranks, else `none`",
        .offset = offsetof(struct job, network),
        .doc = "What it can reach."},
    {.name = "log",
        .type = FIELD_OBJECT,
        .table = &log_table,
        .doc = "How much of the log is kept."},
    {.name = "checkpoint",
        .type = FIELD_OBJECT,
        .table = &checkpoint_table,
        .doc = "What it says of its checkpoints."},
};
const struct field_table job_spec_table = FIELD_TABLE("JobSpec", struct job, job_spec_fields,
    .finish = finish_job_spec, .doc = "What a job runs, with what, where and when.");

static const struct field job_metadata_fields[] = {
    {.name = "name",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_name,
        .offset = offsetof(struct metadata, name),
        .doc = "Unique among the team's jobs that have not ended."},
    {.name = "team",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_name,
        .offset = offsetof(struct metadata, team),
        .doc = "The team whose quota it uses."},
    {.name = "labels",
        .type = FIELD_MAP,
        .table = &label_table,
        .max = LABELS_MAX,
        .offset = offsetof(struct metadata, labels),
        .doc = "Labels by which jobs are found and costs are told apart."},
};
static const struct field_table job_metadata_table = FIELD_TABLE(
    "JobMetadata", struct metadata, job_metadata_fields, .doc = "What every job carries.");

static void finish_job(struct field_reader *reader, void *object)
{
    const struct job *job = object;
    for (size_t i = 0; i < job->depends_on.count; i++) {
        char path[40];
        snprintf(path, sizeof path, "spec.dependsOn[%zu]", i);
        if (strcmp(job->depends_on.items[i].job, job->metadata.name) == 0)
            fields_report(reader, path, "a job cannot wait for itself");
    }
}

static const struct field job_fields[] = {
    ENVELOPE_FIELDS("Job"),
    {.name = "metadata",
        .type = FIELD_OBJECT,
        .flags = FIELD_REQUIRED,
        .table = &job_metadata_table,
        .offset = offsetof(struct job, metadata),
        .doc = "Its name, team and labels."},
    {.name = "spec",
        .type = FIELD_OBJECT,
        .flags = FIELD_REQUIRED | FIELD_IMMUTABLE,
        .table = &job_spec_table,
        .doc = "What it runs."},
    STATUS_FIELD,
};
const struct field_table job_table = FIELD_TABLE(
    "Job", struct job, job_fields, .finish = finish_job, .doc = "Work that runs to its end.");
