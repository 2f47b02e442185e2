/* Asking the server: JSON there and back, problem documents turned into errors. See docs/api.md. */
#pragma once

#include "base/error.h"
#include "base/strbuf.h"
#include "cli/endpoint.h"
#include "wire/doc.h"
#include "wire/http.h"

struct api;

/* Checks the endpoint; connects at the first request. Destroyed by the caller. */
MUST_CHECK struct api *api_create(const struct endpoint *endpoint, struct error *err);
void api_destroy(struct api *api); /* NULL is fine */

enum { API_KEY_TEXT = 33 };
/* A fresh Idempotency-Key: a request repeated with it is done once. */
void api_make_key(char out[API_KEY_TEXT]);

/* A request with JSON, or with nothing when body is NULL. *ret_answer (may be NULL) is the answer's
 * JSON in the arena, NULL for an empty one. -1: the server's problem as an error, whose document
 * api_problem gives until the next request; a request whose outcome is not known is not repeated,
 * unless key (or NULL) makes that harmless. */
MUST_CHECK int api_call(struct api *api, struct arena *arena, const char *method,
    const char *target, const struct doc *body, const char *key, const struct doc **ret_answer,
    struct error *err);
/* GET. */
MUST_CHECK int api_get(struct api *api, struct arena *arena, const char *target,
    const struct doc **ret_answer, struct error *err);
enum { API_PAGE = 500, API_ITEMS_MAX = 1000000 };
/* GET of a list, API_PAGE items a page, of at most API_ITEMS_MAX: a DOC_LIST in the arena. */
MUST_CHECK int api_list(struct api *api, struct arena *arena, const char *target,
    const struct doc **ret_items, struct error *err);
/* GET of anything, in pieces as they come. io_ms as in http_client_request. */
MUST_CHECK int api_stream(struct api *api, struct arena *arena, const char *target, int64_t io_ms,
    http_client_sink *sink, void *ctx, struct error *err);
/* POST of bytes from source; the answer is JSON. */
MUST_CHECK int api_upload(struct api *api, struct arena *arena, const char *target,
    http_client_source *source, void *ctx, const struct doc **ret_answer, struct error *err);
/* Sends bytes of a content type; the answer is JSON. io_ms: how long it may take to come, 0 for the
 * usual. repeatable: doing it twice is the same as once. */
MUST_CHECK int api_send(struct api *api, struct arena *arena, const char *method,
    const char *target, const char *type, const void *bytes, size_t length, int64_t io_ms,
    bool repeatable, const struct doc **ret_answer, struct error *err);
/* GET of at most `most` bytes, the caller's to free. */
MUST_CHECK int api_fetch(struct api *api, const char *target, size_t most, char **ret_bytes,
    size_t *ret_length, struct error *err);
/* GET that turns the connection into a stream for api_http. */
MUST_CHECK int api_upgrade(
    struct api *api, const char *target, const char *protocol, struct error *err);
struct http_client *api_http(struct api *api);

/* The problem document of the last failure, or NULL. */
const struct doc *api_problem(const struct api *api);
/* Its field errors, a line each ("spec.gang.size: expected .."). */
void api_problem_write(const struct doc *problem, struct strbuf *out);
/* What to do about an error of this code, or NULL. */
const char *api_advice(enum error_code code);
