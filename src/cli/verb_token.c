/* muster token: who may ask the server over the network. */
#include "base/clock.h"
#include "base/memory.h"
#include "base/quantity.h"
#include "cli/api.h"
#include "cli/verbs.h"
#include "cli/view.h"
#include "spec/serving.h"

#include <stdio.h>
#include <string.h>

static const struct view_column columns[] = {
    {"ID", "id"},
    {"USER", "user"},
    {"EXPIRES", "expires", VIEW_TIME},
    {"CREATED", "created", VIEW_TIME},
    {"TEAMS", "teams", VIEW_LIST},
    {"INFERENCE", "inference"},
    {"SERVICES", "services", VIEW_LIST},
    {"DESCRIPTION", "description"},
    {NULL},
};

static const struct option_spec create_options[] = {
    {"expires", 0, OPTION_DURATION, "DURATION", "how long it is valid: 12h, 30d; 90d by default"},
    {"team", 0, OPTION_LIST, "TEAM", "valid for this team and those below only; may be repeated"},
    {"inference", 0, OPTION_FLAG, NULL, "good for asking services at the gateway only"},
    {"service", 0, OPTION_LIST, "TEAM/NAME",
        "with --inference: for this service only, whose team its user need not be a member of; may "
        "be "
        "repeated"},
    {"limit", 0, OPTION_LIST, "WHAT=MOST/PER",
        "with --inference: what it may ask for, such as requests=100/minute, tokens=50000/day, "
        "money=2.5/month or concurrency=4; may be repeated"},
    {"priority", 0, OPTION_TEXT, "PRIORITY",
        "with --inference: of its requests at a busy service: low, normal, high, urgent or 0 to "
        "1000"},
    {"description", 0, OPTION_TEXT, "TEXT", "what it is for"},
    {NULL},
};

static const struct option_spec list_options[] = {
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to show them", "table|json|yaml|csv"},
    {NULL},
};

enum { EXPIRES_DEFAULT_DAYS = 90 };

/* "requests=100/minute" as a limit of the API; the server checks its parts. */
static int add_limit(struct arena *arena, const char *text, struct doc *list, struct error *err)
{
    const char *equals = strchr(text, '='), *slash = equals ? strchr(equals, '/') : NULL;
    if (!equals || equals == text || !equals[1] || (slash && !slash[1]))
        return error_set(err, ERR_INVALID,
            "--limit: expected WHAT=MOST/PER, such as requests=100/minute or concurrency=4, got "
            "\"%.80s\"",
            text);
    struct doc *limit = doc_append(list, doc_map(arena));
    size_t most = slash ? (size_t)(slash - equals - 1) : strlen(equals + 1);
    doc_set_string(arena, limit, "what", arena_strndup(arena, text, (size_t)(equals - text)));
    doc_set_string(arena, limit, "most", arena_strndup(arena, equals + 1, most));
    if (slash)
        doc_set_string(arena, limit, "per", slash + 1);
    return 0;
}

static int add_serving(struct cli *cli, struct doc *request, struct error *err)
{
    struct arena *arena = cli->arena;
    struct doc *serving = doc_map(arena), *limits = doc_list(arena);
    const char *limit, *priority = arguments_text(cli->args, "priority");
    int64_t number;
    for (size_t i = 0; (limit = arguments_item(cli->args, "limit", i)); i++) {
        if (add_limit(arena, limit, limits, err) < 0)
            return -1;
    }
    if (priority && !serving_priority_parse(priority, &number))
        return error_set(err, ERR_INVALID,
            "--priority: expected low, normal, high, urgent or 0 to 1000, got \"%.40s\"", priority);
    if (limits->count > 0)
        doc_set(arena, serving, "limits", limits);
    if (priority)
        doc_set_int(arena, serving, "priority", number);
    if (serving->count > 0)
        doc_set(arena, request, "serving", serving);
    return 0;
}

static struct doc *create_request(struct cli *cli)
{
    struct arena *arena = cli->arena;
    struct doc *request = doc_map(arena);
    int64_t length_ms =
        arguments_number(cli->args, "expires", (int64_t)EXPIRES_DEFAULT_DAYS * 24 * 3600 * 1000);
    int64_t expires_ms = (clock_wall_ms() + length_ms) / 1000 * 1000;
    char expires[QUANTITY_TEXT];
    doc_set_string(arena, request, "user", arguments_operand(cli->args, 0));
    doc_set_string(arena, request, "expires", quantity_time(expires_ms, expires));
    const char *description = arguments_text(cli->args, "description");
    doc_set_string(arena, request, "description", description ? description : "");
    struct doc *teams = doc_list(arena);
    const char *team;
    for (size_t i = 0; (team = arguments_item(cli->args, "team", i)); i++)
        doc_append(teams, doc_string(arena, team));
    if (teams->count > 0)
        doc_set(arena, request, "teams", teams);
    struct doc *services = doc_list(arena);
    const char *service;
    for (size_t i = 0; (service = arguments_item(cli->args, "service", i)); i++)
        doc_append(services, doc_string(arena, service));
    if (services->count > 0)
        doc_set(arena, request, "services", services);
    if (arguments_flag(cli->args, "inference"))
        doc_set_bool(arena, request, "inference", true);
    return request;
}

static int run_create(struct cli *cli, struct error *err)
{
    struct api *api = cli_api(cli, err);
    const struct doc *answer = NULL;
    struct doc *request = create_request(cli);
    if (!api || add_serving(cli, request, err) < 0 ||
        api_call(api, cli->arena, "POST", "/v1/tokens", request, NULL, &answer, err) < 0)
        return -1;
    const char *token = view_text(answer, "token"), *id = view_text(answer, "id");
    if (!token)
        return error_set(err, ERR_INTERNAL, "the server gave no token");
    /* The token alone goes to standard output, so that it can go into a file. */
    cli_note(cli, "token %s is shown this once: keep it in a file with mode 600", id ? id : "");
    return cli_puts(cli, arena_printf(cli->arena, "%s\n", token), err);
}

static int run_list(struct cli *cli, struct error *err)
{
    struct api *api = cli_api(cli, err);
    const struct doc *items = NULL;
    if (!api || api_list(api, cli->arena, "/v1/tokens", &items, err) < 0)
        return -1;
    return view_write_items(cli, columns, items, arguments_text(cli->args, "output"), err);
}

static int run_revoke(struct cli *cli, struct error *err)
{
    struct api *api = cli_api(cli, err);
    if (!api)
        return -1;
    struct strbuf target = {0};
    int failed = 0;
    for (size_t i = 0; !failed && i < arguments_operand_count(cli->args); i++) {
        const char *id = arguments_operand(cli->args, i);
        strbuf_clear(&target);
        strbuf_puts(&target, "/v1/tokens");
        view_append_name(&target, id);
        failed = api_call(api, cli->arena, "DELETE", target.text, NULL, NULL, NULL, err);
        if (!failed)
            failed = cli_puts(cli, arena_printf(cli->arena, "token %s revoked\n", id), err);
    }
    strbuf_finish(&target);
    return failed;
}

static const struct verb actions[] = {
    {.name = "create",
        .operands = "USER",
        .summary = "make a token for a user, shown once",
        .examples = "muster token create ada --expires 30d > ~/.config/muster/token\n"
                    "muster token create shop --inference --service vision/digits\n"
                    "muster token create shop --inference --limit requests=100/minute "
                    "--limit money=20/month",
        .options = create_options,
        .scope = VERB_REMOTE,
        .run = run_create},
    {.name = "list",
        .operands = "",
        .summary = "list tokens, without their secrets",
        .options = list_options,
        .scope = VERB_REMOTE,
        .run = run_list},
    {.name = "revoke",
        .operands = "ID...",
        .summary = "make tokens worthless at once",
        .scope = VERB_REMOTE,
        .run = run_revoke},
    {NULL},
};

const struct verb verb_token = {
    .name = "token",
    .operands = "ACTION",
    .summary = "create, list and revoke the tokens of users",
    .description =
        "Whoever asks over the network shows a bearer token, which stands for a user. What the "
        "user may do is said by the members of teams. The server keeps only a hash of a token.",
    .actions = actions,
    .scope = VERB_REMOTE,
};
