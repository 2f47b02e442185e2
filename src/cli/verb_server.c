/* muster server: the control plane, as a service manager runs it. */
#include "cli/serve.h"
#include "cli/verbs.h"

static const struct option_spec options[] = {
    SERVE_OPTIONS,
    {NULL},
};

static int run(struct cli *cli, struct error *err)
{
    return serve(cli, false, err);
}

const struct verb verb_server = {
    .name = "server",
    .operands = "",
    .summary = "run the server, with what has been applied and nothing else",
    .description =
        "As up, without making a pool and teams on a new data directory. SIGHUP reads the "
        "certificates again, SIGTERM ends it in order; jobs go on in either case.",
    .examples = "muster server --data /srv/muster --listen :8443 --cert chain.pem --key key.pem",
    .options = options,
    .scope = VERB_ALONE,
    .run = run,
};
