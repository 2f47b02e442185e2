/* What the ranks of an attempt leave in its folder `out` on the shared storage. They are read as
 * they are: whoever can write there can say there what he wants of his own attempt. */
#pragma once

#include "engine/slurm_folder.h"

struct slurm_traces {
    uint32_t begun, ended;
    bool all_zero, complete;
    bool unasked;  /* of those that ended none was asked to */
    bool finished; /* its script is done: no rank runs any more */
    int32_t failed_rank;
    int failed_status;
    int start_errno;
    bool port_taken;    /* somebody else listens on the replica's port */
    bool serves;        /* the replica does */
    int64_t started_ms; /* when the first rank began; 0: none did */
    int64_t ended_ms;   /* when the last that ended did; 0 */
    uint64_t cpu_ms;    /* what those that ended used, with all that they waited for */
};

/* Reads what is there by now; what is not is no error. */
void slurm_traces_look(const struct slurm_folder *folder, uint64_t attempt, uint32_t ranks,
    struct slurm_traces *ret_traces);
/* What its ranks say that they use, all together. False: none has said anything. */
bool slurm_traces_usage(const struct slurm_folder *folder, uint64_t attempt, uint32_t ranks,
    uint64_t *ret_cpu_ms, uint64_t *ret_memory_bytes);
