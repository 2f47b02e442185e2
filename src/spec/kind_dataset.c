/* The table of Dataset: data of a team, in versions that never change. */
#include "spec/tables.h"

#include <stddef.h>

/* clang-format off: a field is a paragraph, not a column */

static const struct field dataset_spec_fields[] = {
    {.name = "description",
        .type = FIELD_TEXT,
        .offset = offsetof(struct dataset, description),
        .doc = "For people."},
    {.name = "owner",
        .type = FIELD_TEXT,
        .rule = &rule_line,
        .offset = offsetof(struct dataset, owner),
        .doc = "Whom to ask about it."},
    {.name = "jurisdiction",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .fallback_doc = "anywhere",
        .offset = offsetof(struct dataset, jurisdiction),
        .doc = "Work on it, and on what was made from it, stays in pools of this jurisdiction."},
    {.name = "site",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .fallback_doc = "everywhere",
        .offset = offsetof(struct dataset, site),
        .doc = "Where the data lie: a `site` of pools. Jobs that read them elsewhere wait for "
               "their transfer and pay for their egress, so the broker sends them here first."},
    {.name = "consent",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .offset = offsetof(struct dataset, consent),
        .doc = "What its subjects agreed to, such as `research-only`. It is recorded with each "
               "version and with all that is made from it; gates of models look at it."},
    {.name = "retention",
        .type = FIELD_OBJECT,
        .table = &artifact_retention_table,
        .offset = offsetof(struct dataset, retention),
        .doc = "How many versions are kept."},
};
static const struct field_table dataset_spec_table =
    FIELD_TABLE("DatasetSpec", struct dataset, dataset_spec_fields, .doc = "What a dataset is.");

static const struct field dataset_fields[] = {
    ENVELOPE_FIELDS("Dataset"),
    {.name = "metadata",
        .type = FIELD_OBJECT,
        .flags = FIELD_REQUIRED,
        .table = &owned_metadata_table,
        .offset = offsetof(struct dataset, metadata),
        .doc = "Its name, team and labels."},
    {.name = "spec", .type = FIELD_OBJECT, .table = &dataset_spec_table, .doc = "What it is."},
    STATUS_FIELD,
};
const struct field_table dataset_table = FIELD_TABLE("Dataset", struct dataset, dataset_fields,
    .doc = "Data of a team, in versions that never change.");
