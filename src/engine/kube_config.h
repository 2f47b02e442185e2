/* How an API server of Kubernetes is reached, and as whom: a kubeconfig, or the service account of
 * the pod that this program runs in. */
#pragma once

#include "base/error.h"

struct kube_config {
    char *server;      /* "https://host:port" */
    char *ca;          /* PEM; NULL: the system's authorities */
    char *certificate; /* of the client, PEM, with its key; NULL: none */
    char *key;
    char *token;      /* NULL: none, or in a file */
    char *token_file; /* read again when it changes; NULL: none */
    char *name_space; /* never NULL */
};

/* Reads a kubeconfig: YAML of at most 256 KiB, whose files may be named relative to it. context
 * NULL: the current one. What would not be safe (no verification, plain HTTP) or needs another
 * program (exec, auth-provider) is refused. ERR_NOT_FOUND, ERR_INVALID. ret is to be finished. */
MUST_CHECK int kube_config_load(
    const char *path, const char *context, struct kube_config *ret, struct error *err);
/* The service account in folder (NULL: where Kubernetes mounts it), and the server that the
 * variables KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT name. ERR_NOT_FOUND: this is no
 * pod. */
MUST_CHECK int kube_config_service_account(
    const char *folder, struct kube_config *ret, struct error *err);
/* Wipes and frees what it holds. */
void kube_config_finish(struct kube_config *config);
