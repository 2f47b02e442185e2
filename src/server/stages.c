/* Stages: see stages.h, and promotion_retire. */
#include "server/stages.h"

#include "server/catalog.h"
#include "server/context.h"
#include "server/promotions.h"
#include "server/promotions_internal.h"
#include "server/services.h"
#include "server/status.h"
#include "server/ticker.h"
#include "spec/reference.h"
#include "wire/doc.h"

#include <inttypes.h>
#include <string.h>

void stages_put(
    struct tick *tick, const struct version *version, enum model_stage stage, const char *by)
{
    struct arena *arena = tick_arena(tick);
    struct doc *doc = doc_copy(arena, version->doc);
    doc_set_string(arena, doc, "stage", versions_stage_name(stage));
    status_set_time(arena, doc, "stageSince", tick_now(tick));
    doc_set_string(arena, doc, "stageBy", by);
    versions_put(tick, version, doc);
}

/* ---- out of a stage ---------------------------------------------------------------------------
 */

/* A service that follows the stage of a model, or NULL. */
static const struct service *find_follower(
    const struct catalog *catalog, const char *team, const char *model, const char *stage)
{
    for (size_t i = 0; i < catalog_count(catalog, KIND_SERVICE); i++) {
        const struct service *service = &catalog_at(catalog, KIND_SERVICE, i)->manifest->service;
        struct reference of;
        if (reference_parse(service->model, &of, NULL) < 0 || of.which != REFERENCE_STAGE)
            continue;
        const char *of_team = of.team[0] ? of.team : service->metadata.team;
        if (strcmp(of_team, team) == 0 && strcmp(of.name, model) == 0 &&
            strcmp(of.stage, stage) == 0)
            return service;
    }
    return NULL;
}

static int check_followers(struct tick *tick, const struct version *version, struct error *err)
{
    const char *stage = versions_stage_name(version->stage);
    const struct service *service =
        find_follower(tick_server(tick)->catalog, version->team, version->name, stage);
    if (!service || (version->stage != STAGE_STAGING && version->stage != STAGE_PRODUCTION))
        return 0;
    return error_set(err, ERR_CONFLICT,
        "the service %s/%s follows %s@%s and would be left without a version: promote another one, "
        "or change the service first",
        service->metadata.team, service->metadata.name, version->name, stage);
}

static int check_open(struct tick *tick, const struct version *version, struct error *err)
{
    static const char *const stages[] = {"staging", "production"};
    const char *id;
    for (size_t i = 0; i < ARRAY_LEN(stages); i++) {
        if (promotion_find_open(
                tick, version->team, version->name, version->version, stages[i], &id, err) < 0)
            return -1;
        if (id)
            return error_set(err, ERR_CONFLICT,
                "the promotion %s of this version is open: refuse or withdraw it first", id);
    }
    return 0;
}

int promotion_retire(struct tick *tick, const char *team, const char *model, int64_t number,
    enum model_stage stage, const struct doc **ret, struct error *err)
{
    struct version version;
    if (versions_in_tick(tick, KIND_MODEL, team, model, number, &version, err) < 0)
        return -1;
    *ret = version.doc;
    if (version.stage == stage)
        return 0;
    if (check_followers(tick, &version, err) < 0 || check_open(tick, &version, err) < 0)
        return -1;
    stages_put(tick, &version, stage, tick_actor(tick));
    if (versions_in_tick(tick, KIND_MODEL, team, model, number, &version, err) < 0) {
        tick_spoil(tick);
        return -1;
    }
    *ret = version.doc;
    services_follow(tick, team, model);
    return 0;
}
