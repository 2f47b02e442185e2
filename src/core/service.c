/* Services: what they are told to be, and which replicas they lack.
 *
 * The words of the rules, here and in replica.c: a replica *exists* from its submission until its
 * job is told to end for good (by its service, by a user, by its deadline). One whose attempt is
 * preempted or drained exists, for its job will start again. One that was told to end does not,
 * although it holds its place until its engine has stopped it: surge therefore bounds what is asked
 * for and not what is held, and a service that rolls holds more for as long as the grace lasts.
 *
 * Wanted are replicas of the newest revision, as many as are missing to `replicas` and as leave no
 * more than replicas + surge that exist. A surge replica is placed like any other job: while there
 * is no room for it, in the team's quota or on a node, it waits in the queue (core_job_blocked says
 * why) and, with unavailable 0, the roll waits with it for as long as that lasts. Nothing is
 * stopped to make room; who wants that sets unavailable.
 *
 * Beside those a rollout may want replicas in its arms (rollout.c); "the newest revision" is
 * then the stable one until the rollout has passed: service_goal.
 *
 * Invariants: services_wanting has, by id, exactly those services that lack a replica, whether or
 * not they have to wait after a refusal; counts are those of the rows. Numbers of replicas ascend
 * with their ids and are never used twice. */
#include "core/service.h"
#include "core/core.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/rollout.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/symbol.h"
#include "core/table.h"
#include "core/team.h"

#include <assert.h>
#include <inttypes.h>

enum {
    REFUSED_MS = 10 * 1000, /* doubling.. */
    REFUSED_MS_MAX = 5 * 60 * 1000,
    REFUSALS_MAX = 16,     /* ..and counted no further */
    WANTED_PER_TICK = 256, /* the next tick comes at once when there are more */
};

struct live_service *service_find(const struct core *core, uint64_t id)
{
    return (struct live_service *)table_find(core, ROW_SERVICE, id);
}

int32_t service_goal(const struct live_service *service)
{
    const struct live_rollout *rollout = service->rollout;
    int32_t state = rollout ? rollout->row.state : ROLLOUT_IDLE;
    bool held = state == ROLLOUT_STARTING || state == ROLLOUT_TESTING || state == ROLLOUT_ABORTED;
    return held ? rollout->row.stable : service->row.revision;
}

static int32_t arm_missing(const struct live_service *service, enum replica_arm arm)
{
    const struct service_row *row = &service->row;
    if (arm != ARM_MAIN)
        return (int32_t)most(rollout_wants(service, arm) - service->counts.arms[arm], 0);
    int32_t missing = row->replicas - service->counts.newest;
    int32_t room = row->replicas + row->surge - service->counts.existing;
    return (int32_t)most(least(missing, room), 0);
}

int32_t service_missing(const struct live_service *service)
{
    int32_t missing = 0;
    for (int arm = 0; arm < ARM_COUNT; arm++)
        missing += arm_missing(service, (enum replica_arm)arm);
    return missing;
}

/* ---- lists of services that need a look ----------------------------------------------------- */

/* The place of the service in services_wanting, or where it would be. */
static size_t wanting_place(const struct core *core, const struct live_service *service)
{
    size_t low = 0, high = core->services_wanting.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (core->services_wanting.items[middle]->row.id < service->row.id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void wanting_set(struct core *core, struct live_service *service, bool wanting)
{
    size_t at = wanting_place(core, service);
    service->wanting = wanting;
    if (!wanting) {
        assert(core->services_wanting.items[at] == service);
        vec_remove(&core->services_wanting, at);
        return;
    }
    vec_push(&core->services_wanting, service);
    struct live_service **items = core->services_wanting.items;
    memmove(items + at + 1, items + at, (core->services_wanting.count - 1 - at) * sizeof *items);
    items[at] = service;
}

void service_touch(struct core *core, struct live_service *service)
{
    bool wanting = service_missing(service) > 0;
    if (wanting != service->wanting)
        wanting_set(core, service, wanting);
    if (service->changed)
        return;
    service->changed = true;
    vec_push(&core->services_changed, service);
}

int64_t services_next_ms(const struct core *core)
{
    int64_t next_ms = rollouts_next_ms(core);
    for (size_t i = 0; i < core->services_wanting.count && next_ms > core->now_ms; i++)
        next_ms = least(next_ms, core->services_wanting.items[i]->row.not_before_ms);
    return next_ms == MOMENT_NEVER ? next_ms : most(next_ms, core->now_ms);
}

/* ---- commands ------------------------------------------------------------------------------- */

static int check_numbers(const struct core_service *service, struct error *err)
{
    const struct {
        const char *what;
        int32_t value;
    } numbers[] = {
        {"spec.replicas", service->replicas},
        {"spec.rollout.surge", service->surge},
        {"spec.rollout.unavailable", service->unavailable},
    };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (numbers[i].value < 0 || numbers[i].value > REPLICAS_MAX)
            return error_set(err, ERR_INVALID, "%s: expected 0 to %d, got %d", numbers[i].what,
                REPLICAS_MAX, numbers[i].value);
    }
    if (service->surge + service->unavailable < 1)
        return error_set(err, ERR_INVALID,
            "spec.rollout: surge and unavailable are both 0, so that no replica could ever be "
            "replaced: set one of them");
    return 0;
}

static struct live_service *named(
    const struct core *core, const struct live_team *team, const char *name)
{
    uint32_t symbol = symbol_find(core, name);
    return symbol ? idmap_get(&core->services_by_name, name_key(team, symbol)) : NULL;
}

void service_link(struct core *core, struct live_service *service, struct live_team *team)
{
    service->team = team;
    team->services++;
    idmap_put(&core->services_by_name, name_key(team, service->row.name), service);
}

static struct live_service *service_create(
    struct core *core, struct live_team *team, const char *name)
{
    struct live_service *live = mem_alloc(1, sizeof *live);
    live->row.team = team->row.id;
    live->row.name = symbol_intern(core, name);
    change_new(core, ROW_SERVICE, &live->item);
    service_link(core, live, team);
    return live;
}

/* A new revision: what there is becomes older, and none of it counts as newest any more. */
static void service_renew(struct core *core, struct live_service *live)
{
    live->row.revision++;
    rollout_renewed(core, live);
    live->counts = replicas_count(live);
}

static void service_decide(
    struct core *core, enum decision_kind kind, const struct live_service *live)
{
    decide(core,
        (struct core_decision){.kind = kind, .team = live->row.team, .service = live->row.id});
}

int core_service_put(struct core *core, const struct core_service *service, uint64_t *ret_id,
    int32_t *ret_revision, struct error *err)
{
    assert(service && ret_id);
    if (!service->name || !*service->name)
        return error_set(err, ERR_INVALID, "metadata.name: a service needs a name");
    if (symbol_check(service->name, "metadata.name", err) < 0 || check_numbers(service, err) < 0)
        return -1;
    struct live_team *team = idmap_get(&core->teams_by_name, symbol_find(core, service->team));
    if (!team)
        return error_set(err, ERR_NOT_FOUND, "metadata.team: there is no team %.64s",
            service->team ? service->team : "(none)");
    struct live_service *live = named(core, team, service->name);
    if (live && live->row.deleted)
        return error_set(err, ERR_CONFLICT,
            "service %s of team %s is being deleted: put it again when its replicas have ended",
            service->name, service->team);
    if (live && service->renew && live->row.revision == INT32_MAX)
        return error_set(err, ERR_CONFLICT, "service %s has no revisions left", service->name);
    bool renew = !live || service->renew;
    if (!live)
        live = service_create(core, team, service->name);
    rollout_plan_put(core, live, &service->rollout);
    if (renew)
        service_renew(core, live);
    live->row.replicas = service->replicas;
    live->row.surge = service->surge;
    live->row.unavailable = service->unavailable;
    /* What was refused may be accepted in its new form: it is tried at once. */
    live->row.refusals = 0;
    live->row.not_before_ms = 0;
    change_put(core, &live->item);
    service_touch(core, live);
    service_decide(core, DECISION_SERVICE_PUT, live);
    *ret_id = live->row.id;
    if (ret_revision)
        *ret_revision = live->row.revision;
    return 0;
}

int core_service_scale(
    struct core *core, uint64_t id, int32_t replicas, int32_t reason, struct error *err)
{
    struct live_service *live = service_find(core, id);
    if (!live)
        return error_set(err, ERR_NOT_FOUND, "there is no service %" PRIu64, id);
    if (live->row.deleted)
        return error_set(err, ERR_CONFLICT, "the service is being deleted");
    if (replicas < 0 || replicas > REPLICAS_MAX)
        return error_set(
            err, ERR_INVALID, "expected 0 to %d replicas, got %d", REPLICAS_MAX, replicas);
    if (replicas == live->row.replicas)
        return 0;
    struct core_decision decision = {.kind = DECISION_SERVICE_SCALE,
        .team = live->row.team,
        .service = id,
        .reason = reason,
        .from = live->row.replicas,
        .to = replicas};
    live->row.replicas = replicas;
    rollout_scaled(live);
    change_put(core, &live->item);
    service_touch(core, live);
    decide(core, decision);
    return 0;
}

void service_vanish(struct core *core, struct live_service *service)
{
    if (!service->row.deleted || service->replicas.count)
        return;
    idmap_remove(&core->services_by_name, name_key(service->team, service->row.name));
    service->team->services--;
    rollout_vanish(core, service);
    vec_free(&service->replicas);
    if (service->wanting)
        wanting_set(core, service, false);
    for (size_t i = core->services_changed.count; service->changed && i-- > 0;) {
        if (core->services_changed.items[i] != service)
            continue;
        vec_remove(&core->services_changed, i);
        service->changed = false;
    }
    change_retire(core, &service->item);
}

int core_service_delete(struct core *core, uint64_t id, struct error *err)
{
    struct live_service *live = service_find(core, id);
    if (!live)
        return error_set(err, ERR_NOT_FOUND, "there is no service %" PRIu64, id);
    if (live->row.deleted)
        return 0;
    live->row.deleted = 1;
    live->row.replicas = 0;
    change_put(core, &live->item);
    service_touch(core, live);
    service_decide(core, DECISION_SERVICE_DELETE, live);
    service_vanish(core, live);
    return 0;
}

/* ---- replicas that are wanted --------------------------------------------------------------- */

/* At most `left` of them, over all arms; returns how many more may be named. */
static int32_t wanted_of(
    const struct live_service *service, int32_t left, core_wanted_fn *visit, void *context)
{
    int32_t number = service->row.number;
    for (int arm = 0; arm < ARM_COUNT; arm++) {
        int32_t missing = arm_missing(service, (enum replica_arm)arm);
        for (int32_t n = 0; n < missing && left > 0; n++, left--) {
            struct core_wanted wanted = {
                .service = service->row.id,
                .revision = rollout_revision(service, (enum replica_arm)arm),
                .number = ++number,
                .arm = arm,
            };
            visit(context, &wanted);
        }
    }
    return left;
}

void core_service_wanted(const struct core *core, core_wanted_fn *visit, void *context)
{
    int32_t left = WANTED_PER_TICK;
    for (size_t i = 0; i < core->services_wanting.count && left > 0; i++) {
        const struct live_service *service = core->services_wanting.items[i];
        if (service->row.not_before_ms > core->now_ms)
            continue;
        left = wanted_of(service, left, visit, context);
    }
}

static int check_wanted(const struct core *core, const struct live_service *service,
    const struct core_wanted *wanted, struct error *err)
{
    if (!service)
        return error_set(err, ERR_NOT_FOUND, "there is no service %" PRIu64, wanted->service);
    assert((unsigned)wanted->arm < ARM_COUNT);
    enum replica_arm arm = (enum replica_arm)wanted->arm;
    if (wanted->revision != rollout_revision(service, arm) ||
        wanted->number <= service->row.number || arm_missing(service, arm) == 0)
        return error_set(err, ERR_CONFLICT,
            "replica %d of revision %d of service %s is not wanted any more", wanted->number,
            wanted->revision, core_symbol(core, service->row.name));
    return 0;
}

/* A replica is one rank that runs until it is stopped, whatever its job would say otherwise. */
static int check_replica_job(const struct core *core, const struct live_service *service,
    const struct job *job, struct error *err)
{
    const char *team = core_symbol(core, service->team->row.name);
    if (!job->service)
        return error_set(err, ERR_INVALID, "spec.service: the job of a replica has to be one");
    if (job->array.count || job->gang.size > 1 || job->gang.max > 1)
        return error_set(err, ERR_INVALID, "spec.gang: a replica is one rank and no array");
    if (job->hold || job->depends_on.count)
        return error_set(
            err, ERR_INVALID, "spec.hold, spec.dependsOn: a replica waits for nothing");
    if (!job->metadata.team || strcmp(job->metadata.team, team) != 0)
        return error_set(err, ERR_INVALID, "metadata.team: its service is of team %s", team);
    return 0;
}

static void replica_create(struct core *core, struct live_service *service,
    const struct core_wanted *wanted, struct live_job *job)
{
    struct live_replica *replica = mem_alloc(1, sizeof *replica);
    replica->row = (struct replica_row){
        .service = service->row.id,
        .job = job->row.id,
        .revision = wanted->revision,
        .number = wanted->number,
        .since_ms = core->now_ms,
        .arm = wanted->arm,
    };
    change_new(core, ROW_REPLICA, &replica->item);
    replica_link(core, replica, service, job);
    service->row.number = wanted->number;
    /* Another one that was refused in this tick keeps its backoff. */
    if (service->row.not_before_ms <= core->now_ms) {
        service->row.refusals = 0;
        service->row.not_before_ms = 0;
    }
    change_put(core, &service->item);
    service_touch(core, service);
}

int core_replica_submit(struct core *core, const struct core_wanted *wanted, const struct job *job,
    uint64_t *ret_job, struct error *err)
{
    assert(wanted && job && ret_job);
    struct live_service *service = service_find(core, wanted->service);
    if (check_wanted(core, service, wanted, err) < 0 ||
        check_replica_job(core, service, job, err) < 0 ||
        core_job_submit(core, job, ret_job, err) < 0)
        return -1;
    replica_create(core, service, wanted, (struct live_job *)table_find(core, ROW_JOB, *ret_job));
    return 0;
}

void core_replica_refused(struct core *core, const struct core_wanted *wanted)
{
    struct live_service *service = service_find(core, wanted->service);
    /* Several of one service that are refused in one tick are one refusal. */
    if (!service || service->row.not_before_ms > core->now_ms)
        return;
    int64_t delay_ms = REFUSED_MS;
    for (int32_t i = 0; i < service->row.refusals && delay_ms < REFUSED_MS_MAX; i++)
        delay_ms *= 2;
    service->row.refusals = (int32_t)least(service->row.refusals + 1, REFUSALS_MAX);
    service->row.not_before_ms = core->now_ms + least(delay_ms, REFUSED_MS_MAX);
    change_put(core, &service->item);
}

/* ---- loading, checking, reading ------------------------------------------------------------- */

void services_index(struct core *core)
{
    TABLE_EACH (core, ROW_SERVICE, struct live_service, service) {
        service->counts = replicas_count(service);
        service_touch(core, service);
    }
}

static const char *service_fault(const struct core *core, const struct live_service *service)
{
    const struct service_row *row = &service->row;
    struct replica_counts counts = replicas_count(service);
    if (memcmp(&counts, &service->counts, sizeof counts) != 0)
        return "its replicas are counted wrong";
    if (row->deleted && (row->replicas || !service->replicas.count))
        return "it is deleted, and wants replicas or has none";
    if (service->wanting != (service_missing(service) > 0))
        return "it wants replicas, and nobody would hear of it";
    size_t at = wanting_place(core, service);
    if (service->wanting &&
        (at >= core->services_wanting.count || core->services_wanting.items[at] != service))
        return "it is missing in the list of those that want replicas";
    for (size_t i = 0; i < service->replicas.count; i++) {
        const struct live_replica *one = service->replicas.items[i];
        int32_t before = i ? service->replicas.items[i - 1]->row.number : 0;
        if (one->service != service || one->job->links->replica != one)
            return "a replica is another's";
        if (one->row.number <= before || one->row.number > row->number ||
            one->row.revision > row->revision)
            return "a replica has a number or revision that was not given out";
        const struct live_job *job = one->job;
        if (one->row.ready &&
            (job->row.state != JOB_RUNNING || job->row.attempt != one->row.attempt))
            return "a replica is ready and does not run";
    }
    return rollout_fault(service);
}

const char *services_fault(const struct core *core, uint64_t *ret_id)
{
    size_t wanting = 0, replicas = 0;
    int64_t ready = 0;
    TABLE_EACH (core, ROW_SERVICE, struct live_service, service) {
        *ret_id = service->row.id;
        const char *fault = service_fault(core, service);
        if (fault)
            return fault;
        wanting += service->wanting;
        replicas += service->replicas.count;
    }
    *ret_id = 0;
    TABLE_EACH (core, ROW_REPLICA, struct live_replica, replica)
        ready += replica->row.ready;
    if (wanting != core->services_wanting.count || replicas != core->tables[ROW_REPLICA].live ||
        ready != core->replicas_ready)
        return "services or replicas are counted wrong";
    return NULL;
}

uint64_t core_service_find(const struct core *core, const char *team, const char *name)
{
    const struct live_team *in = idmap_get(&core->teams_by_name, symbol_find(core, team));
    const struct live_service *service = in ? named(core, in, name) : NULL;
    return service ? service->row.id : 0;
}

const struct service_row *core_service(const struct core *core, uint64_t id)
{
    const struct live_service *service = service_find(core, id);
    return service ? &service->row : NULL;
}
