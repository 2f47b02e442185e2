/* Control groups: limits, accounting and the end of an attempt's processes, on machines with
 * version 2, version 1, version 1 beside an empty version 2, or none at all.
 *
 * The server makes and removes the groups; the shim's child joins them before it gives up its
 * rights; anybody may read them. */
#pragma once

#include "base/error.h"
#include "base/strbuf.h"
#include "engine/record.h"

#include <stdbool.h>
#include <stdint.h>

enum cgroup_kind {
    CGROUP_MEMORY,
    CGROUP_CPU,
    CGROUP_CPUACCT, /* the same folder as CPU in version 2 */
    CGROUP_PIDS,
    CGROUP_CPUSET,
    CGROUP_TREE, /* the version 2 folder, for cgroup.kill, whatever controls it has */
    CGROUP_KINDS,
};

enum { CGROUP_PATH_SIZE = 512 };

/* Folders by kind; "" where the machine has none. */
struct cgroup {
    char folder[CGROUP_KINDS][CGROUP_PATH_SIZE];
    bool unified[CGROUP_KINDS]; /* version 2 */
};

struct cgroup_limits {
    uint64_t memory_bytes; /* 0: none */
    uint64_t cpu_milli;    /* a weight against other attempts, not a cap; 0: none */
    uint64_t pids;         /* 0: none */
    const char *cpus;      /* "0,4,5": it runs on these only; "" or NULL: on any */
};

/* Where this process is: cgroup_text is /proc/self/cgroup, mounts_text /proc/self/mountinfo, and
 * unified_controllers the cgroup.controllers file of this process's version 2 group ("" when
 * there is none). Kinds that are nowhere are left empty. */
void cgroup_locate(const char *cgroup_text, const char *mounts_text,
    const char *unified_controllers, struct cgroup *ret);
/* The value after `key` in lines of "key value". False: there is no such line. */
bool cgroup_keyed_value(const char *text, const char *key, uint64_t *ret_value);

/* Makes the parent group `name` below this process's own groups and fills *ret with it. Kinds
 * that cannot be used are left empty; *ret_why says why nothing can be when all are empty. */
void cgroup_prepare(const char *name, struct cgroup *ret, struct error *ret_why);
/* Makes the group of one attempt below parent, with limits. -1: a limit could not be set;
 * nothing is left behind. */
MUST_CHECK int cgroup_create(const struct cgroup *parent, uint64_t attempt,
    const struct cgroup_limits *limits, struct cgroup *ret, struct error *err);
/* The group of an attempt as cgroup_create names it, whether or not it is there. One that was made
 * without `cpus` has no folder of the kind CGROUP_CPUSET. */
void cgroup_of_attempt(const struct cgroup *parent, uint64_t attempt, struct cgroup *ret);
/* Moves this process into the group. */
MUST_CHECK int cgroup_join(const struct cgroup *group, struct error *err);
/* SIGKILL to everything in it. True: something was there. */
bool cgroup_kill(const struct cgroup *group);
/* Removes the group's folders; those that still have processes stay. */
void cgroup_remove(const struct cgroup *group);
bool cgroup_is_empty(const struct cgroup *group); /* of folders: nothing is controlled */

/* To and from the launch record, for the shim to join. */
void cgroup_encode(struct strbuf *out, const struct cgroup *group);
void cgroup_decode(const struct record *record, struct cgroup *ret);

/* Readings; false when the machine does not tell. */
bool cgroup_cpu_ns(const struct cgroup *group, uint64_t *ret);
bool cgroup_memory_bytes(const struct cgroup *group, uint64_t *ret);
bool cgroup_memory_peak_bytes(const struct cgroup *group, uint64_t *ret);
/* How many processes were killed for want of memory. */
bool cgroup_oom_kills(const struct cgroup *group, uint64_t *ret);
