/* Engines: what starts the attempts of jobs on machines, watches them and says how they ended.
 *
 * One interface for every engine; the local one (engine_local_create) runs attempts as isolated
 * processes of this machine, the others (engine_create) hand them to a cluster, the site. An engine
 * runs on the loop of whoever made it: every call is made on that loop's thread, and every report
 * is delivered there, never from inside a call. No call waits for a site: what a site is to do is
 * written down, done later and reported. The engine knows attempts, not queues: what a job is worth
 * and what happens next is the caller's.
 *
 * What can be relied on:
 *  1. An attempt id runs at most once, whatever crashes: starting it again reports what is.
 *  2. An attempt that was accepted ends in exactly one reason, kept until engine_forget.
 *     ENGINE_REPORT_ENDED is repeated after a restart of the caller until the attempt is forgotten.
 *  3. Attempts outlive the caller. An engine made on the same data directory finds them.
 *  4. After ENGINE_REPORT_ENDED no process of the attempt is alive. Of a node that its site has
 *     given up nobody can say so: there the site's word counts, and an attempt that comes back with
 *     its node finds that it may not run (each claims itself on storage that all nodes share).
 *  5. A site that does not answer is asked again for as long as it takes. Nothing is lost
 * meanwhile, and nothing ends because of it.
 *  6. Each submission bears a mark (engine_mark) by which it is found at the site before anything
 * is submitted again. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct event_base;
struct engine;
struct pool;

/* ---- What is launched ------------------------------------------------------------------- */

enum {
    ENGINE_RANKS_MAX = 64,
    ENGINE_DEVICES_MAX = 64,
    ENGINE_ARGUMENTS_MAX = 4096,
    ENGINE_ARTIFACTS_MAX = 32, /* inputs, and outputs */
};

/* Where a job finds its inputs (by name), its outputs and its socket: for commands that are written
 * out before the launch. The variables named below say the same. */
#define ENGINE_INPUTS_PATH  "/inputs"
#define ENGINE_OUTPUTS_PATH "/outputs"
#define ENGINE_SOCKET_PATH  "/run/muster/serve/replica.sock"

enum launch_network {
    ENGINE_NETWORK_NONE, /* loopback only, private to the attempt */
    ENGINE_NETWORK_GANG, /* the gang's ranks see each other and nobody else */
    ENGINE_NETWORK_HOST, /* the machine's network */
};

struct launch_variable {
    const char *name;
    const char *value;
};

/* A secret is set as the variable `name`; with as_file it is a file only the job can read, and
 * the variable holds its path. It is never written outside the sandbox's memory. */
struct launch_secret {
    const char *name;
    const char *value; /* text for a variable; any bytes for a file */
    size_t size;
    bool as_file;
};

/* A folder of the machine that the job reads: shown as /inputs/<name>, read-only, and named by the
 * variable MUSTER_INPUT_<NAME> (upper case, '-' and '.' as '_'). The name is [a-z0-9][a-z0-9._-]*;
 * two whose variables would be the same are ERR_INVALID. The folder must be there, and readable for
 * everybody (0555, files 0444), until the attempt has ended: a job whose input is missing ends with
 * ENGINE_END_START_FAILED. It can be inside the data directory, which itself stays hidden. */
struct launch_input {
    const char *name;
    const char *folder; /* absolute */
    bool optional;      /* sites leave it out */
};

/* Where a replica is asked. On this machine it gets MUSTER_SOCKET, the path of the socket at which
 * it is to listen; what listens on a port instead (MUSTER_PORT, on 127.0.0.1 of its own network) is
 * reached through the same socket, at which the sandbox then listens itself and relays. A
 * connection is closed at once while nothing listens on the port. A port with ENGINE_NETWORK_HOST
 * is ERR_INVALID: who listens there need not be the replica. At a site it listens on a port of its
 * pod or node: MUSTER_PORT, see engine_serve_port. */
struct launch_serve {
    bool on;
    uint32_t port; /* 0: it listens on the socket itself */
};

/* Ranks first_rank .. first_rank + ranks - 1 on one node. The devices are shared out to the
 * ranks evenly and in order; with fewer devices than ranks every rank sees all of them. */
struct launch_placement {
    const char *node;
    uint32_t first_rank;
    uint32_t ranks;
    const uint32_t *devices; /* indexes on that node */
    size_t device_count;
    uint32_t device_milli; /* the share of each device, 1000 is all of it */
};

struct job;

/* A taint of nodes that the attempt does not mind. */
struct launch_toleration {
    const char *key;
    const char *value; /* NULL: any */
};

/* Everything is borrowed for the time of the call. Zero means the default where one is named. */
struct launch {
    uint64_t attempt; /* never 0, never used twice in a data directory */
    uint64_t job;
    uint32_t attempt_number; /* 1 for a job's first */
    uint64_t epoch;          /* the caller's incarnation, for the record */
    const char *job_name;
    const char *team_name;
    uid_t uid; /* whom the ranks run as; 0: the caller's own uid, refused when that is root */
    gid_t gid;

    const char *const *argv;    /* NULL at the end */
    const char *image;          /* of its containers, where there are any; NULL: the pool's */
    const char *work_subfolder; /* start here, inside the snapshot; NULL: its top */
    const struct launch_variable *variables;
    size_t variable_count;
    const struct launch_secret *secrets;
    size_t secret_count;
    /* A work directory as snapshot_pack makes it, read from its start; -1: an empty one. The
     * caller keeps its descriptor. */
    int snapshot_fd;

    const struct launch_input *inputs;
    size_t input_count;
    /* Folders that it writes: /outputs/<name>, named by MUSTER_OUTPUT_<NAME>, names as those of
     * inputs. It is the same for every attempt, which finds there what the one before left.
     * output_job (0: job) says whose folder it is and output_part (NULL: none; a name as those of
     * inputs) which subfolder of it: elements of an array share the first one's folder, and each
     * sees its own part only. */
    const char *const *outputs;
    size_t output_count;
    uint64_t output_job;
    const char *output_part;
    struct launch_serve serve;

    uint32_t world_size; /* ranks of the whole gang */
    const struct launch_placement *placements;
    size_t placement_count;

    /* For each rank; 0: not limited. Limits are those of an attempt's ranks together. */
    uint64_t cpu_milli;
    uint64_t memory_bytes;
    uint64_t disk_bytes; /* the work directory, /tmp, metrics, checkpoints, and its outputs (of
                          * an array's element: its own parts) */
    const char *accelerator_type; /* "nvidia", "amd", or any other name; NULL: none */

    /* As it was applied, for sites whose own scheduler chooses nodes; NULL: it says nothing. */
    const struct job *manifest;
    const struct launch_toleration *tolerations;
    size_t toleration_count;

    enum launch_network network;
    uint64_t grace_ms;       /* between SIGTERM and SIGKILL when a rank failed; default 10 s */
    uint64_t time_limit_ms;  /* 0: none; after it the attempt is stopped with grace_ms */
    uint64_t walltime_ms;    /* what a site's own scheduler is told that it takes at most: the limit
                              * that the caller keeps, and room for its grace. 0: the site's default */
    uint64_t log_file_bytes; /* default 16 MiB */
    uint32_t log_files;      /* default 4 */
    uint64_t sample_ms;      /* how often usage is reported; default 5 s */
};

/* ---- What is reported -------------------------------------------------------------------- */

enum engine_end_reason {
    ENGINE_END_NONE,      /* still running */
    ENGINE_END_SUCCEEDED, /* every rank exited 0 */
    ENGINE_END_EXITED,    /* a rank exited with `code` */
    ENGINE_END_SIGNALLED, /* a rank was killed by signal `code` */
    ENGINE_END_OUT_OF_MEMORY,
    ENGINE_END_DISK_QUOTA,
    ENGINE_END_TIME_LIMIT,
    ENGINE_END_START_FAILED, /* `code` is an errno, `text` says what; no rank ran the command */
    ENGINE_END_STOPPED,      /* it was told to stop and ended within its grace */
    ENGINE_END_KILLED,       /* it was killed: on demand, or when the grace was over */
    ENGINE_END_LOST,         /* the machine restarted or the shim is gone; nothing of it runs */
    /* What only sites say; the caller asked for none of it. */
    ENGINE_END_NODE_LOST, /* the site gave up a node it was on */
    ENGINE_END_PREEMPTED, /* the site took its place for others, or the node for its owner (spot) */
    ENGINE_END_DRAINED,   /* the site moved it off a node: maintenance, eviction */
    ENGINE_END_WALLTIME,  /* the site's bound of time was over */
    ENGINE_END_CANCELLED, /* somebody cancelled or deleted it at the site, behind the caller's back
                           */
    ENGINE_END_COUNT,
};

/* "succeeded", "out-of-memory", ...: stable names, never NULL. */
const char *engine_end_reason_name(enum engine_end_reason reason);

struct attempt_end {
    enum engine_end_reason reason;
    int code;           /* exit code, signal or errno as the reason says; of `rank` */
    int32_t rank;       /* the rank that decided, -1: none did */
    char text[200];     /* one sentence for people, "" when the reason says it all */
    int64_t started_ms; /* wall clock; 0: never started */
    int64_t ended_ms;
    bool stop_asked; /* a stop or kill was asked for before it ended, whatever the reason */
};

/* Usage since the attempt started, over its ranks on this node. */
struct attempt_usage {
    uint64_t cpu_ns;
    uint64_t memory_bytes;      /* now */
    uint64_t memory_peak_bytes; /* 0: not known */
    uint64_t read_bytes;        /* from and to storage */
    uint64_t written_bytes;
    uint64_t disk_bytes;       /* what counts against the disk limit, at the last walk */
    int32_t accelerator_milli; /* mean utilisation of its devices now; -1: not known */
    uint64_t accelerator_memory_bytes;
};

enum engine_report_kind {
    ENGINE_REPORT_STARTED, /* every rank was executed; repeated after a restart of the caller */
    ENGINE_REPORT_ENDED,
    ENGINE_REPORT_SAMPLE,
    ENGINE_REPORT_METRICS,    /* one line the job appended to MUSTER_METRICS */
    ENGINE_REPORT_CHECKPOINT, /* the newest file of the checkpoint directory changed */
    ENGINE_REPORT_EXEC_ENDED,
    ENGINE_REPORT_QUEUED,   /* the site has it, or says something else about why it waits: see
                             * engine_where */
    ENGINE_REPORT_SITE_END, /* when the site ends the attempt by itself, or that this has changed */
    ENGINE_REPORT_SITE,     /* attempt 0: what engine_site gives has changed */
};

struct report {
    enum engine_report_kind kind;
    uint64_t attempt;
    uint64_t job;
    int64_t at_ms; /* wall clock */
    union {
        int64_t started_ms;
        struct attempt_end ended;
        int64_t site_end_ms; /* wall clock; 0: it does not after all */
        struct attempt_usage sample;
        struct {
            /* Valid UTF-8 without newline or NUL, at most 4096 bytes. Not checked to be JSON. */
            const char *line;
            size_t length;
            /* The position in the job's file after this line. Lines are reported again after a
             * restart: ignore those at or before the last one stored. */
            uint64_t offset;
        } metrics;
        struct {
            int64_t newest_ms; /* modification time of the newest file, wall clock; 0: none; never
                                * in the future */
            uint64_t bytes;    /* of the whole directory */
        } checkpoint;
        struct {
            uint64_t exec;
            int wait_status; /* as waitpid gives it; -1: it never ran, see text */
            const char *text;
        } exec;
    };
};

/* Called on the loop. The report and what it points to are valid for the call only. The callback
 * may call any engine function but engine_destroy. */
typedef void engine_report_fn(void *context, const struct report *report);

/* ---- What a node is ---------------------------------------------------------------------- */

struct engine_device {
    uint32_t index;
    char type[32];  /* "nvidia", "amd" */
    char model[64]; /* as the driver names it */
    char uuid[64];
    uint64_t memory_bytes;
    int32_t socket; /* the processor socket (NUMA node) that it hangs on; -1: not known */
};

/* One promise of the sandbox, and whether this machine keeps it. */
struct engine_fact {
    const char *name; /* "memory-limit", "uid-per-team", ...: stable */
    bool enforced;
    char text[160]; /* how, or why not and what to do */
};

enum { ENGINE_FACTS_MAX = 16 };

struct engine_node {
    char name[64];
    uint64_t cpu_milli;
    uint64_t memory_bytes;
    uint64_t disk_bytes; /* free in the data directory's file system */
    struct engine_device devices[ENGINE_DEVICES_MAX];
    size_t device_count;
    struct engine_fact facts[ENGINE_FACTS_MAX];
    size_t fact_count;
};

/* ---- What a site is ---------------------------------------------------------------------- */

enum engine_node_health {
    ENGINE_NODE_UP,
    ENGINE_NODE_CLOSED, /* takes nothing new: drained, cordoned, reserved. What runs there goes on
                         */
    ENGINE_NODE_DOWN,   /* the site has given it up */
};

struct engine_label {
    const char *key;
    const char *value;
};

/* Keeps attempts away that do not tolerate it. */
struct engine_taint {
    const char *key;
    const char *value;
    bool no_execute; /* what runs there already, too */
};

/* A node as the site says it is: what attempts of this pool may have of it, others' shares taken
 * off. */
struct engine_site_node {
    const char *name;
    enum engine_node_health health;
    const char *why; /* in the site's words; "" when it is up */
    uint64_t cpu_milli;
    uint64_t memory_bytes;
    uint64_t disk_bytes;
    const char *accelerator; /* type, NULL: none */
    uint32_t accelerators;
    bool shared; /* the site gives shares of its accelerators, too */
    const struct engine_label *labels;
    size_t label_count;
    const struct engine_taint *taints; /* that no new attempt tolerates by itself */
    size_t taint_count;
    bool spot; /* its owner may take it back at any time */
};

struct engine_site {
    bool known;       /* the nodes were read at least once since the engine was made */
    bool answers;     /* the last question was answered */
    int64_t since_ms; /* wall clock: so long it answers, or does not */
    char text[200];   /* what is there ("slurm 22.05.8, v0.0.38"), or why it does not answer */
    /* Muster's nodes are where attempts go (a launch's placements name them), or the site's own
     * scheduler chooses and they say only how many ranks share a node. */
    bool placed;
    const struct engine_site_node *nodes; /* by name */
    size_t node_count;
    const struct engine_fact *facts; /* which promises are kept there */
    size_t fact_count;
};

/* ---- The operations, for any engine ------------------------------------------------------- */

/* Accepts an attempt: once it returns 0 a report will follow, also when the machine fails
 * meanwhile. Afterwards the attempt is known, or it never was said to run and may be started again.
 * An id that is known already (running or ended) is not started: what it is gets reported. -1:
 * nothing was done (ERR_INVALID: the launch is wrong; ERR_BUSY: as many wait for the site as may,
 * try again after a report). */
MUST_CHECK int engine_start(struct engine *engine, const struct launch *launch, struct error *err);

/* SIGTERM to every rank, and SIGKILL to the whole tree grace_ms later. Again with a shorter
 * grace: the shorter counts. Fine when it has ended. -1: ERR_NOT_FOUND. */
MUST_CHECK int engine_stop(
    struct engine *engine, uint64_t attempt, uint64_t grace_ms, struct error *err);
/* SIGKILL to the whole tree now. -1: ERR_NOT_FOUND. */
MUST_CHECK int engine_kill(struct engine *engine, uint64_t attempt, struct error *err);

enum engine_attempt_state {
    ENGINE_ATTEMPT_STARTING, /* at a site: accepted, submitted, or waiting there (engine_where) */
    ENGINE_ATTEMPT_RUNNING,
    ENGINE_ATTEMPT_STOPPING,
    ENGINE_ATTEMPT_ENDED
};

struct attempt_view {
    uint64_t attempt;
    uint64_t job;
    uint32_t attempt_number;
    enum engine_attempt_state state;
    struct attempt_end end; /* reason ENGINE_END_NONE unless ended */
};

/* The attempts the engine knows and has not been told to forget, by ascending id. The array is
 * the caller's to free. */
void engine_observe(
    const struct engine *engine, struct attempt_view **ret_views, size_t *ret_count);
/* The same for one. False: it is none of these, and ret_view is untouched. */
bool engine_view(const struct engine *engine, uint64_t attempt, struct attempt_view *ret_view);

/* Where an attempt is at its site. */
enum engine_submission {
    ENGINE_SUBMISSION_ACCEPTED, /* written down here; the site may or may not have it */
    ENGINE_SUBMISSION_QUEUED,   /* the site has it */
    ENGINE_SUBMISSION_PLACED,   /* it has its nodes */
    ENGINE_SUBMISSION_OVER,
};

struct engine_where {
    enum engine_submission submission;
    char id[64];     /* as the site calls it ("4711", "team/job-a1"); "": not known yet */
    char nodes[400]; /* that the site gave, separated by commas, cut to fit; "": none yet */
    char text[200];  /* why it waits, in the site's words, or why the site does not have it yet */
};

/* Local attempts are placed at once. -1: ERR_NOT_FOUND. */
MUST_CHECK int engine_where(const struct engine *engine, uint64_t attempt,
    struct engine_where *ret_where, struct error *err);

/* The end of the attempt is stored: drops its record and work directory; its log and metrics
 * stay. What is dropped is out of reach at once, its space is free a little later. -1: ERR_CONFLICT
 * while it runs. Fine when it is not known. */
MUST_CHECK int engine_forget(struct engine *engine, uint64_t attempt, struct error *err);
/* Removes everything of a job in the same way: checkpoints, logs, metrics, outputs. -1:
 * ERR_CONFLICT while an attempt of it is known, or one of another job that writes its outputs here.
 * Those of an array's elements go with the job they named as output_job, so that one is to be
 * purged last: the engine does not know of elements that have yet to start. */
MUST_CHECK int engine_purge(struct engine *engine, uint64_t job, struct error *err);

struct exec_request {
    uint64_t exec; /* the caller's number, comes back in ENGINE_REPORT_EXEC_ENDED */
    const char *const *argv;
    /* Descriptors for the command's 0, 1 and 2; the engine duplicates them. For a terminal pass
     * the same slave side three times and set terminal: it becomes the controlling one. */
    int fds[3];
    bool terminal;
};

/* Runs a command inside a running attempt, in the environment of its first rank. It ends with
 * the attempt at the latest. -1: ERR_NOT_FOUND, ERR_CONFLICT when the attempt does not run,
 * ERR_INVALID, ERR_BUSY; ERR_UNAVAILABLE where the site has no such thing. */
MUST_CHECK int engine_exec(
    struct engine *engine, uint64_t attempt, const struct exec_request *request, struct error *err);

/* What this machine has and what it enforces, for an engine that runs attempts on it; NULL for one
 * of a site. Valid until the engine is destroyed. */
const struct engine_node *engine_node(const struct engine *engine);

/* What the engine knows of its site, without asking it. Valid until the loop runs again. For an
 * engine on this machine: one node that answers. */
void engine_site(const struct engine *engine, struct engine_site *ret_site);

/* The folder of an attempt's log, for joblog_open; to be freed by the caller. The folder need
 * not exist. An engine of a site brings over what the ranks write, as it is written: what the log
 * has at the attempt's end is all that there is to be had of it. */
char *engine_log_folder(const struct engine *engine, uint64_t job, uint32_t attempt_number);

/* Opens the folder of a job's output for reading, all parts of it: the caller's descriptor, closed
 * on exec. `job` is the output_job of the launch. The folder is there from the first attempt's
 * start until engine_outputs_drop or engine_purge, and what is in it is as hostile as the job,
 * which may still be writing: walk it by openat with O_NOFOLLOW (and O_NONBLOCK, for pipes) and
 * look at what was opened. -1: ERR_NOT_FOUND or ERR_IO. */
MUST_CHECK int engine_output_open(
    const struct engine *engine, uint64_t job, const char *name, struct error *err);
/* Removes the folders of all outputs of a job, whose content is somewhere else by now; everything
 * else of it stays. `job` is the output_job of the launches. What is removed is out of reach at
 * once, its space is free a little later. -1: ERR_CONFLICT while an attempt that writes there has
 * not ended, or ERR_IO. Fine when there are none. The caller says that no attempt of it will start
 * any more: one that does begins with empty folders. */
MUST_CHECK int engine_outputs_drop(struct engine *engine, uint64_t job, struct error *err);
/* The path of the socket at which a replica's attempt listens once it is ready to; to be freed by
 * the caller. It need not exist, may be longer than the 107 bytes of a socket's address, and is
 * gone when the attempt has ended. Its folder belongs to the attempt's uid, which can put anything
 * there: see http_endpoint_create for how to connect to it. */
char *engine_serve_socket(const struct engine *engine, uint64_t attempt);

/* Where a replica's attempt is asked, for http_endpoint_create: "unix:/path", with the socket of
 * engine_serve_socket, or "http://10.0.0.7:8000". To be freed by the caller. NULL: not known yet,
 * or nowhere. */
char *engine_serve_address(const struct engine *engine, uint64_t attempt);

/* The port on which the replica of a new attempt is to listen: `wanted`, that of its runtime, where
 * each attempt has a network of its own; where they share their nodes' one that no other attempt of
 * the engine has. It is the attempt's only once it is in its launch. 0: none is free. */
uint32_t engine_serve_port(const struct engine *engine, uint64_t attempt, uint32_t wanted);

/* Lets go of every attempt (they go on running) and frees the engine. NULL is fine. */
void engine_destroy(struct engine *engine);

/* ---- The local engine -------------------------------------------------------------------- */

struct engine_local_options {
    struct event_base *base; /* outlives the engine */
    const char *data;        /* absolute path; made when missing */
    const char *node_name;   /* NULL: the host's name */
    const char *program;     /* the file with the verbs `shim` and `init`; NULL: this one */
    const char *cgroup_name; /* NULL: "muster-" and a hash of the data path; "": no cgroups */
    engine_report_fn *report;
    void *context;
};

/* Finds the attempts of earlier incarnations; their reports come once the loop runs. NULL:
 * the data directory or the sandbox program is not usable. */
MUST_CHECK struct engine *engine_local_create(
    const struct engine_local_options *options, struct error *err);

/* ---- The engine of a pool ---------------------------------------------------------------- */

struct engine_options {
    struct event_base *base; /* outlives the engine */
    const char *data;        /* absolute path of the server's data directory. The local engine has
                              * it all; one of a site keeps what it has to in `sites/POOL` in it */
    const struct pool *pool; /* says which engine, and how its site is reached. For the call only */
    const char *owner;       /* who submits, in marks: [a-z0-9]{1,16}, the same for ever in a data
                              * directory and different in each */
    engine_report_fn *report;
    void *context;
};

/* The engine that the pool names. Nothing is asked of a site before it returns, and a site that
 * cannot be reached is no error: see engine_site. NULL: ERR_INVALID, the pool's options are wrong;
 * or what it needs of this machine is missing. */
MUST_CHECK struct engine *engine_create(const struct engine_options *options, struct error *err);

enum { ENGINE_MARK_TEXT = 48 };
/* What marks the submission of an attempt at a site: "muster-OWNER-ATTEMPT" with the id in 16 hex
 * digits: fit for names everywhere. Returns out. */
const char *engine_mark(const char *owner, uint64_t attempt, char out[ENGINE_MARK_TEXT]);
/* Reads a mark back. False: it is none of this owner. */
bool engine_mark_read(const char *text, const char *owner, uint64_t *ret_attempt);

/* The verbs `shim` and `init` of the program: argv[0] is the verb. They return an exit status. */
int shim_main(int argc, char **argv);
int init_main(int argc, char **argv);
