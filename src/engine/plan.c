/* The plan: see plan.h. What a job finds in its environment is decided here: defaults first, then
 * what the job asked for, then what muster promises, which a job cannot override. */
#include "engine/plan.h"

#include "base/memory.h"
#include "engine/sandbox.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The disk limit is kept by looking; the limit of one file only bounds what a job can write
 * between two looks, so it leaves room for the look to find the limit passed. */
enum { FILES_OPEN_MAX = 65536, PROCESSES_MAX = 16384, FILE_SIZE_ROOM = 1 << 20 };

static void put_variable(struct strbuf *out, const char *name, const char *value)
{
    SCOPED(strbuf_finish) struct strbuf text = {0};
    strbuf_printf(&text, "%s=%s", name, value);
    record_put(out, "env", strbuf_text(&text));
}

static void put_variable_number(struct strbuf *out, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    put_variable(out, name, text);
}

static void put_defaults(struct strbuf *out, const struct launch *launch)
{
    static const struct launch_variable defaults[] = {
        {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        {"HOME", SANDBOX_WORK}, {"USER", "job"}, {"LOGNAME", "job"}, {"SHELL", "/bin/sh"},
        {"LANG", "C.UTF-8"}, {"TMPDIR", "/tmp"},
        {"PYTHONUNBUFFERED", "1"}, /* a log followed live is of no use when it comes late */
    };
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
        put_variable(out, defaults[i].name, defaults[i].value);
    if (launch->cpu_milli)
        put_variable_number(out, "OMP_NUM_THREADS", (launch->cpu_milli + 999) / 1000);
}

static void put_secrets(struct strbuf *out, const struct record *secrets)
{
    for (size_t i = 0; i + 1 < secrets->count; i++) {
        const struct record_field *field = &secrets->fields[i];
        const struct record_field *content = &secrets->fields[i + 1];
        if (strcmp(content->name, "content") != 0)
            continue;
        if (!strcmp(field->name, "variable"))
            put_variable(out, field->value, content->value);
        if (strcmp(field->name, "file") != 0)
            continue;
        char path[512];
        snprintf(path, sizeof path, SANDBOX_SECRETS "/%s", field->value);
        put_variable(out, field->value, path);
        record_put(out, "secret", field->value);
        record_put_bytes(out, "content", content->value, content->size);
    }
}

static void put_artifact(
    struct strbuf *out, const char *prefix, const char *folder, const char *name)
{
    SCOPED(strbuf_finish) struct strbuf variable = {0};
    SCOPED(strbuf_finish) struct strbuf path = {0};
    launch_artifact_variable(&variable, prefix, name);
    strbuf_printf(&path, "%s/%s", folder, name);
    put_variable(out, strbuf_text(&variable), strbuf_text(&path));
}

static void put_contract(struct strbuf *out, const struct plan_input *input)
{
    const struct launch *launch = input->launch;
    put_variable(out, "MASTER_ADDR", "127.0.0.1");
    put_variable_number(out, "MASTER_PORT", input->master_port);
    put_variable_number(out, "WORLD_SIZE", launch->world_size);
    put_variable_number(out, "LOCAL_WORLD_SIZE", input->place->ranks);
    put_variable(out, "MUSTER_CHECKPOINT_DIR", SANDBOX_CHECKPOINT);
    put_variable(out, "MUSTER_METRICS", SANDBOX_METRICS);
    put_variable(out, "MUSTER_COMPLETE", SANDBOX_COMPLETE);
    put_variable(out, "MUSTER_JOB", launch->job_name);
    put_variable(out, "MUSTER_TEAM", launch->team_name);
    put_variable_number(out, "MUSTER_ATTEMPT", launch->attempt_number);
    for (size_t i = 0; i < launch->input_count; i++)
        put_artifact(out, "MUSTER_INPUT_", SANDBOX_INPUTS, launch->inputs[i].name);
    for (size_t i = 0; i < launch->output_count; i++)
        put_artifact(out, "MUSTER_OUTPUT_", SANDBOX_OUTPUTS, launch->outputs[i]);
    if (launch->serve.on)
        put_variable(out, "MUSTER_SOCKET", SANDBOX_SOCKET);
    if (launch->serve.port)
        put_variable_number(out, "MUSTER_PORT", launch->serve.port);
}

/* The devices of one rank as "0,1": its even share of the placement's, or all of them. */
static void put_devices(struct strbuf *out, const struct plan_input *input, uint32_t local_rank)
{
    static const char *const names[] = {"CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"};
    const struct launch_placement *place = input->place;
    size_t share = place->device_count / place->ranks;
    size_t first = share ? share * local_rank : 0;
    SCOPED(strbuf_finish) struct strbuf list = {0};
    for (size_t i = 0; i < (share ? share : place->device_count); i++)
        strbuf_printf(&list, "%s%u", i ? "," : "", place->devices[first + i]);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        put_variable(out, names[i], strbuf_text(&list));
}

/* The rank's part of the attempt's cores: as many for each, in order. */
static void put_cores(struct strbuf *out, const struct plan_input *input, uint32_t local_rank)
{
    size_t share = input->cores->count / input->place->ranks;
    SCOPED(strbuf_finish) struct strbuf list = {0};
    if (share == 0)
        return;
    cores_print(&list, input->cores->numbers + share * local_rank, share);
    record_put(out, "cores", strbuf_text(&list));
}

static void put_rank(struct strbuf *out, const struct plan_input *input, uint32_t local_rank)
{
    uint32_t rank = input->place->first_rank + local_rank;
    record_put_number(out, "rank", rank);
    record_put_number(out, "out", (uint64_t)input->streams->out[local_rank]);
    record_put_number(out, "err", (uint64_t)input->streams->err[local_rank]);
    put_cores(out, input, local_rank);
    put_variable_number(out, "RANK", rank);
    put_variable_number(out, "LOCAL_RANK", local_rank);
    put_devices(out, input, local_rank);
}

void plan_encode(struct strbuf *out, const struct plan_input *input)
{
    const struct launch *launch = input->launch;
    assert(input->place->ranks <= ENGINE_RANKS_MAX);
    if (launch->disk_bytes)
        record_put_number(out, "fsize", launch->disk_bytes * input->place->ranks + FILE_SIZE_ROOM);
    record_put_number(out, "nofile", FILES_OPEN_MAX);
    record_put_number(out, "nproc", PROCESSES_MAX);
    if (launch->serve.port)
        record_put_number(out, "relay_port", launch->serve.port);
    SCOPED(strbuf_finish) struct strbuf folder = {0};
    strbuf_printf(
        &folder, SANDBOX_WORK "/%s", launch->work_subfolder ? launch->work_subfolder : "");
    record_put(out, "folder", strbuf_text(&folder));
    for (size_t i = 0; launch->argv[i]; i++)
        record_put(out, "argument", launch->argv[i]);
    put_defaults(out, launch);
    for (size_t i = 0; i < launch->variable_count; i++)
        put_variable(out, launch->variables[i].name, launch->variables[i].value);
    put_secrets(out, input->secrets);
    put_contract(out, input);
    for (uint32_t i = 0; i < input->place->ranks; i++)
        put_rank(out, input, i);
}

void secrets_encode(struct strbuf *out, const struct launch *launch)
{
    for (size_t i = 0; i < launch->secret_count; i++) {
        const struct launch_secret *secret = &launch->secrets[i];
        record_put(out, secret->as_file ? "file" : "variable", secret->name);
        record_put_bytes(out, "content", secret->value, secret->size);
    }
}
