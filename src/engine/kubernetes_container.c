/* The containers of a pod: the job's, and the one that unpacks its work directory. Written as JSON;
 * every text that is somebody's goes through strbuf_json. */
#include "engine/kubernetes_objects.h"

#include "base/strbuf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORK_FOLDER "/run/muster/work"

/* ---- its environment ---------------------------------------------------------------------------
 */

static void put_variable(struct strbuf *out, const char *name, const char *value)
{
    strbuf_puts(out, "{\"name\":");
    strbuf_json(out, name);
    strbuf_puts(out, ",\"value\":");
    kube_put_literal(out, value);
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
    put_number(out, "MASTER_PORT", KUBE_MASTER_PORT);
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
    kube_drop_comma(out);
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
    kube_drop_comma(&limits);
    if (limits.length > 0)
        strbuf_printf(out, ",\"limits\":{%s}", limits.text);
    strbuf_puts(out, "},");
    strbuf_finish(&limits);
}

/* ---- what is mounted ----------------------------------------------------------------------------
 */

static void put_mount(struct strbuf *out, const char *volume, const char *path, const char *more)
{
    strbuf_printf(out, "{\"name\":\"%s\",", volume);
    kube_put_pair(out, "mountPath", path);
    strbuf_printf(out, "%s},", more);
}

/* A folder of the job on the claim's volume, the same for every attempt. */
static void put_kept(
    struct strbuf *out, const char *path, uint64_t job, const char *name, const char *part)
{
    struct strbuf more = {0}, sub = {0};
    strbuf_printf(&sub, "jobs/%016" PRIx64 "/%s%s%s", job, name, part ? "/" : "", part ? part : "");
    strbuf_puts(&more, ",");
    kube_put_pair(&more, "subPath", sub.text);
    put_mount(out, "kept", path, more.text);
    strbuf_finish(&more);
    strbuf_finish(&sub);
}

static void put_inputs(
    struct strbuf *out, const struct kubernetes *engine, const struct launch *launch)
{
    for (size_t i = 0; i < launch->input_count; i++) {
        struct strbuf path = {0}, more = {0};
        SCOPED(mem_scope) char *sub = kube_inputs_path(engine, launch->inputs[i].folder);
        if (!sub)
            continue;
        strbuf_printf(&path, "%s/%s", ENGINE_INPUTS_PATH, launch->inputs[i].name);
        strbuf_puts(&more, ",\"readOnly\":true,");
        kube_put_pair(&more, "subPath", sub);
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
    kube_drop_comma(out);
    strbuf_puts(out, "],");
}

/* ---- the containers
 * ------------------------------------------------------------------------------- */

static const char confined[] =
    "\"securityContext\":{\"allowPrivilegeEscalation\":false,\"readOnlyRootFilesystem\":true,"
    "\"privileged\":false,\"capabilities\":{\"drop\":[\"ALL\"]}},";

static const char *image_of(const struct kubernetes *engine, const struct launch *launch)
{
    return launch->image ? launch->image : engine->site.image;
}

/* A container of the same image that unpacks the work directory, before the job starts. */
void kube_container_put_unpacking(
    struct strbuf *out, const struct kubernetes *engine, const struct launch *launch)
{
    strbuf_puts(out, "\"initContainers\":[{\"name\":\"work\",");
    kube_put_pair(out, "image", image_of(engine, launch));
    strbuf_printf(out,
        ",\"command\":[\"tar\",\"-xf\",\"%s/%s\",\"-C\",\"/work\"],%s"
        "\"volumeMounts\":[{\"name\":\"scratch\",\"mountPath\":\"/work\",\"subPath\":\"work\"},"
        "{\"name\":\"snapshot\",\"mountPath\":\"%s\",\"readOnly\":true}]}],",
        WORK_FOLDER, KUBE_WORK_FILE, confined, WORK_FOLDER);
}

void kube_container_put(struct strbuf *out, const struct kube_attempt *attempt,
    const struct launch *launch, uint32_t rank)
{
    strbuf_puts(out, "\"containers\":[{\"name\":\"job\",");
    kube_put_pair(out, "image", image_of(attempt->engine, launch));
    strbuf_puts(out, ",\"command\":[");
    for (size_t i = 0; launch->argv[i]; i++) {
        strbuf_puts(out, i ? "," : "");
        kube_put_literal(out, launch->argv[i]);
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
