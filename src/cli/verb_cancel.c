/* muster cancel: end a job and whatever of it runs. */
#include "cli/job.h"
#include "cli/verbs.h"

static const struct option_spec options[] = {
    JOB_TEAM_OPTION,
    {NULL},
};

static int run(struct cli *cli, struct error *err)
{
    return job_post_each(cli, "/cancel", "cancelled", err);
}

const struct verb verb_cancel = {
    .name = "cancel",
    .operands = "JOB...",
    .summary = "end a job and whatever of it runs",
    .description = "Every rank gets SIGTERM, then the job's grace period, then SIGKILL. A job that "
                   "waits ends at once. Elements of an array are jobs of their own.",
    .examples = "muster cancel vision/train",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
