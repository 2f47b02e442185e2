/* muster plan: what apply would do. */
#include "cli/apply.h"
#include "cli/verbs.h"

static const struct option_spec options[] = {
    APPLY_FILE_OPTION,
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to show the differences", "table|json|yaml"},
    {NULL},
};

static int run(struct cli *cli, struct error *err)
{
    return apply_files(cli, true, err);
}

const struct verb verb_plan = {
    .name = "plan",
    .operands = "",
    .summary = "show what apply would change, and change nothing",
    .description = "Does everything apply does but the last step: the manifests are read and "
                   "checked here, then by the server against what is there, and each field that "
                   "would change is shown with its value now and then.",
    .examples = "muster plan -f pool.yaml",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
