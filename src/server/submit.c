/* Applying objects: what it would do, and doing it within a tick. See submit.h; who may stands in
 * submit_allowed.c, what is checked before in submit_check.c. */
#include "server/submit.h"

#include "base/strbuf.h"
#include "core/core.h"
#include "gateway/routes.h"
#include "server/artifacts.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/engines.h"
#include "server/jurisdiction.h"
#include "server/names.h"
#include "server/outputs.h"
#include "server/services.h"
#include "server/status.h"
#include "server/ticker.h"
#include "server/uids.h"
#include "store/store.h"

#include <stdio.h>
#include <string.h>

enum { TEAM_SERVICES_MAX = 1000, TEAM_ARTIFACTS_MAX = 5000 };

const char *const submit_action_names[] = {"created", "changed", "unchanged", NULL};

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
