/* The table of Service: a model that is served. */
#include "spec/tables.h"

#include <stddef.h>
#include <string.h>

/* clang-format off: a field is a paragraph, not a column */

/* The structs without a name of their own are members of struct service: their tables have offsets
 * in it, and the fields that hold them stand at offset 0. */
static int64_t backoff_max_fallback(const void *object)
{
    const struct service *service = object;
    return service->restart.backoff_ms > MINUTES(5) ? service->restart.backoff_ms : MINUTES(5);
}

static void finish_restart(struct field_reader *reader, void *object)
{
    const struct service *service = object;
    if (service->restart.backoff_max_ms < service->restart.backoff_ms)
        fields_report(reader, "backoffMax", "expected at least as long as backoff");
}

static const struct field restart_fields[] = {
    {.name = "backoff",
        .type = FIELD_DURATION,
        .fallback = SECONDS(1),
        .max = DAYS(1),
        .offset = offsetof(struct service, restart.backoff_ms),
        .doc = "The wait before a replica that failed starts again; it doubles with each failure "
               "in a row."},
    {.name = "backoffMax",
        .type = FIELD_DURATION,
        .max = DAYS(1),
        .fallback_of = backoff_max_fallback,
        .fallback_doc = "5m, or `backoff` if longer",
        .offset = offsetof(struct service, restart.backoff_max_ms),
        .doc = "The longest wait. A replica that was ready for longer than this starts afresh."},
};
static const struct field_table restart_table = FIELD_TABLE("Restart", struct service,
    restart_fields, .finish = finish_restart, .doc = "What happens when a replica fails.");

static const struct service_metric *metric_named(const struct service *service, const char *name)
{
    for (size_t i = 0; i < service->metrics.count; i++) {
        if (!strcmp(service->metrics.items[i].name, name))
            return &service->metrics.items[i];
    }
    return NULL;
}

/* Each once, and what autoscaling goes by among them. */
static void check_metrics(struct field_reader *reader, const struct service *service)
{
    for (size_t i = 0; i < service->metrics.count; i++) {
        const struct service_metric *metric = &service->metrics.items[i];
        if (metric_named(service, metric->name) != metric)
            fields_report(reader, "metrics", "expected each name once");
    }
    for (size_t i = 0; i < service->autoscale.metrics.count; i++) {
        if (!metric_named(service, service->autoscale.metrics.items[i].name))
            fields_report(reader, "autoscale.metrics", "%s is none of spec.metrics",
                fields_quote(reader, service->autoscale.metrics.items[i].name));
    }
}

static void finish_service(struct field_reader *reader, void *object)
{
    const struct service *service = object;
    check_command(reader, "command", &service->command);
    check_secrets(reader, service->secrets.items, service->secrets.count, &service->env);
    check_templates(reader, "command", &service->command, TEMPLATE_SERVE);
    check_metrics(reader, service);
    check_template_variables(reader, &service->env);
    check_other_routes(reader, service);
}

static const struct field service_spec_fields[] = {
    {.name = "description",
        .type = FIELD_TEXT,
        .offset = offsetof(struct service, description),
        .doc = "For people."},
    {.name = "model",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_artifact,
        .offset = offsetof(struct service, model),
        .doc = "The model: `digits:3` serves that version; `digits` the newest and "
               "`digits@production` the one that holds the stage, and follow it."},
    {.name = "runtime",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .fallback_doc = "the Model's",
        .offset = offsetof(struct service, runtime),
        .doc = "The Runtime that serves it."},
    {.name = "route",
        .type = FIELD_TEXT,
        .rule = &rule_route,
        .fallback_doc = "`metadata.name`",
        .offset = offsetof(struct service, route),
        .doc = "How clients name it. Unique over all teams."},
    {.name = "command",
        .type = FIELD_TEXTS,
        .rule = &rule_long,
        .max = 256,
        .fallback_doc = "the Runtime's",
        .offset = offsetof(struct service, command),
        .doc = "The program and its arguments, with the placeholders of a Runtime."},
    {.name = "env",
        .type = FIELD_MAP,
        .table = &variable_table,
        .max = 256,
        .offset = offsetof(struct service, env),
        .doc = "Environment variables, beside those of the Runtime."},
    {.name = "secrets",
        .type = FIELD_OBJECTS,
        .table = &secret_table,
        .max = 64,
        .offset = offsetof(struct service, secrets),
        .doc = "Secrets of the team that its replicas see."},
    {.name = "replicas",
        .type = FIELD_INT,
        .fallback = 1,
        .max = 1000,
        .offset = offsetof(struct service, replicas),
        .doc = "How many replicas answer."},
    {.name = "resources",
        .type = FIELD_OBJECT,
        .table = &resources_table,
        .offset = offsetof(struct service, resources),
        .doc = "What each replica gets."},
    {.name = "placement",
        .type = FIELD_OBJECT,
        .table = &replica_placement_table,
        .offset = offsetof(struct service, placement),
        .doc = "Where replicas may run."},
    {.name = "priority",
        .type = FIELD_INT,
        .words = priority_words,
        .fallback = PRIORITY_HIGH,
        .max = 1000,
        .offset = offsetof(struct service, priority),
        .doc = "Who goes first: low is 100, normal 500, high 800, urgent 1000."},
    {.name = "preemptible",
        .type = FIELD_BOOL,
        .offset = offsetof(struct service, preemptible),
        .doc = "Whether its replicas may be stopped for others."},
    {.name = "rollout",
        .type = FIELD_OBJECT,
        .table = &service_rollout_table,
        .offset = offsetof(struct service, rollout),
        .doc = "How replicas are replaced by those of a new revision."},
    {.name = "drain",
        .type = FIELD_DURATION,
        .fallback = SECONDS(30),
        .max = MINUTES(60),
        .offset = offsetof(struct service, drain_ms),
        .doc = "How long requests under way at a replica may take before it is stopped."},
    {.name = "grace",
        .type = FIELD_DURATION,
        .fallback = SECONDS(10),
        .max = MINUTES(60),
        .offset = offsetof(struct service, grace_ms),
        .also = "terminationGracePeriodSeconds",
        .doc = "The time from SIGTERM to SIGKILL."},
    {.name = "restart",
        .type = FIELD_OBJECT,
        .table = &restart_table,
        .doc = "What happens when a replica fails."},
    {.name = "startup",
        .type = FIELD_OBJECT,
        .table = &probe_table,
        .offset = offsetof(struct service, startup),
        .doc = "Each field that is given wins over the Runtime's."},
    {.name = "readiness",
        .type = FIELD_OBJECT,
        .table = &probe_table,
        .offset = offsetof(struct service, readiness),
        .doc = "The same."},
    {.name = "liveness",
        .type = FIELD_OBJECT,
        .table = &probe_table,
        .offset = offsetof(struct service, liveness),
        .doc = "The same."},
    {.name = "gateway",
        .type = FIELD_OBJECT,
        .table = &service_gateway_table,
        .offset = offsetof(struct service, gateway),
        .doc = "Who may ask, and how requests are treated."},
    {.name = "metrics",
        .type = FIELD_OBJECTS,
        .table = &service_metric_table,
        .max = AUTOSCALE_METRICS_MAX,
        .offset = offsetof(struct service, metrics),
        .doc = "Figures that are read from elsewhere, for autoscaling."},
    {.name = "autoscale",
        .type = FIELD_OBJECT,
        .flags = FIELD_SPARSE,
        .table = &service_autoscale_table,
        .offset = offsetof(struct service, autoscale),
        .doc = "How many replicas there are, in place of `replicas`."},
    {.name = "quiet",
        .type = FIELD_OBJECT,
        .flags = FIELD_SPARSE,
        .table = &service_quiet_table,
        .offset = offsetof(struct service, quiet),
        .doc = "Cheaper replicas while little is asked."},
};
static const struct field_table service_spec_table =
    FIELD_TABLE("ServiceSpec", struct service, service_spec_fields, .finish = finish_service,
        .doc = "Which model is served, by how many replicas, to whom.");

static const struct field service_fields[] = {
    ENVELOPE_FIELDS("Service"),
    {.name = "metadata",
        .type = FIELD_OBJECT,
        .flags = FIELD_REQUIRED,
        .table = &owned_metadata_table,
        .offset = offsetof(struct service, metadata),
        .doc = "Its name, team and labels."},
    {.name = "spec",
        .type = FIELD_OBJECT,
        .flags = FIELD_REQUIRED,
        .table = &service_spec_table,
        .doc = "What it serves."},
    STATUS_FIELD,
};
const struct field_table service_table =
    FIELD_TABLE("Service", struct service, service_fields, .doc = "A model that is served.");
