/* muster up: everything on one machine, ready to take jobs and requests. */
#include "cli/serve.h"
#include "cli/supervise.h"
#include "cli/verbs.h"

#include "base/memory.h"
#include "cli/paths.h"

#include <string.h>

#define GATEWAY "127.0.0.1:8080"

static const struct option_spec options[] = {
    SERVE_OPTIONS,
    {"gateway", 'G', OPTION_TEXT, "HOST:PORT",
        "where the gateway listens, with TLS when --cert and --key are given; " GATEWAY
        " by default, \"none\" for no gateway"},
    {NULL},
};

/* In the child: its own word on what went wrong, since the parent only sees the status. */
static int serve_child(void *context)
{
    struct cli *cli = context;
    struct error err = {0};
    if (serve(cli, true, &err) == 0)
        return 0;
    cli_note(cli, "%s", err.text);
    return error_exit_status(err.code);
}

static int run(struct cli *cli, struct error *err)
{
    const char *gateway = arguments_text(cli->args, "gateway");
    const char *cert = arguments_text(cli->args, "cert"), *key = arguments_text(cli->args, "key");
    const char *trust = arguments_text(cli->args, "trust");
    const char *data = serve_data_dir(cli, err);
    if (!data)
        return -1;
    if (!cert != !key)
        return error_set(err, ERR_INVALID, "--cert and --key belong together");
    serve_log_level(cli);
    struct supervise_options supervised = {.server = serve_child,
        .context = cli,
        .data = data,
        .gateway = !gateway                  ? GATEWAY
                   : strcmp(gateway, "none") ? gateway
                                             : NULL,
        .cert = cert ? path_absolute(cli->arena, cert) : NULL,
        .key = key ? path_absolute(cli->arena, key) : NULL,
        .trust = trust ? path_absolute(cli->arena, trust) : NULL,
        .log = arguments_text(cli->args, "log")};
    return supervise(&supervised, &cli->exit_status, err);
}

const struct verb verb_up = {
    .name = "up",
    .operands = "",
    .summary = "run server, gateway and planner on this machine with defaults that work at once",
    .description =
        "On a new data directory it makes the pool local of what the machine has, the teams root "
        "and default, and the built-in classes, so that jobs can be run at once. It stays in the "
        "foreground; ending it leaves running jobs alone, and starting it again finds them.\n"
        "\n"
        "Server, gateway and planner (which says when jobs start) are processes of their own, "
        "started again when they die; the end of one leaves the others alone.",
    .examples = "muster up\n"
                "muster up --data ./here --listen 127.0.0.1:8443 --gateway 127.0.0.1:9000",
    .options = options,
    .scope = VERB_ALONE,
    .run = run,
};
