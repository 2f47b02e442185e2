/* A simulated engine and the machines behind it: it does what the core wants, as the real ones do
 * by comparing wishes with what is there, and it lies, dies, answers late, twice or out of order
 * as the seed says. Its world goes on when the server crashes.
 *
 * It is also a witness: it knows what really runs, and sim_engine_check says when two attempts of
 * a job ran at once, one ran twice, or a device was used beyond its capacity. */
#pragma once

#include "sim/sim_input.h"
#include "sim/sim_store.h"

/* How often things go wrong, in thousandths, and how much. */
struct sim_faults {
    int64_t report_lost;
    int64_t report_twice;
    int64_t report_delay_ms_max;
    int64_t lie;        /* per step: a report of something that did not happen */
    int64_t stale;      /* per step: an old report once more */
    int64_t start_lost; /* a start is taken and forgotten */
    int64_t site_ends;  /* its site gives an attempt an hour at most */
    int64_t start_fails;
    int64_t job_fails;    /* exit, signal, out of memory, disk quota */
    int64_t ignores_term; /* runs on until SIGKILL */
    int64_t node_lost;    /* per step */
    int64_t engine_dies;  /* per step: everything that ran is gone without a word */
    int64_t commit_fails;
    int64_t commit_unknown;
    int64_t crash;      /* per step, at one of the points of sim_step.c */
    int64_t clock_back; /* per step: the clock is set back */
};

struct sim_engine;

/* An engine with nothing running. */
struct sim_engine *sim_engine_create(uint64_t seed, const struct sim_faults *faults);
void sim_engine_destroy(struct sim_engine *engine); /* NULL is fine */
/* From now on everything works at the first try, and nodes that are down come back. */
void sim_engine_calm(struct sim_engine *engine, int64_t now_ms);
/* Longest run of a job from now on. */
void sim_engine_set_run_max(struct sim_engine *engine, int64_t run_ms_max);

/* The world goes on until now. */
void sim_engine_advance(struct sim_engine *engine, const struct sim_store *store, int64_t now_ms);
/* Takes the next report that is due, in order of arrival. */
bool sim_engine_report(struct sim_engine *engine, int64_t now_ms, struct sim_input *ret_input);
/* After a commit: starts what is wanted, stops what is not, reports again what was not heard. */
void sim_engine_reconcile(struct sim_engine *engine, const struct core *core,
    const struct sim_store *store, int64_t now_ms);
/* The server died: reports on their way to it are lost. */
void sim_engine_disconnect(struct sim_engine *engine);
/* When something happens in the world next, or INT64_MAX. */
int64_t sim_engine_next_ms(const struct sim_engine *engine);
size_t sim_engine_running(const struct sim_engine *engine);
/* -1 with the first thing that went wrong in the world. */
MUST_CHECK int sim_engine_check(const struct sim_engine *engine, struct error *err);
