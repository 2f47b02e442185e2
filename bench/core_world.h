/* What the measures of the core share: mixes of jobs, clusters for them, and a core with both. */
#pragma once

#include "base/prng.h"
#include "base/vec.h"
#include "core/core.h"

#include <stdio.h>
#include <stdlib.h>

#define GIB ((int64_t)1 << 30)
#define MIB ((int64_t)1 << 20)

struct mix_shape {
    int64_t cpu_milli, memory_bytes, accelerator_milli;
    char types[64]; /* allowed accelerator types joined by '|'; "": any */
};

struct mix_node {
    int64_t cpu_milli, memory_bytes;
    int32_t devices;
    char type[32]; /* of its devices */
};

/* Jobs of some shapes in an order, and the kinds of nodes they are for. */
struct bench_mix {
    VEC(struct mix_shape) shapes;
    VEC(uint32_t) jobs;         /* shapes, in the order of arrival; begins anew at its end */
    VEC(struct mix_node) nodes; /* one for each of the cluster that it was taken from */
    double jobs_per_node;       /* that fill a cluster */
};

/* "ten": ten shapes in turn on two kinds of nodes; "openb": the 151 shapes of a public trace where
 * the environment's MUSTER_TRACES has it, else as many that were drawn like them. False: neither.
 */
bool mix_open(struct bench_mix *mix, const char *name);
void mix_finish(struct bench_mix *mix);
uint32_t mix_shape_at(const struct bench_mix *mix, size_t job);

/* Processor time of this thread: others on the machine have no part in it but through the caches.
 */
int64_t bench_clock_ns(void);

struct bench {
    struct core *core;
    struct bench_mix mix;
    int64_t now_ms;
    uint64_t names;
};

/* A core with that many nodes of the mix, in one pool, and the team "bench". Ends the process on an
 * error, as everything here does. */
void bench_open(struct bench *bench, const char *mix, int64_t nodes);
void bench_finish(struct bench *bench);
/* Submits a job; NULL team: "bench". Fields of `like` that are 0 get a plain value. */
uint64_t bench_submit(struct bench *bench, const struct job *like);
/* A job of that shape of the mix. */
uint64_t bench_submit_shape(struct bench *bench, uint32_t shape, bool hold);
/* One tick: time moves on by a millisecond, a pass, everything changed is visited and forgotten.
 * Returns how long core_schedule took. */
int64_t bench_tick(struct bench *bench);
/* A team that is guaranteed so much of a resource; NULL: nothing. */
void bench_team(struct bench *bench, const char *name, const char *resource, int64_t guarantee);
/* Ends the process with the error, if it is one. */
void must(int failed, const struct error *err);

/* The measures; each prints one line of JSON. */
int bench_place(const char *mix, int64_t nodes, int64_t checked);
int bench_pass(const char *mix, int64_t nodes, int64_t jobs);
int bench_life(const char *mix, int64_t nodes, int64_t jobs, int64_t batch);
int bench_queue(const char *mix, int64_t nodes, int64_t waiting);
int bench_gang(int64_t nodes, int64_t ranks, const char *level); /* NULL: no topology */
int bench_whole(int64_t nodes, int64_t ranks); /* each rank takes a node */
int bench_backfill(int64_t nodes, int64_t waiting);
int bench_promise(int64_t nodes, int64_t ranks);
int bench_reclaim(int64_t nodes, int64_t ranks);
int bench_never(const char *mix, int64_t nodes);
int bench_kueue(int64_t cohorts, int64_t queues);
