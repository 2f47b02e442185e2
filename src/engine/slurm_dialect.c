/* The versions of slurmrestd's interface: see slurm_dialect.h. v0.0.38 is that of Slurm 22.05, as
 * it was found to behave; the others are as their documents say. Reading is the same for all of
 * them: each value is taken in every form that one of them gives it. */
#include "engine/slurm_dialect.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct dialect dialects[] = {
    {.version = "v0.0.41",
        .script_in_job = true,
        .environment_list = true,
        .numbers_are_sets = true,
        .nodes = "nodes",
        .node_names = "required_nodes",
        .node_names_list = true,
        .requeue = "requeue",
        .devices = "tres_per_task",
        .devices_prefix = "gres/gpu:",
        .shares = "tres_per_task",
        .shares_prefix = "gres/shard:"},
    {.version = "v0.0.40",
        .environment_list = true,
        .numbers_are_sets = true,
        .nodes = "nodes",
        .node_names = "required_nodes",
        .node_names_list = true,
        .requeue = "requeue",
        .devices = "tres_per_task",
        .devices_prefix = "gres/gpu:",
        .shares = "tres_per_task",
        .shares_prefix = "gres/shard:"},
    {.version = "v0.0.39",
        .environment_list = true,
        .numbers_are_sets = true,
        .nodes = "nodes",
        .node_names = "required_nodes",
        .node_names_list = true,
        .requeue = "requeue",
        .devices = "tres_per_task",
        .devices_prefix = "gres:gpu:",
        .shares = "tres_per_task",
        .shares_prefix = "gres:shard:"},
    /* Says required_nodes and requeue, and does not take them; nodes as a list silently gives one.
     */
    {.version = "v0.0.38",
        .nodes = "nodes",
        .node_names = "nodelist",
        .requeue = "no_requeue",
        .requeue_never = true,
        .devices = "gpus_per_task",
        .devices_prefix = "",
        .shares = "gres",
        .shares_prefix = "shard:"},
};

const struct dialect *dialect_at(size_t i)
{
    return i < ARRAY_LEN(dialects) ? &dialects[i] : NULL;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void put_number(const struct dialect *dialect, struct arena *arena, struct doc *job,
    const char *name, uint64_t number)
{
    if (number == 0)
        return;
    if (!dialect->numbers_are_sets) {
        doc_set_int(arena, job, name, (int64_t)number);
        return;
    }
    struct doc *set = doc_set(arena, job, name, doc_map(arena));
    doc_set_bool(arena, set, "set", true);
    doc_set_int(arena, set, "number", (int64_t)number);
}

static void put_environment(const struct dialect *dialect, struct arena *arena, struct doc *job)
{
    static const char path[] = "/usr/local/bin:/usr/bin:/bin";
    if (dialect->environment_list) {
        struct doc *list = doc_set(arena, job, "environment", doc_list(arena));
        doc_append(list, doc_string(arena, arena_printf(arena, "PATH=%s", path)));
        return;
    }
    doc_set_string(arena, doc_set(arena, job, "environment", doc_map(arena)), "PATH", path);
}

static void put_nodes(const struct dialect *dialect, struct arena *arena, struct doc *job,
    const struct slurm_submission *submission)
{
    SCOPED(strbuf_finish) struct strbuf names = {0};
    struct doc *list = doc_list(arena);
    if (submission->node_count == 0)
        return;
    for (size_t i = 0; i < submission->node_count; i++) {
        strbuf_printf(&names, "%s%s", i ? "," : "", submission->node_names[i]);
        doc_append(list, doc_string(arena, submission->node_names[i]));
    }
    doc_set_string(arena, job, dialect->nodes, arena_printf(arena, "%zu", submission->node_count));
    doc_set(arena, job, dialect->node_names,
        dialect->node_names_list ? list : doc_string(arena, strbuf_text(&names)));
}

static void put_devices(struct arena *arena, struct doc *job, const char *name, const char *prefix,
    const char *type, uint32_t count)
{
    doc_set_string(arena, job, name,
        arena_printf(arena, "%s%s%s%u", prefix, type ? type : "", type ? ":" : "", count));
}

static struct doc *job_doc(
    const struct dialect *dialect, struct arena *arena, const struct slurm_submission *submission)
{
    struct doc *job = doc_map(arena);
    doc_set_string(arena, job, "name", submission->name);
    doc_set_string(arena, job, "comment", submission->mark);
    doc_set_string(arena, job, "partition", submission->partition);
    doc_set_string(arena, job, "account", submission->account);
    doc_set_string(arena, job, "qos", submission->qos);
    doc_set_string(arena, job, "constraints", submission->constraint);
    doc_set_string(arena, job, "current_working_directory", submission->folder);
    doc_set_string(arena, job, "standard_output", "/dev/null");
    doc_set_string(arena, job, "standard_error", "/dev/null");
    doc_set_int(arena, job, "tasks", submission->tasks);
    doc_set_int(arena, job, "cpus_per_task", submission->cpus_per_task);
    doc_set_bool(arena, job, dialect->requeue, dialect->requeue_never);
    put_number(dialect, arena, job, "memory_per_cpu", submission->memory_per_cpu_mb);
    put_number(dialect, arena, job, "time_limit", submission->minutes);
    if (submission->shares)
        put_devices(arena, job, dialect->shares, dialect->shares_prefix, submission->device_type,
            submission->shares);
    else if (submission->devices_per_task)
        put_devices(arena, job, dialect->devices, dialect->devices_prefix, submission->device_type,
            submission->devices_per_task);
    put_nodes(dialect, arena, job, submission);
    put_environment(dialect, arena, job);
    return job;
}

void dialect_write(const struct dialect *dialect, struct arena *arena,
    const struct slurm_submission *submission, struct strbuf *out)
{
    struct doc *body = doc_map(arena), *job = job_doc(dialect, arena, submission);
    doc_set_string(arena, dialect->script_in_job ? job : body, "script", submission->script);
    doc_set(arena, body, "job", job);
    doc_write_json(body, 0, out);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* 5, "5", {"set": true, "number": 5}; anything else is the fallback. */
static int64_t read_number(const struct doc *doc, const char *key, int64_t fallback)
{
    const struct doc *value = doc_get(doc, key);
    if (value && value->type == DOC_MAP) {
        if (!doc_get_bool(value, "set", true) || doc_get_bool(value, "infinite", false))
            return fallback;
        return doc_get_int(value, "number", fallback);
    }
    if (value && value->type == DOC_STRING && isdigit((unsigned char)value->text[0]))
        return strtoll(value->text, NULL, 10);
    return doc_get_int(doc, key, fallback);
}

/* Seconds since the epoch, in milliseconds; what is no such moment is 0. */
static int64_t read_moment(const struct doc *doc, const char *key)
{
    int64_t seconds = read_number(doc, key, 0);
    return seconds > 0 && seconds < INT64_C(1) << 40 ? seconds * 1000 : 0;
}

static const char *read_text(const struct doc *doc, const char *key)
{
    const char *text = doc_get_string(doc, key);
    return text ? text : "";
}

static const struct {
    const char *word, *name;
    enum slurm_state state;
} states[] = {
    {"PENDING", "pending", SLURM_PENDING},
    {"CONFIGURING", "configuring", SLURM_PENDING},
    {"REQUEUED", "requeued", SLURM_PENDING},
    {"REQUEUE_HOLD", "held", SLURM_PENDING},
    {"REQUEUE_FED", "requeued", SLURM_PENDING},
    {"RESV_DEL_HOLD", "held", SLURM_PENDING},
    {"SPECIAL_EXIT", "held", SLURM_PENDING},
    {"RUNNING", "running", SLURM_RUNNING},
    {"SUSPENDED", "suspended", SLURM_RUNNING},
    {"RESIZING", "resizing", SLURM_RUNNING},
    {"SIGNALING", "signaling", SLURM_RUNNING},
    {"STAGE_OUT", "completing", SLURM_COMPLETING},
    {"STOPPED", "suspended", SLURM_RUNNING},
    {"COMPLETING", "completing", SLURM_COMPLETING},
    {"COMPLETED", "completed", SLURM_COMPLETED},
    {"FAILED", "failed", SLURM_FAILED},
    {"CANCELLED", "cancelled", SLURM_CANCELLED},
    {"REVOKED", "revoked", SLURM_CANCELLED},
    {"TIMEOUT", "timeout", SLURM_TIMEOUT},
    {"DEADLINE", "deadline", SLURM_TIMEOUT},
    {"NODE_FAIL", "node-fail", SLURM_NODE_FAIL},
    {"BOOT_FAIL", "boot-fail", SLURM_NODE_FAIL},
    {"LAUNCH_FAILED", "launch-failed", SLURM_NODE_FAIL},
    {"PREEMPTED", "preempted", SLURM_PREEMPTED},
    {"OUT_OF_MEMORY", "out-of-memory", SLURM_OUT_OF_MEMORY},
};

bool slurm_state_over(enum slurm_state state)
{
    return state >= SLURM_COMPLETED;
}

const char *slurm_state_name(enum slurm_state state)
{
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (states[i].state == state)
            return states[i].name;
    }
    return "unknown";
}

static enum slurm_state state_of(const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (word && strcmp(states[i].word, word) == 0)
            return states[i].state;
    }
    return SLURM_UNKNOWN;
}

/* One word, or later a base state with flags: what is completing has not ended, whatever its base
 * state says, and what was requeued waits. */
static enum slurm_state read_state(const struct doc *value)
{
    enum slurm_state found = SLURM_UNKNOWN;
    if (value && value->type == DOC_STRING)
        return state_of(value->text);
    for (const struct doc *item = value && value->type == DOC_LIST ? value->first : NULL; item;
         item = item->next) {
        enum slurm_state state = item->type == DOC_STRING ? state_of(item->text) : SLURM_UNKNOWN;
        if (state == SLURM_COMPLETING || state == SLURM_PENDING)
            return state;
        if (found == SLURM_UNKNOWN)
            found = state;
    }
    return found;
}

/* The comment of the job itself; later ones keep those of others beside it. */
static const char *read_comment(const struct doc *doc)
{
    const struct doc *comment = doc_get(doc, "comment");
    return comment && comment->type == DOC_MAP ? read_text(comment, "job")
                                               : read_text(doc, "comment");
}

bool dialect_read_job(const struct doc *doc, struct slurm_job *ret_job)
{
    int64_t id = doc && doc->type == DOC_MAP ? read_number(doc, "job_id", 0) : 0;
    if (id <= 0)
        return false;
    *ret_job = (struct slurm_job){.id = (uint64_t)id,
        .state = read_state(doc_get(doc, "job_state")),
        .mark = read_comment(doc),
        .nodes = read_text(doc, "nodes"),
        .reason = read_text(doc, "state_reason"),
        .cluster = read_text(doc, "cluster"),
        .submitted_ms = read_moment(doc, "submit_time"),
        .started_ms = read_moment(doc, "start_time"),
        .ended_ms = read_moment(doc, "end_time"),
        .preempted = read_number(doc, "preempt_time", 0) > 0,
        .restarts = (uint32_t)read_number(doc, "restart_cnt", 0),
        .node_count = read_number(doc, "node_count", 0)};
    return true;
}

static uint64_t at_least_zero(int64_t number)
{
    return number > 0 ? (uint64_t)number : 0;
}

/* What it used stands beside what it asked for. */
static uint64_t read_memory_peak(const struct doc *step)
{
    const struct doc *most = doc_get(doc_get(doc_get(step, "tres"), "requested"), "max");
    for (const struct doc *item = most && most->type == DOC_LIST ? most->first : NULL; item;
         item = item->next) {
        const char *type = item->type == DOC_MAP ? doc_get_string(item, "type") : NULL;
        if (type && strcmp(type, "mem") == 0)
            return at_least_zero(read_number(item, "count", 0));
    }
    return 0;
}

static void read_step(const struct doc *step, struct slurm_account *account)
{
    const struct doc *total = doc_get(doc_get(step, "time"), "total");
    uint64_t seconds = at_least_zero(read_number(total, "seconds", 0));
    uint64_t micro = at_least_zero(read_number(total, "microseconds", 0));
    uint64_t memory = read_memory_peak(step);
    if (seconds < UINT64_C(1) << 40 && micro < UINT64_C(1) << 40)
        account->cpu_us += seconds * 1000000 + micro;
    if (memory > account->memory_peak_bytes)
        account->memory_peak_bytes = memory;
}

bool dialect_read_account(const struct doc *doc, struct slurm_account *ret_account)
{
    int64_t id = doc && doc->type == DOC_MAP ? read_number(doc, "job_id", 0) : 0;
    const struct doc *steps = id > 0 ? doc_get(doc, "steps") : NULL;
    if (id <= 0)
        return false;
    *ret_account = (struct slurm_account){.id = (uint64_t)id,
        .state = read_state(doc_get(doc_get(doc, "state"), "current")),
        .mark = read_comment(doc),
        .name = read_text(doc, "name"),
        .cluster = read_text(doc, "cluster")};
    for (const struct doc *step = steps && steps->type == DOC_LIST ? steps->first : NULL; step;
         step = step->next)
        read_step(step, ret_account);
    return true;
}

/* How many there are of the first kind of what is so named in "gpu:toy:2(S:0),shard:toy:8,nic:1".
 * ret_type: what kind that is, "" where it has none. */
static int64_t read_gres(const char *gres, const char *name, char *ret_type, size_t size)
{
    size_t length = strlen(name);
    for (const char *at = gres, *comma; at; at = comma ? comma + 1 : NULL) {
        comma = strchr(at, ',');
        if (strncmp(at, name, length) != 0 || at[length] != ':')
            continue;
        at += length + 1;
        size_t type = strcspn(at, ":,(");
        bool typed = at[type] == ':';
        snprintf(ret_type, size, "%.*s", typed ? (int)type : 0, at);
        return strtol(typed ? at + type + 1 : at, NULL, 10);
    }
    return 0;
}

static void read_devices(const char *gres, struct slurm_node *node)
{
    char type[sizeof node->device_type];
    node->devices = read_gres(gres, "gpu", node->device_type, sizeof node->device_type);
    if (node->devices && !node->device_type[0])
        snprintf(node->device_type, sizeof node->device_type, "gpu");
    node->shards = read_gres(gres, "shard", type, sizeof type);
}

/* Every word of the state, its flags in whichever member they stand. */
static void read_node_word(const char *word, struct slurm_node *node)
{
    static const char *const down[] = {"down", "error", "fail", "future", "unknown",
        "not_responding", "power_down", "powered_down", "powering_down"};
    static const char *const closed[] = {
        "drain", "drained", "draining", "reserved", "maint", "maintenance", "planned", "reboot"};
    for (size_t i = 0; i < ARRAY_LEN(down); i++)
        node->down |= strcasecmp(word, down[i]) == 0;
    for (size_t i = 0; i < ARRAY_LEN(closed); i++)
        node->closed |= strcasecmp(word, closed[i]) == 0;
}

static void read_node_state(const struct doc *doc, const char *key, struct slurm_node *node)
{
    const struct doc *value = doc_get(doc, key);
    if (value && value->type == DOC_STRING)
        read_node_word(value->text, node);
    for (const struct doc *item = value && value->type == DOC_LIST ? value->first : NULL; item;
         item = item->next) {
        if (item->type == DOC_STRING)
            read_node_word(item->text, node);
    }
}

/* What the controller itself reaches it by. */
static const char *read_address(const struct doc *doc)
{
    static const char *const keys[] = {"address", "hostname", "name"};
    const char *address = "";
    for (size_t i = 0; i < ARRAY_LEN(keys) && !*address; i++)
        address = read_text(doc, keys[i]);
    return address;
}

bool dialect_read_node(const struct doc *doc, struct slurm_node *ret_node)
{
    const char *name = doc && doc->type == DOC_MAP ? doc_get_string(doc, "name") : NULL;
    if (!name || !*name)
        return false;
    *ret_node = (struct slurm_node){.name = name,
        .reason = read_text(doc, "reason"),
        .cpus = read_number(doc, "cpus", 0),
        .memory_mb = read_number(doc, "real_memory", 0),
        .address = read_address(doc),
        .features = read_text(doc, "features"),
        .partitions = doc_get(doc, "partitions")};
    read_node_state(doc, "state", ret_node);
    read_node_state(doc, "state_flags", ret_node);
    read_devices(read_text(doc, "gres"), ret_node);
    return true;
}

void dialect_read_error(const struct doc *doc, char *text, size_t size)
{
    const struct doc *errors = doc_get(doc, "errors");
    const struct doc *first = errors && errors->type == DOC_LIST ? errors->first : NULL;
    text[0] = '\0';
    if (!first || first->type != DOC_MAP)
        return;
    const char *description = doc_get_string(first, "description");
    const char *error = doc_get_string(first, "error");
    snprintf(text, size, "%s",
        description && *description ? description
        : error                     ? error
                                    : "an error without a text");
}

/* A held job comes with a number and errors at once: the number counts. */
uint64_t dialect_read_submitted(const struct doc *doc, char *text, size_t size)
{
    dialect_read_error(doc, text, size);
    int64_t id = read_number(doc, "job_id", 0);
    if (id == 0)
        id = read_number(doc_get(doc, "result"), "job_id", 0);
    return id > 0 ? (uint64_t)id : 0;
}
