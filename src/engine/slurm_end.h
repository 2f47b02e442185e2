/* Why an attempt on Slurm ended: one decision from what its ranks left and what the cluster says.
 */
#pragma once

#include "engine/engine.h"
#include "engine/slurm_dialect.h"

struct slurm_facts {
    enum slurm_state state; /* SLURM_UNKNOWN: the cluster has forgotten the job */
    bool preempted;         /* the cluster took its place, or queued it again */
    bool claimed;           /* the attempt began */
    uint32_t ranks, ended;  /* how many there are; how many left an end */
    bool all_zero;          /* every rank exited 0 */
    int32_t failed_rank;    /* the first that did not, -1: none */
    int failed_status;      /* as sh says it: 128 and the signal */
    bool port_taken;        /* another program has the port that the replica was given */
    uint32_t port;
    int start_errno; /* a rank's command was not there; 0: each was */
    bool stop_asked, kill_sent, complete;
    bool time_limit; /* the launch has one of its own */
};

/* How far the cluster's clock is ahead of this machine's, in ms, as one job shows it: it says that
 * the job was submitted at submitted_ms, a whole second, and that was after sent_ms and before
 * known_ms here (0: not known). 0: as far as one can tell they agree. */
int64_t slurm_clock_ahead_ms(int64_t submitted_ms, int64_t sent_ms, int64_t known_ms);

/* Sets reason, code, rank and text. */
void slurm_end_decide(const struct slurm_facts *facts, struct attempt_end *ret_end);
