/* muster backup: a consistent copy of the store while the server runs. */
#include "base/memory.h"
#include "cli/api.h"
#include "cli/verbs.h"
#include "cli/view.h"

static int run(struct cli *cli, struct error *err)
{
    struct api *api = cli_api(cli, err);
    if (!api)
        return -1;
    struct doc *request = doc_map(cli->arena);
    const char *path = arguments_operand(cli->args, 0);
    if (path)
        doc_set_string(cli->arena, request, "path", path);
    const struct doc *answer = NULL;
    if (api_call(api, cli->arena, "POST", "/v1/backup", request, NULL, &answer, err) < 0)
        return -1;
    const char *written = view_text(answer, "path");
    return cli_puts(cli,
        arena_printf(cli->arena, "backup written to %s\n",
            written ? written
            : path  ? path
                    : "?"),
        err);
}

const struct verb verb_backup = {
    .name = "backup",
    .operands = "[NAME]",
    .summary = "copy the store while the server runs",
    .description =
        "The copy is made by the server, on its machine, below the data directory's backup/ "
        "folder. It is consistent: one moment of the store. Work directories, logs and "
        "checkpoints of jobs are files of the data directory and are not in it.",
    .examples = "muster backup before-upgrade.db",
    .scope = VERB_REMOTE,
    .run = run,
};
