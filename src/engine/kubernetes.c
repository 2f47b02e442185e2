/* The Kubernetes engine: how it is made, and its operations. */
#include "engine/kubernetes_node.h"
#include "engine/kubernetes_objects.h"

#include "base/strbuf.h"
#include "engine/launch.h"
#include "engine/trash.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAITING_MAX = 100000 };

static struct kubernetes *of(struct engine *engine)
{
    return (struct kubernetes *)engine;
}

static const struct kubernetes *of_const(const struct engine *engine)
{
    return (const struct kubernetes *)engine;
}

struct kube_attempt *kubernetes_find(const struct kubernetes *engine, uint64_t attempt)
{
    return attempt ? idmap_get(&engine->by_id, attempt) : NULL;
}

const char *kubernetes_level_label(const struct kubernetes *engine, const char *level)
{
    for (size_t i = 0; i < engine->level_count; i++) {
        const struct topology_level *one = &engine->levels[i];
        if (strcmp(one->name, level) == 0)
            return one->label ? one->label : one->name;
    }
    return NULL;
}

static struct kube_attempt *find(const struct engine *engine, uint64_t id, struct error *err)
{
    struct kube_attempt *attempt = kubernetes_find(of_const(engine), id);
    if (attempt && !attempt->ledger.forgotten)
        return attempt;
    error_set(err, ERR_NOT_FOUND, "the engine has no attempt %" PRIx64, id);
    return NULL;
}

char *kubernetes_path(const struct kubernetes *engine, const char *plural, const char *name)
{
    struct strbuf path = {0};
    strbuf_printf(&path, "/api/v1/namespaces/%s/%s%s%s", engine->name_space, plural,
        name ? "/" : "", name ? name : "");
    return strbuf_steal(&path);
}

static void on_swept(void *ctx, const struct kube_answer *answer)
{
    (void)ctx, (void)answer; /* what is still there is seen again */
}

void kubernetes_sweep(struct kubernetes *engine, const char *plural, const char *name)
{
    SCOPED(mem_scope) char *path = kubernetes_path(engine, plural, name);
    const struct kube_request request = {.method = "DELETE", .target = path};
    (void)kube_client_call(engine->client, &request, on_swept, engine);
}

/* ---- operations ------------------------------------------------------------------------------ */

static struct kube_ledger ledger_of(const struct launch *launch)
{
    return (struct kube_ledger){.attempt = launch->attempt,
        .job = launch->job,
        .number = launch->attempt_number,
        .ranks = launch->world_size,
        .grace_ms = launch->grace_ms ? launch->grace_ms : 10000,
        .log_file_bytes = launch->log_file_bytes ? launch->log_file_bytes : 16 << 20,
        .log_files = launch->log_files ? launch->log_files : 4,
        .serve_port = launch->serve.on ? launch->serve.port : 0};
}

/* Before the cluster shows its pods, so that others are not put on top. */
static void take_room(struct kube_attempt *attempt, const struct launch *launch)
{
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        const char *node = kube_place_node(launch, i);
        if (attempt->engine->site.place == SITE_PLACE_MUSTER && node)
            kube_room_take(&attempt->ranks[i], node);
    }
}

static int kubernetes_start(struct engine *base, const struct launch *asked, struct error *err)
{
    struct kubernetes *engine = of(base);
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct launch kept = launch_without_optional(arena, asked), *launch = &kept;
    struct kube_attempt *known = kubernetes_find(engine, launch->attempt);
    struct error full = {0};
    if (known && known->ledger.forgotten) {
        known->wanted = true;
        return error_set(err, ERR_BUSY, "what the cluster has of the attempt is being taken away");
    }
    if (known) {
        known->tell_started = known->ledger.started_ms != 0 && !known->ledger.ended;
        known->tell_ended = known->ledger.ended;
        kube_attempt_tell(known);
        return 0;
    }
    if (kube_objects_check(engine, launch, err) < 0)
        return -1;
    enum kube_room room = kube_room_of(engine, launch, &full);
    if (room == KUBE_ROOM_NONE)
        return error_set(err, full.code, "%s", full.text);
    if (engine->attempts.count >= WAITING_MAX)
        return error_set(err, ERR_BUSY, "the cluster has %d attempts of this pool", WAITING_MAX);
    const struct kube_ledger ledger = ledger_of(launch);
    struct kube_attempt *attempt = kube_attempt_create(engine, &ledger);
    if (kube_objects_build(attempt, launch, err) < 0 || kube_ledger_note(attempt, err) < 0) {
        kube_attempt_remove(attempt);
        return -1;
    }
    kube_log_begin(attempt);
    if (room == KUBE_ROOM_ELSEWHERE)
        kube_verdict_decide(attempt, ENGINE_END_PREEMPTED, 0, -1, full.text);
    else
        take_room(attempt, launch);
    kube_attempt_due(attempt);
    return 0;
}

static int stop(struct engine *base, uint64_t id, int64_t grace_ms, bool kill, struct error *err)
{
    struct kube_attempt *attempt = find(base, id, err);
    if (!attempt)
        return -1;
    struct kube_ledger before = attempt->ledger;
    if (attempt->ledger.ended)
        return 0;
    if (!attempt->ledger.stop_asked || grace_ms < attempt->ledger.stop_grace_ms)
        attempt->ledger.stop_grace_ms = grace_ms;
    attempt->ledger.stop_asked = true;
    attempt->ledger.kill_asked |= kill;
    if (kube_ledger_note(attempt, err) < 0) {
        attempt->ledger = before;
        return -1;
    }
    kube_attempt_due(attempt);
    return 0;
}

static int kubernetes_stop(struct engine *base, uint64_t id, uint64_t grace_ms, struct error *err)
{
    return stop(base, id, grace_ms < INT64_MAX ? (int64_t)grace_ms : INT64_MAX, false, err);
}

static int kubernetes_kill(struct engine *base, uint64_t id, struct error *err)
{
    return stop(base, id, 0, true, err);
}

static enum engine_attempt_state state_of(const struct kube_attempt *attempt)
{
    const struct kube_ledger *ledger = &attempt->ledger;
    return ledger->ended        ? ENGINE_ATTEMPT_ENDED
           : ledger->stop_asked ? ENGINE_ATTEMPT_STOPPING
           : ledger->started_ms ? ENGINE_ATTEMPT_RUNNING
                                : ENGINE_ATTEMPT_STARTING;
}

static struct attempt_view view_of(const struct kube_attempt *attempt)
{
    return (struct attempt_view){.attempt = attempt->ledger.attempt,
        .job = attempt->ledger.job,
        .attempt_number = attempt->ledger.number,
        .state = state_of(attempt),
        .end = attempt->ledger.end};
}

static bool kubernetes_view(const struct engine *base, uint64_t id, struct attempt_view *ret_view)
{
    const struct kube_attempt *attempt = find(base, id, NULL);
    if (attempt)
        *ret_view = view_of(attempt);
    return attempt != NULL;
}

static void kubernetes_observe(
    const struct engine *base, struct attempt_view **ret_views, size_t *ret_count)
{
    const struct kubernetes *engine = of_const(base);
    struct attempt_view *views = mem_alloc(engine->attempts.count + 1, sizeof *views);
    size_t count = 0;
    for (size_t i = 0; i < engine->attempts.count; i++) {
        const struct kube_attempt *attempt = engine->attempts.items[i];
        if (!attempt->ledger.forgotten)
            views[count++] = view_of(attempt);
    }
    *ret_views = views;
    *ret_count = count;
}

/* Its record stays until the cluster has nothing of it any more. */
static int kubernetes_forget(struct engine *base, uint64_t id, struct error *err)
{
    struct kube_attempt *attempt = kubernetes_find(of(base), id);
    if (!attempt || attempt->ledger.forgotten)
        return 0;
    if (!attempt->ledger.ended)
        return error_set(err, ERR_CONFLICT, "the attempt has not ended");
    attempt->ledger.forgotten = true;
    if (kube_ledger_note(attempt, err) < 0) {
        attempt->ledger.forgotten = false;
        return -1;
    }
    kube_attempt_due(attempt);
    return 0;
}

static int kubernetes_exec(
    struct engine *base, uint64_t attempt, const struct exec_request *request, struct error *err)
{
    (void)base, (void)attempt, (void)request;
    return error_set(err, ERR_UNAVAILABLE,
        "a command in a pod of a cluster is not for this engine: use kubectl exec");
}

static char *kubernetes_serve_address(const struct engine *base, uint64_t id)
{
    const struct kube_attempt *attempt = find(base, id, NULL);
    struct strbuf address = {0};
    if (!attempt || !attempt->ledger.serve_port)
        return NULL;
    const struct kube_pod *pod = &attempt->ranks[0].pod;
    if (!pod->exists || !pod->ready || !pod->address[0])
        return NULL;
    bool v6 = strchr(pod->address, ':') != NULL;
    strbuf_printf(&address, "http://%s%s%s:%u", v6 ? "[" : "", pod->address, v6 ? "]" : "",
        attempt->ledger.serve_port);
    return strbuf_steal(&address);
}

static int kubernetes_where(
    const struct engine *base, uint64_t id, struct engine_where *ret_where, struct error *err)
{
    const struct kube_attempt *attempt = find(base, id, err);
    struct strbuf nodes = {0};
    uint32_t there = 0, placed = 0;
    if (!attempt)
        return -1;
    *ret_where = (struct engine_where){0};
    for (uint32_t i = 0; i < attempt->ledger.ranks; i++) {
        const struct kube_pod *pod = &attempt->ranks[i].pod;
        there += pod->created;
        placed += pod->node[0] != '\0';
        if (pod->node[0] && !strstr(strbuf_text(&nodes), pod->node))
            strbuf_printf(&nodes, "%s%s", nodes.length ? "," : "", pod->node);
    }
    ret_where->submission = attempt->ledger.ended             ? ENGINE_SUBMISSION_OVER
                            : placed == attempt->ledger.ranks ? ENGINE_SUBMISSION_PLACED
                            : there == attempt->ledger.ranks  ? ENGINE_SUBMISSION_QUEUED
                                                              : ENGINE_SUBMISSION_ACCEPTED;
    if (there > 0)
        snprintf(ret_where->id, sizeof ret_where->id, "%s", attempt->name);
    snprintf(ret_where->nodes, sizeof ret_where->nodes, "%s", strbuf_text(&nodes));
    snprintf(ret_where->text, sizeof ret_where->text, "%s", attempt->why);
    strbuf_finish(&nodes);
    return 0;
}

static void kubernetes_site(const struct engine *base, struct engine_site *ret_site)
{
    struct kubernetes *engine = of((struct engine *)base);
    kube_site_show(engine);
    *ret_site = engine->about;
}

static void kubernetes_destroy(struct engine *base)
{
    struct kubernetes *engine = of(base);
    while (engine->attempts.count > 0)
        kube_attempt_remove(engine->attempts.items[engine->attempts.count - 1]);
    if (engine->client)
        kube_site_finish(engine);
    kube_inputs_destroy(engine->inputs);
    kube_usage_destroy(engine->usage);
    kube_client_destroy(engine->client);
    trash_destroy(engine->trash);
    event_del(&engine->turn);
    event_del(&engine->retry);
    vec_free(&engine->attempts);
    vec_free(&engine->due);
    vec_free(&engine->telling);
    idmap_finish(&engine->by_id);
    strmap_finish(&engine->teams);
    strmap_finish(&engine->asking);
    free(engine->data);
    free(engine->owner);
    free(engine->pool);
    free(engine->volume);
    arena_destroy(engine->arena);
    free(engine);
}

static const struct engine_operations operations = {
    .start = kubernetes_start,
    .stop = kubernetes_stop,
    .kill = kubernetes_kill,
    .observe = kubernetes_observe,
    .view = kubernetes_view,
    .forget = kubernetes_forget,
    .purge = kubernetes_purge,
    .exec = kubernetes_exec,
    .log_folder = kubernetes_log_folder,
    .output_open = kubernetes_output_open,
    .outputs_drop = kubernetes_outputs_drop,
    .destroy = kubernetes_destroy,
    .serve_address = kubernetes_serve_address,
    .where = kubernetes_where,
    .site = kubernetes_site,
};

/* ---- making it ------------------------------------------------------------------------------- */

static int reach(struct kubernetes *engine, struct error *err)
{
    const struct kubernetes_site *site = &engine->site;
    struct kube_config config = {0};
    int rc = site->kubeconfig ? kube_config_load(site->kubeconfig, site->context, &config, err)
                              : kube_config_service_account(NULL, &config, err);
    if (rc < 0)
        return -1;
    engine->client = kube_client_create(engine->base, &config, site->timeout_ms, err);
    if (!engine->client)
        return -1;
    engine->name_space =
        site->name_space ? site->name_space : kube_client_namespace(engine->client);
    return 0;
}

static void copy_site(struct kubernetes *engine, const struct kubernetes_site *from)
{
    struct kubernetes_site *to = &engine->site;
    const char **texts[] = {&to->kubeconfig, &to->context, &to->name_space, &to->image,
        &to->pull_secret, &to->claim, &to->folder};
    *to = *from;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        *texts[i] = arena_strdup(engine->arena, *texts[i]);
}

static void copy_levels(struct kubernetes *engine, const struct pool *pool)
{
    engine->level_count = pool->levels.count;
    engine->levels = arena_alloc(engine->arena, pool->levels.count + 1, sizeof *engine->levels);
    for (size_t i = 0; i < pool->levels.count; i++)
        engine->levels[i] =
            (struct topology_level){.name = arena_strdup(engine->arena, pool->levels.items[i].name),
                .label = arena_strdup(engine->arena, pool->levels.items[i].label)};
}

struct engine *engine_kubernetes_create(const struct engine_options *options, struct error *err)
{
    struct kubernetes *engine = mem_alloc(1, sizeof *engine);
    struct strbuf path = {0};
    strbuf_printf(&path, "%s/sites/%s", options->data, options->pool->metadata.name);
    engine->engine.operations = &operations;
    engine->base = options->base;
    engine->report = options->report;
    engine->context = options->context;
    engine->data = strbuf_steal(&path);
    engine->owner = mem_strdup(options->owner);
    engine->pool = mem_strdup(options->pool->metadata.name);
    engine->arena = arena_create();
    engine->listed = options->pool->nodes.count > 0;
    engine->spot = options->pool->spot;
    copy_site(engine, &options->pool->kubernetes);
    copy_levels(engine, options->pool);
    if (engine->site.folder)
        engine->volume = realpath(engine->site.folder, NULL);
    kubernetes_turn_init(engine);
    engine->usage = kube_usage_create(engine);
    engine->inputs = kube_inputs_create(engine);
    if (reach(engine, err) < 0 || kubernetes_make_folders(engine, err) < 0 ||
        kube_ledger_load(engine, err) < 0) {
        error_prefix(err, "the pool %s", engine->pool);
        kubernetes_destroy(&engine->engine);
        return NULL;
    }
    kube_site_start(engine);
    kubernetes_turn(engine);
    return &engine->engine;
}
