/* The core: a deterministic state machine. Commands and reports go in together with what time it
 * is; changed rows, decisions and wishes for the engines come out. It has no I/O, no clock, no
 * threads, no randomness and no floating point: the same inputs give the same outputs to the byte,
 * with every compiler. The daemon, simulations, forecasts and fault tests run this same code.
 *
 * How it is driven (the daemon's tick):
 *
 *     core_begin(core, now_ms);            one or more commands and reports:
 *     core_job_submit(...); ...            each is checked, then done entirely or not at all
 *     core_schedule(core);                 time passes; decisions are taken
 *     core_changes(core, ...);             what has to be stored, in one transaction
 *     core_decisions(core, ...);           what has to be audited, in the same one
 *     ... commit ...
 *     core_end(core);                      after the commit: the change lists are forgotten
 *     core_attempt_each / _wanted(...)     effects: what the engines should be doing
 *
 * When the commit fails, the core is destroyed and loaded again from the store: there is no undo.
 * now_ms never goes back: a smaller one than before counts as the one before. */
#pragma once

#include "base/error.h"
#include "core/rows.h"
#include "spec/kinds.h"

struct core;

struct core_options {
    int64_t ageing_ms; /* waiting this long lifts a job by one priority point; 0: default */
    int64_t usage_half_life_ms; /* of fair share's memory; 0: default (7 days) */
    int64_t reserve_after_ms;   /* a job that has waited this long without room gets a promise of a
                                 * place; 0: default (5 minutes), below, or with another allotment
                                 * than the   default: there are no promises */
    bool mix_once; /* the mix of jobs is learnt once and kept: for policies that know it */
    const char
        *placement;      /* which node and device: core_placement_name; NULL or unknown: default */
    const char *victims; /* who gives way: core_victims_name; NULL or unknown: default */
    const char *spot;    /* who uses spot capacity when: core_spot_name; NULL or unknown: default */
    const char *allotment;   /* who runs with how many ranks: a name that allot_find knows, which
                              * whoever parses options has asked; NULL: "fair" */
    int64_t round_ms;        /* of policies that decide in rounds; 0: the policy's own */
    int64_t round_anchor_ms; /* rounds are whole multiples of round_ms from here */
};

struct core *core_create(const struct core_options *options); /* NULL: defaults */
void core_destroy(struct core *core);                         /* NULL is fine */

/* The name of the i-th placement policy, or NULL past the last; the first is "default". What users
 * write is checked against this list where it is read. */
const char *core_placement_name(size_t i);
/* The same of the policies by which victims are chosen; the first is "least-loss". */
const char *core_victims_name(size_t i);
/* The same of the policies for spot capacity under a deadline. */
const char *core_spot_name(size_t i);

/* ---- loading --------------------------------------------------------------------------- */

/* Takes in one stored row of a live table, types in the order of enum row_kind and ids ascending
 * within each. -1 with ERR_CORRUPT when it contradicts rows loaded before. */
MUST_CHECK int core_load_row(
    struct core *core, enum row_kind kind, const void *row, struct error *err);
/* Ends loading: builds the indexes and checks every invariant. */
MUST_CHECK int core_load_end(struct core *core, struct error *err);

/* ---- a tick ---------------------------------------------------------------------------- */

/* Begins a tick at that moment. */
void core_begin(struct core *core, int64_t now_ms);

/* Creates or changes a pool and its nodes. Nodes that are gone from it and hold nothing vanish;
 * those that hold attempts are cordoned until these end. Capacity 0 is refused here: whoever
 * knows the machine fills it in. ERR_INVALID, ERR_CONFLICT. */
MUST_CHECK int core_pool_put(struct core *core, const struct pool *pool, struct error *err);
/* ERR_NOT_FOUND; ERR_CONFLICT while attempts hold its nodes. */
MUST_CHECK int core_pool_delete(struct core *core, const char *name, struct error *err);
/* The parent has to exist, cycles and guarantees above the parent's are refused. */
MUST_CHECK int core_team_put(struct core *core, const struct team *team, struct error *err);
/* ERR_CONFLICT while it has live jobs, services or children. */
MUST_CHECK int core_team_delete(struct core *core, const char *name, struct error *err);

/* Accepts a job (each element of an array is a job, ids ascending from *ret_id). Job ids are
 * ordered by time of acceptance. ERR_NOT_FOUND (team, dependency), ERR_INVALID, ERR_CONFLICT (a
 * live job of the team has that name), ERR_BUSY (jobs_max), ERR_INVALID naming the reason when no
 * node of any pool, idle, could ever hold it. Live jobs of one team have distinct names. */
MUST_CHECK int core_job_submit(
    struct core *core, const struct job *job, uint64_t *ret_id, struct error *err);
/* All: ERR_NOT_FOUND when it is not live, ERR_CONFLICT when its state forbids it. Cancelling or
 * holding twice is fine. Holding a running job or a replica is refused. A replica that is cancelled
 * is replaced by another: its service wants it again. */
MUST_CHECK int core_job_cancel(struct core *core, uint64_t job, struct error *err);
MUST_CHECK int core_job_hold(struct core *core, uint64_t job, struct error *err);
MUST_CHECK int core_job_release(struct core *core, uint64_t job, struct error *err);

/* Nodes are named pool/node. Draining stops what runs there, with grace, and requeues it. */
enum node_wish { NODE_CORDON, NODE_UNCORDON, NODE_DRAIN };
/* ERR_NOT_FOUND. Wishing what is so already is fine. */
MUST_CHECK int core_node_wish(
    struct core *core, const char *pool, const char *node, enum node_wish wish, struct error *err);
/* Maintenance from begin to end: nothing is placed there that its time limit does not end before
 * begin, and what still runs at begin is stopped with grace. end_ms 0 takes reservations away. */
MUST_CHECK int core_node_reserve(struct core *core, const char *pool, const char *node,
    int64_t begin_ms, int64_t end_ms, struct error *err);

/* What engines say. Reports about attempts that ended or never were change nothing. */
enum report_kind {
    REPORT_SUBMITTED,
    REPORT_STARTED,
    REPORT_ENDED,
    REPORT_CHECKPOINT,
    REPORT_SITE_END, /* when the site ends it by itself, or that this has changed */
};
struct core_report {
    uint64_t attempt;
    enum report_kind kind;
    enum end_reason reason; /* REPORT_ENDED: what the engine saw; that it was told to stop is
                             * known here and wins over EXIT and SIGNAL */
    int32_t exit_status;
    int64_t at_ms; /* REPORT_CHECKPOINT: the checkpoint's time; REPORT_SITE_END: that moment, 0:
                    * never; else ignored */
    bool complete; /* REPORT_ENDED: every rank exited with status 0 */
};
/* Whether it changed anything. */
bool core_attempt_report(struct core *core, const struct core_report *report);
/* A node is there again, or gone with everything on it. Whether it changed anything. */
bool core_node_report(struct core *core, const char *pool, const char *node, bool up);

/* What a job says of its own progress: replaces what it said before, speeds for each (ranks, nodes)
 * apart. The reporter chooses the unit of work. */
struct core_speed {
    int32_t ranks, nodes;
    int64_t rate_milli; /* thousandths of a unit a second */
};
enum { CORE_SPEEDS_MAX = 128 };
struct core_progress {
    int64_t remaining;  /* units of work; -1: not known */
    int64_t restart_ms; /* that it loses by starting again; 0: not known */
    const struct core_speed *speeds;
    size_t speed_count; /* at most CORE_SPEEDS_MAX, of different (ranks, nodes) */
};
/* Of one job at most CORE_SPEEDS_MAX speeds are kept: then that of the largest gang goes that is
 * not in the report. ERR_NOT_FOUND, ERR_INVALID; nothing was done then. */
MUST_CHECK int core_job_progress(
    struct core *core, uint64_t job, const struct core_progress *progress, struct error *err);

/* ---- forecasts: what somebody who ran a copy of the state forward found out ------------------
 *
 * When a job would start in a pool without a burst policy. The core takes it for what it is, a row
 * with a moment: it decides by those that are fresh, and by a bound of its own without one. So a
 * replay that gives it the same forecasts decides the same. */
struct core_forecast {
    uint64_t job;
    int64_t at_ms;    /* of the state that it was made from */
    int64_t start_ms; /* at_ms or later */
};
enum {
    CORE_FORECASTS_MAX = 256,           /* at once */
    CORE_FORECAST_FRESH_MS = 120 * 1000 /* older than this it is ignored */
};
typedef void core_forecast_fn(void *context, uint64_t job);
/* Jobs about which a forecast would be of use and that have none or an old one, at most
 * CORE_FORECASTS_MAX, ids ascending. Looks at every job that a burst policy was asked about. */
void core_forecast_wanted(const struct core *core, core_forecast_fn *visit, void *context);
/* Takes forecasts of the past; about jobs that wait no more they change nothing. ERR_INVALID and
 * ERR_TOO_LARGE, nothing was done then. */
MUST_CHECK int core_forecast_put(
    struct core *core, const struct core_forecast *forecasts, size_t count, struct error *err);
/* Whether any pool has a burst policy. */
bool core_bursts(const struct core *core);
/* For how long a job that begins to wait is held back for its first forecast before the core's own
 * bound decides; 0: none will come. Kept over loading. */
void core_forecast_expect(struct core *core, int64_t wait_ms);
int64_t core_forecast_expected(const struct core *core);

/* ---- forward runs: a copy of the state goes on in virtual time, and nobody stores it ----------
 *
 * Nobody makes forecasts in it: those that there are do not age, and a job without one comes to a
 * pool with a burst policy once it has waited for so long. */
void core_run_forward(struct core *core);
/* An attempt that was admitted just now is undone; its job waits on as it did before, and is
 * offered that pool no more; nor, where it had no burst policy, one that has, as it would not have
 * waited for that. So one run says of each pool when the job would have started there. False: no
 * pool is left. */
bool core_job_decline(struct core *core, uint64_t attempt);

/* ---- services: jobs that run until they are stopped --------------------------------------
 *
 * A service wants a number of replicas, each a job (struct job with service set) that is placed,
 * preempted, charged and requeued like any other. What is particular to it:
 * - It never succeeds: when its attempt ends, whatever the exit status, it is started again after
 *   its backoff, without bound; the backoff grows with failures in a row, and an attempt that was
 *   ready for longer than backoff_max_ms ends the row.
 * - Replicas of an older revision are replaced one after the other: at most `surge` more than are
 *   wanted exist at once, and one is only stopped by choice while at least replicas - unavailable
 *   others are ready. A revision that never gets ready leaves the old replicas alone.
 * - What is stopped by choice is the oldest revision first, of that what is not ready, then the
 *   youngest.
 * - A replica that was told to end for good (replaced, cancelled) exists and is ready no more,
 * though it holds its place until its engine has stopped it; one that is preempted exists.
 * - What is not ready may be stopped too; service.c and replica.c have the exact rules.
 * The core says which replicas it wants (core_service_wanted); whoever drives it makes the jobs,
 * because it alone knows their specs. Replicas are stopped by choice in core_schedule, which may
 * leave others wanted: core_next_ms is then now. */
struct core_service {
    const char *team;
    const char *name;
    int32_t replicas, surge, unavailable; /* 0 to 1000; surge + unavailable >= 1 */
    bool renew; /* the replicas there are belong to an older revision from now on */
    struct rollout_plan rollout; /* of strategy ROLLOUT_PLAIN: nothing else of it counts */
};
/* Creates or changes a service. ret_id its id, ret_revision (may be NULL) its revision, from 1.
 * ERR_NOT_FOUND (team), ERR_INVALID; ERR_CONFLICT while one of that name is being deleted. */
MUST_CHECK int core_service_put(struct core *core, const struct core_service *service,
    uint64_t *ret_id, int32_t *ret_revision, struct error *err);
/* Another number of replicas, 0 to 1000, and nothing else: a refusal keeps its backoff. Nothing
 * happens where it is the number already. reason: an enum autoscale_reason, for the audit.
 * ERR_NOT_FOUND, ERR_INVALID, ERR_CONFLICT (it is being deleted). */
MUST_CHECK int core_service_scale(
    struct core *core, uint64_t service, int32_t replicas, int32_t reason, struct error *err);
/* Stops its replicas; it vanishes with the last of them. Twice is fine. ERR_NOT_FOUND. */
MUST_CHECK int core_service_delete(struct core *core, uint64_t service, struct error *err);
/* The id, or 0. */
uint64_t core_service_find(const struct core *core, const char *team, const char *name);

struct core_wanted {
    uint64_t service;
    int32_t revision; /* the newest, or the stable one of a rollout */
    int32_t number;   /* of the replica: never used before in this service */
    int32_t arm;      /* enum replica_arm: what it will be there for */
};
typedef void core_wanted_fn(void *context, const struct core_wanted *wanted);
/* Replicas that should exist and do not: called in a tick after the commands and before
 * core_schedule. Each is then answered with core_replica_submit or core_replica_refused, outside of
 * the visit, in this order. Some hundreds at a time: core_next_ms is now while there are more.
 * Costs next to nothing when none is wanted. */
void core_service_wanted(const struct core *core, core_wanted_fn *visit, void *context);
/* As core_job_submit, for a replica that is wanted; job->service has to be set and the job may not
 * be an array, a gang of several ranks, held, dependent on others, or of another team than its
 * service. ERR_NOT_FOUND, ERR_CONFLICT: it is not wanted any more. After any error nothing was
 * done, and the replica is still wanted: core_replica_refused says that it has to wait. */
MUST_CHECK int core_replica_submit(struct core *core, const struct core_wanted *wanted,
    const struct job *job, uint64_t *ret_job, struct error *err);
/* It cannot be made now: it is wanted again after a backoff (10 s, doubling to 5 min), or when its
 * service is put again. Several of a service in one tick count as one. */
void core_replica_refused(struct core *core, const struct core_wanted *wanted);

/* What checks found out about the attempt of a replica. Said about another attempt than the live
 * one, before that has started, after it was told to stop, or again, it changes nothing. A replica
 * is unready by itself when its attempt is told to stop or ends. Returns whether it changed
 * anything. */
enum replica_report {
    REPLICA_READY,     /* may get requests */
    REPLICA_UNREADY,   /* may not, for now */
    REPLICA_UNHEALTHY, /* does not live: it is stopped with END_UNHEALTHY, which is a failure */
};
bool core_replica_report(
    struct core *core, uint64_t job, uint64_t attempt, enum replica_report report);
/* The replica that a job is, or NULL. */
const struct replica_row *core_replica_of(const struct core *core, uint64_t job);
const struct service_row *core_service(const struct core *core, uint64_t id);

/* ---- rollouts: a new revision beside the stable one -------------------------------------------
 *
 * A service with a strategy keeps its replicas when it is renewed, if one of them was ever ready,
 * and wants others beside them: some of the new revision (the canary) and, by the strategy canary,
 * as many of the stable one (the baseline). While they get a part of the requests, what is seen of
 * them decides (rollout_judge.c): the new revision becomes the service's and is rolled as any
 * other, or its replicas go and the stable one stays. */

/* What came of an arm since the last time. */
struct core_evidence {
    int64_t requests, errors;
    int64_t within[ROLLOUT_BUCKETS];
    int64_t scores[ROLLOUT_SCORES];
    int64_t compared, differing;
};
/* Adds it to the arm that the replica is of; without effect where that is none, or nothing is
 * tested now. Returns whether it counted. */
bool core_rollout_evidence(struct core *core, uint64_t job, const struct core_evidence *grown);

enum rollout_command {
    ROLLOUT_DO_PAUSE,   /* no step more, but an alarm still aborts it */
    ROLLOUT_DO_RESUME,  /* the step's patience begins anew */
    ROLLOUT_DO_PROMOTE, /* whatever was seen */
    ROLLOUT_DO_ABORT,
};
/* ERR_NOT_FOUND (the service), ERR_CONFLICT (nothing is being rolled out, or it is paused or not).
 */
MUST_CHECK int core_rollout_command(
    struct core *core, uint64_t service, enum rollout_command command, struct error *err);
/* Of the service, or NULL. */
const struct rollout_row *core_rollout(const struct core *core, uint64_t service);
/* What one of its arms was seen to do, or NULL. */
const struct evidence_row *core_rollout_seen(
    const struct core *core, uint64_t service, enum replica_arm arm);
/* The revision that its main replicas are of. */
int32_t core_service_goal(const struct core *core, uint64_t service);
/* Evidence is in bits, logarithms of e-values to the base of 2, in units of 2^-CORE_BITS_SHIFT. */
enum { CORE_BITS_SHIFT = 26 };
enum rollout_test { TEST_ERRORS, TEST_LATENCY, TEST_QUALITY, TEST_DIFFERENCES, TEST_COUNT };

struct rollout_verdict {
    enum rollout_reason alarm;   /* REASON_NONE, or why it has to be aborted */
    enum rollout_reason missing; /* REASON_NONE: the step has passed; else what is missing first */
    int64_t worse[TEST_COUNT];   /* bits, of the tests that are made */
    int64_t fine[TEST_COUNT];
    int64_t alarm_bits, pass_bits; /* from which on they tell something */
    uint32_t made;                 /* a bit for each test that is made */
    int32_t bucket;                /* of latency, at which the canary looks worst */
};
/* What the rows say at that moment; baseline NULL: there is none. */
struct rollout_verdict core_rollout_judge(const struct rollout_row *row,
    const struct evidence_row *baseline, const struct evidence_row *canary, int64_t now_ms);
/* Which percentage of the requests each arm gets now; the rest is ARM_MAIN's. Zeros unless all
 * arms that the step asks have a ready replica. */
struct rollout_split {
    int32_t percent[ARM_COUNT];
    bool shadow; /* the canary gets copies instead */
};
struct rollout_split core_rollout_split(const struct core *core, uint64_t service);

/* Time passes (backoffs, deadlines, time limits, maintenance, usage decay), then a scheduling pass
 * over the queue: placements, claims, preemptions. */
void core_schedule(struct core *core);

/* The moment at which core_schedule would do something although nothing happened, or INT64_MAX. */
int64_t core_next_ms(const struct core *core);

enum change_kind {
    CHANGE_PUT,    /* the row is new or changed */
    CHANGE_RETIRE, /* the row is written for the last time: the core has forgotten it */
    CHANGE_DELETE  /* the row is gone (only its id counts) */
};
struct core_change {
    enum change_kind change;
    enum row_kind kind;
    const void *row; /* valid until core_end */
};
typedef void core_change_fn(void *context, const struct core_change *change);
/* Calls visit once for each row changed since core_begin, ordered by kind and id, with its final
 * image. Jobs and attempts that ended are retired; history rows are only ever put. */
void core_changes(struct core *core, core_change_fn *visit, void *context);

/* A decision or accepted command: what the audit records. */
enum decision_kind {
    DECISION_POOL_PUT,
    DECISION_POOL_DELETE,
    DECISION_TEAM_PUT,
    DECISION_TEAM_DELETE,
    DECISION_JOB_SUBMIT,
    DECISION_JOB_CANCEL,
    DECISION_JOB_HOLD,
    DECISION_JOB_RELEASE,
    DECISION_NODE_CORDON,
    DECISION_NODE_UNCORDON,
    DECISION_NODE_DRAIN,
    DECISION_NODE_RESERVE,
    DECISION_NODE_LOST,
    DECISION_NODE_UP,
    DECISION_ADMIT,   /* an attempt got its place */
    DECISION_START,   /* its engine started it */
    DECISION_STOP,    /* it was told to stop: reason, and for whom */
    DECISION_END,     /* it ended: reason */
    DECISION_REQUEUE, /* its job competes again */
    DECISION_JOB_END,
    DECISION_CLAIM, /* a place was set aside for a job after preemptions */
    DECISION_SERVICE_PUT,
    DECISION_SERVICE_DELETE,
    DECISION_REPLICA_READY,
    DECISION_REPLICA_UNREADY,
    DECISION_PROMISE,       /* a place is kept for a job from a moment on */
    DECISION_ROLLOUT_BEGIN, /* a new revision is tried */
    DECISION_ROLLOUT_STEP,  /* it gets the requests of a step */
    DECISION_ROLLOUT_PAUSE,
    DECISION_ROLLOUT_RESUME,
    DECISION_ROLLOUT_PROMOTE,
    DECISION_ROLLOUT_ABORT,
    DECISION_SERVICE_SCALE,
    DECISION_BURST,         /* an attempt came to a pool under its burst policy */
    DECISION_BURST_REFUSED, /* a job would have come to one, or a replica stayed, and must not */
    DECISION_BURST_RECALL,  /* a replica in one is to be replaced by one elsewhere */
    DECISION_DATA_COPY,     /* a version came to a site with the start of an attempt */
    DECISION_DATA_DROP,     /* nobody used it there for as long as it is kept */
    DECISION_KIND_COUNT
};
extern const char *const decision_names[]; /* "job-submit", .. NULL */
struct core_decision {
    enum decision_kind kind;
    int64_t at_ms;
    uint64_t job, attempt, node, pool, team; /* 0 where it has none */
    uint64_t service;                        /* DECISION_SERVICE_*, _REPLICA_*, _ROLLOUT_* */
    uint64_t for_job; /* DECISION_STOP, _CLAIM, _PROMISE: who gets the place */
    int32_t reason;   /* enum end_reason; DECISION_REPLICA_UNREADY: END_NONE when a check said so;
                       * DECISION_SERVICE_SCALE: enum autoscale_reason */
    int32_t from, to; /* DECISION_SERVICE_SCALE: replicas */
    int32_t exit_status;
    int64_t lost_ms;  /* DECISION_STOP for preemption: device-milliseconds of work that it loses */
    int64_t begin_ms; /* DECISION_PROMISE: when the place is free, as far as time limits tell */
    int32_t why;      /* DECISION_ROLLOUT_*: enum rollout_reason; REASON_NONE for the others */
    int32_t step;     /* DECISION_ROLLOUT_STEP: from 1 */
    /* DECISION_BURST, _BURST_REFUSED: enum burst_verdict; for how long it would wait elsewhere, so
     * far and foreseen; what is reserved for it at most, 0: its place was not looked for. */
    int32_t burst;
    int64_t wait_ms, cost_micro;
    int64_t forecast_ms;    /* when the forecast was made that says so; 0: the core's own bound */
    uint32_t site, version; /* DECISION_DATA_*: symbols; cost_micro is the egress */
};
typedef void core_decision_fn(void *context, const struct core_decision *decision);
/* In the order they were taken. */
void core_decisions(struct core *core, core_decision_fn *visit, void *context);

/* How many there are so far in this tick. */
size_t core_decision_count(const struct core *core);

/* Forgets the lists of changes and decisions. */
void core_end(struct core *core);

/* ---- what engines should do ------------------------------------------------------------ */

struct attempt_wish {
    bool stop;        /* it should be stopping (or not be started any more) */
    int64_t grace_ms; /* from the stop to SIGKILL */
};
typedef void core_attempt_fn(
    void *context, const struct attempt_row *attempt, const struct attempt_wish *wish);
/* Every live attempt, ids ascending: what is wanted, to be compared with what is observed. */
void core_attempt_each(const struct core *core, core_attempt_fn *visit, void *context);
/* What is wanted of one. It changes with the attempt's row and not otherwise. NULL and nothing
 * wanted: there is no such live attempt. */
const struct attempt_row *core_attempt_wanted(
    const struct core *core, uint64_t id, struct attempt_wish *ret_wish);

/* ---- reading --------------------------------------------------------------------------- */

/* Rows of the live state by id, or NULL. Valid until the next command. */
const struct job_row *core_job(const struct core *core, uint64_t id);
const struct attempt_row *core_attempt(const struct core *core, uint64_t id);
const struct node_row *core_node(const struct core *core, uint64_t id);
const struct pool_row *core_pool(const struct core *core, uint64_t id);
const struct team_row *core_team(const struct core *core, uint64_t id);
const struct shape_row *core_shape(const struct core *core, uint64_t id);
/* The id, or 0. */
uint64_t core_job_find(const struct core *core, const char *team, const char *name);
uint64_t core_team_find(const struct core *core, const char *name);
uint64_t core_pool_find(const struct core *core, const char *name);
/* Its text, also of one that was retired since core_begin; "" for 0 and what is not there. */
const char *core_symbol(const struct core *core, uint32_t symbol);
typedef void core_row_fn(void *context, enum row_kind kind, const void *row);
/* What a job reads (ROW_DATA), in the order that it said. */
void core_data_each(const struct core *core, uint64_t job, core_row_fn *visit, void *context);
/* When a copy (ROW_COPY) is dropped if nobody uses it; 0: somebody does. */
int64_t core_copy_until_ms(const struct core *core, uint64_t id);
/* The placements of an attempt, in order of first rank. */
void core_placement_each(
    const struct core *core, uint64_t attempt, core_row_fn *visit, void *context);
/* Every live row of a kind, ids ascending. */
void core_row_each(const struct core *core, enum row_kind kind, core_row_fn *visit, void *context);

/* What it costs to hold a live attempt for an hour, in millionths of the currency. */
int64_t core_attempt_hour_micro(const struct core *core, uint64_t attempt);
/* The same for one of its placements. */
int64_t core_placement_hour_micro(const struct core *core, uint64_t placement);
/* What a node costs an hour, whole. */
int64_t core_node_hour_micro(const struct core *core, uint64_t node);

/* What keeps a job from having an attempt, looked at in this order: the first that holds. */
enum block_kind {
    BLOCK_NONE, /* it has an attempt, or is not live */
    BLOCK_HELD,
    BLOCK_DEPENDENCY, /* the oldest job it waits for, and other_jobs more */
    BLOCK_MOMENT,     /* until_ms: its start, or the end of a backoff */
    BLOCK_CLAIM,      /* a place is kept for it on node, and those who are stopped have not left */
    BLOCK_IMPOSSIBLE, /* no pool, idle, could hold it any more; it waits for pools to change. Where
                       * a level is required: no domain of it holds need of resource (accelerators
                       * or ranks), the largest is `domain` with held */
    BLOCK_CLOSED,     /* those that could are cordoned, draining or lost */
    BLOCK_ARRAY,      /* held elements are active of limit at once */
    BLOCK_LIMIT,      /* team holds held of limit of a resource, and the job needs need */
    BLOCK_GUARANTEE,  /* it can not be preempted, and what team might borrow is guaranteed to others
                       */
    BLOCK_CHECKPOINT, /* held ranks would fit of need; it could take the place of job and other_jobs
                       * more, and lets them go on to their next checkpoints: the first, that of
                       * job, is due at due_ms. It waits for none that is due after until_ms */
    BLOCK_PROMISE, /* held ranks would fit of need; a place is kept for it on node and other_nodes
                    * more, from until_ms on by the time limits of who is there; until_open: and
                    * when those without a limit have ended */
    BLOCK_KEPT,    /* it would fit, and would still be there when what is kept for another job on
                    * node is needed, at until_ms */
    BLOCK_SPOT,    /* by its spot policy it waits for spot capacity, where held ranks would fit of
                    * need, and elsewhere `elsewhere`; it is looked at again when capacity comes and
                    * at until_ms, 0: not by time */
    BLOCK_ROUND,   /* its allotment decides in rounds: the last gave it target ranks; held would fit
                    * of need. The next is at until_ms, 0: when something changes */
    BLOCK_ROOM,    /* held ranks would fit of need */
    BLOCK_TURN     /* it fits, and others have their turn before it */
};
struct core_block {
    enum block_kind kind;
    uint64_t job, team, node;   /* 0 where the kind has none */
    const char *level, *domain; /* of topology, or NULL; valid as resource is */
    const char *resource;       /* "cpu", .. or an accelerator type; valid until the next command */
    const char *policy;         /* BLOCK_SPOT, BLOCK_ROUND: its name, else NULL */
    int64_t held, need, limit;  /* in the resource's unit */
    int64_t elsewhere, target;  /* ranks */
    int64_t until_ms, due_ms;
    bool until_open;
    int64_t other_jobs, other_nodes;
};
/* Why the job waits, by the state as it is and the moment of core_begin; takes a look at every node
 * and decides nothing. */
void core_job_blocked(struct core *core, uint64_t job, struct core_block *ret);

/* What the node that comes nearest to holding a rank of a job does not have. */
enum { LACKS_MAX = 4 };
struct core_lack {
    const char
        *what; /* "cpu", "memory", "disk", "accelerators" (need and has are amounts); else
                * "accelerator", "pool", "jurisdiction", "nodeType", "label", "taint" (texts) */
    int64_t need, has;
    const char *need_text, *has_text; /* valid until the next command */
};
struct core_nearest {
    uint64_t node;     /* 0: there is no node at all */
    size_t lack_count; /* 0: it could hold a rank, idle; then it is the gang that is too large */
    struct core_lack lacks[LACKS_MAX];
    uint64_t pool;       /* that holds most ranks, all its nodes idle; 0: none holds any.. */
    int64_t ranks, need; /* ..so many, at most what the job needs at once */
};
/* The node with the fewest conditions that do not hold, then with the least that it lacks, then the
 * first; whether it is up or not. Looks at every node. */
void core_job_nearest(const struct core *core, uint64_t job, struct core_nearest *ret);
/* Whether type, labels, taints and size let a rank of the job on the node, were it idle. False when
 * either is not there, and for nodes of pools with a burst policy. */
bool core_job_matches(const struct core *core, uint64_t job, uint64_t node);

/* What a pool is for a live job, as things are now. */
enum pool_verdict {
    POOL_HERE,    /* the job has its place there */
    POOL_NEXT,    /* it has room, and goes before all others that have */
    POOL_AHEAD,   /* it has room, and would go before the pool that the job is in */
    POOL_BEHIND,  /* it has room, and another that has goes before it */
    POOL_NO_ROOM, /* held ranks would fit of need */
    POOL_UNFIT,   /* it lacks what the job needs, whatever is free */
    POOL_BURST,   /* it has a burst policy, which says `burst` */
};
extern const char *const pool_verdict_names[]; /* "here", .. NULL */
struct core_pool_view {
    uint64_t pool;
    enum pool_verdict verdict;
    enum burst_verdict burst;
    const char *lacks;  /* POOL_UNFIT, or BURST_UNFIT: "pool", "jurisdiction", "spot", "nodes" (none
                         * could hold a rank), "size" (not all at once); else NULL */
    int64_t held, need; /* ranks */
    int64_t hour_micro, egress_micro,
        transfer_ms;    /* of its smallest gang; where it could hold one */
    int64_t cost_micro; /* all in all, for as long as it runs */
    bool late;          /* it would miss its deadline there */
    int64_t wait_ms;    /* of a burst policy: for the other pools, so far and foreseen.. */
    int64_t forecast_ms, start_ms; /* ..by a forecast made then, of a start then; 0: by the core's
                                    * own bound.. */
    bool unsure;                   /* ..which does not count yet, since a forecast is expected */
    int64_t left_micro;            /* of its budget */
};
typedef void core_pool_fn(void *context, const struct core_pool_view *view);
/* Every pool, the oldest first. Looks at every node, and decides nothing. */
void core_job_pools(struct core *core, uint64_t job, core_pool_fn *visit, void *context);
/* How much of a resource (as struct core_block names it) a live attempt counts against quotas. */
int64_t core_attempt_holds(const struct core *core, uint64_t attempt, const char *resource);

struct core_counts {
    int64_t jobs_live, jobs_queued, jobs_running, attempts_live, nodes_up;
    int64_t services, replicas, replicas_ready;
    int64_t bytes; /* memory that the state takes, counted by the core itself */
};
/* How much there is of everything; cheap. */
void core_count(const struct core *core, struct core_counts *ret_counts);

/* ---- checking -------------------------------------------------------------------------- */

/* Recomputes every derived index and total from the rows and compares; checks the invariants of
 * ARCHITECTURE.md that a single state can show. -1 with ERR_CORRUPT naming the first violation. */
MUST_CHECK int core_check(const struct core *core, struct error *err);
/* A digest of every live row in order: equal states give equal digests. */
uint64_t core_digest(const struct core *core);
/* A digest of the live rows of a kind with ids above `after`, at most `most` of them. *ret_last is
 * the last id it covers, UINT64_MAX when there are none beyond: so a copy of the state is compared
 * bit by bit, a slice in each tick. */
uint64_t core_digest_slice(
    const struct core *core, enum row_kind kind, uint64_t after, size_t most, uint64_t *ret_last);
#define CORE_DIGEST_START 0xcbf29ce484222325u
/* Goes on with a digest by one row; slices begin with CORE_DIGEST_START. */
uint64_t core_digest_row(uint64_t digest, enum row_kind kind, const void *row);
