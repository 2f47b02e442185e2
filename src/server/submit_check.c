/* What an object lacks to be applied, each fault at its field, and what the server adds to it: see
 * submit.h. */
#include "server/submit.h"

#include "base/strbuf.h"
#include "engine/engine.h"
#include "engine/sockets.h"
#include "server/artifacts.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/engines.h"
#include "server/scaling.h"
#include "server/score.h"
#include "server/snapshots.h"
#include "server/vault.h"
#include "spec/reference.h"
#include "store/store.h"

#include <stdarg.h>
#include <string.h>
#include <sys/statvfs.h>

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
