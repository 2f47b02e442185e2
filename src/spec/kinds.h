/* The kinds people write: Pool, Team, Class, Job, as plain data.
 *
 * Each struct is described by a field table (spec/fields.h), from which come decoding, checks,
 * encoding, JSON Schema, the reference docs and completion. Text and lists belong to the arena
 * that the object was decoded into; a list without items is {NULL, 0}; text not given is NULL.
 *
 * Units: CPU in thousandths, memory and disk in bytes, accelerators in thousandths of a device,
 * times in milliseconds, prices in millionths of the currency an hour. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kind { KIND_POOL, KIND_TEAM, KIND_CLASS, KIND_JOB, KIND_COUNT };

struct text_list {
    const char **items;
    size_t count;
};

struct label {
    const char *key;
    const char *value;
};

struct label_list {
    struct label *items;
    size_t count;
};

struct metadata {
    const char *name; /* [a-z0-9]([-a-z0-9.]*[a-z0-9])?, at most 63 */
    const char *team; /* jobs only */
    struct label_list labels;
};

/* What one rank asks for, or what a node has. */
struct resources {
    int64_t cpu_milli;
    int64_t memory_bytes;
    int64_t disk_bytes;
    const char *accelerator;   /* type, such as "a100"; NULL: none */
    int64_t accelerator_milli; /* 1000 is a whole device; below that, a share of one */
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
};

struct pool {
    struct metadata metadata;
    const char *description;
    enum engine_kind engine;
    const char *jurisdiction;
    bool spot;
    struct node_list nodes;
    struct prices prices;
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
};

struct job {
    struct metadata metadata;
    const char *class_name;
    struct text_list command;
    struct label_list env;
    struct {
        struct secret_ref *items;
        size_t count;
    } secrets;
    const char *workdir; /* "sha256:<64 hex>": a snapshot that was uploaded; NULL: empty */
    struct gang gang;
    struct resources resources; /* of one rank */
    struct placement placement;
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
    } checkpoint;
};

/* Any of the four, as a manifest holds it. */
struct manifest {
    enum kind kind;
    union {
        struct pool pool;
        struct team team;
        struct class_kind class_kind;
        struct job job;
    };
};
