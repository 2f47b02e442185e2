/* muster promote: ask for a model's version to take a stage. */
#include "base/memory.h"
#include "cli/api.h"
#include "cli/job.h"
#include "cli/promotion.h"
#include "cli/verbs.h"

#include <string.h>

enum { PAUSE_MS = 300, PATIENCE = 200 /* pauses in a row without any server: a minute */ };

static const struct option_spec options[] = {
    {"to", 0, OPTION_CHOICE, "STAGE", "the stage; archived and candidate need no promotion",
        "staging|production|archived|candidate"},
    {"note", 0, OPTION_TEXT, "TEXT", "what those who approve it should know"},
    {"wait", 'w', OPTION_FLAG, NULL, "wait until it is granted, refused or withdrawn"},
    {"team", 0, OPTION_TEXT, "TEAM", "the team of a model that is named without one", NULL,
        "MUSTER_TEAM"},
    {NULL},
};

static bool is_open(const struct doc *promotion)
{
    const char *state = view_text(promotion, "state");
    return state && (strcmp(state, "evaluating") == 0 || strcmp(state, "waiting") == 0);
}

/* Over restarts of the server, which loses no promotion. */
static int wait_decided(
    struct cli *cli, struct api *api, const struct doc **promotion, struct error *err)
{
    const char *target = arena_printf(cli->arena, "/v1/promotions/%s", view_text(*promotion, "id"));
    int failures = 0;
    cli_catch_interrupts(-1);
    while (is_open(*promotion)) {
        struct error trouble = {0};
        cli_pause(PAUSE_MS);
        if (cli_interrupted()) {
            cli->exit_status = 130;
            return 0;
        }
        if (api_get(api, cli->arena, target, promotion, &trouble) == 0)
            failures = 0;
        else if ((trouble.code != ERR_UNAVAILABLE && trouble.code != ERR_UNKNOWN) ||
                 ++failures > PATIENCE)
            return error_set(err, trouble.code, "%s", trouble.text);
    }
    return 0;
}

static int ask(
    struct cli *cli, struct api *api, const char *version, const char *stage, struct error *err)
{
    const struct doc *promotion = NULL;
    struct doc *request = doc_map(cli->arena);
    doc_set_string(cli->arena, request, "stage", stage);
    doc_set_string(cli->arena, request, "note", arguments_text(cli->args, "note"));
    if (api_call(api, cli->arena, "POST", arena_printf(cli->arena, "%s/promotions", version),
            request, NULL, &promotion, err) < 0)
        return -1;
    if (arguments_flag(cli->args, "wait") && is_open(promotion) &&
        (promotion_say(cli, promotion, err) < 0 || wait_decided(cli, api, &promotion, err) < 0))
        return -1;
    return promotion_say(cli, promotion, err);
}

static int run(struct cli *cli, struct error *err)
{
    const char *stage = arguments_text(cli->args, "to");
    const char *name = arguments_operand(cli->args, 0);
    if (!stage)
        return error_set(err, ERR_INVALID, "say where to: --to staging or --to production");
    const char *version = promotion_target(cli, name, err);
    struct api *api = version ? cli_api(cli, err) : NULL;
    if (!api)
        return -1;
    if (strcmp(stage, "staging") == 0 || strcmp(stage, "production") == 0)
        return ask(cli, api, version, stage, err);
    const char *target = arena_printf(
        cli->arena, "%s/%s", version, strcmp(stage, "archived") == 0 ? "archive" : "candidate");
    if (api_call(api, cli->arena, "POST", target, NULL, NULL, NULL, err) < 0)
        return -1;
    return cli_puts(cli, arena_printf(cli->arena, "%s is %s\n", name, stage), err);
}

const struct verb verb_promote = {
    .name = "promote",
    .operands = "MODEL",
    .summary = "ask for a version of a model to take a stage",
    .description =
        "The model's gate for the stage is asked first; every reason against it is printed, and "
        "the exit status is 1. A gate with an evaluation runs it as a job. Then approvers decide "
        "(muster approve), as many as the gate says; unless the team says otherwise, whoever asked "
        "is not one of them. The version that held the stage is archived.\n\n"
        "The version is named as NAME:3, NAME@staging, or NAME for the newest.",
    .examples = "muster promote vision/digits:7 --to production --note 'fewer false sevens'\n"
                "muster promote digits@staging --to production --wait",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
