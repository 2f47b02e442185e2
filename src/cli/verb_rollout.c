/* muster rollout: how far a new revision of a service is, and what to do about it. */
#include "base/memory.h"
#include "base/strbuf.h"
#include "cli/api.h"
#include "cli/job.h"
#include "cli/verbs.h"
#include "cli/view.h"

#include <string.h>

static const struct option_spec options[] = {
    JOB_TEAM_OPTION,
    {NULL},
};

static const struct option_spec status_options[] = {
    JOB_TEAM_OPTION,
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to show it", "table|wide|json|yaml"},
    {NULL},
};

static const struct view_column arm_columns[] = {
    {"ARM", "arm"},
    {"REVISION", "revision", .right = true},
    {"VERSION", "version", .right = true},
    {"READY", "ready", .right = true},
    {"REQUESTS", "requests", .right = true},
    {"ERRORS", "errors", .right = true},
    {"P50-MS<=", "p50MsAtMost", .right = true},
    {"P99-MS<=", "p99MsAtMost", .right = true},
    {"SCORES", "scores", .right = true, .wide = true},
    {"SCORE", "scoreMean", .right = true, .wide = true},
    {"COMPARED", "compared", .right = true, .wide = true},
    {"DIFFERING", "differing", .right = true, .wide = true},
    {NULL},
};

static const struct view_column test_columns[] = {
    {"TEST", "test"},
    {"SAYS", "says"},
    {"WORSE", "worseBits", .right = true},
    {"ALARM-AT", "alarmBits", .right = true},
    {"NO-WORSE", "noWorseBits", .right = true},
    {"PASSES-AT", "passBits", .right = true},
    {"AT-MS", "atMs", .right = true, .wide = true},
    {NULL},
};

/* What the new revision gets in this step. */
static const char *share_of(const struct cli *cli, const struct doc *doc)
{
    const char *strategy = view_text(doc, "strategy"), *weight = view_text(doc, "weight");
    if (strategy && !strcmp(strategy, "blue-green"))
        return "all of the requests once all of its replicas are ready";
    return arena_printf(cli->arena, "%s%s%% of the requests",
        strategy && !strcmp(strategy, "shadow") ? "copies of " : "", weight ? weight : "0");
}

static void write_status(
    const struct cli *cli, const struct doc *doc, bool wide, struct strbuf *out)
{
    const char *state = view_text(doc, "state"), *step = view_text(doc, "step");
    view_append_line(cli, out, "Service:  ", view_text(doc, "service"), NULL);
    view_append_line(cli, out, "Strategy: ", view_text(doc, "strategy"), NULL);
    view_append_line(cli, out, "State:    ", state, view_state_colour(state));
    if (step)
        view_append_line(cli, out, "Step:     ",
            arena_printf(
                cli->arena, "%s of %s, %s", step, view_text(doc, "steps"), share_of(cli, doc)),
            NULL);
    view_append_line(cli, out, "          ", view_text(doc, "says"), NULL);
    const struct doc *arms = doc_get(doc, "arms"), *tests = doc_get(doc, "tests");
    strbuf_putc(out, '\n');
    if (arms)
        view_write_table(cli, arm_columns, arms, wide, out);
    if (!tests || tests->count == 0)
        return;
    strbuf_puts(out, "\nEvidence in bits: 1 more is twice as sure\n");
    view_write_table(cli, test_columns, tests, wide, out);
}

/* ret_target: the rollout of the service that the operand names. NULL after an error. */
static struct api *find(struct cli *cli, struct strbuf *ret_target, struct error *err)
{
    const struct view *view = view_find("services", err);
    struct api *api = view ? cli_api(cli, err) : NULL;
    if (!api)
        return NULL;
    job_append_view_target(cli, ret_target, view, arguments_operand(cli->args, 0));
    strbuf_puts(ret_target, "/rollout");
    return api;
}

static int run_status(struct cli *cli, struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf out = {0};
    SCOPED(strbuf_finish) struct strbuf target = {0};
    const struct doc *doc = NULL;
    const char *format = arguments_text(cli->args, "output");
    bool wide = format && strcmp(format, "wide") == 0;
    struct api *api = find(cli, &target, err);
    if (!api || api_get(api, cli->arena, strbuf_text(&target), &doc, err) < 0)
        return -1;
    if (format && !wide && strcmp(format, "table") != 0)
        return cli_write_doc(cli, doc, format, err);
    write_status(cli, doc, wide, &out);
    return cli_puts(cli, strbuf_text(&out), err);
}

static int act(struct cli *cli, const char *action, const char *done, struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf target = {0};
    struct api *api = find(cli, &target, err);
    strbuf_printf(&target, "/%s", action);
    if (!api || api_call(api, cli->arena, "POST", strbuf_text(&target), NULL, NULL, NULL, err) < 0)
        return -1;
    return cli_puts(cli,
        arena_printf(cli->arena, "the rollout of %s %s\n", arguments_operand(cli->args, 0), done),
        err);
}

static int run_pause(struct cli *cli, struct error *err)
{
    return act(cli, "pause", "is paused", err);
}

static int run_resume(struct cli *cli, struct error *err)
{
    return act(cli, "resume", "goes on", err);
}

static int run_promote(struct cli *cli, struct error *err)
{
    return act(cli, "promote", "is over: what was tried is promoted", err);
}

static int run_abort(struct cli *cli, struct error *err)
{
    return act(cli, "abort", "is over: what was stable stays", err);
}

static const struct verb actions[] = {
    {.name = "status",
        .operands = "SERVICE",
        .summary = "show its step, what each arm was seen to do, and what the tests say of it",
        .examples = "muster rollout status vision/digits\n"
                    "muster rollout status digits -o json",
        .options = status_options,
        .scope = VERB_REMOTE,
        .run = run_status},
    {.name = "pause",
        .operands = "SERVICE",
        .summary = "keep it at its step; an alarm still aborts it",
        .options = options,
        .scope = VERB_REMOTE,
        .run = run_pause},
    {.name = "resume",
        .operands = "SERVICE",
        .summary = "let it go on, with all of its patience",
        .options = options,
        .scope = VERB_REMOTE,
        .run = run_resume},
    {.name = "promote",
        .operands = "SERVICE",
        .summary = "make the tried revision the service's, whatever was seen of it",
        .options = options,
        .scope = VERB_REMOTE,
        .run = run_promote},
    {.name = "abort",
        .operands = "SERVICE",
        .summary = "take the tried revision back: the stable one stays",
        .options = options,
        .scope = VERB_REMOTE,
        .run = run_abort},
    {NULL},
};

const struct verb verb_rollout = {
    .name = "rollout",
    .operands = "ACTION",
    .summary = "show, pause, promote and abort rollouts of services",
    .actions = actions,
    .scope = VERB_REMOTE,
};
