/* What jobs say of their progress, and what is known of governed jobs: rows of their own, so that
 * jobs that say nothing under a policy without rounds cost nothing. */
#include "core/allot.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/sort.h"
#include "core/spot.h"
#include "core/state.h"

#include <assert.h>
#include <inttypes.h>

#define WORK_MAX ((int64_t)1 << 50) /* times a thousand: no overflow */

struct live_allotment *allotment_of(struct core *core, struct live_job *job)
{
    if (job->links->allotment)
        return job->links->allotment;
    struct live_allotment *allotment = mem_alloc(1, sizeof *allotment);
    allotment->row = (struct allotment_row){.job = job->row.id, .remaining = -1};
    allotment->job = job;
    change_new(core, ROW_ALLOTMENT, &allotment->item);
    job_link(core, job)->allotment = allotment;
    return allotment;
}

void allotment_forget(struct core *core, struct live_job *job)
{
    struct live_allotment *allotment = job->links->allotment;
    if (!allotment)
        return;
    for (struct live_speed *speed = allotment->speeds; speed; speed = speed->next)
        change_delete(core, &speed->item);
    change_delete(core, &allotment->item);
    job_link(core, job)->allotment = NULL;
}

static bool speed_before(const struct speed_row *a, const struct speed_row *b)
{
    if (a->ranks != b->ranks)
        return a->ranks < b->ranks;
    return a->nodes < b->nodes;
}

void speed_link(struct live_allotment *allotment, struct live_speed *speed)
{
    struct live_speed **at = &allotment->speeds;
    while (*at && speed_before(&(*at)->row, &speed->row))
        at = &(*at)->next;
    speed->next = *at;
    *at = speed;
    allotment->speed_count++;
}

static struct live_speed *speed_find(
    const struct live_allotment *allotment, const struct core_speed *said)
{
    struct live_speed *speed = allotment->speeds;
    while (speed && (speed->row.ranks != said->ranks || speed->row.nodes != said->nodes))
        speed = speed->next;
    return speed;
}

static bool is_said(const struct core_progress *progress, const struct live_speed *speed)
{
    for (size_t i = 0; i < progress->speed_count; i++) {
        if (progress->speeds[i].ranks == speed->row.ranks &&
            progress->speeds[i].nodes == speed->row.nodes)
            return true;
    }
    return false;
}

/* Makes room for one more: the largest that the report does not have goes. */
static void speed_drop(
    struct core *core, struct live_allotment *allotment, const struct core_progress *progress)
{
    struct live_speed *last = NULL;
    for (struct live_speed *speed = allotment->speeds; speed; speed = speed->next) {
        if (!is_said(progress, speed))
            last = speed;
    }
    assert(last);
    LIST_REMOVE(allotment->speeds, last, next);
    allotment->speed_count--;
    change_delete(core, &last->item);
}

static void speed_put(struct core *core, struct live_allotment *allotment,
    const struct core_progress *progress, const struct core_speed *said)
{
    struct live_speed *speed = speed_find(allotment, said);
    if (speed && speed->row.rate_milli == said->rate_milli)
        return;
    if (speed) {
        speed->row.rate_milli = said->rate_milli;
        change_put(core, &speed->item);
        return;
    }
    if (allotment->speed_count >= CORE_SPEEDS_MAX)
        speed_drop(core, allotment, progress);
    speed = mem_alloc(1, sizeof *speed);
    speed->row = (struct speed_row){.allotment = allotment->row.id,
        .ranks = said->ranks,
        .nodes = said->nodes,
        .rate_milli = said->rate_milli};
    change_new(core, ROW_SPEED, &speed->item);
    speed_link(allotment, speed);
}

static int check_progress(const struct core_progress *progress, struct error *err)
{
    if (progress->remaining < -1 || progress->remaining > WORK_MAX || progress->restart_ms < 0 ||
        progress->restart_ms > TIME_MS_MAX || progress->speed_count > CORE_SPEEDS_MAX)
        return error_set(err, ERR_INVALID, "progress: numbers out of range");
    for (size_t i = 0; i < progress->speed_count; i++) {
        const struct core_speed *one = &progress->speeds[i];
        if (one->ranks < 1 || one->ranks > GANG_SIZE_MAX || one->nodes < 1 ||
            one->nodes > one->ranks || one->rate_milli < 0 || one->rate_milli > WORK_MAX)
            return error_set(err, ERR_INVALID,
                "progress: %" PRId32 " ranks on %" PRId32 " nodes with %" PRId64
                " thousandths a second: out of range",
                one->ranks, one->nodes, one->rate_milli);
    }
    return 0;
}

int core_job_progress(
    struct core *core, uint64_t id, const struct core_progress *progress, struct error *err)
{
    assert(progress);
    struct live_job *job = (struct live_job *)table_find(core, ROW_JOB, id);
    if (!job)
        return error_set(err, ERR_NOT_FOUND, "there is no live job %" PRIu64, id);
    if (check_progress(progress, err) < 0)
        return -1;
    struct live_allotment *allotment = allotment_of(core, job);
    int64_t restart_ms = progress->restart_ms ? progress->restart_ms : allotment->row.restart_ms;
    for (size_t i = 0; i < progress->speed_count; i++)
        speed_put(core, allotment, progress, &progress->speeds[i]);
    if (allotment->row.remaining == progress->remaining && allotment->row.restart_ms == restart_ms)
        return 0;
    allotment->row.remaining = progress->remaining;
    allotment->row.restart_ms = restart_ms;
    allotment->row.reported_ms = core->now_ms;
    change_put(core, &allotment->item);
    spot_progress(core, job);
    return 0;
}
