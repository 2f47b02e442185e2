/* muster release: let a held job compete again. */
#include "cli/job.h"
#include "cli/verbs.h"

static const struct option_spec options[] = {
    JOB_TEAM_OPTION,
    {NULL},
};

static int run(struct cli *cli, struct error *err)
{
    return job_post_each(cli, "/release", "released", err);
}

const struct verb verb_release = {
    .name = "release",
    .operands = "JOB...",
    .summary = "let a held job compete again",

    .examples = "muster release vision/train",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
