/* The local engine's own types, shared by its files. */
#pragma once

#include "base/map.h"
#include "base/vec.h"
#include "engine/cgroup.h"
#include "engine/channel.h"
#include "engine/cores.h"
#include "engine/engine_operations.h"
#include "engine/metrics.h"
#include "engine/record.h"
#include "engine/status.h"
#include "engine/trash.h"

struct event;
struct local;

/* An attempt this engine knows: its run folder is there. */
struct attempt {
    struct local *local;
    uint64_t id;
    char *run; /* its run folder */
    struct status status;
    bool forgotten; /* freed at the next turn of the loop */
    bool started_reported;
    bool ended; /* its status is final, all its processes are gone */
    bool again; /* what it is shall be reported again */

    int channel_fd; /* -1: not connected to its shim */
    struct event *readable;
    struct event *settle; /* looks into what became of a shim that is not connected */
    unsigned settle_tries;

    pid_t child; /* the shim, when this engine started it and has not waited for it; else 0 */
    int child_pidfd;
    struct event *child_gone;

    bool stop_pending; /* asked for while not connected */
    uint64_t stop_grace_ms;
    bool kill_pending;

    struct metrics_reader metrics;
    int64_t checkpoint_ms;
    uint64_t checkpoint_bytes;
    VEC(uint64_t) execs;   /* asked for, not ended */
    VEC(uint32_t) devices; /* of NVIDIA, for its samples */
    VEC(uint32_t) cores;   /* pinned: its own until it has ended */
    uint64_t output_job;   /* whose folder it writes its outputs to; 0: it has none */
};

struct local {
    struct engine engine;
    struct event_base *base;
    engine_report_fn *report;
    void *context;
    char *data;
    char *program;
    char boot_id[BOOT_ID_SIZE];
    struct cgroup cgroups; /* the parent of the attempts' groups; empty folders: none */
    struct trash *trash;
    struct engine_node node;
    struct engine_site_node site_node; /* the same, as sites say it */
    int64_t created_ms;                /* wall clock */
    struct nvml *nvml;                 /* NULL: no NVIDIA driver */
    struct core cores[CORES_MAX];
    size_t core_count;
    struct idmap by_id;
    VEC(struct attempt *) attempts; /* by ascending id */
    VEC(struct attempt *) forgotten;
    struct event *bury;
    struct event *poll; /* reads metrics */
    struct channel_message message;
};

/* ---- Attempts: local_attempt.c ----------------------------------------------------------- */

/* Adds an attempt whose run folder is there. It is looked into when the loop runs. */
struct attempt *attempt_add(struct local *local, uint64_t id);
struct attempt *attempt_find(const struct local *local, uint64_t id);
/* Takes over the socket to its shim. */
void attempt_connect(struct attempt *attempt, int channel_fd);
/* Waits for the shim process, which this engine has started. */
void attempt_watch_child(struct attempt *attempt, pid_t child);
/* Looks into it at the next turn of the loop, or after some time. */
void attempt_settle_later(struct attempt *attempt, int64_t ms);
/* Reports what it is at the next turn of the loop, though that was reported before. */
void attempt_report_again(struct attempt *attempt);
/* Gives its new metrics lines. */
void attempt_read_metrics(struct attempt *attempt);
/* -1: ERR_BUSY or ERR_UNAVAILABLE. */
MUST_CHECK int attempt_ask(struct attempt *attempt, const struct strbuf *message, const int *fds,
    size_t fd_count, struct error *err);
/* Takes it out of the engine and frees it at the next turn. */
void attempt_drop(struct attempt *attempt);
void local_attempt_free(struct attempt *attempt);

/* ---- Starting: local_start.c --------------------------------------------------------------- */

/* See engine_start. */
MUST_CHECK int local_start(struct engine *engine, const struct launch *launch, struct error *err);

/* Takes over what the launch file says of an attempt found on disk; warns where it cannot be read.
 */
void attempt_read_launch(struct attempt *attempt);

/* ---- The node: local_node.c -------------------------------------------------------------- */

/* Fills in what this machine has and enforces; no_cgroups says why there are none, or NULL. */
void node_discover(struct local *local, const char *name, const struct error *no_cgroups);
/* This machine as a site of one node. */
void node_site(const struct local *local, struct engine_site *ret_site);
