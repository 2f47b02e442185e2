/* Secrets of teams over the API: they go in and never come out again. */
#include "server/catalog.h"
#include "server/context.h"
#include "server/handlers.h"
#include "server/status.h"
#include "server/vault.h"
#include "store/store.h"

#include <sodium.h>
#include <string.h>

enum { SECRETS_MAX = 1000 }; /* of a team: what members can bring without end fills the store */

static int add_secret(void *context, const struct document *document, struct error *err)
{
    struct call *call = context;
    const char *slash = strchr(document->key, '/');
    (void)err;
    if (!slash)
        return 0;
    struct doc *item = doc_append(call->data, doc_map(call->arena));
    doc_set_string(call->arena, item, "name", slash + 1);
    status_set_time(call->arena, item, "changed", document->at_ms);
    return 0;
}

void api_secret_list(struct call *call)
{
    struct error err;
    const char *name = http_request_query(call->request, "after");
    const char *after = arena_printf(call->arena, "%s/%s", call->team, name ? name : "");
    struct doc *items = call->data = doc_list(call->arena);
    size_t limit;
    if (call_limit(call, &limit, &err) < 0 ||
        reader_documents(call->server->reader, vault_collection, call->team, after, limit,
            add_secret, call, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    bool more = items->count == limit;
    call_answer_page(call, items, more ? doc_get_string(items->last, "name") : NULL);
}

static int count_secret(void *context, const struct document *document, struct error *err)
{
    size_t *count = context;
    (void)document, (void)err;
    ++*count;
    return 0;
}

/* One more secret has room, or the name is there already. Those of the same tick are not seen yet:
 * the bound is there for the store's sake and need not be exact. */
static int check_room(struct call *call, struct error *err)
{
    struct store_reader *reader = call->server->reader;
    SCOPED(mem_scope) char *json = NULL;
    size_t count = 0;
    char key[300];
    vault_key(call->team, call->parameters[1], key, sizeof key);
    if (reader_document(reader, vault_collection, key, &json, NULL, NULL) == 0)
        return 0;
    if (reader_documents(
            reader, vault_collection, call->team, NULL, SECRETS_MAX, count_secret, &count, err) < 0)
        return -1;
    if (count < SECRETS_MAX)
        return 0;
    return error_set(err, ERR_CONFLICT,
        "the team %s has %d secrets, and no team has more: delete one that is not used", call->team,
        SECRETS_MAX);
}

static int run_put(struct tick *tick, void *context, struct error *err)
{
    struct call *call = context;
    const char *value = call->data;
    if (!catalog_team(call->server->catalog, call->team))
        return error_set(err, ERR_NOT_FOUND, "there is no team %s", call->team);
    if (check_room(call, err) < 0)
        return -1;
    vault_put(call->server->vault, tick, call->team, call->parameters[1], value, strlen(value));
    return 0;
}

static void answer_put(struct call *call)
{
    sodium_memzero(call->data, strlen(call->data));
    call_answer_empty(call);
}

static void on_secret_body(struct call *call, const struct doc *body)
{
    const char *value = doc_get_string(body, "value");
    struct error err;
    if (!value || strlen(value) > SECRET_BYTES_MAX) {
        error_set(&err, ERR_INVALID, "value: expected text of at most %d bytes", SECRET_BYTES_MAX);
        call_fail(call, &err);
        return;
    }
    if (!name_valid(call->parameters[1])) {
        error_set(
            &err, ERR_INVALID, "the name of a secret has lower-case letters, digits, - and . only");
        call_fail(call, &err);
        return;
    }
    call->data = arena_strdup(call->arena, value);
    call_command(call, run_put, answer_put);
}

void api_secret_put(struct call *call)
{
    call_body(call, 4 * SECRET_BYTES_MAX, on_secret_body);
}

static int run_secret_delete(struct tick *tick, void *context, struct error *err)
{
    struct call *call = context;
    SCOPED(mem_scope) char *json = NULL;
    char key[300];
    vault_key(call->team, call->parameters[1], key, sizeof key);
    if (reader_document(call->server->reader, vault_collection, key, &json, NULL, NULL) < 0)
        return error_set(
            err, ERR_NOT_FOUND, "the team %s has no secret %s", call->team, call->parameters[1]);
    vault_delete(tick, call->team, call->parameters[1]);
    return 0;
}

void api_secret_delete(struct call *call)
{
    call_command(call, run_secret_delete, call_answer_empty);
}
