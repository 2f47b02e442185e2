/* The table of HorizontalPodAutoscaler: Kubernetes' own manifest, autoscaling/v2, as it stands, for
 * a Service of ours. Fields have Kubernetes' names and defaults. Those that it takes and we do not
 * use are FIELD_IGNORED; manifest_unused names them. */
#include "spec/tables.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off: a field is a paragraph, not a column */

enum { MICRO = 1000000, DIGITS_MAX = 18 };
#define TARGET_MOST ((int64_t)1000000000000 * MICRO)

/* ---- quantities ------------------------------------------------------------------------------ */

static const struct {
    const char *suffix;
    int64_t times, parts; /* of a unit */
} suffixes[] = {{"", 1, 1}, {"n", 1, 1000000000}, {"u", 1, 1000000}, {"m", 1, 1000}, {"k", 1000, 1},
    {"M", 1000000, 1}, {"G", 1000000000, 1}, {"T", 1000000000000, 1}, {"Ki", 1LL << 10, 1},
    {"Mi", 1LL << 20, 1}, {"Gi", 1LL << 30, 1}, {"Ti", 1LL << 40, 1}};

/* "60", "500m", "1.5k", "2Gi" as millionths; -1: it is none, or too large. */
static int64_t quantity_micro(const char *text)
{
    __int128 value = 0, scale = 1;
    int digits = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9' && digits < DIGITS_MAX; at++, digits++)
        value = value * 10 + (*at - '0');
    if (*at == '.') {
        for (at++; *at >= '0' && *at <= '9' && digits < DIGITS_MAX; at++, digits++, scale *= 10)
            value = value * 10 + (*at - '0');
    }
    for (size_t i = 0; digits > 0 && i < ARRAY_LEN(suffixes); i++) {
        if (strcmp(at, suffixes[i].suffix) != 0)
            continue;
        if (value / scale > TARGET_MOST / suffixes[i].times)
            return -1;
        value = value * suffixes[i].times * MICRO / scale / suffixes[i].parts;
        return value <= TARGET_MOST ? (int64_t)value : -1;
    }
    return -1;
}

/* ---- metrics --------------------------------------------------------------------------------- */

static const struct field_word target_words[] = {
    {"Utilization", HPA_UTILIZATION, "in per cent of what is asked for"},
    {"AverageValue", HPA_AVERAGE_VALUE, "for each replica"},
    {"Value", HPA_VALUE, "for all together"},
    {NULL},
};

/* What is of another type than the metric's is not there, so that nothing here is required: the
 * metric's finish function asks for what is. */
static const struct field target_fields[] = {
    {.name = "type",
        .type = FIELD_ENUM,
        .words = target_words,
        .fallback = HPA_UTILIZATION,
        .offset = offsetof(struct hpa_source, target),
        .doc = "What the target is."},
    {.name = "averageUtilization",
        .type = FIELD_INT,
        .max = 100000,
        .offset = offsetof(struct hpa_source, utilization),
        .doc = "Of `Utilization`."},
    {.name = "averageValue",
        .type = FIELD_QUANTITY,
        .offset = offsetof(struct hpa_source, average),
        .doc = "Of `AverageValue`."},
    {.name = "value",
        .type = FIELD_QUANTITY,
        .offset = offsetof(struct hpa_source, value),
        .doc = "Of `Value`."},
};
static const struct field_table target_table =
    FIELD_TABLE("HpaTarget", struct hpa_source, target_fields, .doc = "What a metric is to be.");

static const struct field identifier_fields[] = {
    {.name = "name",
        .type = FIELD_TEXT,
        .rule = &rule_line,
        .offset = offsetof(struct hpa_source, name),
        .doc = "One of the Service's `metrics`, or `gpu_utilization`."},
    {.name = "selector", .type = FIELD_IGNORED, .doc = "Not used: labels are the metric's."},
};
static const struct field_table identifier_table = FIELD_TABLE(
    "HpaMetricIdentifier", struct hpa_source, identifier_fields, .doc = "Which metric.");

#define TARGET_FIELD                                                                               \
    {                                                                                              \
        .name = "target", .type = FIELD_OBJECT, .table = &target_table, .doc = "What it is to be." \
    }

static const struct field named_fields[] = {
    {.name = "describedObject", .type = FIELD_IGNORED, .doc = "Not used."},
    {.name = "metric", .type = FIELD_OBJECT, .table = &identifier_table, .doc = "Which metric."},
    TARGET_FIELD,
};
static const struct field_table named_table =
    FIELD_TABLE("HpaMetricSource", struct hpa_source, named_fields, .doc = "A metric by its name.");

static const struct field resource_fields[] = {
    {.name = "name",
        .type = FIELD_TEXT,
        .rule = &rule_line,
        .offset = offsetof(struct hpa_source, name),
        .doc = "`cpu` or `memory`."},
    TARGET_FIELD,
};
static const struct field_table resource_table = FIELD_TABLE("HpaResourceSource", struct hpa_source,
    resource_fields, .doc = "What replicas use of their resources.");

static const struct field_word metric_words[] = {
    {"Resource", HPA_RESOURCE, "what replicas use"},
    {"Pods", HPA_PODS, "a metric of each replica"},
    {"Object", HPA_OBJECT, "a metric of something"},
    {"External", HPA_EXTERNAL, "a metric of anything"},
    {"ContainerResource", HPA_CONTAINER, "not used: replicas have one container"},
    {NULL},
};

static const struct hpa_source *source_of(const struct hpa_metric *metric)
{
    const struct hpa_source *const sources[] = {[HPA_RESOURCE] = &metric->resource,
        [HPA_PODS] = &metric->pods,
        [HPA_OBJECT] = &metric->object,
        [HPA_EXTERNAL] = &metric->external};
    return metric->kind == HPA_CONTAINER ? NULL : sources[metric->kind];
}

static const char *path_of(const struct hpa_metric *metric)
{
    static const char *const paths[] = {[HPA_RESOURCE] = "resource",
        [HPA_PODS] = "pods",
        [HPA_OBJECT] = "object",
        [HPA_EXTERNAL] = "external"};
    return paths[metric->kind];
}

/* What is not used has no target: it is skipped where metrics are looked at. */
static void finish_hpa_metric(struct field_reader *reader, void *object)
{
    struct hpa_metric *metric = object;
    const struct hpa_source *source = source_of(metric);
    if (!source)
        return;
    if (!source->name) {
        fields_report(reader, path_of(metric), "required, but not given");
        return;
    }
    const char *text = source->target == HPA_VALUE ? source->value : source->average;
    metric->name = source->name;
    metric->target = source->target;
    metric->target_micro = source->target == HPA_UTILIZATION ? source->utilization * MICRO
                           : text                            ? quantity_micro(text)
                                                             : 0;
    if (metric->target_micro <= 0)
        fields_report(
            reader, path_of(metric), "expected the value that target.type names, above 0");
    if (metric->target == HPA_UTILIZATION && metric->kind != HPA_RESOURCE)
        fields_report(reader, path_of(metric), "only resources have a utilization");
    if (metric->kind == HPA_PODS && metric->target != HPA_AVERAGE_VALUE)
        fields_report(reader, path_of(metric), "expected AverageValue");
}

static const struct field metric_fields[] = {
    {.name = "type",
        .type = FIELD_ENUM,
        .flags = FIELD_REQUIRED,
        .words = metric_words,
        .offset = offsetof(struct hpa_metric, kind),
        .doc = "Where the figure comes from."},
    {.name = "resource",
        .type = FIELD_OBJECT,
        .table = &resource_table,
        .offset = offsetof(struct hpa_metric, resource),
        .doc = "Of `Resource`."},
    {.name = "pods",
        .type = FIELD_OBJECT,
        .table = &named_table,
        .offset = offsetof(struct hpa_metric, pods),
        .doc = "Of `Pods`."},
    {.name = "object",
        .type = FIELD_OBJECT,
        .table = &named_table,
        .offset = offsetof(struct hpa_metric, object),
        .doc = "Of `Object`."},
    {.name = "external",
        .type = FIELD_OBJECT,
        .table = &named_table,
        .offset = offsetof(struct hpa_metric, external),
        .doc = "Of `External`."},
    {.name = "containerResource", .type = FIELD_IGNORED, .doc = "Not used."},
};
static const struct field_table metric_table = FIELD_TABLE("HpaMetric", struct hpa_metric,
    metric_fields, .finish = finish_hpa_metric, .doc = "A figure to go by.");

/* ---- behaviour ------------------------------------------------------------------------------- */

static const struct field_word policy_words[] = {
    {"Pods", HPA_POLICY_PODS, "so many replicas"},
    {"Percent", HPA_POLICY_PERCENT, "so many per cent of those at the period's beginning"},
    {NULL},
};

static const struct field policy_fields[] = {
    {.name = "type",
        .type = FIELD_ENUM,
        .flags = FIELD_REQUIRED,
        .words = policy_words,
        .offset = offsetof(struct hpa_policy, kind),
        .doc = "What the value counts."},
    {.name = "value",
        .type = FIELD_INT,
        .flags = FIELD_REQUIRED,
        .min = 1,
        .max = 100000,
        .offset = offsetof(struct hpa_policy, value),
        .doc = "How much may change."},
    {.name = "periodSeconds",
        .type = FIELD_INT,
        .flags = FIELD_REQUIRED,
        .min = 1,
        .max = 1800,
        .offset = offsetof(struct hpa_policy, period_s),
        .doc = "In this time."},
};
static const struct field_table policy_table = FIELD_TABLE(
    "HpaPolicy", struct hpa_policy, policy_fields, .doc = "How fast the number may change.");

static const struct field_word select_words[] = {
    {"Max", HPA_SELECT_MAX, "the policy that lets it change most"},
    {"Min", HPA_SELECT_MIN, "the one that lets it change least"},
    {"Disabled", HPA_SELECT_DISABLED, "it does not change this way"},
    {NULL},
};

/* Of both directions; what they have when nothing is said differs and is filled in by the whole. */
static const struct field rules_fields[] = {
    {.name = "stabilizationWindowSeconds",
        .type = FIELD_INT,
        .fallback = -1,
        .fallback_doc = "0 up, 300 down",
        .max = 3600,
        .offset = offsetof(struct hpa_rules, stabilization_s),
        .doc = "How long a wish has to last."},
    {.name = "selectPolicy",
        .type = FIELD_ENUM,
        .words = select_words,
        .fallback = HPA_SELECT_MAX,
        .offset = offsetof(struct hpa_rules, select),
        .doc = "Which of the policies counts."},
    {.name = "policies",
        .type = FIELD_OBJECTS,
        .table = &policy_table,
        .max = HPA_POLICIES_MAX,
        .fallback_doc = "100 per cent in 15 seconds; up also 4 replicas",
        .offset = offsetof(struct hpa_rules, policies),
        .doc = "How fast the number may change."},
    {.name = "tolerance", .type = FIELD_IGNORED, .doc = "Not used: it is a tenth."},
};
static const struct field_table rules_table = FIELD_TABLE(
    "HpaScalingRules", struct hpa_rules, rules_fields, .doc = "How the number changes one way.");

static const struct field behavior_fields[] = {
    {.name = "scaleUp",
        .type = FIELD_OBJECT,
        .table = &rules_table,
        .offset = offsetof(struct hpa, up),
        .doc = "Upwards."},
    {.name = "scaleDown",
        .type = FIELD_OBJECT,
        .table = &rules_table,
        .offset = offsetof(struct hpa, down),
        .doc = "Downwards."},
};
static const struct field_table behavior_table =
    FIELD_TABLE("HpaBehavior", struct hpa, behavior_fields, .doc = "How the number changes.");

/* ---- the whole ------------------------------------------------------------------------------- */

static const struct field reference_fields[] = {
    {.name = "apiVersion",
        .type = FIELD_TEXT,
        .rule = &rule_line,
        .offset = offsetof(struct hpa, target_version),
        .doc = "Of what is scaled; any."},
    {.name = "kind",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_line,
        .offset = offsetof(struct hpa, target_kind),
        .doc = "Its kind; any, as `name` is that of a Service."},
    {.name = "name",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_name,
        .offset = offsetof(struct hpa, target),
        .doc = "The Service of the team that is scaled."},
};
static const struct field_table reference_table =
    FIELD_TABLE("HpaReference", struct hpa, reference_fields, .doc = "What is scaled.");

static void finish_hpa(struct field_reader *reader, void *object)
{
    const struct hpa *hpa = object;
    if (hpa->min > hpa->max)
        fields_report(reader, "minReplicas", "expected at most maxReplicas");
}

static const struct field hpa_spec_fields[] = {
    {.name = "scaleTargetRef",
        .type = FIELD_OBJECT,
        .flags = FIELD_REQUIRED,
        .table = &reference_table,
        .doc = "What is scaled."},
    {.name = "minReplicas",
        .type = FIELD_INT,
        .fallback = 1,
        .max = 1000,
        .offset = offsetof(struct hpa, min),
        .doc = "At least so many replicas; at 0 a metric has to ask for the first."},
    {.name = "maxReplicas",
        .type = FIELD_INT,
        .flags = FIELD_REQUIRED,
        .min = 1,
        .max = 1000,
        .offset = offsetof(struct hpa, max),
        .doc = "At most so many."},
    {.name = "metrics",
        .type = FIELD_OBJECTS,
        .table = &metric_table,
        .max = AUTOSCALE_METRICS_MAX,
        .offset = offsetof(struct hpa, metrics),
        .doc = "Figures to go by; the one that asks for most counts. Without any: cpu at 80 per "
               "cent."},
    {.name = "behavior",
        .type = FIELD_OBJECT,
        .table = &behavior_table,
        .doc = "How fast and how steadily the number changes."},
};
static const struct field_table hpa_spec_table = FIELD_TABLE("HorizontalPodAutoscalerSpec",
    struct hpa, hpa_spec_fields, .finish = finish_hpa, .doc = "How many replicas there are.");

static const struct field hpa_metadata_fields[] = {
    {.name = "name",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_name,
        .offset = offsetof(struct metadata, name),
        .doc = "Unique among the team's."},
    {.name = "namespace",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .fallback_text = "default",
        .offset = offsetof(struct metadata, team),
        .also = "team",
        .doc = "The team."},
    {.name = "labels",
        .type = FIELD_MAP,
        .table = &label_table,
        .max = LABELS_MAX,
        .offset = offsetof(struct metadata, labels),
        .doc = "Labels by which it is found."},
    {.name = "annotations", .type = FIELD_IGNORED, .doc = "Not looked at."},
    {.name = "creationTimestamp", .type = FIELD_IGNORED, .doc = "Kubernetes'."},
    {.name = "generation", .type = FIELD_IGNORED, .doc = "Kubernetes'."},
    {.name = "managedFields", .type = FIELD_IGNORED, .doc = "Kubernetes'."},
    {.name = "ownerReferences", .type = FIELD_IGNORED, .doc = "Kubernetes'."},
    {.name = "finalizers", .type = FIELD_IGNORED, .doc = "Kubernetes'."},
    {.name = "resourceVersion", .type = FIELD_IGNORED, .doc = "Kubernetes'."},
    {.name = "uid", .type = FIELD_IGNORED, .doc = "Kubernetes'."},
};
static const struct field_table hpa_metadata_table = FIELD_TABLE("HpaMetadata", struct metadata,
    hpa_metadata_fields, .doc = "What the object carries, as Kubernetes has it.");

static const struct field hpa_fields[] = {
    {.name = "apiVersion",
        .type = FIELD_CONSTANT,
        .flags = FIELD_REQUIRED,
        .fallback_text = "autoscaling/v2",
        .doc = "Kubernetes' version of this format."},
    {.name = "kind",
        .type = FIELD_CONSTANT,
        .flags = FIELD_REQUIRED,
        .fallback_text = "HorizontalPodAutoscaler",
        .doc = "What the manifest describes."},
    {.name = "metadata",
        .type = FIELD_OBJECT,
        .flags = FIELD_REQUIRED,
        .table = &hpa_metadata_table,
        .offset = offsetof(struct hpa, metadata),
        .doc = "Its name and namespace, which is the team."},
    {.name = "spec",
        .type = FIELD_OBJECT,
        .flags = FIELD_REQUIRED,
        .table = &hpa_spec_table,
        .doc = "What it scales, and how."},
    STATUS_FIELD,
};
const struct field_table hpa_table = FIELD_TABLE("HorizontalPodAutoscaler", struct hpa, hpa_fields,
    .doc = "Kubernetes' manifest for scaling, taken as it stands: it scales a Service by "
           "Kubernetes' formula. See docs/gateway-autoscaling.md.");
