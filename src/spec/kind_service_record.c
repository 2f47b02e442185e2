/* The table of `spec.gateway.record` of a Service. */
#include "spec/tables.h"

#include <stddef.h>

/* clang-format off: a field is a paragraph, not a column */

static void finish_record(struct field_reader *reader, void *object)
{
    const struct service_record *record = object;
    if (record->bytes_max < 4 * record->body_bytes_max)
        fields_report(reader, "bytesMax", "expected at least four times bodyBytesMax");
}

static const struct field record_fields[] = {
    {.name = "sample",
        .type = FIELD_MICRO,
        .max = 1000000,
        .offset = offsetof(struct service_record, sample_micro),
        .doc = "Which part of the requests is recorded: 1 is all of them, 0 is none. To set it is "
               "to consent for the service's users."},
    {.name = "bodyBytesMax",
        .type = FIELD_BYTES,
        .fallback = 64 << 10,
        .min = 1,
        .max = 512 << 10,
        .offset = offsetof(struct service_record, body_bytes_max),
        .doc = "A request with a larger body, or answer, is not recorded."},
    {.name = "bytesMax",
        .type = FIELD_BYTES,
        .fallback = 256 << 20,
        .min = 256 << 10,
        .max = 1LL << 36,
        .offset = offsetof(struct service_record, bytes_max),
        .doc = "The whole recording of the service; the oldest goes first."},
    {.name = "keep",
        .type = FIELD_DURATION,
        .fallback = DAYS(7),
        .min = MINUTES(1),
        .max = DAYS(90),
        .offset = offsetof(struct service_record, keep_ms),
        .doc = "After so long it is removed, also when nothing is recorded any more."},
};
const struct field_table service_record_table =
    FIELD_TABLE("ServiceRecord", struct service_record, record_fields, .finish = finish_record,
        .doc = "Requests and answers that are kept, without secrets and personal data, to be "
               "replayed.");
