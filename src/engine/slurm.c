/* The Slurm engine: attempts are jobs of a cluster, through slurmrestd. See README.md for the tour.
 *
 * Invariants:
 * - No call waits for the cluster: it is written down what is to be done (slurm_ledger.c), done
 * from the loop (slurm_attempt.c) and looked after (slurm_watch.c).
 * - What is of a job at the cluster is found by its mark and by what it leaves on the shared
 * storage; losing this process loses nothing but time. */
#include "engine/slurm.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "engine/engine_slurm.h"
#include "engine/launch.h"
#include "engine/layout.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_MS = 200, FILES_A_TURN = 64, WAITING_A_TURN = 32, WAITING_MAX = 10000 };

static struct slurm *of_engine(const struct engine *engine)
{
    return (struct slurm *)(uintptr_t)engine;
}

static void soon(struct slurm *slurm)
{
    event_active(slurm->now, EV_TIMEOUT, 0);
}

/* ---- starting and stopping ------------------------------------------------------------------- */

/* What Slurm, or this engine, has no way to do. */
static int check_launch(const struct launch *launch, struct error *err)
{
    const struct launch_placement *first = &launch->placements[0];
    if (launch->serve.on && !launch->serve.port)
        return error_set(err, ERR_INVALID,
            "replicas on a pool of Slurm listen on a port: their Runtime says listen: port, and "
            "one of spec.slurm.ports of the pool has to be free");
    if (first->device_count && first->device_milli && first->device_milli < 1000)
        return error_set(
            err, ERR_INVALID, "Slurm gives whole accelerators only, not shares of one");
    for (size_t i = 0; i < launch->placement_count; i++) {
        const struct launch_placement *place = &launch->placements[i];
        if (place->device_count % place->ranks ||
            place->device_count / place->ranks != first->device_count / first->ranks)
            return error_set(err, ERR_INVALID,
                "each rank of a job on Slurm has the same number of accelerators");
    }
    return 0;
}

/* What need not be there is not brought: the programs of this machine's runtimes, which an upgrade
 * replaces, where the stage takes a folder never to change. */
static struct launch without_optional(struct arena *arena, const struct launch *launch)
{
    struct launch kept = *launch;
    struct launch_input *inputs = arena_alloc(arena, launch->input_count + 1, sizeof *inputs);
    kept.input_count = 0;
    for (size_t i = 0; i < launch->input_count; i++) {
        if (!launch->inputs[i].optional)
            inputs[kept.input_count++] = launch->inputs[i];
    }
    kept.inputs = inputs;
    return kept;
}

/* The scripts name the inputs where they will be at the site. */
static int prepare(
    struct slurm *slurm, struct arena *arena, const struct launch *launch, struct error *err)
{
    struct launch there = *launch;
    struct launch_input *inputs = arena_alloc(arena, launch->input_count + 1, sizeof *inputs);
    for (size_t i = 0; i < launch->input_count; i++) {
        SCOPED(mem_scope) char *path = stage_path(slurm->stage, launch->inputs[i].folder);
        inputs[i] = (struct launch_input){launch->inputs[i].name, arena_strdup(arena, path), false};
    }
    there.inputs = inputs;
    struct slurm_folder theirs = slurm->folder;
    const struct slurm_user *user;
    if (slurm_user_of(slurm, launch, &user, err) < 0)
        return -1;
    if (user) {
        theirs.uid = user->uid;
        theirs.gid = user->gid;
    }
    return slurm_folder_prepare(&theirs, &there, err);
}

static void report_again(struct slurm_attempt *attempt)
{
    attempt->started_reported = attempt->ended_reported = false;
    attempt->site_end_reported = 0;
    soon(attempt->slurm);
}

static int slurm_start(struct engine *engine, const struct launch *launch, struct error *err)
{
    struct slurm *slurm = of_engine(engine);
    struct slurm_attempt *attempt = slurm_attempt_find(slurm, launch->attempt);
    if (attempt) {
        report_again(attempt);
        return 0;
    }
    if (slurm->attempts.count >= WAITING_MAX)
        return error_set(err, ERR_BUSY, "the pool has %d attempts already", WAITING_MAX);
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct launch kept = without_optional(arena, launch);
    bool begun = slurm_folder_claimed_by(&slurm->folder, launch->attempt) >= 0;
    if (check_launch(&kept, err) < 0 || (!begun && prepare(slurm, arena, &kept, err) < 0))
        return -1;
    attempt = slurm_attempt_create(slurm, &kept);
    attempt->ledger.tried = begun; /* what is written down of it was lost */
    if (slurm_ledger_create(attempt, err) < 0) {
        slurm_attempt_remove(attempt);
        return -1;
    }
    slurm_store_add(slurm->store, launch->attempt);
    soon(slurm);
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
    soon(slurm);
    return 0;
}

static int slurm_stop(struct engine *engine, uint64_t id, uint64_t grace_ms, struct error *err)
{
    int64_t grace = grace_ms < INT64_MAX / 2 ? (int64_t)grace_ms : INT64_MAX / 2;
    return stop_at(of_engine(engine), id, clock_wall_ms() + grace, err);
}

static int slurm_kill(struct engine *engine, uint64_t id, struct error *err)
{
    return stop_at(of_engine(engine), id, clock_wall_ms(), err);
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

static void slurm_observe(
    const struct engine *engine, struct attempt_view **ret_views, size_t *ret_count)
{
    const struct slurm *slurm = of_engine(engine);
    struct attempt_view *views = mem_alloc(slurm->attempts.count + 1, sizeof *views);
    for (size_t i = 0; i < slurm->attempts.count; i++) {
        const struct slurm_attempt *attempt = slurm->attempts.items[i];
        views[i] = (struct attempt_view){.attempt = attempt->launch.attempt,
            .job = attempt->launch.job,
            .attempt_number = attempt->launch.attempt_number,
            .state = state_of(attempt)};
        if (attempt->ledger.ended)
            views[i].end = attempt->ledger.end;
    }
    *ret_views = views;
    *ret_count = slurm->attempts.count;
}

static int slurm_where(
    const struct engine *engine, uint64_t id, struct engine_where *ret_where, struct error *err)
{
    const struct slurm *slurm = of_engine(engine);
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
    return slurm_serve_port(of_engine(engine), attempt);
}

static char *serve_address(const struct engine *engine, uint64_t id)
{
    const struct slurm_attempt *attempt = slurm_attempt_find(of_engine(engine), id);
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
    *ret_site = of_engine(engine)->about;
}

static char *slurm_log_folder(const struct engine *engine, uint64_t job, uint32_t attempt_number)
{
    return layout_attempt(of_engine(engine)->data, job, attempt_number, "log");
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
    struct slurm *slurm = of_engine(engine);
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
    struct slurm *slurm = of_engine(engine);
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
    SCOPED(mem_scope) char *path = layout_output(of_engine(engine)->folder.root, job, name, NULL);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return error_set(err, ERR_NOT_FOUND, "the job has no output %s at the cluster", name);
    return fd < 0 ? error_set_errno(err, "cannot open the output %s", path) : fd;
}

static int slurm_outputs_drop(struct engine *engine, uint64_t job, struct error *err)
{
    struct slurm *slurm = of_engine(engine);
    for (size_t i = 0; i < slurm->attempts.count; i++) {
        const struct slurm_attempt *attempt = slurm->attempts.items[i];
        if (attempt->launch.output_count && launch_output_job(&attempt->launch) == job &&
            !attempt->ledger.ended)
            return error_set(err, ERR_CONFLICT, "attempt %" PRIu64 " may still write its outputs",
                attempt->launch.attempt);
    }
    return remove_shared(slurm, layout_output(slurm->folder.root, job, NULL, NULL), err);
}

static int slurm_exec(
    struct engine *engine, uint64_t attempt, const struct exec_request *request, struct error *err)
{
    const struct slurm_attempt *known = slurm_attempt_find(of_engine(engine), attempt);
    (void)request;
    if (!known)
        return error_set(err, ERR_NOT_FOUND, "the engine has no attempt %" PRIx64, attempt);
    if (!known->started || known->ledger.ended)
        return error_set(err, ERR_CONFLICT, "the attempt does not run");
    return error_set(err, ERR_UNAVAILABLE,
        "slurmrestd runs no commands inside a job: on a machine of the cluster, as the job's user, "
        "srun --overlap --jobid=%" PRIu64 " --pty sh",
        known->ledger.number);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void on_turn(evutil_socket_t fd, short events, void *context)
{
    (void)fd, (void)events;
    slurm_watch_turn(context);
}

/* A bounded number of attempts at a time, in turn; those that run are not behind those that wait.
 */
static void look_in_turn(struct slurm *slurm, size_t *turn, bool active, size_t most)
{
    size_t count = slurm->attempts.count;
    for (size_t i = 0; i < count && slurm->attempts.count > 0 && most > 0; i++) {
        if (*turn >= slurm->attempts.count)
            *turn = 0;
        struct slurm_attempt *attempt = slurm->attempts.items[(*turn)++];
        if (attempt->ledger.ended || slurm_attempt_is_active(attempt) != active)
            continue;
        most--;
        slurm_attempt_look(attempt);
        slurm_attempt_drive(attempt);
    }
}

static void on_files(evutil_socket_t fd, short events, void *context)
{
    struct slurm *slurm = context;
    (void)fd, (void)events;
    look_in_turn(slurm, &slurm->turn, true, FILES_A_TURN);
    look_in_turn(slurm, &slurm->waiting_turn, false, WAITING_A_TURN);
    slurm_store_turn(slurm->store);
    slurm_watch_ask(slurm);
    slurm_account_turn(slurm);
    stage_tidy(slurm->stage);
}

static void slurm_destroy(struct engine *engine)
{
    struct slurm *slurm = of_engine(engine);
    slurm_store_destroy(slurm->store);
    rest_destroy(slurm->rest);
    slurm_serve_finish(slurm);
    for (size_t i = 0; i < slurm->attempts.count; i++)
        slurm_attempt_free(slurm->attempts.items[i]);
    struct event *events[] = {slurm->poll, slurm->files, slurm->now};
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        if (events[i])
            event_free(events[i]);
    }
    vec_free(&slurm->attempts);
    vec_free(&slurm->users);
    vec_free(&slurm->nodes);
    vec_free(&slurm->next_nodes);
    vec_free(&slurm->places);
    vec_free(&slurm->next_places);
    idmap_finish(&slurm->by_id);
    idmap_finish(&slurm->by_number);
    reply_finish(&slurm->reply);
    reply_finish(&slurm->node_reply);
    reply_finish(&slurm->account_reply);
    arena_destroy(slurm->node_arena);
    arena_destroy(slurm->next_node_arena);
    arena_destroy(slurm->arena);
    stage_destroy(slurm->stage);
    trash_destroy(slurm->trash);
    trash_destroy(slurm->shared_trash);
    slurm_folder_close(&slurm->folder);
    free(slurm->owner);
    free(slurm->data);
    free(slurm->pool);
    free(slurm);
}

static const struct engine_operations operations = {
    .start = slurm_start,
    .stop = slurm_stop,
    .kill = slurm_kill,
    .observe = slurm_observe,
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

/* ---- making ---------------------------------------------------------------------------------- */

static const struct engine_fact facts[] = {
    {"shared-storage", true, "attempts claim themselves there; an attempt begins at most once"},
    {"uid-per-team", false, "all jobs of the pool are one user's at the cluster"},
    {"memory-limit", false, "as the cluster enforces it (ConstrainRAMSpace)"},
    {"cpu-share", false, "as the cluster enforces it (ConstrainCores)"},
    {"disk-limit", false, "not looked at on the shared storage"},
    {"namespaces", false, "jobs see their nodes as every job of the cluster does"},
    {"network", false, "ranks reach whatever their nodes do"},
    {"secrets-in-memory", false,
        "files on the shared storage that only the job's user reads, until the attempt has ended"},
};

static void set_facts(struct slurm *slurm)
{
    static_assert(ARRAY_LEN(facts) <= ENGINE_FACTS_MAX, "there is room for all facts");
    memcpy(slurm->facts, facts, sizeof facts);
    slurm->about.facts = slurm->facts;
    slurm->about.fact_count = ARRAY_LEN(facts);
    for (size_t i = 0; i < ARRAY_LEN(facts) && slurm->site.users == SLURM_USERS_TEAM; i++) {
        if (strcmp(facts[i].name, "uid-per-team") == 0)
            slurm->facts[i] = (struct engine_fact){
                facts[i].name, true, "each team's jobs are its own user's at the cluster"};
    }
}

static void copy_site(struct slurm *slurm, const struct slurm_site *site)
{
    struct arena *arena = slurm->arena;
    slurm->site = *site;
    slurm->site.endpoint = arena_strdup(arena, site->endpoint);
    slurm->site.ca_file = arena_strdup(arena, site->ca_file);
    slurm->site.server_name = arena_strdup(arena, site->server_name);
    slurm->site.cluster = arena_strdup(arena, site->cluster);
    slurm->site.partition = arena_strdup(arena, site->partition);
    slurm->site.account = arena_strdup(arena, site->account);
    slurm->site.qos = arena_strdup(arena, site->qos);
    slurm->site.constraint = arena_strdup(arena, site->constraint);
    slurm->site.user = arena_strdup(arena, site->user);
    slurm->site.token_file = arena_strdup(arena, site->token_file);
    slurm->site.token_folder = arena_strdup(arena, site->token_folder);
    slurm->site.folder = arena_strdup(arena, site->folder);
}

static int find_user(
    const struct slurm_site *site, uid_t *ret_uid, gid_t *ret_gid, struct error *err)
{
    *ret_uid = geteuid();
    *ret_gid = getegid();
    if (!site->user) {
        if (*ret_uid != 0)
            return 0;
        return error_set(err, ERR_INVALID,
            "spec.slurm.user: a server that runs as root needs to be told whose jobs they are");
    }
    const struct passwd *user = getpwnam(site->user);
    if (!user)
        return error_set(
            err, ERR_INVALID, "spec.slurm.user: this machine has no user %.60s", site->user);
    if (*ret_uid != 0 && *ret_uid != user->pw_uid)
        return error_set(err, ERR_INVALID,
            "spec.slurm.user: a server that is not root submits jobs of its own user only");
    *ret_uid = user->pw_uid;
    *ret_gid = user->pw_gid;
    return 0;
}

static void on_staged(void *context)
{
    soon(context);
}

static int open_stage(struct slurm *slurm, struct error *err)
{
    SCOPED(mem_scope) char *root = slurm_user_inputs(slurm, err);
    if (!root)
        return -1;
    slurm->stage = stage_create(&(struct stage_options){.base = slurm->base,
                                    .root = root,
                                    .trash = slurm->shared_trash,
                                    .changed = on_staged,
                                    .context = slurm},
        err);
    return slurm->stage ? 0 : -1;
}

static int open_places(struct slurm *slurm, const struct engine_options *options, struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf trash = {0}, shared_trash = {0};
    uid_t uid;
    gid_t gid;
    if (slurm_user_check(&slurm->site, err) < 0 || find_user(&slurm->site, &uid, &gid, err) < 0 ||
        slurm_folder_open(&slurm->folder, slurm->site.folder, options->owner, uid, gid, err) < 0 ||
        file_make_dirs(slurm->data, 0700, err) < 0)
        return -1;
    strbuf_printf(&trash, "%s/trash", slurm->data);
    strbuf_printf(&shared_trash, "%s/trash-%s", slurm->folder.root, slurm->pool);
    slurm->trash = trash_create(slurm->base, trash.text, err);
    slurm->shared_trash = slurm->trash ? trash_create(slurm->base, shared_trash.text, err) : NULL;
    if (!slurm->shared_trash || open_stage(slurm, err) < 0)
        return -1;
    slurm->store = slurm_store_create(slurm);
    slurm->rest = rest_create(slurm->base, &slurm->site, err);
    return slurm->rest ? slurm_ledger_load(slurm, err) : -1;
}

static void set_up_events(struct slurm *slurm)
{
    struct timeval poll = {slurm->site.poll_ms / 1000, slurm->site.poll_ms % 1000 * 1000};
    struct timeval files = {0, FILES_MS * 1000};
    slurm->poll = event_new(slurm->base, -1, EV_PERSIST, on_turn, slurm);
    slurm->files = event_new(slurm->base, -1, EV_PERSIST, on_files, slurm);
    slurm->now = event_new(slurm->base, -1, 0, on_turn, slurm);
    assert(slurm->poll && slurm->files && slurm->now);
    event_add(slurm->poll, &poll);
    event_add(slurm->files, &files);
}

struct engine *engine_slurm_create(const struct engine_options *options, struct error *err)
{
    struct slurm *slurm = mem_alloc(1, sizeof *slurm);
    const struct pool *pool = options->pool;
    SCOPED(strbuf_finish) struct strbuf data = {0};
    strbuf_printf(&data, "%s/sites/%s", options->data, pool->metadata.name);
    slurm->engine.operations = &operations;
    slurm->base = options->base;
    slurm->report = options->report;
    slurm->context = options->context;
    slurm->arena = arena_create();
    slurm->owner = mem_strdup(options->owner);
    slurm->data = mem_strdup(data.text);
    slurm->pool = mem_strdup(pool->metadata.name);
    copy_site(slurm, &pool->slurm);
    slurm->about = (struct engine_site){.since_ms = clock_wall_ms(),
        .text = "not asked yet",
        .placed = slurm->site.place == SITE_PLACE_MUSTER};
    set_facts(slurm);
    set_up_events(slurm);
    if (open_places(slurm, options, err) < 0) {
        slurm_destroy(&slurm->engine);
        return NULL;
    }
    soon(slurm);
    return &slurm->engine;
}
