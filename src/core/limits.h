/* Bounds of what the core takes in. They are chosen so that no sum or product of amounts that the
 * core computes overflows. */
#pragma once

#include <stdint.h>

enum {
    DEVICES_MAX = 64,    /* bits of a mask */
    DEVICE_MILLI = 1000, /* a whole one */
    TEAM_DEPTH_MAX = 16,
    NODES_MAX = 65536,     /* of all pools */
    GANG_SIZE_MAX = 16384, /* times AMOUNT_MAX: no sum of amounts overflows */
    ARRAY_COUNT_MAX = 100000,
    DEPENDENCIES_MAX = 4096, /* of one submission */
    JOBS_MAX_DEFAULT = 100000,
    LEVELS_MAX = 8,      /* of a pool's topology; spec/kind_pool.c has the same bound */
    REPLICAS_MAX = 1000, /* of a service; also its surge and unavailable */
    NEVER_PREEMPTED_MORE = -1,
};

#define MOMENT_NEVER INT64_MAX
#define AMOUNT_MAX   ((int64_t)1 << 47) /* of one resource, of a rank or a node */
#define CAPACITY_MAX ((int64_t)1 << 62) /* of one resource, of all nodes */
#define TIME_MS_MAX  ((int64_t)1 << 42) /* year 2109: ids are time << 20 */
