/* The parts that need no loop: names, routes, who may what, tokens, uids, secrets. */
#include "server/test_world.h"

#include "server/catalog.h"
#include "server/identity.h"
#include "server/names.h"
#include "server/routes.h"
#include "server/tokens.h"
#include "server/uids.h"
#include "server/vault.h"
#include "spec/spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int setup(void **state)
{
    *state = world_create();
    return 0;
}

static int teardown(void **state)
{
    world_destroy(*state);
    return 0;
}

/* ---- names ----------------------------------------------------------------------------------- */

static void ids_of_jobs_survive_their_text_in_order(void **state)
{
    static const uint64_t ids[] = {1, 31, 32, 1882557271665278976, INT64_MAX, UINT64_MAX};
    char text[JOB_ID_TEXT], before[JOB_ID_TEXT] = "";
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        names_job_id(ids[i], text);
        assert_int_equal(strlen(text), 14);
        assert_true(names_parse_job_id(text) == ids[i]);
        assert_true(strcmp(before, text) < 0);
        snprintf(before, sizeof before, "%s", text);
    }
}

static void what_is_no_id_of_a_job_is_not_taken_for_one(void **state)
{
    static const char *const texts[] = {"", "j", "j000000000000", "j00000000000000",
        "x0000000000001", "jzzzzzzzzzzzzz", "j000000000000i", "j000000000000U", "vision:train"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_true(names_parse_job_id(texts[i]) == 0);
}

/* ---- routes ---------------------------------------------------------------------------------- */

static void paths_match_whole_and_give_their_parameters(void **state)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const char *found[CALL_PARAMETERS_MAX];
    char longer[400];
    (void)state;
    assert_true(route_matches("/v1/nodes/{pool}/{node}", "/v1/nodes/a/b", arena, found));
    assert_string_equal(found[0], "a");
    assert_string_equal(found[1], "b");
    assert_true(route_matches("/v1/jobs/{job}/logs", "/v1/jobs/t:a[3]/logs", arena, found));
    assert_string_equal(found[0], "t:a[3]");
    assert_false(route_matches("/v1/jobs/{job}", "/v1/jobs/", arena, found));
    assert_false(route_matches("/v1/jobs/{job}", "/v1/jobs/a/", arena, found));
    assert_false(route_matches("/v1/jobs/{job}", "/v1/jobs/a/logs", arena, found));
    assert_false(route_matches("/v1/jobs", "/v1/jobsx", arena, found));
    assert_false(route_matches("/v1/jobs", "/v1/job", arena, found));
    snprintf(longer, sizeof longer, "/v1/jobs/%0300d", 0);
    assert_false(route_matches("/v1/jobs/{job}", longer, arena, found));
}

static void every_route_says_who_and_what_and_no_two_are_the_same(void **state)
{
    size_t count;
    const struct route *table = routes(&count);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        assert_non_null(table[i].handler);
        assert_true(table[i].summary && table[i].summary[0]);
        assert_true(table[i].scope == SCOPE_PUBLIC || table[i].scope == SCOPE_KNOWN ||
                    table[i].least > ROLE_NONE);
        for (size_t j = 0; j < i; j++)
            assert_false(strcmp(table[i].method, table[j].method) == 0 &&
                         strcmp(table[i].path, table[j].path) == 0);
    }
}

static void no_route_that_changes_something_is_public_or_a_viewers(void **state)
{
    size_t count;
    const struct route *table = routes(&count);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(table[i].method, "GET") == 0)
            continue;
        assert_true(table[i].scope != SCOPE_PUBLIC);
        if (strcmp(table[i].path, "/v1/whatif") == 0)
            continue; /* a question with a body: it changes nothing */
        assert_true(table[i].scope == SCOPE_KNOWN || table[i].least >= ROLE_MEMBER);
    }
}

static void the_openapi_document_has_every_route(void **state)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    size_t count, operations = 0;
    const struct route *table = routes(&count);
    const struct doc *paths = doc_get(routes_openapi(arena), "paths");
    (void)state;
    for (size_t i = 0; i < count; i++) {
        char method[8] = "";
        for (size_t c = 0; table[i].method[c]; c++)
            method[c] = (char)(table[i].method[c] | 0x20);
        /* A parameter that may hold slashes is an ordinary one there. */
        char *path = arena_strdup(arena, table[i].path);
        char *dots = strstr(path, "...}");
        if (dots)
            memcpy(dots, "}", 2);
        const struct doc *operation = doc_get(doc_get(paths, path), method);
        assert_non_null(operation);
        assert_string_equal(doc_get_string(operation, "summary"), table[i].summary);
        assert_non_null(doc_get(operation, "responses"));
    }
    for (const struct doc *path = paths->first; path; path = path->next)
        operations += path->count;
    assert_int_equal(operations, count);
}

/* ---- who may what ---------------------------------------------------------------------------- */

static void put_team(struct catalog *catalog, const char *name, const char *spec)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct error why;
    const char *text = arena_printf(arena,
        "{\"apiVersion\":\"muster/"
        "v1\",\"kind\":\"Team\",\"metadata\":{\"name\":\"%s\"},\"spec\":%s}",
        name, spec);
    struct doc *doc = doc_parse_json(arena, text, strlen(text), DOC_BYTES_MAX, &why);
    assert_non_null(doc);
    assert_works(catalog_put(catalog, KIND_TEAM, doc, 0, err));
}

/* root > vision > sub, root > speech */
static struct catalog *some_teams(void)
{
    struct catalog *catalog = catalog_create();
    put_team(catalog, "root", "{\"members\":[{\"user\":\"eve\",\"role\":\"admin\"}]}");
    put_team(catalog, "vision",
        "{\"parent\":\"root\",\"members\":[{\"user\":\"ada\",\"role\":\"member\"}]}");
    put_team(catalog, "sub",
        "{\"parent\":\"vision\",\"members\":[{\"user\":\"ada\",\"role\":\"viewer\"},"
        "{\"user\":\"bob\",\"role\":\"admin\"}]}");
    put_team(catalog, "speech", "{\"parent\":\"root\"}");
    return catalog;
}

static void roles_hold_for_a_team_and_all_below_it(void **state)
{
    struct catalog *catalog = some_teams();
    const struct identity ada = {.user = "ada"}, bob = {.user = "bob"}, eve = {.user = "eve"};
    (void)state;
    assert_int_equal(identity_role(catalog, &ada, "vision"), ROLE_MEMBER);
    assert_int_equal(identity_role(catalog, &ada, "sub"), ROLE_MEMBER);
    assert_int_equal(identity_role(catalog, &ada, "speech"), ROLE_NONE);
    assert_int_equal(identity_role(catalog, &ada, "root"), ROLE_NONE);
    assert_int_equal(identity_role(catalog, &bob, "sub"), ROLE_ADMIN);
    assert_int_equal(identity_role(catalog, &bob, "vision"), ROLE_NONE);
    assert_int_equal(identity_role(catalog, &eve, "speech"), ROLE_ADMIN);
    assert_int_equal(identity_role(catalog, &eve, "nowhere"), ROLE_NONE);
    assert_int_equal(identity_role_anywhere(catalog, &bob), ROLE_ADMIN);
    assert_int_equal(
        identity_role_anywhere(catalog, &(struct identity){.user = "mallory"}), ROLE_NONE);
    catalog_destroy(catalog);
}

static void a_scope_takes_roles_away_and_gives_none(void **state)
{
    struct catalog *catalog = some_teams();
    struct identity eve = {.user = "eve", .scope = {.count = 1, .teams = {"vision"}}};
    struct identity ada = {.user = "ada", .scope = {.count = 1, .teams = {"speech"}}};
    (void)state;
    assert_int_equal(identity_role(catalog, &eve, "vision"), ROLE_ADMIN);
    assert_int_equal(identity_role(catalog, &eve, "sub"), ROLE_ADMIN);
    assert_int_equal(identity_role(catalog, &eve, "speech"), ROLE_NONE);
    assert_int_equal(identity_role(catalog, &eve, "root"), ROLE_NONE);
    assert_int_equal(identity_role_anywhere(catalog, &eve), ROLE_ADMIN);
    assert_int_equal(identity_role_anywhere(catalog, &ada), ROLE_NONE);
    catalog_destroy(catalog);
}

/* ---- within a tick --------------------------------------------------------------------------- */

/* Runs a command and waits for its end. */
static void run_now(struct world *world, command_run_fn *run, void *context)
{
    assert_works(ticker_submit(world->server.ticker, "tester", run, NULL, context, err));
    world_settle(world);
}

struct issued {
    struct token_request request;
    char text[TOKEN_TEXT];
    char id[TOKEN_TEXT];
};

static int run_issue(struct tick *tick, void *context, struct error *err)
{
    struct issued *issued = context;
    (void)err;
    tokens_issue(tick_server(tick)->tokens, tick, &issued->request, issued->text, issued->id);
    return 0;
}

static int run_revoke(struct tick *tick, void *context, struct error *err)
{
    return tokens_revoke(tick_server(tick)->tokens, tick, context, err);
}

static void a_token_is_good_until_it_expires_or_is_revoked(void **state)
{
    struct world *world = *state;
    struct tokens *tokens = world->server.tokens;
    struct issued issued = {
        .request = {.user = "ada", .expires_ms = 1000, .scope = {1, {"vision"}}}};
    struct token_owner owner;
    run_now(world, run_issue, &issued);
    assert_int_equal(tokens_check(tokens, issued.text, 999, &owner), 0);
    assert_string_equal(owner.user, "ada");
    assert_string_equal(owner.scope->teams[0], "vision");
    assert_true(tokens_valid(tokens, owner.id, 999));
    assert_int_equal(tokens_check(tokens, issued.text, 1000, &owner), -1);
    assert_int_equal(tokens_check(tokens, issued.id, 0, &owner), -1);
    assert_int_equal(tokens_check(tokens, "", 0, &owner), -1);
    assert_works(tokens_load(tokens, world->server.reader, err));
    assert_int_equal(tokens_check(tokens, issued.text, 999, &owner), 0);
    assert_int_equal(owner.scope->count, 1);
    run_now(world, run_revoke, issued.id);
    assert_int_equal(tokens_check(tokens, issued.text, 0, &owner), -1);
    assert_false(tokens_valid(tokens, issued.id, 0));
}

static int run_assign(struct tick *tick, void *context, struct error *err)
{
    struct uids *uids = tick_server(tick)->uids;
    (void)context, (void)err;
    uids_assign(uids, tick, "high", 4294967293);
    uids_assign(uids, tick, "given", -1);
    uids_assign(uids, tick, "given", -1);
    uids_assign(uids, tick, "next", -1);
    return 0;
}

static void uids_are_given_once_and_never_near_those_that_mean_no_change(void **state)
{
    struct world *world = *state;
    struct uids *uids = world->server.uids;
    run_now(world, run_assign, NULL);
    assert_int_equal(uids_get(uids, "high"), 4294967293);
    assert_in_range(uids_get(uids, "given"), 1700000000, 1700001000);
    assert_int_equal(uids_get(uids, "next"), uids_get(uids, "given") + 1);
    assert_int_equal(uids_get(uids, "nobody"), 0);
    struct error why;
    assert_int_equal(uids_check(uids, "other", 4294967293, &why), -1);
    assert_int_equal(why.code, ERR_CONFLICT);
    assert_int_equal(uids_check(uids, "other", 999, &why), -1);
    assert_int_equal(why.code, ERR_INVALID);
    assert_works(uids_check(uids, "high", 4294967293, err));
    assert_works(uids_load(uids, world->server.reader, err));
    assert_int_equal(uids_get(uids, "high"), 4294967293);
}

static const char secret[] = "correct horse";

static int run_put(struct tick *tick, void *context, struct error *err)
{
    (void)context, (void)err;
    vault_put(tick_server(tick)->vault, tick, "vision", "hub", secret, strlen(secret));
    return 0;
}

static int find_text(void *context, const struct document *document, struct error *err)
{
    (void)context, (void)err;
    assert_null(strstr(document->json, secret));
    return 0;
}

static int move_secret(struct tick *tick, void *context, struct error *err)
{
    SCOPED(mem_scope) char *json = NULL;
    (void)context;
    if (reader_document(
            tick_server(tick)->reader, vault_collection, "vision/hub", &json, NULL, err) < 0)
        return -1;
    store_txn_put_document(tick_txn(tick), vault_collection, "speech/hub", "speech", json, 1);
    return 0;
}

static void a_secret_is_stored_sealed_and_opens_for_its_own_team_only(void **state)
{
    struct world *world = *state;
    struct server *server = &world->server;
    char *value;
    size_t size;
    struct error why;
    run_now(world, run_put, NULL);
    assert_works(
        reader_documents(server->reader, vault_collection, NULL, NULL, 10, find_text, NULL, err));
    assert_works(vault_get(server->vault, server->reader, "vision", "hub", &value, &size, err));
    assert_int_equal(size, strlen(secret));
    assert_memory_equal(value, secret, size);
    vault_free(value, size);
    assert_int_equal(
        vault_get(server->vault, server->reader, "speech", "hub", &value, &size, &why), -1);
    assert_int_equal(why.code, ERR_NOT_FOUND);
    run_now(world, move_secret, NULL);
    assert_int_equal(
        vault_get(server->vault, server->reader, "speech", "hub", &value, &size, &why), -1);
    assert_int_equal(why.code, ERR_CORRUPT);
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_of_jobs_survive_their_text_in_order),
        cmocka_unit_test(what_is_no_id_of_a_job_is_not_taken_for_one),
        cmocka_unit_test(paths_match_whole_and_give_their_parameters),
        cmocka_unit_test(every_route_says_who_and_what_and_no_two_are_the_same),
        cmocka_unit_test(no_route_that_changes_something_is_public_or_a_viewers),
        cmocka_unit_test(the_openapi_document_has_every_route),
        cmocka_unit_test(roles_hold_for_a_team_and_all_below_it),
        cmocka_unit_test(a_scope_takes_roles_away_and_gives_none),
        IN_A_WORLD(a_token_is_good_until_it_expires_or_is_revoked),
        IN_A_WORLD(uids_are_given_once_and_never_near_those_that_mean_no_change),
        IN_A_WORLD(a_secret_is_stored_sealed_and_opens_for_its_own_team_only),
    };
    return cmocka_run_group_tests_name("server_parts", tests, NULL, NULL);
}
