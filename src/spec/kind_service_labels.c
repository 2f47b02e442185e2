/* The table of `spec.gateway.labels` of a Service. */
#include "spec/tables.h"

#include <stddef.h>
#include <string.h>

/* clang-format off: a field is a paragraph, not a column */

enum { NAMES_MAX = 4, NAME_BYTES_MAX = 23, SETS_MAX = 1000 };

/* A name stands between ',' and '=' in what is counted. */
static void finish_labels(struct field_reader *reader, void *object)
{
    static const char of_names[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    const struct service_labels *labels = object;
    for (size_t i = 0; i < labels->names.count; i++) {
        const char *name = labels->names.items[i];
        if (name[strspn(name, of_names)] != '\0' || strlen(name) > NAME_BYTES_MAX)
            fields_report(reader, "names",
                "expected names of letters, digits, -, _ and ., at most "
                "%d characters each, got \"%s\"",
                NAME_BYTES_MAX, name);
        for (size_t n = 0; n < i; n++) {
            if (!strcmp(labels->names.items[n], name))
                fields_report(reader, "names", "\"%s\" is there twice", name);
        }
    }
}

static const struct field labels_fields[] = {
    {.name = "names",
        .type = FIELD_TEXTS,
        .max = NAMES_MAX,
        .rule = &rule_label_key,
        .offset = offsetof(struct service_labels, names),
        .doc = "Those that are taken from the header `X-Muster-Labels: NAME=VALUE, ..`."},
    {.name = "setsMax",
        .type = FIELD_INT,
        .fallback = 100,
        .min = 1,
        .max = SETS_MAX,
        .offset = offsetof(struct service_labels, sets_max),
        .doc = "So many combinations of values are told apart, in each life of the gateway; what "
               "comes after counts as `other`."},
};
const struct field_table service_labels_table = FIELD_TABLE("ServiceLabels", struct service_labels,
    labels_fields, .finish = finish_labels, .doc = "What requests are for, as their clients say.");

/* clang-format on */
