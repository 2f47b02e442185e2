/* Accepting jobs. Everything is checked before anything is made; what the checks had to make
 * (texts, a shape) is taken back when the job is refused. */
#include "base/hash.h"
#include "base/quantity.h"
#include "core/allot.h"
#include "core/broker.h"
#include "core/core.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/packing_mix.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/resource.h"
#include "core/shape.h"
#include "core/socket.h"
#include "core/sort.h"
#include "core/spot.h"
#include "core/state.h"
#include "core/symbol.h"
#include "core/table.h"
#include "core/team.h"
#include "core/topology.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

enum {
    LABELS_MAX = 256,
    RULES_MAX = 256,
    SERVICE_BACKOFF_MS = 1000, /* where a service says nothing */
    SERVICE_BACKOFF_MAX_MS = 5 * 60 * 1000,
};

struct submission {
    const struct job *job;
    struct live_team *team;
    int64_t count; /* elements; 1 without an array */
    VEC(struct live_job *) on;
    VEC(int32_t) conditions;
};

static int check_range(
    const char *what, int64_t value, int64_t low, int64_t high, struct error *err)
{
    if (value < low || value > high)
        return error_set(err, ERR_INVALID, "%s: expected %" PRId64 " to %" PRId64 ", got %" PRId64,
            what, low, high, value);
    return 0;
}

static int64_t or_one(int64_t value)
{
    return value == 0 ? 1 : value;
}

static int check_gang(const struct gang *gang, struct error *err)
{
    int64_t size = or_one(gang->size);
    if (check_range("spec.gang.size", size, 1, GANG_SIZE_MAX, err) < 0 ||
        check_range("spec.gang.min", gang->min, 0, size, err) < 0)
        return -1;
    if (gang->max == 0)
        return 0;
    return check_range("spec.gang.max", gang->max, size, GANG_SIZE_MAX, err);
}

static int check_resources(const struct resources *ask, struct error *err)
{
    if (check_range("spec.resources.cpu", ask->cpu_milli, 0, AMOUNT_MAX, err) < 0 ||
        check_range("spec.resources.memory", ask->memory_bytes, 0, AMOUNT_MAX, err) < 0 ||
        check_range("spec.resources.disk", ask->disk_bytes, 0, AMOUNT_MAX, err) < 0 ||
        check_range("spec.resources.accelerators", ask->accelerator_milli, 0,
            DEVICES_MAX * DEVICE_MILLI, err) < 0)
        return -1;
    int64_t milli = ask->accelerator_milli;
    if (milli > DEVICE_MILLI && milli % DEVICE_MILLI != 0)
        return error_set(err, ERR_INVALID,
            "spec.resources.accelerators: expected whole devices or a share of one, got %" PRId64
            " thousandths",
            milli);
    return symbol_check(ask->accelerator, "spec.resources.accelerator", err);
}

static int check_times(const struct job *job, struct error *err)
{
    const struct {
        const char *what;
        int64_t value;
    } times[] = {
        {"spec.minRuntime", job->min_runtime_ms},
        {"spec.grace", job->grace_ms},
        {"spec.retries.backoff", job->retries.backoff_ms},
        {"spec.retries.backoffMax", job->retries.backoff_max_ms},
        {"spec.startAfter", job->start_after_ms},
        {"spec.deadline", job->deadline_ms},
        {"spec.timeLimit", job->time_limit_ms},
        {"spec.duration", job->duration_ms},
        {"spec.checkpoint.interval", job->checkpoint.interval_ms},
        {"spec.checkpoint.restart", job->checkpoint.restart_ms},
    };
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        if (check_range(times[i].what, times[i].value, 0, TIME_MS_MAX, err) < 0)
            return -1;
    }
    return 0;
}

static int check_numbers(const struct job *job, struct error *err)
{
    if (check_gang(&job->gang, err) < 0 || check_resources(&job->resources, err) < 0 ||
        check_times(job, err) < 0 ||
        check_range("spec.priority", job->priority, 0, 1000000, err) < 0 ||
        check_range("spec.preemptionsMax", job->preemptions_max, -1, INT32_MAX, err) < 0 ||
        check_range("spec.retries.limit", job->retries.limit, 0, 1000000, err) < 0 ||
        check_range("spec.array.count", job->array.count, 0, ARRAY_COUNT_MAX, err) < 0)
        return -1;
    return check_range("spec.array.parallel", job->array.parallel, 0, ARRAY_COUNT_MAX, err);
}

static int check_texts(const struct job *job, struct error *err)
{
    const struct placement *place = &job->placement;
    if (!job->metadata.name || !*job->metadata.name || strlen(job->metadata.name) > 200)
        return error_set(err, ERR_INVALID, "metadata.name: expected 1 to 200 bytes");
    if (job->metadata.labels.count > LABELS_MAX)
        return error_set(err, ERR_TOO_LARGE, "metadata.labels: more than %d labels", LABELS_MAX);
    if ((unsigned)job->topology.mode > TOPOLOGY_REQUIRED)
        return error_set(err, ERR_INVALID, "spec.topology: unknown mode");
    if (symbol_check(job->class_name, "spec.class", err) < 0 ||
        symbol_check(job->topology.within, "spec.topology.within", err) < 0 ||
        symbol_check(place->pool, "spec.placement.pool", err) < 0 ||
        symbol_check(place->node_type, "spec.placement.nodeType", err) < 0 ||
        symbol_check(place->jurisdiction, "spec.placement.jurisdiction", err) < 0 ||
        symbol_check_labels(&job->metadata.labels, "metadata.labels", err) < 0 ||
        symbol_check_labels(&place->near, "spec.placement.near", err) < 0)
        return -1;
    return symbol_check_labels(&place->apart, "spec.placement.apart", err);
}

static int check_rules(const struct placement *place, struct error *err)
{
    size_t rules = place->near.count + place->apart.count + place->tolerations.count;
    for (size_t i = 0; i < place->require.count; i++) {
        const struct node_requirement *require = &place->require.items[i];
        rules += 1 + require->values.count;
        if (!require->key || (unsigned)require->operation > LABEL_ABSENT)
            return error_set(err, ERR_INVALID, "spec.placement.require: no key or operator");
        if (symbol_check(require->key, "spec.placement.require", err) < 0)
            return -1;
        for (size_t v = 0; v < require->values.count; v++) {
            if (symbol_check(require->values.items[v], "spec.placement.require", err) < 0)
                return -1;
        }
    }
    for (size_t i = 0; i < place->tolerations.count; i++) {
        const struct toleration *one = &place->tolerations.items[i];
        if (!one->key || symbol_check(one->key, "spec.placement.tolerations", err) < 0 ||
            symbol_check(one->value, "spec.placement.tolerations", err) < 0)
            return error_set(err, ERR_INVALID, "spec.placement.tolerations: no or a long key");
    }
    if (rules > RULES_MAX)
        return error_set(err, ERR_TOO_LARGE, "spec.placement: more than %d conditions", RULES_MAX);
    return 0;
}

enum { ELEMENT_NAME_SIZE = 256 };

/* The name of element `index`, written to `out`, or of the job itself. */
static const char *element_name(
    const struct submission *in, int64_t index, char out[static ELEMENT_NAME_SIZE])
{
    if (!in->job->array.count)
        return in->job->metadata.name;
    snprintf(out, ELEMENT_NAME_SIZE, "%s[%" PRId64 "]", in->job->metadata.name, index);
    return out;
}

static int check_names(const struct core *core, const struct submission *in, struct error *err)
{
    const char *name = in->job->metadata.name;
    uint32_t symbol = symbol_find(core, name);
    if (symbol && array_find(core, in->team, symbol))
        return error_set(err, ERR_CONFLICT, "team %s has a live array of the name %s",
            core_symbol(core, in->team->row.name), name);
    for (int64_t i = 0; i < in->count; i++) {
        char text[ELEMENT_NAME_SIZE];
        if (in->job->array.count)
            symbol = symbol_find(core, name = element_name(in, i, text));
        if (symbol && job_named(core, in->team, symbol))
            return error_set(err, ERR_CONFLICT, "team %s has a live job of the name %s",
                core_symbol(core, in->team->row.name), name);
    }
    return 0;
}

static void add_dependency(struct submission *in, struct live_job *on, int32_t condition)
{
    for (size_t i = 0; i < in->on.count; i++) {
        if (in->on.items[i] != on)
            continue;
        /* Asked for twice: the stricter one holds. */
        if (condition == DEPENDENCY_SUCCEEDED)
            in->conditions.items[i] = condition;
        return;
    }
    vec_push(&in->on, on);
    vec_push(&in->conditions, condition);
}

static bool add_array(
    const struct core *core, struct submission *in, const char *name, int32_t condition)
{
    const struct live_array *array = array_find(core, in->team, symbol_find(core, name));
    if (!array)
        return false;
    for (uint64_t id = array->id; id < array->id + ARRAY_COUNT_MAX; id++) {
        struct live_job *on = (struct live_job *)table_find(core, ROW_JOB, id);
        if (!on || on->array != array)
            continue;
        if (in->on.count > DEPENDENCIES_MAX)
            break;
        add_dependency(in, on, condition);
    }
    return true;
}

/* A name of the team's, an array's, or an id. */
static struct live_job *find_dependency(
    const struct core *core, const struct submission *in, const char *text)
{
    uint64_t id = core_job_find(core, core_symbol(core, in->team->row.name), text);
    char *end = NULL;
    if (!id && *text >= '0' && *text <= '9') {
        id = strtoull(text, &end, 10);
        id = *end ? 0 : id;
    }
    return (struct live_job *)table_find(core, ROW_JOB, id);
}

static int check_dependencies(const struct core *core, struct submission *in, struct error *err)
{
    for (size_t i = 0; i < in->job->depends_on.count; i++) {
        const struct dependency *want = &in->job->depends_on.items[i];
        if (!want->job || !*want->job)
            return error_set(err, ERR_INVALID, "spec.dependsOn: no job");
        struct live_job *on = find_dependency(core, in, want->job);
        if (on)
            add_dependency(in, on, (int32_t)want->condition);
        else if (!add_array(core, in, want->job, (int32_t)want->condition))
            return error_set(err, ERR_NOT_FOUND,
                "spec.dependsOn: there is no live job %.64s in team %s", want->job,
                core_symbol(core, in->team->row.name));
        if ((int64_t)in->on.count * in->count > DEPENDENCIES_MAX)
            return error_set(
                err, ERR_TOO_LARGE, "spec.dependsOn: more than %d dependencies", DEPENDENCIES_MAX);
    }
    return 0;
}

/* A level that no pool has is a slip, whatever is made of it. */
static int check_level(const struct core *core, const struct live_shape *shape, struct error *err)
{
    if (!shape->row.topology)
        return 0;
    if (!shape->socket && strcmp(core_symbol(core, shape->row.within), LEVEL_SOCKET) == 0)
        return error_set(err, ERR_INVALID,
            "spec.topology.within: only whole accelerators are within a %s: check spec.resources",
            LEVEL_SOCKET);
    TABLE_EACH (core, ROW_POOL, struct live_pool, pool) {
        if (topology_level(core, pool, shape) != LEVEL_NONE)
            return 0;
    }
    char names[300];
    topology_names(core, names, sizeof names);
    return error_set(err, ERR_INVALID,
        "spec.topology.within: no pool has a level %.64s: expected one of %s",
        core_symbol(core, shape->row.within), names);
}

static int refuse_topology(
    const struct core *core, const struct live_shape *shape, int64_t size_min, struct error *err)
{
    struct topology_shortage shortage;
    topology_shortage(core, shape, size_min, &shortage);
    if (!shortage.domain)
        return error_set(err, ERR_INVALID,
            "spec.topology: no %.64s holds a rank, idle: check spec.resources and spec.placement",
            shortage.level);
    return error_set(err, ERR_INVALID,
        "spec.topology: no %.64s holds %" PRId64 " %s, idle; the largest, %.64s, holds %" PRId64,
        shortage.level, shortage.need, shortage.what, shortage.domain, shortage.largest);
}

/* A team that may never hold as much has to be told so: its job would wait for ever. Replicas wait
 * for their service, which says it. */
static int check_limits(const struct core *core, const struct submission *in,
    const struct live_shape *shape, int64_t size_min, struct error *err)
{
    struct amounts ask;
    int resource;
    char need[QUANTITY_TEXT], limit[QUANTITY_TEXT];
    amounts_of_shape(shape, size_min, shape->resource, &ask);
    const struct live_team *team = in->job->service ? NULL : quota_never(in->team, &ask, &resource);
    if (!team)
        return 0;
    const char *what = resource_name(core, resource);
    return error_set(err, ERR_INVALID,
        "team %.64s may hold %s %.64s at most, and this needs %s at once: check spec.resources and "
        "spec.gang, and spec.quota and spec.borrow of the team",
        core_symbol(core, team->row.name), amount_text(what, team->limit[resource], limit), what,
        amount_text(what, ask.of[resource], need));
}

static int check_possible(const struct core *core, const struct submission *in,
    const struct live_shape *shape, struct error *err)
{
    const struct gang *gang = &in->job->gang;
    int64_t size_min = gang->min ? gang->min : or_one(gang->size);
    if (check_level(core, shape, err) < 0)
        return -1;
    if (fit_possible(core, shape, size_min, false) || fit_unknown(core, shape))
        return check_limits(core, in, shape, size_min, err);
    if (shape->row.topology == WISH_REQUIRED)
        return refuse_topology(core, shape, size_min, err);
    struct core_nearest nearest;
    char why[300];
    nearest_find(core, shape, size_min, &nearest);
    nearest_text(core, &nearest, why, sizeof why);
    if (size_min > 1 && fit_possible(core, shape, 1, false))
        return error_set(err, ERR_INVALID,
            "no pool, idle, could hold %" PRId64 " ranks of this size at once%s", size_min, why);
    /* Inputs narrow it too, so that it may stand in no manifest. */
    const char *where = core_symbol(core, shape->row.jurisdiction);
    if (*where)
        return error_set(err, ERR_INVALID,
            "no node of a pool in the jurisdiction %.64s, where the job or its data have to stay, "
            "could hold a rank, idle%s: check spec.jurisdiction of the pools, spec.resources and "
            "spec.placement",
            where, why);
    return error_set(err, ERR_INVALID,
        "no node of any pool, idle, could hold a rank%s: check spec.resources and spec.placement",
        why);
}

/* A service is started again without bound, so there is always a pause, and one that grows. */
static void make_service(struct job_row *row)
{
    if (!row->service)
        return;
    if (!row->backoff_ms)
        row->backoff_ms = SERVICE_BACKOFF_MS;
    if (!row->backoff_max_ms)
        row->backoff_max_ms = SERVICE_BACKOFF_MAX_MS;
    row->backoff_max_ms = most(row->backoff_max_ms, row->backoff_ms);
}

/* An interval that a column has no room for is as good as none. */
static int32_t interval_kept(int64_t interval_ms)
{
    return interval_ms <= INT32_MAX ? (int32_t)interval_ms : 0;
}

static void make_row(const struct core *core, const struct job *job, struct job_row *row)
{
    int64_t size = or_one(job->gang.size);
    *row = (struct job_row){
        .state = JOB_WAITING,
        .priority = (int32_t)job->priority,
        .size = (int32_t)size,
        .size_min = (int32_t)(job->gang.min ? job->gang.min : size),
        .size_max = (int32_t)(job->gang.max ? job->gang.max : size),
        .size_now = (int32_t)size,
        .array_parallel = (int32_t)job->array.parallel,
        .retries_left = (int32_t)job->retries.limit,
        .preemptions_max = (int32_t)job->preemptions_max,
        .preemptible = job->preemptible,
        .shrink_on_node_loss = job->shrink_on_node_loss,
        .service = job->service,
        .submitted_ms = core->now_ms,
        .not_before_ms = job->start_after_ms,
        .deadline_ms = job->deadline_ms,
        .time_limit_ms = job->time_limit_ms,
        .min_runtime_ms = job->min_runtime_ms,
        .grace_ms = job->grace_ms,
        .interval_ms = interval_kept(job->checkpoint.interval_ms),
        .saves_on_stop = job->checkpoint.on_stop,
        .backoff_ms = job->retries.backoff_ms,
        .backoff_max_ms = job->retries.backoff_max_ms,
    };
    make_service(row);
}

static void add_labels(struct core *core, struct live_job *job, const struct label_list *labels)
{
    for (size_t i = 0; i < labels->count; i++) {
        struct live_job_label *label = mem_alloc(1, sizeof *label);
        label->row.job = job->row.id;
        label->row.key = symbol_intern(core, labels->items[i].key);
        label->row.value = symbol_intern(core, labels->items[i].value);
        change_new(core, ROW_JOB_LABEL, &label->item);
        LIST_APPEND(job_link(core, job)->labels, label, next);
    }
}

static void add_dependencies(struct core *core, struct live_job *job, const struct submission *in)
{
    for (size_t i = 0; i < in->on.count; i++) {
        struct live_dependency *dependency = mem_alloc(1, sizeof *dependency);
        dependency->row = (struct dependency_row){
            .job = job->row.id,
            .on_job = in->on.items[i]->row.id,
            .condition = in->conditions.items[i],
        };
        change_new(core, ROW_DEPENDENCY, &dependency->item);
        dependency_link(core, dependency, job, in->on.items[i]);
    }
}

/* Makes element `index`; `first` is the array's first id, 0 for the first itself. */
static uint64_t make_job(struct core *core, const struct submission *in, struct live_shape *shape,
    int64_t index, uint64_t first)
{
    const struct job *job = in->job;
    struct live_job *live = job_create(core);
    char text[ELEMENT_NAME_SIZE];
    const char *name = element_name(in, index, text);
    make_row(core, job, &live->row);
    live->team = in->team;
    live->shape = shape;
    shape_ref(core, shape);
    live->row.team = in->team->row.id;
    live->row.shape = shape->row.id;
    live->row.name = symbol_intern(core, name);
    live->row.name_hash = hash_text(name);
    live->row.class_name = symbol_intern(core, job->class_name);
    change_new(core, ROW_JOB, &live->item);
    if (job->array.count) {
        live->row.array = first ? first : live->row.id;
        live->row.array_index = (int32_t)index;
        symbol_intern(core, job->metadata.name);
        array_join(core, live);
    }
    job_name_put(core, live);
    live->team->jobs++;
    allot_join(core, live);
    spot_begin(core, live, job);
    broker_begin(core, live, job);
    add_labels(core, live, &job->metadata.labels);
    add_dependencies(core, live, in);
    job_decide(core, DECISION_JOB_SUBMIT, live, END_NONE);
    if (job->hold)
        job_set_state(core, live, JOB_HELD);
    else
        job_ready(core, live);
    return live->row.id;
}

static int check_all(const struct core *core, struct submission *in, struct error *err)
{
    const struct job *job = in->job;
    if (check_texts(job, err) < 0 || check_numbers(job, err) < 0 ||
        check_rules(&job->placement, err) < 0 || broker_check(job, err) < 0)
        return -1;
    in->count = or_one(job->array.count);
    in->team = idmap_get(&core->teams_by_name, symbol_find(core, job->metadata.team));
    if (!in->team)
        return error_set(err, ERR_NOT_FOUND, "metadata.team: there is no team %.64s",
            job->metadata.team ? job->metadata.team : "(none)");
    if (in->team->jobs + in->count > in->team->row.jobs_max)
        return error_set(err, ERR_BUSY, "team %s has %" PRId64 " live jobs, of %" PRId64 " at most",
            job->metadata.team, in->team->jobs, in->team->row.jobs_max);
    if (job->deadline_ms && job->deadline_ms <= core->now_ms)
        return error_set(err, ERR_INVALID, "spec.deadline: it has passed already");
    if (check_names(core, in, err) < 0)
        return -1;
    return check_dependencies(core, in, err);
}

static int submit(struct core *core, struct submission *in, uint64_t *ret_id, struct error *err)
{
    if (check_all(core, in, err) < 0)
        return -1;
    uint64_t last_symbol = core->tables[ROW_SYMBOL].last_id;
    nodes_number(core);
    struct live_shape *shape = shape_intern(core, in->job);
    if (check_possible(core, in, shape, err) < 0) {
        shape_unref(core, shape);
        symbol_sweep(core, last_symbol);
        return -1;
    }
    uint64_t first = 0;
    for (int64_t i = 0; i < in->count; i++) {
        uint64_t id = make_job(core, in, shape, i, first);
        first = first ? first : id;
    }
    mix_count(core, shape, in->count * or_one(in->job->gang.size));
    shape_unref(core, shape);
    symbol_sweep(core, last_symbol);
    *ret_id = first;
    return 0;
}

int core_job_submit(struct core *core, const struct job *job, uint64_t *ret_id, struct error *err)
{
    assert(job && ret_id);
    struct submission in = {.job = job};
    int rc = submit(core, &in, ret_id, err);
    vec_free(&in.on);
    vec_free(&in.conditions);
    return rc;
}
