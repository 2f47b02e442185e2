/* muster refuse: refuse a promotion. */
#include "cli/promotion.h"
#include "cli/verbs.h"

static const struct option_spec options[] = {
    {"note", 0, OPTION_TEXT, "TEXT", "why"},
    {NULL},
};

static int run(struct cli *cli, struct error *err)
{
    return promotion_post_each(cli, "refuse", err);
}

const struct verb verb_refuse = {
    .name = "refuse",
    .operands = "PROMOTION...",
    .summary = "refuse a promotion",
    .description = "Takes the role approver in the team of the model. An evaluation that runs is "
                   "cancelled.",
    .examples = "muster refuse p1m81s81e7485n --note 'the test data is old'",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
