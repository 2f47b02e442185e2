/* The spec of a rank's pod: whose it is, its volumes, and the rest together. Written as JSON; every
 * text that is somebody's goes through strbuf_json. */
#include "engine/kubernetes_objects.h"

#include "base/strbuf.h"

#include <inttypes.h>

enum { NOBODY = 65532, GRACE_DEFAULT_MS = 10000 };

/* ---- volumes -------------------------------------------------------------------------------- */

static void put_secret_volume(
    struct strbuf *out, const struct kube_attempt *attempt, const struct launch *launch)
{
    size_t files = 0;
    struct strbuf items = {0};
    for (size_t i = 0; i < launch->secret_count; i++) {
        if (!launch->secrets[i].as_file)
            continue;
        files++;
        strbuf_printf(&items, "{\"key\":\"secret.%zu\",", i);
        kube_put_pair(&items, "path", launch->secrets[i].name);
        strbuf_puts(&items, "},");
    }
    kube_drop_comma(&items);
    if (files > 0)
        strbuf_printf(out,
            "{\"name\":\"secrets\",\"secret\":{\"secretName\":\"%s\",\"defaultMode\":288,"
            "\"items\":[%s]}},",
            attempt->name, items.text);
    if (launch->snapshot_fd >= 0)
        strbuf_printf(out,
            "{\"name\":\"snapshot\",\"secret\":{\"secretName\":\"%s\",\"defaultMode\":288,"
            "\"items\":[{\"key\":\"" KUBE_WORK_FILE "\",\"path\":\"" KUBE_WORK_FILE "\"}]}},",
            attempt->name);
    strbuf_finish(&items);
}

static void put_volumes(
    struct strbuf *out, const struct kube_attempt *attempt, const struct launch *launch)
{
    strbuf_puts(out, "\"volumes\":[{\"name\":\"scratch\",\"emptyDir\":{}},"
                     "{\"name\":\"memory\",\"emptyDir\":{\"medium\":\"Memory\"}},");
    if (attempt->engine->site.claim) {
        strbuf_puts(out, "{\"name\":\"kept\",\"persistentVolumeClaim\":{");
        kube_put_pair(out, "claimName", attempt->engine->site.claim);
        strbuf_puts(out, "}},");
    }
    put_secret_volume(out, attempt, launch);
    kube_drop_comma(out);
    strbuf_puts(out, "],");
}

/* ---- the spec -------------------------------------------------------------------------------- */

static void put_person(struct strbuf *out, const struct launch *launch)
{
    unsigned uid = launch->uid ? launch->uid : NOBODY, gid = launch->gid ? launch->gid : NOBODY;
    strbuf_printf(out,
        "\"securityContext\":{\"runAsNonRoot\":true,\"runAsUser\":%u,\"runAsGroup\":%u,\"fsGroup\":"
        "%u,"
        "\"seccompProfile\":{\"type\":\"RuntimeDefault\"}},",
        uid, gid, gid);
}

char *kube_spec_build(
    const struct kube_attempt *attempt, const struct launch *launch, uint32_t rank)
{
    const struct kubernetes_site *site = &attempt->engine->site;
    struct strbuf out = {0};
    uint64_t grace_ms = launch->grace_ms ? launch->grace_ms : GRACE_DEFAULT_MS;
    strbuf_printf(&out,
        "{\"restartPolicy\":\"Never\",\"automountServiceAccountToken\":false,"
        "\"enableServiceLinks\":false,\"shareProcessNamespace\":true,"
        "\"terminationGracePeriodSeconds\":%" PRIu64 ",\"hostname\":\"rank-%u\",",
        (grace_ms + 999) / 1000, rank);
    if (!attempt->ledger.bare)
        strbuf_printf(&out, "\"subdomain\":\"%s\",", attempt->name);
    kube_place_put(&out, attempt, launch, rank);
    if (launch->time_limit_ms)
        strbuf_printf(
            &out, "\"activeDeadlineSeconds\":%" PRIu64 ",", (launch->time_limit_ms + 999) / 1000);
    if (site->pull_secret) {
        strbuf_puts(&out, "\"imagePullSecrets\":[{");
        kube_put_pair(&out, "name", site->pull_secret);
        strbuf_puts(&out, "}],");
    }
    put_person(&out, launch);
    put_volumes(&out, attempt, launch);
    if (launch->snapshot_fd >= 0)
        kube_container_put_unpacking(&out, attempt->engine, launch);
    kube_container_put(&out, attempt, launch, rank);
    kube_drop_comma(&out);
    strbuf_putc(&out, '}');
    return strbuf_steal(&out);
}
