/* How much of the machine's processors is this process's. For the edges only, as clock.h. */
#pragma once

#include <stdint.h>

/* How many processors the calling process can keep busy: those of its affinity mask, or fewer where
 * the quota of a control group gives it less time than that, rounded down; at least one. */
int processors_allowed(void);
/* As processors_allowed, but of all processors of the machine: on those that are not this process's
 * others work meanwhile, as whoever is to answer it. */
int processors_at_work(void);

/* Thousandths of a processor that control groups give, of both versions: the least of the groups
 * that `groups`, a file such as /proc/self/cgroup, names and of those above them, in folders below
 * `root`. INT64_MAX: no group there has a quota. */
int64_t processors_quota_milli(const char *groups, const char *root);
