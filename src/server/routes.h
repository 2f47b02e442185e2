/* The routes of the API: one table says for each its method, path, who may use it, what it is for
 * and who handles it. The OpenAPI document is made from the same table, and a test walks it with
 * every role. */
#pragma once

#include "server/call.h"

/* Which team's role counts. */
enum route_scope {
    SCOPE_PUBLIC,    /* everybody, known or not */
    SCOPE_KNOWN,     /* whoever is known; what is shown is the handler's care */
    SCOPE_ANYWHERE,  /* the role in any team */
    SCOPE_ALL,       /* the role in the team root */
    SCOPE_TEAM,      /* the role in the team that the first parameter names */
    SCOPE_QUERY,     /* the role in the team that ?team= names, in all of them without it */
    SCOPE_OWNED,     /* the role in the team of the object that the first parameter names as
                      * team:name; who may not even look is told that there is none */
    SCOPE_JOB,       /* the role in the team of the job that the first parameter names */
    SCOPE_PROMOTION, /* the role in the team of the promotion that the first parameter names */
    SCOPE_BODY,      /* the handler checks what the body names; the role anywhere before that */
};

struct route {
    const char *method;
    const char *path; /* "/v1/jobs/{job}/cancel" */
    enum route_scope scope;
    enum role least;
    call_handler *handler;
    const char *summary;
    const char *body;   /* schema component of the body, or NULL */
    const char *answer; /* schema component of the answer, or NULL */
    enum kind kind;     /* of the objects that it is about, for SCOPE_OWNED and api_object_* */
};

/* The table; ret_count its length. */
const struct route *routes(size_t *ret_count);
/* Whether a path is of a pattern; what stands for its braces goes to parameters, from the arena. */
bool route_matches(const char *pattern, const char *path, struct arena *arena,
    const char *parameters[CALL_PARAMETERS_MAX]);
/* Handles a request: finds the route, checks who asks, calls the handler. The http_handler of the
 * server; ctx is the struct server. */
void route_request(struct http_request *request, void *ctx);
/* The OpenAPI 3.1 document. */
struct doc *routes_openapi(struct arena *arena);
