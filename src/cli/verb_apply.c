/* muster apply: what the manifests say becomes so. */
#include "cli/apply.h"
#include "cli/verbs.h"

static const struct option_spec options[] = {
    APPLY_FILE_OPTION,
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to show what was done", "table|json|yaml"},
    {NULL},
};

static int run(struct cli *cli, struct error *err)
{
    return apply_files(cli, false, err);
}

const struct verb verb_apply = {
    .name = "apply",
    .operands = "",
    .summary = "create or change what manifests describe",
    .description =
        "Reads all manifests first and tells every error with its file and line; when there is "
        "one, nothing is sent. The server then takes all of them or none. Applying the same again "
        "changes nothing.\n\n"
        "A job, and the evaluation of a model's gate, may name a folder as the workdir (workdir: "
        "./src, from where the manifest is). It is packed, uploaded and named by its digest, so "
        "that the job runs what was there now.",
    .examples = "muster apply -f team.yaml -f jobs/\n"
                "muster apply -f - < train.yaml",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
