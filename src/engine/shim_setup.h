/* What a shim opens and makes while it still has its rights. */
#pragma once

#include "base/error.h"
#include "engine/cgroup.h"
#include "engine/launch.h"
#include "engine/plan.h"
#include "engine/sandbox.h"

#include <sys/types.h>

/* The arguments of the verb: `shim RUN_FOLDER LOCK_FD CONTROL_FD SECRETS_FD SNAPSHOT_FD`, where
 * the last two are -1 when there are none. */
struct shim_arguments {
    const char *run;
    int lock_fd;
    int control_fd; /* connected to the server that started it */
    int secrets_fd;
    int snapshot_fd;
};

struct shim_files {
    struct arena *arena; /* of the launch */
    struct launch launch;
    const struct launch_placement *place;
    struct cgroup cgroup;
    struct core_list cores;
    uid_t server_uid;
    uid_t uid;
    gid_t gid;
    int run_fd;
    int status_fd;
    int listen_fd;
    int work_fd;
    int tmp_fd;
    int checkpoint_fd;
    int job_fd;
    int log_fd;
    int serve_fd;                         /* -1: it does not serve */
    int output_fds[ENGINE_ARTIFACTS_MAX]; /* as many as the launch has */
    struct sandbox_sources sources;
};

/* Reads the launch; opens the status file and the control socket. */
MUST_CHECK int shim_open(
    const struct shim_arguments *arguments, struct shim_files *files, struct error *err);
/* Opens the attempt's folders and, for root, sets the stage of the sandbox. */
MUST_CHECK int shim_open_folders(struct shim_files *files, struct error *err);

/* A sandbox on its way: its parent's ends of everything. */
struct shim_child {
    pid_t pid; /* bubblewrap */
    int channel_fd;
    int trouble_fd; /* what bubblewrap says when it cannot */
    int out[ENGINE_RANKS_MAX];
    int err[ENGINE_RANKS_MAX];
};

/* Starts the process that becomes bubblewrap and then, inside, init: it joins the control group,
 * gives up its rights, unpacks the snapshot. What fails in there comes as a message `failed` on
 * the channel. */
MUST_CHECK int shim_spawn(const struct shim_arguments *arguments, const struct shim_files *files,
    struct shim_child *ret_child, struct error *err);
/* Kills and reaps bubblewrap, and what it has made that is not init yet. */
void shim_reap(const struct shim_child *child);
