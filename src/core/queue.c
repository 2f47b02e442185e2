/* The queue: jobs that compete, in lanes of jobs that are the same to the scheduler.
 *
 * Invariants: a job is in a lane exactly when it is queued and has no claims; a lane is in order of
 * (queued_ms, id) and is destroyed with its last job. A pass looks at the heads of lanes, so its
 * cost goes by how many kinds of jobs there are, not by how many jobs. */
#include "core/queue.h"
#include "core/allot.h"
#include "core/backfill.h"
#include "core/job.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/table.h"
#include "core/team.h"
#include "core/turn.h"

#include <assert.h>

static const int32_t named[] = {PRIORITY_LOW, PRIORITY_NORMAL, PRIORITY_HIGH, PRIORITY_URGENT};

int32_t priority_band(int64_t priority)
{
    int32_t band = 0;
    for (size_t i = 0; i < ARRAY_LEN(named); i++)
        band += priority >= named[i];
    return band;
}

/* The named priority above, which ageing does not pass. */
static int64_t priority_ceiling(int32_t priority)
{
    for (size_t i = 0; i < ARRAY_LEN(named); i++) {
        if (named[i] > priority)
            return named[i];
    }
    return priority;
}

int64_t priority_now(const struct core *core, const struct live_job *job)
{
    int64_t waited_ms = most(core->now_ms - job->row.queued_ms, 0);
    int64_t aged = job->row.priority + waited_ms / core->options.ageing_ms;
    return least(aged, priority_ceiling(job->row.priority));
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 31);
}

static struct lane_key key_of(const struct core *core, const struct live_job *job)
{
    bool bounded = job->array && job->array->parallel > 0;
    return (struct lane_key){
        .team = job->team,
        .shape = job->shape,
        .array = bounded ? job->array->id : 0,
        .time_limit_ms = job->row.time_limit_ms,
        .priority = job->row.priority,
        .size_min = job->row.size_min,
        .size_max = job->row.size_max,
        .spot = job_spot(job),
        .firm = job_firm(job),
        .governed = allot_governs(core, job),
    };
}

static uint64_t key_hash(const struct lane_key *key)
{
    uint64_t hash = mix(key->team->row.id, key->shape->row.id);
    hash = mix(hash, key->array);
    hash = mix(hash, (uint64_t)key->time_limit_ms);
    hash = mix(hash, (uint64_t)(uint32_t)key->priority << 1 | (uint64_t)key->firm);
    hash = mix(hash, (uint64_t)key->governed);
    hash = mix(hash, (uint64_t)key->size_min << 32 | (uint32_t)key->size_max);
    hash = mix(hash, (uint64_t)(uint32_t)key->spot);
    return hash ? hash : 1;
}

static bool same_key(const struct lane_key *a, const struct lane_key *b)
{
    return a->team == b->team && a->shape == b->shape && a->array == b->array &&
           a->time_limit_ms == b->time_limit_ms && a->priority == b->priority &&
           a->size_min == b->size_min && a->size_max == b->size_max && a->spot == b->spot &&
           a->firm == b->firm && a->governed == b->governed;
}

static struct lane *lane_of(struct core *core, const struct live_job *job)
{
    struct lane_key key = key_of(core, job);
    uint64_t hash = key_hash(&key);
    struct lane *first = idmap_get(&core->lanes_by_hash, hash);
    for (struct lane *lane = first; lane; lane = lane->same_hash) {
        if (same_key(&lane->key, &key))
            return lane;
    }
    struct lane *lane = mem_alloc(1, sizeof *lane);
    lane->key = key;
    lane->hash = hash;
    lane->same_hash = first;
    idmap_put(&core->lanes_by_hash, hash, lane);
    lane->position = job->team->lanes.count;
    vec_push(&job->team->lanes, lane);
    if (!job->team->waiting) {
        vec_push(&core->waiting, job->team);
        job->team->waiting = core->waiting.count;
    }
    return lane;
}

static void waiting_remove(struct core *core, struct live_team *team)
{
    struct live_team *last = core->waiting.items[--core->waiting.count];
    core->waiting.items[team->waiting - 1] = last;
    last->waiting = team->waiting;
    team->waiting = 0;
}

static void lane_destroy(struct core *core, struct lane *lane)
{
    struct lane *first = idmap_get(&core->lanes_by_hash, lane->hash);
    LIST_REMOVE(first, lane, same_hash);
    if (first)
        idmap_put(&core->lanes_by_hash, lane->hash, first);
    else
        idmap_remove(&core->lanes_by_hash, lane->hash);
    turn_leave(lane);
    struct live_team *team = lane->key.team;
    struct lane *last = team->lanes.items[--team->lanes.count];
    team->lanes.items[lane->position] = last;
    last->position = lane->position;
    if (!team->lanes.count)
        waiting_remove(core, team);
    free(lane);
}

static bool queued_before(const struct live_job *a, const struct live_job *b)
{
    if (a->row.queued_ms != b->row.queued_ms)
        return a->row.queued_ms < b->row.queued_ms;
    return a->row.id < b->row.id;
}

/* The job that it comes right after, or NULL. New ones belong at the end and preempted ones near
 * the start: the search goes from both ends at once. */
static struct live_job *lane_place(const struct lane *lane, const struct live_job *job)
{
    struct live_job *front = lane->first, *back = lane->last;
    while (back && queued_before(job, back)) {
        if (!queued_before(front, job))
            return front->lane_previous;
        front = front->lane_next;
        back = back->lane_previous;
    }
    return back;
}

void queue_add(struct core *core, struct live_job *job)
{
    assert(!job->lane && job->row.state == JOB_QUEUED && !job->links->claims);
    struct lane *lane = lane_of(core, job);
    struct live_job *after = lane_place(lane, job);
    struct live_job *next = after ? after->lane_next : lane->first;
    job->lane = lane;
    job->lane_previous = after;
    job->lane_next = next;
    *(after ? &after->lane_next : &lane->first) = job;
    *(next ? &next->lane_previous : &lane->last) = job;
    lane->queued_ms = lane->first->row.queued_ms;
    lane->count++;
    core->pass_wanted = true;
}

void queue_remove(struct core *core, struct live_job *job)
{
    struct lane *lane = job->lane;
    if (!lane)
        return;
    if (job->links->promises)
        promise_release(core, job);
    struct live_job *before = job->lane_previous, *next = job->lane_next;
    *(before ? &before->lane_next : &lane->first) = next;
    *(next ? &next->lane_previous : &lane->last) = before;
    if (lane->cursor == job)
        lane->cursor = next;
    job->lane = NULL;
    job->lane_next = job->lane_previous = NULL;
    if (--lane->count == 0)
        lane_destroy(core, lane);
    else
        lane->queued_ms = lane->first->row.queued_ms;
}
