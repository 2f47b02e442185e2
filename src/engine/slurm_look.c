/* What the ranks of an attempt on Slurm leave on the shared storage while it runs: beginnings and
 * ends, output, metrics, checkpoints. As hostile as the job: see slurm_folder.h. */
#include "engine/slurm.h"

#include "base/clock.h"
#include "base/file.h"
#include "engine/tree.h"

#include <fcntl.h>
#include <stdlib.h>

enum { CHECKPOINT_MS = 2000, CHECKPOINT_ENTRIES = 4096, HURRIES_MOST = 16 };

static void on_metrics_line(void *context, const char *line, size_t length, uint64_t offset)
{
    struct report what = {.kind = ENGINE_REPORT_METRICS,
        .metrics = {.line = line, .length = length, .offset = offset}};
    slurm_attempt_report(context, &what);
}

static void look_at_metrics(struct slurm_attempt *attempt)
{
    SCOPED(mem_scope)
    char *path =
        slurm_folder_attempt(&attempt->slurm->folder, attempt->launch.attempt, "out/metrics");
    metrics_read(&attempt->metrics, path, attempt->finishing, on_metrics_line, attempt);
}

static void look_at_checkpoint(struct slurm_attempt *attempt)
{
    int64_t now_ms = clock_boot_ms();
    struct tree_measure measure = {0};
    if (now_ms - attempt->checkpoint_look_ms < CHECKPOINT_MS)
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

/* A callback may not forget what has not ended, so that it is there afterwards. */
void slurm_look(struct slurm_attempt *attempt)
{
    struct slurm *slurm = attempt->slurm;
    struct slurm_traces *traces = &attempt->traces;
    if (attempt->ledger.ended || attempt->finishing || !attempt->ledger.number)
        return;
    if (!slurm_attempt_is_active(attempt)) {
        if (slurm_folder_claimed_by(&slurm->folder, attempt->launch.attempt) >= 0)
            hurry(attempt);
        return;
    }
    slurm_folder_look(&slurm->folder, attempt->launch.attempt, attempt->launch.world_size, traces);
    if (traces->finished)
        hurry(attempt);
    if (traces->begun == 0)
        return;
    slurm_serve_look(attempt);
    attempt->started |= traces->begun == attempt->launch.world_size && slurm_serve_placed(attempt);
    if (traces->failed_rank >= 0 && traces->ended < attempt->launch.world_size &&
        attempt->failing_ms == 0)
        attempt->failing_ms = clock_boot_ms();
    if (!attempt->log)
        attempt->log = slurm_log_open(attempt);
    if (attempt->log)
        slurm_log_copy(attempt->log, attempt);
    look_at_metrics(attempt);
    look_at_checkpoint(attempt);
    slurm_usage_look(attempt);
}
