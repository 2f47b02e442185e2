/* The table of Job: work that runs to its end. */
#include "spec/tables.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* clang-format off: a field is a paragraph, not a column */

enum { COMMAND_BYTES_MAX = 64 * 1024, GANG_MAX = 4096, ARRAY_MAX = 10000 };

#define SECONDS(n) ((n)*1000LL)
#define MINUTES(n) ((n)*60000LL)
#define DAYS(n)    ((n)*86400000LL)

static const struct field_word priority_words[] = {
    {"low", PRIORITY_LOW, "may wait"},
    {"normal", PRIORITY_NORMAL, "the usual"},
    {"high", PRIORITY_HIGH, "before the usual"},
    {"urgent", PRIORITY_URGENT, "before everything"},
    {NULL},
};

static const struct field_word network_words[] = {
    {"none", NETWORK_NONE, "no network"},
    {"gang", NETWORK_GANG, "a private one between the job's ranks"},
    {"host", NETWORK_HOST, "the machine's, where the team may"},
    {NULL},
};

static const struct field_word spread_words[] = {
    {"pack", SPREAD_PACK, "on as few nodes as possible"},
    {"spread", SPREAD_SPREAD, "on as many nodes as possible"},
    {NULL},
};

static const struct field_word condition_words[] = {
    {"succeeded", DEPENDENCY_SUCCEEDED, "it has succeeded"},
    {"ended", DEPENDENCY_ENDED, "it has ended, however"},
    {NULL},
};

static const struct field_word operator_words[] = {
    {"in", LABEL_IN, "the label has one of the values"},
    {"notIn", LABEL_NOT_IN, "it has none of them, or is not there"},
    {"exists", LABEL_EXISTS, "it is there"},
    {"absent", LABEL_ABSENT, "it is not there"},
    {NULL},
};

/* ---- parts ----------------------------------------------------------------------------- */

/* Variables that muster sets itself. */
static bool is_reserved_variable(const char *name)
{
    static const char *const names[] = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE",
        "MASTER_ADDR", "MASTER_PORT", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return strncmp(name, "MUSTER_", 7) == 0;
}

static void finish_variable(struct field_reader *reader, void *object)
{
    const struct label *variable = object;
    if (is_reserved_variable(variable->key))
        fields_report(reader, "", "%.60s is set by muster", variable->key);
}

static const struct field variable_fields[] = {
    {.name = "name",
        .type = FIELD_TEXT,
        .rule = &rule_variable,
        .offset = offsetof(struct label, key),
        .doc = "The variable."},
    {.name = "value",
        .type = FIELD_TEXT,
        .rule = &rule_long,
        .offset = offsetof(struct label, value),
        .doc = "Its value."},
};
static const struct field_table variable_table = FIELD_TABLE("Variable", struct label,
    variable_fields, .pair = true, .finish = finish_variable, .doc = "An environment variable.");

static void finish_secret(struct field_reader *reader, void *object)
{
    const struct secret_ref *secret = object;
    if (!secret->env == !secret->file)
        fields_report(
            reader, "", "expected either env or file, got %s", secret->env ? "both" : "neither");
    else if (secret->env && is_reserved_variable(secret->env))
        fields_report(reader, "env", "%.60s is set by muster", secret->env);
}

static const struct field secret_fields[] = {
    {.name = "name",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_name,
        .offset = offsetof(struct secret_ref, name),
        .doc = "Of a secret of the team."},
    {.name = "env",
        .type = FIELD_TEXT,
        .rule = &rule_variable,
        .offset = offsetof(struct secret_ref, env),
        .doc = "The variable it is put into."},
    {.name = "file",
        .type = FIELD_TEXT,
        .rule = &rule_file_name,
        .offset = offsetof(struct secret_ref, file),
        .doc = "The file below `/run/secrets` it is put into. Either this or `env`."},
};
static const struct field_table secret_table = FIELD_TABLE("SecretRef", struct secret_ref,
    secret_fields, .finish = finish_secret, .doc = "A secret that the job sees.");

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

static int64_t devices_fallback(const void *object)
{
    const struct resources *resources = object;
    return resources->accelerator ? 1000 : 0;
}

static void finish_devices(struct field_reader *reader, void *object)
{
    const struct resources *resources = object;
    if (resources->accelerator_milli > 1000 && resources->accelerator_milli % 1000 != 0)
        fields_report(reader, "count", "expected whole devices, or a share below 1 of one");
}

static const struct field devices_fields[] = {
    {.name = "type",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_name,
        .offset = offsetof(struct resources, accelerator),
        .doc = "Such as `a100`."},
    {.name = "count",
        .type = FIELD_MILLI,
        .min = 1,
        .max = 64 * 1000,
        .fallback_of = devices_fallback,
        .fallback_doc = "1",
        .offset = offsetof(struct resources, accelerator_milli),
        .doc = "Devices of each rank, or a share below 1 of one."},
};
static const struct field_table devices_table = FIELD_TABLE("JobAccelerator", struct resources,
    devices_fields, .finish = finish_devices, .doc = "Accelerators, all of one type.");

static const struct field resources_fields[] = {
    {.name = "cpu",
        .type = FIELD_MILLI,
        .fallback = 1000,
        .min = 1,
        .max = 1024 * 1000,
        .offset = offsetof(struct resources, cpu_milli),
        .also = "cpus cores",
        .doc = "CPUs."},
    {.name = "memory",
        .type = FIELD_BYTES,
        .fallback = 1LL << 30,
        .min = 1 << 20,
        .max = 1LL << 44,
        .offset = offsetof(struct resources, memory_bytes),
        .also = "mem ram",
        .doc = "Memory."},
    {.name = "disk",
        .type = FIELD_BYTES,
        .fallback = 1LL << 30,
        .max = 1LL << 50,
        .offset = offsetof(struct resources, disk_bytes),
        .doc = "Room for its files."},
    {.name = "accelerator",
        .type = FIELD_OBJECT,
        .table = &devices_table,
        .also = "gpu gpus accelerators",
        .doc = "Accelerators."},
};
static const struct field_table resources_table = FIELD_TABLE(
    "Resources", struct resources, resources_fields, .doc = "What each rank of a job gets.");

static void finish_requirement(struct field_reader *reader, void *object)
{
    const struct node_requirement *requirement = object;
    bool compares = requirement->operation == LABEL_IN || requirement->operation == LABEL_NOT_IN;
    if (compares && requirement->values.count == 0)
        fields_report(reader, "values", "expected at least 1 item with this operator, got 0");
    if (!compares && requirement->values.count > 0)
        fields_report(reader, "values", "expected none with this operator");
}

static const struct field requirement_fields[] = {
    {.name = "key",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_label_key,
        .offset = offsetof(struct node_requirement, key),
        .doc = "A label of the node."},
    {.name = "operator",
        .type = FIELD_ENUM,
        .words = operator_words,
        .fallback = LABEL_IN,
        .offset = offsetof(struct node_requirement, operation),
        .doc = "What has to hold."},
    {.name = "values",
        .type = FIELD_TEXTS,
        .rule = &rule_label_value,
        .max = 64,
        .offset = offsetof(struct node_requirement, values),
        .doc = "For `in` and `notIn`."},
};
static const struct field_table requirement_table =
    FIELD_TABLE("NodeRequirement", struct node_requirement, requirement_fields,
        .finish = finish_requirement, .doc = "What a node's label has to be.");

static const struct field toleration_fields[] = {
    {.name = "key",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_label_key,
        .offset = offsetof(struct toleration, key),
        .doc = "The taint's key."},
    {.name = "value",
        .type = FIELD_TEXT,
        .rule = &rule_label_value,
        .fallback_doc = "any",
        .offset = offsetof(struct toleration, value),
        .doc = "The taint's value."},
};
static const struct field_table toleration_table = FIELD_TABLE("Toleration", struct toleration,
    toleration_fields, .shorthand = "key", .doc = "A taint that does not keep the job away.");

static void finish_placement(struct field_reader *reader, void *object)
{
    const struct placement *placement = object;
    if (placement->exclusive && placement->near.count > 0)
        fields_report(reader, "near", "a job with nodes of its own cannot be near others");
}

static const struct field placement_fields[] = {
    {.name = "pool",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .fallback_doc = "any",
        .offset = offsetof(struct placement, pool),
        .doc = "Only in this pool."},
    {.name = "nodeType",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .fallback_doc = "any",
        .offset = offsetof(struct placement, node_type),
        .doc = "Only on nodes of this type."},
    {.name = "jurisdiction",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .fallback_doc = "any",
        .offset = offsetof(struct placement, jurisdiction),
        .doc = "Only in pools of this jurisdiction."},
    {.name = "require",
        .type = FIELD_OBJECTS,
        .table = &requirement_table,
        .max = 32,
        .offset = offsetof(struct placement, require),
        .doc = "Only on nodes with labels for which all of this holds."},
    {.name = "tolerations",
        .type = FIELD_OBJECTS,
        .table = &toleration_table,
        .max = 32,
        .offset = offsetof(struct placement, tolerations),
        .doc = "Taints that do not keep it away."},
    {.name = "near",
        .type = FIELD_MAP,
        .table = &label_table,
        .max = 16,
        .offset = offsetof(struct placement, near),
        .doc = "On nodes that run a job with one of these labels."},
    {.name = "apart",
        .type = FIELD_MAP,
        .table = &label_table,
        .max = 16,
        .offset = offsetof(struct placement, apart),
        .doc = "Never on nodes that run a job with one of these labels."},
    {.name = "spread",
        .type = FIELD_ENUM,
        .words = spread_words,
        .fallback = SPREAD_PACK,
        .offset = offsetof(struct placement, spread),
        .doc = "How its ranks lie over nodes."},
    {.name = "exclusive",
        .type = FIELD_BOOL,
        .offset = offsetof(struct placement, exclusive),
        .doc = "Whether its nodes run nothing else meanwhile."},
};
static const struct field_table placement_table = FIELD_TABLE("Placement", struct placement,
    placement_fields, .finish = finish_placement, .doc = "Where a job may run.");

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
};
static const struct field_table checkpoint_table = FIELD_TABLE(
    "Checkpoint", struct job, checkpoint_fields, .doc = "What the job says of its checkpoints.");

/* ---- the whole ------------------------------------------------------------------------- */

static int64_t network_fallback(const void *object)
{
    const struct job *job = object;
    return job->gang.size > 1 || job->gang.max > 1 ? NETWORK_GANG : NETWORK_NONE;
}

static void check_command(struct field_reader *reader, const struct job *job)
{
    size_t bytes = 0;
    for (size_t i = 0; i < job->command.count; i++)
        bytes += strlen(job->command.items[i]) + 1;
    if (bytes > COMMAND_BYTES_MAX)
        fields_report(reader, "command", "expected at most %d bytes in all, got %zu",
            COMMAND_BYTES_MAX, bytes);
    if (job->command.count > 0 && job->command.items[0][0] == '\0')
        fields_report(reader, "command[0]", "expected a program, got \"\"");
}

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

static void check_secrets(struct field_reader *reader, const struct job *job)
{
    for (size_t i = 0; i < job->secrets.count; i++) {
        const struct secret_ref *secret = &job->secrets.items[i];
        bool twice = false;
        for (size_t j = 0; j < job->env.count; j++)
            twice = twice || same(secret->env, job->env.items[j].key);
        for (size_t j = 0; j < i; j++) {
            twice = twice || same(secret->env, job->secrets.items[j].env) ||
                    same(secret->file, job->secrets.items[j].file);
        }
        char path[40];
        snprintf(path, sizeof path, "secrets[%zu].%s", i, secret->env ? "env" : "file");
        if (twice)
            fields_report(reader, path, "is set twice");
    }
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

static void finish_job_spec(struct field_reader *reader, void *object)
{
    const struct job *job = object;
    check_command(reader, job);
    check_secrets(reader, job);
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
        .rule = &rule_long,
        .min = 1,
        .max = 256,
        .offset = offsetof(struct job, command),
        .also = "args cmd script",
        .doc = "The program and its arguments. There is no shell unless it is named here."},
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
