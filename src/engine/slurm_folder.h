/* An attempt's folders on the storage that the server and all nodes share:
 *
 *     FOLDER/OWNER/                     the server's user
 *         ATTEMPT/                      batch, control, rank, secrets/
 *             out/                      the job's user: claim, rank-N.begin .out .err .end, metrics
 *             work/                     the job's user
 *         jobs/JOB/checkpoint/          the job's user; the same for every attempt
 *         jobs/JOB/output/NAME/[PART/]  the job's user
 *
 * What the job's user can write is as hostile as the job: it is opened by descriptors, never
 * through a link, never waiting for a pipe, and read with bounds. */
#pragma once

#include "engine/engine.h"
#include "engine/slurm_end.h"

#include <sys/types.h>

struct slurm_folder {
    char *root; /* FOLDER/OWNER */
    uid_t uid;  /* whose jobs they are */
    gid_t gid;
};

/* Makes the folder of the owner. -1: it cannot be used. */
MUST_CHECK int slurm_folder_open(struct slurm_folder *folder, const char *path, const char *owner,
    uid_t uid, gid_t gid, struct error *err);
/* Frees what it holds; the folder stays. */
void slurm_folder_close(struct slurm_folder *folder);

/* Each returns a path to be freed by the caller; name may be NULL. */
char *slurm_folder_attempt(const struct slurm_folder *folder, uint64_t attempt, const char *name);
/* As above, of a job. */
char *slurm_folder_job(const struct slurm_folder *folder, uint64_t job, const char *name);

/* Writes everything that a submission needs; again is fine while it has not begun. It is there for
 * everybody, and durable only once slurm_store.c has seen to it. */
MUST_CHECK int slurm_folder_prepare(
    const struct slurm_folder *folder, const struct launch *launch, struct error *err);
/* Tells the job to stop, or to kill its ranks, the next time that it looks: within a second. */
MUST_CHECK int slurm_folder_stop(
    const struct slurm_folder *folder, uint64_t attempt, bool kill, struct error *err);

enum slurm_claim {
    CLAIM_OURS,    /* nobody had: it can never begin now */
    CLAIM_THEIRS,  /* a job did; its number is 0 where it is not readable */
    CLAIM_UNKNOWN, /* the storage cannot be asked */
};
/* Claims the attempt for the server. */
enum slurm_claim slurm_folder_claim(
    const struct slurm_folder *folder, uint64_t attempt, uint64_t *ret_job);
/* Who has claimed it. -1: nobody; 0: it cannot be read, or the server. */
int64_t slurm_folder_claimed_by(const struct slurm_folder *folder, uint64_t attempt);

/* What its ranks have left by now. */
struct slurm_traces {
    uint32_t begun, ended;
    bool all_zero, complete;
    bool finished; /* its script is done: no rank runs any more */
    int32_t failed_rank;
    int failed_status;
    int start_errno;
    bool port_taken;    /* somebody else listens on the replica's port */
    bool serves;        /* the replica does */
    int64_t started_ms; /* when the first rank began; 0: none did */
    int64_t ended_ms;   /* when the last that ended did; 0 */
};
/* Reads them; what is not there is not an error. */
void slurm_folder_look(const struct slurm_folder *folder, uint64_t attempt, uint32_t ranks,
    struct slurm_traces *ret_traces);
/* What its ranks say that they use, all together. False: none has said anything. */
bool slurm_folder_usage(const struct slurm_folder *folder, uint64_t attempt, uint32_t ranks,
    uint64_t *ret_cpu_ms, uint64_t *ret_memory_bytes);
/* The folder `out` of an attempt for openat, the caller's; -1. */
int slurm_folder_out(const struct slurm_folder *folder, uint64_t attempt);
/* A file of it for reading, the caller's; -1. */
int slurm_folder_file(int out_fd, const char *name);
/* Nobody needs the secrets any more. */
void slurm_folder_drop_secrets(const struct slurm_folder *folder, uint64_t attempt);
