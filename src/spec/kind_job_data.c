/* Tables of what a Job reads and makes: parameters, inputs, outputs and what it scores; and what
 * they have to be together. */
#include "spec/tables.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* clang-format off: a field is a paragraph, not a column */

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
const struct field_table job_parameter_table = FIELD_TABLE(
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
const struct field_table job_input_table = FIELD_TABLE("JobInput", struct job_input, input_fields,
    .finish = finish_input, .doc = "An artifact that a job reads.");

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
const struct field_table job_output_table = FIELD_TABLE("JobOutput", struct job_output,
    output_fields, .finish = finish_output, .doc = "An artifact that a job writes.");

static const struct field score_fields[] = {
    {.name = "runtime",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .offset = offsetof(struct score, runtime),
        .doc = "The Runtime whose score command runs the input `model` over the input `data` into "
               "the output `scores`; each element of an array does its share."},
};
const struct field_table job_score_table =
    FIELD_TABLE("Score", struct score, score_fields, .doc = "A scoring job.");

/* ---- together --------------------------------------------------------------------------- */

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
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

void check_job_data(struct field_reader *reader, const struct job *job)
{
    check_parameters(reader, job);
    check_inputs(reader, job);
    check_outputs(reader, job);
    if (job->score.runtime && job->command.count == 0)
        check_scoring(reader, job);
}
