/* The sandbox of an attempt: what of the machine it shows, and giving up the rights to change
 * that. Building it is bubblewrap's work, run as the team's own user. */
#pragma once

#include "base/error.h"
#include "base/vec.h"
#include "engine/engine.h"
#include "engine/stray.h"

#include <sys/types.h>

#define SANDBOX_PROGRAM    "/usr/bin/bwrap"
#define SANDBOX_WORK       "/work"
#define SANDBOX_CHECKPOINT "/checkpoint"
#define SANDBOX_JOB        "/run/muster/job"
#define SANDBOX_SECRETS    "/run/secrets"
#define SANDBOX_INIT       "/run/muster/init"
#define SANDBOX_METRICS    SANDBOX_JOB "/metrics"
#define SANDBOX_COMPLETE   SANDBOX_JOB "/complete"
#define SANDBOX_INPUTS     ENGINE_INPUTS_PATH
#define SANDBOX_OUTPUTS    ENGINE_OUTPUTS_PATH
#define SANDBOX_SERVE      "/run/muster/serve"
#define SERVE_SOCKET       "replica.sock"     /* in the folder that is shown as SANDBOX_SERVE */
#define SANDBOX_SOCKET     ENGINE_SOCKET_PATH /* SANDBOX_SERVE "/" SERVE_SOCKET */

/* Where the folders of the attempt are on the machine. */
struct sandbox_sources {
    char *work;
    char *tmp;
    char *checkpoint;
    char *job;
    char *program; /* this program's file */
    char *serve;   /* NULL: it does not serve */
    /* As many as the launch has, in its order. */
    char *inputs[ENGINE_ARTIFACTS_MAX];
    char *outputs[ENGINE_ARTIFACTS_MAX];
};

/* Frees the paths. */
void sandbox_sources_finish(struct sandbox_sources *sources);

enum { SANDBOX_SOURCES_MAX = 6 + 2 * ENGINE_ARTIFACTS_MAX };

/* For a shim that is root: gives it a view of the machine of its own, in which the sources are
 * below /mnt, where any user can reach them, and the data directory is an empty folder. Replaces
 * the paths in *sources. -1: the machine does not allow it; nothing has changed. */
MUST_CHECK int sandbox_stage(struct sandbox_sources *sources, const char *data, struct error *err);

/* Becomes the user for good: no supplementary groups, no capabilities, and no way to new ones. */
MUST_CHECK int sandbox_drop_rights(uid_t uid, gid_t gid, struct error *err);

/* NULL-terminated arguments, each the list's own. */
struct argument_list {
    VEC(char *) list;
};

/* Frees the arguments. */
void argument_list_finish(struct argument_list *arguments);

struct sandbox {
    char mark[STRAY_MARK_SIZE]; /* bubblewrap's name: see stray.h */
    const struct launch *launch;
    const struct launch_placement *place;
    const struct sandbox_sources *sources;
    /* Descriptors bubblewrap inherits: the text of /etc/passwd, group and hosts. */
    int passwd_fd;
    int group_fd;
    int hosts_fd; /* -1: the machine's */
    int plan_fd;  /* and those init does */
    int channel_fd;
};

/* The whole command line that runs init in the sandbox. */
void sandbox_arguments(const struct sandbox *sandbox, struct argument_list *out);
