/* muster dataset: versions of datasets, sent, fetched and looked at. */
#include "cli/artifact.h"
#include "cli/verbs.h"

static const struct option_spec push_options[] = {
    ARTIFACT_TEAM_OPTION,
    {"create", 'c', OPTION_FLAG, NULL, "make the Dataset when there is none"},
    {"owner", 0, OPTION_TEXT, "NAME", "with --create: whom to ask about it"},
    {"jurisdiction", 0, OPTION_TEXT, "NAME", "with --create: where work on it has to stay"},
    {"consent", 0, OPTION_TEXT, "LABEL", "with --create: what its use is restricted to"},
    {"description", 0, OPTION_TEXT, "TEXT", "with --create: what it is"},
    {NULL},
};

static const struct option_spec team_options[] = {ARTIFACT_TEAM_OPTION, {NULL}};

static const struct option_spec list_options[] = {
    ARTIFACT_TEAM_OPTION,
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to show it", "table|wide|json|yaml|csv"},
    {NULL},
};

static const struct verb actions[] = {
    {.name = "push",
        .operands = "NAME SOURCE",
        .summary = "make the next version of a folder or a URL",
        .description = ARTIFACT_PUSH_TEXT,
        .examples = "muster dataset push vision/digits ./digits --create --jurisdiction eu",
        .options = push_options,
        .scope = VERB_REMOTE,
        .run = artifact_run_push},
    {.name = "pull",
        .operands = "NAME DIR",
        .summary = "fetch a version into a folder",
        .description =
            "NAME is [TEAM/]NAME for the newest version, or [TEAM/]NAME:VERSION. Every byte is "
            "checked; what is there already stays, and a pull that broke off goes on when it is "
            "repeated.",
        .options = team_options,
        .scope = VERB_REMOTE,
        .run = artifact_run_pull},
    ARTIFACT_VERSIONS(list_options),
    ARTIFACT_VERIFY(team_options),
    ARTIFACT_DELETE(team_options),
    {NULL},
};

const struct verb verb_dataset = {
    .name = "dataset",
    .operands = "ACTION",
    .summary = "send, fetch and list versions of datasets",
    .description = "A version is a folder of files that never changes, named by its content. Jobs "
                   "read versions (inputs) and make them (outputs).",
    .actions = actions,
    .scope = VERB_REMOTE,
};
