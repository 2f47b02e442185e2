/* Datasets and models between folders of this machine and the server: what the verbs dataset and
 * model share. Folders are cut into chunks here, and only chunks that the server lacks travel. */
#pragma once

#include "cli/cli.h"
#include "spec/kinds.h"
#include "spec/reference.h"

/* The dataset or model that an operand names ("team/name:3", "name"), with the verb's team where it
 * says none. ERR_INVALID. */
MUST_CHECK int artifact_reference(
    const struct cli *cli, const char *text, struct reference *ret, struct error *err);
/* Appends "/v1/models/team:name". */
void artifact_append_target(
    struct strbuf *target, enum kind kind, const struct reference *reference);
/* Appends "/v1/models/team:name/versions/3" (or newest, or a stage) and then suffix. */
void artifact_append_version(
    struct strbuf *target, enum kind kind, const struct reference *reference, const char *suffix);

struct artifact_push {
    enum kind kind;
    struct reference to;  /* without a version */
    const char *from;     /* what the version's source says: the folder or URL as it was given */
    const char *parent;   /* of a variant, or NULL */
    const char *relation; /* with parent */
};
/* Sends a folder; *ret_answer is the version. What is there already is not sent again, so that a
 * push that broke off goes on when it is repeated. ERR_CONFLICT: a file changed meanwhile. */
MUST_CHECK int artifact_push_folder(struct cli *cli, const struct artifact_push *push,
    const char *folder, const struct doc **ret_answer, struct error *err);
/* Fetches a version into a folder, which is made when it is missing. Files that are there with the
 * right bytes stay, begun ones are gone on with, every byte is checked, and a file has its name
 * once it is whole. Other files of the folder are left alone. *ret_version: its document. */
MUST_CHECK int artifact_pull_folder(struct cli *cli, enum kind kind,
    const struct reference *reference, const char *folder, const struct doc **ret_version,
    struct error *err);

/* Downloads http and https URLs to a file in an open folder, named as the URL's last part.
 * Redirections are followed, from https only to https. ERR_INVALID, ERR_UNAVAILABLE. */
MUST_CHECK int artifact_download(
    struct cli *cli, const char *url, int folder_fd, struct error *err);
/* Whether the text is a URL and no folder. */
bool artifact_is_url(const char *text);

/* The actions of `muster dataset` and `muster model`: each asks for the kind by the verb's name. */
MUST_CHECK int artifact_run_push(struct cli *cli, struct error *err);
MUST_CHECK int artifact_run_pull(struct cli *cli, struct error *err);
MUST_CHECK int artifact_run_versions(struct cli *cli, struct error *err);
MUST_CHECK int artifact_run_verify(struct cli *cli, struct error *err);
MUST_CHECK int artifact_run_delete(struct cli *cli, struct error *err);

/* The option that says which team a dataset or model without one in its name belongs to. */
#define ARTIFACT_TEAM_OPTION                                                                       \
    {                                                                                              \
        "team", 0, OPTION_TEXT, "TEAM", "the team of what is named without one", NULL,             \
            "MUSTER_TEAM"                                                                          \
    }

/* Actions that datasets and models have in common. */
#define ARTIFACT_ACTION(VERB, SUMMARY, OPTIONS)                                                    \
    {                                                                                              \
        .name = #VERB, .operands = "NAME", .summary = SUMMARY, .options = OPTIONS,                 \
        .scope = VERB_REMOTE, .run = artifact_run_##VERB                                           \
    }
#define ARTIFACT_VERSIONS(OPTIONS) ARTIFACT_ACTION(versions, "list the versions", OPTIONS)
#define ARTIFACT_VERIFY(OPTIONS)                                                                   \
    ARTIFACT_ACTION(verify, "let the server read and check every byte of a version", OPTIONS)
#define ARTIFACT_DELETE(OPTIONS)                                                                   \
    ARTIFACT_ACTION(delete, "delete a version to which nothing refers", OPTIONS)
#define ARTIFACT_PUSH_TEXT                                                                         \
    "SOURCE is a folder, or an http or https URL that is downloaded here, by this program. Files " \
    "are cut into chunks here, and only chunks that the server lacks are sent; a push that broke " \
    "off goes on when it is repeated. The same content again makes no new version."
