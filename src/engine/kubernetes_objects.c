/* What an attempt is in a cluster: a pod for each rank (kubernetes_spec.c), a secret where there is
 * something to hide or to unpack, and, unless it is one pod and nothing else, a headless service
 * that owns them. Written as JSON; every text that is somebody's goes through strbuf_json. */
#include "engine/kubernetes_objects.h"

#include "base/strbuf.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECRET_BYTES_MAX = 700 * 1024 /* the API server takes 1 MiB, base64 and all */ };

/* ---- parts ---------------------------------------------------------------------------------- */

void kube_put_pair(struct strbuf *out, const char *name, const char *value)
{
    strbuf_json(out, name);
    strbuf_putc(out, ':');
    strbuf_json(out, value);
}

/* Kubernetes would put variables in for $(NAME) and make one $ of two. */
void kube_put_literal(struct strbuf *out, const char *text)
{
    struct strbuf escaped = {0};
    for (const char *c = text; *c; c++) {
        if (*c == '$')
            strbuf_putc(&escaped, '$');
        strbuf_putc(&escaped, *c);
    }
    strbuf_json(out, strbuf_text(&escaped));
    strbuf_finish(&escaped);
}

void kube_drop_comma(struct strbuf *out)
{
    if (out->length > 0 && out->text[out->length - 1] == ',')
        out->text[--out->length] = '\0';
}

/* ---- secrets -------------------------------------------------------------------------------- */

static void put_base64(struct strbuf *out, const void *bytes, size_t size)
{
    size_t room = sodium_base64_encoded_len(size, sodium_base64_VARIANT_ORIGINAL);
    char *text = mem_alloc(1, room);
    sodium_bin2base64(text, room, bytes, size, sodium_base64_VARIANT_ORIGINAL);
    strbuf_puts(out, text);
    sodium_memzero(text, room);
    free(text);
}

static int put_snapshot(struct strbuf *out, int fd, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_set_errno(err, "cannot read the work directory");
    if (st.st_size > SECRET_BYTES_MAX)
        return error_set(err, ERR_INVALID,
            "the work directory has %lld KiB, and a cluster takes %d KiB of it: put what is large "
            "into "
            "the image or on the volume of the pool's claim",
            (long long)st.st_size / 1024, SECRET_BYTES_MAX / 1024);
    SCOPED(mem_scope) char *bytes = mem_alloc(1, (size_t)st.st_size + 1);
    if (pread(fd, bytes, (size_t)st.st_size, 0) != st.st_size)
        return error_set_errno(err, "cannot read the work directory");
    strbuf_puts(out, "\"" KUBE_WORK_FILE "\":\"");
    put_base64(out, bytes, (size_t)st.st_size);
    strbuf_puts(out, "\",");
    return 0;
}

static int build_secret(
    struct kube_attempt *attempt, const struct launch *launch, struct error *err)
{
    struct strbuf data = {0}, out = {0};
    for (size_t i = 0; i < launch->secret_count; i++) {
        strbuf_printf(&data, "\"secret.%zu\":\"", i);
        put_base64(&data, launch->secrets[i].value, launch->secrets[i].size);
        strbuf_puts(&data, "\",");
    }
    int rc = launch->snapshot_fd >= 0 ? put_snapshot(&data, launch->snapshot_fd, err) : 0;
    if (rc == 0 && data.length / 4 * 3 > SECRET_BYTES_MAX)
        rc = error_set(err, ERR_INVALID,
            "the secrets and the work directory are larger than %d KiB", SECRET_BYTES_MAX / 1024);
    kube_drop_comma(&data);
    if (rc == 0 && data.length > 0)
        strbuf_printf(&out, "\"type\":\"Opaque\",\"immutable\":true,\"data\":{%s}}", data.text);
    if (data.text)
        sodium_memzero(data.text, data.length);
    strbuf_finish(&data);
    attempt->secret = out.length ? strbuf_steal(&out) : NULL;
    return rc;
}

/* ---- the whole ------------------------------------------------------------------------------ */

int kube_objects_check(
    const struct kubernetes *engine, const struct launch *launch, struct error *err)
{
    if (kube_inputs_check(engine, launch, err) < 0 || kube_place_check(engine, launch, err) < 0)
        return -1;
    if (launch->serve.on && !launch->serve.port)
        return error_set(
            err, ERR_INVALID, "a replica in a cluster listens on a port, not on a socket");
    if (launch->network == ENGINE_NETWORK_HOST && launch->serve.on)
        return error_set(err, ERR_INVALID, "a replica has a network of its own");
    return 0;
}

static const char *network_name(enum launch_network network)
{
    return network == ENGINE_NETWORK_HOST   ? "open"
           : network == ENGINE_NETWORK_GANG ? "gang"
                                            : "none";
}

static char *build_labels(const struct kube_attempt *attempt, const struct launch *launch)
{
    struct strbuf out = {0};
    strbuf_puts(&out, "\"app.kubernetes.io/managed-by\":\"muster\",");
    kube_put_pair(&out, KUBE_LABEL_OWNER, attempt->engine->owner);
    strbuf_putc(&out, ',');
    kube_put_pair(&out, KUBE_LABEL_POOL, attempt->engine->pool);
    strbuf_putc(&out, ',');
    kube_put_pair(&out, KUBE_LABEL_ATTEMPT, attempt->name);
    strbuf_putc(&out, ',');
    kube_put_pair(&out, KUBE_LABEL_TEAM, launch->team_name);
    strbuf_putc(&out, ',');
    kube_put_pair(&out, KUBE_LABEL_NETWORK, network_name(launch->network));
    if (attempt->engine->site.place == SITE_PLACE_SITE)
        kube_place_put_labels(&out, launch);
    if (launch->serve.on)
        strbuf_puts(&out, ",\"" KUBE_LABEL_SERVES "\":\"yes\"");
    return strbuf_steal(&out);
}

/* Ranks find each other by it, and it owns what there is besides pods. */
static char *build_service(const struct kube_attempt *attempt)
{
    struct strbuf out = {0};
    strbuf_printf(&out,
        "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"%s\",\"labels\":{%s}}"
        ",\"spec\":{\"clusterIP\":\"None\",\"publishNotReadyAddresses\":true,\"selector\":{\"%s\":"
        "\"%s\"},\"ports\":[{\"name\":\"master\",\"port\":%d}]}}",
        attempt->name, attempt->labels, KUBE_LABEL_ATTEMPT, attempt->name, KUBE_MASTER_PORT);
    return strbuf_steal(&out);
}

int kube_objects_build(struct kube_attempt *attempt, const struct launch *launch, struct error *err)
{
    attempt->labels = build_labels(attempt, launch);
    attempt->team = mem_strdup(launch->team_name);
    if (build_secret(attempt, launch, err) < 0)
        return -1;
    attempt->ledger.bare = launch->world_size == 1 && !attempt->secret;
    if (!attempt->ledger.bare)
        attempt->service = build_service(attempt);
    kube_inputs_take(attempt, launch);
    for (uint32_t rank = 0; rank < launch->world_size; rank++)
        attempt->ranks[rank].spec = kube_spec_build(attempt, launch, rank);
    return 0;
}

void kube_objects_drop(struct kube_attempt *attempt)
{
    char **texts[] = {&attempt->labels, &attempt->service, &attempt->secret, &attempt->team};
    if (attempt->secret)
        sodium_memzero(attempt->secret, strlen(attempt->secret));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        free(*texts[i]);
        *texts[i] = NULL;
    }
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        free(attempt->ranks[i].spec);
        attempt->ranks[i].spec = NULL;
    }
}

static void put_owner(struct strbuf *out, const struct kube_attempt *attempt)
{
    strbuf_printf(out,
        ",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"name\":\"%s\","
        "\"uid\":",
        attempt->name);
    strbuf_json(out, attempt->owner_uid);
    strbuf_puts(out, "}]");
}

void kube_objects_secret(const struct kube_attempt *attempt, struct strbuf *out)
{
    assert(attempt->secret && attempt->owner_uid[0]);
    strbuf_printf(out,
        "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"%s\",\"labels\":{%s}",
        attempt->name, attempt->labels);
    put_owner(out, attempt);
    strbuf_printf(out, "},%s", attempt->secret);
}

void kube_objects_pod(const struct kube_rank *rank, struct strbuf *out)
{
    const struct kube_attempt *attempt = rank->attempt;
    assert(rank->spec && (attempt->ledger.bare || attempt->owner_uid[0]));
    strbuf_printf(out,
        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s-%u\","
        "\"labels\":{%s,\"%s\":\"%u\"}",
        attempt->name, rank->rank, attempt->labels, KUBE_LABEL_RANK, rank->rank);
    if (!attempt->ledger.bare)
        put_owner(out, attempt);
    strbuf_printf(out, "},\"spec\":%s}", rank->spec);
}

/* What is not a replica is reached by its own team only; what has no open network reaches nothing
 * but its team and the cluster's names. */
bool kube_objects_policy(const struct kubernetes *engine, const char *team, unsigned number,
    struct strbuf *ret_name, struct strbuf *ret_text)
{
    struct strbuf peers = {0};
    if (number > 1)
        return false;
    strbuf_puts(&peers, "{\"podSelector\":{\"matchLabels\":{");
    kube_put_pair(&peers, KUBE_LABEL_OWNER, engine->owner);
    strbuf_putc(&peers, ',');
    kube_put_pair(&peers, KUBE_LABEL_TEAM, team);
    strbuf_puts(&peers, "}}}");
    strbuf_printf(ret_name, "muster-%s-%s-%s", engine->owner, team, number ? "out" : "in");
    strbuf_puts(ret_text, "{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"NetworkPolicy\","
                          "\"metadata\":{");
    kube_put_pair(ret_text, "name", ret_name->text);
    strbuf_puts(ret_text, ",\"labels\":{");
    kube_put_pair(ret_text, KUBE_LABEL_OWNER, engine->owner);
    strbuf_puts(ret_text, "}},\"spec\":{\"podSelector\":{\"matchLabels\":{");
    kube_put_pair(ret_text, KUBE_LABEL_OWNER, engine->owner);
    strbuf_putc(ret_text, ',');
    kube_put_pair(ret_text, KUBE_LABEL_TEAM, team);
    if (number == 0)
        strbuf_printf(ret_text,
            "},\"matchExpressions\":[{\"key\":\"%s\",\"operator\":\"DoesNotExist\"}]},"
            "\"policyTypes\":[\"Ingress\"],\"ingress\":[{\"from\":[%s]}]}}",
            KUBE_LABEL_SERVES, peers.text);
    else
        strbuf_printf(ret_text,
            "},\"matchExpressions\":[{\"key\":\"%s\",\"operator\":\"NotIn\",\"values\":[\"open\"]}]"
            "},"
            "\"policyTypes\":[\"Egress\"],\"egress\":[{\"to\":[%s]},"
            "{\"ports\":[{\"protocol\":\"UDP\",\"port\":53},{\"protocol\":\"TCP\",\"port\":53}]}]}"
            "}",
            KUBE_LABEL_NETWORK, peers.text);
    strbuf_finish(&peers);
    return true;
}
