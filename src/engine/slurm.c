/* The Slurm engine: attempts are jobs of a cluster, through slurmrestd. See README.md for the tour.
 *
 * Invariants:
 * - No call waits for the cluster: it is written down what is to be done (slurm_ledger.c), done
 * from the loop (slurm_attempt.c) and looked after (slurm_watch.c).
 * - What is of a job at the cluster is found by its mark and by what it leaves on the shared
 * storage; losing this process loses nothing but time. */
#include "engine/slurm.h"

#include "base/clock.h"
#include "base/strbuf.h"
#include "engine/launch.h"
#include "engine/layout.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WAITING_MAX = 10000 };

struct slurm *slurm_of_engine(const struct engine *engine)
{
    return (struct slurm *)(uintptr_t)engine;
}

void slurm_soon(struct slurm *slurm)
{
    event_active(slurm->now, EV_TIMEOUT, 0);
}

/* ---- starting and stopping ------------------------------------------------------------------- */

/* A share of an accelerator is so many shards of one. */
static int check_share(const struct slurm *slurm, const struct launch *launch, struct error *err)
{
    if (!launch_has_share(launch))
        return 0;
    if (launch->world_size > 1)
        return error_set(err, ERR_INVALID, "each rank of a gang on Slurm has whole accelerators");
    if (!slurm->about.known)
        return error_set(err, ERR_BUSY, "the nodes of the cluster are not known yet");
    if (slurm_nodes_shards(slurm, launch) == 0)
        return error_set(err, ERR_INVALID,
            "the cluster has no shares of accelerators%s%s: its nodes would need gres/shard",
            launch->accelerator_type ? " of type " : "",
            launch->accelerator_type ? launch->accelerator_type : "");
    return 0;
}

/* What Slurm, or this engine, has no way to do. */
static int check_launch(const struct slurm *slurm, const struct launch *launch, struct error *err)
{
    const struct launch_placement *first = &launch->placements[0];
    if (launch->serve.on && !launch->serve.port)
        return error_set(err, ERR_INVALID,
            "replicas on a pool of Slurm listen on a port: their Runtime says listen: port, and "
            "one of spec.slurm.ports of the pool has to be free");
    for (size_t i = 0; i < launch->placement_count; i++) {
        const struct launch_placement *place = &launch->placements[i];
        if (place->device_count % place->ranks ||
            place->device_count / place->ranks != first->device_count / first->ranks)
            return error_set(err, ERR_INVALID,
                "each rank of a job on Slurm has the same number of accelerators");
    }
    return check_share(slurm, launch, err);
}

int slurm_at_site(struct slurm *slurm, struct arena *arena, const struct launch *launch,
    struct launch *ret_launch, struct slurm_folder *ret_folder, struct error *err)
{
    struct launch there = *launch;
    struct launch_input *inputs = arena_alloc(arena, launch->input_count + 1, sizeof *inputs);
    const struct slurm_user *user;
    if (slurm_user_of(slurm, launch, &user, err) < 0)
        return -1;
    for (size_t i = 0; i < launch->input_count; i++) {
        SCOPED(mem_scope) char *path = stage_path(slurm->stage, launch->inputs[i].folder);
        inputs[i] = (struct launch_input){launch->inputs[i].name, arena_strdup(arena, path), false};
    }
    there.inputs = inputs;
    *ret_launch = there;
    *ret_folder = slurm->folder;
    if (user) {
        ret_folder->uid = user->uid;
        ret_folder->gid = user->gid;
    }
    return 0;
}

static int prepare(
    struct slurm *slurm, struct arena *arena, const struct launch *launch, struct error *err)
{
    struct launch there;
    struct slurm_folder theirs;
    if (slurm_at_site(slurm, arena, launch, &there, &theirs, err) < 0)
        return -1;
    return slurm_folder_prepare(&theirs, &there, err);
}

static void report_again(struct slurm_attempt *attempt)
{
    attempt->started_reported = attempt->ended_reported = false;
    attempt->site_end_reported = 0;
    slurm_soon(attempt->slurm);
}

static int slurm_start(struct engine *engine, const struct launch *launch, struct error *err)
{
    struct slurm *slurm = slurm_of_engine(engine);
    struct slurm_attempt *attempt = slurm_attempt_find(slurm, launch->attempt);
    if (attempt) {
        report_again(attempt);
        return 0;
    }
    if (slurm->attempts.count >= WAITING_MAX)
        return error_set(err, ERR_BUSY, "the pool has %d attempts already", WAITING_MAX);
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct launch kept = launch_without_optional(arena, launch);
    bool begun = slurm_folder_claimed_by(&slurm->folder, launch->attempt) >= 0;
    if (check_launch(slurm, &kept, err) < 0 || (!begun && prepare(slurm, arena, &kept, err) < 0))
        return -1;
    attempt = slurm_attempt_create(slurm, &kept);
    attempt->ledger.tried = begun; /* what is written down of it was lost */
    if (slurm_ledger_create(attempt, err) < 0) {
        slurm_attempt_remove(attempt);
        return -1;
    }
    slurm_store_add(slurm->store, launch->attempt);
    slurm_soon(slurm);
    return 0;
}

static int stop_at(struct slurm *slurm, uint64_t id, int64_t until_ms, struct error *err)
{
    struct slurm_attempt *attempt = slurm_attempt_find(slurm, id);
    if (!attempt)
        return error_set(err, ERR_NOT_FOUND, "the engine has no attempt %" PRIx64, id);
    struct slurm_ledger before = attempt->ledger, *ledger = &attempt->ledger;
    if (ledger->ended || (ledger->stop_asked && ledger->stop_until_ms <= until_ms))
        return 0;
    ledger->stop_asked = true;
    ledger->stop_until_ms = until_ms;
    if (slurm_ledger_save(attempt) < 0) {
        *ledger = before;
        return error_set(err, ERR_IO, "the stop cannot be written down");
    }
    slurm_soon(slurm);
    return 0;
}

static int slurm_stop(struct engine *engine, uint64_t id, uint64_t grace_ms, struct error *err)
{
    int64_t grace = grace_ms < INT64_MAX / 2 ? (int64_t)grace_ms : INT64_MAX / 2;
    return stop_at(slurm_of_engine(engine), id, clock_wall_ms() + grace, err);
}

static int slurm_kill(struct engine *engine, uint64_t id, struct error *err)
{
    return stop_at(slurm_of_engine(engine), id, clock_wall_ms(), err);
}

/* ---- looking --------------------------------------------------------------------------------- */

static enum engine_attempt_state state_of(const struct slurm_attempt *attempt)
{
    if (attempt->ledger.ended)
        return ENGINE_ATTEMPT_ENDED;
    if (attempt->ledger.stop_asked)
        return ENGINE_ATTEMPT_STOPPING;
    return attempt->started ? ENGINE_ATTEMPT_RUNNING : ENGINE_ATTEMPT_STARTING;
}

static struct attempt_view view_of(const struct slurm_attempt *attempt)
{
    struct attempt_view view = {.attempt = attempt->launch.attempt,
        .job = attempt->launch.job,
        .attempt_number = attempt->launch.attempt_number,
        .state = state_of(attempt)};
    if (attempt->ledger.ended)
        view.end = attempt->ledger.end;
    return view;
}

static bool slurm_view(const struct engine *engine, uint64_t id, struct attempt_view *ret_view)
{
    const struct slurm_attempt *attempt = slurm_attempt_find(slurm_of_engine(engine), id);
    if (attempt)
        *ret_view = view_of(attempt);
    return attempt != NULL;
}

static void slurm_observe(
    const struct engine *engine, struct attempt_view **ret_views, size_t *ret_count)
{
    const struct slurm *slurm = slurm_of_engine(engine);
    struct attempt_view *views = mem_alloc(slurm->attempts.count + 1, sizeof *views);
    for (size_t i = 0; i < slurm->attempts.count; i++)
        views[i] = view_of(slurm->attempts.items[i]);
    *ret_views = views;
    *ret_count = slurm->attempts.count;
}

static int slurm_where(
    const struct engine *engine, uint64_t id, struct engine_where *ret_where, struct error *err)
{
    const struct slurm *slurm = slurm_of_engine(engine);
    const struct slurm_attempt *attempt = slurm_attempt_find(slurm, id);
    if (!attempt)
        return error_set(err, ERR_NOT_FOUND, "the engine has no attempt %" PRIx64, id);
    *ret_where =
        (struct engine_where){.submission = attempt->ledger.ended    ? ENGINE_SUBMISSION_OVER
                                            : attempt->nodes[0]      ? ENGINE_SUBMISSION_PLACED
                                            : attempt->ledger.number ? ENGINE_SUBMISSION_QUEUED
                                                                     : ENGINE_SUBMISSION_ACCEPTED};
    if (attempt->ledger.number)
        snprintf(ret_where->id, sizeof ret_where->id, "%" PRIu64, attempt->ledger.number);
    snprintf(ret_where->nodes, sizeof ret_where->nodes, "%s", attempt->nodes);
    snprintf(ret_where->text, sizeof ret_where->text, "%s",
        !slurm->about.answers && !attempt->ledger.number ? slurm->about.text
        : attempt->serve_text[0]                         ? attempt->serve_text
                                                         : attempt->reason);
    return 0;
}

static uint32_t serve_port(const struct engine *engine, uint64_t attempt)
{
    return slurm_serve_port(slurm_of_engine(engine), attempt);
}

static char *serve_address(const struct engine *engine, uint64_t id)
{
    const struct slurm_attempt *attempt = slurm_attempt_find(slurm_of_engine(engine), id);
    struct strbuf text = {0};
    if (!attempt || !attempt->ledger.serve_address[0])
        return NULL;
    const char *address = attempt->ledger.serve_address;
    bool v6 = strchr(address, ':') != NULL;
    strbuf_printf(&text, "http://%s%s%s:%" PRIu32, v6 ? "[" : "", address, v6 ? "]" : "",
        attempt->launch.serve.port);
    return strbuf_steal(&text);
}

static void slurm_site(const struct engine *engine, struct engine_site *ret_site)
{
    *ret_site = slurm_of_engine(engine)->about;
}

static char *slurm_log_folder(const struct engine *engine, uint64_t job, uint32_t attempt_number)
{
    return layout_attempt(slurm_of_engine(engine)->data, job, attempt_number, "log");
}

/* ---- forgetting ------------------------------------------------------------------------------ */

/* Moved aside at once; the trash on the shared storage empties it bit by bit. */
static int remove_shared(struct slurm *slurm, char *path, struct error *err)
{
    SCOPED(mem_scope) char *owned = path;
    return trash_put(slurm->shared_trash, owned, err);
}

static int slurm_forget(struct engine *engine, uint64_t id, struct error *err)
{
    struct slurm *slurm = slurm_of_engine(engine);
    struct slurm_attempt *attempt = slurm_attempt_find(slurm, id);
    if (!attempt)
        return 0;
    if (!attempt->ledger.ended || attempt->asking)
        return error_set(err, ERR_CONFLICT, "attempt %" PRIu64 " has not ended", id);
    if (slurm_ledger_drop(attempt, err) < 0)
        return -1;
    slurm_attempt_remove(attempt);
    return remove_shared(slurm, slurm_folder_attempt(&slurm->folder, id, NULL), err);
}

static int slurm_purge(struct engine *engine, uint64_t job, struct error *err)
{
    struct slurm *slurm = slurm_of_engine(engine);
    for (size_t i = 0; i < slurm->attempts.count; i++) {
        const struct launch *launch = &slurm->attempts.items[i]->launch;
        if (launch->job == job || (launch->output_count && launch_output_job(launch) == job))
            return error_set(
                err, ERR_CONFLICT, "attempt %" PRIu64 " is not forgotten", launch->attempt);
    }
    SCOPED(mem_scope) char *here = layout_job(slurm->data, job, NULL);
    if (trash_put(slurm->trash, here, err) < 0)
        return -1;
    return remove_shared(slurm, slurm_folder_job(&slurm->folder, job, NULL), err);
}

/* ---- outputs --------------------------------------------------------------------------------- */

static int slurm_output_open(
    const struct engine *engine, uint64_t job, const char *name, struct error *err)
{
    if (!launch_is_artifact_name(name))
        return error_set(err, ERR_NOT_FOUND, "\"%.60s\" is not the name of an output", name);
    SCOPED(mem_scope)
    char *path = layout_output(slurm_of_engine(engine)->folder.root, job, name, NULL);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return error_set(err, ERR_NOT_FOUND, "the job has no output %s at the cluster", name);
    return fd < 0 ? error_set_errno(err, "cannot open the output %s", path) : fd;
}

static int slurm_outputs_drop(struct engine *engine, uint64_t job, struct error *err)
{
    struct slurm *slurm = slurm_of_engine(engine);
    for (size_t i = 0; i < slurm->attempts.count; i++) {
        const struct slurm_attempt *attempt = slurm->attempts.items[i];
        if (attempt->launch.output_count && launch_output_job(&attempt->launch) == job &&
            !attempt->ledger.ended)
            return error_set(err, ERR_CONFLICT, "attempt %" PRIu64 " may still write its outputs",
                attempt->launch.attempt);
    }
    return remove_shared(slurm, layout_output(slurm->folder.root, job, NULL, NULL), err);
}

const struct engine_operations slurm_operations = {
    .start = slurm_start,
    .stop = slurm_stop,
    .kill = slurm_kill,
    .observe = slurm_observe,
    .view = slurm_view,
    .forget = slurm_forget,
    .purge = slurm_purge,
    .exec = slurm_exec,
    .log_folder = slurm_log_folder,
    .output_open = slurm_output_open,
    .outputs_drop = slurm_outputs_drop,
    .destroy = slurm_destroy,
    .serve_address = serve_address,
    .serve_port = serve_port,
    .where = slurm_where,
    .site = slurm_site,
};
