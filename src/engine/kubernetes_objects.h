/* What the Kubernetes engine makes in a cluster, as JSON. */
#pragma once

#include "engine/kubernetes.h"

/* ---- kubernetes_objects.c ------------------------------------------------------------------ */

enum { KUBE_MASTER_PORT = 29500 };

#define KUBE_WORK_FILE "work.tar" /* in the secret */

/* Whether a launch can be run here at all. */
MUST_CHECK int kube_objects_check(
    const struct kubernetes *engine, const struct launch *launch, struct error *err);
/* Fills labels, service, secret and the ranks' specs. */
MUST_CHECK int kube_objects_build(
    struct kube_attempt *attempt, const struct launch *launch, struct error *err);
/* Frees what it is made of: it is made, or is not to be made any more. Again is fine. */
void kube_objects_drop(struct kube_attempt *attempt);
/* The secret as JSON, owned by the attempt's service. */
void kube_objects_secret(const struct kube_attempt *attempt, struct strbuf *out);
/* The pod of a rank as JSON, owned by the attempt's service where there is one. */
void kube_objects_pod(const struct kube_rank *rank, struct strbuf *out);
/* A network policy of a team: number 0 or 1; false: there are no more. */
bool kube_objects_policy(const struct kubernetes *engine, const char *team, unsigned number,
    struct strbuf *ret_name, struct strbuf *ret_text);
/* "name":"value". */
void kube_put_pair(struct strbuf *out, const char *name, const char *value);
/* A text that Kubernetes would put variables into: none are. */
void kube_put_literal(struct strbuf *out, const char *text);
/* Takes a comma away where it is the last. */
void kube_drop_comma(struct strbuf *out);

/* ---- kubernetes_container.c, kubernetes_spec.c --------------------------------------------- */

/* "containers":[..], and a comma. */
void kube_container_put(struct strbuf *out, const struct kube_attempt *attempt,
    const struct launch *launch, uint32_t rank);
/* "initContainers":[..], and a comma: one of the same image that unpacks the work directory. */
void kube_container_put_unpacking(
    struct strbuf *out, const struct kubernetes *engine, const struct launch *launch);
/* The spec of a rank's pod. To be freed. */
char *kube_spec_build(
    const struct kube_attempt *attempt, const struct launch *launch, uint32_t rank);

/* ---- kubernetes_place.c -------------------------------------------------------------------- */

/* Whether the cluster's scheduler can be told what the job says of nodes. */
MUST_CHECK int kube_place_check(
    const struct kubernetes *engine, const struct launch *launch, struct error *err);
/* Where the rank's pod may go: members of its spec, and a comma. */
void kube_place_put(struct strbuf *out, const struct kube_attempt *attempt,
    const struct launch *launch, uint32_t rank);
/* The job's labels as those of its pods, each after a comma. */
void kube_place_put_labels(struct strbuf *out, const struct launch *launch);
/* The node that muster chose for a rank; NULL: none. */
const char *kube_place_node(const struct launch *launch, uint32_t rank);
