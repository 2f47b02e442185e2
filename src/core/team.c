/* Teams: nodes of the quota tree. */
#include "core/team.h"
#include "core/core.h"
#include "core/limits.h"
#include "core/resource.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/symbol.h"
#include "core/table.h"

#include <assert.h>
#include <inttypes.h>

static int by_team_id(const void *a, const void *b, const void *context)
{
    (void)context;
    return compare_u64(
        ((const struct live_team *)a)->row.id, ((const struct live_team *)b)->row.id);
}

void team_link(struct core *core, struct live_team *team)
{
    if (team->parent) {
        vec_push(&team->parent->children, team);
        sort_pointers(
            (void **)team->parent->children.items, team->parent->children.count, by_team_id, NULL);
        return;
    }
    vec_push(&core->roots, team);
    sort_pointers((void **)core->roots.items, core->roots.count, by_team_id, NULL);
}

#define POINTERS_REMOVE(list, pointer)                                                             \
    do {                                                                                           \
        size_t at_ = 0;                                                                            \
        while ((list)->items[at_] != (pointer))                                                    \
            at_++;                                                                                 \
        vec_remove((list), at_);                                                                   \
    } while (0)

static void team_unlink(struct core *core, struct live_team *team)
{
    if (team->parent)
        POINTERS_REMOVE(&team->parent->children, team);
    else
        POINTERS_REMOVE(&core->roots, team);
}

void team_free(struct live_team *team)
{
    vec_free(&team->children);
    vec_free(&team->lanes);
    vec_free(&team->rivals);
    free(team);
}

static struct live_team *find(const struct core *core, const char *name)
{
    return idmap_get(&core->teams_by_name, symbol_find(core, name));
}

static int check_texts(const struct team *team, struct error *err)
{
    if (!team->metadata.name || !*team->metadata.name)
        return error_set(err, ERR_INVALID, "metadata.name: a team needs a name");
    if (symbol_check(team->metadata.name, "metadata.name", err) < 0)
        return -1;
    for (size_t i = 0; i < team->quotas.count; i++) {
        const struct quota *quota = &team->quotas.items[i];
        if (!quota->resource || !*quota->resource)
            return error_set(err, ERR_INVALID, "spec.quotas: a quota names no resource");
        if (symbol_check(quota->resource, "spec.quotas", err) < 0)
            return -1;
        for (size_t other = 0; other < i; other++) {
            if (strcmp(team->quotas.items[other].resource, quota->resource) == 0)
                return error_set(
                    err, ERR_INVALID, "spec.quotas: %s is named twice", quota->resource);
        }
    }
    return 0;
}

static int check_numbers(const struct team *team, struct error *err)
{
    if (team->weight_micro < 0 || team->weight_micro > (int64_t)1000000 * 1000000)
        return error_set(err, ERR_INVALID, "spec.weight: expected 0 to 1000000");
    if (team->jobs_max < 0)
        return error_set(err, ERR_INVALID, "spec.jobsMax: expected a number >= 0");
    for (size_t i = 0; i < team->quotas.count; i++) {
        const struct quota *quota = &team->quotas.items[i];
        if (quota->guarantee < 0 || quota->guarantee > AMOUNT_MAX * 1024 || quota->limit < -1)
            return error_set(
                err, ERR_INVALID, "spec.quotas: %s: amount out of range", quota->resource);
        if (quota->limit >= 0 && quota->guarantee > quota->limit)
            return error_set(err, ERR_INVALID, "spec.quotas: %s: the guarantee is above the limit",
                quota->resource);
    }
    return 0;
}

static int check_parent(const struct core *core, const struct team *team,
    struct live_team **ret_parent, struct error *err)
{
    *ret_parent = NULL;
    if (!team->parent || !*team->parent)
        return 0;
    struct live_team *parent = find(core, team->parent);
    const struct live_team *self = find(core, team->metadata.name);
    if (!parent)
        return error_set(err, ERR_NOT_FOUND, "spec.parent: there is no team %.64s", team->parent);
    int depth = 1;
    for (const struct live_team *at = parent; at; at = at->parent, depth++) {
        if (at == self)
            return error_set(err, ERR_INVALID, "spec.parent: team %.64s is below %.64s",
                team->parent, team->metadata.name);
    }
    if (depth > TEAM_DEPTH_MAX)
        return error_set(
            err, ERR_INVALID, "spec.parent: teams nest at most %d deep", TEAM_DEPTH_MAX);
    *ret_parent = parent;
    return 0;
}

static int64_t declared(const struct live_team *team, uint32_t resource)
{
    for (const struct live_quota *quota = team->quotas; quota; quota = quota->next) {
        if (quota->row.resource == resource)
            return quota->row.guarantee;
    }
    return 0;
}

/* Guarantees of a resource below `parent`, without those of `self`. */
static int64_t children_guarantee(
    const struct live_team *parent, const struct live_team *self, int resource)
{
    int64_t sum = 0;
    for (size_t i = 0; i < parent->children.count; i++) {
        if (parent->children.items[i] != self)
            sum += parent->children.items[i]->guarantee[resource];
    }
    return sum;
}

/* What is guaranteed to children has to be guaranteed to their parent, where it states anything. */
static int check_guarantee(struct core *core, const struct live_team *self,
    const struct live_team *parent, uint32_t resource, int64_t guarantee, struct error *err)
{
    int index = resource_of_quota(core, resource);
    if (index < 0)
        return error_set(err, ERR_TOO_LARGE, "there are too many accelerator types");
    int64_t below = 0;
    for (size_t i = 0; self && i < self->children.count; i++)
        below += self->children.items[i]->guarantee[index];
    if (guarantee && below > guarantee)
        return error_set(err, ERR_INVALID,
            "spec.quotas: %s: its children are guaranteed %" PRId64 ", more than %" PRId64,
            core_symbol(core, resource), below, guarantee);
    int64_t sum = guarantee ? guarantee : below;
    for (const struct live_team *at = parent, *from = self; at; from = at, at = at->parent) {
        int64_t own = declared(at, resource);
        sum += children_guarantee(at, from, index);
        if (own && sum > own)
            return error_set(err, ERR_INVALID,
                "spec.quotas: %s: the guarantees below team %s would be %" PRId64
                ", more than its own %" PRId64,
                core_symbol(core, resource), core_symbol(core, at->row.name), sum, own);
        if (own)
            break;
    }
    return 0;
}

static int check_guarantees(struct core *core, const struct team *team,
    const struct live_team *self, const struct live_team *parent, struct error *err)
{
    for (size_t i = 0; i < team->quotas.count; i++) {
        const struct quota *quota = &team->quotas.items[i];
        uint32_t resource = symbol_intern(core, quota->resource);
        if (check_guarantee(core, self, parent, resource, quota->guarantee, err) < 0)
            return -1;
    }
    /* A team that moves takes the guarantees below it along. */
    for (const struct live_quota *old = self ? self->quotas : NULL; old; old = old->next) {
        if (self->parent != parent &&
            check_guarantee(core, self, parent, old->row.resource, 0, err) < 0)
            return -1;
    }
    return 0;
}

static void quotas_replace(struct core *core, struct live_team *live, const struct team *team)
{
    for (struct live_quota *quota = live->quotas, *next; quota; quota = next) {
        next = quota->next;
        change_delete(core, &quota->item);
    }
    live->quotas = NULL;
    for (size_t i = 0; i < team->quotas.count; i++) {
        struct live_quota *quota = mem_alloc(1, sizeof *quota);
        quota->row = (struct quota_row){
            .team = live->row.id,
            .resource = symbol_intern(core, team->quotas.items[i].resource),
            .guarantee = team->quotas.items[i].guarantee,
            .limit = team->quotas.items[i].limit,
        };
        change_new(core, ROW_QUOTA, &quota->item);
        LIST_APPEND(live->quotas, quota, next);
    }
}

static bool quotas_same(
    const struct core *core, const struct live_team *live, const struct team *team)
{
    const struct live_quota *quota = live->quotas;
    for (size_t i = 0; i < team->quotas.count; i++, quota = quota->next) {
        const struct quota *want = &team->quotas.items[i];
        if (!quota || quota->row.resource != symbol_find(core, want->resource) ||
            quota->row.guarantee != want->guarantee || quota->row.limit != want->limit)
            return false;
    }
    return quota == NULL;
}

static struct live_team *team_create(struct core *core, const struct team *team)
{
    struct live_team *live = mem_alloc(1, sizeof *live);
    live->row.name = symbol_intern(core, team->metadata.name);
    live->row.usage_at_ms = core->now_ms;
    change_new(core, ROW_TEAM, &live->item);
    idmap_put(&core->teams_by_name, live->row.name, live);
    team_link(core, live);
    return live;
}

/* Moves the team below another parent, with all that it holds. */
static void team_move(struct core *core, struct live_team *live, struct live_team *parent)
{
    struct amounts held, firm;
    memcpy(held.of, live->held, sizeof held.of);
    memcpy(firm.of, live->firm, sizeof firm.of);
    struct live_team *before = live->parent;
    team_unlink(core, live);
    for (struct live_team *at = before; at; at = at->parent) {
        usage_settle(core, at);
        for (int i = 0; i < RESOURCE_MAX; i++) {
            at->held[i] -= held.of[i];
            at->firm[i] -= firm.of[i];
        }
        share_settle(core, at);
    }
    live->parent = parent;
    live->row.parent = parent ? parent->row.id : 0;
    team_link(core, live);
    for (struct live_team *at = parent; at; at = at->parent) {
        usage_settle(core, at);
        for (int i = 0; i < RESOURCE_MAX; i++) {
            at->held[i] += held.of[i];
            at->firm[i] += firm.of[i];
        }
        share_settle(core, at);
    }
    quota_derive(core, before);
}

int core_team_put(struct core *core, const struct team *team, struct error *err)
{
    assert(team);
    struct live_team *parent;
    uint64_t last_symbol = core->tables[ROW_SYMBOL].last_id;
    if (check_texts(team, err) < 0 || check_numbers(team, err) < 0 ||
        check_parent(core, team, &parent, err) < 0)
        return -1;
    size_t types = core->accelerator_types.count;
    struct live_team *live = find(core, team->metadata.name);
    if (check_guarantees(core, team, live, parent, err) < 0) {
        core->accelerator_types.count = types;
        symbol_sweep(core, last_symbol);
        return -1;
    }
    if (!live)
        live = team_create(core, team);
    if (live->parent != parent)
        team_move(core, live, parent);
    live->row.weight_micro = team->weight_micro;
    live->row.jobs_max = team->jobs_max ? team->jobs_max : JOBS_MAX_DEFAULT;
    live->row.borrow = team->borrow;
    live->row.host_network = team->host_network;
    change_put(core, &live->item);
    if (!quotas_same(core, live, team))
        quotas_replace(core, live, team);
    quota_derive(core, live);
    decide(core, (struct core_decision){.kind = DECISION_TEAM_PUT, .team = live->row.id});
    core->free_version++;
    core->stir_version++;
    core->pass_wanted = true;
    return 0;
}

int core_team_delete(struct core *core, const char *name, struct error *err)
{
    struct live_team *live = find(core, name);
    if (!live)
        return error_set(err, ERR_NOT_FOUND, "there is no team %.64s", name ? name : "");
    if (live->jobs)
        return error_set(err, ERR_CONFLICT, "team %s has %" PRId64 " live jobs", name, live->jobs);
    if (live->services)
        return error_set(
            err, ERR_CONFLICT, "team %s has %" PRId64 " services", name, live->services);
    if (live->children.count)
        return error_set(
            err, ERR_CONFLICT, "team %s has %zu teams below it", name, live->children.count);
    decide(core, (struct core_decision){.kind = DECISION_TEAM_DELETE, .team = live->row.id});
    team_unlink(core, live);
    idmap_remove(&core->teams_by_name, live->row.name);
    for (struct live_quota *quota = live->quotas; quota; quota = quota->next)
        change_delete(core, &quota->item);
    vec_free(&live->lanes);
    vec_free(&live->rivals);
    vec_free(&live->children);
    quota_derive(core, live->parent);
    change_retire(core, &live->item);
    return 0;
}

const struct team_row *core_team(const struct core *core, uint64_t id)
{
    const struct item *item = table_find(core, ROW_TEAM, id);
    return item ? &((const struct live_team *)item)->row : NULL;
}

uint64_t core_team_find(const struct core *core, const char *name)
{
    const struct live_team *team = find(core, name);
    return team ? team->row.id : 0;
}
