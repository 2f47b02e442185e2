/* The Kubernetes engine's own types, shared by its files; those of nodes are in kubernetes_node.h,
 * what is made is in kubernetes_objects.h. See README.md for the tour, and docs/kubernetes.md for
 * what it makes in a cluster. */
#pragma once

#include "base/map.h"
#include "base/memory.h"
#include "base/vec.h"
#include "engine/engine_kubernetes.h"
#include "engine/engine_operations.h"
#include "engine/joblog.h"
#include "engine/kube_client.h"
#include "engine/kube_output.h"
#include "engine/kube_watch.h"
#include "spec/kinds.h"

#include <event2/event_struct.h>

struct kubernetes;
struct kube_attempt;
struct kube_foreign;
struct kube_inputs;
struct kube_node;
struct kube_usage;
struct trash;

/* Labels of everything that is made. */
#define KUBE_LABEL_OWNER   "muster.dev/owner"
#define KUBE_LABEL_POOL    "muster.dev/pool" /* pools of one owner may share a namespace */
#define KUBE_LABEL_ATTEMPT "muster.dev/attempt"
#define KUBE_LABEL_RANK    "muster.dev/rank"
#define KUBE_LABEL_TEAM    "muster.dev/team"
#define KUBE_LABEL_NETWORK "muster.dev/network"
#define KUBE_LABEL_SERVES  "muster.dev/serves"

/* What is written down of an attempt. Its objects are not: what they are made of has secrets. */
struct kube_ledger {
    uint64_t attempt, job;
    uint32_t number, ranks;
    uint64_t grace_ms, log_file_bytes;
    uint32_t log_files, serve_port;
    bool bare; /* one pod and nothing else: no service owns it */
    bool made; /* the cluster has all of it */
    int64_t started_ms;
    bool stop_asked, kill_asked;
    int64_t stop_grace_ms;
    bool ended;
    struct attempt_end end;
    bool forgotten; /* what the cluster has of it is to be taken away */
};

/* The pod of a rank, as it was seen last. */
struct kube_pod {
    bool exists;   /* the cluster has it */
    bool created;  /* it had it at some time */
    bool deleting; /* it is being ended */
    bool began;    /* its container has run */
    bool ready;    /* its container runs */
    bool over;     /* its container runs no more and will not again */
    bool lost;     /* its node does not answer, and nobody will say what becomes of it */
    enum engine_end_reason
        cause; /* why, where it is over or stuck; ENGINE_END_SUCCEEDED: it exited 0 */
    int code;
    char text[160];
    int64_t ended_ms;
    char node[64], address[48];
};

/* The output of a rank. Moments are of the boot clock. */
struct kube_log {
    struct kube_attempt *attempt;
    uint32_t rank;
    struct kube_call *call;
    bool last;        /* its pod wrote no more when that was asked for */
    int64_t heard_ms; /* when that was, or something of it came */
    struct kube_output output;
    struct joblog_stream *stream;
    bool whole; /* all that there is to be had was read */
    uint32_t failures;
    int64_t quiet_ms; /* it is not asked for before, but where its pod writes no more */
};

struct kube_rank {
    struct kube_attempt *attempt;
    uint32_t rank;
    char *spec; /* of its pod, JSON; NULL: not known any more */
    struct kube_pod pod;
    struct kube_node *place; /* whose room for a pod it has; NULL: none, or not known */
    struct kube_call *call;  /* making, looking for, or deleting its pod */
    bool look;               /* a list did not have it: it is to be looked for */
    bool seen;               /* the list that is being read has it */
    bool delete_sent;        /* with delete_grace_s */
    int64_t delete_grace_s;
    struct kube_log log;
    struct {
        int64_t at_ms; /* of the last sample, the cluster's clock; 0: none */
        uint64_t cpu_ns, memory_bytes;
    } usage;
};

enum kube_step {
    KUBE_STEP_INPUTS, /* what it reads is being copied to the claim's volume */
    KUBE_STEP_POLICY, /* the team's network policies are being seen to */
    KUBE_STEP_SERVICE,
    KUBE_STEP_SECRET,
    KUBE_STEP_PODS,
    KUBE_STEP_MADE,
};

struct kube_attempt {
    struct kubernetes *engine;
    struct kube_ledger ledger;
    char name[ENGINE_MARK_TEXT];
    char *labels;           /* what is to be made, JSON; NULL: not known any more */
    char *service, *secret; /* NULL: the same, or none */
    char *team;
    VEC(char *) inputs; /* the folders of this machine that it has on the volume */
    enum kube_step step;
    char owner_uid[48]; /* of the service; "": not known */
    struct kube_call *call;
    bool unsure;  /* found at the start: how much of it there is the list will say */
    bool cleaned; /* its service is gone, and with it everything else */
    bool wanted;  /* it was to be started again while it was being forgotten */
    bool due;     /* to be looked at when the loop turns: see kube_attempt_due */
    bool again;   /* or after a while */
    struct kube_rank *ranks;
    struct joblog_writer *writer;
    int log_fd;
    bool log_known;             /* what an engine before this one had read of the output */
    int64_t over_ms;            /* since when all ranks are over, boot clock; 0 */
    int64_t patience_ms;        /* a quota was used up: not tried again before, boot clock */
    char why[200];              /* it is not where it should be */
    struct attempt_end verdict; /* how it ends once its ranks have; reason NONE: not decided */
    uint64_t memory_peak_bytes;
    bool tell_started, tell_sample, tell_ended; /* see kube_attempt_tell */
};

struct kubernetes {
    struct engine engine;
    struct event_base *base;
    engine_report_fn *report;
    void *context;
    char *data, *owner, *pool;
    bool listed;                 /* the pool's manifest says which nodes there are */
    bool spot;                   /* the pool has the nodes that may be taken back, and no others */
    struct kubernetes_site site; /* texts in the arena */
    struct topology_level *levels;
    size_t level_count;
    char *volume; /* site.folder without links; NULL: none, or it is not there */
    struct arena *arena;
    struct kube_client *client;
    const char *name_space;
    struct kube_watch *nodes_watch, *pods_watch;
    struct trash *trash;
    struct kube_inputs *inputs; /* NULL: nothing can be copied to the volume */
    struct kube_usage *usage;

    struct idmap by_id;
    VEC(struct kube_attempt *) attempts; /* by ascending id */
    VEC(uint64_t) due, telling;          /* those that are, in their order */
    size_t log_streams;                  /* under way */
    struct strmap teams;                 /* how many of a team's network policies are there */
    struct strmap asking;                /* the attempt of a team that sees to them */
    struct event turn, retry;
    int64_t retry_ms,
        retried_ms; /* how long the next is waited for, and when that was last, boot */
    bool site_changed;
    uint64_t site_told; /* a hash of what was told last */

    struct strmap node_names, foreign_names;
    VEC(struct kube_node *) nodes; /* by name */
    VEC(struct kube_foreign *) foreign;
    uint64_t node_listing, listing; /* of nodes and of pods: the ones that were begun last */
    bool nodes_known, pods_known;
    struct engine_site about;
    VEC(struct engine_site_node) shown;
};

/* ---- kubernetes.c -------------------------------------------------------------------------- */

/* Deletes an object of ours that nothing here knows of. plural: "pods", "services". */
void kubernetes_sweep(struct kubernetes *engine, const char *plural, const char *name);
/* "/api/v1/namespaces/NAMESPACE/PLURAL/NAME", name NULL: the collection. To be freed. */
char *kubernetes_path(const struct kubernetes *engine, const char *plural, const char *name);
/* The label of a level of the pool's topology; NULL: it has no such level. */
const char *kubernetes_level_label(const struct kubernetes *engine, const char *level);
struct kube_attempt *kubernetes_find(const struct kubernetes *engine, uint64_t attempt);

/* ---- kubernetes_turn.c --------------------------------------------------------------------- */

/* Its timers; nothing is due yet. */
void kubernetes_turn_init(struct kubernetes *engine);
/* Has reports delivered and attempts that are due looked at when the loop turns. */
void kubernetes_turn(struct kubernetes *engine);
/* Has the attempt looked at again after a while: the API server did not do what was asked. */
void kubernetes_retry_later(struct kube_attempt *attempt, int64_t least_ms);

/* ---- kubernetes_folder.c ------------------------------------------------------------------- */

/* The folders on this server's disk, and what empties them. */
MUST_CHECK int kubernetes_make_folders(struct kubernetes *engine, struct error *err);
/* Operations: see engine.h. */
MUST_CHECK int kubernetes_purge(struct engine *base, uint64_t job, struct error *err);
char *kubernetes_log_folder(const struct engine *base, uint64_t job, uint32_t number);
MUST_CHECK int kubernetes_output_open(
    const struct engine *base, uint64_t job, const char *name, struct error *err);
MUST_CHECK int kubernetes_outputs_drop(struct engine *base, uint64_t job, struct error *err);

/* ---- kubernetes_ledger.c ------------------------------------------------------------------- */

/* Writes it as a whole: it outlives this server, and in a little while a failure of the machine. */
MUST_CHECK int kube_ledger_note(const struct kube_attempt *attempt, struct error *err);
/* The same, and it outlives a failure of the machine from here on. */
MUST_CHECK int kube_ledger_save(const struct kube_attempt *attempt, struct error *err);
/* Removes it; what cannot be removed is logged. */
void kube_ledger_drop(const struct kube_attempt *attempt);
/* Adds every attempt that is on disk. */
MUST_CHECK int kube_ledger_load(struct kubernetes *engine, struct error *err);

/* ---- kubernetes_inputs.c ------------------------------------------------------------------- */

/* NULL: the pool has no claim, or this server does not see its volume or cannot write there, which
 * is logged. */
struct kube_inputs *kube_inputs_create(struct kubernetes *engine);
/* NULL is fine. */
void kube_inputs_destroy(struct kube_inputs *inputs);
/* Whether pods can see what a launch reads. */
MUST_CHECK int kube_inputs_check(
    const struct kubernetes *engine, const struct launch *launch, struct error *err);
/* Where on the claim's volume an input is, or will be; NULL: nowhere. To be freed. */
char *kube_inputs_path(const struct kubernetes *engine, const char *folder);
/* The attempt needs what has to be copied of what the launch reads. */
void kube_inputs_take(struct kube_attempt *attempt, const struct launch *launch);
/* One folder of that. */
void kube_inputs_hold(struct kube_attempt *attempt, const char *folder);
/* Nothing of it is needed any more. */
void kube_inputs_release(struct kube_attempt *attempt);
/* Whether all of it is on the volume; has it copied, and ends the attempt where it never will be.
 */
bool kube_inputs_are_there(struct kube_attempt *attempt);

/* ---- kubernetes_pod.c ---------------------------------------------------------------------- */

/* What a pod is, from its object. */
void kube_pod_read(const struct doc *object, struct kube_pod *ret_pod);

/* ---- kubernetes_attempt.c ------------------------------------------------------------------ */

/* Adds it to the engine; ranks are there and know nothing yet. */
struct kube_attempt *kube_attempt_create(
    struct kubernetes *engine, const struct kube_ledger *ledger);
/* Takes it out of the engine and frees it. */
void kube_attempt_remove(struct kube_attempt *attempt);
/* Does the next that is to be done, as far as that can be begun now. */
void kube_attempt_advance(struct kube_attempt *attempt);
/* A rank's pod was seen, or (object NULL) is not there any more. */
void kube_attempt_saw(struct kube_rank *rank, const struct doc *object);
/* Has it looked at when the loop turns. */
void kube_attempt_due(struct kube_attempt *attempt);
/* Has what is to be told of it delivered when the loop turns. */
void kube_attempt_tell(struct kube_attempt *attempt);
/* Says why it is not where it should be. */
void kube_attempt_note(struct kube_attempt *attempt, const char *text);
/* Not now: again a little later, whatever it was. */
void kube_attempt_later(struct kube_attempt *attempt, const struct error *err, int64_t least_ms);
/* The API server refused something for good, or not. */
void kube_attempt_refused(struct kube_attempt *attempt, const struct error *err, int64_t least_ms);
/* It is to end, or has to be. */
bool kube_attempt_is_ending(const struct kube_attempt *attempt);
/* For a quota. */
bool kube_attempt_is_waiting(const struct kube_attempt *attempt);
/* Writes down that the cluster has all of it. */
void kube_attempt_save_made(struct kube_attempt *attempt);

/* ---- kubernetes_make.c --------------------------------------------------------------------- */

/* Makes what is missing, as far as that can be begun now. */
void kube_make_advance(struct kube_attempt *attempt);
/* It sees to its team's network policies no more: others of the team may. Again is fine. */
void kube_make_leave_policies(struct kube_attempt *attempt);
/* Asks for pods that a list did not have. */
void kube_make_look(struct kube_attempt *attempt);
/* Deletes pods that are not over. */
void kube_make_end_pods(struct kube_attempt *attempt);
/* Takes everything away; then the attempt is removed. */
void kube_make_clean(struct kube_attempt *attempt);

/* ---- kubernetes_verdict.c ------------------------------------------------------------------ */

/* Once: how it ends when its ranks have. rank -1: none decided; text is cut to fit. */
void kube_verdict_decide(struct kube_attempt *attempt, enum engine_end_reason reason, int code,
    int32_t rank, const char *text);
/* Decides where a rank failed, or all have succeeded. */
void kube_verdict_judge(struct kube_attempt *attempt);
/* It was told to stop, and nothing of it is left. */
void kube_verdict_judge_stopped(struct kube_attempt *attempt);
/* Whether nothing of it runs, nor will. */
bool kube_verdict_all_done(struct kube_attempt *attempt);

/* ---- kubernetes_log.c ---------------------------------------------------------------------- */

/* A longer one is cut: as long as what fits one line of a joblog, with its end. */
enum { KUBE_LINE_MAX = JOBLOG_TEXT_MAX - 1 };

/* The attempt is new, or made again after nothing of it began: what its log has is of another. */
void kube_log_begin(struct kube_attempt *attempt);
/* Begins to follow what can be followed. True: all that there is of every rank was read. */
bool kube_log_advance(struct kube_attempt *attempt);
/* Whether what was not read yet may still come, now that no rank runs any more. */
bool kube_log_may_come(const struct kube_attempt *attempt);
/* Stops and closes everything. */
void kube_log_close(struct kube_attempt *attempt);

/* ---- kubernetes_usage.c -------------------------------------------------------------------- */

/* Asks nothing yet. */
struct kube_usage *kube_usage_create(struct kubernetes *engine);
/* NULL is fine. */
void kube_usage_destroy(struct kube_usage *usage);
/* An attempt runs: the cluster is asked now and then for as long as any does. */
void kube_usage_begin(struct kubernetes *engine);
/* What its ranks have used together. */
void kube_usage_sum(struct kube_attempt *attempt, struct attempt_usage *ret_usage);

/* ---- kubernetes_site.c --------------------------------------------------------------------- */

/* Begins to watch nodes and pods. */
void kube_site_start(struct kubernetes *engine);
void kube_site_finish(struct kubernetes *engine);
/* Fills `about` from what is known. */
void kube_site_show(struct kubernetes *engine);
/* A hash of what kube_site_show gave last. */
uint64_t kube_site_hash(const struct kubernetes *engine);
/* Has it told when the loop turns, if it is another than was told last. */
void kube_site_changed(struct kubernetes *engine);
