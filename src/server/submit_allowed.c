/* Who may apply an object: see submit.h. By the role in its team, but for what is the machine's
 * affair, and for what gates are there to keep from those who pass through them. */
#include "server/submit.h"

#include "server/catalog.h"
#include "server/context.h"

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
