/* The end of an attempt on Slurm: see slurm_end.h. As in end.c the order of the rules is the rule:
 * what stands earlier explains what stands later. A job whose node failed has ranks without an end,
 * and one that was preempted may have ranks that exited 0. */
#include "engine/slurm_end.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { SIGNAL_BASE = 128, SIGNAL_MOST = 64 };

static void set(struct attempt_end *end, enum engine_end_reason reason, const char *text)
{
    end->reason = reason;
    end->code = 0;
    end->rank = -1;
    snprintf(end->text, sizeof end->text, "%s", text);
}

/* What is lost may be a node, or only its word that the job was done. */
static bool ended_by_themselves(const struct slurm_facts *facts)
{
    return facts->ended == facts->ranks && facts->failed_status <= SIGNAL_BASE;
}

static bool by_cluster(const struct slurm_facts *facts, struct attempt_end *end)
{
    if (facts->state == SLURM_NODE_FAIL && !ended_by_themselves(facts))
        set(end, ENGINE_END_NODE_LOST, "Slurm gave up a node of the job");
    else if (facts->state == SLURM_OUT_OF_MEMORY && !facts->all_zero)
        set(end, ENGINE_END_OUT_OF_MEMORY, "Slurm's limit of memory was passed");
    else if (facts->stop_asked || (facts->all_zero && facts->complete))
        return false;
    else if (facts->state == SLURM_PREEMPTED || facts->preempted)
        set(end, ENGINE_END_PREEMPTED, "Slurm gave its place to another job");
    else if (facts->state == SLURM_CANCELLED && !facts->kill_sent)
        set(end, ENGINE_END_CANCELLED, "somebody cancelled the job at the cluster");
    else if (facts->state == SLURM_TIMEOUT && facts->time_limit)
        set(end, ENGINE_END_TIME_LIMIT, "");
    else if (facts->state == SLURM_TIMEOUT)
        set(end, ENGINE_END_WALLTIME, "the time that Slurm gave the job was over");
    else
        return false;
    return true;
}

/* A rank's script may be killed with its command, or be quick enough to say that that was. */
static bool was_killed(const struct slurm_facts *facts)
{
    return facts->claimed && (facts->ended < facts->ranks ||
                                 (facts->kill_sent && facts->failed_status > SIGNAL_BASE));
}

static bool by_ranks(const struct slurm_facts *facts, struct attempt_end *end)
{
    if (facts->start_errno) {
        set(end, ENGINE_END_START_FAILED, "");
        end->code = facts->start_errno;
        snprintf(end->text, sizeof end->text, "the command cannot be run on its node: %s",
            strerror(facts->start_errno));
    } else if (facts->port_taken && !facts->stop_asked) {
        set(end, ENGINE_END_START_FAILED, "");
        end->code = EADDRINUSE;
        snprintf(end->text, sizeof end->text,
            "port %u, which the replica was given, is taken by another program of its node: it is "
            "tried on another port",
            facts->port);
    } else if (facts->all_zero && (!facts->stop_asked || facts->complete)) {
        set(end, ENGINE_END_SUCCEEDED, "");
    } else if (facts->stop_asked && was_killed(facts)) {
        set(end, ENGINE_END_KILLED, "");
    } else if (facts->stop_asked) {
        set(end, ENGINE_END_STOPPED, facts->claimed ? "" : "it was stopped before it began");
    } else {
        return false;
    }
    return true;
}

static void set_failed_rank(const struct slurm_facts *facts, struct attempt_end *end)
{
    int signal = facts->failed_status - SIGNAL_BASE;
    bool signalled = signal > 0 && signal <= SIGNAL_MOST;
    set(end, signalled ? ENGINE_END_SIGNALLED : ENGINE_END_EXITED, "");
    end->code = signalled ? signal : facts->failed_status;
    end->rank = facts->failed_rank;
    if (signalled)
        snprintf(end->text, sizeof end->text, "rank %d was killed by signal %d (%s)",
            facts->failed_rank, signal, strsignal(signal));
    else
        snprintf(end->text, sizeof end->text, "rank %d exited with code %d", facts->failed_rank,
            facts->failed_status);
}

int64_t slurm_clock_ahead_ms(int64_t submitted_ms, int64_t sent_ms, int64_t known_ms)
{
    enum { WHOLE_SECOND_MS = 999 };
    if (submitted_ms == 0)
        return 0;
    if (known_ms && submitted_ms > known_ms)
        return submitted_ms - known_ms;
    if (sent_ms && submitted_ms + WHOLE_SECOND_MS < sent_ms)
        return submitted_ms + WHOLE_SECOND_MS - sent_ms;
    return 0;
}

void slurm_end_decide(const struct slurm_facts *facts, struct attempt_end *ret_end)
{
    if (by_cluster(facts, ret_end) || by_ranks(facts, ret_end))
        return;
    if (facts->failed_rank >= 0)
        set_failed_rank(facts, ret_end);
    else if (!facts->claimed && facts->state != SLURM_UNKNOWN)
        set(ret_end, ENGINE_END_START_FAILED,
            "the job's script did not begin: is the pool's folder there on all nodes, and "
            "writable for its user?");
    else if (facts->state == SLURM_UNKNOWN)
        set(ret_end, ENGINE_END_LOST, "the cluster does not know the job any more");
    else
        set(ret_end, ENGINE_END_LOST, "its ranks were killed, and nobody says why");
}
