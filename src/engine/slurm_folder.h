/* An attempt's folders on the storage that the server and all nodes share:
 *
 *     FOLDER/OWNER/                     the server's user
 *         ATTEMPT/                      batch, control; rank of gangs; secrets/
 *             exec-N, exec-N.in         a command in the running job, its input
 *             out/                      the job's user: claim, rank-N.begin .out .err .end, metrics
 *                 exec-N.out .err .end  what the command left
 *             work/                     the job's user
 *         jobs/JOB/checkpoint/          the job's user; the same for every attempt
 *         jobs/JOB/output/NAME/[PART/]  the job's user
 *
 * What the job's user can write is as hostile as the job: it is opened by descriptors, never
 * through a link, never waiting for a pipe, and read with bounds. */
#pragma once

#include "engine/engine.h"

#include <sys/types.h>

enum { SLURM_TEXT_MAX = 256, SLURM_NODE_MAX = 65, SLURM_WANTED_MAX = 200 };

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

/* Writes the script of a command to be run in a running attempt, and a file for its input, which is
 * returned for appending, the caller's. The launch as the site has it. -1: nothing was written. */
MUST_CHECK int slurm_folder_put_command(const struct slurm_folder *folder,
    const struct launch *launch, uint32_t number, const char *const *argv, struct error *err);
/* Tells the first rank which commands are wanted, the next time that it looks: the last number of
 * all, then those that are. At most SLURM_WANTED_MAX bytes without a newline. */
MUST_CHECK int slurm_folder_want(
    const struct slurm_folder *folder, uint64_t attempt, const char *wanted, struct error *err);
/* What was said by that: empty when nothing was. -1: it cannot be read. */
MUST_CHECK int slurm_folder_wanted(
    const struct slurm_folder *folder, uint64_t attempt, char ret_wanted[SLURM_TEXT_MAX]);
/* Removes what there is of one that has ended. */
void slurm_folder_drop_command(
    const struct slurm_folder *folder, uint64_t attempt, uint32_t number);

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
/* The same, and the node on which that job says that it began; "": it does not. */
int64_t slurm_folder_claimed_on(
    const struct slurm_folder *folder, uint64_t attempt, char ret_node[SLURM_NODE_MAX]);

/* The folder `out` of an attempt for openat, the caller's; -1. */
int slurm_folder_out(const struct slurm_folder *folder, uint64_t attempt);
/* A file of it for reading, the caller's; -1. */
int slurm_folder_file(int out_fd, const char *name);
/* How a file of it begins, as text. Returns the time of its last change, 0: it is not there. */
int64_t slurm_folder_read(int out_fd, const char *name, char text[SLURM_TEXT_MAX]);
/* Nobody needs the scripts any more, nor the secrets that they have. */
void slurm_folder_drop_secrets(const struct slurm_folder *folder, uint64_t attempt);
