/* Tables that several kinds share: labels and metadata; which URLs are fine. */
#include "spec/tables.h"
#include "wire/url.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

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

static const struct field owned_metadata_fields[] = {
    {.name = "name",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_name,
        .offset = offsetof(struct metadata, name),
        .doc = "Unique among the team's objects of the kind."},
    {.name = "team",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_name,
        .offset = offsetof(struct metadata, team),
        .doc = "The team that it belongs to."},
    {.name = "labels",
        .type = FIELD_MAP,
        .table = &label_table,
        .max = LABELS_MAX,
        .offset = offsetof(struct metadata, labels),
        .doc = "Labels by which objects are found and costs are told apart."},
};
const struct field_table owned_metadata_table = FIELD_TABLE("OwnedMetadata", struct metadata,
    owned_metadata_fields, .doc = "What every object of a team carries.");

static const struct field retention_fields[] = {
    {.name = "versions",
        .type = FIELD_INT,
        .max = 1000000,
        .offset = offsetof(struct artifact_retention, versions),
        .doc = "The newest so many are kept; 0: all."},
    {.name = "age",
        .type = FIELD_DURATION,
        .max = DAYS(36500),
        .offset = offsetof(struct artifact_retention, age_ms),
        .doc = "Those younger than this are kept, too."},
};
const struct field_table artifact_retention_table =
    FIELD_TABLE("ArtifactRetention", struct artifact_retention, retention_fields,
        .doc = "How many versions are kept. What a stage, a service, a live job or the lineage of "
               "a kept version refers to always is.");

bool is_http_url(const char *text)
{
    char address[URL_HOST_MAX + 32];
    struct url_endpoint url;
    for (const char *at = text; *at; at++) {
        if (*at <= ' ' || *at >= 0x7f || strchr("#\"\\", *at))
            return false;
    }
    size_t scheme = strncmp(text, "http://", 7) == 0    ? 7
                    : strncmp(text, "https://", 8) == 0 ? 8
                                                        : 0;
    size_t length = scheme + strcspn(text + scheme, "/?");
    if (scheme == 0 || length >= sizeof address || text[length] == '?')
        return false;
    snprintf(address, sizeof address, "%.*s", (int)length, text);
    return url_endpoint_parse(address, &url, NULL) == 0;
}
