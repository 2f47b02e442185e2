/* muster delete: services, what is not used any more, jobs that have ended. */
#include "base/memory.h"
#include "cli/api.h"
#include "cli/apply.h"
#include "cli/job.h"
#include "cli/load.h"
#include "cli/verbs.h"
#include "cli/view.h"
#include "spec/spec.h"

#include <string.h>

static const struct option_spec options[] = {
    APPLY_FILE_OPTION,
    JOB_TEAM_OPTION,
    {"missing-ok", 0, OPTION_FLAG, NULL, "what is not there is no error"},
    {NULL},
};

static int delete_one(struct cli *cli, const struct view *view, const char *name, struct error *err)
{
    struct api *api = cli_api(cli, err);
    if (!api)
        return -1;
    struct strbuf target = {0};
    job_append_view_target(cli, &target, view, name);
    struct error trouble = {0};
    int failed = api_call(api, cli->arena, "DELETE", target.text, NULL, NULL, NULL, &trouble);
    strbuf_finish(&target);
    if (failed && trouble.code == ERR_NOT_FOUND && arguments_flag(cli->args, "missing-ok"))
        return 0;
    if (failed)
        return error_set(err, trouble.code, "%s %s: %s", view->singular, name, trouble.text);
    return cli_puts(cli, arena_printf(cli->arena, "%s %s deleted\n", view->singular, name), err);
}

/* The opposite order of apply: jobs before the team that owns them. */
static int delete_loaded(struct cli *cli, const struct loaded_list *list, struct error *err)
{
    for (size_t i = list->count; i > 0; i--) {
        const struct loaded *loaded = &list->items[i - 1];
        const struct view *view = view_find(kind_plural(loaded->kind), err);
        const char *name = loaded->team
                               ? arena_printf(cli->arena, "%s/%s", loaded->team, loaded->name)
                               : loaded->name;
        if (!view || delete_one(cli, view, name, err) < 0)
            return -1;
    }
    return 0;
}

static int delete_files(struct cli *cli, struct error *err)
{
    const char *const *files;
    size_t count;
    struct loaded_list list = {0};
    if (apply_file_list(cli, &files, &count, err) < 0 ||
        load_paths(cli->arena, files, count, &list, &cli->problem, err) < 0)
        return -1;
    int failed = delete_loaded(cli, &list, err);
    load_finish(&list);
    return failed;
}

static int run(struct cli *cli, struct error *err)
{
    size_t operands = arguments_operand_count(cli->args);
    if (arguments_item(cli->args, "file", 0) && operands > 0)
        return error_set(err, ERR_INVALID, "say either -f or what to delete by name, not both");
    if (operands == 0)
        return delete_files(cli, err);
    const struct view *view = view_find(arguments_operand(cli->args, 0), err);
    if (!view)
        return -1;
    if (!strcmp(view->name, "nodes"))
        return error_set(err, ERR_INVALID, "a node is part of its pool: change the pool and apply");
    if (operands == 1)
        return error_set(err, ERR_INVALID, "say which %s: muster delete %s NAME", view->singular,
            view->singular);
    for (size_t i = 1; i < operands; i++) {
        if (delete_one(cli, view, arguments_operand(cli->args, i), err) < 0)
            return -1;
    }
    return 0;
}

const struct verb verb_delete = {
    .name = "delete",
    .operands = "[KIND] [NAME...]",
    .summary = "remove services, jobs that have ended, or what is not used",
    .description =
        "By name, or with -f what manifests describe, in the opposite order of apply. What is "
        "still "
        "used is refused: a pool, a team, a runtime, a model or dataset that has versions. A "
        "service's replicas finish the requests under way. A job that has not ended is refused: "
        "cancel it "
        "first. Its cost and its audit events stay.",
    .examples = "muster delete job vision/train\n"
                "muster delete -f jobs/ --missing-ok",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
