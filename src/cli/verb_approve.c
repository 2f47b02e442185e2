/* muster approve: approve a promotion that somebody else asked for. */
#include "cli/promotion.h"
#include "cli/verbs.h"

static const struct option_spec options[] = {
    {"note", 0, OPTION_TEXT, "TEXT", "what there is to say about it"},
    {NULL},
};

static int run(struct cli *cli, struct error *err)
{
    return promotion_post_each(cli, "approve", err);
}

const struct verb verb_approve = {
    .name = "approve",
    .operands = "PROMOTION...",
    .summary = "approve a promotion that somebody else asked for",
    .description = "Takes the role approver in the team of the model. With the last approval that "
                   "the gate asks for, its conditions are looked at again: when they hold, the "
                   "stage moves; otherwise the promotion is refused, its reasons are printed, and "
                   "the exit status is 1.",
    .examples = "muster approve p1m81s81e7485n --note 'measured it again'",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
