/* muster up: everything on one machine, ready to take jobs. */
#include "cli/serve.h"
#include "cli/verbs.h"

static const struct option_spec options[] = {
    SERVE_OPTIONS,
    {NULL},
};

static int run(struct cli *cli, struct error *err)
{
    return serve(cli, true, err);
}

const struct verb verb_up = {
    .name = "up",
    .operands = "",
    .summary = "run a server on this machine with defaults that work at once",
    .description =
        "On a new data directory it makes the pool local of what the machine has, the teams root "
        "and default, and the built-in classes, so that jobs can be run at once. It stays in the "
        "foreground; ending it leaves running jobs alone, and starting it again finds them.",
    .examples = "muster up\n"
                "muster up --data ./here --listen 127.0.0.1:8443",
    .options = options,
    .scope = VERB_ALONE,
    .run = run,
};
