/* The table of Model: what a team trains and serves, in versions that never change, and the gates
 * that a version passes to get to a stage. */
#include "spec/decimal.h"
#include "spec/tables.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* clang-format off: a field is a paragraph, not a column */

static const struct field_word source_words[] = {
    {"training", METRIC_TRAINING, "the job that made the version"},
    {"evaluation", METRIC_EVALUATION, "the gate's own evaluation"},
    {NULL},
};

static const struct field owners_fields[] = {
    {.name = "dataset",
        .type = FIELD_TEXT,
        .rule = &rule_line,
        .offset = offsetof(struct model_owners, dataset),
        .doc = "Who answers for the data."},
    {.name = "approval",
        .type = FIELD_TEXT,
        .rule = &rule_line,
        .offset = offsetof(struct model_owners, approval),
        .doc = "Who approves."},
    {.name = "bill",
        .type = FIELD_TEXT,
        .rule = &rule_line,
        .offset = offsetof(struct model_owners, bill),
        .doc = "Who pays."},
    {.name = "onCall",
        .type = FIELD_TEXT,
        .rule = &rule_line,
        .offset = offsetof(struct model_owners, on_call),
        .doc = "Who is called when it fails."},
};
static const struct field_table owners_table =
    FIELD_TABLE("ModelOwners", struct model_owners, owners_fields, .doc = "Who answers for what.");

/* ---- gates ------------------------------------------------------------------------------- */

static bool check_bound(struct field_reader *reader, const char *path, const char *text)
{
    if (!text || decimal_valid(text))
        return true;
    fields_report(
        reader, path, "expected a number such as 0.95 or 1e-3, got %s", fields_quote(reader, text));
    return false;
}

static void finish_metric(struct field_reader *reader, void *object)
{
    const struct gate_metric *metric = object;
    bool fine = check_bound(reader, "min", metric->min);
    fine = check_bound(reader, "max", metric->max) && fine;
    if (!metric->min && !metric->max && !metric->not_worse)
        fields_report(reader, "", "expected min, max or notWorse");
    if (fine && metric->min && metric->max && decimal_compare(metric->min, metric->max) > 0)
        fields_report(reader, "max", "expected at least min, %.40s", metric->min);
}

static const struct field metric_fields[] = {
    {.name = "name",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_label_value,
        .min = 1,
        .offset = offsetof(struct gate_metric, name),
        .doc = "The metric."},
    {.name = "source",
        .type = FIELD_ENUM,
        .words = source_words,
        .fallback = METRIC_TRAINING,
        .offset = offsetof(struct gate_metric, source),
        .doc = "Who measured it."},
    {.name = "min",
        .type = FIELD_QUANTITY,
        .offset = offsetof(struct gate_metric, min),
        .doc = "It is not below this."},
    {.name = "max",
        .type = FIELD_QUANTITY,
        .offset = offsetof(struct gate_metric, max),
        .doc = "It is not above this."},
    {.name = "notWorse",
        .type = FIELD_BOOL,
        .offset = offsetof(struct gate_metric, not_worse),
        .doc = "It is also not below (with `max` alone: not above) that of the version that holds "
               "the stage."},
};
static const struct field_table metric_table = FIELD_TABLE("GateMetric", struct gate_metric,
    metric_fields, .finish = finish_metric, .doc = "A bound on a recorded metric.");

static void finish_evaluation(struct field_reader *reader, void *object)
{
    const struct gate_evaluation *evaluation = object;
    if (!evaluation->dataset != (evaluation->command.count == 0))
        fields_report(reader, "", "needs a %s beside its %s",
            evaluation->dataset ? "command" : "dataset",
            evaluation->dataset ? "dataset" : "command");
    check_dataset(reader, "dataset", evaluation->dataset);
    check_command(reader, "command", &evaluation->command);
}

static const struct field evaluation_fields[] = {
    {.name = "dataset",
        .type = FIELD_TEXT,
        .rule = &rule_artifact,
        .offset = offsetof(struct gate_evaluation, dataset),
        .doc = "What the version is evaluated on: the job's input `data`."},
    {.name = "class",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .offset = offsetof(struct gate_evaluation, class_name),
        .doc = "The job's Class."},
    {.name = "command",
        .type = FIELD_TEXTS,
        .rule = &rule_long,
        .max = 256,
        .offset = offsetof(struct gate_evaluation, command),
        .doc = "The program and its arguments. The version is the job's input `model`."},
    {.name = "workdir",
        .type = FIELD_TEXT,
        .rule = &rule_digest,
        .fallback_doc = "empty",
        .offset = offsetof(struct gate_evaluation, workdir),
        .doc = "The snapshot that its working directory starts from."},
    {.name = "resources",
        .type = FIELD_OBJECT,
        .table = &resources_table,
        .offset = offsetof(struct gate_evaluation, resources),
        .doc = "What the job gets."},
    {.name = "timeLimit",
        .type = FIELD_DURATION,
        .min = 1,
        .max = DAYS(366),
        .fallback_doc = "none",
        .offset = offsetof(struct gate_evaluation, time_limit_ms),
        .doc = "How long it may run."},
};
static const struct field_table evaluation_table =
    FIELD_TABLE("GateEvaluation", struct gate_evaluation, evaluation_fields,
        .finish = finish_evaluation, .doc = "A job that measures a version.");

static void finish_gate(struct field_reader *reader, void *object)
{
    const struct gate *gate = object;
    for (size_t i = 0; i < gate->metrics.count; i++) {
        char path[40];
        snprintf(path, sizeof path, "metrics[%zu].source", i);
        if (gate->metrics.items[i].source == METRIC_EVALUATION && !gate->evaluation.dataset)
            fields_report(reader, path, "the gate has no evaluation");
    }
}

static const struct field gate_fields[] = {
    {.name = "stage",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_gate_stage,
        .offset = offsetof(struct gate, stage_name),
        .doc = "The stage that it stands before, `staging` or `production`."},
    {.name = "metrics",
        .type = FIELD_OBJECTS,
        .table = &metric_table,
        .max = 64,
        .offset = offsetof(struct gate, metrics),
        .doc = "Bounds on metrics."},
    {.name = "evaluation",
        .type = FIELD_OBJECT,
        .table = &evaluation_table,
        .offset = offsetof(struct gate, evaluation),
        .doc = "A job that is run for each version that asks."},
    {.name = "owners",
        .type = FIELD_TEXTS,
        .rule = &rule_owner,
        .max = 4,
        .offset = offsetof(struct gate, owners),
        .doc = "Which of the model's owners have to be named."},
    {.name = "consent",
        .type = FIELD_TEXTS,
        .rule = &rule_name,
        .max = 64,
        .offset = offsetof(struct gate, consent),
        .doc = "Consent labels that datasets in its lineage may have; none: any."},
    {.name = "approvals",
        .type = FIELD_INT,
        .fallback = 1,
        .max = 16,
        .offset = offsetof(struct gate, approvals),
        .doc = "How many approvers have to agree; 0: none is asked."},
};
static const struct field_table gate_table = FIELD_TABLE("Gate", struct gate, gate_fields,
    .finish = finish_gate, .doc = "What a version has to fulfil to get to a stage.");

/* ---- the whole --------------------------------------------------------------------------- */

static void finish_model(struct field_reader *reader, void *object)
{
    const struct model *model = object;
    for (size_t i = 0; i < model->gates.count; i++) {
        for (size_t j = 0; j < i; j++) {
            char path[40];
            snprintf(path, sizeof path, "gates[%zu].stage", i);
            if (strcmp(model->gates.items[i].stage_name, model->gates.items[j].stage_name) == 0) {
                fields_report(reader, path, "gates[%zu] stands before it already", j);
                break;
            }
        }
    }
}

static const struct field model_spec_fields[] = {
    {.name = "description",
        .type = FIELD_TEXT,
        .offset = offsetof(struct model, description),
        .doc = "For people."},
    {.name = "runtime",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .offset = offsetof(struct model, runtime),
        .doc = "The Runtime that serves it when a Service names none."},
    {.name = "site",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .fallback_doc = "everywhere",
        .offset = offsetof(struct model, site),
        .doc = "Where its versions lie: a `site` of pools, as a Dataset has it."},
    {.name = "owners",
        .type = FIELD_OBJECT,
        .table = &owners_table,
        .offset = offsetof(struct model, owners),
        .doc = "Persons or groups who answer for it."},
    {.name = "gates",
        .type = FIELD_OBJECTS,
        .table = &gate_table,
        .max = 8,
        .offset = offsetof(struct model, gates),
        .doc = "What its versions have to fulfil, at most one for a stage."},
    {.name = "retention",
        .type = FIELD_OBJECT,
        .table = &artifact_retention_table,
        .offset = offsetof(struct model, retention),
        .doc = "How many versions are kept."},
};
static const struct field_table model_spec_table = FIELD_TABLE("ModelSpec", struct model,
    model_spec_fields, .finish = finish_model, .doc = "What a model is, and who answers for it.");

static const struct field model_fields[] = {
    ENVELOPE_FIELDS("Model"),
    {.name = "metadata",
        .type = FIELD_OBJECT,
        .flags = FIELD_REQUIRED,
        .table = &owned_metadata_table,
        .offset = offsetof(struct model, metadata),
        .doc = "Its name, team and labels."},
    {.name = "spec", .type = FIELD_OBJECT, .table = &model_spec_table, .doc = "What it is."},
    STATUS_FIELD,
};
const struct field_table model_table = FIELD_TABLE("Model", struct model, model_fields,
    .doc = "What a team trains and serves, in versions that never change.");
