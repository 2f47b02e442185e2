/* Tables of what jobs and services have in common: variables, secrets, resources, placement. */
#include "spec/reference.h"
#include "spec/tables.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* clang-format off: a field is a paragraph, not a column */

const struct field_word priority_words[] = {
    {"low", PRIORITY_LOW, "may wait"},
    {"normal", PRIORITY_NORMAL, "the usual"},
    {"high", PRIORITY_HIGH, "before the usual"},
    {"urgent", PRIORITY_URGENT, "before everything"},
    {NULL},
};

static const struct field_word spread_words[] = {
    {"pack", SPREAD_PACK, "on as few nodes as possible"},
    {"spread", SPREAD_SPREAD, "on as many nodes as possible"},
    {NULL},
};

static const struct field_word operator_words[] = {
    {"in", LABEL_IN, "the label has one of the values"},
    {"notIn", LABEL_NOT_IN, "it has none of them, or is not there"},
    {"exists", LABEL_EXISTS, "it is there"},
    {"absent", LABEL_ABSENT, "it is not there"},
    {NULL},
};

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
const struct field_table variable_table = FIELD_TABLE("Variable", struct label, variable_fields,
    .pair = true, .finish = finish_variable, .doc = "An environment variable.");

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
const struct field_table secret_table = FIELD_TABLE("SecretRef", struct secret_ref, secret_fields,
    .finish = finish_secret, .doc = "A secret that the job sees.");

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
        .rule = &rule_resource,
        .offset = offsetof(struct resources, accelerator),
        .doc = "Such as `a100`; in a Kubernetes cluster `nvidia`, `amd` or a resource by its name, "
               "such as `nvidia.com/mig-1g.5gb`."},
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
const struct field_table resources_table = FIELD_TABLE(
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

static const struct field_word spot_words[] = {
    {"allowed", SPOT_ALLOWED, "like any other"},
    {"never", SPOT_NEVER, "not there"},
    {"only", SPOT_ONLY, "only there"},
    {NULL},
};

/* The same fields with another default: ranks of a job are packed, replicas are spread. */
#define PLACEMENT_FIELDS(spread_fallback)                                                          \
    {.name = "pool",                                                                               \
        .type = FIELD_TEXT,                                                                        \
        .rule = &rule_name,                                                                        \
        .fallback_doc = "any",                                                                     \
        .offset = offsetof(struct placement, pool),                                                \
        .doc = "Only in this pool."},                                                              \
        {.name = "nodeType",                                                                       \
            .type = FIELD_TEXT,                                                                    \
            .rule = &rule_name,                                                                    \
            .fallback_doc = "any",                                                                 \
            .offset = offsetof(struct placement, node_type),                                       \
            .doc = "Only on nodes of this type."},                                                 \
        {.name = "jurisdiction",                                                                   \
            .type = FIELD_TEXT,                                                                    \
            .rule = &rule_name,                                                                    \
            .fallback_doc = "any",                                                                 \
            .offset = offsetof(struct placement, jurisdiction),                                    \
            .doc = "Only in pools of this jurisdiction."},                                         \
        {.name = "require",                                                                        \
            .type = FIELD_OBJECTS,                                                                 \
            .table = &requirement_table,                                                           \
            .max = 32,                                                                             \
            .offset = offsetof(struct placement, require),                                         \
            .doc = "Only on nodes with labels for which all of this holds."},                      \
        {.name = "tolerations",                                                                    \
            .type = FIELD_OBJECTS,                                                                 \
            .table = &toleration_table,                                                            \
            .max = 32,                                                                             \
            .offset = offsetof(struct placement, tolerations),                                     \
            .doc = "Taints that do not keep it away."},                                            \
        {.name = "near",                                                                           \
            .type = FIELD_MAP,                                                                     \
            .table = &label_table,                                                                 \
            .max = 16,                                                                             \
            .offset = offsetof(struct placement, near),                                            \
            .doc = "On nodes that run a job with one of these labels."},                           \
        {.name = "apart",                                                                          \
            .type = FIELD_MAP,                                                                     \
            .table = &label_table,                                                                 \
            .max = 16,                                                                             \
            .offset = offsetof(struct placement, apart),                                           \
            .doc = "Never on nodes that run a job with one of these labels."},                     \
        {.name = "spread",                                                                         \
            .type = FIELD_ENUM,                                                                    \
            .words = spread_words,                                                                 \
            .fallback = (spread_fallback),                                                         \
            .offset = offsetof(struct placement, spread),                                          \
            .doc = "How its ranks lie over nodes."},                                               \
        {.name = "spot",                                                                           \
            .type = FIELD_ENUM,                                                                    \
            .words = spot_words,                                                                   \
            .fallback = SPOT_ALLOWED,                                                              \
            .offset = offsetof(struct placement, spot),                                            \
            .doc = "Whether it goes to pools of spot capacity."},                                  \
    {                                                                                              \
        .name = "exclusive", .type = FIELD_BOOL, .offset = offsetof(struct placement, exclusive),  \
        .doc = "Whether its nodes run nothing else meanwhile."                                     \
    }

static const struct field placement_fields[] = {PLACEMENT_FIELDS(SPREAD_PACK)};
const struct field_table placement_table = FIELD_TABLE("Placement", struct placement,
    placement_fields, .finish = finish_placement, .doc = "Where a job may run.");

static const struct field replica_placement_fields[] = {PLACEMENT_FIELDS(SPREAD_SPREAD)};
const struct field_table replica_placement_table = FIELD_TABLE("ReplicaPlacement", struct placement,
    replica_placement_fields, .finish = finish_placement, .doc = "Where replicas may run.");

/* ---- checks that several finish functions make -------------------------------------------- */

void check_command(struct field_reader *reader, const char *path, const struct text_list *command)
{
    size_t bytes = 0;
    for (size_t i = 0; i < command->count; i++)
        bytes += strlen(command->items[i]) + 1;
    if (bytes > COMMAND_BYTES_MAX)
        fields_report(
            reader, path, "expected at most %d bytes in all, got %zu", COMMAND_BYTES_MAX, bytes);
    char first[64];
    snprintf(first, sizeof first, "%s[0]", path);
    if (command->count > 0 && command->items[0][0] == '\0')
        fields_report(reader, first, "expected a program, got \"\"");
}

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

void check_secrets(struct field_reader *reader, const struct secret_ref *secrets, size_t count,
    const struct label_list *env)
{
    for (size_t i = 0; i < count; i++) {
        const struct secret_ref *secret = &secrets[i];
        bool twice = false;
        for (size_t j = 0; j < env->count; j++)
            twice = twice || same(secret->env, env->items[j].key);
        for (size_t j = 0; j < i; j++)
            twice =
                twice || same(secret->env, secrets[j].env) || same(secret->file, secrets[j].file);
        char path[40];
        snprintf(path, sizeof path, "secrets[%zu].%s", i, secret->env ? "env" : "file");
        if (twice)
            fields_report(reader, path, "is set twice");
    }
}

void check_dataset(struct field_reader *reader, const char *path, const char *text)
{
    struct reference reference;
    if (text && reference_parse(text, &reference, NULL) == 0 && reference.which == REFERENCE_STAGE)
        fields_report(
            reader, path, "only models have stages; name a version, such as %s:1", reference.name);
}

void check_templates(struct field_reader *reader, const char *path, const struct text_list *texts,
    enum template_use use)
{
    struct error err;
    for (size_t i = 0; i < texts->count; i++) {
        char at[64];
        snprintf(at, sizeof at, "%s[%zu]", path, i);
        if (template_check(texts->items[i], use, &err) < 0)
            fields_report(reader, at, "%s", err.text);
    }
}

void check_template_variables(struct field_reader *reader, const struct label_list *env)
{
    struct error err;
    for (size_t i = 0; i < env->count; i++) {
        char at[160];
        snprintf(at, sizeof at, "env.%s", env->items[i].key);
        if (template_check(env->items[i].value, TEMPLATE_SERVE, &err) < 0)
            fields_report(reader, at, "%s", err.text);
    }
}
