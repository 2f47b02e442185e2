/* The tables of Team, a node in the tree of quotas, and Class, a template of jobs. */
#include "base/quantity.h"
#include "spec/tables.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* clang-format off: a field is a paragraph, not a column */

static const struct field_word role_words[] = {
    {"viewer", ROLE_VIEWER, "may look"},
    {"member", ROLE_MEMBER, "may run jobs"},
    {"approver", ROLE_APPROVER, "may run jobs and approve"},
    {"admin", ROLE_ADMIN, "may change the team"},
    {NULL},
};

static const struct field member_fields[] = {
    {.name = "user",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_user,
        .offset = offsetof(struct member, user),
        .doc = "The user's name."},
    {.name = "role",
        .type = FIELD_ENUM,
        .flags = FIELD_REQUIRED,
        .words = role_words,
        .fallback = ROLE_VIEWER,
        .offset = offsetof(struct member, role),
        .doc = "What the user may do in this team."},
};
static const struct field_table member_table =
    FIELD_TABLE("Member", struct member, member_fields, .doc = "A user's role in a team.");

/* Parses an amount of the quota's resource; text NULL leaves *value as it is. */
static void parse_amount(struct field_reader *reader, const struct quota *quota, const char *path,
    const char *text, int64_t *value)
{
    bool bytes = strcmp(quota->resource, "memory") == 0 || strcmp(quota->resource, "disk") == 0;
    if (!text)
        return;
    int result =
        bytes ? quantity_parse_bytes(text, value, NULL) : quantity_parse_milli(text, value, NULL);
    if (result < 0)
        fields_report(reader, path, "expected %s, got %s",
            bytes ? "a size such as 512Mi or 16Gi" : "a number such as 4 or 0.5",
            fields_quote(reader, text));
}

static void finish_quota(struct field_reader *reader, void *object)
{
    struct quota *quota = object;
    quota->guarantee = 0;
    quota->limit = -1;
    parse_amount(reader, quota, "guarantee", quota->guarantee_text, &quota->guarantee);
    parse_amount(reader, quota, "limit", quota->limit_text, &quota->limit);
    if (quota->limit >= 0 && quota->guarantee > quota->limit)
        fields_report(reader, "guarantee", "is above the limit of %.40s", quota->limit_text);
}

static const struct field quota_fields[] = {
    {.name = "resource",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .offset = offsetof(struct quota, resource),
        .doc = "`cpu`, `memory`, `disk`, `accelerators` (of all types) or an accelerator type."},
    {.name = "guarantee",
        .type = FIELD_QUANTITY,
        .offset = offsetof(struct quota, guarantee_text),
        .doc = "What the team gets back whenever it asks for it."},
    {.name = "limit",
        .type = FIELD_QUANTITY,
        .offset = offsetof(struct quota, limit_text),
        .doc = "What the team never goes above. Without one it may hold all there is."},
};
static const struct field_table quota_table = FIELD_TABLE("Quota", struct quota, quota_fields,
    .finish = finish_quota, .doc = "A team's share of one resource.");

static void finish_team(struct field_reader *reader, void *object)
{
    const struct team *team = object;
    for (size_t i = 0; i < team->members.count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(team->members.items[i].user, team->members.items[j].user) != 0)
                continue;
            char path[40];
            snprintf(path, sizeof path, "members[%zu].user", i);
            fields_report(reader, path, "members[%zu] is the same user", j);
            break;
        }
    }
}

static const struct field team_spec_fields[] = {
    {.name = "description",
        .type = FIELD_TEXT,
        .offset = offsetof(struct team, description),
        .doc = "For people."},
    {.name = "parent",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .offset = offsetof(struct team, parent),
        .doc = "The team above, within whose quota this one stays."},
    {.name = "weight",
        .type = FIELD_MICRO,
        .fallback = 1000000,
        .min = 1,
        .max = 1000000000,
        .offset = offsetof(struct team, weight_micro),
        .doc = "Its share, against other teams', of what no guarantee takes."},
    {.name = "borrow",
        .type = FIELD_BOOL,
        .fallback = true,
        .offset = offsetof(struct team, borrow),
        .doc = "Whether it may use what others leave idle, up to its limit."},
    {.name = "quota",
        .type = FIELD_MAP,
        .table = &quota_table,
        .max = 64,
        .offset = offsetof(struct team, quotas),
        .also = "limits guarantees",
        .doc = "Its guarantees and limits by resource."},
    {.name = "members",
        .type = FIELD_OBJECTS,
        .table = &member_table,
        .offset = offsetof(struct team, members),
        .doc = "Who may do what."},
    {.name = "requiredLabels",
        .type = FIELD_TEXTS,
        .rule = &rule_label_key,
        .max = 32,
        .offset = offsetof(struct team, required_labels),
        .doc = "Labels that every job of the team has to carry."},
    {.name = "uid",
        .type = FIELD_INT,
        .flags = FIELD_IMMUTABLE,
        .fallback = -1,
        .min = 1000,
        .max = 4294967293,
        .offset = offsetof(struct team, uid),
        .fallback_doc = "one is given out",
        .doc = "The user id of its jobs' processes on local nodes."},
    {.name = "hostNetwork",
        .type = FIELD_BOOL,
        .offset = offsetof(struct team, host_network),
        .doc = "Whether its jobs may ask for `network: host`."},
    {.name = "jobsMax",
        .type = FIELD_INT,
        .fallback = 100000,
        .max = 10000000,
        .offset = offsetof(struct team, jobs_max),
        .doc = "Jobs that have not ended, at most."},
    {.name = "separateApproval",
        .type = FIELD_BOOL,
        .fallback = true,
        .offset = offsetof(struct team, separate_approval),
        .doc = "Whether who asks for a promotion may not approve it."},
    {.name = "serving",
        .type = FIELD_OBJECT,
        .table = &serving_table,
        .offset = offsetof(struct team, serving),
        .doc = "What its keys may do at the gateway, and those of the teams below it."},
};
static const struct field_table team_spec_table = FIELD_TABLE("TeamSpec", struct team,
    team_spec_fields, .finish = finish_team, .doc = "What a team is entitled to.");

static const struct field team_fields[] = {
    ENVELOPE_FIELDS("Team"),
    {.name = "metadata",
        .type = FIELD_OBJECT,
        .flags = FIELD_REQUIRED,
        .table = &metadata_table,
        .offset = offsetof(struct team, metadata),
        .doc = "Its name and labels."},
    {.name = "spec",
        .type = FIELD_OBJECT,
        .table = &team_spec_table,
        .doc = "What it is entitled to."},
    STATUS_FIELD,
};
const struct field_table team_table =
    FIELD_TABLE("Team", struct team, team_fields, .doc = "A node in the tree of quotas.");

static const struct field class_spec_fields[] = {
    {.name = "description",
        .type = FIELD_TEXT,
        .offset = offsetof(struct class_kind, description),
        .doc = "For people."},
    {.name = "template",
        .type = FIELD_DOC,
        .flags = FIELD_REQUIRED,
        .table = &job_spec_table,
        .offset = offsetof(struct class_kind, template_doc),
        .doc = "Part of a job's spec. What a job of the class does not say itself is taken from "
               "here, field by field."},
};
static void finish_class(struct field_reader *reader, void *object)
{
    const struct class_kind *class_kind = object;
    if (doc_get(class_kind->template_doc, "class"))
        fields_report(reader, "template.class", "a class is not built on another class");
}

static const struct field_table class_spec_table = FIELD_TABLE("ClassSpec", struct class_kind,
    class_spec_fields, .finish = finish_class, .doc = "What jobs of a class have in common.");

static const struct field class_fields[] = {
    ENVELOPE_FIELDS("Class"),
    {.name = "metadata",
        .type = FIELD_OBJECT,
        .flags = FIELD_REQUIRED,
        .table = &metadata_table,
        .offset = offsetof(struct class_kind, metadata),
        .doc = "Its name and labels."},
    {.name = "spec",
        .type = FIELD_OBJECT,
        .flags = FIELD_REQUIRED,
        .table = &class_spec_table,
        .doc = "What its jobs have in common."},
    STATUS_FIELD,
};
const struct field_table class_table = FIELD_TABLE("Class", struct class_kind, class_fields,
    .doc = "A template of jobs: an administrator's defaults for one sort of work.");
