/* What replicas are made of: see services_compose.h. */
#include "server/services_compose.h"

#include "base/hash.h"
#include "base/strbuf.h"
#include "engine/engine.h"
#include "server/versions.h"
#include "spec/serving.h"
#include "spec/spec.h"
#include "spec/template.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
    STARTUP_PERIOD_MS = 1000,
    STARTUP_FAILURES = 600, /* ten minutes to load a model */
    READINESS_PERIOD_MS = 2000,
    LIVENESS_PERIOD_MS = 10000,
    TIMEOUT_MS = 5000,
    FAILURES = 3,
    JOB_NAME_MAX = 63,
    LABELS_MAX = 64,
};

/* The input by which replicas see the version's files. */
static const char model_input[] = "model";

const char *service_route(const struct service *service)
{
    return service->route ? service->route : service->metadata.name;
}

/* ---- the document ------------------------------------------------------------------------- */

static struct replica_probe lay_probe(struct replica_probe over, const struct replica_probe *under)
{
    over.path = over.path ? over.path : under->path;
    over.period_ms = over.period_ms ? over.period_ms : under->period_ms;
    over.timeout_ms = over.timeout_ms ? over.timeout_ms : under->timeout_ms;
    over.failures = over.failures ? over.failures : under->failures;
    return over;
}

/* What the core knows itself and what the gateway and the server look up as it is now is no part of
 * a revision: to change it replaces nothing. */
static struct service without_what_may_change(const struct service *service)
{
    struct service fixed = *service;
    fixed.description = NULL;
    fixed.replicas = 1;
    service_rollout_default(&fixed.rollout);
    service_gateway_default(&fixed.gateway);
    memset(&fixed.metrics, 0, sizeof fixed.metrics);
    service_autoscale_default(&fixed.autoscale);
    service_quiet_default(&fixed.quiet);
    return fixed;
}

static struct doc *model_doc(struct arena *arena, const struct version *version)
{
    struct doc *model = doc_map(arena);
    doc_set_string(arena, model, "team", version->team);
    doc_set_string(arena, model, "name", version->name);
    doc_set_int(arena, model, "version", version->version);
    doc_set_string(arena, model, "tree", version->tree);
    doc_set_string(arena, model, "digest", version->digest);
    if (version->jurisdiction)
        doc_set_string(arena, model, "jurisdiction", version->jurisdiction);
    return model;
}

struct doc *revision_compose(struct arena *arena, const struct service *service,
    const struct runtime *runtime, const struct version *version)
{
    struct doc *doc = doc_map(arena);
    struct manifest fixed = {.kind = KIND_SERVICE, .service = without_what_may_change(service)};
    struct manifest laid = {.kind = KIND_RUNTIME, .runtime = *runtime};
    laid.runtime.description = NULL;
    laid.runtime.metadata.labels = (struct label_list){0};
    laid.runtime.startup = lay_probe(service->startup, &runtime->startup);
    laid.runtime.readiness = lay_probe(service->readiness, &runtime->readiness);
    laid.runtime.liveness = lay_probe(service->liveness, &runtime->liveness);
    if (service->command.count > 0)
        laid.runtime.command = service->command;
    doc_set(arena, doc, "service", manifest_encode(arena, &fixed));
    doc_set(arena, doc, "runtime", manifest_encode(arena, &laid));
    if (version)
        doc_set(arena, doc, "model", model_doc(arena, version));
    return doc;
}

static int read_manifest(struct arena *arena, const struct doc *doc, const char *key,
    enum kind kind, struct manifest *ret, struct error *err)
{
    struct field_errors *errors = arena_alloc(arena, 1, sizeof *errors);
    const struct doc *part = doc_get(doc, key);
    if (!part || manifest_decode(arena, part, NULL, ret, errors) < 0 || ret->kind != kind)
        return error_set(err, ERR_CORRUPT, "the stored revision has no sound %s: %s", key,
            errors->count > 0 ? errors->items[0].text : "it is not there");
    return 0;
}

static struct replica_probe with_defaults(
    const struct replica_probe *probe, const char *path, int64_t period_ms, int64_t failures)
{
    const struct replica_probe under = {path, period_ms, TIMEOUT_MS, failures};
    return lay_probe(*probe, &under);
}

int revision_read(
    struct arena *arena, const struct doc *doc, struct revision *ret, struct error *err)
{
    struct manifest service, runtime;
    if (read_manifest(arena, doc, "service", KIND_SERVICE, &service, err) < 0 ||
        read_manifest(arena, doc, "runtime", KIND_RUNTIME, &runtime, err) < 0)
        return -1;
    struct revision revision = {.doc = doc, .service = service.service, .runtime = runtime.runtime};
    const struct doc *model = doc_get(doc, "model");
    revision.model_team = doc_get_string(model, "team");
    revision.model_name = doc_get_string(model, "name");
    revision.version = doc_get_int(model, "version", 0);
    revision.jurisdiction = doc_get_string(model, "jurisdiction");
    if (model && (!revision.model_team || !revision.model_name || revision.version < 1))
        return error_set(err, ERR_CORRUPT, "the stored revision names no version");
    const struct runtime *laid = &revision.runtime;
    revision.readiness = with_defaults(&laid->readiness, NULL, READINESS_PERIOD_MS, FAILURES);
    /* What is ready has started. */
    revision.startup =
        with_defaults(&laid->startup, revision.readiness.path, STARTUP_PERIOD_MS, STARTUP_FAILURES);
    revision.liveness = with_defaults(&laid->liveness, NULL, LIVENESS_PERIOD_MS, FAILURES);
    *ret = revision;
    return 0;
}

/* ---- the job ------------------------------------------------------------------------------ */

const char *revision_expand(
    struct arena *arena, const struct revision *revision, const char *runtimes, const char *text)
{
    const struct service *service = &revision->service;
    int64_t cpus = (service->resources.cpu_milli + 999) / 1000;
    const char *values[PLACEHOLDER_COUNT] = {
        [PLACEHOLDER_MODEL] = arena_printf(arena, "/inputs/%s", model_input),
        [PLACEHOLDER_NAME] = service_route(service),
        [PLACEHOLDER_VERSION] = arena_printf(arena, "%" PRId64, revision->version),
        [PLACEHOLDER_SOCKET] = ENGINE_SOCKET_PATH,
        [PLACEHOLDER_PORT] = arena_printf(arena, "%" PRId64, revision->runtime.port),
        [PLACEHOLDER_CPUS] = arena_printf(arena, "%" PRId64, cpus),
        [PLACEHOLDER_RUNTIMES] = runtimes,
    };
    struct strbuf out = {0};
    template_expand(text, values, &out);
    const char *expanded = arena_strdup(arena, strbuf_text(&out));
    strbuf_finish(&out);
    return expanded;
}

static struct text_list expand_list(struct arena *arena, const struct revision *revision,
    const char *runtimes, const struct text_list *texts)
{
    const char **items = arena_alloc(arena, texts->count, sizeof *items);
    for (size_t i = 0; i < texts->count; i++)
        items[i] = revision_expand(arena, revision, runtimes, texts->items[i]);
    return (struct text_list){items, texts->count};
}

/* The runtime's variables, and those of the service, which win. */
static struct label_list expand_env(
    struct arena *arena, const struct revision *revision, const char *runtimes)
{
    const struct label_list *lists[] = {&revision->service.env, &revision->runtime.env};
    struct label_list env = {
        arena_alloc(arena, lists[0]->count + lists[1]->count + 1, sizeof *env.items), 0};
    for (size_t list = 0; list < ARRAY_LEN(lists); list++) {
        for (size_t i = 0; i < lists[list]->count; i++) {
            const struct label *item = &lists[list]->items[i];
            if (label_find(&env, item->key))
                continue;
            env.items[env.count++] =
                (struct label){item->key, revision_expand(arena, revision, runtimes, item->value)};
        }
    }
    return env;
}

void revision_launch(struct arena *arena, const struct revision *revision, const char *runtimes,
    uint32_t port, struct text_list *ret_command, struct label_list *ret_env)
{
    struct revision there = *revision;
    there.runtime.port = port;
    *ret_command = expand_list(arena, &there, runtimes, &revision->runtime.command);
    *ret_env = expand_env(arena, &there, runtimes);
}

/* "digits-r3-7". Names of jobs have a bound: of a long service name the end is replaced by its
 * hash, so that two services never have the same replicas. */
static const char *replica_name(
    struct arena *arena, const char *service, int32_t number, int32_t replica)
{
    const char *name = arena_printf(arena, "%s-r%d-%d", service, number, replica);
    if (strlen(name) <= JOB_NAME_MAX)
        return name;
    uint32_t hash = (uint32_t)hash_text(service);
    return arena_printf(arena, "%.28s-%08x-r%d-%d", service, hash, number, replica);
}

/* The service's labels, and its name as one more: costs and affinities go by labels. */
static struct label_list replica_labels(struct arena *arena, const struct service *service)
{
    const struct label_list *own = &service->metadata.labels;
    struct label_list labels = {arena_alloc(arena, own->count + 1, sizeof *labels.items), 0};
    for (size_t i = 0; i < own->count; i++)
        labels.items[labels.count++] = own->items[i];
    if (!label_find(own, "service") && labels.count < LABELS_MAX)
        labels.items[labels.count++] = (struct label){"service", service->metadata.name};
    return labels;
}

static int set_jurisdiction(
    const struct revision *revision, struct placement *placement, struct error *err)
{
    if (!revision->jurisdiction)
        return 0;
    if (placement->jurisdiction && strcmp(placement->jurisdiction, revision->jurisdiction) != 0)
        return error_set(err, ERR_CONFLICT,
            "spec.placement.jurisdiction is %s, but the model may only be used in %s",
            placement->jurisdiction, revision->jurisdiction);
    placement->jurisdiction = revision->jurisdiction;
    return 0;
}

static void set_model(struct arena *arena, const struct revision *revision, struct job *job)
{
    struct job_input *input = arena_alloc(arena, 1, sizeof *input);
    *input = (struct job_input){.name = model_input,
        .model = arena_printf(arena, "%s/%s:%" PRId64, revision->model_team, revision->model_name,
            revision->version)};
    job->inputs.items = input;
    job->inputs.count = 1;
}

int revision_job(struct arena *arena, const struct revision *revision, const char *runtimes,
    int32_t number, int32_t replica, struct job *ret, struct error *err)
{
    const struct service *service = &revision->service;
    if (!revision->model_name)
        return error_set(
            err, ERR_UNAVAILABLE, "there is no version yet that %s means", service->model);
    if (revision->runtime.command.count == 0)
        return error_set(err, ERR_INVALID,
            "neither the service nor the runtime %s says a command (spec.command)",
            revision->runtime.metadata.name);
    struct job job = {
        .metadata = {replica_name(arena, service->metadata.name, number, replica),
            service->metadata.team, replica_labels(arena, service)},
        .class_name = "service",
        .command = expand_list(arena, revision, runtimes, &revision->runtime.command),
        .image = revision->runtime.image,
        .env = expand_env(arena, revision, runtimes),
        .gang.size = 1,
        .resources = service->resources,
        .placement = service->placement,
        .priority = service->priority,
        .preemptible = service->preemptible,
        .preemptions_max = -1,
        .grace_ms = service->grace_ms,
        .retries = {0, service->restart.backoff_ms, service->restart.backoff_max_ms},
        .service = true,
        .network = NETWORK_NONE,
        .log = {16 << 20, 4},
    };
    job.secrets.items = service->secrets.items;
    job.secrets.count = service->secrets.count;
    set_model(arena, revision, &job);
    if (set_jurisdiction(revision, &job.placement, err) < 0)
        return -1;
    *ret = job;
    return 0;
}

/* ---- why it ended ------------------------------------------------------------------------- */

static const char *sign_cause(
    const struct runtime *runtime, int32_t exit_status, bool exited, const char *log)
{
    for (size_t i = 0; i < runtime->failures.count; i++) {
        const struct failure_sign *sign = &runtime->failures.items[i];
        if (sign->exit_status >= 0 && (!exited || sign->exit_status != exit_status))
            continue;
        if (!sign->log || strstr(log, sign->log))
            return sign->cause;
    }
    return NULL;
}

const char *replica_cause(
    const struct runtime *runtime, enum end_reason reason, int32_t exit_status, const char *log)
{
    const char *cause = NULL;
    switch (reason) {
    case END_OUT_OF_MEMORY: return "out-of-memory";
    case END_DISK_QUOTA: return "disk-full";
    case END_START_FAILED:
        return exit_status == ENOENT       ? "missing-file"
               : exit_status == EADDRINUSE ? "bad-port"
                                           : "not-started";
    case END_UNHEALTHY: return "unhealthy";
    case END_NODE_LOST:
    case END_LOST: return "lost";
    case END_EXIT:
        cause = sign_cause(runtime, exit_status, true, log);
        return cause ? cause : "failed";
    case END_SIGNAL:
        cause = sign_cause(runtime, exit_status, false, log);
        return cause ? cause : exit_status == SIGKILL ? "killed" : "failed";
    case END_SUCCEEDED: return "ended";
    default: return NULL;
    }
}
