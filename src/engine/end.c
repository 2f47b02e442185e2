/* The end of an attempt: see end.h. The order of the questions is the rule: what stands earlier
 * explains what stands later. A job that eats memory and is then killed by its own watchdog ended
 * for want of memory; one that was told to stop and then exits 1 was stopped. */
#include "engine/end.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static const char *const reason_names[ENGINE_END_COUNT] = {
    [ENGINE_END_NONE] = "running",
    [ENGINE_END_SUCCEEDED] = "succeeded",
    [ENGINE_END_EXITED] = "exited",
    [ENGINE_END_SIGNALLED] = "signalled",
    [ENGINE_END_OUT_OF_MEMORY] = "out-of-memory",
    [ENGINE_END_DISK_QUOTA] = "disk-quota",
    [ENGINE_END_TIME_LIMIT] = "time-limit",
    [ENGINE_END_START_FAILED] = "start-failed",
    [ENGINE_END_STOPPED] = "stopped",
    [ENGINE_END_KILLED] = "killed",
    [ENGINE_END_LOST] = "lost",
    [ENGINE_END_NODE_LOST] = "node-lost",
    [ENGINE_END_PREEMPTED] = "preempted",
    [ENGINE_END_DRAINED] = "drained",
    [ENGINE_END_WALLTIME] = "walltime",
    [ENGINE_END_CANCELLED] = "cancelled",
};

const char *engine_end_reason_name(enum engine_end_reason reason)
{
    assert(reason < ENGINE_END_COUNT);
    return reason_names[reason];
}

static void set(struct attempt_end *end, enum engine_end_reason reason, const char *text)
{
    end->reason = reason;
    end->code = 0;
    end->rank = -1;
    snprintf(end->text, sizeof end->text, "%s", text);
}

static void set_failed_rank(const struct end_facts *facts, struct attempt_end *end)
{
    int status = facts->failed_status;
    bool signalled = WIFSIGNALED(status);
    set(end, signalled ? ENGINE_END_SIGNALLED : ENGINE_END_EXITED, "");
    end->code = signalled ? WTERMSIG(status) : WEXITSTATUS(status);
    end->rank = facts->failed_rank;
    if (signalled)
        snprintf(end->text, sizeof end->text, "rank %d was killed by signal %d (%s)",
            facts->failed_rank, end->code, strsignal(end->code));
    else
        snprintf(end->text, sizeof end->text, "rank %d exited with code %d", facts->failed_rank,
            end->code);
}

/* The kernel's signal for a file that passes the limit of one file, which is the disk limit. */
static bool failed_by_file_size(const struct end_facts *facts)
{
    return facts->failed_rank >= 0 && WIFSIGNALED(facts->failed_status) &&
           WTERMSIG(facts->failed_status) == SIGXFSZ && !facts->stop_asked;
}

static bool all_succeeded(const struct end_facts *facts)
{
    return facts->all_ended && facts->failed_rank < 0;
}

static void decide_stopped(const struct end_facts *facts, struct attempt_end *end)
{
    if (all_succeeded(facts) && facts->complete)
        set(end, ENGINE_END_SUCCEEDED, "it was told to stop when it was complete");
    else if (facts->killed || facts->cause == CAUSE_KILL)
        set(end, ENGINE_END_KILLED,
            facts->cause == CAUSE_KILL ? "" : "it did not end within its grace");
    else
        set(end, ENGINE_END_STOPPED, "");
}

void end_decide(const struct end_facts *facts, struct attempt_end *ret_end)
{
    ret_end->stop_asked = facts->stop_asked;
    if (facts->start_failed && facts->cause != CAUSE_STOP && facts->cause != CAUSE_KILL) {
        set(ret_end, ENGINE_END_START_FAILED, facts->start_text);
        ret_end->code = facts->start_errno;
    } else if (facts->cause == CAUSE_DISK || failed_by_file_size(facts)) {
        set(ret_end, ENGINE_END_DISK_QUOTA, "its files passed the disk limit");
    } else if (facts->cause == CAUSE_MEMORY || (facts->out_of_memory && !all_succeeded(facts))) {
        set(ret_end, ENGINE_END_OUT_OF_MEMORY, "it passed the memory limit");
    } else if (facts->cause == CAUSE_STOP || facts->cause == CAUSE_KILL) {
        decide_stopped(facts, ret_end);
    } else if (facts->cause == CAUSE_TIME && !(all_succeeded(facts) && facts->complete)) {
        set(ret_end, ENGINE_END_TIME_LIMIT, "it passed its time limit");
    } else if (facts->failed_rank >= 0) {
        set_failed_rank(facts, ret_end);
    } else if (facts->all_ended) {
        set(ret_end, ENGINE_END_SUCCEEDED, "");
    } else {
        set(ret_end, ENGINE_END_LOST, "its sandbox was destroyed from outside");
    }
}
