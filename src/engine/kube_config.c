/* Reading kubeconfigs and service accounts: see kube_config.h. Only what is there for this client
 * is taken; what would change how the server is reached and is not known here is refused, since
 * leaving it out could reach another server, or the right one without checking it. */
#include "engine/kube_config.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "wire/doc.h"
#include "wire/url.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES_MAX = 256 * 1024 };

#define SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"

struct reader {
    const char *path;
    char *folder; /* of path, with its slash */
    struct kube_config *out;
};

static void wipe(char **text)
{
    if (*text)
        sodium_memzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

void kube_config_finish(struct kube_config *config)
{
    char **texts[] = {&config->server, &config->ca, &config->certificate, &config->key,
        &config->token, &config->token_file, &config->name_space};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        wipe(texts[i]);
}

static int read_text(const char *path, char **ret_text, struct error *err)
{
    size_t size;
    if (file_read(path, FILE_BYTES_MAX, ret_text, &size, err) < 0)
        return -1;
    if (strlen(*ret_text) == size)
        return 0;
    wipe(ret_text);
    return error_set(err, ERR_INVALID, "%s is no text", path);
}

static void cut_line_end(char *text)
{
    text[strcspn(text, "\r\n")] = '\0';
}

/* ---- values of a kubeconfig ---------------------------------------------------------------- */

static char *beside(const struct reader *reader, const char *path)
{
    struct strbuf whole = {0};
    strbuf_printf(&whole, "%s%s", path[0] == '/' ? "" : reader->folder, path);
    return strbuf_steal(&whole);
}

static int decode(const char *name, const char *text, char **ret_text, struct error *err)
{
    size_t room = strlen(text) + 1, length;
    SCOPED(mem_scope) char *out = mem_alloc(1, room);
    if (sodium_base642bin((unsigned char *)out, room - 1, text, strlen(text), "\n\r ", &length,
            NULL, sodium_base64_VARIANT_ORIGINAL) < 0 ||
        strlen(out) != length)
        return error_set(err, ERR_INVALID, "%s: expected a text in base64", name);
    *ret_text = out;
    out = NULL;
    return 0;
}

/* NAME-data, which wins, or the file NAME; neither leaves *ret_text as it is. */
static int take_pem(const struct reader *reader, const struct doc *map, const char *name,
    char **ret_text, struct error *err)
{
    char data_name[64];
    snprintf(data_name, sizeof data_name, "%s-data", name);
    const char *data = doc_get_string(map, data_name), *path = doc_get_string(map, name);
    if (data)
        return decode(data_name, data, ret_text, err);
    if (!path)
        return 0;
    SCOPED(mem_scope) char *whole = beside(reader, path);
    return read_text(whole, ret_text, err);
}

struct refusal {
    const char *name, *why;
};

static int refuse(
    const struct doc *map, const struct refusal *refusals, size_t count, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct doc *value = doc_get(map, refusals[i].name);
        bool is_false = value && value->type == DOC_BOOL && !value->boolean;
        if (value && value->type != DOC_NULL && !is_false)
            return error_set(err, ERR_INVALID, "%s %s", refusals[i].name, refusals[i].why);
    }
    return 0;
}

static int check_server(const char *server, struct error *err)
{
    struct url_endpoint endpoint;
    if (url_endpoint_parse(server, &endpoint, err) < 0)
        return error_prefix(err, "server");
    if (endpoint.scheme != URL_HTTPS)
        return error_set(err, ERR_INVALID,
            "server: expected https://, got %.100s: anybody on the way could read the token",
            server);
    return 0;
}

static int take_cluster(struct reader *reader, const struct doc *cluster, struct error *err)
{
    static const struct refusal refusals[] = {
        {"insecure-skip-tls-verify", "is refused: give certificate-authority-data instead"},
        {"proxy-url", "is not known here: the server has to be reachable directly"},
        {"tls-server-name", "is not known here: the certificate has to be for the server's host"},
    };
    const char *server = doc_get_string(cluster, "server");
    if (refuse(cluster, refusals, ARRAY_LEN(refusals), err) < 0)
        return -1;
    if (!server)
        return error_set(err, ERR_INVALID, "the cluster has no server");
    if (check_server(server, err) < 0)
        return -1;
    reader->out->server = mem_strdup(server);
    return take_pem(reader, cluster, "certificate-authority", &reader->out->ca, err);
}

static int take_user(struct reader *reader, const struct doc *user, struct error *err)
{
    static const struct refusal refusals[] = {
        {"exec", "is refused: no program is started for a token; use a token file"},
        {"auth-provider", "is refused: use a token file"},
        {"username", "is refused: no API server takes passwords any more"},
        {"as", "is not known here: use an account that has the rights itself"},
    };
    const char *token = doc_get_string(user, "token"), *file = doc_get_string(user, "tokenFile");
    if (refuse(user, refusals, ARRAY_LEN(refusals), err) < 0)
        return -1;
    if (token && !file)
        reader->out->token = mem_strdup(token);
    if (file)
        reader->out->token_file = beside(reader, file);
    if (take_pem(reader, user, "client-certificate", &reader->out->certificate, err) < 0 ||
        take_pem(reader, user, "client-key", &reader->out->key, err) < 0)
        return -1;
    return 0;
}

/* The map `inner` of the item of list `list` that has this name. */
static const struct doc *find_named(
    const struct doc *root, const char *list, const char *inner, const char *name)
{
    const struct doc *all = doc_get(root, list);
    if (!all || all->type != DOC_LIST || !name)
        return NULL;
    for (const struct doc *item = all->first; item; item = item->next) {
        const char *has = doc_get_string(item, "name");
        if (has && strcmp(has, name) == 0)
            return doc_get(item, inner);
    }
    return NULL;
}

static int take(
    struct reader *reader, const struct doc *root, const char *context, struct error *err)
{
    const char *name = context ? context : doc_get_string(root, "current-context");
    const struct doc *chosen = find_named(root, "contexts", "context", name);
    if (!chosen)
        return error_set(err, ERR_INVALID, "there is no context %s", name ? name : "chosen");
    const char *cluster_name = doc_get_string(chosen, "cluster");
    const char *user_name = doc_get_string(chosen, "user");
    const char *name_space = doc_get_string(chosen, "namespace");
    const struct doc *cluster = find_named(root, "clusters", "cluster", cluster_name);
    const struct doc *user = find_named(root, "users", "user", user_name);
    if (!cluster || !user)
        return error_set(err, ERR_INVALID, "the context %s names the %s %s, which is not there",
            name, cluster ? "user" : "cluster", cluster ? user_name : cluster_name);
    reader->out->name_space = mem_strdup(name_space ? name_space : "default");
    if (take_cluster(reader, cluster, err) < 0)
        return error_prefix(err, "cluster %s", cluster_name);
    if (take_user(reader, user, err) < 0)
        return error_prefix(err, "user %s", user_name);
    return 0;
}

static int load(struct reader *reader, const char *context, struct error *err)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(mem_scope) char *text = NULL;
    if (read_text(reader->path, &text, err) < 0)
        return -1;
    const struct doc *stream = doc_parse_yaml(arena, text, strlen(text), err);
    int rc = -1;
    if (stream && !stream->first)
        error_set(err, ERR_INVALID, "it is empty");
    else if (stream)
        rc = take(reader, stream->first, context, err);
    sodium_memzero(text, strlen(text));
    return rc < 0 ? error_prefix(err, "%s", reader->path) : 0;
}

int kube_config_load(
    const char *path, const char *context, struct kube_config *ret, struct error *err)
{
    struct kube_config out = {0};
    const char *slash = strrchr(path, '/');
    struct reader reader = {.path = path, .out = &out};
    reader.folder = mem_strdup(path);
    reader.folder[slash ? slash - path + 1 : 0] = '\0';
    int rc = load(&reader, context, err);
    free(reader.folder);
    if (rc == 0)
        *ret = out;
    else
        kube_config_finish(&out);
    return rc;
}

/* ---- the service account of a pod ---------------------------------------------------------- */

static int take_account(const char *folder, const char *host, const char *port,
    struct kube_config *out, struct error *err)
{
    struct strbuf path = {0};
    bool v6 = strchr(host, ':') != NULL;
    strbuf_printf(&path, "https://%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port);
    out->server = strbuf_steal(&path);
    strbuf_printf(&path, "%s/token", folder);
    out->token_file = strbuf_steal(&path);
    strbuf_printf(&path, "%s/ca.crt", folder);
    int rc = read_text(strbuf_text(&path), &out->ca, err);
    strbuf_clear(&path);
    strbuf_printf(&path, "%s/namespace", folder);
    if (rc == 0)
        rc = read_text(strbuf_text(&path), &out->name_space, err);
    strbuf_finish(&path);
    if (rc == 0)
        cut_line_end(out->name_space);
    return rc < 0 ? rc : check_server(out->server, err);
}

int kube_config_service_account(const char *folder, struct kube_config *ret, struct error *err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    struct kube_config out = {0};
    if (!host || !port)
        return error_set(err, ERR_NOT_FOUND,
            "this is no pod of Kubernetes (KUBERNETES_SERVICE_HOST is not set): name a kubeconfig");
    if (take_account(folder ? folder : SERVICE_ACCOUNT, host, port, &out, err) < 0) {
        kube_config_finish(&out);
        return error_prefix(err, "the service account of this pod");
    }
    *ret = out;
    return 0;
}
