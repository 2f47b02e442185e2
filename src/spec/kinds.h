/* The kinds people write: Pool, Team, Class, Job, Dataset, Model, Runtime, Service, as plain data.
 *
 * Each struct is described by a field table (spec/fields.h), from which come decoding, checks,
 * encoding, JSON Schema, the reference docs and completion. Text and lists belong to the arena
 * that the object was decoded into; a list without items is {NULL, 0}; text not given is NULL.
 *
 * Units: CPU in thousandths, memory and disk in bytes, accelerators in thousandths of a device,
 * times in milliseconds, prices in millionths of the currency an hour. */
#pragma once

#include "spec/kinds_base.h"
#include "spec/kinds_care.h"
#include "spec/kinds_guard.h"
#include "spec/kinds_quiet.h"
#include "spec/kinds_record.h"
#include "spec/kinds_rollout.h"
#include "spec/kinds_scaling.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kind {
    KIND_POOL,
    KIND_TEAM,
    KIND_CLASS,
    KIND_JOB,
    KIND_DATASET,
    KIND_MODEL,
    KIND_RUNTIME,
    KIND_SERVICE,
    KIND_HPA, /* HorizontalPodAutoscaler */
    KIND_COUNT
};

/* ---- Pool ------------------------------------------------------------------------------ */

enum engine_kind { ENGINE_LOCAL, ENGINE_SLURM, ENGINE_KUBERNETES };

enum taint_effect { TAINT_NO_SCHEDULE, TAINT_NO_EXECUTE };

struct taint {
    const char *key;
    const char *value;
    enum taint_effect effect;
};

struct node {
    const char *name; /* with count > 1, the prefix of name-1 .. name-count */
    int64_t count;
    const char *type;          /* node type: prices by node type refer to it */
    struct resources capacity; /* accelerator_milli is 1000 * devices; 0 CPU or memory in a local
                                * pool: what the machine has */
    bool fractional;           /* whether devices may be shared */
    struct text_list sockets;  /* lists of devices that are near each other: base/sockets.h */
    struct label_list labels;
    struct {
        struct taint *items;
        size_t count;
    } taints;
};

struct node_list {
    struct node *items;
    size_t count;
};

struct named_price {
    const char *name;
    int64_t hour_micro;
};

struct price_list {
    struct named_price *items;
    size_t count;
};

struct prices {
    const char *currency;    /* "EUR" */
    struct price_list nodes; /* by node type: the whole node; its share goes by the dominant
                              * resource held; when given, the per-resource ones are unused
                              * for nodes of that type */
    int64_t cpu_hour_micro;  /* a CPU for an hour */
    int64_t memory_gib_hour_micro;
    int64_t disk_gib_hour_micro;
    struct price_list accelerators; /* by accelerator type: a whole device for an hour */
    int64_t egress_gib_micro;       /* a GiB of data that leaves the site */
};

/* Jobs come to a pool with such a policy only when they would wait too long for the others. */
struct burst {
    int64_t after_ms;     /* waiting, so far and foreseen, that it takes */
    int64_t budget_micro; /* for all jobs that come so, in a period; 0: there is no policy */
    int64_t period_ms;
};

/* A level of a pool's topology: nodes with the same value of the label, and of those of all levels
 * before, are a domain. */
struct topology_level {
    const char *name;
    const char *label; /* NULL: the name */
    int64_t nodes;     /* nodes of a group that lack the label get one, so many in a row the same;
                        * 0: they are in no domain */
};

/* How the site of a pool is reached. Texts are NULL where nothing was said. */
enum site_place { SITE_PLACE_MUSTER, SITE_PLACE_SITE };

enum slurm_users { SLURM_USERS_POOL, SLURM_USERS_TEAM };

struct slurm_site {
    const char *endpoint;    /* of slurmrestd: "unix:/path" or "https://10.0.0.1:6820" */
    const char *ca_file;     /* NULL: the system's */
    const char *server_name; /* NULL: the endpoint's address */
    const char *cluster;
    const char *partition;
    const char *account;
    const char *qos;
    const char *constraint;
    const char *user;         /* whose jobs they are at the site, or who asks there */
    enum slurm_users users;   /* whose they are */
    const char *token_folder; /* a JWT for each user, in a file of the user's name; NULL: none */
    const char *token_file;   /* a JWT; read again before it runs out */
    const char *folder;       /* on storage that the server and all nodes share */
    enum site_place place;
    int64_t poll_ms;
    int64_t requests;              /* at most so many under way */
    int64_t port_first, port_last; /* that replicas listen on */
    int64_t walltime_ms;           /* that is asked for at most; 0: what the partition gives */
};

struct kubernetes_site {
    const char *kubeconfig; /* NULL: that of the service account it runs as */
    const char *context;
    const char *name_space;
    enum site_place place;
    const char *image;       /* that its jobs run in */
    const char *pull_secret; /* NULL: images are pulled as nobody in particular */
    const char *claim;  /* of a volume for checkpoints and outputs; NULL: they go with the pod */
    const char *folder; /* where this server sees that volume; NULL: it does not */
    int64_t timeout_ms; /* of a request */
};

struct pool {
    struct metadata metadata;
    const char *description;
    enum engine_kind engine;
    struct slurm_site slurm;
    struct kubernetes_site kubernetes;
    const char *jurisdiction;
    const char *site;       /* NULL: one of its own */
    int64_t link_bytes;     /* that go in or out of the site in a second; 0: no bound */
    int64_t keep_inputs_ms; /* after their last use; 0: ten minutes */
    bool partial;           /* in no manifest: its site has nodes that are not among these now */
    bool spot;
    struct burst burst;
    struct node_list nodes;
    struct {
        struct topology_level *items; /* outermost first */
        size_t count;
    } levels;
    struct prices prices;
};

/* ---- limits of requests, of teams, services and tokens ---------------------------------- */

enum limit_what {
    LIMIT_REQUESTS,
    LIMIT_INPUT_TOKENS,
    LIMIT_OUTPUT_TOKENS,
    LIMIT_TOKENS, /* of both sorts */
    LIMIT_MONEY,  /* by the service's prices */
    LIMIT_CONCURRENCY,
    LIMIT_WHAT_COUNT
};

enum limit_window {
    LIMIT_NOW, /* no window: what is under way */
    LIMIT_SECOND,
    LIMIT_MINUTE,
    LIMIT_HOUR,
    LIMIT_DAY,
    LIMIT_MONTH, /* 30 days */
    LIMIT_WINDOW_COUNT
};

enum { LIMIT_LIST_MAX = 8 };

struct limit {
    enum limit_what what;
    int64_t most_micro; /* millionths: of the currency, a token, a request */
    enum limit_window window;
};

struct limit_list {
    struct limit *items;
    size_t count;
};

/* What a team's keys, or a single key, may do at the gateway. */
struct serving_rights {
    struct limit_list limits; /* of all its requests together, at whichever service */
    int64_t weight_micro;     /* share of a busy service, against other teams'; 1000000 */
    int64_t
        priority; /* of its requests, and the most they may ask for; -1: the team's, or normal */
};

/* ---- Team ------------------------------------------------------------------------------ */

enum role { ROLE_NONE, ROLE_VIEWER, ROLE_MEMBER, ROLE_APPROVER, ROLE_ADMIN };

struct member {
    const char *user;
    enum role role;
};

/* resource: "cpu" (thousandths), "memory", "disk" (bytes), "accelerators" (all types, in
 * thousandths) or an accelerator type. In a manifest the amounts are quantities of that resource.
 */
struct quota {
    const char *resource;
    const char *guarantee_text;
    const char *limit_text;
    int64_t guarantee; /* 0: none */
    int64_t limit;     /* -1: none */
};

struct team {
    struct metadata metadata;
    const char *description;
    const char *parent;   /* NULL: below the root */
    int64_t weight_micro; /* share of what is left over; 1000000 by default */
    bool borrow;          /* may use what others leave idle, up to its limit; default true */
    struct {
        struct quota *items;
        size_t count;
    } quotas;
    struct {
        struct member *items;
        size_t count;
    } members;
    struct text_list required_labels; /* every job has to carry these */
    int64_t uid;                      /* -1: one is given out */
    bool host_network;                /* whether its jobs may ask for network: host */
    int64_t jobs_max;                 /* live jobs at most; default 100000 */
    bool separate_approval; /* who asks for a promotion may not approve it; default true */
    struct serving_rights serving;
};

/* ---- Class: a template of a job spec ---------------------------------------------------- */

struct class_kind {
    struct metadata metadata;
    const char *description;
    const struct doc *template_doc; /* a partial Job spec: what a job of the class does not say
                                     * itself is taken from here, field by field */
};

/* ---- Job ------------------------------------------------------------------------------- */

enum network_mode { NETWORK_NONE, NETWORK_GANG, NETWORK_HOST };
enum spread_mode { SPREAD_PACK, SPREAD_SPREAD };
enum topology_mode { TOPOLOGY_PREFERRED, TOPOLOGY_REQUIRED };
enum spot_use { SPOT_ALLOWED, SPOT_NEVER, SPOT_ONLY }; /* pools of spot capacity */
enum dependency_condition { DEPENDENCY_SUCCEEDED, DEPENDENCY_ENDED };

/* Priorities are numbers, with names for the usual ones (low 100, normal 500, high 800,
 * urgent 1000); ageing never lifts a job above the next named one. */
enum { PRIORITY_LOW = 100, PRIORITY_NORMAL = 500, PRIORITY_HIGH = 800, PRIORITY_URGENT = 1000 };

struct secret_ref {
    const char *name; /* of the team's secret */
    const char *env;  /* the variable it is put into, or NULL */
    const char *file; /* the file name under /run/secrets, or NULL */
};

struct dependency {
    const char *job; /* name within the team, or id */
    enum dependency_condition condition;
};

enum label_operator { LABEL_IN, LABEL_NOT_IN, LABEL_EXISTS, LABEL_ABSENT };

struct node_requirement {
    const char *key;
    enum label_operator operation;
    struct text_list values;
};

struct toleration {
    const char *key;
    const char *value; /* NULL: any */
};

struct gang {
    int64_t size; /* ranks; default 1 */
    int64_t min;  /* elastic lower bound; 0: size */
    int64_t max;  /* elastic upper bound; 0: size */
};

struct placement {
    const char *pool;         /* NULL: any */
    const char *node_type;    /* NULL: any */
    const char *jurisdiction; /* NULL: any */
    struct {
        struct node_requirement *items;
        size_t count;
    } require;
    struct {
        struct toleration *items;
        size_t count;
    } tolerations;
    struct label_list near;  /* affinity: on nodes that run a job with one of these labels */
    struct label_list apart; /* anti-affinity: never on such nodes */
    enum spread_mode spread;
    bool exclusive; /* nodes of its own */
    enum spot_use spot;
};

/* An artifact that a job reads: exactly one of dataset and model is given, as a reference
 * (spec/reference.h): "digits:3", "vision/digits@production". */
struct job_input {
    const char *name; /* becomes MUSTER_INPUT_<NAME>, the path of a folder that is read-only */
    const char *dataset;
    const char *model;
};

enum variant_relation { VARIANT_NONE, VARIANT_QUANTIZED, VARIANT_PRUNED, VARIANT_DISTILLED };

/* An artifact that a job writes: what is in the folder MUSTER_OUTPUT_<NAME> when the job (an array:
 * every element of it) has succeeded becomes the next version of one dataset or model of its team.
 */
struct job_output {
    const char *name;
    const char *dataset;            /* the name of a Dataset, or */
    const char *model;              /* of a Model */
    enum variant_relation relation; /* of a model: what it is of the model that is `parent` */
    const char *parent;             /* the name of an input that is a model; NULL: none */
};

/* Scoring: a job without a command of its own runs the runtime's score command, the input named
 * "model" over the input named "data" into the output named "scores"; with an array each element
 * does its share. */
struct score {
    const char *runtime; /* NULL: not a scoring job */
};

/* Something that a job reads, and the site where it lies. */
struct job_data {
    const char *site;
    int64_t bytes;
    const char *version; /* "dataset/TEAM/NAME:3", or NULL */
};

struct job {
    struct metadata metadata;
    const char *class_name;
    struct text_list command;
    const char *image; /* in pools of containers; NULL: the pool's */
    struct label_list env;
    struct {
        struct secret_ref *items;
        size_t count;
    } secrets;
    const char *workdir;          /* "sha256:<64 hex>": a snapshot that was uploaded; NULL: empty */
    struct label_list parameters; /* each is MUSTER_PARAMETER_<NAME>, and is recorded */
    struct {
        struct job_input *items;
        size_t count;
    } inputs;
    struct {
        struct job_output *items;
        size_t count;
    } outputs;
    struct {
        struct job_data *items; /* in no manifest: known once the inputs are exact versions */
        size_t count;
    } data;
    struct score score;
    struct gang gang;
    struct resources resources; /* of one rank */
    struct placement placement;
    struct {
        const char *within; /* a level of the pool, or "node"; NULL: wherever there is room */
        enum topology_mode mode;
    } topology;
    int64_t priority;
    bool preemptible;
    int64_t min_runtime_ms;   /* not preempted before */
    int64_t preemptions_max;  /* not preempted more often; -1: no bound */
    int64_t grace_ms;         /* from SIGTERM to SIGKILL */
    bool shrink_on_node_loss; /* go on with fewer ranks (gang.min) instead of failing */
    struct {
        int64_t limit;
        int64_t backoff_ms;
        int64_t backoff_max_ms;
    } retries;
    int64_t start_after_ms; /* moment; 0: none */
    int64_t deadline_ms;    /* moment by which it has to have ended; 0: none */
    int64_t time_limit_ms;  /* length of an attempt; 0: none */
    int64_t duration_ms;    /* how long its work is expected to take in all; 0: not known */
    struct {
        struct dependency *items;
        size_t count;
    } depends_on;
    struct {
        int64_t count;    /* 0: no array */
        int64_t parallel; /* at once; 0: all */
    } array;
    bool hold;
    bool service; /* runs until it is stopped (a later kind uses it) */
    enum network_mode network;
    struct {
        int64_t max_bytes;
        int64_t files;
    } log;
    struct {
        int64_t interval_ms; /* how often the job says it checkpoints; 0: not known */
        int64_t restart_ms;  /* what starting again costs; 0: not known */
        bool on_stop;        /* it writes one when it is told to stop */
    } checkpoint;
};

/* ---- Dataset --------------------------------------------------------------------------- */

/* How many versions are kept: those that something refers to (a stage, a service, a live job, the
 * lineage of a version that is kept) always are. */
struct artifact_retention {
    int64_t versions; /* the newest so many; 0: all */
    int64_t age_ms;   /* and those younger than this; 0: none for their age */
};

struct dataset {
    struct metadata metadata;
    const char *description;
    const char *owner;        /* whom to ask about it */
    const char *jurisdiction; /* work on it, and on what was made from it, stays in pools of this
                               * jurisdiction; NULL: anywhere */
    const char *site;         /* where the data lie; NULL: nowhere in particular */
    const char *consent;      /* a label such as "research-only", recorded with each version */
    struct artifact_retention retention;
};

/* ---- Model ----------------------------------------------------------------------------- */

enum model_stage { STAGE_CANDIDATE, STAGE_STAGING, STAGE_PRODUCTION, STAGE_ARCHIVED };
enum { STAGE_COUNT = STAGE_ARCHIVED + 1 };

enum owner_role { OWNER_DATASET, OWNER_APPROVAL, OWNER_BILL, OWNER_ON_CALL };

struct model_owners {
    const char *dataset; /* each: a person or a group, or NULL */
    const char *approval;
    const char *bill;
    const char *on_call;
};

enum metric_source { METRIC_TRAINING, METRIC_EVALUATION };

/* A bound on a recorded metric. Bounds are texts of numbers, compared as decimals. */
struct gate_metric {
    const char *name;
    enum metric_source source; /* of the job that made the version, or of the gate's evaluation */
    const char *min;           /* NULL: none */
    const char *max;
    bool not_worse; /* also not below (with max only: not above) the version that holds the stage */
};

/* A job that the gate runs: the version is its input "model", the dataset its input "data"; its
 * last metrics are what conditions with source evaluation look at. */
struct gate_evaluation {
    const char *dataset; /* a reference; NULL: no evaluation */
    const char *class_name;
    struct text_list command;
    const char *workdir;
    struct resources resources;
    int64_t time_limit_ms;
};

struct gate {
    const char *stage_name; /* "staging" or "production" */
    struct {
        struct gate_metric *items;
        size_t count;
    } metrics;
    struct gate_evaluation evaluation;
    struct text_list owners;  /* which of the model's owners have to be named */
    struct text_list consent; /* consent labels that datasets in its lineage may have; none: any */
    int64_t approvals;        /* how many approvers; default 1, 0: none is asked */
};

struct model {
    struct metadata metadata;
    const char *description;
    const char *runtime; /* the Runtime that serves it when a Service names none; NULL: none */
    const char *site;    /* where its versions lie; NULL: nowhere in particular */
    struct model_owners owners;
    struct {
        struct gate *items;
        size_t count;
    } gates; /* at most one for a stage */
    struct artifact_retention retention;
};

/* ---- Runtime: how models of a format are served and scored -------------------------------- */

enum listen_mode { LISTEN_SOCKET, LISTEN_PORT };

/* A check of a replica: GET path has to answer 200 .. 299; without a path a connection is enough.
 * period_ms 0: not given, the runtime's own counts. */
struct replica_probe {
    const char *path; /* may hold {name} */
    int64_t period_ms;
    int64_t timeout_ms;
    int64_t failures; /* so many in a row count as one */
};

/* How to tell why a replica ended: by its exit status, or by a text in the last lines of its log.
 * The first that fits counts. */
struct failure_sign {
    const char *cause;   /* "out-of-memory", "missing-file", "wrong-format", "bad-port", .. */
    int64_t exit_status; /* -1: not by it */
    const char *log;     /* a text to be found; NULL: not by it */
};

/* Commands, paths and variables may hold {model} (the folder of the version's files), {name} (of
 * the model as clients ask for it), {version}, {socket}, {port}, {cpus} and {runtimes} (the folder
 * of the programs that come with muster); scoring commands also {data}, {output}, {shard} (from 0)
 * and {shards}, but neither {socket} nor {port}. "{{" stands for "{". See spec/template.h. */
struct runtime {
    struct metadata metadata;
    const char *description;
    struct text_list command;
    struct text_list score_command; /* none: it cannot score */
    const char *image;              /* as that of a job */
    struct label_list env;
    enum listen_mode listen;
    int64_t port;               /* with LISTEN_PORT: inside the replica's own network */
    struct text_list protocols; /* "oip", "openai" */
    struct replica_probe startup;
    struct replica_probe readiness;
    struct replica_probe liveness;
    struct {
        struct failure_sign *items;
        size_t count;
    } failures;
};

/* ---- Service: a model that is served ------------------------------------------------------ */

enum service_access { ACCESS_TEAM, ACCESS_KNOWN, ACCESS_PUBLIC };

enum retry_mode { RETRY_NEVER, RETRY_CONNECT, RETRY_SAFE };

/* Answers that are given again: exactly the same request, model version and tenant. */
struct service_cache {
    int64_t ttl_ms; /* 0: none are kept */
    int64_t entry_bytes_max, bytes_max;
    bool sampled; /* also answers that were drawn at random */
    bool shared;  /* with other gateways */
    int64_t shared_bytes_max;
};
/* What is done to learn the tokens of a stream whose client does not ask for them. */
enum usage_mode { USAGE_PASS, USAGE_ASK };

enum route_affinity { AFFINITY_NONE, AFFINITY_PREFIX };

/* Which replica is asked. */
/* Which labels of requests are told apart in what is counted. */
struct service_labels {
    struct text_list names; /* of X-Muster-Labels; none: no labels */
    int64_t sets_max;       /* different ones; what is beyond counts as "other" */
};

struct service_routing {
    enum route_affinity affinity;
    int64_t block_bytes;   /* of a prompt: beginnings are compared in such steps */
    int64_t load_percent;  /* of the mean: a replica with more under way is passed over */
    int64_t failures;      /* in a row, after which it is set aside for a while; 0: never */
    int64_t retry_percent; /* of requests that may be tried again */
};

/* How the gateway treats the requests of a service. Each feature is a struct of its own; zeroed it
 * is off. */
/* Which requests a service takes at all: see docs/gateway-limits.md. */
struct service_limits {
    struct limit_list key;     /* of each key */
    struct limit_list address; /* of each address of clients */
    struct limit_list all;     /* of all together */
    struct {
        int64_t requests_micro, input_micro, output_micro; /* for 1000 of them */
    } price;
};

/* How a service's busy replicas are shared. */
struct service_queue {
    int64_t concurrency; /* requests at a replica at once; 0: no bound, and no queue */
    int64_t length;      /* requests that wait, at most */
    int64_t wait_ms;     /* nobody waits longer, nor begins to who would have to */
};

/* Requests of many clients in one call. */
struct service_batching {
    int64_t max;             /* rows of a call; below 2: off */
    int64_t latency_goal_ms; /* 0: none */
    int64_t delay_max_ms;
};

/* Requests of a service without replicas, which is about to have one. */
struct service_hold {
    int64_t wait_ms;  /* at most; 0: as everywhere, two seconds */
    int64_t requests; /* that wait at once */
    int64_t bytes;    /* of their bodies */
};

struct service_gateway {
    enum service_access access; /* who may ask: default the team's viewers and above */
    int64_t body_bytes_max;     /* of a request; default 16 MiB */
    int64_t timeout_ms;         /* to the first byte of an answer, and between two; 60 s */
    enum retry_mode retry;      /* default safe: nothing of the answer was seen */
    struct service_limits limits;
    struct service_queue queue;
    struct service_routing routing;
    struct service_cache cache;
    struct service_batching batching;
    struct service_guard guard;
    struct service_deadline deadline;
    struct service_circuit circuit;
    struct service_hedge hedge;
    struct service_fallback fallback;
    struct service_cascade cascade;
    struct service_record record;
    struct service_secondary secondary;
    enum usage_mode usage; /* default pass */
    struct service_labels labels;
    struct service_hold hold;
    enum latency_of measure; /* what is counted for autoscaling, which sets it */
};

struct service {
    struct metadata metadata;
    const char *description;
    const char *model;        /* a reference; with @STAGE it follows the stage */
    const char *runtime;      /* NULL: the Model's */
    const char *route;        /* how clients name it; NULL: metadata.name. One service has it */
    struct text_list command; /* none: the runtime's */
    struct label_list env;
    struct {
        struct secret_ref *items;
        size_t count;
    } secrets;
    int64_t replicas;
    struct resources resources; /* of one replica */
    struct placement placement; /* replicas are spread unless it says otherwise */
    int64_t priority;
    bool preemptible;
    struct service_rollout rollout;
    int64_t drain_ms; /* from its last new request to SIGTERM, at most; default 30 s */
    int64_t grace_ms; /* from SIGTERM to SIGKILL; default 10 s */
    struct {
        int64_t backoff_ms;
        int64_t backoff_max_ms;
    } restart;
    struct replica_probe startup; /* each field that is given wins over the runtime's */
    struct replica_probe readiness;
    struct replica_probe liveness;
    struct service_gateway gateway;
    struct {
        struct service_metric *items;
        size_t count;
    } metrics;
    struct service_autoscale autoscale;
    struct service_quiet quiet;
};

/* Any of them, as a manifest holds it. */
struct manifest {
    enum kind kind;
    union {
        struct pool pool;
        struct team team;
        struct class_kind class_kind;
        struct job job;
        struct dataset dataset;
        struct model model;
        struct runtime runtime;
        struct service service;
        struct hpa hpa;
    };
};
