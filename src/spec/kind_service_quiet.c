/* The table of `spec.quiet` of a Service: when other resources will do. */
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

static int64_t twice_below(const void *object)
{
    return 2 * ((const struct service_quiet *)object)->load.below_micro;
}

static void finish_load(struct field_reader *reader, void *object)
{
    const struct service_quiet *quiet = object;
    if (quiet->load.above_micro < quiet->load.below_micro)
        fields_report(reader, "above", "expected at least as much as below");
}

static const struct field load_fields[] = {
    {.name = "below",
        .type = FIELD_MICRO,
        .max = 1000000LL * 1000000,
        .offset = offsetof(struct service_quiet, load.below_micro),
        .doc = "Requests a second, as the gateway counts them; 0: the load decides nothing."},
    {.name = "for",
        .type = FIELD_DURATION,
        .fallback = MINUTES(10),
        .min = SECONDS(1),
        .max = DAYS(1),
        .offset = offsetof(struct service_quiet, load.for_ms),
        .doc = "So long they have to be fewer."},
    {.name = "above",
        .type = FIELD_MICRO,
        .max = 2000000LL * 1000000,
        .fallback_of = twice_below,
        .offset = offsetof(struct service_quiet, load.above_micro),
        .doc = "Requests a second from which on it is quiet no more; twice `below` unless it is "
               "said."},
};
static const struct field_table load_table = FIELD_TABLE("ServiceQuietLoad", struct service_quiet,
    load_fields, .finish = finish_load, .doc = "Quiet for want of requests, at any hour.");

static const struct field quiet_fields[] = {
    {.name = "hours",
        .type = FIELD_OBJECTS,
        .table = &service_hours_table,
        .max = AUTOSCALE_HOURS_MAX,
        .offset = offsetof(struct service_quiet, hours),
        .doc = "When it is quiet, whatever is asked; none: only by `load`."},
    {.name = "utcOffset",
        .type = FIELD_TEXT,
        .rule = &rule_utc_offset,
        .fallback_text = "+00:00",
        .offset = offsetof(struct service_quiet, utc_offset),
        .doc = "Of the `hours`, from UTC. It does not follow summer time."},
    {.name = "load",
        .type = FIELD_OBJECT,
        .table = &load_table,
        .doc = "Quiet for want of requests, at any hour."},
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
const struct field_table service_quiet_table = FIELD_TABLE("ServiceQuiet", struct service_quiet,
    quiet_fields, .finish = finish_quiet, .doc = "Cheaper replicas while little is asked.");

/* clang-format on */

void service_quiet_default(struct service_quiet *ret)
{
    fields_default(&service_quiet_table, ret);
}
