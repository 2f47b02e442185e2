/* muster withdraw: withdraw a promotion that you asked for. */
#include "cli/promotion.h"
#include "cli/verbs.h"

static const struct option_spec options[] = {
    {"note", 0, OPTION_TEXT, "TEXT", "why"},
    {NULL},
};

static int run(struct cli *cli, struct error *err)
{
    return promotion_post_each(cli, "withdraw", err);
}

const struct verb verb_withdraw = {
    .name = "withdraw",
    .operands = "PROMOTION...",
    .summary = "withdraw a promotion that you asked for",
    .description = "For who asked for it, and for administrators of the team. An evaluation that "
                   "runs is cancelled.",
    .examples = "muster withdraw p1m81s81e7485n --note 'the test data is old'",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
