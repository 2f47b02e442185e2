/* What the ranks of an attempt on Slurm leave on the shared storage while it runs: beginnings and
 * ends, output, metrics, checkpoints. As hostile as the job: see slurm_folder.h. */
#include "engine/slurm.h"

#include "base/clock.h"
#include "base/file.h"
#include "engine/tree.h"

#include <fcntl.h>
#include <stdio.h>

enum {
    CHECKPOINT_MS = 2000,
    CHECKPOINT_ENTRIES = 4096,
    HURRIES_MOST = 16,
    METRICS_TURNS_MOST = 16
};

static void on_metrics_line(void *context, const char *line, size_t length, uint64_t offset)
{
    struct report what = {.kind = ENGINE_REPORT_METRICS,
        .metrics = {.line = line, .length = length, .offset = offset}};
    slurm_attempt_report(context, &what);
}

static bool look_at_metrics(struct slurm_attempt *attempt, bool last)
{
    SCOPED(mem_scope)
    char *path =
        slurm_folder_attempt(&attempt->slurm->folder, attempt->launch.attempt, "out/metrics");
    return metrics_read(&attempt->metrics, path, last, on_metrics_line, attempt);
}

static void look_at_checkpoint(struct slurm_attempt *attempt, int64_t pause_ms)
{
    int64_t now_ms = clock_boot_ms();
    struct tree_measure measure = {0};
    if (now_ms - attempt->checkpoint_look_ms < pause_ms)
        return;
    attempt->checkpoint_look_ms = now_ms;
    SCOPED(mem_scope)
    char *path = slurm_folder_job(&attempt->slurm->folder, attempt->launch.job, "checkpoint");
    SCOPED(fd_scope) int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    tree_measure_add(fd, CHECKPOINT_ENTRIES, &measure);
    if (measure.newest_ms == attempt->checkpoint_ms && measure.bytes == attempt->checkpoint_bytes)
        return;
    attempt->checkpoint_ms = measure.newest_ms;
    attempt->checkpoint_bytes = measure.bytes;
    int64_t wall_ms = clock_wall_ms();
    struct report what = {.kind = ENGINE_REPORT_CHECKPOINT,
        .checkpoint = {.newest_ms = measure.newest_ms < wall_ms ? measure.newest_ms : wall_ms,
            .bytes = measure.bytes}};
    slurm_attempt_report(attempt, &what);
}

/* What it left says that the cluster has something new to say of it. Not for ever: a cluster may
 * take its time to clean up behind a job. */
static void hurry(struct slurm_attempt *attempt)
{
    attempt->slurm->hurry |= attempt->hurried++ < HURRIES_MOST;
}

/* A job that has claimed its attempt runs, before a listing says so. */
static void look_for_claim(struct slurm_attempt *attempt)
{
    char node[SLURM_NODE_MAX];
    int64_t by = slurm_folder_claimed_on(&attempt->slurm->folder, attempt->launch.attempt, node);
    if (by > 0 && (uint64_t)by == attempt->ledger.number) {
        attempt->state = SLURM_RUNNING;
        if (attempt->launch.serve.on)
            hurry(attempt); /* where it is asked is for the cluster to say */
        else if (!attempt->nodes[0] && attempt->launch.world_size == 1)
            snprintf(attempt->nodes, sizeof attempt->nodes, "%s", node);
    } else if (by >= 0) {
        hurry(attempt);
    }
}

/* Whether its ranks say all there is to say: nobody had asked them to end, and each exited 0. Of
 * any other end the cluster knows more, and where muster has chosen the nodes it is asked whether
 * it gave them. */
static bool is_done(const struct slurm_attempt *attempt)
{
    const struct slurm_traces *traces = &attempt->traces;
    return traces->finished && traces->all_zero && traces->unasked && !attempt->ledger.stop_asked &&
           !attempt->preempted && !attempt->requeued && !attempt->misplaced &&
           attempt->slurm->site.place != SITE_PLACE_MUSTER;
}

void slurm_look_last(struct slurm_attempt *attempt)
{
    for (int turns = 0; turns < METRICS_TURNS_MOST && look_at_metrics(attempt, true); turns++)
        continue;
    look_at_checkpoint(attempt, 0);
    slurm_usage_last(attempt);
}

void slurm_look(struct slurm_attempt *attempt)
{
    struct slurm *slurm = attempt->slurm;
    struct slurm_traces *traces = &attempt->traces;
    if (attempt->ledger.ended || attempt->finishing || !attempt->ledger.number)
        return;
    if (!slurm_attempt_is_active(attempt))
        look_for_claim(attempt);
    if (!slurm_attempt_is_active(attempt))
        return;
    slurm_traces_look(&slurm->folder, attempt->launch.attempt, attempt->launch.world_size, traces);
    if (is_done(attempt)) {
        slurm_finish_job(attempt);
        return;
    }
    if (traces->finished)
        hurry(attempt);
    if (traces->begun == 0)
        return;
    slurm_serve_look(attempt);
    attempt->started |= traces->begun == attempt->launch.world_size && slurm_serve_placed(attempt);
    if (traces->failed_rank >= 0 && traces->ended < attempt->launch.world_size &&
        attempt->failing_ms == 0)
        attempt->failing_ms = clock_boot_ms();
    if (!attempt->log) {
        attempt->log = slurm_log_open(attempt);
        slurm_exec_forsake(attempt);
    }
    if (attempt->log)
        slurm_log_copy(attempt->log, attempt);
    look_at_metrics(attempt, false);
    look_at_checkpoint(attempt, CHECKPOINT_MS);
    slurm_usage_look(attempt);
}
