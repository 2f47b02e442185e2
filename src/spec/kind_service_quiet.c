/* The table of `spec.quiet` of a Service: the hours in which other resources will do. */
#include "spec/serving.h"
#include "spec/tables.h"

#include <stddef.h>
#include <stdlib.h>

/* clang-format off: a field is a paragraph, not a column */

static void finish_quiet(struct field_reader *reader, void *object)
{
    struct service_quiet *quiet = object;
    (void)reader;
    quiet->utc_offset_minutes = hours_offset_minutes(quiet->utc_offset);
}

static const struct field quiet_fields[] = {
    {.name = "hours",
        .type = FIELD_OBJECTS,
        .table = &service_hours_table,
        .max = AUTOSCALE_HOURS_MAX,
        .offset = offsetof(struct service_quiet, hours),
        .doc = "When it is quiet; none: never."},
    {.name = "utcOffset",
        .type = FIELD_TEXT,
        .rule = &rule_utc_offset,
        .fallback_text = "+00:00",
        .offset = offsetof(struct service_quiet, utc_offset),
        .doc = "Of the `hours`, from UTC. It does not follow summer time."},
    {.name = "resources",
        .type = FIELD_OBJECT,
        .table = &resources_table,
        .offset = offsetof(struct service_quiet, resources),
        .doc = "What each replica gets then, in place of `spec.resources`."},
    {.name = "env",
        .type = FIELD_MAP,
        .table = &variable_table,
        .max = 256,
        .offset = offsetof(struct service_quiet, env),
        .doc = "Variables of replicas then, beside and before `spec.env`, such as one that says "
               "that there is no accelerator."},
};
const struct field_table service_quiet_table =
    FIELD_TABLE("ServiceQuiet", struct service_quiet, quiet_fields, .finish = finish_quiet,
        .doc = "Cheaper replicas for the hours in which little "
               "is asked.");

/* clang-format on */

void service_quiet_default(struct service_quiet *ret)
{
    fields_default(&service_quiet_table, ret);
}
