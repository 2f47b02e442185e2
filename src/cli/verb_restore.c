/* muster restore: a backup into an empty data directory. */
#include "base/file.h"
#include "base/memory.h"
#include "cli/paths.h"
#include "cli/serve.h"
#include "cli/verbs.h"
#include "store/store.h"

static const struct option_spec options[] = {
    {"data", 'D', OPTION_TEXT, "DIR", "the data directory, which has no store yet", NULL,
        "MUSTER_DATA"},
    {NULL},
};

static int run(struct cli *cli, struct error *err)
{
    const char *data = serve_data_dir(cli, err);
    if (!data || file_make_dirs(data, 0755, err) < 0)
        return -1;
    const char *backup = path_absolute(cli->arena, arguments_operand(cli->args, 0));
    if (store_restore(data, backup, err) < 0)
        return -1;
    return cli_puts(cli,
        arena_printf(cli->arena, "%s restored into %s; start it with muster server --data %s\n",
            backup, data, data),
        err);
}

const struct verb verb_restore = {
    .name = "restore",
    .operands = "FILE",
    .summary = "put a backup into an empty data directory",
    .description = "Works without a server. The backup and its audit chain are checked first; a "
                   "data directory that has a store already is refused.",
    .examples = "muster restore backup/before-upgrade.db --data /srv/muster-new",
    .options = options,
    .scope = VERB_ALONE,
    .run = run,
};
