/* Why an attempt ended: one decision from the facts its shim gathered. */
#pragma once

#include "engine/engine.h"
#include "engine/status.h"

#include <stdbool.h>

/* Why the shim began to end the attempt; the first one counts. */
enum end_cause {
    CAUSE_NONE,        /* it did not: the ranks ended by themselves */
    CAUSE_RANK_FAILED, /* one rank ended in failure, the others were told to stop */
    CAUSE_STOP,        /* the server asked for it */
    CAUSE_KILL,        /* the server asked for it, without grace */
    CAUSE_DISK,
    CAUSE_MEMORY, /* seen by sampling, where no control group limits it */
    CAUSE_TIME,
    CAUSE_COUNT,
};

struct end_facts {
    bool start_failed; /* no rank ran the command, or not all of them */
    int start_errno;
    char start_text[200];
    enum end_cause cause;
    bool killed;        /* SIGKILL was sent to the tree */
    bool out_of_memory; /* the kernel killed something for want of memory */
    bool complete;      /* the job said it was complete */
    bool stop_asked;
    int32_t failed_rank; /* of the launch; -1: none. The first that failed */
    int failed_status;   /* its wait status */
    bool all_ended;      /* every rank's wait status is known */
};

/* Sets reason, code, rank and text, nothing else. */
void end_decide(const struct end_facts *facts, struct attempt_end *ret_end);
