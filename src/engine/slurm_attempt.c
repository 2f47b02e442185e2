/* The life of an attempt on Slurm.
 *
 * It runs at most once because of three things. It is written down that a submission is tried
 * before it is sent. One whose outcome is not known is looked up by its mark in a listing that was
 * begun later, before it is sent again. And should two jobs come of it after all, because
 * slurmrestd worked off late what we had given up, then only the one that claims the attempt on the
 * shared storage does anything. The same claim, made by this server, is what makes sure that an
 * attempt of which the cluster knows nothing (any more) will not begin when nobody looks. */
#include "engine/slurm.h"

#include "base/clock.h"
#include "base/log.h"
#include "engine/launch.h"
#include "engine/slurm_end.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNLIMITED_MS (INT64_C(365) * 24 * 3600 * 1000)

/* ---- making and finding ---------------------------------------------------------------------- */

static size_t place_of(const struct slurm *slurm, uint64_t id)
{
    size_t low = 0, high = slurm->attempts.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slurm->attempts.items[middle]->launch.attempt < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The launch is kept as it is written down: without secrets and snapshot. */
struct slurm_attempt *slurm_attempt_create(struct slurm *slurm, const struct launch *launch)
{
    struct slurm_attempt *attempt = mem_alloc(1, sizeof *attempt);
    SCOPED(strbuf_finish) struct strbuf text = {0};
    struct error err;
    attempt->slurm = slurm;
    attempt->arena = arena_create();
    attempt->ledger.end.rank = -1;
    launch_encode(&text, launch);
    int rc = launch_decode(attempt->arena, text.text, text.length, &attempt->launch, &err);
    assert(rc == 0);
    (void)rc;
    (void)slurm_user_take(attempt); /* else before it is asked for */
    attempt->settled = slurm->listing;
    for (size_t i = 0; i < attempt->launch.input_count; i++)
        stage_hold(slurm->stage, attempt->launch.inputs[i].folder);
    vec_insert(&slurm->attempts, place_of(slurm, launch->attempt), attempt);
    idmap_put(&slurm->by_id, launch->attempt, attempt);
    return attempt;
}

void slurm_attempt_free(struct slurm_attempt *attempt)
{
    slurm_log_close(attempt->log);
    arena_destroy(attempt->arena);
    free(attempt);
}

struct slurm_attempt *slurm_attempt_find(const struct slurm *slurm, uint64_t id)
{
    return idmap_get(&slurm->by_id, id);
}

void slurm_attempt_remove(struct slurm_attempt *attempt)
{
    struct slurm *slurm = attempt->slurm;
    size_t place = place_of(slurm, attempt->launch.attempt);
    for (size_t i = 0; i < attempt->launch.input_count; i++)
        stage_release(slurm->stage, attempt->launch.inputs[i].folder);
    vec_remove(&slurm->attempts, place);
    idmap_remove(&slurm->by_id, attempt->launch.attempt);
    if (attempt->ledger.number && idmap_get(&slurm->by_number, attempt->ledger.number) == attempt)
        idmap_remove(&slurm->by_number, attempt->ledger.number);
    slurm_attempt_free(attempt);
}

/* ---- reporting ------------------------------------------------------------------------------- */

void slurm_attempt_report(struct slurm_attempt *attempt, struct report *what)
{
    what->attempt = attempt->launch.attempt;
    what->job = attempt->launch.job;
    what->at_ms = clock_wall_ms();
    attempt->slurm->report(attempt->slurm->context, what);
}

/* Everything that was not said yet. Nothing may be done with the attempt after this: the callback
 * may have it forgotten. */
static void report_what_is(struct slurm_attempt *attempt)
{
    uint64_t id = attempt->launch.attempt;
    struct slurm *slurm = attempt->slurm;
    enum engine_submission now = attempt->ledger.ended    ? ENGINE_SUBMISSION_OVER
                                 : attempt->nodes[0]      ? ENGINE_SUBMISSION_PLACED
                                 : attempt->ledger.number ? ENGINE_SUBMISSION_QUEUED
                                                          : ENGINE_SUBMISSION_ACCEPTED;
    if (now != attempt->submission_reported && now != ENGINE_SUBMISSION_OVER) {
        attempt->submission_reported = now;
        slurm_attempt_report(attempt, &(struct report){.kind = ENGINE_REPORT_QUEUED});
        if (slurm_attempt_find(slurm, id) != attempt)
            return;
    }
    if (attempt->started && !attempt->started_reported) {
        attempt->started_reported = true;
        slurm_attempt_report(attempt, &(struct report){.kind = ENGINE_REPORT_STARTED,
                                          .started_ms = attempt->traces.started_ms});
        if (slurm_attempt_find(slurm, id) != attempt)
            return;
    }
    if (attempt->started && !attempt->ledger.ended &&
        attempt->site_end_ms != attempt->site_end_reported) {
        attempt->site_end_reported = attempt->site_end_ms;
        slurm_attempt_report(attempt,
            &(struct report){.kind = ENGINE_REPORT_SITE_END, .site_end_ms = attempt->site_end_ms});
        if (slurm_attempt_find(slurm, id) != attempt)
            return;
    }
    if (attempt->ledger.ended && !attempt->ended_reported) {
        attempt->ended_reported = true;
        slurm_attempt_report(
            attempt, &(struct report){.kind = ENGINE_REPORT_ENDED, .ended = attempt->ledger.end});
    }
}

/* ---- what the cluster says
 * ----------------------------------------------------------------------- */

void slurm_attempt_number(struct slurm_attempt *attempt, uint64_t number)
{
    struct slurm *slurm = attempt->slurm;
    if (attempt->ledger.number)
        idmap_remove(&slurm->by_number, attempt->ledger.number);
    attempt->ledger.number = number;
    attempt->ledger.known_ms = clock_wall_ms();
    attempt->settled = slurm->listing;
    attempt->cancel_heard = 0;
    attempt->state = SLURM_UNKNOWN;
    attempt->nodes[0] = '\0';
    idmap_put(&slurm->by_number, number, attempt);
    if (slurm_ledger_save(attempt) < 0)
        log_warn("job %" PRIu64 " is found by its mark again", number);
}

static bool is_misplaced(const struct slurm_attempt *attempt, const struct slurm_job *job)
{
    return attempt->slurm->site.place == SITE_PLACE_MUSTER && job->state == SLURM_RUNNING &&
           job->node_count > 0 && (uint64_t)job->node_count != attempt->launch.placement_count;
}

/* When the cluster ends it for its walltime: as its clock says, less what that is ahead, but no
 * later than that after it was seen to run here. A job without a limit is listed with one of a
 * year. */
static void see_site_end(struct slurm_attempt *attempt, const struct slurm_job *job)
{
    int64_t whole_ms = job->ended_ms - job->started_ms;
    if (job->state != SLURM_RUNNING)
        return;
    if (attempt->running_ms == 0)
        attempt->running_ms = clock_wall_ms();
    int64_t latest_ms = attempt->running_ms + whole_ms;
    bool bounded = job->started_ms > 0 && whole_ms > 0 && whole_ms < UNLIMITED_MS;
    int64_t said_ms = job->ended_ms - slurm_clock_ahead_ms(job->submitted_ms,
                                          attempt->ledger.sent_ms, attempt->ledger.known_ms);
    attempt->site_end_ms = !bounded ? 0 : said_ms < latest_ms ? said_ms : latest_ms;
}

/* Two jobs of one attempt: the one that claims it counts. Until one has, neither may be cancelled:
 * it could be the one that is about to. */
static void seen_second(struct slurm_attempt *attempt, const struct slurm_job *job)
{
    int64_t by = slurm_folder_claimed_by(&attempt->slurm->folder, attempt->launch.attempt);
    if (by > 0 && (uint64_t)by == job->id)
        slurm_attempt_number(attempt, job->id);
    else if (by > 0 && !slurm_state_over(job->state))
        slurm_watch_cancel(attempt->slurm, job->id);
}

void slurm_attempt_seen(struct slurm_attempt *attempt, const struct slurm_job *job)
{
    if (attempt->ledger.ended) {
        slurm_watch_leftover(attempt->slurm, job);
        return;
    }
    if (attempt->ledger.number == 0)
        slurm_attempt_number(attempt, job->id);
    else if (attempt->ledger.number != job->id)
        seen_second(attempt, job);
    if (attempt->ledger.number != job->id)
        return;
    attempt->seen = attempt->slurm->listing;
    attempt->state = job->state;
    attempt->preempted |= job->preempted;
    attempt->requeued |= job->restarts > 0;
    attempt->misplaced |= is_misplaced(attempt, job);
    see_site_end(attempt, job);
    snprintf(attempt->reason, sizeof attempt->reason, "%s",
        job->state == SLURM_PENDING ? job->reason : "");
    if (job->nodes[0])
        snprintf(attempt->nodes, sizeof attempt->nodes, "%s", job->nodes);
}

/* Its script is done and the cluster goes on saying that it runs: a node's word got lost. */
static void unnoticed_end(struct slurm_attempt *attempt)
{
    int64_t now_ms = clock_boot_ms();
    if (attempt->over_ms == 0)
        attempt->over_ms = now_ms;
    if (now_ms - attempt->over_ms <= SLURM_TRACES_MS)
        return;
    slurm_watch_cancel(attempt->slurm, attempt->ledger.number);
    slurm_finish_job(attempt);
}

/* The cluster does not have its job. */
static void absent(struct slurm_attempt *attempt)
{
    uint64_t id = attempt->launch.attempt;
    int64_t by = slurm_folder_claimed_by(&attempt->slurm->folder, id);
    if (attempt->ledger.number == 0 && by > 0) {
        slurm_attempt_number(attempt, (uint64_t)by); /* it ran, and may be forgotten by now */
    } else if (attempt->ledger.number == 0) {
        attempt->ledger.tried = false; /* it did not get there */
        attempt->settled = attempt->slurm->listing;
    } else if (!slurm_account_wait(attempt)) {
        attempt->state = attempt->account_state;
        slurm_finish_job(attempt);
    }
}

void slurm_attempt_listed(struct slurm_attempt *attempt)
{
    uint64_t listing = attempt->slurm->listing;
    if (attempt->ledger.ended || attempt->asking || attempt->finishing)
        return;
    bool may_be_there = attempt->ledger.tried || attempt->ledger.number;
    if (attempt->seen == listing && slurm_state_over(attempt->state))
        slurm_finish_job(attempt);
    else if (attempt->seen == listing && attempt->traces.finished)
        unnoticed_end(attempt);
    else if (attempt->seen != listing && may_be_there && listing > attempt->settled)
        absent(attempt);
}

bool slurm_attempt_is_active(const struct slurm_attempt *attempt)
{
    return attempt->finishing || attempt->state == SLURM_RUNNING ||
           attempt->state == SLURM_COMPLETING;
}

/* ---- driving --------------------------------------------------------------------------------- */

static void kill_now(struct slurm_attempt *attempt)
{
    if (!attempt->ledger.kill_sent) {
        attempt->ledger.kill_sent = true;
        if (slurm_ledger_save(attempt) < 0) {
            attempt->ledger.kill_sent = false;
            return;
        }
    }
    struct error err;
    if (slurm_folder_stop(&attempt->slurm->folder, attempt->launch.attempt, true, &err) < 0)
        log_warn("%s", err.text);
    slurm_submit_cancel(attempt);
}

/* The cluster tells steps of a preemption, and not a rank that has none. */
static bool is_preempted_alone(const struct slurm_attempt *attempt)
{
    return attempt->preempted && attempt->state == SLURM_RUNNING && attempt->launch.world_size == 1;
}

static void drive_job(struct slurm_attempt *attempt)
{
    const struct slurm_ledger *ledger = &attempt->ledger;
    bool waits = attempt->state == SLURM_PENDING;
    int64_t failing_ms = attempt->failing_ms;
    if (attempt->requeued || attempt->misplaced || (waits && ledger->stop_asked)) {
        slurm_submit_cancel(attempt);
    } else if (ledger->stop_asked && clock_wall_ms() >= ledger->stop_until_ms) {
        kill_now(attempt);
    } else if ((ledger->stop_asked || is_preempted_alone(attempt)) && !attempt->told) {
        struct error err;
        attempt->told =
            slurm_folder_stop(&attempt->slurm->folder, attempt->launch.attempt, false, &err) == 0;
    } else if (failing_ms && clock_boot_ms() - failing_ms > (int64_t)attempt->launch.grace_ms) {
        kill_now(attempt);
    }
}

void slurm_attempt_drive(struct slurm_attempt *attempt)
{
    struct slurm *slurm = attempt->slurm;
    struct slurm_ledger *ledger = &attempt->ledger;
    if (attempt->finishing && !ledger->ended)
        slurm_finish_copy(attempt);
    if (!ledger->ended && !attempt->finishing && !attempt->asking) {
        if (ledger->number && !slurm_state_over(attempt->state))
            drive_job(attempt);
        else if (!ledger->number && !ledger->tried && ledger->stop_asked)
            slurm_finish_unsubmitted(
                attempt, ENGINE_END_STOPPED, 0, "it was stopped before it was submitted");
        else if (!ledger->number && !ledger->tried && attempt->stored && slurm->dialect &&
                 slurm->about.answers && clock_boot_ms() >= attempt->ask_again_ms &&
                 slurm_user_take(attempt) && slurm_submit_is_ready(attempt))
            slurm_submit(attempt);
    }
    report_what_is(attempt);
}
