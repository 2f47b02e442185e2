/* Tables of the parts of a Job that say how it is scheduled and kept: its gang, what it waits for,
 * how often it is tried, its array, topology, log and checkpoints. */
#include "spec/tables.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

/* clang-format off: a field is a paragraph, not a column */

enum { GANG_MAX = 4096, ARRAY_MAX = 10000 };

static const struct field_word condition_words[] = {
    {"succeeded", DEPENDENCY_SUCCEEDED, "it has succeeded"},
    {"ended", DEPENDENCY_ENDED, "it has ended, however"},
    {NULL},
};

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
const struct field_table job_gang_table = FIELD_TABLE(
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
const struct field_table job_dependency_table = FIELD_TABLE("Dependency", struct dependency,
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
const struct field_table job_retries_table = FIELD_TABLE("Retries", struct job, retries_fields,
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
const struct field_table job_topology_table = FIELD_TABLE("Topology", struct job, topology_fields,
    .finish = finish_topology, .doc = "The domain that the ranks of a gang share.");

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
const struct field_table job_array_table = FIELD_TABLE(
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
const struct field_table job_log_table =
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
const struct field_table job_checkpoint_table = FIELD_TABLE(
    "Checkpoint", struct job, checkpoint_fields, .doc = "What the job says of its checkpoints.");
