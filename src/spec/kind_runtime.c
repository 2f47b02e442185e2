/* The table of Runtime: how models of a format are served, scored and checked. */
#include "spec/tables.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* clang-format off: a field is a paragraph, not a column */

static const struct field_word listen_words[] = {
    {"socket", LISTEN_SOCKET, "on the Unix socket {socket}"},
    {"port", LISTEN_PORT, "on a TCP port of its own network's loopback"},
    {NULL},
};

static void finish_probe(struct field_reader *reader, void *object)
{
    const struct replica_probe *probe = object;
    struct error err;
    if (probe->path && template_check(probe->path, TEMPLATE_SERVE, &err) < 0)
        fields_report(reader, "path", "%s", err.text);
}

static const struct field probe_fields[] = {
    {.name = "path",
        .type = FIELD_TEXT,
        .rule = &rule_url_path,
        .fallback_doc = "a connection is enough",
        .offset = offsetof(struct replica_probe, path),
        .doc = "GET of it has to answer 200 to 299. It may hold `{name}` and `{version}`."},
    {.name = "period",
        .type = FIELD_DURATION,
        .min = 100,
        .max = MINUTES(60),
        .fallback_doc = "1s at the start, then 2s, liveness 10s",
        .offset = offsetof(struct replica_probe, period_ms),
        .doc = "From one check to the next."},
    {.name = "timeout",
        .type = FIELD_DURATION,
        .min = 10,
        .max = MINUTES(10),
        .fallback_doc = "5s",
        .offset = offsetof(struct replica_probe, timeout_ms),
        .doc = "How long the answer may take."},
    {.name = "failures",
        .type = FIELD_INT,
        .min = 1,
        .max = 100000,
        .fallback_doc = "600 at the start, then 3",
        .offset = offsetof(struct replica_probe, failures),
        .doc = "So many in a row count as one."},
};
const struct field_table probe_table = FIELD_TABLE("Probe", struct replica_probe, probe_fields,
    .finish = finish_probe, .doc = "A check of a replica.");

static void finish_sign(struct field_reader *reader, void *object)
{
    const struct failure_sign *sign = object;
    if (sign->exit_status < 0 && !sign->log)
        fields_report(reader, "", "expected exitStatus or log");
}

static const struct field sign_fields[] = {
    {.name = "cause",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_name,
        .offset = offsetof(struct failure_sign, cause),
        .doc = "What it means: `out-of-memory`, `missing-file`, `wrong-format`, `bad-port` or "
               "another name."},
    {.name = "exitStatus",
        .type = FIELD_INT,
        .fallback = -1,
        .max = 255,
        .fallback_doc = "any",
        .offset = offsetof(struct failure_sign, exit_status),
        .doc = "The exit status of the replica."},
    {.name = "log",
        .type = FIELD_TEXT,
        .rule = &rule_line,
        .min = 1,
        .fallback_doc = "any",
        .offset = offsetof(struct failure_sign, log),
        .doc = "A text in the last lines of its log. With both, both have to fit."},
};
static const struct field_table sign_table = FIELD_TABLE("FailureSign", struct failure_sign,
    sign_fields, .finish = finish_sign, .doc = "How to tell why a replica ended.");

static int64_t port_fallback(const void *object)
{
    const struct runtime *runtime = object;
    return runtime->listen == LISTEN_PORT ? 8080 : 0;
}

static void finish_runtime(struct field_reader *reader, void *object)
{
    const struct runtime *runtime = object;
    check_command(reader, "command", &runtime->command);
    check_command(reader, "scoreCommand", &runtime->score_command);
    check_templates(reader, "command", &runtime->command, TEMPLATE_SERVE);
    check_templates(reader, "scoreCommand", &runtime->score_command, TEMPLATE_SCORE);
    check_template_variables(reader, &runtime->env);
    if (runtime->listen == LISTEN_SOCKET && runtime->port != 0)
        fields_report(reader, "port", "a runtime that listens on its socket has none");
    for (size_t i = 0; i < runtime->protocols.count; i++) {
        for (size_t j = 0; j < i; j++) {
            char path[40];
            snprintf(path, sizeof path, "protocols[%zu]", i);
            if (strcmp(runtime->protocols.items[i], runtime->protocols.items[j]) == 0)
                fields_report(reader, path, "is said twice");
        }
    }
}

static const struct field runtime_spec_fields[] = {
    {.name = "description",
        .type = FIELD_TEXT,
        .offset = offsetof(struct runtime, description),
        .doc = "For people."},
    {.name = "command",
        .type = FIELD_TEXTS,
        .rule = &rule_long,
        .max = 256,
        .offset = offsetof(struct runtime, command),
        .fallback_doc = "the Service says it",
        .doc = "The program and its arguments, with placeholders: `{model}` (the folder of the "
               "version's files), `{name}` (of the model as clients ask for it), `{version}`, "
               "`{socket}`, `{port}`, `{cpus}` and `{runtimes}` (the folder of the programs that "
               "come with muster). `{{` stands for `{`."},
    {.name = "scoreCommand",
        .type = FIELD_TEXTS,
        .rule = &rule_long,
        .max = 256,
        .offset = offsetof(struct runtime, score_command),
        .fallback_doc = "it cannot score",
        .doc = "The program of scoring jobs; it may also hold `{data}`, `{output}`, `{shard}` "
               "(from 0) and `{shards}`, but neither `{socket}` nor `{port}`."},
    {.name = "image",
        .type = FIELD_TEXT,
        .rule = &rule_line,
        .fallback_doc = "the pool's",
        .offset = offsetof(struct runtime, image),
        .doc = "The image that replicas and scoring jobs run in, in pools with the engine "
               "`kubernetes`."},
    {.name = "env",
        .type = FIELD_MAP,
        .table = &variable_table,
        .max = 256,
        .offset = offsetof(struct runtime, env),
        .doc = "Environment variables, with the same placeholders as the command."},
    {.name = "listen",
        .type = FIELD_ENUM,
        .words = listen_words,
        .fallback = LISTEN_SOCKET,
        .offset = offsetof(struct runtime, listen),
        .doc = "Where it takes requests."},
    {.name = "port",
        .type = FIELD_INT,
        .min = 1,
        .max = 65535,
        .fallback_of = port_fallback,
        .fallback_doc = "8080 with `listen: port`",
        .offset = offsetof(struct runtime, port),
        .doc = "The port. Replicas have a network each, so that it is free."},
    {.name = "protocols",
        .type = FIELD_TEXTS,
        .rule = &rule_protocol,
        .max = 2,
        .offset = offsetof(struct runtime, protocols),
        .doc = "What it speaks: `oip` (Open Inference Protocol v2), `openai`."},
    {.name = "startup",
        .type = FIELD_OBJECT,
        .table = &probe_table,
        .offset = offsetof(struct runtime, startup),
        .doc = "Checked first, until it holds once; its failures times its period is how long "
               "loading may take."},
    {.name = "readiness",
        .type = FIELD_OBJECT,
        .table = &probe_table,
        .offset = offsetof(struct runtime, readiness),
        .doc = "Whether it gets requests."},
    {.name = "liveness",
        .type = FIELD_OBJECT,
        .table = &probe_table,
        .offset = offsetof(struct runtime, liveness),
        .doc = "When it fails the replica is started again."},
    {.name = "failures",
        .type = FIELD_OBJECTS,
        .table = &sign_table,
        .max = 64,
        .offset = offsetof(struct runtime, failures),
        .doc = "How to tell why a replica ended; the first that fits counts."},
};
static const struct field_table runtime_spec_table = FIELD_TABLE("RuntimeSpec", struct runtime,
    runtime_spec_fields, .finish = finish_runtime, .doc = "How models are served.");

static const struct field runtime_fields[] = {
    ENVELOPE_FIELDS("Runtime"),
    {.name = "metadata",
        .type = FIELD_OBJECT,
        .flags = FIELD_REQUIRED,
        .table = &metadata_table,
        .offset = offsetof(struct runtime, metadata),
        .doc = "Its name and labels."},
    {.name = "spec",
        .type = FIELD_OBJECT,
        .flags = FIELD_REQUIRED,
        .table = &runtime_spec_table,
        .doc = "How it serves."},
    STATUS_FIELD,
};
const struct field_table runtime_table = FIELD_TABLE("Runtime", struct runtime, runtime_fields,
    .doc = "How models of a format are served and scored: a template for all services.");
