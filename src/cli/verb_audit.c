/* muster audit: who did what, chained by hash. */
#include "base/memory.h"
#include "cli/api.h"
#include "cli/verbs.h"
#include "cli/view.h"
#include "wire/url.h"

#include <stdio.h>

static const struct view_column columns[] = {
    {"NUMBER", "sequence", .right = true},
    {"TIME", "at", VIEW_TIME},
    {"ACTOR", "actor"},
    {"ACTION", "action"},
    {"KIND", "kind"},
    {"NAME", "name"},
    {"TEAM", "team"},
    {"HASH", "hash", .wide = true},
    {NULL},
};

static const struct option_spec list_options[] = {
    {"team", 't', OPTION_TEXT, "TEAM", "only events of this team and those below"},
    {"after", 0, OPTION_NUMBER, "NUMBER", "only events after this one"},
    {"limit", 'n', OPTION_NUMBER, "COUNT", "at most so many; 100 by default"},
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to show them", "table|wide|json|yaml|csv"},
    {NULL},
};

static int run_list(struct cli *cli, struct error *err)
{
    struct api *api = cli_api(cli, err);
    if (!api)
        return -1;
    struct strbuf target = {0};
    strbuf_puts(&target, "/v1/audit");
    if (arguments_text(cli->args, "team"))
        url_add_query(&target, "team", arguments_text(cli->args, "team"));
    if (arguments_text(cli->args, "after"))
        url_add_query(&target, "after", arguments_text(cli->args, "after"));
    const char *limit = arguments_text(cli->args, "limit");
    url_add_query(&target, "limit", limit ? limit : "100");
    const struct doc *answer = NULL;
    int failed = api_get(api, cli->arena, target.text, &answer, err);
    strbuf_finish(&target);
    if (failed)
        return -1;
    const struct doc *items = view_at(answer, "items");
    if (!items)
        items = doc_list(cli->arena);
    return view_write_items(cli, columns, items, arguments_text(cli->args, "output"), err);
}

static int run_verify(struct cli *cli, struct error *err)
{
    struct api *api = cli_api(cli, err);
    const struct doc *answer = NULL;
    if (!api || api_call(api, cli->arena, "POST", "/v1/audit/verify", NULL, NULL, &answer, err) < 0)
        return -1;
    /* A chain that does not hold may be told as an answer or as a problem: both are failures. */
    const struct doc *ok = view_at(answer, "ok");
    if (ok && ok->type == DOC_BOOL && !ok->boolean) {
        const char *detail = view_text(answer, "detail");
        return error_set(err, ERR_CORRUPT, "the audit chain does not hold%s%s", detail ? ": " : "",
            detail ? detail : "");
    }
    const char *count = view_text(answer, "events|count");
    return cli_puts(cli,
        arena_printf(cli->arena, "the audit chain holds: %s events\n", count ? count : "all"), err);
}

static const struct verb actions[] = {
    {.name = "list",
        .operands = "",
        .summary = "list audit events",
        .options = list_options,
        .scope = VERB_REMOTE,
        .run = run_list},
    {.name = "verify",
        .operands = "",
        .summary = "compute the chain of hashes again",
        .description = "Fails when an event was changed, added or taken away since it was "
                       "written, and names the first that does not fit.",
        .scope = VERB_REMOTE,
        .run = run_verify},
    {NULL},
};

const struct verb verb_audit = {
    .name = "audit",
    .operands = "ACTION",
    .summary = "show who did what, and check that nobody altered it",
    .actions = actions,
    .scope = VERB_REMOTE,
};
