/* Lineage: see lineage.h. Upwards a version says itself what it was made of; downwards the keys of
 * "artifact-use" say who used it. */
#include "server/lineage.h"

#include "base/map.h"
#include "base/vec.h"
#include "core/core.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/identity.h"
#include "server/names.h"
#include "server/outputs.h"
#include "server/promotions.h"
#include "spec/spec.h"
#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct step {
    struct version version;
    enum lineage_direction direction;
};

struct walk {
    struct server *server;
    const struct identity *identity;
    struct arena *arena;
    struct doc *nodes, *edges;
    struct strmap known; /* ids of nodes, and of edges */
    struct strmap seen;  /* versions with the direction they were walked in */
    VEC(struct step) steps;
    struct strmap served; /* ids of versions: struct serving, what services serve them now */
    bool served_known;
    int hidden;
    bool truncated;
};

/* A service that serves a version, and the next of the same version. */
struct serving {
    const struct service *service;
    struct serving *next;
};

static bool may_see(const struct walk *walk, const char *team)
{
    return identity_role(walk->server->catalog, walk->identity, team) >= ROLE_VIEWER;
}

/* ---- nodes and edges ------------------------------------------------------------------------ */

/* A new node of that id, or NULL: it is there, or there is no more room. */
static struct doc *new_node(struct walk *walk, const char *id, const char *kind)
{
    if (strmap_get(&walk->known, id))
        return NULL;
    if (walk->nodes->count >= LINEAGE_NODES_MAX) {
        walk->truncated = true;
        return NULL;
    }
    struct doc *node = doc_append(walk->nodes, doc_map(walk->arena));
    strmap_put(&walk->known, id, node);
    doc_set_string(walk->arena, node, "id", id);
    doc_set_string(walk->arena, node, "kind", kind);
    return node;
}

static void add_edge(struct walk *walk, const char *from, const char *to, const char *what)
{
    const char *id = arena_printf(walk->arena, "%s > %s (%s)", from, to, what);
    if (strmap_get(&walk->known, id) || !strmap_get(&walk->known, from) ||
        !strmap_get(&walk->known, to))
        return;
    struct doc *edge = doc_append(walk->edges, doc_map(walk->arena));
    strmap_put(&walk->known, id, edge);
    doc_set_string(walk->arena, edge, "from", from);
    doc_set_string(walk->arena, edge, "to", to);
    doc_set_string(walk->arena, edge, "what", what);
}

static const char *add_hidden(struct walk *walk)
{
    const char *id = arena_printf(walk->arena, "hidden/%d", ++walk->hidden);
    new_node(walk, id, "hidden");
    return id;
}

static void copy_field(struct walk *walk, struct doc *node, const struct doc *from, const char *key)
{
    const struct doc *value = from ? doc_get(from, key) : NULL;
    if (value)
        doc_set(walk->arena, node, key, doc_copy(walk->arena, value));
}

static const char *version_id(struct walk *walk, const struct version *version)
{
    char id[VERSION_TEXT];
    return arena_strdup(walk->arena,
        versions_text(version->kind, version->team, version->name, version->version, id));
}

static void add_version(struct walk *walk, const struct version *version)
{
    static const char *const fields[] = {"digest", "bytes", "files", "createdAt", "createdBy",
        "stage", "jurisdiction", "consent", "evaluations"};
    struct doc *node = new_node(walk, version_id(walk, version), kind_singular(version->kind));
    if (!node)
        return;
    const struct doc *source = doc_get(version->doc, "source");
    doc_set_string(walk->arena, node, "team", version->team);
    doc_set_string(walk->arena, node, "name", version->name);
    doc_set_int(walk->arena, node, "version", version->version);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        copy_field(walk, node, version->doc, fields[i]);
    copy_field(walk, node, source, "metrics");
    const char *kind = doc_get_string(source, "kind");
    if (kind && strcmp(kind, "upload") == 0)
        doc_set_string(walk->arena, node, "uploadedFrom", doc_get_string(source, "from"));
}

/* A version that a stored record names and that was deleted since. */
static const char *add_deleted(
    struct walk *walk, enum kind kind, const char *team, const char *name, int64_t number)
{
    char text[VERSION_TEXT];
    const char *id = arena_strdup(walk->arena, versions_text(kind, team, name, number, text));
    struct doc *node = new_node(walk, id, kind_singular(kind));
    if (node) {
        doc_set_string(walk->arena, node, "team", team);
        doc_set_string(walk->arena, node, "name", name);
        doc_set_int(walk->arena, node, "version", number);
        doc_set_bool(walk->arena, node, "deleted", true);
    }
    return id;
}

static void walk_later(
    struct walk *walk, const struct version *version, enum lineage_direction direction)
{
    const char *key = arena_printf(walk->arena, "%d %s", (int)direction, version_id(walk, version));
    struct step step = {*version, direction};
    if (strmap_get(&walk->seen, key) || walk->truncated)
        return;
    strmap_put(&walk->seen, key, walk);
    vec_push(&walk->steps, step);
}

/* The node of a version that is named somewhere: its id. */
static const char *visit_version(struct walk *walk, enum kind kind, const char *team,
    const char *name, int64_t number, enum lineage_direction direction, struct version *ret)
{
    struct version version;
    if (!may_see(walk, team))
        return add_hidden(walk);
    if (versions_get(walk->server, walk->arena, kind, team, name, number, &version, NULL) < 0)
        return add_deleted(walk, kind, team, name, number);
    add_version(walk, &version);
    walk_later(walk, &version, direction);
    if (ret)
        *ret = version;
    return version_id(walk, &version);
}

/* ---- jobs ----------------------------------------------------------------------------------- */

/* The job that made a version. What is said of it comes from the version, since jobs are forgotten
 * after a while; its state from the store, while it is there. */
static const char *add_source_job(struct walk *walk, const struct version *version)
{
    const struct doc *source = doc_get(version->doc, "source");
    const char *job = doc_get_string(source, "job");
    if (!job)
        return NULL;
    const char *id = arena_printf(walk->arena, "job/%s", job);
    struct doc *node = new_node(walk, id, "job");
    if (!node)
        return id;
    doc_set_string(walk->arena, node, "team", version->team);
    doc_set_string(walk->arena, node, "name", doc_get_string(source, "jobName"));
    copy_field(walk, node, source, "class");
    copy_field(walk, node, source, "startedAt");
    copy_field(walk, node, source, "endedAt");
    doc_set_string(walk->arena, node, "state", "succeeded");
    return id;
}

/* A job that reads or read a version, by its number. */
static const char *add_reading_job(struct walk *walk, uint64_t job)
{
    struct job_row row;
    char text[JOB_ID_TEXT];
    /* Replicas come and go; their service stands for them. */
    if (reader_row(walk->server->reader, ROW_JOB, job, &row, NULL) < 0 || row.service)
        return NULL;
    const char *team = names_team(walk->server, row.team);
    if (!may_see(walk, team))
        return add_hidden(walk);
    const char *id = arena_printf(walk->arena, "job/%s", names_job_id(job, text));
    struct doc *node = new_node(walk, id, "job");
    if (node) {
        doc_set_string(walk->arena, node, "team", team);
        doc_set_string(walk->arena, node, "name", reader_symbol(walk->server->reader, row.name));
        doc_set_string(walk->arena, node, "state", job_state_names[row.state]);
    }
    return id;
}

/* ---- up ------------------------------------------------------------------------------------- */

static void walk_inputs(struct walk *walk, const struct version *version, const char *job)
{
    const struct doc *inputs = doc_get(doc_get(version->doc, "source"), "inputs");
    for (const struct doc *input = inputs ? inputs->first : NULL; input; input = input->next) {
        const char *kind = doc_get_string(input, "kind");
        const char *team = doc_get_string(input, "team");
        const char *name = doc_get_string(input, "artifact");
        if (!kind || !team || !name)
            continue;
        const char *id = visit_version(walk, strcmp(kind, "model") == 0 ? KIND_MODEL : KIND_DATASET,
            team, name, doc_get_int(input, "version", 0), LINEAGE_UP, NULL);
        add_edge(walk, id, job, doc_get_string(input, "name") ? doc_get_string(input, "name") : "");
    }
}

static void walk_up(struct walk *walk, const struct version *version)
{
    const char *id = version_id(walk, version);
    const char *job = add_source_job(walk, version);
    if (job) {
        const char *output = doc_get_string(doc_get(version->doc, "source"), "output");
        add_edge(walk, job, id, output ? output : "output");
        walk_inputs(walk, version, job);
    }
    const struct doc *parent = doc_get(version->doc, "parent");
    const char *team = doc_get_string(parent, "team"), *name = doc_get_string(parent, "name");
    if (!team || !name)
        return;
    const char *relation = doc_get_string(parent, "relation");
    const char *above = visit_version(
        walk, KIND_MODEL, team, name, doc_get_int(parent, "version", 0), LINEAGE_UP, NULL);
    add_edge(walk, above, id, relation ? relation : "parent");
}

/* ---- down ----------------------------------------------------------------------------------- */

struct use_context {
    struct walk *walk;
    const struct version *version;
};

/* "model/team/name/00000004" */
static bool parse_use(struct walk *walk, const char *user, enum kind *ret_kind,
    const char **ret_team, const char **ret_name, int64_t *ret_number)
{
    char *copy = arena_strdup(walk->arena, user);
    char *parts[4];
    size_t count = 0;
    for (char *save, *part = strtok_r(copy, "/", &save); part && count < 4;
         part = strtok_r(NULL, "/", &save))
        parts[count++] = part;
    if (count != 4)
        return false;
    *ret_kind = strcmp(parts[0], "model") == 0 ? KIND_MODEL : KIND_DATASET;
    *ret_team = parts[1];
    *ret_name = parts[2];
    *ret_number = strtoll(parts[3], NULL, 10);
    return true;
}

/* What was made of a version stands behind the job that made it, or is its variant. */
static void add_made(struct walk *walk, const struct version *from, const struct version *made)
{
    const char *id = version_id(walk, from), *to = version_id(walk, made);
    const struct doc *parent = doc_get(made->doc, "parent");
    const char *relation = doc_get_string(parent, "relation");
    const char *parent_name = doc_get_string(parent, "name");
    const char *parent_team = doc_get_string(parent, "team");
    const char *job = add_source_job(walk, made);
    const struct doc *inputs = doc_get(doc_get(made->doc, "source"), "inputs");
    for (const struct doc *input = inputs ? inputs->first : NULL; job && input;
         input = input->next) {
        const char *team = doc_get_string(input, "team");
        const char *name = doc_get_string(input, "artifact");
        const char *kind = doc_get_string(input, "kind");
        if (team && name && kind && strcmp(team, from->team) == 0 &&
            strcmp(name, from->name) == 0 && strcmp(kind, kind_singular(from->kind)) == 0 &&
            doc_get_int(input, "version", 0) == from->version)
            add_edge(
                walk, id, job, doc_get_string(input, "name") ? doc_get_string(input, "name") : "");
    }
    if (job) {
        const char *output = doc_get_string(doc_get(made->doc, "source"), "output");
        add_edge(walk, job, to, output ? output : "output");
    }
    if (from->kind == KIND_MODEL && parent_name && parent_team &&
        strcmp(parent_name, from->name) == 0 && strcmp(parent_team, from->team) == 0 &&
        doc_get_int(parent, "version", 0) == from->version)
        add_edge(walk, id, to, relation ? relation : "parent");
}

static int take_use(void *context, const char *user, struct error *err)
{
    struct use_context *use = context;
    struct walk *walk = use->walk;
    const char *team, *name;
    enum kind kind;
    int64_t number;
    struct version made = {0};
    (void)err;
    if (walk->truncated) /* what follows would be read for nothing */
        return 0;
    if (strncmp(user, "job/", 4) == 0) {
        const char *job = add_reading_job(walk, strtoull(user + 4, NULL, 10));
        if (job)
            add_edge(walk, version_id(walk, use->version), job, "reads");
        return 0;
    }
    if (!parse_use(walk, user, &kind, &team, &name, &number))
        return 0;
    const char *id = visit_version(walk, kind, team, name, number, LINEAGE_DOWN, &made);
    if (made.doc)
        add_made(walk, use->version, &made);
    else
        add_edge(walk, version_id(walk, use->version), id, "used by");
    return 0;
}

/* The version that a service serves now. */
static bool served_version(struct server *server, struct arena *arena,
    const struct service *service, const struct reference *reference, struct version *ret)
{
    return versions_resolve(
               server, arena, KIND_MODEL, service->metadata.team, reference, ret, NULL) == 0;
}

/* Whether a service serves this very version now. Names are compared first: to resolve a reference
 * is to read the store, and there may be thousands of services of other models. */
static bool serves(struct server *server, struct arena *arena, const struct service *service,
    const struct version *version)
{
    struct reference reference;
    struct version served;
    if (!service->model || reference_parse(service->model, &reference, NULL) < 0)
        return false;
    const char *team = reference.team[0] ? reference.team : service->metadata.team;
    if (strcmp(reference.name, version->name) != 0 || strcmp(team, version->team) != 0)
        return false;
    if (reference.which == REFERENCE_VERSION)
        return reference.version == version->version;
    return served_version(server, arena, service, &reference, &served) &&
           served.version == version->version;
}

/* Each service is resolved once for a whole walk, not once for each version that it comes to. */
static void find_served(struct walk *walk)
{
    const struct catalog *catalog = walk->server->catalog;
    for (size_t i = 0; !walk->served_known && i < catalog_count(catalog, KIND_SERVICE); i++) {
        const struct service *service = &catalog_at(catalog, KIND_SERVICE, i)->manifest->service;
        struct reference reference;
        struct version served;
        if (!service->model || reference_parse(service->model, &reference, NULL) < 0 ||
            !served_version(walk->server, walk->arena, service, &reference, &served))
            continue;
        const char *id = version_id(walk, &served);
        struct serving *serving = arena_alloc(walk->arena, 1, sizeof *serving);
        *serving = (struct serving){service, strmap_get(&walk->served, id)};
        strmap_put(&walk->served, id, serving);
    }
    walk->served_known = true;
}

static void walk_services(struct walk *walk, const struct version *version)
{
    const char *from = version_id(walk, version);
    find_served(walk);
    for (const struct serving *serving = strmap_get(&walk->served, from);
         serving && !walk->truncated; serving = serving->next) {
        const struct service *service = serving->service;
        const char *team = service->metadata.team;
        if (!may_see(walk, team)) {
            add_edge(walk, from, add_hidden(walk), "serves");
            continue;
        }
        const char *id = arena_printf(walk->arena, "service/%s/%s", team, service->metadata.name);
        struct doc *node = new_node(walk, id, "service");
        if (node) {
            doc_set_string(walk->arena, node, "team", team);
            doc_set_string(walk->arena, node, "name", service->metadata.name);
        }
        add_edge(walk, from, id, "serves");
    }
}

static int walk_down(struct walk *walk, const struct version *version, struct error *err)
{
    struct use_context context = {walk, version};
    if (version->kind == KIND_MODEL)
        walk_services(walk, version);
    return versions_uses(walk->server, version, take_use, &context, err);
}

int lineage_doc(struct server *server, const struct identity *identity, struct arena *arena,
    const struct version *root, enum lineage_direction direction, struct doc **ret,
    struct error *err)
{
    struct walk walk = {.server = server,
        .identity = identity,
        .arena = arena,
        .nodes = doc_list(arena),
        .edges = doc_list(arena)};
    int rc = 0;
    add_version(&walk, root);
    if (direction & LINEAGE_UP)
        walk_later(&walk, root, LINEAGE_UP);
    if (direction & LINEAGE_DOWN)
        walk_later(&walk, root, LINEAGE_DOWN);
    for (size_t i = 0; rc == 0 && !walk.truncated && i < walk.steps.count; i++) {
        const struct step step = walk.steps.items[i];
        if (step.direction == LINEAGE_UP)
            walk_up(&walk, &step.version);
        else
            rc = walk_down(&walk, &step.version, err);
    }
    struct doc *doc = doc_map(arena);
    doc_set_string(arena, doc, "root", version_id(&walk, root));
    doc_set(arena, doc, "nodes", walk.nodes);
    doc_set(arena, doc, "edges", walk.edges);
    if (walk.truncated)
        doc_set_bool(arena, doc, "truncated", true);
    vec_free(&walk.steps);
    strmap_finish(&walk.known);
    strmap_finish(&walk.seen);
    strmap_finish(&walk.served);
    if (rc == 0)
        *ret = doc;
    return rc;
}

/* ---- what refers to a version --------------------------------------------------------------- */

struct live_search {
    struct server *server;
    struct arena *arena;
    const char *found;
};

static bool is_live(struct server *server, uint64_t job)
{
    struct row_condition conditions[] = {
        {"array", ROW_EQUAL, (int64_t)job}, {"live", ROW_EQUAL, 1}};
    struct row_query query = {
        .kind = ROW_JOB, .conditions = conditions, .condition_count = ARRAY_LEN(conditions)};
    int64_t live = 0;
    if (core_job(server->core, job) || outputs_pending(server, job))
        return true;
    /* The first element of an array may have ended before the others. */
    return reader_count(server->reader, &query, &live, NULL) < 0 || live > 0;
}

static int take_live(void *context, const char *user, struct error *err)
{
    struct live_search *search = context;
    uint64_t job = strncmp(user, "job/", 4) == 0 ? strtoull(user + 4, NULL, 10) : 0;
    char id[JOB_ID_TEXT];
    (void)err;
    if (job && !search->found && is_live(search->server, job))
        search->found =
            arena_printf(search->arena, "the live job %s reads it", names_job_id(job, id));
    return 0;
}

/* The id of an open promotion of a version, or NULL. */
static const char *find_promotion(
    struct server *server, struct arena *arena, const struct version *version)
{
    struct doc *open;
    struct error err;
    if (version->kind != KIND_MODEL)
        return NULL;
    if (promotions_open_of(server, arena, version->team, version->name, &open, &err) < 0)
        return "that cannot be read";
    for (const struct doc *one = open->first; one; one = one->next) {
        if (doc_get_int(one, "version", 0) == version->version)
            return doc_get_string(one, "id");
    }
    return NULL;
}

const char *lineage_referrer(
    struct server *server, struct arena *arena, const struct version *version)
{
    struct live_search search = {server, arena, NULL};
    struct error err;
    const struct catalog *catalog = server->catalog;
    if (version->kind == KIND_MODEL &&
        (version->stage == STAGE_STAGING || version->stage == STAGE_PRODUCTION))
        return arena_printf(arena, "it is in the stage %s", versions_stage_name(version->stage));
    for (size_t i = 0; version->kind == KIND_MODEL && i < catalog_count(catalog, KIND_SERVICE);
         i++) {
        const struct service *service = &catalog_at(catalog, KIND_SERVICE, i)->manifest->service;
        if (serves(server, arena, service, version))
            return arena_printf(arena, "the service %s/%s serves it", service->metadata.team,
                service->metadata.name);
    }
    const char *promotion = find_promotion(server, arena, version);
    if (promotion)
        return arena_printf(arena, "the promotion %s of it is open", promotion);
    if (versions_uses(server, version, take_live, &search, &err) < 0)
        return arena_printf(arena, "what uses it cannot be read: %s", err.text);
    return search.found;
}

/* ---- variants ------------------------------------------------------------------------------- */

struct variant_search {
    struct walk walk;
    const struct version *parent;
    struct doc *list;
};

static int take_variant(void *context, const char *user, struct error *err)
{
    struct variant_search *search = context;
    struct walk *walk = &search->walk;
    const char *team, *name;
    enum kind kind;
    int64_t number;
    struct version made;
    (void)err;
    if (!parse_use(walk, user, &kind, &team, &name, &number) || kind != KIND_MODEL ||
        !may_see(walk, team) ||
        versions_get(walk->server, walk->arena, kind, team, name, number, &made, NULL) < 0)
        return 0;
    const struct doc *parent = doc_get(made.doc, "parent");
    const char *parent_team = doc_get_string(parent, "team");
    const char *parent_name = doc_get_string(parent, "name");
    if (parent_team && parent_name && strcmp(parent_team, search->parent->team) == 0 &&
        strcmp(parent_name, search->parent->name) == 0 &&
        doc_get_int(parent, "version", 0) == search->parent->version)
        doc_append(search->list, doc_copy(walk->arena, made.doc));
    return 0;
}

int lineage_variants(struct server *server, const struct identity *identity, struct arena *arena,
    const struct version *version, struct doc **ret, struct error *err)
{
    struct variant_search search = {
        .walk = {.server = server, .identity = identity, .arena = arena},
        .parent = version,
        .list = doc_list(arena)};
    const struct doc *parent = doc_get(version->doc, "parent");
    const char *team = doc_get_string(parent, "team"), *name = doc_get_string(parent, "name");
    struct version above;
    if (team && name && may_see(&search.walk, team) &&
        versions_get(server, arena, KIND_MODEL, team, name, doc_get_int(parent, "version", 0),
            &above, NULL) == 0)
        doc_append(search.list, doc_copy(arena, above.doc));
    doc_append(search.list, doc_copy(arena, version->doc));
    if (versions_uses(server, version, take_variant, &search, err) < 0)
        return -1;
    *ret = search.list;
    return 0;
}
