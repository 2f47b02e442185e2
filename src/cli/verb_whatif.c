/* muster whatif: what a changed quota, pool, price or policy would do to the jobs there are. */
#include "base/memory.h"
#include "cli/api.h"
#include "cli/apply.h"
#include "cli/job.h"
#include "cli/load.h"
#include "cli/verbs.h"
#include "cli/view.h"

#include <string.h>

static const struct view_column figure_columns[] = {
    {"TEAM", "team", .fallback = "all"},
    {"WAITING", "waiting", .right = true},
    {"MEAN WAIT", "today.meanWaitSeconds", VIEW_SECONDS, .right = true},
    {"THEN", "changed.meanWaitSeconds", VIEW_SECONDS, .right = true},
    {"NOT STARTED", "today.notStarted", .right = true},
    {"THEN", "changed.notStarted", .right = true},
    {"ALL DONE", "today.lastEnd", VIEW_TIME},
    {"THEN", "changed.lastEnd", VIEW_TIME},
    {"COST", "today.cost", .right = true},
    {"THEN", "changed.cost", .right = true},
    {NULL},
};

static const struct view_column job_columns[] = {
    {"JOB", "name"},
    {"TEAM", "team"},
    {"STARTS ABOUT", "today.median", VIEW_TIME},
    {"THEN", "changed.median", VIEW_TIME},
    {"AT THE LATEST", "today.latest", VIEW_TIME},
    {"THEN", "changed.latest", VIEW_TIME},
    {NULL},
};

static const struct option_spec options[] = {
    {"file", 'f', OPTION_LIST, "FILE",
        "changed Pools and Teams: a manifest, a folder of them, or - for standard input; may be "
        "repeated"},
    {"policy", 0, OPTION_TEXT, "NAME",
        "another policy, such as tight (where) or tiresias (who), or several joined with +"},
    {"job", 'j', OPTION_TEXT, "JOB", "show this job first"},
    JOB_TEAM_OPTION,
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to show it", "table|json|yaml"},
    {NULL},
};

/* What the server had to say stands beside the line that it is about. */
static int send(struct cli *cli, struct api *api, const struct loaded_list *list,
    const struct doc **ret_answer, struct error *err)
{
    struct doc *body = doc_map(cli->arena);
    struct doc *objects = doc_set(cli->arena, body, "objects", doc_list(cli->arena));
    const char *job = arguments_text(cli->args, "job");
    for (size_t i = 0; i < list->count; i++)
        doc_append(objects, doc_copy(cli->arena, list->items[i].doc));
    doc_set_string(cli->arena, body, "policy", arguments_text(cli->args, "policy"));
    if (job)
        doc_set_string(cli->arena, body, "job", job_reference(cli, job));
    struct strbuf text = {0};
    doc_write_json(body, 0, &text);
    int failed = api_send(api, cli->arena, "POST", "/v1/whatif", "application/json", text.text,
        text.length, 80000, true, ret_answer, err);
    strbuf_finish(&text);
    if (!failed)
        return 0;
    if (api_problem(api))
        load_locate_problem(list, api_problem(api), &cli->problem);
    load_locate_error(list, err);
    return -1;
}

static int show(struct cli *cli, const struct doc *answer, struct error *err)
{
    struct strbuf out = {0};
    struct doc *figures = doc_list(cli->arena);
    const struct doc *teams = view_at(answer, "teams"), *jobs = view_at(answer, "jobs.items");
    if (view_at(answer, "total"))
        doc_append(figures, doc_copy(cli->arena, view_at(answer, "total")));
    for (const struct doc *one = teams ? teams->first : NULL; one; one = one->next)
        doc_append(figures, doc_copy(cli->arena, one));
    view_write_table(cli, figure_columns, figures, false, &out);
    if (jobs && jobs->first) {
        strbuf_putc(&out, '\n');
        view_write_table(cli, job_columns, jobs, false, &out);
    }
    int failed = cli_puts(cli, out.text, err);
    strbuf_finish(&out);
    return failed;
}

/* A policy may be all that is changed. */
static int load(struct cli *cli, struct loaded_list *list, struct error *err)
{
    const char *const *files;
    size_t count;
    if (arguments_text(cli->args, "policy") && !arguments_item(cli->args, "file", 0))
        return 0;
    if (apply_file_list(cli, &files, &count, err) < 0)
        return -1;
    return load_paths(cli->arena, files, count, list, &cli->problem, err);
}

static int run(struct cli *cli, struct error *err)
{
    SCOPED(load_finish) struct loaded_list list = {0};
    const struct doc *answer = NULL;
    struct api *api = cli_api(cli, err);
    if (!api || load(cli, &list, err) < 0 || send(cli, api, &list, &answer, err) < 0)
        return -1;
    const char *format = arguments_text(cli->args, "output");
    if (format && strcmp(format, "table") != 0)
        return cli_write_doc(cli, answer, format, err);
    return show(cli, answer, err);
}

const struct verb verb_whatif = {
    .name = "whatif",
    .operands = "",
    .summary = "show what a changed quota, pool, price or policy would do to the jobs there are",
    .description =
        "The state as it is now is run forward twice, without and with the changes, several times "
        "each with the same lengths of the jobs: when what waits now starts, how long it waits on "
        "the average, when all of it is done and what it costs. Nothing is changed. Jobs that are "
        "yet to be submitted are not foreseen. You see the jobs of the teams that you may see.",
    .examples = "muster whatif -f more-nodes.yaml\n"
                "muster whatif -f quota.yaml --job vision/train\n"
                "muster whatif --policy tight -o json",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
