/* Why a job waits: see why.h. Worked out from the live state at the moment of the question, by plain
 * sums: nothing is decided here, and what it says is no promise. */
#include "server/why.h"

#include "base/map.h"
#include "base/memory.h"
#include "base/quantity.h"
#include "base/strbuf.h"
#include "core/core.h"
#include "server/context.h"

#include <string.h>

enum { TEAM_DEPTH_MAX = 64 };

/* ---- amounts --------------------------------------------------------------------------------- */

struct amounts {
    int64_t cpu_milli;
    int64_t memory_bytes;
    int64_t disk_bytes;
    int64_t device_milli;
};

static void add_ranks(struct amounts *sum, const struct shape_row *shape, int64_t ranks)
{
    sum->cpu_milli += shape->cpu_milli * ranks;
    sum->memory_bytes += shape->memory_bytes * ranks;
    sum->disk_bytes += shape->disk_bytes * ranks;
    sum->device_milli += shape->accelerator_milli * ranks;
}

static int64_t times(int64_t have, int64_t need, int64_t most)
{
    if (need <= 0 || have / need > most)
        return most;
    return have < 0 ? 0 : have / need;
}

/* How many ranks of the shape fit into what is free, at most `most`. */
static int64_t ranks_in(const struct amounts *free, const struct shape_row *shape, int64_t most)
{
    most = times(free->cpu_milli, shape->cpu_milli, most);
    most = times(free->memory_bytes, shape->memory_bytes, most);
    most = times(free->disk_bytes, shape->disk_bytes, most);
    return times(free->device_milli, shape->accelerator_milli, most);
}

/* ---- limits of teams ------------------------------------------------------------------------- */

struct limit_search {
    const struct core *core;
    const struct job_row *job;
    const struct shape_row *shape;
    uint64_t team; /* that is looked at: the job's own, or one above it */
    struct amounts held;
    uint32_t type;     /* accelerator type of the quota that is looked at, or 0: any */
    int64_t type_milli; /* held of that type */
    struct strbuf *out;
};

static bool is_below(const struct core *core, uint64_t id, uint64_t above)
{
    for (int depth = 0; id && depth < TEAM_DEPTH_MAX; depth++) {
        if (id == above)
            return true;
        const struct team_row *team = core_team(core, id);
        id = team ? team->parent : 0;
    }
    return false;
}

static void add_held(void *context, enum row_kind kind, const void *data)
{
    struct limit_search *search = context;
    const struct attempt_row *attempt = data;
    const struct job_row *job = core_job(search->core, attempt->job);
    const struct shape_row *shape = job ? core_shape(search->core, job->shape) : NULL;
    (void)kind;
    if (!shape || !is_below(search->core, job->team, search->team))
        return;
    add_ranks(&search->held, shape, attempt->size);
    if (search->type && shape->accelerator == search->type)
        search->type_milli += shape->accelerator_milli * attempt->size;
}

/* What is held of a quota's resource, and what a rank needs of it. */
static void find_amounts(
    struct limit_search *search, const char *resource, int64_t *ret_held, int64_t *ret_need)
{
    const struct {
        const char *name;
        int64_t held, need;
    } plain[] = {
        {"cpu", search->held.cpu_milli, search->shape->cpu_milli},
        {"memory", search->held.memory_bytes, search->shape->memory_bytes},
        {"disk", search->held.disk_bytes, search->shape->disk_bytes},
        {"accelerators", search->held.device_milli, search->shape->accelerator_milli},
    };
    for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
        if (strcmp(plain[i].name, resource) == 0) {
            *ret_held = plain[i].held;
            *ret_need = plain[i].need;
            return;
        }
    }
    *ret_held = search->type_milli;
    *ret_need = search->shape->accelerator == search->type ? search->shape->accelerator_milli : 0;
}

static void check_quota(void *context, enum row_kind kind, const void *data)
{
    struct limit_search *search = context;
    const struct quota_row *quota = data;
    (void)kind;
    if (quota->team != search->team || quota->limit < 0 || search->out->length > 0)
        return;
    const char *resource = core_symbol(search->core, quota->resource);
    int64_t held, need;
    search->held = (struct amounts){0};
    search->type = quota->resource;
    search->type_milli = 0;
    core_row_each(search->core, ROW_ATTEMPT, add_held, search);
    find_amounts(search, resource, &held, &need);
    need *= search->job->size_min;
    if (need <= 0 || held + need <= quota->limit)
        return;
    char texts[3][QUANTITY_TEXT];
    bool bytes = strcmp(resource, "memory") == 0 || strcmp(resource, "disk") == 0;
    char *(*format)(int64_t, char[QUANTITY_TEXT]) = bytes ? quantity_bytes : quantity_milli;
    strbuf_printf(search->out, "the team %s is at its limit: it holds %s of %s %s, and this needs %s",
        core_symbol(search->core, core_team(search->core, search->team)->name),
        format(held, texts[0]), format(quota->limit, texts[1]), resource, format(need, texts[2]));
}

static void find_limit(const struct core *core, const struct job_row *job,
    const struct shape_row *shape, struct strbuf *out)
{
    struct limit_search search = {.core = core, .job = job, .shape = shape, .out = out};
    uint64_t id = job->team;
    for (int depth = 0; id && depth < TEAM_DEPTH_MAX && out->length == 0; depth++) {
        const struct team_row *team = core_team(core, id);
        if (!team)
            return;
        search.team = id;
        core_row_each(core, ROW_QUOTA, check_quota, &search);
        id = team->parent;
    }
}

/* ---- room ------------------------------------------------------------------------------------ */

struct room_search {
    const struct core *core;
    struct arena *arena;
    struct idmap used; /* node id -> struct amounts */
    const struct job_row *job;
    const struct shape_row *shape;
    int64_t nodes, closed, ranks;
};

static struct amounts *used_of(struct room_search *search, uint64_t node)
{
    struct amounts *used = idmap_get(&search->used, node);
    if (!used) {
        used = arena_alloc(search->arena, 1, sizeof *used);
        idmap_put(&search->used, node, used);
    }
    return used;
}

static void add_placement(void *context, enum row_kind kind, const void *data)
{
    struct room_search *search = context;
    const struct placement_row *placement = data;
    const struct attempt_row *attempt = core_attempt(search->core, placement->attempt);
    const struct job_row *job = attempt ? core_job(search->core, attempt->job) : NULL;
    const struct shape_row *shape = job ? core_shape(search->core, job->shape) : NULL;
    (void)kind;
    if (shape)
        add_ranks(used_of(search, placement->node), shape, placement->ranks);
}

/* Whether the node is of the sort that the job asks for, as far as names go. */
static bool is_of_sort(const struct room_search *search, const struct node_row *node)
{
    const struct shape_row *shape = search->shape;
    const struct pool_row *pool = core_pool(search->core, node->pool);
    return pool && (!shape->pool || shape->pool == pool->name) &&
           (!shape->node_type || shape->node_type == node->type) &&
           (!shape->jurisdiction || shape->jurisdiction == pool->jurisdiction) &&
           (!shape->accelerator || shape->accelerator == node->accelerator);
}

static void add_node(void *context, enum row_kind kind, const void *data)
{
    struct room_search *search = context;
    const struct node_row *node = data;
    (void)kind;
    if (!is_of_sort(search, node))
        return;
    search->nodes++;
    if (node->state != NODE_UP || node->cordoned || node->draining || node->leaving) {
        search->closed++;
        return;
    }
    const struct amounts *used = used_of(search, node->id);
    const struct amounts free = {
        .cpu_milli = node->cpu_milli - used->cpu_milli,
        .memory_bytes = node->memory_bytes - used->memory_bytes,
        .disk_bytes = node->disk_bytes - used->disk_bytes,
        .device_milli = node->devices * 1000LL - used->device_milli,
    };
    search->ranks += ranks_in(&free, search->shape, search->job->size_min);
}

static void find_room(struct room_search *search, struct strbuf *out)
{
    long long needed = search->job->size_min;
    core_row_each(search->core, ROW_PLACEMENT, add_placement, search);
    core_row_each(search->core, ROW_NODE, add_node, search);
    idmap_finish(&search->used);
    if (search->nodes == search->closed)
        strbuf_printf(out, "all %lld nodes that it could use are cordoned, draining or lost",
            (long long)search->nodes);
    else if (search->ranks < needed)
        strbuf_printf(out, "there is no room now: %lld of its %lld ranks would fit",
            (long long)search->ranks, needed);
    else
        strbuf_puts(out, "others go first, or labels, taints, reservations or places kept for others "
                         "leave no room for it");
}

/* ---- the question ---------------------------------------------------------------------------- */

struct dependency_search {
    const struct core *core;
    uint64_t job;
    struct strbuf *out;
};

static void add_dependency(void *context, enum row_kind kind, const void *data)
{
    struct dependency_search *search = context;
    const struct dependency_row *row = data;
    const struct job_row *on = core_job(search->core, row->on_job);
    (void)kind;
    if (row->job == search->job && on)
        strbuf_printf(search->out, "%s%s", search->out->length ? ", " : "it waits for ",
            core_symbol(search->core, on->name));
}

static void why_waiting(const struct core *core, const struct job_row *job, struct strbuf *out)
{
    struct dependency_search search = {core, job->id, out};
    char text[QUANTITY_TEXT];
    core_row_each(core, ROW_DEPENDENCY, add_dependency, &search);
    if (out->length == 0 && job->not_before_ms > 0)
        strbuf_printf(out, job->failures > 0 ? "it is tried again at %s" : "it starts at %s",
            quantity_time(job->not_before_ms, text));
}

const char *why_job_waits(struct server *server, struct arena *arena, const struct job_row *job)
{
    const struct core *core = server->core;
    const struct shape_row *shape = core_shape(core, job->shape);
    struct strbuf out = {0};
    if (job->state == JOB_HELD) {
        strbuf_puts(&out, "it is held until somebody releases it (muster release)");
    } else if (job->state == JOB_WAITING) {
        why_waiting(core, job, &out);
    } else if (job->state == JOB_QUEUED && shape) {
        struct room_search room = {.core = core, .arena = arena, .job = job, .shape = shape};
        find_limit(core, job, shape, &out);
        if (out.length == 0)
            find_room(&room, &out);
    }
    const char *why = out.length ? arena_strdup(arena, strbuf_text(&out)) : NULL;
    strbuf_finish(&out);
    return why;
}
