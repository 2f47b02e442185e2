/* Accepting objects: see submit.h. */
#include "server/submit.h"

#include "base/strbuf.h"
#include "core/core.h"
#include "engine/engine.h"
#include "engine/sockets.h"
#include "gateway/routes.h"
#include "server/artifacts.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/engines.h"
#include "server/jurisdiction.h"
#include "server/names.h"
#include "server/outputs.h"
#include "server/scaling.h"
#include "server/score.h"
#include "server/services.h"
#include "server/snapshots.h"
#include "server/status.h"
#include "server/ticker.h"
#include "server/uids.h"
#include "server/vault.h"
#include "spec/reference.h"
#include "store/store.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

enum { TEAM_SERVICES_MAX = 1000, TEAM_ARTIFACTS_MAX = 5000 };

const char *const submit_action_names[] = {"created", "changed", "unchanged", NULL};

/* ---- who may ------------------------------------------------------------------------------- */

/* Which uid jobs run as, and whether they get at the machine's network, is the machine's affair:
 * whoever administers only a part of the tree of teams cannot give it away. */
static int machine_allowed(const struct catalog *catalog, const struct identity *identity,
    const struct team *before, const struct team *team, struct error *err)
{
    bool same_uid = team->uid < 0 || (before && before->uid == team->uid);
    const struct team *parent = catalog_team(catalog, team->parent);
    bool had_network = (before && before->host_network) || (parent && parent->host_network);
    if (same_uid && (!team->host_network || had_network))
        return 0;
    if (identity_require(catalog, identity, NULL, ROLE_ADMIN, err) < 0)
        return error_prefix(err, same_uid ? "spec.hostNetwork" : "spec.uid");
    return 0;
}

/* Who administers a team may make, change and move the teams below it, not that team itself. */
static int team_allowed(const struct catalog *catalog, const struct identity *identity,
    const struct team *team, struct error *err)
{
    const struct team *before = catalog_team(catalog, team->metadata.name);
    bool placed = team->parent && catalog_team(catalog, team->parent);
    if (!placed || (before && !before->parent))
        return identity_require(catalog, identity, NULL, ROLE_ADMIN, err);
    if (before && identity_require(catalog, identity, before->parent, ROLE_ADMIN, err) < 0)
        return -1;
    if (identity_require(catalog, identity, team->parent, ROLE_ADMIN, err) < 0)
        return -1;
    return machine_allowed(catalog, identity, before, team, err);
}

static bool asks_nobody(const struct model *model)
{
    for (size_t i = 0; i < model->gates.count; i++) {
        if (model->gates.items[i].approvals == 0)
            return true;
    }
    return false;
}

/* A field of a manifest's spec is as it was. */
static bool is_kept(const struct doc *before, const struct doc *after, const char *field)
{
    const struct doc *old = doc_get(doc_get(before, "spec"), field);
    const struct doc *now = doc_get(doc_get(after, "spec"), field);
    return old && now ? doc_equal(old, now) : old == now;
}

/* Gates would hold nobody back whom they are meant for if those could change them: what a stage
 * asks for and who answers for the model is changed by approvers, and that nobody has to approve is
 * said by an administrator. */
static int model_allowed(const struct catalog *catalog, const struct identity *identity,
    const struct manifest *manifest, struct error *err)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct metadata *metadata = manifest_metadata(manifest);
    const struct catalog_entry *entry =
        catalog_find_in(catalog, KIND_MODEL, metadata->team, metadata->name);
    const struct doc *after = manifest_encode(arena, manifest);
    const struct doc *before = entry ? entry->doc : NULL;
    bool same_gates = is_kept(before, after, "gates");
    if (!same_gates && asks_nobody(&manifest->model) &&
        identity_require(catalog, identity, metadata->team, ROLE_ADMIN, err) < 0)
        return error_prefix(err, "spec.gates: approvals: 0");
    if (before && !(same_gates && is_kept(before, after, "owners")) &&
        identity_require(catalog, identity, metadata->team, ROLE_APPROVER, err) < 0)
        return error_prefix(err, "spec.%s", same_gates ? "owners" : "gates");
    return identity_require(catalog, identity, metadata->team, ROLE_MEMBER, err);
}

int submit_allowed(struct server *server, const struct identity *identity,
    const struct manifest *manifest, struct error *err)
{
    const struct catalog *catalog = server->catalog;
    if (manifest->kind == KIND_MODEL)
        return model_allowed(catalog, identity, manifest, err);
    if (kind_has_team(manifest->kind))
        return identity_require(
            catalog, identity, manifest_metadata(manifest)->team, ROLE_MEMBER, err);
    if (manifest->kind == KIND_TEAM)
        return team_allowed(catalog, identity, &manifest->team, err);
    return identity_require(catalog, identity, NULL, ROLE_ADMIN, err);
}

/* ---- checks -------------------------------------------------------------------------------- */

struct checker {
    struct server *server;
    struct arena *arena;
    const char *path;
    struct field_errors *errors;
};

static void __attribute__((format(printf, 3, 4)))
report(struct checker *checker, const char *field, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct strbuf text = {0};
    strbuf_vprintf(&text, format, args);
    va_end(args);
    const char *path =
        checker->path[0] ? arena_printf(checker->arena, "%s.%s", checker->path, field) : field;
    field_errors_add(checker->errors, checker->arena, path, 0, "%s", strbuf_text(&text));
    strbuf_finish(&text);
}

/* The size of the volume the jobs' files are on. Not what is free of it, which changes all the
 * time: the same manifest is to mean the same pool. */
static int64_t volume_bytes(const struct server *server)
{
    struct statvfs volume;
    if (statvfs(server->config.data_dir, &volume) < 0)
        return (int64_t)engine_node(server->engine)->disk_bytes;
    return (int64_t)volume.f_blocks * (int64_t)volume.f_frsize;
}

/* Which devices share a socket, where the machine says so of all. */
static void fill_sockets(struct arena *arena, const struct engine_node *machine, struct node *node)
{
    char lists[SOCKET_LISTS_MAX][SOCKET_LIST_TEXT];
    size_t count = sockets_of_devices(machine->devices, machine->device_count, lists);
    if (node->sockets.count || !count)
        return;
    node->sockets.items = arena_alloc(arena, count, sizeof *node->sockets.items);
    node->sockets.count = count;
    for (size_t i = 0; i < count; i++)
        node->sockets.items[i] = arena_strdup(arena, lists[i]);
}

/* What a local node does not say itself is what the machine has, shared out over the nodes. */
static void fill_local_node(
    const struct server *server, struct arena *arena, struct node *node, size_t nodes)
{
    const struct engine_node *machine = engine_node(server->engine);
    int64_t shares = (int64_t)nodes * (node->count > 0 ? node->count : 1);
    struct resources *capacity = &node->capacity;
    if (capacity->cpu_milli == 0)
        capacity->cpu_milli = (int64_t)machine->cpu_milli / shares;
    if (capacity->memory_bytes == 0)
        capacity->memory_bytes = (int64_t)machine->memory_bytes / shares;
    if (capacity->disk_bytes == 0)
        capacity->disk_bytes = volume_bytes(server) / shares;
    if (!capacity->accelerator && machine->device_count > 0 && shares == 1) {
        capacity->accelerator = machine->devices[0].type;
        capacity->accelerator_milli = (int64_t)machine->device_count * 1000;
        fill_sockets(arena, machine, node);
    }
}

static bool has_prices(const struct prices *prices)
{
    return prices->cpu_hour_micro > 0 || prices->memory_gib_hour_micro > 0 ||
           prices->disk_gib_hour_micro > 0 || prices->nodes.count > 0 ||
           prices->accelerators.count > 0;
}

/* Costs are added up over pools, which takes one currency. */
static void check_currency(struct checker *checker, const struct pool *pool)
{
    const struct catalog *catalog = checker->server->catalog;
    for (size_t i = 0; i < catalog_count(catalog, KIND_POOL); i++) {
        const struct pool *other = &catalog_at(catalog, KIND_POOL, i)->manifest->pool;
        if (has_prices(&other->prices) && has_prices(&pool->prices) &&
            strcmp(other->metadata.name, pool->metadata.name) != 0 &&
            strcmp(other->prices.currency, pool->prices.currency) != 0)
            report(checker, "spec.prices.currency",
                "expected %s, as the pool %s has: costs are added up over all pools",
                other->prices.currency, other->metadata.name);
    }
}

static void check_pool(struct checker *checker, struct pool *pool)
{
    check_currency(checker, pool);
    struct error err;
    if (pool->engine != ENGINE_LOCAL) {
        if (engines_check(checker->server, pool, &err) < 0)
            report(checker, "spec.engine", "%s", err.text);
        return;
    }
    for (size_t i = 0; i < pool->nodes.count; i++)
        fill_local_node(checker->server, checker->arena, &pool->nodes.items[i], pool->nodes.count);
}

/* The owner is whoever submits, unless the job says otherwise. */
static void set_owner(struct arena *arena, struct job *job, const char *user)
{
    struct label_list *labels = &job->metadata.labels;
    if (label_find(labels, "owner"))
        return;
    struct label *items = arena_alloc(arena, labels->count + 1, sizeof *items);
    if (labels->count)
        memcpy(items, labels->items, labels->count * sizeof *items);
    items[labels->count] = (struct label){"owner", arena_strdup(arena, user)};
    labels->items = items;
    labels->count++;
}

static void check_secrets(
    struct checker *checker, const char *team, const struct secret_ref *secrets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char key[160];
        SCOPED(mem_scope) char *json = NULL;
        struct error why;
        vault_key(team, secrets[i].name, key, sizeof key);
        if (reader_document(checker->server->reader, vault_collection, key, &json, NULL, &why) < 0)
            report(checker, arena_printf(checker->arena, "spec.secrets[%zu].name", i),
                "the team %s has no secret \"%s\"; store it first (muster secret set)", team,
                secrets[i].name);
    }
}

/* The first label that the object's team or one above it demands and it has not, or NULL; and
 * which team that is. */
static const char *demanded_label(
    const struct catalog *catalog, const struct metadata *metadata, const char **ret_team)
{
    const struct team *team = catalog_team(catalog, metadata->team);
    for (int depth = 0; team && depth < 64; depth++) {
        const char *missing = missing_label(metadata, team);
        *ret_team = team->metadata.name;
        if (missing)
            return missing;
        team = team->parent ? catalog_team(catalog, team->parent) : NULL;
    }
    return NULL;
}

/* All of them, so that nobody has to try again for each. */
static void check_labels(struct checker *checker, const struct metadata *metadata)
{
    const struct catalog *catalog = checker->server->catalog;
    const struct team *team = catalog_team(catalog, metadata->team);
    for (int depth = 0; team && depth < 64; depth++) {
        for (size_t i = 0; i < team->required_labels.count; i++) {
            const char *label = team->required_labels.items[i];
            const char *value = label_find(&metadata->labels, label);
            if (!value || !value[0])
                report(checker, arena_printf(checker->arena, "metadata.labels.%s", label),
                    "the team %s requires this label, so that no spend is unattributed",
                    team->metadata.name);
        }
        team = team->parent ? catalog_team(catalog, team->parent) : NULL;
    }
}

static void check_job(struct checker *checker, struct job *job, const struct identity *identity)
{
    const struct team *team = catalog_team(checker->server->catalog, job->metadata.team);
    struct error err;
    set_owner(checker->arena, job, identity->user);
    if (artifacts_pin_inputs(
            checker->server, identity, checker->arena, job->metadata.team, job, &err) < 0) {
        /* The text begins with the field. */
        size_t length = strcspn(err.text, ":");
        const char *rest = err.text + length + strspn(err.text + length, ": ");
        report(checker, arena_strndup(checker->arena, err.text, length), "%s", rest);
    }
    if (score_complete(checker->server, checker->arena, job, &err) < 0)
        report(checker, "spec.score", "%s", err.text);
    check_labels(checker, &job->metadata);
    check_secrets(checker, job->metadata.team, job->secrets.items, job->secrets.count);
    if (job->network == NETWORK_HOST && team && !team->host_network)
        report(checker, "spec.network",
            "the team %s may not use the host's network; an administrator can allow it "
            "(spec.hostNetwork of the Team)",
            job->metadata.team);
    if (job->workdir && !snapshots_exist(checker->server->config.data_dir, job->workdir))
        report(checker, "spec.workdir", "no such work directory was uploaded");
    if (job->gang.size > ENGINE_RANKS_MAX)
        report(checker, "spec.gang.size", "expected at most %d ranks on one machine, got %lld",
            ENGINE_RANKS_MAX, (long long)job->gang.size);
}

/* Whose models a team's service may serve: those that the one who applies it may see. That there is
 * such a model is asked when it is applied, for it may come with the same request. */
static void check_service(
    struct checker *checker, const struct service *service, const struct identity *identity)
{
    struct reference model;
    check_secrets(checker, service->metadata.team, service->secrets.items, service->secrets.count);
    if (reference_parse(service->model, &model, NULL) == 0 && model.team[0] &&
        identity_role(checker->server->catalog, identity, model.team) < ROLE_VIEWER)
        report(checker, "spec.model", "there is no model %s/%s", model.team, model.name);
}

/* What cannot be changed later stays as it is. */
static void check_update(struct checker *checker, const struct manifest *manifest)
{
    char key[CATALOG_KEY];
    const struct catalog_entry *before = catalog_find(checker->server->catalog, manifest->kind,
        catalog_key(manifest->kind, manifest_metadata(manifest), key));
    struct field_errors *errors = arena_alloc(checker->arena, 1, sizeof *errors);
    if (!before || manifest_check_update(checker->arena, before->manifest, manifest, errors) == 0)
        return;
    for (size_t i = 0; i < errors->count; i++)
        report(checker, errors->items[i].path, "%s", errors->items[i].text);
}

/* One rule decides of a service. */
static void check_hpa(struct checker *checker, const struct hpa *hpa)
{
    const struct metadata *metadata = &hpa->metadata;
    const struct server *server = checker->server;
    const struct catalog_entry *service =
        catalog_find_in(server->catalog, KIND_SERVICE, metadata->team, hpa->target);
    const struct hpa *other = scaling_hpa(server, metadata->team, hpa->target);
    if (service && service->manifest->service.autoscale.max > 0)
        report(checker, "spec.scaleTargetRef.name",
            "the service %s has spec.autoscale; take that out of it first", hpa->target);
    if (other && strcmp(other->metadata.name, metadata->name) != 0)
        report(checker, "spec.scaleTargetRef.name", "%s scales the service %s already",
            other->metadata.name, hpa->target);
}

static void check_scaled(struct checker *checker, const struct service *service)
{
    const struct metadata *metadata = &service->metadata;
    const struct hpa *hpa = scaling_hpa(checker->server, metadata->team, metadata->name);
    if (hpa && service->autoscale.max > 0)
        report(checker, "spec.autoscale",
            "the HorizontalPodAutoscaler %s scales this service; delete it first",
            hpa->metadata.name);
}

int submit_check(struct server *server, const struct identity *identity, struct arena *arena,
    struct manifest *manifest, const char *path, struct field_errors *errors)
{
    struct checker checker = {server, arena, path, errors};
    size_t before = errors->count;
    if (manifest->kind != KIND_JOB)
        check_update(&checker, manifest);
    if (manifest->kind == KIND_POOL)
        check_pool(&checker, &manifest->pool);
    else if (manifest->kind == KIND_JOB)
        check_job(&checker, &manifest->job, identity);
    else if (kind_has_team(manifest->kind))
        check_labels(&checker, manifest_metadata(manifest));
    if (manifest->kind == KIND_HPA)
        check_hpa(&checker, &manifest->hpa);
    if (manifest->kind == KIND_SERVICE)
        check_scaled(&checker, &manifest->service);
    if (manifest->kind == KIND_SERVICE)
        check_service(&checker, &manifest->service, identity);
    return errors->count == before ? 0 : -1;
}

/* ---- planning ------------------------------------------------------------------------------ */

static int plan_job(struct server *server, struct arena *arena, const struct manifest *manifest,
    struct submit_plan *ret_plan, struct error *err)
{
    char reference[300], team[128];
    const struct metadata *metadata = &manifest->job.metadata;
    *ret_plan = (struct submit_plan){.action = SUBMIT_CREATED};
    snprintf(reference, sizeof reference, "%s:%s", metadata->team, metadata->name);
    uint64_t id;
    struct job_row row;
    int rc = manifest->job.array.count ? names_find_array(server, reference, &id, team, NULL)
                                       : names_find_job(server, reference, &id, team, NULL);
    if (rc < 0 || reader_row(server->reader, ROW_JOB, id, &row, NULL) < 0)
        return 0;
    const struct doc *before = status_job_manifest(server, arena, id);
    const struct doc *after = manifest_encode(arena, manifest);
    struct doc_changes changes = doc_diff(arena, before, after);
    if (changes.count == 0) {
        *ret_plan = (struct submit_plan){.action = SUBMIT_UNCHANGED, .job = id};
        return 0;
    }
    if (job_state_ended(row.state))
        return 0;
    return error_set(err, ERR_CONFLICT,
        "the job %s/%s is live and differs in %s; jobs do not change: cancel it first, or use "
        "another name",
        metadata->team, metadata->name, changes.items[0].path);
}

int submit_plan(struct server *server, struct arena *arena, const struct manifest *manifest,
    struct submit_plan *ret_plan, struct error *err)
{
    if (manifest->kind == KIND_JOB)
        return plan_job(server, arena, manifest, ret_plan, err);
    char key[CATALOG_KEY];
    const struct catalog_entry *before = catalog_find(server->catalog, manifest->kind,
        catalog_key(manifest->kind, manifest_metadata(manifest), key));
    struct submit_plan plan = {.action = SUBMIT_CREATED};
    if (before) {
        /* A copy, since applying replaces what is before, and the answer comes after that. */
        const struct doc *old = doc_copy(arena, before->doc);
        plan.changes = doc_diff(arena, old, manifest_encode(arena, manifest));
        plan.action = plan.changes.count ? SUBMIT_CHANGED : SUBMIT_UNCHANGED;
    }
    *ret_plan = plan;
    return 0;
}

/* ---- doing --------------------------------------------------------------------------------- */

static void put_document(struct tick *tick, const char *collection, const char *key,
    const char *scope, const struct doc *doc)
{
    struct strbuf json = {0};
    doc_write_json(doc, 0, &json);
    store_txn_put_document(
        tick_txn(tick), collection, key, scope, strbuf_text(&json), tick_now(tick));
    strbuf_finish(&json);
}

/* A pool of a site that names no nodes has those of the site, as far as they are known. */
static int put_pool(struct tick *tick, const struct pool *pool, struct error *err)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct pool filled = *pool;
    uint32_t before = jurisdiction_of_pool(tick, pool->metadata.name);
    engines_fill_nodes(tick_server(tick), arena, &filled);
    if (core_pool_put(tick_core(tick), &filled, err) < 0)
        return -1;
    jurisdiction_pool_changed(tick, pool->metadata.name, before);
    return 0;
}

static int put_in_core(struct tick *tick, const struct manifest *manifest, struct error *err)
{
    const char *name = manifest_metadata(manifest)->name;
    switch (manifest->kind) {
    case KIND_POOL: return put_pool(tick, &manifest->pool, err);
    case KIND_TEAM:
        if (uids_check(tick_server(tick)->uids, name, manifest->team.uid, err) < 0 ||
            core_team_put(tick_core(tick), &manifest->team, err) < 0)
            return -1;
        uids_assign(tick_server(tick)->uids, tick, name, manifest->team.uid);
        return 0;
    case KIND_SERVICE: return services_put(tick, &manifest->service, err);
    case KIND_JOB: return error_set(err, ERR_INTERNAL, "jobs are not kept in the catalogue");
    default: {
        const char *kind = kind_singular(manifest->kind);
        tick_audit(tick, arena_printf(tick_arena(tick), "%s-put", kind), kind, name,
            kind_has_team(manifest->kind) ? manifest_metadata(manifest)->team : "", NULL);
        return 0;
    }
    }
}

/* Asked again when it is done: the team may have come or changed since the request was checked. */
static int check_owner(
    const struct catalog *catalog, const struct metadata *metadata, struct error *err)
{
    const char *team;
    if (!catalog_team(catalog, metadata->team))
        return error_set(err, ERR_NOT_FOUND, "there is no team %s", metadata->team);
    const char *missing = demanded_label(catalog, metadata, &team);
    if (missing)
        return error_set(
            err, ERR_INVALID, "metadata.labels.%s: the team %s requires this label", missing, team);
    return 0;
}

/* How much may be kept for a team is bounded, as each service and each model costs every tick and
 * every list something, and any member may apply them. */
static int check_count(const struct catalog *catalog, enum kind kind,
    const struct metadata *metadata, struct error *err)
{
    size_t count = catalog_count(catalog, kind), own = 0, length = strlen(metadata->team);
    size_t most = kind == KIND_SERVICE || kind == KIND_HPA ? TEAM_SERVICES_MAX : TEAM_ARTIFACTS_MAX;
    for (size_t i = 0; i < count; i++) {
        const char *name = catalog_at(catalog, kind, i)->name;
        own += strncmp(name, metadata->team, length) == 0 && name[length] == '/';
    }
    if (own >= most)
        return error_set(err, ERR_CONFLICT, "the team %s has %zu %s already, and may have no more",
            metadata->team, own, kind_plural(kind));
    /* Beyond it the gateway would not be told of some. */
    if (kind == KIND_SERVICE && count >= ROUTE_SERVICES_MAX)
        return error_set(
            err, ERR_CONFLICT, "there are %zu services already, and no more can be", count);
    return 0;
}

static int apply_kept(struct tick *tick, const struct manifest *manifest, struct error *err)
{
    struct doc *doc = manifest_encode(tick_arena(tick), manifest);
    const struct metadata *metadata = manifest_metadata(manifest);
    char key[CATALOG_KEY];
    catalog_key(manifest->kind, metadata, key);
    const struct catalog *catalog = tick_server(tick)->catalog;
    if (kind_has_team(manifest->kind) &&
        (check_owner(catalog, metadata, err) < 0 ||
            (!catalog_find(catalog, manifest->kind, key) &&
                check_count(catalog, manifest->kind, metadata, err) < 0)))
        return -1;
    if (put_in_core(tick, manifest, err) < 0)
        return -1;
    if (catalog_put(tick_server(tick)->catalog, manifest->kind, doc, 0, err) < 0) {
        tick_spoil(tick);
        return -1;
    }
    put_document(tick, catalog_collection(manifest->kind), key,
        kind_has_team(manifest->kind) ? metadata->team : "", doc);
    services_touch(tick_server(tick)->services);
    if (manifest->kind == KIND_RUNTIME)
        services_follow_runtime(tick, metadata->name);
    return 0;
}

/* Another team's job is not told apart from one that never was. */
static int no_dependency(size_t i, const char *job, struct error *err)
{
    return error_set(
        err, ERR_NOT_FOUND, "spec.dependsOn[%zu]: there is no job %.80s in the team", i, job);
}

/* The core knows live jobs only. A dependency on a job that has ended is settled here: it holds
 * already, or never will. Ids become names, which are unique among the live jobs of a team. */
static int settle_dependencies(struct tick *tick, struct job *job, struct error *err)
{
    struct server *server = tick_server(tick);
    struct dependency *kept =
        arena_alloc(tick_arena(tick), job->depends_on.count + 1, sizeof *kept);
    size_t count = 0;
    for (size_t i = 0; i < job->depends_on.count; i++) {
        struct dependency item = job->depends_on.items[i];
        char reference[300], team[128];
        uint64_t id = names_parse_job_id(item.job);
        const struct job_row *live = core_job(server->core, id);
        if (live && live->team != core_team_find(server->core, job->metadata.team))
            return no_dependency(i, item.job, err);
        if (live)
            item.job = arena_strdup(tick_arena(tick), core_symbol(server->core, live->name));
        if (live || core_job_find(server->core, job->metadata.team, item.job)) {
            kept[count++] = item;
            continue;
        }
        struct job_row row;
        snprintf(reference, sizeof reference, "%s:%s", job->metadata.team, item.job);
        if (names_find_job(server, id ? item.job : reference, &id, team, NULL) < 0 ||
            strcmp(team, job->metadata.team) != 0 ||
            reader_row(server->reader, ROW_JOB, id, &row, NULL) < 0)
            return no_dependency(i, item.job, err);
        /* It ended in this very tick: how is not stored yet. */
        if (!job_state_ended(row.state))
            return error_set(err, ERR_BUSY,
                "spec.dependsOn[%zu]: the job %s is ending; try again in a moment", i, item.job);
        if (item.condition == DEPENDENCY_SUCCEEDED && row.state != JOB_SUCCEEDED)
            return error_set(err, ERR_CONFLICT,
                "spec.dependsOn[%zu]: the job %s has ended without success", i, item.job);
    }
    job->depends_on.items = kept;
    job->depends_on.count = count;
    return 0;
}

static int apply_job(struct tick *tick, const struct manifest *manifest,
    const struct doc *reproduces, uint64_t *ret_job, struct error *err)
{
    struct job job = manifest->job;
    uint64_t id;
    char key[DOCUMENT_KEY_TEXT];
    const struct catalog *catalog = tick_server(tick)->catalog;
    /* The core says itself that there is no such team. */
    if (catalog_team(catalog, job.metadata.team) && check_owner(catalog, &job.metadata, err) < 0)
        return -1;
    if (settle_dependencies(tick, &job, err) < 0 ||
        artifacts_check_outputs(tick_server(tick), &job, err) < 0 ||
        jurisdiction_check_job(tick, &job, err) < 0 ||
        core_job_submit(tick_core(tick), &job, &id, err) < 0)
        return -1;
    names_document_key(id, NULL, key);
    put_document(tick, "job-spec", key, "", manifest_encode(tick_arena(tick), manifest));
    outputs_expect(tick, id, &job, reproduces);
    if (ret_job)
        *ret_job = id;
    return 0;
}

int submit_apply(
    struct tick *tick, const struct manifest *manifest, uint64_t *ret_job, struct error *err)
{
    if (manifest->kind == KIND_JOB)
        return apply_job(tick, manifest, NULL, ret_job, err);
    return apply_kept(tick, manifest, err);
}

int submit_apply_reproduction(struct tick *tick, const struct manifest *manifest,
    const struct doc *reproduces, uint64_t *ret_job, struct error *err)
{
    return apply_job(tick, manifest, reproduces, ret_job, err);
}
