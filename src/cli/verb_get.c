/* muster get: lists of things, or single ones, as tables or documents. */
#include "base/memory.h"
#include "cli/api.h"
#include "cli/job.h"
#include "cli/verbs.h"
#include "cli/view.h"
#include "wire/url.h"

#include <string.h>

static const struct option_spec options[] = {
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to show them", "table|wide|json|yaml|name"},
    {"label", 'l', OPTION_TEXT, "KEY=VALUE", "only jobs with this label"},
    {"team", 't', OPTION_TEXT, "TEAM",
        "only what belongs to this team; the team of what is named without one", NULL,
        "MUSTER_TEAM"},
    {"state", 's', OPTION_TEXT, "STATE", "only jobs in this state: queued, running, failed, .."},
    {"all", 'a', OPTION_FLAG, NULL, "ended jobs too"},
    {NULL},
};

static int append_filters(const struct cli *cli, struct strbuf *target, struct error *err)
{
    const char *team = arguments_text(cli->args, "team");
    const char *state = arguments_text(cli->args, "state");
    const char *label = arguments_text(cli->args, "label");
    if (team)
        url_add_query(target, "team", team);
    if (state)
        url_add_query(target, "state", state);
    if (label && !strchr(label, '='))
        return error_set(err, ERR_INVALID, "--label: expected KEY=VALUE, got \"%.60s\"", label);
    if (label)
        url_add_query(target, "label", label);
    /* Who asks for a state by name wants it, ended or not. */
    if (!state && !arguments_flag(cli->args, "all"))
        url_add_query(target, "live", "true");
    return 0;
}

static int get_list(struct cli *cli, struct api *api, const struct view *view,
    const struct doc **ret_items, struct error *err)
{
    struct strbuf target = {0};
    strbuf_puts(&target, view->target);
    const char *team = arguments_text(cli->args, "team");
    int failed = 0;
    if (!strcmp(view->name, "jobs"))
        failed = append_filters(cli, &target, err);
    else if (view->owned && team)
        url_add_query(&target, "team", team);
    if (!failed)
        failed = api_list(api, cli->arena, target.text, ret_items, err);
    strbuf_finish(&target);
    return failed;
}

static int get_one(struct cli *cli, struct api *api, const struct view *view, const char *name,
    const struct doc **ret_item, struct error *err)
{
    struct strbuf target = {0};
    job_append_view_target(cli, &target, view, name);
    int failed = api_get(api, cli->arena, target.text, ret_item, err);
    if (!failed && !*ret_item)
        failed = error_set(err, ERR_INTERNAL, "the server's answer is empty");
    strbuf_finish(&target);
    return failed;
}

static int write_items(struct cli *cli, const struct view *view, const struct doc *items,
    const char *format, struct error *err)
{
    struct strbuf out = {0};
    if (!strcmp(format, "name")) {
        for (const struct doc *item = items->first; item; item = item->next)
            view_append_line(cli, &out, "", view_item_name(cli->arena, view, item), NULL);
    } else if (items->count > 0) {
        view_write_table(cli, view->columns, items, !strcmp(format, "wide"), &out);
    } else {
        cli_note(cli, "there are no %s%s", view->name,
            strcmp(view->name, "jobs") != 0 || arguments_flag(cli->args, "all")
                ? ""
                : " that have not ended; --all shows the others");
    }
    int failed = cli_puts(cli, strbuf_text(&out), err);
    strbuf_finish(&out);
    return failed;
}

static int run(struct cli *cli, struct error *err)
{
    const struct view *view = view_find(arguments_operand(cli->args, 0), err);
    struct api *api = view ? cli_api(cli, err) : NULL;
    if (!api)
        return -1;
    const char *format = arguments_text(cli->args, "output");
    format = format ? format : "table";
    bool document = !strcmp(format, "json") || !strcmp(format, "yaml");
    size_t names = arguments_operand_count(cli->args) - 1;
    const struct doc *items = NULL;
    if (names == 0 && get_list(cli, api, view, &items, err) < 0)
        return -1;
    struct doc *found = doc_list(cli->arena);
    for (size_t i = 1; i <= names; i++) {
        const struct doc *item = NULL;
        if (get_one(cli, api, view, arguments_operand(cli->args, i), &item, err) < 0)
            return -1;
        if (names == 1 && document)
            return cli_write_doc(cli, item, format, err);
        doc_append(found, doc_copy(cli->arena, item));
    }
    items = items ? items : found;
    if (!document)
        return write_items(cli, view, items, format, err);
    struct doc *list = doc_map(cli->arena);
    doc_set(cli->arena, list, "items", doc_copy(cli->arena, items));
    return cli_write_doc(cli, list, format, err);
}

const struct verb verb_get = {
    .name = "get",
    .operands = "KIND [NAME...]",
    .summary = "list jobs, services, models, datasets and what they run on",
    .description =
        "Kinds are jobs, services, models, datasets, runtimes, classes, teams, pools, nodes, "
        "and copies: versions that were brought to another site than their own. "
        "Shows all of a kind, or those that are named: what belongs to a team as team/name, a job "
        "also by its id, a node as pool/node. Jobs that have ended are left out unless --all or "
        "--state asks for them.\n\n"
        "-o json and -o yaml give whole documents: one that is named can be applied again; lists "
        "stand under items. -o name gives a name a line.",
    .examples = "muster get jobs --team vision -o wide\n"
                "muster get job vision/train -o yaml\n"
                "muster get jobs -l model=resnet --state failed -o name",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
