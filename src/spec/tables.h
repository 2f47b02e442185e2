/* The tables of the kinds and of what they share. Only spec.c and the tables look in here. */
#pragma once

#include "spec/fields.h"
#include "spec/kinds.h"
#include "spec/template.h"

extern const struct field_table pool_table;
extern const struct field_table team_table;
extern const struct field_table class_table;
extern const struct field_table job_table;
extern const struct field_table dataset_table;
extern const struct field_table model_table;
extern const struct field_table runtime_table;
extern const struct field_table service_table;
extern const struct field_table hpa_table;

extern const struct field_table job_spec_table;
extern const struct field_table job_gang_table;       /* struct gang */
extern const struct field_table job_dependency_table; /* struct dependency */
extern const struct field_table job_retries_table;    /* these and the log: struct job */
extern const struct field_table job_array_table;
extern const struct field_table job_topology_table;
extern const struct field_table job_checkpoint_table;
extern const struct field_table job_log_table;
extern const struct field_table job_parameter_table; /* struct label */
extern const struct field_table job_input_table;     /* struct job_input */
extern const struct field_table job_output_table;    /* struct job_output */
extern const struct field_table job_score_table;
extern const struct field_table metadata_table;
extern const struct field_table owned_metadata_table; /* with a team */
extern const struct field_table label_table;
extern const struct field_table variable_table; /* of the environment */
extern const struct field_table secret_table;
extern const struct field_table resources_table;
extern const struct field_table placement_table;
extern const struct field_table replica_placement_table; /* spread by default */
extern const struct field_table artifact_retention_table;
extern const struct field_table service_gateway_table; /* struct service_gateway */
extern const struct field_table service_limits_table;
extern const struct field_table service_queue_table;
extern const struct field_table serving_table;
extern const struct field_table service_batching_table;  /* struct service_batching */
extern const struct field_table service_guard_table;     /* struct service_guard */
extern const struct field_table service_cache_table;     /* struct service_cache */
extern const struct field_table service_labels_table;    /* struct service_labels */
extern const struct field_table service_rollout_table;   /* struct service_rollout */
extern const struct field_table service_routing_table;   /* struct service_routing */
extern const struct field_table service_autoscale_table; /* struct service_autoscale */
extern const struct field_table service_metric_table;    /* struct service_metric */
extern const struct field_table service_hold_table;      /* struct service_hold */
extern const struct field_word measure_words[];
extern const struct field_table probe_table;            /* struct replica_probe */
extern const struct field_table slurm_site_table;       /* struct slurm_site */
extern const struct field_table kubernetes_site_table;  /* struct kubernetes_site */
extern const struct field_table service_deadline_table; /* struct service_deadline */
extern const struct field_table service_circuit_table;  /* struct service_circuit */
extern const struct field_table service_hedge_table;    /* struct service_hedge */
extern const struct field_table service_fallback_table; /* struct service_fallback */
extern const struct field_table service_cascade_table;  /* struct service_cascade */
extern const struct field_table service_record_table;   /* struct service_record */
extern const struct field_table service_hours_table;    /* struct autoscale_hours, without min */
extern const struct field_table service_quiet_table;    /* struct service_quiet */
extern const struct text_rule rule_utc_offset;
/* Whether it is http:// or https:// with a host, which may be a name, a port or none, and a path or
 * none: what the gateway or the server asks, so no user, fragment or blank. */
bool is_http_url(const char *text);
/* Of a text that fits the rule, such as "+02:00". */
int64_t hours_offset_minutes(const char *text);
extern const struct field_table service_secondary_table; /* struct service_secondary */
extern const struct field_word priority_words[];

/* Whether what a pool says of its site goes with its engine. */
void pool_site_check(struct field_reader *reader, const struct pool *pool);

/* What finish functions of several tables check; paths are as for fields_report. */
void check_command(struct field_reader *reader, const char *path, const struct text_list *command);
void check_secrets(struct field_reader *reader, const struct secret_ref *secrets, size_t count,
    const struct label_list *env);
/* Parameters, inputs, outputs and what is scored, held against each other. */
void check_job_data(struct field_reader *reader, const struct job *job);
/* A service is neither its own fallback nor its own small model. */
void check_other_routes(struct field_reader *reader, const struct service *service);
/* A reference to a dataset (NULL: none) names no stage. */
void check_dataset(struct field_reader *reader, const char *path, const char *text);
/* Placeholders are known where they are used. */
void check_templates(struct field_reader *reader, const char *path, const struct text_list *texts,
    enum template_use use);
void check_template_variables(struct field_reader *reader, const struct label_list *env);

#define SECONDS(n) ((n)*1000LL)
#define MINUTES(n) ((n)*60000LL)
#define DAYS(n)    ((n)*86400000LL)

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

enum { LABELS_MAX = 64, COMMAND_BYTES_MAX = 64 * 1024 };
