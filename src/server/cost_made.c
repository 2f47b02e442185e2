/* Who made versions: see cost_made.h. */
#include "server/cost_made.h"

#include "base/memory.h"
#include "server/context.h"
#include "server/cost_scope.h"
#include "server/names.h"
#include "store/store.h"
#include "wire/doc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSIONS_MAX = 20000, PAGE = 1000 };

struct made_walk {
    struct cost_scope *scope;
    cost_made_fn *visit;
    void *context;
    struct arena *arena; /* of one document */
    char *last;
    size_t seen, of_page;
};

static void visit_job(
    struct made_walk *walk, const char *version, const struct doc *item, bool evaluation)
{
    const char *id = doc_get_string(item, "job");
    uint64_t job = id ? names_parse_job_id(id) : 0;
    if (job)
        walk->visit(walk->context, version, job, evaluation);
}

static void visit_version(struct made_walk *walk, const struct doc *doc)
{
    const char *team = doc_get_string(doc, "team"), *name = doc_get_string(doc, "name");
    const struct doc *source = doc_get(doc, "source"), *list = doc_get(doc, "evaluations");
    const char *kind = doc_get_string(source, "kind");
    if (!team || !name || !cost_scope_has_team_named(walk->scope, team))
        return;
    const char *version =
        arena_printf(walk->arena, "%s/%s:%" PRId64, team, name, doc_get_int(doc, "version", 0));
    /* What a service asks for is known only from its replicas: versions are not left out for it. */
    if (walk->scope->query->model && !cost_scope_wants_model(walk->scope, version))
        return;
    if (kind && strcmp(kind, "job") == 0)
        visit_job(walk, version, source, false);
    const struct doc *item = list && list->type == DOC_LIST ? list->first : NULL;
    for (; item; item = item->next)
        visit_job(walk, version, item, true);
}

static int take_version(void *context, const struct document *document, struct error *err)
{
    struct made_walk *walk = context;
    walk->of_page++;
    if (++walk->seen > VERSIONS_MAX)
        return error_set(err, ERR_TOO_LARGE,
            "there are more than %d versions: say which with ?model=", VERSIONS_MAX);
    free(walk->last);
    walk->last = mem_strdup(document->key);
    arena_reset(walk->arena);
    const struct doc *doc =
        doc_parse_json(walk->arena, document->json, strlen(document->json), 4 * DOC_BYTES_MAX, err);
    if (!doc)
        return error_prefix(err, "the version %s", document->key);
    visit_version(walk, doc);
    return 0;
}

int cost_made_each(struct cost_scope *scope, cost_made_fn *visit, void *context, struct error *err)
{
    struct made_walk walk = {.scope = scope,
        .visit = visit,
        .context = context,
        .arena = arena_create(),
        .last = mem_strdup("")};
    char prefix[REFERENCE_TEXT] = "";
    int rc;
    if (scope->query->model && *scope->model.team)
        snprintf(prefix, sizeof prefix, "%s/%s/", scope->model.team, scope->model.name);
    do {
        SCOPED(mem_scope) char *after = mem_strdup(walk.last);
        walk.of_page = 0;
        rc = *prefix ? reader_documents_prefix(scope->server->reader, "model-version", prefix,
                           after, PAGE, take_version, &walk, err)
                     : reader_documents(scope->server->reader, "model-version", NULL, after, PAGE,
                           take_version, &walk, err);
    } while (rc == 0 && walk.of_page == PAGE);
    arena_destroy(walk.arena);
    free(walk.last);
    return rc;
}
