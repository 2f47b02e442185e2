/* A local engine on a data directory of its own, for tests: starts attempts, runs the loop until
 * something is reported, and remembers every report. */
#pragma once

#include "base/memory.h"
#include "engine/engine.h"

#include <event2/event.h>

enum { WORLD_TEAM = 61001, WORLD_OTHER_TEAM = 61002 };

struct world_report {
    struct report report; /* without the texts it pointed to */
    char text[4200];
};

struct world {
    struct event_base *base;
    struct engine *engine;
    char *data;
    const char *cgroup_name; /* as in the options of the engine */
    struct world_report *reports;
    size_t report_count;
    bool out_of_time;
};

struct world *world_create(const char *cgroup_name);
struct world *world_create_in(const char *parent, const char *cgroup_name);
void world_destroy(struct world *world); /* kills what runs, removes everything */
/* The server dies and comes back: the engine is destroyed and made again. */
void world_restart_engine(struct world *world);
void world_drop_engine(struct world *world);
void world_make_engine(struct world *world);

/* A launch of one rank that runs `sh -c script` as attempt and job `id` of WORLD_TEAM. The
 * launch lives as long as the world's next call of it. */
struct launch *world_script(struct world *world, uint64_t id, const char *script);
void world_start(struct world *world, const struct launch *launch);

/* Runs the loop until a report of that kind came for the attempt. It fails the test when that
 * takes more than a minute: far longer than anything here, so not a timed assertion. */
const struct world_report *world_wait(
    struct world *world, enum engine_report_kind kind, uint64_t attempt);
const struct attempt_end *world_wait_end(struct world *world, uint64_t attempt);
/* Runs the loop until the attempt's log has the text. */
void world_wait_log(struct world *world, uint64_t attempt, const char *text);
/* Runs the loop once, for at most 50 ms. */
void world_turn(struct world *world);
size_t world_count(const struct world *world, enum engine_report_kind kind, uint64_t attempt);
void world_clear_reports(struct world *world);
/* The whole log of attempt `id`, as "RANK o|e TEXT" lines; the caller frees it. */
char *world_log(struct world *world, uint64_t id);
/* Runs `sh -c script` to its end as attempt `id`. */
const struct attempt_end *world_run(struct world *world, uint64_t id, const char *script);
void world_assert_end(struct world *world, uint64_t id, enum engine_end_reason reason, int code);
void world_assert_log(struct world *world, uint64_t id, const char *text);
/* Runs a cmocka main as this user and, when that is root, once more as an ordinary one. Handles
 * the verbs `shim` and `init`, for which the engine runs this same program. */
int world_main(int argc, char **argv, int (*run_suite)(void));
/* Cmocka's set-up and tear-down of a world with the machine's control groups. */
int world_set_up(void **state);
int world_tear_down(void **state);
/* Does the node enforce that fact? */
bool world_enforces(const struct world *world, const char *fact);
