/* What machines there were and what jobs came, as data: the form that all readers give, whatever
 * their file looks like. A reader knows nothing of how jobs are scheduled.
 *
 * Units as in spec/kinds.h: CPU and accelerators in thousandths, memory in bytes, times in
 * milliseconds. The clock of a trace begins at 0. Bounds are those that the core takes. */
#pragma once

#include "base/error.h"
#include "base/memory.h"
#include "base/vec.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    TRACE_RANKS_MAX = 16384,
    TRACE_DEVICES_MAX = 64,
    TRACE_TEXT_MAX = 200,              /* bytes of a name, a team, a model, a list of types */
    TRACE_LIST_MAX = 20 * 1000 * 1000, /* jobs that are held in memory at once */
};
#define TRACE_TIME_MS_MAX ((int64_t)1 << 40) /* 34 years */
#define TRACE_AMOUNT_MAX  ((int64_t)1 << 46)

/* ---- machines -------------------------------------------------------------------------- */

struct trace_label {
    const char *key, *value;
};

struct trace_node {
    const char *name;        /* distinct within the cluster */
    const char *type;        /* of node: what prices go by; NULL: none */
    const char *accelerator; /* type of its devices; NULL: it has none */
    int32_t devices;
    int64_t cpu_milli;
    int64_t memory_bytes;
    bool fractional;    /* its devices may be shared */
    bool absent;        /* at first: an event adds it */
    bool spot;          /* may be taken away: by events of a file, see trace_events */
    int64_t hour_micro; /* price of the whole node for an hour, millionths of the currency; 0: none
                         */
    const struct trace_label *labels; /* label_count of them */
    size_t label_count;
};

/* The machines of a run. Texts belong to the arena. */
struct trace_cluster {
    struct arena *arena;
    VEC(struct trace_node) nodes;
};
void trace_cluster_init(struct trace_cluster *cluster);
void trace_cluster_finish(struct trace_cluster *cluster); /* an initialised or zeroed one */
/* Adds `count` equal nodes called PREFIX-0000, ..; texts are copied. */
void trace_cluster_add(struct trace_cluster *cluster, const struct trace_node *like, int64_t count,
    const char *prefix);
/* Adds what a text such as "16x4", "64x8:A100" or "100x0/64" says: nodes, devices of each, their
 * type ("gpu" where it says none) and CPUs of a node. CPUs that are not said, and memory, are so
 * many that they never bind. ERR_INVALID. */
MUST_CHECK int trace_cluster_parse(
    struct trace_cluster *cluster, const char *text, struct error *err);
/* The same machines in an order drawn from the seed, in a zeroed cluster. Texts stay those of
 * `from`. */
void trace_cluster_shuffle(
    const struct trace_cluster *from, uint64_t seed, struct trace_cluster *ret);
/* Thousandths of devices of all nodes. */
int64_t trace_cluster_accelerator_milli(const struct trace_cluster *cluster);

/* ---- jobs ------------------------------------------------------------------------------ */

/* Texts are never NULL ("" for none) and belong to the source: valid until its next job. */
struct trace_job {
    uint64_t number; /* place in the trace, from 0: its row, not its place in time */
    const char *name;
    const char *team;         /* virtual cluster, tenant, .. */
    const char *model;        /* what it trains: speed models go by it */
    const char *accelerators; /* allowed types joined by '|'; "": any */
    const char *mode;         /* how its batch changes while it runs, in the trace's own words */
    int64_t submit_ms;
    int64_t duration_ms; /* of running with `ranks` ranks, without waits; 0 where the trace does not
                          * say and a model has to */
    int64_t deadline_ms; /* moment; 0: none */
    int64_t checkpoint_ms; /* how often it writes a checkpoint while it runs; 0: only when it is
                            * told to stop; -1: never */
    int64_t work;          /* iterations, steps; 0: not said */
    int64_t batch;         /* all ranks together; 0: not said */
    int32_t ranks;         /* asked for; a rank holds the resources below */
    int32_t ranks_min, ranks_max; /* equal to ranks: rigid */
    int64_t cpu_milli, memory_bytes, accelerator_milli;
    int32_t priority; /* 0 to 1000, as in spec/kinds.h */
    bool preemptible;
};

/* A stream of jobs, submit_ms never going back (but see trace_order). */
struct trace_source;

struct trace_source_type {
    /* 1 and a job, 0 at the end, -1 with err (file:line: what was expected). Never called again
     * after 0 or -1. */
    int (*next)(struct trace_source *source, struct trace_job *ret_job, struct error *err);
    void (*close)(struct trace_source *source);
};

/* What every source begins with. */
struct trace_source {
    const struct trace_source_type *type;
    int64_t expected; /* how many jobs there will be, for a progress bar; 0: not known */
};

/* As above. */
MUST_CHECK int trace_next(
    struct trace_source *source, struct trace_job *ret_job, struct error *err);
void trace_close(struct trace_source *source); /* NULL is fine */

/* All jobs of a trace in memory, for formats that are not in order of time and for those that are
 * drawn from. Equal texts are kept once. */
struct trace_list;
/* An empty list; the caller destroys it, or gives it to a source. */
struct trace_list *trace_list_create(void);
void trace_list_destroy(struct trace_list *list); /* NULL is fine */
/* Copies the job with its texts. */
void trace_list_add(struct trace_list *list, const struct trace_job *job);
size_t trace_list_count(const struct trace_list *list);
const struct trace_job *trace_list_at(const struct trace_list *list, size_t i);
/* By submit_ms, then number. */
void trace_list_sort(struct trace_list *list);
/* Moves the beginning of the clock: takes so much from every moment. */
void trace_list_shift(struct trace_list *list, int64_t ms);
/* A source over the list, which it takes over. */
struct trace_source *trace_list_source(struct trace_list *list);
/* The same jobs so many times, one time after the other: a mean gap after the last of them the
 * first comes again, with a number of its own. Takes the source over, also on failure. NULL with
 * err. */
MUST_CHECK struct trace_source *trace_repeat(
    struct trace_source *source, int64_t times, struct error *err);
/* Everything a source has; closes it. NULL with err. */
MUST_CHECK struct trace_list *trace_list_read(struct trace_source *source, struct error *err);

/* What is drawn over a trace whose jobs do not say it. */
struct trace_mark {
    /* Of 1000 jobs so many have priority urgent, or low; the others keep theirs. */
    int64_t urgent_milli, low_milli;
    /* Of checkpoints, each job's own, where the trace does not say; max 0: as they are. */
    int64_t interval_ms, interval_max_ms;
};
/* The same jobs with that drawn from the seed. Takes the source over. */
struct trace_source *trace_mark(
    struct trace_source *source, const struct trace_mark *mark, uint64_t seed);

/* ---- formats --------------------------------------------------------------------------- */

struct trace_options {
    const char *jobs;      /* path; .gz is understood by its content */
    uint64_t seed;         /* of what is drawn */
    int64_t tune_milli;    /* openb: arrivals up to this share of the devices, 1300 is 130% */
    int64_t cluster_milli; /* thousandths of devices there are: what the share is of */
    bool steady;           /* openb: the trace's own times instead of arrivals alone */
};

struct trace_format {
    const char *name;
    const char *summary; /* for the help */
    const char *cluster; /* trace_cluster_parse text where no nodes are given; NULL: they have to be
                          */
    bool arrivals;       /* jobs arrive and never leave unless options say steady */
    /* Reads a file of nodes into an initialised cluster; NULL: only a cluster text is understood.
     */
    int (*nodes)(struct trace_cluster *cluster, const char *path, struct error *err);
    /* Opens a source; NULL with err. */
    struct trace_source *(*open)(const struct trace_options *options, struct error *err);
};

/* The i-th, or NULL past the last. */
const struct trace_format *trace_format_at(size_t i);
/* The format of that name, or NULL. */
const struct trace_format *trace_format_find(const char *name);

/* ---- what happens to nodes ------------------------------------------------------------- */

/* A node comes or goes at a moment. */
struct trace_event {
    int64_t at_ms;
    const char *node; /* of the file; belongs to the list */
    bool up;
};

struct trace_events {
    struct arena *arena;
    VEC(struct trace_event) items; /* by at_ms, then as in the file */
};
/* Reads the spot traces of bamboo (NSDI'23) into a zeroed list: lines
 * `milliseconds,add|remove,name`, or counts of nodes over time, see events.c. 0, or -1 and the list
 * is zeroed. */
MUST_CHECK int trace_events_read(struct trace_events *events, const char *path, struct error *err);
void trace_events_finish(struct trace_events *events);
