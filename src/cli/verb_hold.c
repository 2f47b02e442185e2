/* muster hold: keep a job from starting until it is released. */
#include "cli/job.h"
#include "cli/verbs.h"

static const struct option_spec options[] = {
    JOB_TEAM_OPTION,
    {NULL},
};

static int run(struct cli *cli, struct error *err)
{
    return job_post_each(cli, "/hold", "held", err);
}

const struct verb verb_hold = {
    .name = "hold",
    .operands = "JOB...",
    .summary = "keep a job from starting until it is released",
    .description = "A held job stays in the queue and takes no resources. One that runs already is "
                   "not touched.",
    .examples = "muster hold vision/train",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
