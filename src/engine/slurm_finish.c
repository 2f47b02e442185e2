/* The end of an attempt on Slurm: of one that ran, or that never was submitted. Either is told only
 * when the claim on the shared storage is settled, and when all that the ranks wrote was copied. */
#include "engine/slurm.h"
#include "engine/slurm_end.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>

static struct slurm_facts facts_of(const struct slurm_attempt *attempt)
{
    const struct slurm_traces *traces = &attempt->traces;
    return (struct slurm_facts){.state = attempt->state,
        .preempted = attempt->preempted || attempt->requeued,
        .claimed = attempt->claimed,
        .ranks = attempt->launch.world_size,
        .ended = traces->ended,
        .all_zero = traces->all_zero && traces->ended > 0,
        .failed_rank = traces->failed_rank,
        .failed_status = traces->failed_status,
        .start_errno = traces->start_errno,
        .port_taken = traces->port_taken,
        .port = attempt->launch.serve.port,
        .stop_asked = attempt->ledger.stop_asked,
        .kill_sent = attempt->ledger.kill_sent,
        .complete = traces->complete,
        .time_limit = attempt->launch.time_limit_ms > 0};
}

void slurm_finish_copy(struct slurm_attempt *attempt)
{
    if (!attempt->finishing && attempt->claimed)
        slurm_look_last(attempt);
    attempt->finishing = true;
    if (attempt->claimed && !attempt->log)
        attempt->log = slurm_log_open(attempt);
    if (attempt->log && slurm_log_copy(attempt->log, attempt))
        return;
    if (attempt->log)
        slurm_log_finish(attempt->log);
    slurm_log_close(attempt->log);
    attempt->log = NULL;
    attempt->ledger.ended = true;
    if (slurm_ledger_save(attempt) < 0) {
        attempt->ledger.ended = false;
        return;
    }
    if (attempt->ledger.number && !slurm_state_over(attempt->state))
        slurm_watch_left(attempt->slurm, attempt->ledger.number);
    slurm_folder_drop_secrets(&attempt->slurm->folder, attempt->launch.attempt);
}

static void set_end(struct slurm_attempt *attempt)
{
    struct slurm_facts facts = facts_of(attempt);
    struct attempt_end *end = &attempt->ledger.end;
    slurm_end_decide(&facts, end);
    if (attempt->misplaced && !facts.stop_asked) {
        end->reason = ENGINE_END_LOST;
        snprintf(end->text, sizeof end->text, "Slurm gave other nodes than were asked for: %.100s",
            attempt->nodes);
    }
    end->stop_asked = facts.stop_asked;
    end->started_ms = attempt->traces.started_ms;
    end->ended_ms = attempt->traces.ended_ms ? attempt->traces.ended_ms : clock_wall_ms();
    attempt->started |= attempt->traces.started_ms > 0;
    slurm_finish_copy(attempt);
}

/* Without a claim nothing of it ran; with ours nothing of it ever will. False: not now. */
static bool settle_claim(struct slurm_attempt *attempt)
{
    uint64_t number;
    enum slurm_claim claim =
        slurm_folder_claim(&attempt->slurm->folder, attempt->launch.attempt, &number);
    attempt->claimed = claim == CLAIM_THEIRS;
    return claim != CLAIM_UNKNOWN;
}

/* Its job is over: what was it? A job that found another's claim is not the one that ran. */
void slurm_finish_job(struct slurm_attempt *attempt)
{
    struct slurm *slurm = attempt->slurm;
    int64_t by = slurm_folder_claimed_by(&slurm->folder, attempt->launch.attempt);
    if (by > 0 && (uint64_t)by != attempt->ledger.number) {
        slurm_attempt_number(attempt, (uint64_t)by);
        return;
    }
    if (!settle_claim(attempt))
        return;
    int64_t now_ms = clock_boot_ms();
    if (attempt->over_ms == 0)
        attempt->over_ms = now_ms;
    slurm_traces_look(
        &slurm->folder, attempt->launch.attempt, attempt->launch.world_size, &attempt->traces);
    bool expected = attempt->claimed && attempt->state == SLURM_COMPLETED &&
                    attempt->traces.ended < attempt->launch.world_size &&
                    !attempt->ledger.kill_sent;
    if (!expected || now_ms - attempt->over_ms > SLURM_TRACES_MS)
        set_end(attempt);
}

void slurm_finish_unsubmitted(
    struct slurm_attempt *attempt, enum engine_end_reason reason, int code, const char *text)
{
    if (!settle_claim(attempt))
        return;
    if (attempt->claimed) { /* somebody runs it: a listing will show who */
        attempt->settled = attempt->slurm->listing;
        return;
    }
    struct attempt_end *end = &attempt->ledger.end;
    *end = (struct attempt_end){.reason = reason, .code = code, .rank = -1};
    snprintf(end->text, sizeof end->text, "%s", text);
    end->stop_asked = attempt->ledger.stop_asked;
    end->ended_ms = clock_wall_ms();
    slurm_finish_copy(attempt);
}
