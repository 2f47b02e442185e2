/* Bearer tokens over the API. */
#include "base/quantity.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/handlers.h"
#include "server/status.h"
#include "server/tokens.h"
#include "spec/serving.h"

#include <sodium.h>
#include <string.h>

enum { USER_TEXT_MAX = 100, DESCRIPTION_MAX = 200 };

struct issue {
    struct token_request request;
    char text[TOKEN_TEXT];
    char id[TOKEN_TEXT];
};

static int run_issue(struct tick *tick, void *context, struct error *err)
{
    struct call *call = context;
    struct issue *issue = call->data;
    (void)err;
    tokens_issue(call->server->tokens, tick, &issue->request, issue->text, issue->id);
    return 0;
}

static void answer_issue(struct call *call)
{
    struct issue *issue = call->data;
    struct doc *body = doc_map(call->arena);
    doc_set_string(call->arena, body, "id", issue->id);
    doc_set_string(call->arena, body, "user", issue->request.user);
    doc_set_string(call->arena, body, "token", issue->text);
    status_set_time(call->arena, body, "expires", issue->request.expires_ms);
    call_answer(call, 201, body);
}

/* Names that a manifest's members may have, and no more. */
static bool user_valid(const char *user)
{
    static const char characters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                     "0123456789-_.@+";
    size_t length = strlen(user);
    return length > 0 && length <= USER_TEXT_MAX && strspn(user, characters) == length &&
           strcmp(user, "root") != 0 && strcmp(user, "scheduler") != 0 &&
           strcmp(user, "engine") != 0;
}

/* A scope with a team that is not there would be a token that is good for nothing. */
static int read_scope(const struct call *call, const struct doc *body,
    struct token_request *request, struct error *err)
{
    if (token_scope_read(doc_get(body, "teams"), &request->scope, err) < 0)
        return -1;
    for (size_t i = 0; i < request->scope.count; i++) {
        if (!catalog_team(call->server->catalog, request->scope.teams[i]))
            return error_set(
                err, ERR_INVALID, "teams: there is no team %s", request->scope.teams[i]);
    }
    return 0;
}

/* Kept in its canonical form. */
static int read_serving(const struct call *call, const struct doc *body,
    struct token_request *request, struct error *err)
{
    struct serving_rights serving;
    const struct doc *doc = doc_get(body, "serving");
    struct strbuf text = {0};
    if (!doc || doc->type == DOC_NULL)
        return 0;
    if (doc->type != DOC_MAP)
        return error_set(err, ERR_INVALID, "serving: expected an object");
    if (!request->inference)
        return error_set(err, ERR_INVALID, "serving: only an inference token has limits");
    if (serving_decode(call->arena, doc, false, &serving, err) < 0)
        return error_prefix(err, "serving");
    if (serving_is_default(&serving))
        return 0;
    doc_write_json(serving_encode(call->arena, &serving), 0, &text);
    request->serving = arena_strdup(call->arena, strbuf_text(&text));
    strbuf_finish(&text);
    return 0;
}

static int read_request(const struct call *call, const struct doc *body,
    struct token_request *request, struct error *err)
{
    request->user = doc_get_string(body, "user");
    request->description = doc_get_string(body, "description");
    const char *expires = doc_get_string(body, "expires");
    if (!request->user || !user_valid(request->user))
        return error_set(err, ERR_INVALID,
            "user: expected a name of letters, digits and -_.@+ that is not one of muster's own");
    if (request->description && strlen(request->description) > DESCRIPTION_MAX)
        return error_set(
            err, ERR_INVALID, "description: expected at most %d bytes", DESCRIPTION_MAX);
    if (expires && quantity_parse_time(expires, &request->expires_ms, err) < 0)
        return error_prefix(err, "expires");
    if (expires && request->expires_ms <= server_now_ms())
        return error_set(err, ERR_INVALID, "expires: expected a time in the future");
    request->inference = doc_get_bool(body, "inference", false);
    if (token_services_read(doc_get(body, "services"), &request->services, err) < 0)
        return -1;
    if (request->services.count > 0 && !request->inference)
        return error_set(
            err, ERR_INVALID, "services: only an inference token is good for some services only");
    if (read_serving(call, body, request, err) < 0)
        return -1;
    return read_scope(call, body, request, err);
}

static void on_token_body(struct call *call, const struct doc *body)
{
    struct issue *issue = arena_alloc(call->arena, 1, sizeof *issue);
    struct error err;
    call->data = issue;
    if (read_request(call, body, &issue->request, &err) < 0)
        call_fail(call, &err);
    else
        call_command(call, run_issue, answer_issue);
}

void api_token_create(struct call *call)
{
    call_body(call, 4096, on_token_body);
}

static bool is_administrator(const struct call *call)
{
    return identity_role(call->server->catalog, &call->identity, ROOT_TEAM) >= ROLE_ADMIN;
}

void api_token_list(struct call *call)
{
    const char *user = is_administrator(call) ? NULL : call->identity.user;
    struct error err;
    size_t limit;
    if (call_limit(call, &limit, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    struct doc *items = tokens_list(
        call->server->tokens, call->arena, user, http_request_query(call->request, "after"), limit);
    bool more = items->count == limit;
    call_answer_page(call, items, more ? doc_get_string(items->last, "id") : NULL);
}

static int run_revoke(struct tick *tick, void *context, struct error *err)
{
    struct call *call = context;
    return tokens_revoke(call->server->tokens, tick, call->parameters[0], err);
}

void api_token_delete(struct call *call)
{
    const char *user = tokens_user(call->server->tokens, call->parameters[0]);
    struct error err;
    if (!user || (!is_administrator(call) && strcmp(user, call->identity.user) != 0)) {
        error_set(&err, ERR_NOT_FOUND, "there is no token %s", call->parameters[0]);
        call_fail(call, &err);
        return;
    }
    call_command(call, run_revoke, call_answer_empty);
}
