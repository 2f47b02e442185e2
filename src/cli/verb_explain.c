/* muster explain: why a job waits, who holds what it waits for, and when it will start. */
#include "base/memory.h"
#include "cli/api.h"
#include "cli/job.h"
#include "cli/verbs.h"
#include "cli/view.h"

#include <string.h>

static const struct view_column holder_columns[] = {
    {"HELD BY", "name", .fallback = "another team's job"},
    {"TEAM", "team"},
    {"HOLDS", "holds", .right = true},
    {"OF", "resource"},
    {"NODES", "nodes", .right = true},
    {"ENDS ABOUT", "end.median", VIEW_TIME},
    {"AT THE EARLIEST", "end.earliest", VIEW_TIME},
    {"AT THE LATEST", "end.latest", VIEW_TIME},
    {NULL},
};

static const struct view_column ahead_columns[] = {
    {"STARTS BEFORE IT", "name", .fallback = "another team's job"},
    {"TEAM", "team"},
    {"ABOUT", "start.median", VIEW_TIME},
    {NULL},
};

static const struct option_spec options[] = {
    JOB_TEAM_OPTION,
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to show it", "table|json|yaml"},
    {NULL},
};

static void write_list(const struct cli *cli, const struct doc *answer, const char *path,
    const struct view_column *columns, struct strbuf *out)
{
    const struct doc *items = view_at(answer, path);
    if (!items || !items->first)
        return;
    strbuf_putc(out, '\n');
    view_write_table(cli, columns, items, false, out);
}

static int show(struct cli *cli, const struct doc *answer, struct error *err)
{
    struct strbuf out = {0};
    const char *state = view_text(answer, "state");
    strbuf_printf(&out, "%s/%s is %s.\n", view_text(answer, "team"), view_text(answer, "name"),
        state ? state : "there");
    const struct doc *words = view_at(answer, "words");
    for (const struct doc *one = words ? words->first : NULL; one; one = one->next)
        view_append_line(cli, &out, "", one->text, NULL);
    write_list(cli, answer, "holders.items", holder_columns, &out);
    write_list(cli, answer, "ahead.items", ahead_columns, &out);
    int failed = cli_puts(cli, out.text, err);
    strbuf_finish(&out);
    return failed;
}

/* ---- services -------------------------------------------------------------------------------- */

static void append_reason(struct cli *cli, const struct doc *service, const char *title,
    const char *path, struct strbuf *out)
{
    const char *text = view_text(service, path);
    if (text)
        view_append_line(cli, out, title, text, NULL);
}

static void show_service(struct cli *cli, const struct doc *service, struct strbuf *out)
{
    const struct doc *words = view_at(service, "status.autoscale.words");
    const char *state = view_text(service, "status.state");
    strbuf_printf(out, "%s/%s is %s.\n", view_text(service, "metadata.team"),
        view_text(service, "metadata.name"), state ? state : "there");
    append_reason(cli, service, "Because: ", "status.why", out);
    append_reason(cli, service, "Not made because: ", "status.refused", out);
    for (const struct doc *one = words ? words->first : NULL; one; one = one->next)
        view_append_line(cli, out, "", one->text, NULL);
    append_reason(cli, service, "Quiet: ", "status.quiet.why", out);
    append_reason(cli, service, "Rollout: ", "status.rollout", out);
    if (!words)
        view_append_line(cli, out, "",
            "Its number of replicas is fixed, or nothing was decided about it yet.", NULL);
}

/* Why a service has as many replicas as it has. */
static int explain_service(struct cli *cli, const char *name, struct error *err)
{
    const struct view *view = view_find("services", err);
    struct api *api = view ? cli_api(cli, err) : NULL;
    SCOPED(strbuf_finish) struct strbuf target = {0}, out = {0};
    const struct doc *service = NULL;
    const char *format = arguments_text(cli->args, "output");
    if (!api)
        return -1;
    job_append_view_target(cli, &target, view, name);
    if (api_get(api, cli->arena, target.text, &service, err) < 0)
        return -1;
    if (format && strcmp(format, "table") != 0)
        return cli_write_doc(cli, view_at(service, "status.autoscale"), format, err);
    show_service(cli, service, &out);
    return cli_puts(cli, strbuf_text(&out), err);
}

static int run_service(struct cli *cli, struct error *err)
{
    const struct view *view = view_find(arguments_operand(cli->args, 0), err);
    if (!view)
        return -1;
    if (strcmp(view->name, "services") != 0)
        return error_set(err, ERR_INVALID,
            "expected service NAME, or the name of a job: %s are not explained", view->name);
    return explain_service(cli, arguments_operand(cli->args, 1), err);
}

static int run(struct cli *cli, struct error *err)
{
    if (arguments_operand_count(cli->args) > 1)
        return run_service(cli, err);
    struct api *api = cli_api(cli, err);
    if (!api)
        return -1;
    SCOPED(strbuf_finish) struct strbuf target = {0};
    const struct doc *answer = NULL;
    const char *format = arguments_text(cli->args, "output");
    job_append_target(cli, &target, arguments_operand(cli->args, 0), "/explain");
    if (api_get(api, cli->arena, target.text, &answer, err) < 0)
        return -1;
    if (format && strcmp(format, "table") != 0)
        return cli_write_doc(cli, answer, format, err);
    return show(cli, answer, err);
}

const struct verb verb_explain = {
    .name = "explain",
    .operands = "[KIND] NAME",
    .summary = "say why a job waits and when it will start, or why a service has its replicas",
    .description =
        "What it waits for comes from the scheduler itself, as it is now. When it starts comes "
        "from "
        "running that state forward several times, each time with other lengths of the jobs, drawn "
        "from how long such jobs really took: the middle of these runs is shown, and the earliest "
        "and the latest. Jobs that are yet to be submitted are not foreseen. Of teams whose jobs "
        "you may not see, no names are shown. Of a service (muster explain service NAME): how many "
        "replicas there are to be, by which figures, and what bounded that.",
    .examples = "muster explain vision/train\n"
                "muster explain vision/train -o json\n"
                "muster explain service vision/digits",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
