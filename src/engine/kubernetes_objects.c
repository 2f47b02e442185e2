/* What an attempt is in a cluster: a headless service that owns everything else, a secret where
 * there is something to hide or to unpack, and a pod for each rank. Written as JSON; every text
 * that is somebody's goes through strbuf_json. */
#include "engine/kubernetes.h"

#include "base/strbuf.h"

#include <assert.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SECRET_BYTES_MAX = 700 * 1024, /* the API server takes 1 MiB, base64 and all */
    MASTER_PORT = 29500,
    NOBODY = 65532,
    GRACE_DEFAULT_MS = 10000,
};

#define WORK_FOLDER "/run/muster/work"
#define WORK_FILE   "work.tar"

/* ---- parts ---------------------------------------------------------------------------------- */

static void put_pair(struct strbuf *out, const char *name, const char *value)
{
    strbuf_json(out, name);
    strbuf_putc(out, ':');
    strbuf_json(out, value);
}

/* Kubernetes would put variables in for $(NAME) and make one $ of two. */
static void put_literal(struct strbuf *out, const char *text)
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

static void put_variable(struct strbuf *out, const char *name, const char *value)
{
    strbuf_puts(out, "{\"name\":");
    strbuf_json(out, name);
    strbuf_puts(out, ",\"value\":");
    put_literal(out, value);
    strbuf_puts(out, "},");
}

static void put_number(struct strbuf *out, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    put_variable(out, name, text);
}

static void put_artifact(
    struct strbuf *out, const char *prefix, const char *folder, const char *name)
{
    struct strbuf variable = {0}, path = {0};
    strbuf_puts(&variable, prefix);
    for (const char *c = name; *c; c++)
        strbuf_putc(&variable, *c >= 'a' && *c <= 'z'     ? (char)(*c - 'a' + 'A')
                               : (*c >= '0' && *c <= '9') ? *c
                                                          : '_');
    strbuf_printf(&path, "%s/%s", folder, name);
    put_variable(out, variable.text, path.text);
    strbuf_finish(&variable);
    strbuf_finish(&path);
}

static void drop_comma(struct strbuf *out)
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
    strbuf_puts(out, "\"" WORK_FILE "\":\"");
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
    drop_comma(&data);
    if (rc == 0 && data.length > 0)
        strbuf_printf(&out, "\"type\":\"Opaque\",\"immutable\":true,\"data\":{%s}}", data.text);
    if (data.text)
        sodium_memzero(data.text, data.length);
    strbuf_finish(&data);
    attempt->secret = out.length ? strbuf_steal(&out) : NULL;
    return rc;
}

/* ---- the container -------------------------------------------------------------------------- */

static void put_contract(struct strbuf *out, const struct kube_attempt *attempt,
    const struct launch *launch, uint32_t rank)
{
    const struct kubernetes *engine = attempt->engine;
    struct strbuf master = {0};
    strbuf_printf(&master, "rank-0.%s.%s.svc", attempt->name, engine->name_space);
    put_number(out, "RANK", rank);
    put_number(out, "WORLD_SIZE", launch->world_size);
    put_number(out, "LOCAL_RANK", 0);
    put_number(out, "LOCAL_WORLD_SIZE", 1);
    put_variable(out, "MASTER_ADDR", launch->world_size == 1 ? "127.0.0.1" : master.text);
    put_number(out, "MASTER_PORT", MASTER_PORT);
    put_variable(out, "MUSTER_JOB", launch->job_name);
    put_variable(out, "MUSTER_TEAM", launch->team_name);
    put_number(out, "MUSTER_ATTEMPT", launch->attempt_number);
    put_variable(out, "MUSTER_CHECKPOINT_DIR", "/checkpoint");
    put_variable(out, "MUSTER_METRICS", "/run/muster/job/metrics");
    put_variable(out, "MUSTER_COMPLETE", "/run/muster/job/complete");
    for (size_t i = 0; i < launch->input_count; i++)
        put_artifact(out, "MUSTER_INPUT_", ENGINE_INPUTS_PATH, launch->inputs[i].name);
    for (size_t i = 0; i < launch->output_count; i++)
        put_artifact(out, "MUSTER_OUTPUT_", ENGINE_OUTPUTS_PATH, launch->outputs[i]);
    if (launch->serve.on)
        put_number(out, "MUSTER_PORT", launch->serve.port);
    strbuf_finish(&master);
}

/* What a job says itself comes first, so that what the contract says wins. */
static void put_environment(struct strbuf *out, const struct kube_attempt *attempt,
    const struct launch *launch, uint32_t rank)
{
    strbuf_puts(out, "\"env\":[");
    put_variable(out, "HOME", "/work");
    put_variable(out, "TMPDIR", "/tmp");
    put_variable(out, "PYTHONUNBUFFERED", "1");
    if (launch->cpu_milli)
        put_number(out, "OMP_NUM_THREADS", (launch->cpu_milli + 999) / 1000);
    for (size_t i = 0; i < launch->variable_count; i++)
        put_variable(out, launch->variables[i].name, launch->variables[i].value);
    for (size_t i = 0; i < launch->secret_count; i++) {
        const struct launch_secret *secret = &launch->secrets[i];
        struct strbuf path = {0};
        strbuf_printf(&path, "/run/secrets/%s", secret->name);
        if (secret->as_file) {
            put_variable(out, secret->name, path.text);
        } else {
            strbuf_puts(out, "{\"name\":");
            strbuf_json(out, secret->name);
            strbuf_printf(out,
                ",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"%s\",\"key\":\"secret.%zu\"}}},",
                attempt->name, i);
        }
        strbuf_finish(&path);
    }
    put_contract(out, attempt, launch, rank);
    drop_comma(out);
    strbuf_puts(out, "],");
}

/* The name of the resource of an accelerator type: those of the makers' device plugins, or the name
 * itself where it says a domain ("nvidia.com/mig-1g.5gb"). */
static const char *resource_name(const char *type)
{
    static const struct {
        const char *type, *resource;
    } known[] = {
        {"nvidia", "nvidia.com/gpu"}, {"amd", "amd.com/gpu"}, {"intel", "gpu.intel.com/i915"}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcmp(type, known[i].type) == 0)
            return known[i].resource;
    }
    return type;
}

static size_t devices_of_rank(const struct launch *launch, uint32_t rank)
{
    for (size_t i = 0; i < launch->placement_count; i++) {
        const struct launch_placement *place = &launch->placements[i];
        if (rank >= place->first_rank && rank < place->first_rank + place->ranks)
            return place->device_count / place->ranks;
    }
    return 0;
}

static void put_resources(struct strbuf *out, const struct launch *launch, uint32_t rank)
{
    struct strbuf limits = {0};
    size_t devices = devices_of_rank(launch, rank);
    if (launch->memory_bytes)
        strbuf_printf(&limits, "\"memory\":\"%" PRIu64 "\",", launch->memory_bytes);
    if (launch->disk_bytes)
        strbuf_printf(&limits, "\"ephemeral-storage\":\"%" PRIu64 "\",", launch->disk_bytes);
    if (devices > 0 && launch->accelerator_type) {
        strbuf_json(&limits, resource_name(launch->accelerator_type));
        strbuf_printf(&limits, ":\"%zu\",", devices);
    }
    strbuf_printf(out, "\"resources\":{\"requests\":{%s\"cpu\":\"%" PRIu64 "m\"}",
        strbuf_text(&limits), launch->cpu_milli ? launch->cpu_milli : 10);
    drop_comma(&limits);
    if (limits.length > 0)
        strbuf_printf(out, ",\"limits\":{%s}", limits.text);
    strbuf_puts(out, "},");
    strbuf_finish(&limits);
}

/* ---- volumes -------------------------------------------------------------------------------- */

static void put_mount(struct strbuf *out, const char *volume, const char *path, const char *more)
{
    strbuf_printf(out, "{\"name\":\"%s\",", volume);
    put_pair(out, "mountPath", path);
    strbuf_printf(out, "%s},", more);
}

/* A folder of the job on the claim's volume, the same for every attempt. */
static void put_kept(
    struct strbuf *out, const char *path, uint64_t job, const char *name, const char *part)
{
    struct strbuf more = {0}, sub = {0};
    strbuf_printf(&sub, "jobs/%016" PRIx64 "/%s%s%s", job, name, part ? "/" : "", part ? part : "");
    strbuf_puts(&more, ",");
    put_pair(&more, "subPath", sub.text);
    put_mount(out, "kept", path, more.text);
    strbuf_finish(&more);
    strbuf_finish(&sub);
}

/* The folder of an input as the claim's volume has it; NULL: it is not there. To be freed. */
static char *path_on_volume(const struct kubernetes *engine, const char *folder)
{
    size_t length = engine->volume && engine->site.claim ? strlen(engine->volume) : 0;
    char *real = length ? realpath(folder, NULL) : NULL;
    bool inside = real && strncmp(real, engine->volume, length) == 0 && real[length] == '/';
    char *path = inside ? mem_strdup(real + length + 1) : NULL;
    free(real);
    return path;
}

static void put_inputs(
    struct strbuf *out, const struct kubernetes *engine, const struct launch *launch)
{
    for (size_t i = 0; i < launch->input_count; i++) {
        struct strbuf path = {0}, more = {0};
        SCOPED(mem_scope) char *sub = path_on_volume(engine, launch->inputs[i].folder);
        if (!sub)
            continue;
        strbuf_printf(&path, "%s/%s", ENGINE_INPUTS_PATH, launch->inputs[i].name);
        strbuf_puts(&more, ",\"readOnly\":true,");
        put_pair(&more, "subPath", sub);
        put_mount(out, "kept", path.text, more.text);
        strbuf_finish(&path);
        strbuf_finish(&more);
    }
}

static void put_mounts(
    struct strbuf *out, const struct kube_attempt *attempt, const struct launch *launch)
{
    bool kept = attempt->engine->site.claim != NULL;
    uint64_t output_job = launch->output_job ? launch->output_job : launch->job;
    strbuf_puts(out, "\"volumeMounts\":[");
    put_mount(out, "scratch", "/tmp", ",\"subPath\":\"tmp\"");
    put_mount(out, "scratch", "/work", ",\"subPath\":\"work\"");
    put_mount(out, "scratch", "/run/muster/job", ",\"subPath\":\"job\"");
    put_mount(out, "memory", "/dev/shm", "");
    if (kept)
        put_kept(out, "/checkpoint", launch->job, "checkpoint", NULL);
    else
        put_mount(out, "scratch", "/checkpoint", ",\"subPath\":\"checkpoint\"");
    put_inputs(out, attempt->engine, launch);
    for (size_t i = 0; i < launch->output_count; i++) {
        struct strbuf path = {0}, name = {0};
        strbuf_printf(&path, "%s/%s", ENGINE_OUTPUTS_PATH, launch->outputs[i]);
        strbuf_printf(&name, "output/%s", launch->outputs[i]);
        if (kept)
            put_kept(out, path.text, output_job, name.text, launch->output_part);
        else
            put_mount(out, "scratch", path.text, ",\"subPath\":\"output\"");
        strbuf_finish(&path);
        strbuf_finish(&name);
    }
    for (size_t i = 0; i < launch->secret_count; i++) {
        if (!launch->secrets[i].as_file)
            continue;
        put_mount(out, "secrets", "/run/secrets", ",\"readOnly\":true");
        break;
    }
    drop_comma(out);
    strbuf_puts(out, "],");
}

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
        put_pair(&items, "path", launch->secrets[i].name);
        strbuf_puts(&items, "},");
    }
    drop_comma(&items);
    if (files > 0)
        strbuf_printf(out,
            "{\"name\":\"secrets\",\"secret\":{\"secretName\":\"%s\",\"defaultMode\":288,"
            "\"items\":[%s]}},",
            attempt->name, items.text);
    if (launch->snapshot_fd >= 0)
        strbuf_printf(out,
            "{\"name\":\"snapshot\",\"secret\":{\"secretName\":\"%s\",\"defaultMode\":288,"
            "\"items\":[{\"key\":\"" WORK_FILE "\",\"path\":\"" WORK_FILE "\"}]}},",
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
        put_pair(out, "claimName", attempt->engine->site.claim);
        strbuf_puts(out, "}},");
    }
    put_secret_volume(out, attempt, launch);
    drop_comma(out);
    strbuf_puts(out, "],");
}

/* ---- the pod -------------------------------------------------------------------------------- */

static const char confined[] =
    "\"securityContext\":{\"allowPrivilegeEscalation\":false,\"readOnlyRootFilesystem\":true,"
    "\"privileged\":false,\"capabilities\":{\"drop\":[\"ALL\"]}},";

static const char *image_of(const struct kubernetes *engine, const struct launch *launch)
{
    return launch->image ? launch->image : engine->site.image;
}

/* A container of the same image that unpacks the work directory, before the job starts. */
static void put_unpacking(
    struct strbuf *out, const struct kubernetes *engine, const struct launch *launch)
{
    strbuf_puts(out, "\"initContainers\":[{\"name\":\"work\",");
    put_pair(out, "image", image_of(engine, launch));
    strbuf_printf(out,
        ",\"command\":[\"tar\",\"-xf\",\"%s/%s\",\"-C\",\"/work\"],%s"
        "\"volumeMounts\":[{\"name\":\"scratch\",\"mountPath\":\"/work\",\"subPath\":\"work\"},"
        "{\"name\":\"snapshot\",\"mountPath\":\"%s\",\"readOnly\":true}]}],",
        WORK_FOLDER, WORK_FILE, confined, WORK_FOLDER);
}

static void put_container(struct strbuf *out, const struct kube_attempt *attempt,
    const struct launch *launch, uint32_t rank)
{
    strbuf_puts(out, "\"containers\":[{\"name\":\"job\",");
    put_pair(out, "image", image_of(attempt->engine, launch));
    strbuf_puts(out, ",\"command\":[");
    for (size_t i = 0; launch->argv[i]; i++) {
        strbuf_puts(out, i ? "," : "");
        put_literal(out, launch->argv[i]);
    }
    strbuf_puts(out, "],");
    strbuf_puts(out, confined);
    put_environment(out, attempt, launch, rank);
    put_resources(out, launch, rank);
    put_mounts(out, attempt, launch);
    if (launch->serve.on)
        strbuf_printf(out,
            "\"ports\":[{\"containerPort\":%u}],\"readinessProbe\":{\"tcpSocket\":{\"port\":%u},"
            "\"periodSeconds\":1,\"failureThreshold\":30},",
            launch->serve.port, launch->serve.port);
    strbuf_puts(out, "\"workingDir\":\"/work");
    if (launch->work_subfolder)
        strbuf_printf(out, "/%s", launch->work_subfolder);
    strbuf_puts(out, "\"}],");
}

static const char *node_of_rank(const struct launch *launch, uint32_t rank)
{
    for (size_t i = 0; i < launch->placement_count; i++) {
        const struct launch_placement *place = &launch->placements[i];
        if (rank >= place->first_rank && rank < place->first_rank + place->ranks)
            return place->node;
    }
    return NULL;
}

/* ---- where it goes --------------------------------------------------------------------------- */

/* A taint that is tolerated is so whatever its effect. value NULL: any. */
static void put_toleration(struct strbuf *out, const char *key, const char *value)
{
    strbuf_putc(out, '{');
    put_pair(out, "key", key);
    strbuf_printf(out, ",\"operator\":\"%s\"", value ? "Equal" : "Exists");
    if (value) {
        strbuf_putc(out, ',');
        put_pair(out, "value", value);
    }
    strbuf_puts(out, "},");
}

static void put_tolerations(
    struct strbuf *out, const struct kubernetes *engine, const struct launch *launch)
{
    const char *key, *value;
    if (!engine->spot && launch->toleration_count == 0)
        return;
    strbuf_puts(out, "\"tolerations\":[");
    for (size_t i = 0; i < launch->toleration_count; i++)
        put_toleration(out, launch->tolerations[i].key, launch->tolerations[i].value);
    for (size_t i = 0; engine->spot && (key = kube_site_spot_marker(i, &value)); i++)
        put_toleration(out, key, NULL);
    drop_comma(out);
    strbuf_puts(out, "],");
}

static void put_requirement(
    struct strbuf *out, const char *key, const char *operation, const char *value)
{
    strbuf_putc(out, '{');
    put_pair(out, "key", key);
    strbuf_printf(out, ",\"operator\":\"%s\",\"values\":[", operation);
    strbuf_json(out, value);
    strbuf_puts(out, "]}");
}

/* The cluster's own scheduler keeps to the nodes of the pool: one marker makes a spot node, and a
 * node of another pool has none. */
static void put_affinity(struct strbuf *out, bool spot)
{
    const char *key, *value;
    strbuf_puts(out, "\"affinity\":{\"nodeAffinity\":{"
                     "\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":["
                     "{\"matchExpressions\":[");
    for (size_t i = 0; (key = kube_site_spot_marker(i, &value)); i++) {
        if (i > 0)
            strbuf_puts(out, spot ? "]},{\"matchExpressions\":[" : ",");
        put_requirement(out, key, spot ? "In" : "NotIn", value);
    }
    strbuf_puts(out, "]}]}}},");
}

static void put_place(
    struct strbuf *out, const struct kubernetes *engine, const struct launch *launch, uint32_t rank)
{
    const char *node = engine->site.place == SITE_PLACE_MUSTER ? node_of_rank(launch, rank) : NULL;
    put_tolerations(out, engine, launch);
    if (!node) {
        put_affinity(out, engine->spot);
        return;
    }
    put_pair(out, "nodeName", node);
    strbuf_putc(out, ',');
}

static void put_person(struct strbuf *out, const struct launch *launch)
{
    unsigned uid = launch->uid ? launch->uid : NOBODY, gid = launch->gid ? launch->gid : NOBODY;
    strbuf_printf(out,
        "\"securityContext\":{\"runAsNonRoot\":true,\"runAsUser\":%u,\"runAsGroup\":%u,\"fsGroup\":"
        "%u,"
        "\"seccompProfile\":{\"type\":\"RuntimeDefault\"}},",
        uid, gid, gid);
}

static char *build_spec(
    const struct kube_attempt *attempt, const struct launch *launch, uint32_t rank)
{
    const struct kubernetes_site *site = &attempt->engine->site;
    struct strbuf out = {0};
    uint64_t grace_ms = launch->grace_ms ? launch->grace_ms : GRACE_DEFAULT_MS;
    strbuf_printf(&out,
        "{\"restartPolicy\":\"Never\",\"automountServiceAccountToken\":false,"
        "\"enableServiceLinks\":false,\"shareProcessNamespace\":true,"
        "\"terminationGracePeriodSeconds\":%" PRIu64
        ",\"hostname\":\"rank-%u\",\"subdomain\":\"%s\",",
        (grace_ms + 999) / 1000, rank, attempt->name);
    put_place(&out, attempt->engine, launch, rank);
    if (launch->time_limit_ms)
        strbuf_printf(
            &out, "\"activeDeadlineSeconds\":%" PRIu64 ",", (launch->time_limit_ms + 999) / 1000);
    if (site->pull_secret) {
        strbuf_puts(&out, "\"imagePullSecrets\":[{");
        put_pair(&out, "name", site->pull_secret);
        strbuf_puts(&out, "}],");
    }
    put_person(&out, launch);
    put_volumes(&out, attempt, launch);
    if (launch->snapshot_fd >= 0)
        put_unpacking(&out, attempt->engine, launch);
    put_container(&out, attempt, launch, rank);
    drop_comma(&out);
    strbuf_putc(&out, '}');
    return strbuf_steal(&out);
}

/* ---- the whole ------------------------------------------------------------------------------ */

static int check_inputs(
    const struct kubernetes *engine, const struct launch *launch, struct error *err)
{
    for (size_t i = 0; i < launch->input_count; i++) {
        const struct launch_input *input = &launch->inputs[i];
        SCOPED(mem_scope) char *path = path_on_volume(engine, input->folder);
        if (!path && !input->optional)
            return error_set(err, ERR_INVALID,
                "the input %s is in %.200s, which pods do not see: have the server's data "
                "directory "
                "on the volume of the pool's claim, and say in spec.kubernetes.folder where that "
                "volume is",
                input->name, input->folder);
    }
    return 0;
}

int kube_objects_check(
    const struct kubernetes *engine, const struct launch *launch, struct error *err)
{
    if (check_inputs(engine, launch, err) < 0)
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
    put_pair(&out, KUBE_LABEL_OWNER, attempt->engine->owner);
    strbuf_putc(&out, ',');
    put_pair(&out, KUBE_LABEL_POOL, attempt->engine->pool);
    strbuf_putc(&out, ',');
    put_pair(&out, KUBE_LABEL_ATTEMPT, attempt->name);
    strbuf_putc(&out, ',');
    put_pair(&out, KUBE_LABEL_TEAM, launch->team_name);
    strbuf_putc(&out, ',');
    put_pair(&out, KUBE_LABEL_NETWORK, network_name(launch->network));
    if (launch->serve.on)
        strbuf_puts(&out, ",\"" KUBE_LABEL_SERVES "\":\"yes\"");
    return strbuf_steal(&out);
}

int kube_objects_build(struct kube_attempt *attempt, const struct launch *launch, struct error *err)
{
    struct strbuf out = {0};
    attempt->labels = build_labels(attempt, launch);
    attempt->team = mem_strdup(launch->team_name);
    strbuf_printf(&out,
        "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"%s\",\"labels\":{%s}}"
        ","
        "\"spec\":{\"clusterIP\":\"None\",\"publishNotReadyAddresses\":true,\"selector\":{\"%s\":"
        "\"%s\"},"
        "\"ports\":[{\"name\":\"master\",\"port\":%d}]}}",
        attempt->name, attempt->labels, KUBE_LABEL_ATTEMPT, attempt->name, MASTER_PORT);
    attempt->service = strbuf_steal(&out);
    if (build_secret(attempt, launch, err) < 0)
        return -1;
    for (uint32_t rank = 0; rank < launch->world_size; rank++)
        attempt->ranks[rank].spec = build_spec(attempt, launch, rank);
    return 0;
}

void kube_objects_pod(const struct kube_rank *rank, struct strbuf *out)
{
    const struct kube_attempt *attempt = rank->attempt;
    assert(rank->spec && attempt->owner_uid[0]);
    strbuf_printf(out,
        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s-%u\","
        "\"labels\":{%s,\"%s\":\"%u\"},\"ownerReferences\":[{\"apiVersion\":\"v1\","
        "\"kind\":\"Service\",\"name\":\"%s\",\"uid\":",
        attempt->name, rank->rank, attempt->labels, KUBE_LABEL_RANK, rank->rank, attempt->name);
    strbuf_json(out, attempt->owner_uid);
    strbuf_printf(out, "}]},\"spec\":%s}", rank->spec);
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
    put_pair(&peers, KUBE_LABEL_OWNER, engine->owner);
    strbuf_putc(&peers, ',');
    put_pair(&peers, KUBE_LABEL_TEAM, team);
    strbuf_puts(&peers, "}}}");
    strbuf_printf(ret_name, "muster-%s-%s-%s", engine->owner, team, number ? "out" : "in");
    strbuf_puts(ret_text, "{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"NetworkPolicy\","
                          "\"metadata\":{");
    put_pair(ret_text, "name", ret_name->text);
    strbuf_puts(ret_text, "},\"spec\":{\"podSelector\":{\"matchLabels\":{");
    put_pair(ret_text, KUBE_LABEL_OWNER, engine->owner);
    strbuf_putc(ret_text, ',');
    put_pair(ret_text, KUBE_LABEL_TEAM, team);
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
