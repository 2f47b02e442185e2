/* muster node: the machines of the pools. */
#include "base/clock.h"
#include "base/memory.h"
#include "base/quantity.h"
#include "cli/api.h"
#include "cli/verbs.h"
#include "cli/view.h"

#include <string.h>

static const struct option_spec list_options[] = {
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to show them", "table|wide|json|yaml|csv"},
    {NULL},
};

static const struct option_spec reserve_options[] = {
    {"begin", 0, OPTION_MOMENT, "TIME",
        "from then on, such as 2026-01-31T08:30:00Z; now by default"},
    {"end", 0, OPTION_MOMENT, "TIME", "until then"},
    {"for", 0, OPTION_DURATION, "DURATION", "so long, in place of --end"},
    {NULL},
};

static int run_list(struct cli *cli, struct error *err)
{
    struct api *api = cli_api(cli, err);
    const struct view *view = view_find("nodes", err);
    const struct doc *items = NULL;
    if (!api || !view || api_list(api, cli->arena, view->target, &items, err) < 0)
        return -1;
    return view_write_items(cli, view->columns, items, arguments_text(cli->args, "output"), err);
}

static int post_each(struct cli *cli, const char *action, const char *done,
    const struct doc *request, struct error *err)
{
    struct api *api = cli_api(cli, err);
    if (!api)
        return -1;
    struct strbuf target = {0};
    int failed = 0;
    for (size_t i = 0; !failed && i < arguments_operand_count(cli->args); i++) {
        const char *node = arguments_operand(cli->args, i);
        if (!strchr(node, '/')) {
            failed = error_set(err, ERR_INVALID, "a node is named POOL/NODE, got \"%.60s\"", node);
            break;
        }
        strbuf_clear(&target);
        strbuf_puts(&target, "/v1/nodes");
        view_append_name(&target, node);
        strbuf_printf(&target, "/%s", action);
        failed = api_call(api, cli->arena, "POST", target.text, request, NULL, NULL, err);
        if (!failed)
            failed = cli_puts(cli, arena_printf(cli->arena, "node %s %s\n", node, done), err);
    }
    strbuf_finish(&target);
    return failed;
}

static int run_cordon(struct cli *cli, struct error *err)
{
    return post_each(cli, "cordon", "cordoned", NULL, err);
}

static int run_uncordon(struct cli *cli, struct error *err)
{
    return post_each(cli, "uncordon", "uncordoned", NULL, err);
}

static int run_drain(struct cli *cli, struct error *err)
{
    return post_each(cli, "drain", "draining", NULL, err);
}

static int run_reserve(struct cli *cli, struct error *err)
{
    int64_t begin_ms = arguments_number(cli->args, "begin", clock_wall_ms() / 1000 * 1000);
    int64_t end_ms = arguments_number(cli->args, "end", 0);
    if (end_ms == 0)
        end_ms = begin_ms + arguments_number(cli->args, "for", 0);
    if (end_ms <= begin_ms)
        return error_set(err, ERR_INVALID, "say until when: --end TIME or --for DURATION");
    char text[QUANTITY_TEXT];
    struct doc *request = doc_map(cli->arena);
    doc_set_string(cli->arena, request, "begin", quantity_time(begin_ms, text));
    doc_set_string(cli->arena, request, "end", quantity_time(end_ms, text));
    return post_each(cli, "reserve", "reserved", request, err);
}

static const struct verb actions[] = {
    {.name = "list",
        .operands = "",
        .summary = "list nodes with what they have and hold",
        .options = list_options,
        .scope = VERB_REMOTE,
        .run = run_list},
    {.name = "cordon",
        .operands = "NODE...",
        .summary = "start nothing more on nodes",
        .examples = "muster node cordon local/gpu-1",
        .scope = VERB_REMOTE,
        .run = run_cordon},
    {.name = "uncordon",
        .operands = "NODE...",
        .summary = "let nodes be used again: the end of cordon and drain",
        .scope = VERB_REMOTE,
        .run = run_uncordon},
    {.name = "drain",
        .operands = "NODE...",
        .summary = "start nothing more on nodes, and move away what runs there",
        .description = "Jobs on the node get SIGTERM and their grace period, and are queued again "
                       "with their checkpoints. It costs them no retry.",
        .scope = VERB_REMOTE,
        .run = run_drain},
    {.name = "reserve",
        .operands = "NODE...",
        .summary = "keep nodes free for maintenance",
        .description = "From --begin to --end nothing runs on the node; before it, nothing is "
                       "started there whose time limit reaches into it.",
        .examples = "muster node reserve local/gpu-1 --begin 2026-01-31T22:00:00Z --for 4h",
        .options = reserve_options,
        .scope = VERB_REMOTE,
        .run = run_reserve},
    {NULL},
};

const struct verb verb_node = {
    .name = "node",
    .operands = "ACTION",
    .summary = "list, cordon, drain and reserve nodes",
    .actions = actions,
    .scope = VERB_REMOTE,
};
