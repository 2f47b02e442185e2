/* Who may see what, and what was asked for: see cost_scope.h. */
#include "server/cost_scope.h"

#include "base/memory.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/identity.h"
#include "server/names.h"

#include <string.h>

enum { TEAM_DEPTH_MAX = 64 };

static const char yes[] = "yes", no[] = "no";

int cost_scope_init(struct cost_scope *scope, struct server *server, struct arena *arena,
    const struct identity *identity, const struct cost_query *query, struct error *err)
{
    *scope = (struct cost_scope){.server = server,
        .arena = arena,
        .identity = identity,
        .query = query,
        .narrowed = query->service || query->model};
    if (!query->model)
        return 0;
    if (reference_parse(query->model, &scope->model, err) < 0)
        return error_prefix(err, "?model=");
    if (scope->model.which == REFERENCE_STAGE)
        return error_set(err, ERR_INVALID,
            "?model=: expected [TEAM/]NAME[:VERSION], got the stage @%s: costs are of versions",
            scope->model.stage);
    return 0;
}

void cost_scope_finish(struct cost_scope *scope)
{
    idmap_finish(&scope->subjects);
    idmap_finish(&scope->teams);
    strmap_finish(&scope->by_name);
}

/* ---- teams ----------------------------------------------------------------------------------- */

/* Whether the team is the one that was asked about, or below it. */
static bool is_below(const struct catalog *catalog, const char *team, const char *asked)
{
    const struct team *at = catalog_team(catalog, team);
    for (int depth = 0; at && depth < TEAM_DEPTH_MAX; depth++) {
        if (strcmp(at->metadata.name, asked) == 0)
            return true;
        at = at->parent ? catalog_team(catalog, at->parent) : NULL;
    }
    return false;
}

bool cost_scope_has_team_named(struct cost_scope *scope, const char *team)
{
    const char *answer = strmap_get(&scope->by_name, team);
    const struct catalog *catalog = scope->server->catalog;
    if (!answer) {
        bool counts = scope->query->team
                          ? is_below(catalog, team, scope->query->team)
                          : identity_role(catalog, scope->identity, team) >= ROLE_VIEWER;
        answer = counts ? yes : no;
        strmap_put(&scope->by_name, team, (void *)(uintptr_t)answer);
    }
    return answer == yes;
}

bool cost_scope_has_team(struct cost_scope *scope, uint64_t team)
{
    const char *answer = idmap_get(&scope->teams, team);
    if (!answer) {
        const char *name = names_team(scope->server, team);
        answer = cost_scope_has_team_named(scope, name) ? yes : no;
        idmap_put(&scope->teams, team, (void *)(uintptr_t)answer);
    }
    return answer == yes;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

const struct cost_subject *cost_scope_subject(struct cost_scope *scope, uint64_t job)
{
    struct cost_subject *subject = idmap_get(&scope->subjects, job);
    if (subject)
        return subject;
    subject = arena_alloc(scope->arena, 1, sizeof *subject);
    if (scope->by_labels)
        cost_subject_find(scope->server, scope->arena, job, subject);
    else
        cost_subject_serving(scope->server, scope->arena, job, subject);
    idmap_put(&scope->subjects, job, subject);
    return subject;
}

/* asked: "team/name", or a name alone, which is that of any team. */
static bool is_service(const char *asked, const char *service)
{
    const char *name = strchr(service, '/');
    return strcmp(asked, service) == 0 || (name && strcmp(asked, name + 1) == 0);
}

bool cost_scope_wants_model(const struct cost_scope *scope, const char *model)
{
    const struct reference *asked = &scope->model;
    struct reference found;
    if (reference_parse(model, &found, NULL) < 0 || strcmp(asked->name, found.name) != 0 ||
        (*asked->team && strcmp(asked->team, found.team) != 0))
        return false;
    return asked->which != REFERENCE_VERSION || asked->version == found.version;
}

bool cost_scope_wants(const struct cost_scope *scope, const char *service, const char *model)
{
    const struct cost_query *query = scope->query;
    if (query->service && (!service || !is_service(query->service, service)))
        return false;
    return !query->model || (model && cost_scope_wants_model(scope, model));
}
