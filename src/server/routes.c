/* The routes: see routes.h. Matching is a walk over the table, which is short; the order of two
 * routes never matters, since no two match the same path. */
#include "server/routes.h"

#include "server/catalog.h"
#include "server/context.h"
#include "server/handlers.h"
#include "server/names.h"
#include "server/promotions.h"

#include <assert.h>
#include <string.h>

/* What can be done with the objects of a kind: who may list them, read one, delete one. Those of a
 * team are named team:name. */
#define OBJECT_ROUTES(kind, title, plural, list_scope, get_scope, delete_scope, delete_role)       \
    {"GET", "/v1/" plural, list_scope, ROLE_VIEWER, api_object_list, "Lists " plural, NULL,        \
        "List", kind},                                                                             \
        {"GET", "/v1/" plural "/{name}", get_scope, ROLE_VIEWER, api_object_get,                   \
            "One of the " plural, NULL, title, kind},                                              \
    {                                                                                              \
        "DELETE", "/v1/" plural "/{name}", delete_scope, delete_role, api_object_delete,           \
            "Deletes one of the " plural, NULL, NULL, kind                                         \
    }

/* What can be done with the versions of a dataset or model. */
#define VERSION_ROUTES(kind, plural, name)                                                         \
    {"GET", "/v1/" plural "/{" name "}/versions", SCOPE_OWNED, ROLE_VIEWER, api_version_list,      \
        "Lists the versions of one of the " plural, NULL, "List", kind},                           \
        {"POST", "/v1/" plural "/{" name "}/versions", SCOPE_OWNED, ROLE_MEMBER,                   \
            api_version_create, "Ends an upload: the tree's text becomes a version", NULL,         \
            "Version", kind},                                                                      \
        {"GET", "/v1/" plural "/{" name "}/versions/{version}", SCOPE_OWNED, ROLE_VIEWER,          \
            api_version_get, "A version: a number, \"newest\" or a stage", NULL, "Version", kind}, \
        {"DELETE", "/v1/" plural "/{" name "}/versions/{version}", SCOPE_OWNED, ROLE_MEMBER,       \
            api_version_delete, "Deletes a version to which nothing refers", NULL, NULL, kind},    \
        {"POST", "/v1/" plural "/{" name "}/versions/{version}/verify", SCOPE_OWNED, ROLE_MEMBER,  \
            api_version_verify, "Reads every byte of a version and checks it", NULL, NULL, kind},  \
        {"POST", "/v1/" plural "/{" name "}/versions/{version}/reproduce", SCOPE_OWNED,            \
            ROLE_MEMBER, api_version_reproduce,                                                    \
            "Runs the job that made a version again and compares", NULL, "Submitted", kind},       \
        {"GET", "/v1/" plural "/{" name "}/versions/{version}/tree", SCOPE_OWNED, ROLE_VIEWER,     \
            api_version_tree, "The files of a version and their chunks, as text", NULL, NULL,      \
            kind},                                                                                 \
        {"GET", "/v1/" plural "/{" name "}/versions/{version}/files", SCOPE_OWNED, ROLE_VIEWER,    \
            api_version_files, "The files of a version with their digests", NULL, "List", kind},   \
    {                                                                                              \
        "GET", "/v1/" plural "/{" name "}/versions/{version}/files/{path...}", SCOPE_OWNED,        \
            ROLE_VIEWER, api_version_file, "A file of a version; Range: bytes=N- goes on", NULL,   \
            NULL, kind                                                                             \
    }

static const struct route table[] = {
    {"GET", "/healthz", SCOPE_PUBLIC, ROLE_NONE, api_healthz, "Whether the server accepts commands",
        NULL, "Health"},
    {"GET", "/openapi.json", SCOPE_PUBLIC, ROLE_NONE, api_openapi, "This document", NULL, NULL},
    {"GET", "/metrics", SCOPE_ALL, ROLE_VIEWER, api_metrics, "Figures for Prometheus", NULL, NULL},

    {"POST", "/v1/apply", SCOPE_BODY, ROLE_MEMBER, api_apply,
        "Creates or changes objects, all or none; with dryRun only says what would change", "Apply",
        "Applied"},

    OBJECT_ROUTES(
        KIND_POOL, "Pool", "pools", SCOPE_ANYWHERE, SCOPE_ANYWHERE, SCOPE_ALL, ROLE_ADMIN),
    OBJECT_ROUTES(KIND_TEAM, "Team", "teams", SCOPE_ANYWHERE, SCOPE_TEAM, SCOPE_ALL, ROLE_ADMIN),
    OBJECT_ROUTES(
        KIND_CLASS, "Class", "classes", SCOPE_ANYWHERE, SCOPE_ANYWHERE, SCOPE_ALL, ROLE_ADMIN),
    OBJECT_ROUTES(
        KIND_RUNTIME, "Runtime", "runtimes", SCOPE_ANYWHERE, SCOPE_ANYWHERE, SCOPE_ALL, ROLE_ADMIN),
    OBJECT_ROUTES(
        KIND_DATASET, "Dataset", "datasets", SCOPE_QUERY, SCOPE_OWNED, SCOPE_OWNED, ROLE_MEMBER),
    OBJECT_ROUTES(
        KIND_MODEL, "Model", "models", SCOPE_QUERY, SCOPE_OWNED, SCOPE_OWNED, ROLE_MEMBER),
    OBJECT_ROUTES(
        KIND_SERVICE, "Service", "services", SCOPE_QUERY, SCOPE_OWNED, SCOPE_OWNED, ROLE_MEMBER),
    OBJECT_ROUTES(KIND_HPA, "HorizontalPodAutoscaler", "horizontalpodautoscalers", SCOPE_QUERY,
        SCOPE_OWNED, SCOPE_OWNED, ROLE_MEMBER),

    {"POST", "/v1/services/{name}/tests", SCOPE_OWNED, ROLE_MEMBER, api_trial_open,
        "Opens a test of a service's replicas, which no figure of its users counts", "TestRequest",
        "Test", KIND_SERVICE},
    {"POST", "/v1/services/{name}/tests/{test}", SCOPE_OWNED, ROLE_MEMBER, api_trial_ask,
        "Sends a request to a replica and says what it answers", "TestedRequest", "TestedAnswer",
        KIND_SERVICE},
    {"GET", "/v1/services/{service}/rollout", SCOPE_OWNED, ROLE_VIEWER, api_rollout_get,
        "How far a new revision is, and what was seen of it", NULL, NULL, KIND_SERVICE},
    {"POST", "/v1/services/{service}/rollout/pause", SCOPE_OWNED, ROLE_MEMBER, api_rollout_pause,
        "Keeps a rollout at its step", NULL, NULL, KIND_SERVICE},
    {"POST", "/v1/services/{service}/rollout/resume", SCOPE_OWNED, ROLE_MEMBER, api_rollout_resume,
        "Lets a paused rollout go on", NULL, NULL, KIND_SERVICE},
    {"POST", "/v1/services/{service}/rollout/promote", SCOPE_OWNED, ROLE_MEMBER,
        api_rollout_promote, "Makes the tried revision the service's, whatever was seen", NULL,
        NULL, KIND_SERVICE},
    {"POST", "/v1/services/{service}/rollout/abort", SCOPE_OWNED, ROLE_MEMBER, api_rollout_abort,
        "Takes the tried revision back", NULL, NULL, KIND_SERVICE},

    {"GET", "/v1/services/{name}/recording", SCOPE_OWNED, ROLE_MEMBER, api_recording,
        "What the gateway recorded of a service's requests, a page of it", NULL, "List",
        KIND_SERVICE},
    {"GET", "/v1/services/{name}/verdicts", SCOPE_OWNED, ROLE_MEMBER, api_verdicts,
        "What another service said of a service's requests afterwards", NULL, "List", KIND_SERVICE},

    VERSION_ROUTES(KIND_DATASET, "datasets", "dataset"),
    VERSION_ROUTES(KIND_MODEL, "models", "model"),
    {"GET", "/v1/models/{model}/versions/{version}/variants", SCOPE_OWNED, ROLE_VIEWER,
        api_version_variants, "A version with its parent and what was made smaller of it", NULL,
        "List", KIND_MODEL},
    {"POST", "/v1/artifacts/missing", SCOPE_QUERY, ROLE_MEMBER, api_artifacts_missing,
        "Which of at most 10,000 digests the team does not hold", NULL, NULL},
    {"PUT", "/v1/artifacts/chunks/{digest}", SCOPE_QUERY, ROLE_MEMBER, api_chunk_put,
        "Brings a chunk, packed as the registry keeps it", NULL, NULL},
    {"GET", "/v1/artifacts/chunks/{digest}", SCOPE_QUERY, ROLE_VIEWER, api_chunk_get,
        "A chunk that the team holds", NULL, NULL},
    {"POST", "/v1/artifacts/collect", SCOPE_ALL, ROLE_ADMIN, api_artifacts_collect,
        "Removes versions and objects that nobody needs", NULL, NULL},
    {"GET", "/v1/lineage/{kind}/{artifact}/{version}", SCOPE_ANYWHERE, ROLE_VIEWER, api_lineage,
        "What a version was made of and what was made of it", NULL, NULL},

    {"POST", "/v1/models/{model}/versions/{version}/promotions", SCOPE_OWNED, ROLE_MEMBER,
        api_promotion_create, "Asks for a version to be promoted to a stage", "PromotionRequest",
        "Promotion", KIND_MODEL},
    {"POST", "/v1/models/{model}/versions/{version}/archive", SCOPE_OWNED, ROLE_APPROVER,
        api_version_archive, "Takes a version out of its stage, to archived", NULL, "Version",
        KIND_MODEL},
    {"POST", "/v1/models/{model}/versions/{version}/candidate", SCOPE_OWNED, ROLE_APPROVER,
        api_version_candidate, "Takes a version out of its stage, to candidate", NULL, "Version",
        KIND_MODEL},
    {"GET", "/v1/promotions", SCOPE_QUERY, ROLE_VIEWER, api_promotion_list,
        "Lists promotions of a team's models, or of all that the caller may see", NULL, "List"},
    {"GET", "/v1/promotions/{promotion}", SCOPE_PROMOTION, ROLE_VIEWER, api_promotion_get,
        "A promotion", NULL, "Promotion"},
    {"POST", "/v1/promotions/{promotion}/approve", SCOPE_PROMOTION, ROLE_APPROVER,
        api_promotion_approve, "Approves a promotion that somebody else asked for", "Note",
        "Promotion"},
    {"POST", "/v1/promotions/{promotion}/refuse", SCOPE_PROMOTION, ROLE_APPROVER,
        api_promotion_refuse, "Refuses an open promotion", "Note", "Promotion"},
    {"POST", "/v1/promotions/{promotion}/withdraw", SCOPE_PROMOTION, ROLE_MEMBER,
        api_promotion_withdraw, "Withdraws a promotion that the caller asked for", "Note",
        "Promotion"},

    {"POST", "/v1/jobs", SCOPE_BODY, ROLE_MEMBER, api_job_create,
        "Submits a job; with an Idempotency-Key once only", "Job", "Submitted"},
    {"GET", "/v1/jobs", SCOPE_QUERY, ROLE_VIEWER, api_job_list,
        "Lists jobs of a team, or of all that the caller may see", NULL, "List"},
    {"GET", "/v1/jobs/{job}", SCOPE_JOB, ROLE_VIEWER, api_job_get, "A job", NULL, "Job"},
    {"DELETE", "/v1/jobs/{job}", SCOPE_JOB, ROLE_MEMBER, api_job_delete,
        "Forgets a job that has ended, with its files", NULL, NULL},
    {"POST", "/v1/jobs/{job}/cancel", SCOPE_JOB, ROLE_MEMBER, api_job_cancel, "Cancels a job", NULL,
        NULL},
    {"POST", "/v1/jobs/{job}/hold", SCOPE_JOB, ROLE_MEMBER, api_job_hold,
        "Keeps a job from starting", NULL, NULL},
    {"POST", "/v1/jobs/{job}/release", SCOPE_JOB, ROLE_MEMBER, api_job_release,
        "Lets a held job compete again", NULL, NULL},
    {"GET", "/v1/jobs/{job}/explain", SCOPE_JOB, ROLE_VIEWER, api_job_explain,
        "Why a job waits, who holds what it waits for, and when it will start", NULL,
        "Explanation"},
    {"POST", "/v1/whatif", SCOPE_ANYWHERE, ROLE_VIEWER, api_whatif,
        "What changed Teams and Pools would do to the jobs that the caller may see; changes "
        "nothing",
        "WhatIfRequest", "WhatIf"},
    {"GET", "/v1/jobs/{job}/logs", SCOPE_JOB, ROLE_VIEWER, api_job_logs,
        "The job's output, followed live on demand", NULL, NULL},
    {"GET", "/v1/jobs/{job}/progress", SCOPE_JOB, ROLE_VIEWER, api_job_progress,
        "What the job reported of itself, with the price of each epoch", NULL, "List"},
    {"GET", "/v1/jobs/{job}/exec", SCOPE_JOB, ROLE_MEMBER, api_job_exec,
        "Runs a command inside the running job (upgrade to muster-exec)", NULL, NULL},

    {"GET", "/v1/copies", SCOPE_ANYWHERE, ROLE_VIEWER, api_copy_list,
        "Lists versions that were brought to sites", NULL, "List"},
    {"GET", "/v1/nodes", SCOPE_ANYWHERE, ROLE_VIEWER, api_node_list, "Lists nodes", NULL, "List"},
    {"GET", "/v1/nodes/{pool}/{node}", SCOPE_ANYWHERE, ROLE_VIEWER, api_node_get, "A node", NULL,
        NULL},
    {"POST", "/v1/nodes/{pool}/{node}/cordon", SCOPE_ALL, ROLE_ADMIN, api_node_cordon,
        "Places nothing more on a node", NULL, NULL},
    {"POST", "/v1/nodes/{pool}/{node}/uncordon", SCOPE_ALL, ROLE_ADMIN, api_node_uncordon,
        "Takes a node back into use", NULL, NULL},
    {"POST", "/v1/nodes/{pool}/{node}/drain", SCOPE_ALL, ROLE_ADMIN, api_node_drain,
        "Cordons a node, stops what runs there and requeues it", NULL, NULL},
    {"POST", "/v1/nodes/{pool}/{node}/reserve", SCOPE_ALL, ROLE_ADMIN, api_node_reserve,
        "Reserves a node for maintenance", "Reservation", NULL},

    {"GET", "/v1/watch", SCOPE_ANYWHERE, ROLE_VIEWER, api_watch, "A stream of changes", NULL, NULL},
    {"GET", "/v1/cost", SCOPE_QUERY, ROLE_VIEWER, api_cost, "What things cost", NULL, "Cost"},
    {"GET", "/v1/top", SCOPE_QUERY, ROLE_VIEWER, api_top, "What runs now and what it uses", NULL,
        "List"},

    {"GET", "/v1/audit", SCOPE_QUERY, ROLE_ADMIN, api_audit_list, "The audit log", NULL, "List"},
    {"POST", "/v1/audit/verify", SCOPE_ALL, ROLE_ADMIN, api_audit_verify,
        "Checks the audit log's chain of hashes", NULL, NULL},

    {"POST", "/v1/tokens", SCOPE_ALL, ROLE_ADMIN, api_token_create,
        "Makes a bearer token, which is shown once", "TokenRequest", "Token"},
    {"GET", "/v1/tokens", SCOPE_KNOWN, ROLE_NONE, api_token_list,
        "Lists the caller's tokens, or everybody's for administrators", NULL, "List"},
    {"DELETE", "/v1/tokens/{id}", SCOPE_KNOWN, ROLE_NONE, api_token_delete,
        "Revokes a token: one's own, or anybody's for administrators", NULL, NULL},

    {"GET", "/v1/secrets/{team}", SCOPE_TEAM, ROLE_MEMBER, api_secret_list,
        "Names of a team's secrets", NULL, "List"},
    {"PUT", "/v1/secrets/{team}/{name}", SCOPE_TEAM, ROLE_MEMBER, api_secret_put,
        "Stores a secret, which is never shown again", "Secret", NULL},
    {"DELETE", "/v1/secrets/{team}/{name}", SCOPE_TEAM, ROLE_MEMBER, api_secret_delete,
        "Deletes a secret", NULL, NULL},

    {"POST", "/v1/snapshots", SCOPE_ANYWHERE, ROLE_MEMBER, api_snapshot_create,
        "Uploads a packed work directory", NULL, "Snapshot"},
    {"POST", "/v1/backup", SCOPE_ALL, ROLE_ADMIN, api_backup,
        "Writes a copy of the store below the data directory", "BackupRequest", NULL},
};

const struct route *routes(size_t *ret_count)
{
    *ret_count = ARRAY_LEN(table);
    return table;
}

bool route_matches(const char *pattern, const char *path, struct arena *arena,
    const char *parameters[CALL_PARAMETERS_MAX])
{
    size_t count = 0;
    while (*pattern && *path) {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        /* {path...} stands for all that is left, slashes too; it is the last of its pattern. */
        bool rest = strncmp(strchr(pattern, '}') - 3, "...", 3) == 0;
        size_t length = rest ? strlen(path) : strcspn(path, "/");
        if (length == 0 || (!rest && length >= CALL_NAME_MAX))
            return false;
        assert(count < CALL_PARAMETERS_MAX);
        parameters[count++] = arena_strndup(arena, path, length);
        path += length;
        pattern = strchr(pattern, '}') + 1;
    }
    return *pattern == '\0' && *path == '\0';
}

static const struct route *find_route(struct call *call, bool *ret_path_known)
{
    const char *method = http_request_method(call->request);
    const char *path = http_request_path(call->request);
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    *ret_path_known = false;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (!route_matches(table[i].path, path, call->arena, call->parameters))
            continue;
        *ret_path_known = true;
        if (strcmp(table[i].method, wanted) == 0)
            return &table[i];
    }
    return NULL;
}

static int require_anywhere(struct call *call, enum role least, struct error *err)
{
    if (identity_role_anywhere(call->server->catalog, &call->identity) >= least)
        return 0;
    return error_set(err, ERR_DENIED, "%s needs the role %s in a team for this",
        call->identity.user, role_name(least));
}

/* A job that the caller may not see is not told apart from one that does not exist. */
static int require_job(struct call *call, enum role least, struct error *err)
{
    char team[CALL_NAME_MAX];
    if (names_find_job(call->server, call->parameters[0], &call->job, team, NULL) < 0) {
        call->whole_array = true;
        if (names_find_array(call->server, call->parameters[0], &call->job, team, err) < 0)
            return -1;
    }
    call->team = arena_strdup(call->arena, team);
    if (identity_role(call->server->catalog, &call->identity, team) < ROLE_VIEWER)
        return names_job_missing(call->parameters[0], err);
    return identity_require(call->server->catalog, &call->identity, team, least, err);
}

/* An object that the caller may not see is not told apart from one that does not exist. */
static int require_owned(struct call *call, enum role least, struct error *err)
{
    const struct catalog *catalog = call->server->catalog;
    const char *name = call->parameters[0], *colon = strchr(name, ':');
    if (!colon)
        return error_set(err, ERR_INVALID, "expected team:name, got \"%.80s\"", name);
    call->team = arena_strndup(call->arena, name, (size_t)(colon - name));
    call->parameters[0] = arena_printf(call->arena, "%s/%s", call->team, colon + 1);
    if (identity_role(catalog, &call->identity, call->team) < ROLE_VIEWER)
        return error_set(err, ERR_NOT_FOUND, "there is no %s %s", kind_singular(call->kind),
            call->parameters[0]);
    return identity_require(catalog, &call->identity, call->team, least, err);
}

/* A promotion belongs to its model: who may not see that is told that there is none. */
static int require_promotion(struct call *call, enum role least, struct error *err)
{
    const struct catalog *catalog = call->server->catalog;
    const char *id = call->parameters[0];
    const struct doc *promotion = promotions_get(call->server, call->arena, id, err);
    if (!promotion)
        return -1;
    call->team = doc_get_string(promotion, "team");
    if (!call->team || identity_role(catalog, &call->identity, call->team) < ROLE_VIEWER)
        return error_set(err, ERR_NOT_FOUND, "there is no promotion %.40s", id);
    return identity_require(catalog, &call->identity, call->team, least, err);
}

static int require_query(struct call *call, enum role least, struct error *err)
{
    call->team = http_request_query(call->request, "team");
    if (call->team || least > ROLE_VIEWER)
        return identity_require(call->server->catalog, &call->identity, call->team, least, err);
    return require_anywhere(call, least, err);
}

static int require(struct call *call, const struct route *route, struct error *err)
{
    const struct catalog *catalog = call->server->catalog;
    switch (route->scope) {
    case SCOPE_PUBLIC:
    case SCOPE_KNOWN: return 0;
    case SCOPE_ANYWHERE:
    case SCOPE_BODY: return require_anywhere(call, route->least, err);
    case SCOPE_ALL: return identity_require(catalog, &call->identity, NULL, route->least, err);
    case SCOPE_TEAM:
        call->team = call->parameters[0];
        return identity_require(catalog, &call->identity, call->team, route->least, err);
    case SCOPE_QUERY: return require_query(call, route->least, err);
    case SCOPE_OWNED: return require_owned(call, route->least, err);
    case SCOPE_JOB: return require_job(call, route->least, err);
    case SCOPE_PROMOTION: return require_promotion(call, route->least, err);
    }
    return error_set(err, ERR_DENIED, "no rule lets anybody use this route");
}

static void fail_unrouted(struct call *call, bool path_known)
{
    struct error err;
    error_set(&err, ERR_NOT_FOUND, "there is no %s %s; see /openapi.json",
        http_request_method(call->request), http_request_path(call->request));
    if (path_known)
        error_prefix(&err, "the path exists with another method");
    call_fail(call, &err);
}

void route_request(struct http_request *request, void *ctx)
{
    struct arena *arena = http_request_arena(request);
    struct call *call = arena_alloc(arena, 1, sizeof *call);
    *call = (struct call){.server = ctx, .request = request, .arena = arena};
    bool path_known;
    const struct route *route = find_route(call, &path_known);
    struct error err;
    if (!route || route->scope != SCOPE_PUBLIC) {
        if (identity_find(call->server, http_request_peer(request),
                http_request_header(request, "Authorization"), &call->identity, &err) < 0) {
            call_fail(call, &err);
            return;
        }
    }
    if (!route) {
        fail_unrouted(call, path_known);
        return;
    }
    call->kind = route->kind;
    if (require(call, route, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    route->handler(call);
}
