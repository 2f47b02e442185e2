/* The core's tables. See row.h for what a row is, rows.c for the columns.
 *
 * Amounts: CPU and accelerators in thousandths, memory and disk in bytes; times in milliseconds
 * since the epoch, 0 for none; money in millionths of the currency. */
#pragma once

#include "core/row.h"

enum row_kind {
    ROW_COUNTER, /* the core's own scalars: the last id of each table, the clock */
    ROW_SYMBOL,  /* interned text: names, labels, types */
    ROW_POOL,
    ROW_PRICE, /* of a pool */
    ROW_LEVEL, /* of a pool's topology */
    ROW_NODE,
    ROW_NODE_LABEL,  /* labels and taints of a node */
    ROW_RESERVATION, /* maintenance of a node */
    ROW_TEAM,
    ROW_QUOTA, /* of a team */
    ROW_SHAPE, /* what a rank asks for; shared by all jobs that ask the same */
    ROW_RULE,  /* placement conditions of a shape */
    ROW_JOB,
    ROW_JOB_LABEL, /* labels that other jobs' affinity and the prices go by */
    ROW_DEPENDENCY,
    ROW_ATTEMPT,
    ROW_PLACEMENT, /* of an attempt on a node */
    ROW_SPAN,      /* what a placement held at an earlier price; charged when it ends */
    ROW_CLAIM,     /* what a preemption was made for keeps until it starts */
    ROW_PROMISE,   /* what is kept for the head of the queue from a moment on */
    ROW_SERVICE,   /* wants replicas */
    ROW_REPLICA,   /* of a service: a job */
    ROW_ALLOTMENT, /* of a job: what a policy with rounds decided and knows of it */
    ROW_SPEED,     /* of an allotment: how fast the job is with so many ranks */
    ROW_SPOT,      /* of a job that moves between spot pools and others */
    ROW_ROLLOUT,   /* of a service: how a new revision takes over, and how far that is */
    ROW_EVIDENCE,  /* of a rollout: what one arm was seen to do */
    ROW_DATA,      /* of a job: how much of what it reads lies at a site */
    ROW_BROKER,    /* of a job that may come to a pool under its burst policy */
    ROW_COPY,      /* a version that was brought to a site: see copies.h */
    ROW_CHARGE,    /* history: what was held, by whom, at what price */
    ROW_CAPACITY,  /* history: what there was to hold */
    ROW_KIND_COUNT
};

/* The description of a table. Never NULL. */
const struct row_type *row_type(enum row_kind kind);

enum job_state {
    JOB_HELD,    /* until somebody releases it */
    JOB_WAITING, /* for a dependency, a moment, a retry's backoff */
    JOB_QUEUED,
    JOB_STARTING, /* admitted: its attempt holds resources and has not started yet */
    JOB_RUNNING,
    JOB_STOPPING,  /* its attempt was told to stop */
    JOB_SUCCEEDED, /* from here on: ended */
    JOB_FAILED,
    JOB_CANCELLED,
};

static inline bool job_state_ended(int32_t state)
{
    return state >= JOB_SUCCEEDED;
}

enum attempt_state { ATTEMPT_ADMITTED, ATTEMPT_SUBMITTED, ATTEMPT_STARTED, ATTEMPT_ENDED };

/* Why an attempt ended or was told to stop, and why a job ended. */
enum end_reason {
    END_NONE,
    END_SUCCEEDED,
    END_EXIT, /* non-zero exit status */
    END_SIGNAL,
    END_OUT_OF_MEMORY,
    END_DISK_QUOTA,
    END_START_FAILED, /* the command could not be started */
    END_PREEMPTED,
    END_CANCELLED,
    END_TIME_LIMIT,
    END_DEADLINE,
    END_NODE_LOST,
    END_DRAINED,     /* its node was drained or is under maintenance */
    END_RESIZED,     /* an elastic gang starts again with another size */
    END_LOST,        /* the engine does not know what became of it */
    END_DEPENDENCY,  /* what it depended on did not succeed */
    END_UNHEALTHY,   /* a replica that did not answer its checks */
    END_REPLACED,    /* a replica that its service wants no more */
    END_MOVED,       /* it goes on in a spot pool, or leaves one */
    END_HANDED_OVER, /* its site's time for it is over, or nearly: another attempt goes on */
    END_REASON_COUNT
};
extern const char *const end_reason_names[]; /* "out-of-memory", .. NULL */
extern const char *const job_state_names[];
extern const char *const attempt_state_names[];

/* Where a job runs that moves between spot pools and others. */
enum spot_place { SPOT_NOWHERE, SPOT_ON_SPOT, SPOT_ON_DEMAND };

/* Ids are never used again, not even after the rows that had them were retired or the clock was
 * set back: what was given out last is itself a row. Named after the table, or "clock". */
struct counter_row {
    uint64_t id;
    char name[32];
    int64_t last;
};

/* One text may have had several, one after the other: a symbol that only jobs named is retired
 * with the last of them, and the text gets a new one when it comes again. */
struct symbol_row {
    uint64_t id;
    uint8_t pinned; /* a row that is no job's has named it: it is never retired */
    char text[256];
};

struct pool_row {
    uint64_t id;
    uint32_t name;
    uint32_t currency;
    uint32_t jurisdiction;
    int32_t engine; /* enum engine_kind */
    uint8_t spot;
    int64_t cpu_hour_micro;
    int64_t memory_gib_hour_micro;
    int64_t disk_gib_hour_micro;
    /* Of spot pools, what was seen: node-milliseconds up and lost, and how often one was lost. */
    int64_t spot_up_ms, spot_down_ms, spot_losses;
    int64_t spot_at_ms; /* the moment they are counted to */
    uint32_t site;
    int64_t link_bytes; /* in or out of the site in a second; 0: no bound */
    int64_t egress_gib_micro;
    int64_t
        keep_ms; /* that what jobs read is kept at its site after its last use; 0: ten minutes */
    /* Under a burst policy: see burst.c. */
    int64_t burst_budget_micro; /* 0: there is none */
    int64_t burst_after_ms, burst_period_ms;
    int64_t burst_begin_ms;    /* of the period */
    int64_t burst_spent_micro; /* in it, by attempts that have ended */
    uint8_t partial;           /* its site has nodes that are not among its nodes now */
};

struct price_row {
    uint64_t id;
    uint64_t pool;
    int32_t of; /* 0: node type, 1: accelerator type */
    uint32_t name;
    int64_t hour_micro;
};

/* A level of a pool's topology. Levels of a pool are in order of id, the outermost first. */
struct level_row {
    uint64_t id;
    uint64_t pool;
    uint32_t name;
    uint32_t label; /* nodes with the same value are a domain */
};

enum node_state { NODE_UP, NODE_LOST };

struct node_row {
    uint64_t id;
    uint64_t pool;
    uint32_t name;
    uint32_t type;
    uint32_t accelerator;
    int32_t devices;
    uint8_t fractional;
    uint8_t cordoned;
    uint8_t draining;
    uint8_t leaving; /* gone from its pool; vanishes when the last attempt on it has ended */
    int32_t state;   /* enum node_state */
    int64_t cpu_milli;
    int64_t memory_bytes;
    int64_t disk_bytes;
    int64_t since_ms; /* since when this capacity is metered */
    uint32_t sockets; /* of its devices, as socket.h has it; 0: not known */
};

struct node_label_row {
    uint64_t id;
    uint64_t node;
    int32_t effect; /* -1: a label; else enum taint_effect */
    uint32_t key;
    uint32_t value;
};

struct reservation_row {
    uint64_t id;
    uint64_t node;
    int64_t begin_ms;
    int64_t end_ms;
};

struct team_row {
    uint64_t id;
    uint32_t name;
    uint64_t parent;
    int64_t weight_micro;
    int64_t jobs_max;
    uint8_t borrow;
    uint8_t host_network;
    int64_t usage;       /* decayed dominant-share usage, fixed point */
    int64_t usage_at_ms; /* the moment usage is decayed to */
};

struct quota_row {
    uint64_t id;
    uint64_t team;
    uint32_t resource; /* "cpu", "memory", "disk", "accelerators" or a type */
    int64_t guarantee;
    int64_t limit; /* -1: none */
};

/* What a shape wishes of topology. */
enum topology_wish { WISH_NONE, WISH_PREFERRED, WISH_REQUIRED };

struct shape_row {
    uint64_t id;
    int64_t cpu_milli;
    int64_t memory_bytes;
    int64_t disk_bytes;
    int64_t accelerator_milli;
    uint32_t accelerator;
    uint32_t pool;
    uint32_t node_type;
    uint32_t jurisdiction;
    int32_t spread;
    uint8_t exclusive;
    int32_t topology; /* enum topology_wish */
    uint32_t within;  /* the level, or "node" */
    int32_t spot;     /* enum spot_use */
    int64_t mix;      /* ranks of it when the mix of jobs was last learnt */
};

struct rule_row {
    uint64_t id;
    uint64_t shape;
    int32_t rule; /* enum label_operator; 16: tolerate, 17: near, 18: apart */
    uint32_t key;
    uint32_t value;
};

struct job_row {
    uint64_t id;
    uint64_t team;
    uint64_t shape;
    uint64_t attempt;  /* the live one, or 0 */
    uint64_t array;    /* id of the array's first job, or 0 */
    int64_t name_hash; /* hash_text() of the name: what ended jobs are found by */
    uint32_t name;
    uint32_t class_name;
    int32_t array_index;
    int32_t array_parallel;
    int32_t state;
    int32_t end_reason;
    int32_t exit_status;
    int32_t priority;
    int32_t size, size_min, size_max; /* ranks */
    int32_t size_now;                 /* ranks of the live or next attempt */
    int32_t attempts;                 /* started so far */
    int32_t retries_left;
    int32_t failures; /* attempts that used a retry; what the backoff grows with */
    int32_t preemptions;
    int32_t preemptions_max;
    uint8_t preemptible;
    uint8_t shrink_on_node_loss;
    uint8_t service;
    uint8_t cancel; /* somebody asked for its end */
    int64_t submitted_ms;
    int64_t queued_ms; /* since when it competes; what ageing counts from */
    int64_t not_before_ms;
    int64_t deadline_ms;
    int64_t time_limit_ms;
    int64_t min_runtime_ms;
    int64_t grace_ms;
    int64_t backoff_ms, backoff_max_ms;
    int64_t checkpoint_ms; /* the newest checkpoint, or 0 */
    int64_t ended_ms;
    int32_t vain;          /* preemptions in a row before anything was saved */
    int32_t interval_ms;   /* of its checkpoints, as it says; 0: not known, or weeks */
    int32_t put_off_s;     /* since queued_ms, when it first waited for a checkpoint; 0: not yet */
    uint8_t saves_on_stop; /* it writes a checkpoint when it is told to stop */
};

struct job_label_row {
    uint64_t id;
    uint64_t job;
    uint32_t key;
    uint32_t value;
};

struct dependency_row {
    uint64_t id;
    uint64_t job;
    uint64_t on_job;
    int32_t condition; /* enum dependency_condition */
};

struct attempt_row {
    uint64_t id;
    uint64_t job;
    int32_t number; /* 1, 2, .. within the job */
    int32_t state;
    int32_t size;
    int32_t stop_reason; /* END_NONE: wanted to run */
    int32_t end_reason;
    int32_t exit_status; /* exit status, or the signal's number for END_SIGNAL */
    int64_t admitted_ms;
    int64_t started_ms;
    int64_t stop_ms; /* when it was told to stop */
    int64_t ended_ms;
    int64_t checkpoint_ms; /* the newest checkpoint seen while it ran */
    int64_t site_end_ms;   /* when its site ends it by itself; 0: not known, or never */
};

/* Ranks of an attempt on a node: `ranks` of them hold the same devices pattern. Whole devices of
 * all these ranks are the bits of `devices`; a fraction has one bit and ranks 1. */
struct placement_row {
    uint64_t id;
    uint64_t attempt;
    uint64_t node;
    uint64_t devices;     /* bit i: device i of the node */
    int64_t device_milli; /* held of each device: 1000, or the fraction */
    int32_t first_rank;
    int32_t ranks;
    int64_t since_ms; /* of its spans' end, or its admission */
};

struct span_row {
    uint64_t id;
    uint64_t placement;
    int64_t begin_ms;
    int64_t end_ms;
    int64_t cpu_milli;
    int64_t memory_bytes;
    int64_t disk_bytes;
    int64_t accelerator_milli;
    uint32_t accelerator;
    uint32_t currency;
    int64_t hour_micro;
};

struct claim_row {
    uint64_t id;
    uint64_t job; /* for whom */
    uint64_t node;
    uint64_t devices;
    int64_t device_milli;
    int32_t ranks;
};

/* From begin_ms on the job has a place there, by the time limits of those that hold it now. */
struct promise_row {
    uint64_t id;
    uint64_t job; /* for whom */
    uint64_t node;
    uint64_t devices;
    int64_t device_milli;
    int32_t ranks;
    uint8_t open; /* it waits besides for attempts without a limit, up to last_attempt */
    int64_t begin_ms;
    uint64_t last_attempt; /* the newest attempt when the promise was made */
    /* Of the first row of a job only: something has become free since the promise was looked at,
     * and it is looked at again, for an earlier moment, from look_ms on. */
    uint8_t stale;
    int64_t look_ms;
};

struct service_row {
    uint64_t id;
    uint64_t team;
    uint32_t name;
    int32_t revision; /* from 1 */
    int32_t replicas; /* wanted; 0 while it is being deleted */
    int32_t surge, unavailable;
    int32_t number;        /* of the newest replica */
    int32_t refusals;      /* in a row */
    int64_t not_before_ms; /* no new replica before */
    uint8_t deleted;
};

struct replica_row {
    uint64_t id;
    uint64_t service;
    uint64_t job;
    int32_t revision;
    int32_t number;
    uint64_t attempt; /* the one that was said to be ready or not; 0: none yet */
    uint8_t ready;
    int64_t since_ms;    /* of ready's last change */
    int32_t arm;         /* enum replica_arm */
    int64_t recalled_ms; /* since when its service has another in its place; 0: it has not */
    uint8_t leaving;     /* its site ends it soon: another one is to take its place */
};

/* What a replica is there for. */
enum replica_arm {
    ARM_MAIN,     /* to serve */
    ARM_BASELINE, /* of the stable revision, as young as the canary it is compared with */
    ARM_CANARY,   /* of the revision that is tried */
    ARM_COUNT
};

enum rollout_strategy {
    ROLLOUT_PLAIN, /* no row stands for it */
    ROLLOUT_CANARY,
    ROLLOUT_BLUE_GREEN,
    ROLLOUT_SHADOW,
};

enum rollout_state {
    ROLLOUT_IDLE,     /* every revision so far went in plainly */
    ROLLOUT_STARTING, /* its replicas get ready */
    ROLLOUT_TESTING,  /* they get a part of the requests */
    ROLLOUT_PROMOTED, /* the new revision is the service's */
    ROLLOUT_ABORTED,  /* the stable one stays */
};

/* Why a rollout did what it did last, or what it waits for. */
enum rollout_reason {
    REASON_NONE,
    REASON_COMMAND,       /* somebody said so */
    REASON_READY,         /* the replicas of its arms get ready */
    REASON_SAMPLE,        /* too few requests so far */
    REASON_BAKE,          /* the step's time is not over */
    REASON_ERRORS,        /* errors: worse, or not shown yet to be no worse */
    REASON_LATENCY,       /* the same for latency */
    REASON_QUALITY,       /* and for scores */
    REASON_DIFFERENCES,   /* and for answers to shadowed requests */
    REASON_GUARD_ERRORS,  /* above the guard's share of errors */
    REASON_GUARD_LATENCY, /* above the guard's latency */
    REASON_PATIENCE,      /* nothing was shown in time */
    REASON_PASSED,        /* every step was */
    REASON_COUNT
};
extern const char *const rollout_strategy_names[];
extern const char *const rollout_state_names[];
extern const char *const rollout_reason_names[];
extern const char *const replica_arm_names[];

enum {
    ROLLOUT_STEPS_MAX = 8,
    ROLLOUT_BUCKETS = 24, /* of latency: within 2^i * 64 us, the last: all slower ones */
    ROLLOUT_SCORES = 11,  /* 0, 0.1 .. 1 */
};

/* How a new revision takes over; probabilities in millionths. */
struct rollout_plan {
    int32_t strategy;
    int32_t steps;
    int32_t weights[ROLLOUT_STEPS_MAX];  /* percent, of the canary; the baseline gets the same */
    int64_t bakes_ms[ROLLOUT_STEPS_MAX]; /* a step lasts at least so long */
    int64_t patience_ms;                 /* ..and at most so long without a verdict */
    uint8_t by_time;                     /* it passes by its time and sample alone */
    uint8_t give_up;                     /* out of patience it is aborted, else paused */
    int64_t requests_min;                /* of each arm, in each step */
    int64_t alpha_ppm;
    int64_t error_margin_ppm;
    int64_t latency_margin_ppm;
    int64_t quality_margin_ppm; /* 0: scores are not looked at */
    int64_t guard_requests;
    int64_t guard_errors_ppm;
    int64_t guard_p99_us; /* 0: none */
    int64_t differences_ppm;
};

struct rollout_row {
    uint64_t id;
    uint64_t service;
    struct rollout_plan plan;
    int32_t state;
    int32_t step; /* from 0 */
    uint8_t paused;
    int32_t reason; /* enum rollout_reason, of the last move or of the pause */
    int32_t stable; /* the revision that stays if this one fails */
    int32_t proven; /* the newest revision of which a replica was ready; 0: none */
    int64_t began_ms;
    int64_t step_ms;              /* when the step began, or went on after a pause */
    int64_t step_seen[ARM_COUNT]; /* requests of the arm when the step began */
};

struct evidence_row {
    uint64_t id;
    uint64_t rollout;
    int32_t arm; /* ARM_BASELINE or ARM_CANARY */
    int64_t requests;
    int64_t errors;
    int64_t within[ROLLOUT_BUCKETS]; /* requests by latency */
    int64_t scores[ROLLOUT_SCORES];  /* posts by score */
    int64_t compared, differing;     /* answers to shadowed requests */
};

struct allotment_row {
    uint64_t id;
    uint64_t job;
    int32_t target; /* ranks that the last round gave it */
    int32_t turn;   /* while it waits to be placed: which comes first */
    int32_t level;  /* the policy's own memory: see allot.h */
    int64_t level_ms;
    int64_t note;
    int64_t served_ms; /* by attempts that have ended */
    int64_t served_device_ms;
    int64_t remaining;   /* units of work, as reported; -1: never */
    int64_t restart_ms;  /* what a restart costs, as reported or learnt; 0: not known */
    int64_t reported_ms; /* the moment of the newest report, or 0 */
};

struct speed_row {
    uint64_t id;
    uint64_t allotment;
    int32_t ranks;
    int32_t nodes;
    int64_t rate_milli; /* thousandths of a unit of work a second */
};

struct spot_row {
    uint64_t id;
    uint64_t job;
    int64_t duration_ms; /* that its work is expected to take */
    int64_t interval_ms; /* of its checkpoints, as it says; 0: not known */
    int64_t restart_ms;  /* what starting again costs, as it says; 0: not known */
    int64_t saved_ms;    /* of running, by attempts that have ended, that is in a checkpoint */
    int64_t since_ms;    /* since when it moves */
    int64_t again_ms;    /* when to ask again where it should run; 0: when something happens */
    int32_t now;         /* enum spot_place: where it may be placed now; 0: wherever it may */
};

struct data_row {
    uint64_t id;
    uint64_t job;
    uint32_t site;
    int64_t bytes;
    uint32_t version; /* "dataset/TEAM/NAME:3"; 0: of several, or not known */
};

struct copy_row {
    uint64_t id;
    uint32_t site;
    uint32_t version;
    int64_t bytes;
    int64_t since_ms; /* when an attempt that reads it started there */
    int64_t used_ms;  /* when one there last began or ended */
    /* What bringing it took and cost, as counted by the pools' links and prices then. */
    int64_t transfer_ms, egress_micro;
    uint32_t currency;
};

/* What is known of a job and pools with a burst policy. */
enum burst_verdict {
    BURST_NONE,
    BURST_UNFIT,        /* none of its nodes could hold it, whatever is free */
    BURST_SOON,         /* the other pools make it wait for less than the policy says */
    BURST_NO_ROOM,      /* not now */
    BURST_OVER_BUDGET,  /* its budget does not allow what the job may cost at most */
    BURST_UNBOUNDED,    /* no time limit and no deadline bound what it costs */
    BURST_JURISDICTION, /* it, or what it reads, has to stay elsewhere */
    BURST_FOR_WAIT,     /* from here on it comes: it waits for longer than the policy says */
    BURST_FOR_DEADLINE, /* elsewhere it would miss its deadline */
    BURST_FOR_LACK,     /* no other pool could hold it */
    BURST_VERDICT_COUNT
};
extern const char *const burst_verdict_names[]; /* "none", .. NULL */

struct broker_row {
    uint64_t id;
    uint64_t job;
    uint64_t pool; /* that its live attempt came to under a burst policy, or 0 */
    int32_t verdict;
    uint64_t refused_by;    /* the pool that the verdict is about */
    int64_t duration_ms;    /* that its work is expected to take; 0: not known */
    int64_t wait_ms;        /* for the other pools, so far and foreseen, when it was looked at */
    int64_t look_ms;        /* not looked at again before, whatever changes */
    int64_t due_ms;         /* looked at again although nothing changed; 0: never */
    int64_t reserved_micro; /* of the pool's budget, for the live attempt */
    int64_t egress_micro;   /* of that, for data */
    int64_t forecast_ms;    /* when the newest forecast was made; 0: there is none.. */
    int64_t start_ms;       /* ..and when the job would start elsewhere by it */
    int64_t since_ms; /* since when it waits again, after its last attempt; 0: since queued_ms */
    int64_t seen;     /* burst_stirs when it was looked at; 0: it is to be looked at */
    int64_t lease_ms; /* of a replica: until then its reservation pays; 0: it has an end */
    int64_t booked_micro; /* of the live attempt's cost, what is spent already */
};

struct charge_row {
    uint64_t id;
    uint64_t attempt;
    uint64_t job;
    uint64_t team;
    uint64_t pool;
    uint64_t node;
    int64_t begin_ms;
    int64_t end_ms;
    int64_t wasted_ms; /* of it, work that was lost to a preemption or failure */
    int64_t cpu_milli;
    int64_t memory_bytes;
    int64_t disk_bytes;
    int64_t accelerator_milli;
    uint32_t accelerator;
    uint32_t currency;
    int64_t hour_micro; /* price of all this for an hour */
    int64_t cost_nano;  /* billionths of the currency, rounded half up */
    int64_t wasted_nano;
};

struct capacity_row {
    uint64_t id;
    uint64_t pool;
    uint64_t node;
    int64_t begin_ms;
    int64_t end_ms;
    int64_t hour_micro;
    int64_t cost_nano;
    uint32_t currency;
};
