/* muster planner: forecasts, as a service manager or `muster up` runs it. */
#include "cli/serve.h"
#include "cli/verbs.h"

#include "planner/planner.h"

static const struct option_spec options[] = {
    {"data", 'D', OPTION_TEXT, "DIR", "the server's data directory", NULL, "MUSTER_DATA"},
    {"log", 0, OPTION_CHOICE, "LEVEL", "the least that is logged", "debug|info|warn|error"},
    {NULL},
};

static int run(struct cli *cli, struct error *err)
{
    struct planner_config config = {.data_dir = serve_data_dir(cli, err)};
    if (!config.data_dir)
        return -1;
    serve_log_level(cli);
    return planner_run(&config, err);
}

const struct verb verb_planner = {
    .name = "planner",
    .operands = "",
    .summary = "run the planner, which says when jobs start and what a change would do",
    .description =
        "It follows what the server on the same data directory commits, keeps a copy of the live "
        "state, and runs it forward for muster explain and muster whatif. It changes nothing; "
        "without it the server still says what a job waits for, but not when it will start. It "
        "keeps nothing on disk and may be ended and started at any time.",
    .examples = "muster planner --data /srv/muster",
    .options = options,
    .scope = VERB_ALONE,
    .run = run,
};
