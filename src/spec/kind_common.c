/* Tables that several kinds share: labels and metadata. */
#include "spec/tables.h"

#include <stddef.h>

/* clang-format off: a field is a paragraph, not a column */

static const struct field label_fields[] = {
    {.name = "key",
        .type = FIELD_TEXT,
        .rule = &rule_label_key,
        .offset = offsetof(struct label, key),
        .doc = "The label."},
    {.name = "value",
        .type = FIELD_TEXT,
        .rule = &rule_label_value,
        .offset = offsetof(struct label, value),
        .doc = "Its value."},
};
const struct field_table label_table =
    FIELD_TABLE("Label", struct label, label_fields, .pair = true, .doc = "A label and its value.");

static const struct field metadata_fields[] = {
    {.name = "name",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_name,
        .offset = offsetof(struct metadata, name),
        .doc = "Unique among objects of the kind."},
    {.name = "labels",
        .type = FIELD_MAP,
        .table = &label_table,
        .max = LABELS_MAX,
        .offset = offsetof(struct metadata, labels),
        .doc = "Labels by which objects are found and costs are told apart."},
};
const struct field_table metadata_table =
    FIELD_TABLE("Metadata", struct metadata, metadata_fields, .doc = "What every object carries.");
