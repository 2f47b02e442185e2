/* Checking: everything that is derived is computed again from the rows and compared, and the
 * invariants that one state can show are checked. It is slow, thorough, and changes nothing. */
#include "core/allot.h"
#include "core/attempt.h"
#include "core/backfill.h"
#include "core/broker.h"
#include "core/copies.h"
#include "core/core.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/nofit.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/preempt.h"
#include "core/queue.h"
#include "core/resource.h"
#include "core/service.h"
#include "core/shape.h"
#include "core/state.h"
#include "core/symbol.h"
#include "core/table.h"
#include "core/team.h"

#include <inttypes.h>

static int wrong(struct error *err, const char *what, uint64_t id, const char *how)
{
    return error_set(err, ERR_CORRUPT, "%s %" PRIu64 ": %s", what, id, how);
}

static void sum_held(const struct live_node *node, struct bundle *ret, int16_t *devices)
{
    for (size_t i = 0; i < node->placements.count; i++) {
        const struct live_placement *one = node->placements.items[i];
        struct bundle part = bundle_of_shape(&one->attempt->job->shape->row, one->row.ranks);
        ret->cpu_milli += part.cpu_milli;
        ret->memory_bytes += part.memory_bytes;
        ret->disk_bytes += part.disk_bytes;
        for (int d = 0; d < DEVICES_MAX; d++)
            devices[d] += (int16_t)((one->row.devices >> d & 1) ? one->row.device_milli : 0);
    }
}

static void sum_claimed(const struct live_node *node, struct bundle *ret, int16_t *devices)
{
    for (size_t i = 0; i < node->claims.count; i++) {
        const struct live_claim *one = node->claims.items[i];
        struct bundle part = bundle_of_shape(&one->job->shape->row, one->row.ranks);
        ret->cpu_milli += part.cpu_milli;
        ret->memory_bytes += part.memory_bytes;
        ret->disk_bytes += part.disk_bytes;
        for (int d = 0; d < DEVICES_MAX; d++)
            devices[d] += (int16_t)((one->row.devices >> d & 1) ? one->row.device_milli : 0);
    }
}

static bool bundle_same(const struct bundle *a, const struct bundle *b)
{
    return a->cpu_milli == b->cpu_milli && a->memory_bytes == b->memory_bytes &&
           a->disk_bytes == b->disk_bytes;
}

/* Invariant 5: nothing is given out beyond what there is. */
static int check_node(const struct live_node *node, struct error *err)
{
    struct bundle held = {0}, claimed = {0};
    int16_t device_held[DEVICES_MAX] = {0}, device_claimed[DEVICES_MAX] = {0};
    sum_held(node, &held, device_held);
    sum_claimed(node, &claimed, device_claimed);
    if (!bundle_same(&held, &node->held) || !bundle_same(&claimed, &node->claimed) ||
        memcmp(device_held, node->device_held, sizeof device_held) != 0 ||
        memcmp(device_claimed, node->device_claimed, sizeof device_claimed) != 0)
        return wrong(err, "node", node->row.id, "its totals differ from its placements");
    if (held.cpu_milli > node->row.cpu_milli || held.memory_bytes > node->row.memory_bytes ||
        held.disk_bytes > node->row.disk_bytes)
        return wrong(err, "node", node->row.id, "more is held than it has");
    struct live_node again = *node;
    node_room_derive(&again);
    if (memcmp(&again.room, &node->room, sizeof again.room) != 0)
        return wrong(err, "node", node->row.id, "its room is not what is left of it");
    for (int d = 0; d < DEVICES_MAX; d++) {
        if (device_held[d] > (d < node->row.devices ? DEVICE_MILLI : 0))
            return wrong(err, "node", node->row.id, "a device is given out beyond its capacity");
    }
    if (node->exclusive_held && node->placements.count) {
        const struct live_attempt *only = node->placements.items[0]->attempt;
        for (size_t i = 1; i < node->placements.count; i++) {
            if (node->placements.items[i]->attempt != only)
                return wrong(err, "node", node->row.id, "an exclusive attempt is not alone");
        }
    }
    return 0;
}

/* The devices of a placement are as many as its ranks ask for. */
static int check_placement(const struct live_placement *one, struct error *err)
{
    const struct shape_row *shape = &one->attempt->job->shape->row;
    int64_t devices = __builtin_popcountll(one->row.devices);
    int64_t want = shape->accelerator_milli * one->row.ranks;
    if (devices * one->row.device_milli != want)
        return wrong(err, "placement", one->row.id, "its devices are not what its ranks ask for");
    if (shape->accelerator && shape->accelerator != one->node->row.accelerator)
        return wrong(err, "placement", one->row.id, "its node has another accelerator type");
    if (one->attempt->row.stop_reason != END_NONE)
        return 0; /* perhaps because its node or pool was changed */
    if ((shape->pool && shape->pool != one->node->pool->row.name) ||
        (shape->jurisdiction && shape->jurisdiction != one->node->pool->row.jurisdiction))
        return wrong(err, "placement", one->row.id, "it is in a pool that it does not allow");
    return 0;
}

/* Invariants 2 and 3. */
static int check_attempt(const struct live_attempt *attempt, struct error *err)
{
    int64_t ranks = 0;
    if (attempt->job->attempt != attempt || attempt->job->row.attempt != attempt->row.id)
        return wrong(err, "attempt", attempt->row.id, "its job has another one");
    for (const struct live_placement *one = attempt->placements; one; one = one->next) {
        if (one->row.first_rank != ranks)
            return wrong(err, "attempt", attempt->row.id, "ranks are missing or placed twice");
        if (one->node->pool != attempt->placements->node->pool)
            return wrong(err, "attempt", attempt->row.id, "its gang is in two pools");
        ranks += one->row.ranks;
        if (check_placement(one, err) < 0)
            return -1;
    }
    if (ranks != attempt->row.size || ranks < attempt->job->row.size_min ||
        ranks > attempt->job->row.size_max)
        return wrong(err, "attempt", attempt->row.id, "the gang is not whole");
    return 0;
}

/* Invariants 1 and 3: every live job is somewhere, and holds nothing while it waits. */
static int check_job(const struct core *core, const struct live_job *job, struct error *err)
{
    int32_t state = job->row.state;
    if (job_state_ended(state))
        return wrong(err, "job", job->row.id, "it has ended and is still live");
    if (job_named(core, job->team, job->row.name) != job)
        return wrong(err, "job", job->row.id, "its name does not find it");
    if ((state >= JOB_STARTING) != (job->attempt != NULL))
        return wrong(err, "job", job->row.id, "its state contradicts its attempt");
    if ((state == JOB_STOPPING) != (job->attempt && job->attempt->row.stop_reason != END_NONE))
        return wrong(err, "job", job->row.id, "it is stopping and its attempt is not");
    bool competes = state == JOB_QUEUED && !job->links->claims;
    if (competes != (job->lane != NULL))
        return wrong(err, "job", job->row.id, "it competes and is in no lane");
    if (state == JOB_WAITING && !job->links->depends && !job->timer)
        return wrong(err, "job", job->row.id, "it waits for nothing");
    if (job->links->claims && state != JOB_QUEUED)
        return wrong(err, "job", job->row.id, "it has claims and does not compete");
    int64_t claimed = 0;
    for (const struct live_claim *claim = job->links->claims; claim; claim = claim->next)
        claimed += claim->row.ranks;
    if (job->links->claims && (claimed < job->row.size_min || claimed > job->row.size_max))
        return wrong(err, "job", job->row.id, "its claims are not for a whole gang");
    return 0;
}

static void team_add(struct amounts *held, const struct live_team *team, struct live_team *owner,
    const struct amounts *amounts)
{
    for (const struct live_team *at = owner; at; at = at->parent) {
        for (int i = 0; at == team && i < RESOURCE_MAX; i++)
            held->of[i] += amounts->of[i];
    }
}

static int check_team(const struct core *core, const struct live_team *team, struct error *err)
{
    struct amounts held = {0}, firm = {0}, part;
    int64_t jobs = 0, services = 0;
    TABLE_EACH (core, ROW_ATTEMPT, struct live_attempt, attempt) {
        attempt_amounts(attempt, &part);
        team_add(&held, team, attempt->job->team, &part);
        if (job_firm(attempt->job))
            team_add(&firm, team, attempt->job->team, &part);
    }
    TABLE_EACH (core, ROW_CLAIM, struct live_claim, claim) {
        claim_amounts(claim, &part);
        team_add(&held, team, claim->job->team, &part);
        if (job_firm(claim->job))
            team_add(&firm, team, claim->job->team, &part);
    }
    TABLE_EACH (core, ROW_JOB, struct live_job, job)
        jobs += job->team == team;
    TABLE_EACH (core, ROW_SERVICE, struct live_service, service)
        services += service->team == team;
    if (memcmp(held.of, team->held, sizeof held.of) != 0 ||
        memcmp(firm.of, team->firm, sizeof firm.of) != 0)
        return wrong(err, "team", team->row.id, "its totals differ from what is held");
    if (jobs != team->jobs || services != team->services)
        return wrong(err, "team", team->row.id, "it counts other jobs or services than it has");
    return 0;
}

/* The trial accounts of preemption are empty between searches. */
static int check_idle(const struct core *core, struct error *err)
{
    TABLE_EACH (core, ROW_ATTEMPT, struct live_attempt, attempt) {
        if (attempt->away)
            return wrong(err, "attempt", attempt->row.id, "it is away on trial");
    }
    TABLE_EACH (core, ROW_TEAM, struct live_team, team) {
        for (int i = 0; i < RESOURCE_MAX; i++) {
            if (team->chosen[i])
                return wrong(err, "team", team->row.id, "a trial is not undone");
        }
    }
    return 0;
}

/* Each job that moves between pools is in the list of those that do, once. */
static int check_burst(const struct core *core, struct error *err)
{
    if (!copies_check(core))
        return error_set(err, ERR_CORRUPT, "users of copies are counted wrong");
    return burst_check(core) ? 0 : error_set(err, ERR_CORRUPT, "burst budgets are counted wrong");
}

static int check_spot(const struct core *core, struct error *err)
{
    size_t moving = 0;
    TABLE_EACH (core, ROW_JOB, struct live_job, job)
        moving += job->links->spot != NULL;
    for (size_t i = 0; i < core->spot_jobs.count; i++) {
        const struct live_job *job = core->spot_jobs.items[i];
        if (!job->links->spot || job->links->spot->job != job)
            return wrong(err, "job", job->row.id, "it moves to spot pools and has no row for it");
    }
    if (moving != core->tables[ROW_SPOT].live || moving != core->spot_jobs.count)
        return error_set(err, ERR_CORRUPT, "the list of jobs that move to spot pools is wrong");
    return 0;
}

static int check_timers(const struct core *core, struct error *err)
{
    size_t timed = 0;
    TABLE_EACH (core, ROW_JOB, struct live_job, job) {
        if (!job->timer)
            continue;
        timed++;
        if (job->timer > core->timers.count || core->timers.items[job->timer - 1].job != job)
            return wrong(err, "job", job->row.id, "its timer is lost");
    }
    if (timed != core->timers.count)
        return error_set(err, ERR_CORRUPT, "timers of jobs that are gone");
    for (size_t i = 1; i < core->timers.count; i++) {
        const struct timer *timer = &core->timers.items[i];
        if (timer->at_ms < core->timers.items[(i - 1) / 2].at_ms)
            return wrong(err, "job", timer->job->row.id, "its timer is out of order");
    }
    return 0;
}

static int check_counts(const struct core *core, struct error *err)
{
    int64_t queued = 0, running = 0, claimants = 0;
    TABLE_EACH (core, ROW_JOB, struct live_job, job) {
        queued += job->row.state == JOB_QUEUED;
        running += job->row.state == JOB_RUNNING;
        claimants += job->links->claims != NULL;
    }
    if (queued != core->jobs_queued || running != core->jobs_running ||
        claimants != (int64_t)core->claimants.count)
        return error_set(err, ERR_CORRUPT, "jobs are counted wrong");
    return 0;
}

static int check_lanes(const struct core *core, struct error *err)
{
    for (size_t t = 0; t < core->waiting.count; t++) {
        const struct live_team *team = core->waiting.items[t];
        for (size_t i = 0; i < team->lanes.count; i++) {
            const struct live_job *job = team->lanes.items[i]->first;
            if (team->lanes.items[i]->queued_ms != job->row.queued_ms)
                return wrong(err, "job", job->row.id, "its lane has another moment for it");
            if (!nofit_check(core, job))
                return wrong(err, "job", job->row.id, "there is more room than is remembered");
        }
    }
    return 0;
}

/* Attempts that may be preempted, by priority. */
static int check_yielding(const struct core *core, struct error *err)
{
    int64_t counted = 0, yielding = 0, stopping = 0;
    for (size_t i = 0; i < core->yielding.count; i++) {
        const struct priority_count *one = &core->yielding.items[i];
        int64_t attempts = 0;
        TABLE_EACH (core, ROW_ATTEMPT, struct live_attempt, attempt)
            attempts += attempt->job->row.priority == one->priority && !job_firm(attempt->job);
        if (attempts != one->attempts || attempts == 0 || (i && one[-1].priority >= one->priority))
            return error_set(err, ERR_CORRUPT, "attempts of a priority are counted wrong");
        counted += attempts;
    }
    TABLE_EACH (core, ROW_ATTEMPT, struct live_attempt, attempt) {
        yielding += !job_firm(attempt->job);
        stopping += attempt->row.stop_reason != END_NONE;
    }
    if (stopping != core->attempts_stopping)
        return error_set(err, ERR_CORRUPT, "attempts that are stopping are counted wrong");
    if (yielding != counted)
        return error_set(err, ERR_CORRUPT, "a priority of attempts is not counted");
    return 0;
}

/* Elements that are active, and never more than the array allows. */
static int check_arrays(const struct core *core, struct error *err)
{
    TABLE_EACH (core, ROW_JOB, struct live_job, first) {
        const struct live_array *array = first->array;
        int32_t live = 0, active = 0;
        if (!array || first->row.id != array->id)
            continue;
        TABLE_EACH (core, ROW_JOB, struct live_job, job) {
            live += job->array == array;
            active += job->array == array && (job->attempt || job->links->claims);
        }
        if (live != array->live || active != array->active ||
            (array->parallel > 0 && active > array->parallel))
            return wrong(err, "array", array->id, "too many of it, or counted wrong");
    }
    return 0;
}

static int check_capacity(const struct core *core, struct error *err)
{
    struct amounts sum = {0}, part;
    TABLE_EACH (core, ROW_NODE, struct live_node, node) {
        if (node->row.state != NODE_UP)
            continue;
        amounts_of_node(node, &part);
        for (int i = 0; i < RESOURCE_MAX; i++)
            sum.of[i] += part.of[i];
    }
    if (memcmp(sum.of, core->capacity, sizeof sum.of) != 0)
        return error_set(err, ERR_CORRUPT, "the capacity is not the sum of the nodes that are up");
    return 0;
}

static int check_shapes(const struct core *core, struct error *err)
{
    TABLE_EACH (core, ROW_SHAPE, struct live_shape, shape) {
        if (shape->references <= 0)
            return wrong(err, "shape", shape->row.id, "nobody uses it");
        if (!score_check(core, shape) || !gang_room_check(core, shape))
            return wrong(err, "shape", shape->row.id, "a remembered score is stale");
    }
    if (!nodes_check(core))
        return error_set(
            err, ERR_CORRUPT, "an idle node is taken for busy, or the other way round");
    if (!mix_check(core))
        return error_set(err, ERR_CORRUPT, "the ranks of a shape or of the mix are counted wrong");
    return 0;
}

static int check_tables(const struct core *core, struct error *err)
{
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++) {
        const struct table *table = &core->tables[kind];
        size_t live = 0;
        uint64_t last = 0;
        for (size_t i = 0; i < table->entries.count; i++) {
            const struct table_entry *entry = &table->entries.items[i];
            if (entry->id <= last)
                return wrong(err, row_type((enum row_kind)kind)->name, entry->id, "out of order");
            last = entry->id;
            live += entry->item != NULL;
            if (entry->item && (entry->item->position != i || item_id(entry->item) != last))
                return wrong(err, row_type((enum row_kind)kind)->name, last, "misplaced");
        }
        if (live != table->live)
            return error_set(
                err, ERR_CORRUPT, "table %s: wrong count", row_type((enum row_kind)kind)->name);
    }
    return 0;
}

static int check_symbols(const struct core *core, struct error *err)
{
    uint64_t id = 0;
    const char *fault = symbols_fault(core, &id);
    return fault ? wrong(err, "symbol", id, fault) : 0;
}

static int check_services(const struct core *core, struct error *err)
{
    uint64_t id = 0;
    const char *fault = services_fault(core, &id);
    return fault ? wrong(err, "service", id, fault) : 0;
}

static int check_promises(const struct core *core, struct error *err)
{
    uint64_t id = 0;
    const char *fault = promises_fault(core, &id);
    return fault ? wrong(err, "job", id, fault) : 0;
}

static int check_allotments(const struct core *core, struct error *err)
{
    int64_t governed = 0;
    TABLE_EACH (core, ROW_JOB, struct live_job, job) {
        governed += allot_governs(core, job);
        if (job->lane && job->lane->key.governed != allot_governs(core, job))
            return wrong(err, "job", job->row.id, "it competes where others decide");
    }
    if (governed != core->governed)
        return error_set(err, ERR_CORRUPT, "jobs of the allotment policy are counted wrong");
    TABLE_EACH (core, ROW_ALLOTMENT, struct live_allotment, allotment) {
        size_t speeds = 0;
        const struct live_speed *before = NULL;
        for (const struct live_speed *one = allotment->speeds; one; one = one->next, speeds++) {
            if (before &&
                (before->row.ranks > one->row.ranks ||
                    (before->row.ranks == one->row.ranks && before->row.nodes >= one->row.nodes)))
                return wrong(err, "speed", one->row.id, "out of order");
            before = one;
        }
        if (allotment->job->links->allotment != allotment || speeds != allotment->speed_count)
            return wrong(err, "allotment", allotment->row.id, "its job or speeds have another");
    }
    return 0;
}

int core_check(const struct core *core, struct error *err)
{
    if (check_tables(core, err) < 0 || check_capacity(core, err) < 0 ||
        check_shapes(core, err) < 0 || check_lanes(core, err) < 0 || check_idle(core, err) < 0 ||
        check_timers(core, err) < 0 || check_spot(core, err) < 0 || check_burst(core, err) < 0 ||
        check_counts(core, err) < 0 || check_yielding(core, err) < 0 ||
        check_arrays(core, err) < 0 || check_symbols(core, err) < 0 ||
        check_services(core, err) < 0 || check_promises(core, err) < 0 ||
        check_allotments(core, err) < 0)
        return -1;
    TABLE_EACH (core, ROW_NODE, struct live_node, node) {
        if (check_node(node, err) < 0)
            return -1;
    }
    TABLE_EACH (core, ROW_ATTEMPT, struct live_attempt, attempt) {
        if (check_attempt(attempt, err) < 0)
            return -1;
    }
    TABLE_EACH (core, ROW_JOB, struct live_job, job) {
        if (check_job(core, job, err) < 0)
            return -1;
    }
    TABLE_EACH (core, ROW_TEAM, struct live_team, team) {
        if (check_team(core, team, err) < 0)
            return -1;
    }
    return 0;
}
