/* Making and ending the engine of a pool of Slurm, and its turns on the loop. */
#include "engine/slurm.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "engine/engine_slurm.h"

#include <assert.h>
#include <event2/event.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILES_MS = 200, FILES_A_TURN = 64, WAITING_A_TURN = 32 };

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
        slurm_look(attempt);
        slurm_attempt_drive(attempt);
    }
}

static void on_files(evutil_socket_t fd, short events, void *context)
{
    struct slurm *slurm = context;
    (void)fd, (void)events;
    look_in_turn(slurm, &slurm->turn, true, FILES_A_TURN);
    look_in_turn(slurm, &slurm->waiting_turn, false, WAITING_A_TURN);
    slurm_exec_turn(slurm);
    slurm_store_turn(slurm->store);
    slurm_watch_ask(slurm);
    slurm_account_turn(slurm);
    stage_tidy(slurm->stage);
}

void slurm_destroy(struct engine *engine)
{
    struct slurm *slurm = slurm_of_engine(engine);
    slurm_store_destroy(slurm->store);
    rest_destroy(slurm->rest);
    slurm_serve_finish(slurm);
    slurm_user_finish(slurm);
    slurm_exec_finish(slurm);
    for (size_t i = 0; i < slurm->attempts.count; i++)
        slurm_attempt_free(slurm->attempts.items[i]);
    struct event *events[] = {slurm->poll, slurm->files, slurm->now};
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        if (events[i])
            event_free(events[i]);
    }
    vec_free(&slurm->attempts);
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

/* ---- making -------------------------------------------------------------------------------------
 */

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
    slurm_soon(context);
}

static int open_stage(struct slurm *slurm, int64_t keep_ms, struct error *err)
{
    SCOPED(mem_scope) char *root = slurm_user_inputs(slurm, err);
    if (!root)
        return -1;
    slurm->stage = stage_create(&(struct stage_options){.base = slurm->base,
                                    .root = root,
                                    .trash = slurm->shared_trash,
                                    .keep_ms = keep_ms,
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
    if (!slurm->shared_trash || open_stage(slurm, options->pool->keep_inputs_ms, err) < 0)
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
    slurm->engine.operations = &slurm_operations;
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
    slurm_soon(slurm);
    return &slurm->engine;
}
