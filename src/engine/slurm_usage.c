/* What the ranks of an attempt on Slurm use, as they say it themselves (slurm_script.c) in a file
 * of theirs on the shared storage.
 *
 * Invariant: a number that is out of range is none; whatever a job writes there says something of
 * its own attempt only, and nothing is charged by it. */
#include "engine/slurm.h"

#include "base/clock.h"

#include <inttypes.h>

void slurm_usage_last(struct slurm_attempt *attempt)
{
    struct attempt_usage *usage = &attempt->usage;
    uint64_t cpu_ns = attempt->traces.cpu_ms * 1000000;
    if (cpu_ns <= usage->cpu_ns)
        return;
    usage->cpu_ns = cpu_ns;
    usage->memory_bytes = 0;
    usage->accelerator_milli = -1;
    slurm_attempt_report(attempt, &(struct report){.kind = ENGINE_REPORT_SAMPLE, .sample = *usage});
}

/* A process that ended without being waited for by another of the job is not counted any more:
 * what was used never gets less. */
void slurm_usage_look(struct slurm_attempt *attempt)
{
    const struct launch *launch = &attempt->launch;
    struct attempt_usage *usage = &attempt->usage;
    int64_t now_ms = clock_boot_ms();
    uint64_t cpu_ms, memory_bytes;
    if (attempt->usage_look_ms && now_ms - attempt->usage_look_ms < (int64_t)launch->sample_ms)
        return;
    if (!slurm_traces_usage(
            &attempt->slurm->folder, launch->attempt, launch->world_size, &cpu_ms, &memory_bytes))
        return;
    attempt->usage_look_ms = now_ms;
    if (cpu_ms * 1000000 > usage->cpu_ns)
        usage->cpu_ns = cpu_ms * 1000000;
    usage->memory_bytes = memory_bytes;
    if (memory_bytes > usage->memory_peak_bytes)
        usage->memory_peak_bytes = memory_bytes;
    usage->accelerator_milli = -1;
    slurm_attempt_report(attempt, &(struct report){.kind = ENGINE_REPORT_SAMPLE, .sample = *usage});
}
