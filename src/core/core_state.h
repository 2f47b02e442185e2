/* The live state, private to this folder: one object for each live row, linked to its relatives,
 * and the indexes and totals derived from them. Whatever is not in a row can be computed again
 * from the rows: core_check does so.
 *
 * Each object begins with a struct item and, right after it, its row. Objects that belong to
 * another (a node's labels, a job's claims) hang in lists from it, oldest first. */
#pragma once

#include "base/map.h"
#include "base/vec.h"
#include "core/core.h"

#include <assert.h>

enum {
    RESOURCE_CPU,
    RESOURCE_MEMORY,
    RESOURCE_DISK,
    RESOURCE_ACCELERATORS, /* of all types */
    RESOURCE_TYPES,        /* from here on: one for each accelerator type */
    RESOURCE_MAX = 32
};

enum {
    DEVICES_MAX = 64,    /* bits of a mask */
    DEVICE_MILLI = 1000, /* a whole one */
    TEAM_DEPTH_MAX = 16,
    NODES_MAX = 32768,     /* of all pools */
    GANG_SIZE_MAX = 16384, /* times AMOUNT_MAX: no sum of amounts overflows */
    ARRAY_COUNT_MAX = 100000,
    DEPENDENCIES_MAX = 4096, /* of one submission */
    JOBS_MAX_DEFAULT = 100000,
    NEVER_PREEMPTED_MORE = -1,
};

#define MOMENT_NEVER INT64_MAX
#define AMOUNT_MAX   ((int64_t)1 << 47) /* of one resource, of a rank or a node */
#define TIME_MS_MAX  ((int64_t)1 << 42) /* year 2109: ids are time << 20 */

/* Row bookkeeping. 8 bytes, so that the row behind it is aligned. */
struct item {
    uint32_t position; /* in its table */
    uint8_t kind;      /* enum row_kind */
    uint8_t changed;   /* it is in the list of changes */
    uint8_t fresh;     /* created since the last core_end */
    uint8_t gone;      /* 0, or 1 + enum change_kind of how it left its table */
};

static inline void *item_row(struct item *item)
{
    return item + 1;
}

static inline uint64_t item_id(const struct item *item)
{
    return *(const uint64_t *)(item + 1);
}

struct table_entry {
    uint64_t id;
    struct item *item; /* NULL: it was removed */
};

/* Live rows, ids ascending. Ids only grow, so that adding is appending. */
struct table {
    VEC(struct table_entry) entries;
    size_t live;
    uint64_t last_id;
};

struct live_counter {
    struct item item;
    struct counter_row row;
};

/* The text is kept at its length; the full row is made when somebody wants to see it. */
struct live_symbol {
    struct item item;
    uint64_t id;
    struct live_symbol *same_hash;
    uint32_t users; /* columns of jobs' rows that name it, and arrays of that name */
    uint8_t pinned;
    uint8_t kept; /* a row that the store keeps names it */
    char text[];
};

struct live_price {
    struct item item;
    struct price_row row;
    struct live_price *next;
};

struct live_pool {
    struct item item;
    struct pool_row row;
    struct live_price *prices;
    VEC(struct live_node *) nodes; /* ids ascending */
};

struct live_node_label {
    struct item item;
    struct node_label_row row;
    struct live_node_label *next;
};

struct live_reservation {
    struct item item;
    struct reservation_row row;
    struct live_reservation *next;
};

/* What is held or asked of a node's plain resources. */
struct bundle {
    int64_t cpu_milli;
    int64_t memory_bytes;
    int64_t disk_bytes;
};

/* Nodes of which something changed, in order; entry i has the number base + i. */
struct journal {
    VEC(struct live_node *) nodes;
    uint64_t base;
};

struct live_node {
    struct item item;
    struct node_row row;
    struct live_pool *pool;
    int resource; /* index of its accelerator type, or -1 */
    struct live_node_label *labels;
    struct live_reservation *reservations;
    VEC(struct live_placement *) placements;
    VEC(struct live_claim *) claims;
    struct bundle held;
    struct bundle claimed;
    int16_t *device_held; /* thousandths, of each device */
    int16_t *device_claimed;
    int32_t exclusive_held; /* placements that want the node for themselves */
    int32_t exclusive_claimed;
    struct journal *journal; /* of the core */
    size_t ordinal;          /* in the order of candidates */
    /* Valid within a preemption search only. */
    uint64_t search_mark;
    size_t search_at;
};

struct live_quota {
    struct item item;
    struct quota_row row;
    struct live_quota *next;
};

struct lane;

struct live_team {
    struct item item;
    struct team_row row;
    struct live_team *parent;
    VEC(struct live_team *) children; /* ids ascending */
    struct live_quota *quotas;
    VEC(struct lane *) lanes;
    int64_t jobs;                    /* live ones, its own */
    int64_t held[RESOURCE_MAX];      /* by attempts and claims, with its children's */
    int64_t firm[RESOURCE_MAX];      /* of it, what can not be taken back by preemption */
    int64_t guarantee[RESOURCE_MAX]; /* its quota, or else the sum of its children's */
    int64_t limit[RESOURCE_MAX];     /* INT64_MAX: none */
    int64_t chosen[RESOURCE_MAX];    /* of held, what a preemption search would take; else 0 */
    /* Valid within a scheduling pass only. */
    int64_t pass_key;
    struct lane *pass_lane;
    int32_t pass_own_rank;
    int32_t pass_rank;
};

enum { RULE_TOLERATE = 16, RULE_NEAR = 17, RULE_APART = 18 };

struct live_rule {
    struct item item;
    struct rule_row row;
    struct live_rule *next;
};

struct live_shape {
    struct item item;
    struct shape_row row;
    struct live_rule *rules;
    int64_t references; /* jobs */
    uint64_t hash;
    struct live_shape *same_hash;
    int resource; /* index of its accelerator type, or -1: none or any */
    bool near, apart;
    VEC(struct live_node *) candidates; /* nodes that could hold a rank as far as labels go */
    uint64_t candidates_version;
    int64_t *scores; /* by node ordinal, or NULL */
    uint64_t scores_version;
    uint64_t scores_at;     /* in the journal */
    uint64_t nofit_version; /* at that version of what is free.. */
    int32_t nofit_ranks;    /* ..so many ranks did not fit */
};

/* What distinguishes jobs for the scheduler. Jobs of one lane are interchangeable but for how long
 * they wait: when the first does not fit, none does. */
struct lane_key {
    struct live_team *team;
    struct live_shape *shape;
    uint64_t array; /* with a bound on parallel elements, or 0 */
    int64_t time_limit_ms;
    int32_t priority;
    int32_t size_min, size_max;
    int32_t firm;
};

struct lane {
    struct lane_key key;
    uint64_t hash;
    struct lane *same_hash;
    struct live_job *first, *last; /* by queued_ms, id */
    size_t count;
    size_t position; /* in its team */
    /* Valid within a scheduling pass only. */
    struct live_job *cursor;
    int32_t tries;
    bool blocked;
};

struct live_array {
    uint64_t id;
    struct live_team *team;
    uint32_t name;
    int32_t parallel;
    int32_t live;
    int32_t active; /* with an attempt or claims */
};

struct live_job_label {
    struct item item;
    struct job_label_row row;
    struct live_job_label *next;
};

struct live_dependency {
    struct item item;
    struct dependency_row row;
    struct live_job *job, *on;
    struct live_dependency *next_of_job, *next_of_on;
};

struct live_job {
    struct item item;
    struct job_row row;
    struct live_team *team;
    struct live_shape *shape;
    struct live_attempt *attempt;
    struct live_array *array;
    struct live_job_label *labels;
    struct live_dependency *depends;    /* what it waits for */
    struct live_dependency *dependents; /* what waits for it */
    struct live_claim *claims;
    struct lane *lane; /* it competes in, or NULL */
    struct live_job *lane_next, *lane_previous;
    int64_t timer_ms; /* MOMENT_NEVER: none */
    size_t timer_position;
};

struct live_span {
    struct item item;
    struct span_row row;
    struct live_span *next;
};

struct live_placement {
    struct item item;
    struct placement_row row;
    struct live_attempt *attempt;
    struct live_node *node;
    struct live_span *spans; /* at earlier prices, oldest first */
    struct live_placement *next;
};

struct live_attempt {
    struct item item;
    struct attempt_row row;
    struct live_job *job;
    struct live_placement *placements;
    uint64_t mark; /* of the preemption search that saw it last */
    bool away;     /* a preemption search tries what would be without it */
};

struct live_claim {
    struct item item;
    struct claim_row row;
    struct live_job *job;
    struct live_node *node;
    struct live_claim *next;
};

/* A history row on its way out. */
struct history_charge {
    struct item item;
    struct charge_row row;
};
struct history_capacity {
    struct item item;
    struct capacity_row row;
};

struct core {
    struct core_options options;
    int64_t now_ms;
    bool loading;
    struct table tables[ROW_KIND_COUNT];
    struct live_counter *counters[ROW_KIND_COUNT]; /* NULL: nothing was given out yet */
    struct live_counter *clock;

    struct idmap symbols;      /* by hash_text of their text */
    struct idmap symbols_gone; /* by id, until core_end */
    int64_t symbol_bytes;
    uint64_t symbol_columns[ROW_KIND_COUNT]; /* bit i: column i of the kind is a symbol */
    struct idmap teams_by_name, pools_by_name; /* by symbol */
    struct idmap nodes_by_name;                /* by pool << 32 | symbol */
    struct idmap jobs_by_name, arrays_by_name; /* by team << 32 | symbol */
    struct idmap arrays;                       /* by the first job's id */
    struct idmap shapes_by_hash, lanes_by_hash;
    VEC(uint32_t) accelerator_types; /* symbols; index + RESOURCE_TYPES is the resource */
    VEC(struct live_team *) roots;   /* ids ascending */
    VEC(struct live_job *) claimants;
    VEC(struct live_job *) timers; /* a heap by (timer_ms, id) */

    int64_t capacity[RESOURCE_MAX]; /* of the nodes that are up */
    int64_t jobs_queued, jobs_running, nodes_up;
    int64_t apart_shapes; /* live shapes with anti-affinity */
    int64_t reservation_next_ms;
    struct journal journal;
    VEC(struct live_node *) by_ordinal;
    uint64_t ordinals_version;
    int64_t scored_shapes;
    uint64_t topology_version; /* of nodes and whether they take work */
    uint64_t free_version;     /* counts whatever may make something fit */
    uint64_t mark;
    bool pass_wanted;
    int64_t wake_ms; /* when a pass may do what the last one could not */

    VEC(struct item *) changes;
    VEC(struct core_decision) decisions;
    VEC(struct item *) gone; /* freed at core_end */
    struct arena *images;    /* full rows of changed symbols */
};

/* ---- table.c: rows by id, and the list of changes ---------------------------------------- */

uint64_t id_next(struct core *core, enum row_kind kind);
struct item *table_find(const struct core *core, enum row_kind kind, uint64_t id);
/* Adds an object whose row has its id, which is above every other one of its table. */
void table_add(struct core *core, enum row_kind kind, struct item *item);
/* Gives a new object an id, and lists it as changed. */
void change_new(struct core *core, enum row_kind kind, struct item *item);
void change_put(struct core *core, struct item *item);
/* Takes the object out of its table; its memory stays until core_end. */
void change_retire(struct core *core, struct item *item);
void change_delete(struct core *core, struct item *item);
/* A history row: it is stored and forgotten. */
void change_history(struct core *core, enum row_kind kind, struct item *item);
/* The row as others see it; a symbol's is written to image. */
const void *item_image(struct item *item, struct symbol_row *image);

/* The next object of a table from *position on, or NULL. */
struct item *table_next(const struct table *table, size_t *position);

#define TABLE_EACH(core, row_kind_, type, name)                                                    \
    for (size_t name##_at_ = 0, name##_once_ = 1; name##_once_; name##_once_ = 0)                  \
        for (type * name; (name = (type *)table_next(&(core)->tables[row_kind_], &name##_at_));)

/* Appends to a singly linked list and keeps its order. */
#define LIST_APPEND(head, node, next)                                                              \
    do {                                                                                           \
        __typeof__(&(head)) list_at_ = &(head);                                                    \
        while (*list_at_)                                                                          \
            list_at_ = &(*list_at_)->next;                                                         \
        *list_at_ = (node);                                                                        \
    } while (0)
#define LIST_REMOVE(head, node, next)                                                              \
    do {                                                                                           \
        __typeof__(&(head)) list_at_ = &(head);                                                    \
        while (*list_at_ && *list_at_ != (node))                                                   \
            list_at_ = &(*list_at_)->next;                                                         \
        assert(*list_at_);                                                                         \
        *list_at_ = (node)->next;                                                                  \
    } while (0)

/* ---- sort.c ------------------------------------------------------------------------------ */

/* Negative, 0 or positive; never 0 for two different elements: a total order. */
typedef int order_fn(const void *a, const void *b, const void *context);
/* Sorts pointers by a total order: merge sort, the same on every machine. */
void sort_pointers(void **items, size_t count, order_fn *order, const void *context);

static inline int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}
static inline int compare_i64(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}
static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static inline int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- symbol.c ---------------------------------------------------------------------------- */

/* The symbol of text, made when it is new; 0 for NULL and "". Text is cut at 255 bytes by nobody:
 * check with symbol_check first. */
uint32_t symbol_intern(struct core *core, const char *text);
uint32_t symbol_find(const struct core *core, const char *text);
/* Forgets the symbols newer than id `last` that no row names: they were made for an input that was
 * refused, or said the same twice. */
void symbol_sweep(struct core *core, uint64_t last);
/* Loading: a symbol that was stored; no other has its text. */
void symbol_load(struct core *core, const struct symbol_row *row);
/* Counts one more, or one less, who needs the symbol; kept: the store keeps what needed it. */
void symbol_hold(struct core *core, uint32_t symbol);
void symbol_release(struct core *core, uint32_t symbol, bool kept);
/* Whether rows of the kind count as users of what they name. They are those that jobs bring along,
 * and their symbols stay as they were made. What rows of any other kind name is pinned. */
bool symbol_counts(enum row_kind kind);
/* A new row's symbols: counted or pinned. Loading: they have to be pinned already. */
void symbols_hold(struct core *core, const struct item *item);
void symbols_release(struct core *core, const struct item *item, bool kept);
/* Finds out which columns of each kind are symbols. */
void symbols_prepare(struct core *core);
/* Whether all the symbols that a row names are there, and pinned if they have to be. */
bool symbols_known(const struct core *core, enum row_kind kind, const void *row);
/* For core_check: NULL, or what is wrong, with the symbol's id. */
const char *symbols_fault(const struct core *core, uint64_t *ret_id);
MUST_CHECK int symbol_check(const char *text, const char *what, struct error *err);
/* Labels: lengths of keys and values. */
MUST_CHECK int symbol_check_labels(
    const struct label_list *labels, const char *what, struct error *err);

/* ---- resource.c -------------------------------------------------------------------------- */

struct amounts {
    int64_t of[RESOURCE_MAX];
};

/* The index of an accelerator type, given out when it is new; -1 when there are too many. */
int resource_of_type(struct core *core, uint32_t type);
int resource_find_type(const struct core *core, uint32_t type); /* -1: never seen */
/* The index of a quota's resource ("cpu", .. or a type); -1 when there are too many types. */
int resource_of_quota(struct core *core, uint32_t name);
/* What `ranks` of a shape ask for, its type being resource (-1: not known). */
void amounts_of_shape(
    const struct live_shape *shape, int64_t ranks, int resource, struct amounts *ret);
/* What they could hold at most of each: a shape that takes accelerators of any type counts for all
 * of them. Guarantees go by this, so that what is entitled to a place before it is known is still
 * within the guarantee after it got it. */
void amounts_possible(const struct live_shape *shape, int64_t ranks, struct amounts *ret);
struct bundle bundle_of_shape(const struct shape_row *shape, int64_t ranks);
/* What a node has. */
void amounts_of_node(const struct live_node *node, struct amounts *ret);
/* Adds the node's capacity to the total (sign 1) or takes it away (-1). */
void capacity_count(struct core *core, const struct live_node *node, int sign);
/* value * numerator / denominator, rounded half up; denominator > 0. */
int64_t scale_round(int64_t value, int64_t numerator, int64_t denominator);

/* ---- shape.c ----------------------------------------------------------------------------- */

/* The shape of a job, shared with all that ask the same; counts a reference. */
struct live_shape *shape_intern(struct core *core, const struct job *job);
void shape_ref(struct core *core, struct live_shape *shape);
/* Deletes the shape with its last reference. */
void shape_unref(struct core *core, struct live_shape *shape);
/* Loading: a shape and all its rules are there. */
void shape_index(struct core *core, struct live_shape *shape);
void shape_free(struct live_shape *shape);

/* ---- node.c ------------------------------------------------------------------------------ */

struct live_node *node_find(const struct core *core, const char *pool, const char *node);
struct live_node *node_named(
    const struct core *core, const struct live_pool *pool, uint32_t name); /* or NULL */
/* Whether new work may come to it, reservations apart. */
bool node_takes_work(const struct live_node *node);
/* Node accounting of a placement or claim: sign 1 takes, -1 gives back. */
void node_hold(struct live_node *node, const struct shape_row *shape, uint64_t devices,
    int64_t device_milli, int64_t ranks, int sign);
void node_claim(struct live_node *node, const struct shape_row *shape, uint64_t devices,
    int64_t device_milli, int64_t ranks, int sign);
/* Stops every attempt on it that is not stopping yet. */
void node_stop_attempts(struct core *core, struct live_node *node, enum end_reason reason);
/* Takes a node away that holds nothing. */
void node_vanish(struct core *core, struct live_node *node);
/* Removes it if it was only waiting for its attempts to end. */
void node_vanish_if_left(struct core *core, struct live_node *node);
void node_free(struct live_node *node);
/* The devices arrays, after row.devices is set. */
void node_prepare(struct core *core, struct live_node *node);
/* Counts a change of nodes: what shapes remember of them is stale. */
void topology_changed(struct core *core);

/* ---- reserve.c --------------------------------------------------------------------------- */

void reservations_run(struct core *core);
void reservations_index(struct core *core);
/* Whether an attempt of that length (0: no bound) may start on the node now. */
bool reservation_allows(
    const struct core *core, const struct live_node *node, int64_t time_limit_ms);

/* ---- quota.c ----------------------------------------------------------------------------- */

/* Derives guarantees and limits of the team and those above from quota rows. */
void quota_derive(struct core *core, struct live_team *team);
/* Counts amounts as held (sign 1) or given back (-1) by the team and those above it. */
void quota_hold(
    struct core *core, struct live_team *team, const struct amounts *amounts, bool firm, int sign);
/* How many ranks, at most `ranks`, the limits leave to a job. */
int32_t quota_ranks(const struct core *core, const struct live_job *job, int32_t ranks);
/* Whether amounts of a plan pass every limit. */
bool quota_allows(const struct live_team *team, const struct amounts *amounts);
/* Whether the team stays within what it is guaranteed with amounts more. */
bool quota_entitled(const struct live_team *team, const struct amounts *amounts);
/* The same for the team or any above it. */
bool quota_entitled_path(const struct live_team *team, const struct amounts *amounts);
/* Whether what can not be taken back leaves everybody's guarantees possible. */
bool quota_firm_allows(
    const struct core *core, const struct live_team *team, const struct amounts *amounts);
/* The child of `above` (NULL: the root) on the path from team, or NULL when above is team. */
struct live_team *team_below(struct live_team *team, const struct live_team *above);
struct live_team *team_common(struct live_team *a, struct live_team *b); /* NULL: the root */

/* ---- fairshare.c ------------------------------------------------------------------------- */

enum { SHARE_ONE = 1000000000 }; /* fixed point of shares: the whole cluster */

/* The largest share of any resource that the amounts are of all there is. */
int64_t dominant_share(const struct core *core, const int64_t *amounts);
/* The team's decayed usage now. */
int64_t usage_now(const struct core *core, const struct live_team *team);
/* Writes usage down before what is held, or the capacity, changes. */
void usage_settle(struct core *core, struct live_team *team);
void usage_settle_all(struct core *core);
/* What teams are ordered by: less is served first. */
int64_t fair_key(const struct core *core, const struct live_team *team);

/* ---- team.c ------------------------------------------------------------------------------ */

void team_link(struct core *core, struct live_team *team);
void team_free(struct live_team *team);

/* ---- job.c ------------------------------------------------------------------------------- */

/* Not preempted (any more): what it holds can not be taken back. */
bool job_firm(const struct live_job *job);
void job_set_state(struct core *core, struct live_job *job, enum job_state state);
/* Waiting or queued, whichever it is now. */
void job_ready(struct core *core, struct live_job *job);
/* Ends a job without an attempt, and what depended on its success with it. */
void job_end(struct core *core, struct live_job *job, enum job_state state, enum end_reason reason,
    int32_t exit_status);
void job_decide(
    struct core *core, enum decision_kind kind, const struct live_job *job, int32_t reason);
static inline uint64_t name_key(const struct live_team *team, uint32_t name)
{
    return team->row.id << 32 | name;
}

/* ---- array.c ----------------------------------------------------------------------------- */

struct live_array *array_find(const struct core *core, const struct live_team *team, uint32_t name);
/* Puts an element into its array, which its first element makes. False: no symbol has the array's
 * name. */
bool array_join(struct core *core, struct live_job *job);
void array_leave(struct core *core, struct live_job *job);
/* Counts an element as active (1) or not any more (-1). */
void array_count(struct live_job *job, int sign);

/* ---- depend.c ---------------------------------------------------------------------------- */

void dependency_link(struct live_dependency *dependency, struct live_job *job, struct live_job *on);
/* Retires it: it is satisfied, or one of its ends is gone. */
void dependency_drop(struct core *core, struct live_dependency *dependency);

/* ---- timer.c ----------------------------------------------------------------------------- */

/* Puts the job's next moment right after its state changed. */
void timer_set(struct core *core, struct live_job *job);
void timer_clear(struct core *core, struct live_job *job);
void timers_run(struct core *core);

/* ---- queue.c ----------------------------------------------------------------------------- */

/* Base priority and the points that waiting gave, never above the next named priority. */
int64_t priority_now(const struct core *core, const struct live_job *job);
/* 0 .. 4: the named priorities that it reaches. */
int32_t priority_band(int64_t priority);
void queue_add(struct core *core, struct live_job *job);
void queue_remove(struct core *core, struct live_job *job);

/* ---- fit.c ------------------------------------------------------------------------------- */

/* Nodes that could hold a rank of the shape, pools in order. */
void shape_candidates(struct core *core, struct live_shape *shape);
/* Whether type, labels, taints, pool and jurisdiction match, whatever is free. */
bool fit_matches(
    const struct core *core, const struct live_shape *shape, const struct live_node *node);
/* Whether the shape tolerates every taint of that effect that the node has. */
bool fit_tolerates(
    const struct live_shape *shape, const struct live_node *node, enum taint_effect effect);
/* How many ranks of the job the node can take now, at most `ranks`; what claims keep is taken. */
int32_t fit_ranks(const struct core *core, const struct live_job *job, const struct live_node *node,
    int32_t ranks);
/* Whether those that run on the node and the job bear each other, claims apart. */
bool fit_company(const struct core *core, const struct live_job *job, const struct live_node *node);
/* How many an idle node could. */
int32_t fit_idle_ranks(const struct shape_row *shape, const struct live_node *node, int32_t ranks);
/* How well `ranks` fit: less is better. */
int64_t fit_score(const struct live_shape *shape, const struct live_node *node, int32_t ranks);

/* ---- score.c ----------------------------------------------------------------------------- */

/* Something that is held or claimed of the node changed. */
void journal_note(struct live_node *node);
/* Forgets all entries; what was brought up to date before is stale. */
void journal_restart(struct journal *journal);
/* Whether one rank of the job may be placed by remembered scores. */
bool score_usable(const struct core *core, const struct live_job *job);
/* The node that one rank of the job goes to, or NULL: as plan_make would find it. */
struct live_node *score_best(struct core *core, const struct live_job *job);
void score_forget(struct core *core, struct live_shape *shape);
bool score_check(const struct core *core, const struct live_shape *shape); /* for core_check */

/* ---- device.c ---------------------------------------------------------------------------- */

/* Thousandths of device i that are neither held nor claimed; may be negative. */
int64_t device_free(const struct live_node *node, int32_t device);
/* Ranks for which there are devices, at most `ranks`. */
int32_t device_ranks(const struct live_node *node, const struct shape_row *shape, int32_t ranks);
/* The devices for so many ranks of whole devices. They are there. */
uint64_t device_pick_whole(
    const struct live_node *node, const struct shape_row *shape, int32_t ranks);
/* The device for a fraction: the fullest that has room for it, taken (thousandths given out in
 * this plan already) included. -1: none. */
int32_t device_pick_share(const struct live_node *node, int64_t milli, const int16_t *taken);

/* ---- place.c ----------------------------------------------------------------------------- */

struct plan_part {
    struct live_node *node;
    uint64_t devices;
    int64_t device_milli;
    int32_t ranks;
};

struct plan {
    VEC(struct plan_part) parts;
    int32_t size;
};

/* A place for size_min to size_max ranks within one pool: as many ranks as fit, then as few nodes
 * as possible, then the earlier pool. False: there is none now. plan_finish frees it. */
bool plan_make(struct core *core, const struct live_job *job, int32_t size_min, int32_t size_max,
    struct plan *plan);
/* The same for one pool, whose matching nodes are given. */
bool plan_make_pool(struct core *core, const struct live_job *job, struct live_node *const *nodes,
    size_t count, int32_t size_min, int32_t size_max, struct plan *plan);
/* Where the run of nodes of one pool that starts at begin ends. */
size_t plan_pool_end(struct live_node *const *nodes, size_t begin, size_t count);
void plan_finish(struct plan *plan);
/* What the plan would hold, by accelerator types of its nodes. */
void plan_amounts(const struct plan *plan, const struct live_job *job, struct amounts *ret);

/* ---- attempt.c --------------------------------------------------------------------------- */

void attempt_admit(struct core *core, struct live_job *job, const struct plan *plan);
/* Tells it to stop. A later reason changes nothing, but for a cancellation. */
void attempt_stop(struct core *core, struct live_attempt *attempt, enum end_reason reason,
    const struct live_job *for_job);
void attempt_end(
    struct core *core, struct live_attempt *attempt, enum end_reason reason, int32_t exit_status);
/* Takes what it holds out of its nodes' accounts on trial, or puts it back. */
void attempt_set_away(struct live_attempt *attempt, bool away);
/* What its end would lose: milliseconds of work since the newest checkpoint. */
int64_t attempt_loss_ms(const struct core *core, const struct live_attempt *attempt);
/* The same, weighed by the dominant share it holds: what victims are compared by. */
int64_t attempt_loss(const struct core *core, const struct live_attempt *attempt);
void placement_amounts(const struct live_placement *placement, struct amounts *ret);
void attempt_amounts(const struct live_attempt *attempt, struct amounts *ret);
/* Loading: takes the placement into the accounts. */
void placement_link(struct core *core, struct live_placement *placement);

/* ---- claim.c ----------------------------------------------------------------------------- */

void claims_make(struct core *core, struct live_job *job, const struct plan *plan);
/* Gives back what is kept for the job; it competes again when it is queued. */
void claims_release(struct core *core, struct live_job *job);
/* Admits claimants whose place has become free, and drops claims that can not be met. */
void claims_settle(struct core *core);
/* Releases every claim on a node. */
void claims_release_node(struct core *core, struct live_node *node);
void claim_link(struct core *core, struct live_claim *claim);
void claim_amounts(const struct live_claim *claim, struct amounts *ret);

/* ---- preempt.c --------------------------------------------------------------------------- */

/* Makes a place for a job that does not fit: stops the set of attempts that loses least among
 * those compared and claims what they leave. False: there is no such set. */
bool preempt_for(struct core *core, struct live_job *job);

/* ---- victim.c ---------------------------------------------------------------------------- */

/* What may be stopped for a job, with what is chosen already counted in team->chosen. */
struct victim_rules {
    struct live_job *job;
    struct amounts ask;   /* of the smallest gang */
    bool reclaims;        /* some branch of its team is entitled to that */
    int64_t protected_ms; /* the first moment at which a minimum run time ends */
};
void victim_rules_init(struct victim_rules *rules, struct live_job *job);
bool victim_allowed(
    struct core *core, struct victim_rules *rules, const struct live_attempt *attempt);
/* Whether none of those chosen could take its place back at once: asked when the set is whole. */
bool victim_stays_out(const struct victim_rules *rules, const struct live_attempt *attempt);
/* Counts the attempt as chosen (1) or not any more (-1). */
void victim_choose(const struct live_attempt *attempt, int sign);

/* ---- charge.c ---------------------------------------------------------------------------- */

int64_t placement_hour_micro(const struct live_placement *placement);
int64_t node_hour_micro(const struct live_node *node);
/* Writes the charges of a placement that ends now, one for each price it had; lost_since_ms: from
 * when on the work was lost, or MOMENT_NEVER. */
void charge_placement(struct core *core, struct live_placement *placement, int64_t lost_since_ms);
/* Before a price or what a node has changes: ends the metered span of the node, and of what
 * attempts hold of it. */
void charge_split(struct core *core, struct live_node *node);
/* Writes what there was of the node since it was metered last. */
void charge_capacity(struct core *core, struct live_node *node);

/* ---- decision.c -------------------------------------------------------------------------- */

void decide(struct core *core, struct core_decision decision);
