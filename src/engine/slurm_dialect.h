/* What differs between the versions of slurmrestd's interface, and the two directions over it: a
 * submission is written in the words of the version, and what a job or node is said to be is read
 * from any of them. */
#pragma once

#include "base/memory.h"
#include "base/strbuf.h"
#include "wire/doc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dialect {
    const char *version;    /* "v0.0.38" */
    bool script_in_job;     /* the script stands in the job's object, not beside it */
    bool environment_list;  /* ["A=b"], not {"A": "b"} */
    bool numbers_are_sets;  /* {"set": true, "number": 5}, not 5, where a number may be missing */
    const char *nodes;      /* how many */
    const char *node_names; /* which ones.. */
    bool node_names_list;   /* ..as a list, not with commas between them */
    const char *requeue;    /* says whether a job is queued again.. */
    bool requeue_never;     /* ..with this value for: it is not */
    const char *devices;    /* of each task.. */
    const char *devices_prefix; /* ..what stands before "toy:1" */
    const char *shares;         /* of a job of one task, parts of a device.. */
    const char *shares_prefix;  /* ..what stands before "toy:2" */
};

/* The i-th, the newest first; NULL past the last. */
const struct dialect *dialect_at(size_t i);

/* What is submitted. Zero and NULL: not said. */
struct slurm_submission {
    const char *name, *mark, *script, *folder;
    const char *partition, *account, *qos, *constraint;
    const char *const *node_names;
    size_t node_count;
    uint32_t tasks, cpus_per_task;
    uint64_t memory_per_cpu_mb;
    uint32_t devices_per_task;
    uint32_t shares; /* shards of one device, instead of whole ones; of one task only */
    const char *device_type;
    uint64_t minutes;
};

/* Appends the body of the request. */
void dialect_write(const struct dialect *dialect, struct arena *arena,
    const struct slurm_submission *submission, struct strbuf *out);

enum slurm_state {
    SLURM_UNKNOWN,
    SLURM_PENDING,
    SLURM_RUNNING, /* suspended too: it has its nodes, and processes */
    SLURM_COMPLETING,
    SLURM_COMPLETED,
    SLURM_FAILED,
    SLURM_CANCELLED,
    SLURM_TIMEOUT,
    SLURM_NODE_FAIL,
    SLURM_PREEMPTED,
    SLURM_OUT_OF_MEMORY,
};
/* Whether it has ended, and nothing of it runs. */
bool slurm_state_over(enum slurm_state state);
/* "node-fail": for messages. */
const char *slurm_state_name(enum slurm_state state);

/* A job as the cluster lists it; texts are the document's. */
struct slurm_job {
    uint64_t id;
    enum slurm_state state;
    const char *mark;   /* its comment; "" */
    const char *nodes;  /* "n[1-4]"; "" */
    const char *reason; /* why it waits: "Resources", "Priority" */
    const char *cluster;
    int64_t submitted_ms, started_ms, ended_ms; /* by the cluster's clock, whole seconds; 0 */
    bool preempted;                             /* the cluster has begun to */
    uint32_t restarts;
    int64_t node_count;
};
/* False: it is no job, or one without a number. */
bool dialect_read_job(const struct doc *doc, struct slurm_job *ret_job);

/* A job as slurmdbd has it; texts are the document's. */
struct slurm_account {
    uint64_t id;
    enum slurm_state state;
    const char *mark; /* its comment, where the site keeps them; "" */
    const char *name, *cluster;
    uint64_t cpu_us;            /* of all its steps */
    uint64_t memory_peak_bytes; /* of the step that had most; 0: not known */
};
/* False: it is no job, or one without a number. */
bool dialect_read_account(const struct doc *doc, struct slurm_account *ret_account);

struct slurm_node {
    const char *name;
    const char *reason;
    bool down, closed;
    int64_t cpus, memory_mb;
    char device_type[64]; /* of "gpu:toy:2(S:0)"; "" */
    int64_t devices;
    int64_t shards;       /* of all its devices together */
    const char *address;  /* a number or a name, of this node alone; "" */
    const char *features; /* "a,b" */
    const struct doc *partitions;
};
/* False: it is no node. */
bool dialect_read_node(const struct doc *doc, struct slurm_node *ret_node);

/* The number of the job that was submitted, 0: none was. text: what the errors say. */
uint64_t dialect_read_submitted(const struct doc *doc, char *text, size_t size);
/* The first error of an answer, "" when it has none. */
void dialect_read_error(const struct doc *doc, char *text, size_t size);
