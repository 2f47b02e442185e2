/* Bearer tokens: see tokens.h. Found by a hash of the text, so looking one up takes the same time
 * whatever is guessed. */
#include "server/tokens.h"

#include "base/file.h"
#include "base/map.h"
#include "base/quantity.h"
#include "base/vec.h"
#include "server/context.h"
#include "server/services.h"
#include "server/ticker.h"
#include "spec/reference.h"
#include "spec/spec.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char collection[] = "token";
static const char prefix[] = "mst_";

struct token {
    char id[17];   /* the first 16 digits of the hash */
    char hash[65]; /* of the text, in hex */
    char *user;
    char *description;
    int64_t created_ms;
    int64_t expires_ms;
    struct token_scope scope;
    bool inference;
    struct token_services services;
    char *serving; /* JSON; NULL: nothing is said */
};

struct tokens {
    VEC(struct token *) list; /* sorted by id */
    struct strmap by_hash;
};

struct tokens *tokens_create(void)
{
    return mem_alloc(1, sizeof(struct tokens));
}

static void token_free(struct token *token)
{
    free(token->user);
    free(token->description);
    free(token->serving);
    free(token);
}

static void tokens_clear(struct tokens *tokens)
{
    for (size_t i = 0; i < tokens->list.count; i++)
        token_free(tokens->list.items[i]);
    vec_free(&tokens->list);
    strmap_finish(&tokens->by_hash);
}

void tokens_destroy(struct tokens *tokens)
{
    if (!tokens)
        return;
    tokens_clear(tokens);
    free(tokens);
}

static void tokens_add(struct tokens *tokens, const char *hash, const struct token_request *request,
    int64_t created_ms)
{
    struct token *token = mem_alloc(1, sizeof *token);
    snprintf(token->hash, sizeof token->hash, "%s", hash);
    snprintf(token->id, sizeof token->id, "%.16s", hash);
    token->user = mem_strdup(request->user);
    token->description = mem_strdup(request->description ? request->description : "");
    token->created_ms = created_ms;
    token->expires_ms = request->expires_ms;
    token->scope = request->scope;
    token->inference = request->inference;
    token->services = request->services;
    token->serving = mem_strdup(request->serving);
    size_t at = 0;
    while (at < tokens->list.count && strcmp(tokens->list.items[at]->id, token->id) < 0)
        at++;
    vec_push(&tokens->list, token);
    memmove(tokens->list.items + at + 1, tokens->list.items + at,
        (tokens->list.count - 1 - at) * sizeof *tokens->list.items);
    tokens->list.items[at] = token;
    strmap_put(&tokens->by_hash, token->hash, token);
}

int token_scope_read(const struct doc *teams, struct token_scope *ret_scope, struct error *err)
{
    struct token_scope scope = {0};
    const struct doc *item = teams ? teams->first : NULL;
    if (teams && teams->type != DOC_LIST)
        return error_set(err, ERR_INVALID, "teams: expected a list of names of teams");
    for (; item; item = item->next) {
        if (item->type != DOC_STRING || !name_valid(item->text) ||
            strlen(item->text) >= sizeof scope.teams[0])
            return error_set(err, ERR_INVALID, "teams: expected a list of names of teams");
        if (scope.count == TOKEN_TEAMS_MAX)
            return error_set(
                err, ERR_INVALID, "teams: expected at most %d of them", TOKEN_TEAMS_MAX);
        snprintf(scope.teams[scope.count++], sizeof scope.teams[0], "%s", item->text);
    }
    *ret_scope = scope;
    return 0;
}

int token_services_read(
    const struct doc *services, struct token_services *ret_services, struct error *err)
{
    struct token_services read = {0};
    const struct doc *item = services ? services->first : NULL;
    if (services && services->type != DOC_LIST)
        return error_set(err, ERR_INVALID, "services: expected a list of team/name");
    for (; item; item = item->next) {
        struct reference reference;
        if (item->type != DOC_STRING || reference_parse(item->text, &reference, NULL) < 0 ||
            !reference.team[0] || reference.which != REFERENCE_NEWEST)
            return error_set(err, ERR_INVALID, "services: expected a list of team/name");
        if (read.count == TOKEN_SERVICES_MAX)
            return error_set(
                err, ERR_INVALID, "services: expected at most %d of them", TOKEN_SERVICES_MAX);
        snprintf(read.names[read.count++], sizeof read.names[0], "%s", item->text);
    }
    *ret_services = read;
    return 0;
}

static struct doc *services_doc(struct arena *arena, const struct token_services *services)
{
    struct doc *list = doc_list(arena);
    for (size_t i = 0; i < services->count; i++)
        doc_append(list, doc_string(arena, services->names[i]));
    return list;
}

static struct doc *scope_doc(struct arena *arena, const struct token_scope *scope)
{
    struct doc *list = doc_list(arena);
    for (size_t i = 0; i < scope->count; i++)
        doc_append(list, doc_string(arena, scope->teams[i]));
    return list;
}

/* A copy of the document's member as text; NULL without one. */
static const char *serving_text(struct arena *arena, const struct doc *doc)
{
    const struct doc *serving = doc_get(doc, "serving");
    struct strbuf text = {0};
    if (!serving || serving->type != DOC_MAP)
        return NULL;
    doc_write_json(serving, 0, &text);
    const char *copy = arena_strdup(arena, strbuf_text(&text));
    strbuf_finish(&text);
    return copy;
}

static void set_serving(struct arena *arena, struct doc *doc, const char *serving)
{
    if (!serving)
        return;
    struct doc *item = doc_parse_json(arena, serving, strlen(serving), DOC_BYTES_MAX, NULL);
    assert(item);
    doc_set(arena, doc, "serving", item);
}

static int load_token(void *context, const struct document *document, struct error *err)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct doc *doc =
        doc_parse_json(arena, document->json, strlen(document->json), DOC_BYTES_MAX, err);
    const char *hash = doc_get_string(doc, "hash");
    struct token_request request = {.user = doc_get_string(doc, "user"),
        .description = doc_get_string(doc, "description"),
        .expires_ms = doc_get_int(doc, "expires", 0),
        .inference = doc_get_bool(doc, "inference", false),
        .serving = serving_text(arena, doc)};
    if (!request.user || !hash || strlen(hash) != 64 ||
        token_scope_read(doc_get(doc, "teams"), &request.scope, NULL) < 0 ||
        token_services_read(doc_get(doc, "services"), &request.services, NULL) < 0)
        return error_set(err, ERR_CORRUPT, "the stored token %s cannot be read", document->key);
    tokens_add(context, hash, &request, doc_get_int(doc, "created", 0));
    return 0;
}

int tokens_load(struct tokens *tokens, struct store_reader *reader, struct error *err)
{
    struct tokens *fresh = tokens_create();
    if (reader_documents(reader, collection, NULL, NULL, 100000, load_token, fresh, err) < 0) {
        tokens_destroy(fresh);
        return -1;
    }
    tokens_clear(tokens);
    *tokens = *fresh;
    free(fresh);
    return 0;
}

static struct token *token_find(const struct tokens *tokens, const char *id)
{
    for (size_t i = 0; i < tokens->list.count; i++) {
        if (strcmp(tokens->list.items[i]->id, id) == 0)
            return tokens->list.items[i];
    }
    return NULL;
}

void tokens_issue(struct tokens *tokens, struct tick *tick, const struct token_request *request,
    char ret_text[TOKEN_TEXT], char ret_id[TOKEN_TEXT])
{
    unsigned char secret[32];
    char encoded[48], hash[65];
    do {
        randombytes_buf(secret, sizeof secret);
        sodium_bin2base64(encoded, sizeof encoded, secret, sizeof secret,
            sodium_base64_VARIANT_URLSAFE_NO_PADDING);
        snprintf(ret_text, TOKEN_TEXT, "%s%s", prefix, encoded);
        file_sha256_hex(ret_text, strlen(ret_text), hash);
        snprintf(ret_id, TOKEN_TEXT, "%.16s", hash);
    } while (token_find(tokens, ret_id));
    sodium_memzero(secret, sizeof secret);

    struct arena *arena = tick_arena(tick);
    struct doc *doc = doc_map(arena);
    doc_set_string(arena, doc, "user", request->user);
    doc_set_string(arena, doc, "hash", hash);
    doc_set_string(arena, doc, "description", request->description ? request->description : "");
    doc_set_int(arena, doc, "created", tick_now(tick));
    doc_set_int(arena, doc, "expires", request->expires_ms);
    doc_set(arena, doc, "teams", scope_doc(arena, &request->scope));
    if (request->inference)
        doc_set_bool(arena, doc, "inference", true);
    if (request->services.count > 0)
        doc_set(arena, doc, "services", services_doc(arena, &request->services));
    set_serving(arena, doc, request->serving);
    struct strbuf json = {0};
    doc_write_json(doc, 0, &json);
    store_txn_put_document(
        tick_txn(tick), collection, ret_id, "", strbuf_text(&json), tick_now(tick));
    strbuf_finish(&json);
    struct doc *detail = doc_map(arena);
    doc_set_string(arena, detail, "user", request->user);
    if (request->scope.count > 0)
        doc_set(arena, detail, "teams", scope_doc(arena, &request->scope));
    if (request->inference)
        doc_set_bool(arena, detail, "inference", true);
    if (request->services.count > 0)
        doc_set(arena, detail, "services", services_doc(arena, &request->services));
    set_serving(arena, detail, request->serving);
    struct strbuf text = {0};
    doc_write_json(detail, 0, &text);
    tick_audit(tick, "token-create", "token", ret_id, "", strbuf_text(&text));
    strbuf_finish(&text);
    tokens_add(tokens, hash, request, tick_now(tick));
    services_touch(tick_server(tick)->services);
}

int tokens_revoke(struct tokens *tokens, struct tick *tick, const char *id, struct error *err)
{
    for (size_t i = 0; i < tokens->list.count; i++) {
        struct token *token = tokens->list.items[i];
        if (strcmp(token->id, id) != 0)
            continue;
        store_txn_delete_document(tick_txn(tick), collection, id);
        services_touch(tick_server(tick)->services);
        tick_audit(tick, "token-revoke", "token", id, "", NULL);
        strmap_remove(&tokens->by_hash, token->hash);
        vec_remove(&tokens->list, i);
        token_free(token);
        return 0;
    }
    return error_set(err, ERR_NOT_FOUND, "there is no token %.40s", id);
}

static bool is_valid(const struct token *token, int64_t now_ms)
{
    return token && (token->expires_ms == 0 || token->expires_ms > now_ms);
}

int tokens_check(
    const struct tokens *tokens, const char *text, int64_t now_ms, struct token_owner *ret_owner)
{
    char hash[65];
    size_t length = strlen(text);
    if (length >= TOKEN_TEXT)
        return -1;
    file_sha256_hex(text, length, hash);
    const struct token *token = strmap_get(&tokens->by_hash, hash);
    if (!is_valid(token, now_ms))
        return -1;
    *ret_owner = (struct token_owner){.user = token->user,
        .id = token->id,
        .scope = &token->scope,
        .inference = token->inference};
    return 0;
}

void tokens_each(const struct tokens *tokens, int64_t now_ms, token_visit_fn *visit, void *context)
{
    for (size_t i = 0; i < tokens->list.count; i++) {
        const struct token *token = tokens->list.items[i];
        if (!is_valid(token, now_ms))
            continue;
        const struct token_facts facts = {token->id, token->hash, token->user, &token->scope,
            &token->services, token->expires_ms, token->serving};
        visit(context, &facts);
    }
}

bool tokens_valid(const struct tokens *tokens, const char *id, int64_t now_ms)
{
    return is_valid(token_find(tokens, id), now_ms);
}

const char *tokens_user(const struct tokens *tokens, const char *id)
{
    const struct token *token = token_find(tokens, id);
    return token ? token->user : NULL;
}

struct doc *tokens_list(const struct tokens *tokens, struct arena *arena, const char *user,
    const char *after, size_t limit)
{
    struct doc *list = doc_list(arena);
    char text[QUANTITY_TEXT];
    for (size_t i = 0; i < tokens->list.count && list->count < limit; i++) {
        const struct token *token = tokens->list.items[i];
        if ((user && strcmp(user, token->user) != 0) || (after && strcmp(token->id, after) <= 0))
            continue;
        struct doc *item = doc_append(list, doc_map(arena));
        doc_set_string(arena, item, "id", token->id);
        doc_set_string(arena, item, "user", token->user);
        doc_set_string(arena, item, "description", token->description);
        doc_set_string(arena, item, "created", quantity_time(token->created_ms, text));
        if (token->expires_ms)
            doc_set_string(arena, item, "expires", quantity_time(token->expires_ms, text));
        if (token->scope.count > 0)
            doc_set(arena, item, "teams", scope_doc(arena, &token->scope));
        if (token->inference)
            doc_set_bool(arena, item, "inference", true);
        if (token->services.count > 0)
            doc_set(arena, item, "services", services_doc(arena, &token->services));
        set_serving(arena, item, token->serving);
    }
    return list;
}
