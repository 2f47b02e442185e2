/* A call: one request to the API on its way through a handler, and how it is answered.
 *
 * A call lives in its request's arena and ends with its answer. Handlers run after the route's
 * check of who asks; what the route cannot decide alone (which team a body names) the handler
 * checks with identity_require. */
#pragma once

#include "base/error.h"
#include "server/identity.h"
#include "server/ticker.h"
#include "spec/spec.h"
#include "wire/doc.h"
#include "wire/http.h"

enum { CALL_PARAMETERS_MAX = 3, CALL_NAME_MAX = 128 };

struct call {
    struct server *server;
    struct http_request *request;
    struct arena *arena;
    struct identity identity;
    const char *parameters[CALL_PARAMETERS_MAX]; /* what the route's {} matched */
    const char *team; /* the team that the route's check was about, or NULL */
    enum kind kind;   /* of the route: what the handlers of objects are about */
    uint64_t job;     /* the job that the path names, or 0 */
    bool whole_array; /* that job is an array's first element, and stands for all of them */
    void *data;       /* the handler's own */
};

typedef void call_handler(struct call *call);
/* body is NULL when there was none. */
typedef void call_body_handler(struct call *call, const struct doc *body);

/* Answers with JSON; 200 and so on. The call is over after each of these. */
void call_answer(struct call *call, int status, const struct doc *body);
void call_answer_empty(struct call *call);
/* Answers with a page of a list; next is what ?after= of the following page says, or NULL. */
void call_answer_page(struct call *call, struct doc *items, const char *next);
void call_answer_text(struct call *call, const char *content_type, const char *text, size_t length);
/* Answers with a problem document (RFC 9457). */
void call_fail(struct call *call, const struct error *err);
/* As call_fail with ERR_INVALID and the list of what is wrong where. */
void call_fail_fields(struct call *call, const struct field_errors *errors);
/* Makes the problem document of an error; errors (a list of field errors) may be NULL. */
struct doc *problem_doc(
    struct arena *arena, const struct error *err, const struct doc *field_errors);

/* Collects the body, at most limit bytes, and parses it as JSON; answers itself when that fails. */
void call_body(struct call *call, size_t limit, call_body_handler *then);

/* The `limit` parameter: 1 .. 1000, 100 when it is not given. -1 with ERR_INVALID. */
MUST_CHECK int call_limit(const struct call *call, size_t *ret_limit, struct error *err);
/* ERR_INVALID when the call is about a whole array and has to be about one of its elements. */
MUST_CHECK int call_one_job(const struct call *call, struct error *err);
/* A query parameter that is an integer >= 0; fallback when it is not given. */
MUST_CHECK int call_query_int(
    const struct call *call, const char *name, int64_t fallback, int64_t *ret, struct error *err);
bool call_query_flag(const struct call *call, const char *name);

/* Runs `run` in a tick with the call as its context. When it is durable, `done` answers the call;
 * on failure the problem is answered. */
void call_command(struct call *call, command_run_fn *run, call_handler *done);
