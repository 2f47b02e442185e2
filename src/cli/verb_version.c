/* muster version: of this program, and of the server where one is asked. */
#include "base/memory.h"
#include "base/version.h"
#include "cli/api.h"
#include "cli/verbs.h"
#include "cli/view.h"

#include <string.h>

static const struct option_spec options[] = {
    {"server", 's', OPTION_FLAG, NULL, "ask the server for its version too"},
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to show them", "table|json|yaml"},
    {NULL},
};

static int run(struct cli *cli, struct error *err)
{
    const struct doc *health = NULL;
    if (arguments_flag(cli->args, "server")) {
        struct api *api = cli_api(cli, err);
        if (!api || api_get(api, cli->arena, "/healthz", &health, err) < 0)
            return -1;
    }
    const char *server = view_text(health, "version");
    const char *format = arguments_text(cli->args, "output");
    if (format && strcmp(format, "table") != 0) {
        struct doc *doc = doc_map(cli->arena);
        doc_set_string(cli->arena, doc, "version", MUSTER_VERSION);
        doc_set_string(cli->arena, doc, "server", server);
        return cli_write_doc(cli, doc, format, err);
    }
    if (server && cli_puts(cli, arena_printf(cli->arena, "server %s\n", server), err) < 0)
        return -1;
    return cli_puts(cli, "muster " MUSTER_VERSION "\n", err);
}

const struct verb verb_version = {
    .name = "version",
    .operands = "",
    .summary = "show the version of the program, and of the server",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
