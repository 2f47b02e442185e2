/* The table of Job: work that runs to its end. Its parts have tables in kind_job_terms.c and
 * kind_job_data.c. */
#include "spec/tables.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* clang-format off: a field is a paragraph, not a column */

enum { ARTIFACTS_MAX = 32 };

static const struct field_word network_words[] = {
    {"none", NETWORK_NONE, "no network"},
    {"gang", NETWORK_GANG, "a private one between the job's ranks"},
    {"host", NETWORK_HOST, "the machine's, where the team may"},
    {NULL},
};

static int64_t network_fallback(const void *object)
{
    const struct job *job = object;
    return job->gang.size > 1 || job->gang.max > 1 ? NETWORK_GANG : NETWORK_NONE;
}

static void check_dependencies(struct field_reader *reader, const struct job *job)
{
    for (size_t i = 0; i < job->depends_on.count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(job->depends_on.items[i].job, job->depends_on.items[j].job) != 0)
                continue;
            char path[40];
            snprintf(path, sizeof path, "dependsOn[%zu]", i);
            fields_report(reader, path, "dependsOn[%zu] is the same job", j);
            break;
        }
    }
}

static void finish_job_spec(struct field_reader *reader, void *object)
{
    const struct job *job = object;
    check_command(reader, "command", &job->command);
    check_secrets(reader, job->secrets.items, job->secrets.count, &job->env);
    check_job_data(reader, job);
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
        .table = &job_parameter_table,
        .max = 256,
        .offset = offsetof(struct job, parameters),
        .also = "params hyperparameters",
        .doc = "What it is run with; each is the variable `MUSTER_PARAMETER_<NAME>`, and is "
               "recorded with what the job makes."},
    {.name = "inputs",
        .type = FIELD_OBJECTS,
        .table = &job_input_table,
        .max = ARTIFACTS_MAX,
        .offset = offsetof(struct job, inputs),
        .doc = "Datasets and models that it reads. Which version a reference means is settled when "
               "the job is submitted."},
    {.name = "outputs",
        .type = FIELD_OBJECTS,
        .table = &job_output_table,
        .max = ARTIFACTS_MAX,
        .offset = offsetof(struct job, outputs),
        .doc = "Datasets and models of the team that get a new version when the job has "
               "succeeded."},
    {.name = "score",
        .type = FIELD_OBJECT,
        .table = &job_score_table,
        .offset = offsetof(struct job, score),
        .doc = "Runs a model over a dataset, in place of a command."},
    {.name = "gang",
        .type = FIELD_OBJECT,
        .table = &job_gang_table,
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
        .table = &job_topology_table,
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
        .table = &job_retries_table,
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
        .table = &job_dependency_table,
        .max = 64,
        .offset = offsetof(struct job, depends_on),
        .also = "after needs dependencies",
        .doc = "Jobs that have to end first; a plain name is enough."},
    {.name = "array",
        .type = FIELD_OBJECT,
        .table = &job_array_table,
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
        .table = &job_log_table,
        .doc = "How much of the log is kept."},
    {.name = "checkpoint",
        .type = FIELD_OBJECT,
        .table = &job_checkpoint_table,
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
