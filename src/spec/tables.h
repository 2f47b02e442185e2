/* The tables of the kinds and of what they share. Only spec.c and the tables look in here. */
#pragma once

#include "spec/fields.h"
#include "spec/kinds.h"

extern const struct field_table pool_table;
extern const struct field_table team_table;
extern const struct field_table class_table;
extern const struct field_table job_table;

extern const struct field_table job_spec_table;
extern const struct field_table metadata_table;
extern const struct field_table label_table;

/* What every manifest begins with; the lines of a table before its metadata. */
#define ENVELOPE_FIELDS(kind_word)                                                                 \
    {.name = "apiVersion",                                                                         \
        .type = FIELD_CONSTANT,                                                                    \
        .flags = FIELD_REQUIRED,                                                                   \
        .fallback_text = "muster/v1",                                                              \
        .doc = "The version of this format."},                                                     \
    {                                                                                              \
        .name = "kind", .type = FIELD_CONSTANT, .flags = FIELD_REQUIRED,                           \
        .fallback_text = kind_word, .doc = "What the manifest describes."                          \
    }

/* And what may stand after its spec. */
#define STATUS_FIELD                                                                               \
    {                                                                                              \
        .name = "status", .type = FIELD_IGNORED,                                                   \
        .doc = "Written by the server; ignored when a manifest is applied."                        \
    }

enum { LABELS_MAX = 64 };
