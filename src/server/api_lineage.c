/* GET /v1/lineage/{kind}/{artifact}/{version}: where a version comes from and what was made of it.
 */
#include "server/api_versions.h"
#include "server/context.h"
#include "server/handlers.h"
#include "server/lineage.h"

#include <string.h>

static int take_kind(struct call *call, struct error *err)
{
    if (kind_find(call->parameters[0], &call->kind, err) < 0)
        return -1;
    if (call->kind == KIND_DATASET || call->kind == KIND_MODEL)
        return 0;
    return error_set(err, ERR_INVALID, "only datasets and models have versions, and so lineage");
}

/* As SCOPE_OWNED checks it, for a kind that stands in the path. */
static int take_owner(struct call *call, struct error *err)
{
    const char *artifact = call->parameters[1], *colon = strchr(artifact, ':');
    if (!colon)
        return error_set(err, ERR_INVALID, "expected team:name, got \"%.80s\"", artifact);
    call->team = arena_strndup(call->arena, artifact, (size_t)(colon - artifact));
    if (identity_role(call->server->catalog, &call->identity, call->team) >= ROLE_VIEWER)
        return 0;
    return error_set(err, ERR_NOT_FOUND, "there is no %s %s/%s", kind_singular(call->kind),
        call->team, colon + 1);
}

static int take_direction(struct call *call, enum lineage_direction *ret, struct error *err)
{
    static const struct {
        const char *name;
        enum lineage_direction direction;
    } directions[] = {{"up", LINEAGE_UP}, {"down", LINEAGE_DOWN}, {"both", LINEAGE_BOTH}};
    const char *text = http_request_query(call->request, "direction");
    *ret = LINEAGE_BOTH;
    if (!text)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(directions); i++) {
        if (strcmp(directions[i].name, text) == 0) {
            *ret = directions[i].direction;
            return 0;
        }
    }
    return error_set(err, ERR_INVALID, "?direction=: expected up, down or both");
}

void api_lineage(struct call *call)
{
    enum lineage_direction direction;
    struct reference reference;
    struct version version;
    struct doc *body;
    struct error err;
    if (take_kind(call, &err) < 0 || take_owner(call, &err) < 0 ||
        take_direction(call, &direction, &err) < 0 ||
        version_reference(call->team, strchr(call->parameters[1], ':') + 1, call->parameters[2],
            &reference, &err) < 0 ||
        versions_resolve(
            call->server, call->arena, call->kind, call->team, &reference, &version, &err) < 0 ||
        lineage_doc(call->server, &call->identity, call->arena, &version, direction, &body, &err) <
            0)
        call_fail(call, &err);
    else
        call_answer(call, 200, body);
}
