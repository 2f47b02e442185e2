/* From a Service, its Runtime and a version to what its replicas are made of. Nothing here knows a
 * server: documents in, jobs out. */
#pragma once

#include "base/error.h"
#include "base/memory.h"
#include "core/rows.h"
#include "spec/kinds.h"
#include "wire/doc.h"

#include <stdint.h>

struct version;

/* A revision document (server/services.h), read. Everything is of the arena it was read into. */
struct revision {
    const struct doc *doc;
    struct service service;
    struct runtime runtime;
    const char *model_team; /* NULL: there is no version to serve yet */
    const char *model_name;
    int64_t version;
    const char *jurisdiction;
    /* Of these no field is left out: what neither the service nor its runtime says is ours. */
    struct replica_probe startup, readiness, liveness;
};

/* The document; version NULL: none yet. What replicas do not depend on is not in it, so that two
 * documents are equal (doc_equal) when nothing has to be replaced. */
struct doc *revision_compose(struct arena *arena, const struct service *service,
    const struct runtime *runtime, const struct version *version);
/* ERR_CORRUPT. */
MUST_CHECK int revision_read(
    struct arena *arena, const struct doc *doc, struct revision *ret, struct error *err);
/* How clients name the service. */
const char *service_route(const struct service *service);
/* A text of the runtime or service with its placeholders filled in; runtimes is the folder of the
 * programs that come with muster. */
const char *revision_expand(
    struct arena *arena, const struct revision *revision, const char *runtimes, const char *text);
/* What is different in its launch where the engine gave it a port of its own: the command, and the
 * values of the variables. */
void revision_launch(struct arena *arena, const struct revision *revision, const char *runtimes,
    uint32_t port, struct text_list *ret_command, struct label_list *ret_env);
/* The job of one replica. ERR_UNAVAILABLE: there is no version yet; ERR_INVALID: there is no
 * command; ERR_CONFLICT: model and placement exclude each other's jurisdiction. */
MUST_CHECK int revision_job(struct arena *arena, const struct revision *revision,
    const char *runtimes, int32_t number, int32_t replica, struct job *ret, struct error *err);

/* Why an attempt of a replica ended, told apart by what the engine saw and by the runtime's signs:
 * "out-of-memory", "missing-file", "wrong-format", "bad-port", "unhealthy", "disk-full", "killed",
 * "failed", or another name that a sign gives. NULL where nothing failed (it was stopped). log is
 * the end of its log, or "". */
const char *replica_cause(
    const struct runtime *runtime, enum end_reason reason, int32_t exit_status, const char *log);
