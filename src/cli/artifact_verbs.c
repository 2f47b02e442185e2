/* What `muster dataset` and `muster model` do: see artifact.h. */
#include "base/file.h"
#include "base/memory.h"
#include "cli/api.h"
#include "cli/artifact.h"
#include "cli/job.h"
#include "cli/view.h"
#include "spec/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct view_column version_columns[] = {
    {"VERSION", "version", .right = true},
    {"STAGE", "stage"},
    {"MADE BY", "source.jobName|source.kind"},
    {"FILES", "files", .right = true},
    {"SIZE", "bytes", VIEW_BYTES, .right = true},
    {"CREATED", "createdAt", VIEW_TIME},
    {"BY", "createdBy"},
    {"JURISDICTION", "jurisdiction", .wide = true},
    {"CONSENT", "consent", VIEW_LIST, .wide = true},
    {"METRICS", "source.metrics", VIEW_LIST, .wide = true},
    {"DIGEST", "digest", .wide = true},
    {NULL},
};

/* KIND_DATASET or KIND_MODEL, as the verb says. */
static enum kind artifact_kind(const struct cli *cli)
{
    return strncmp(arguments_path(cli->args), "dataset", 7) == 0 ? KIND_DATASET : KIND_MODEL;
}

static const char *version_text(struct cli *cli, enum kind kind, const struct doc *version)
{
    return arena_printf(cli->arena, "%s/%s/%s:%s", kind_singular(kind),
        view_text(version, "team") ? view_text(version, "team") : "?",
        view_text(version, "name") ? view_text(version, "name") : "?",
        view_text(version, "version") ? view_text(version, "version") : "?");
}

/* ---- push ------------------------------------------------------------------------------------ */

/* Options that are one field of the new object's spec each. */
static const char *const create_fields[][2] = {{"owner", "owner"}, {"jurisdiction", "jurisdiction"},
    {"consent", "consent"}, {"description", "description"}, {"runtime", "runtime"}};

static bool has_option(const struct cli *cli, const char *name)
{
    const struct option_spec *options = arguments_verb(cli->args)->options;
    for (size_t i = 0; options[i].name; i++) {
        if (strcmp(options[i].name, name) == 0)
            return true;
    }
    return false;
}

static int create(struct cli *cli, enum kind kind, const struct reference *to, struct error *err)
{
    struct arena *arena = cli->arena;
    struct doc *body = doc_map(arena);
    struct doc *objects = doc_set(arena, body, "objects", doc_list(arena));
    struct doc *object = doc_append(objects, doc_map(arena));
    doc_set_string(arena, object, "apiVersion", "muster/v1");
    doc_set_string(arena, object, "kind", kind_name(kind));
    struct doc *metadata = doc_set(arena, object, "metadata", doc_map(arena));
    doc_set_string(arena, metadata, "name", to->name);
    doc_set_string(arena, metadata, "team", to->team);
    struct doc *spec = doc_set(arena, object, "spec", doc_map(arena));
    for (size_t i = 0; i < ARRAY_LEN(create_fields); i++) {
        if (has_option(cli, create_fields[i][0]))
            doc_set_string(
                arena, spec, create_fields[i][1], arguments_text(cli->args, create_fields[i][0]));
    }
    return api_call(cli->api, arena, "POST", "/v1/apply", body, NULL, NULL, err);
}

/* What is there stays as it is: --create makes only what is missing. */
static int create_missing(
    struct cli *cli, enum kind kind, const struct reference *to, struct error *err)
{
    struct api *api = cli_api(cli, err);
    struct strbuf target = {0};
    struct error why;
    if (!api)
        return -1;
    artifact_append_target(&target, kind, to);
    int rc = api_get(api, cli->arena, target.text, NULL, &why);
    strbuf_finish(&target);
    if (rc == 0)
        return 0;
    if (why.code != ERR_NOT_FOUND)
        return error_set(err, why.code, "%s", why.text);
    if (arguments_flag(cli->args, "create"))
        return create(cli, kind, to, err);
    return error_set(err, ERR_NOT_FOUND, "%s; apply a manifest, or use --create", why.text);
}

static int push_url(struct cli *cli, const struct artifact_push *push, const char *url,
    const struct doc **ret_answer, struct error *err)
{
    const char *base = getenv("TMPDIR");
    char folder[PATH_MAX];
    struct error ignored;
    snprintf(folder, sizeof folder, "%s/muster-push-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(folder))
        return error_set_errno(err, "cannot make a temporary folder");
    SCOPED(fd_scope) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? error_set_errno(err, "cannot open %s", folder)
                    : artifact_download(cli, url, fd, err);
    if (rc == 0)
        rc = artifact_push_folder(cli, push, folder, ret_answer, err);
    if (file_remove_tree(folder, &ignored) < 0)
        cli_note(cli, "%s stays: %s", folder, ignored.text);
    return rc;
}

/* What everybody who sees the version reads of where it came from. The query of a URL is left out:
 * in signed links it is what lets in. */
static const char *said_from(struct cli *cli, const char *from)
{
    return artifact_is_url(from) ? arena_strndup(cli->arena, from, strcspn(from, "?#")) : from;
}

int artifact_run_push(struct cli *cli, struct error *err)
{
    const char *from = arguments_operand(cli->args, 1);
    struct artifact_push push = {.kind = artifact_kind(cli), .from = said_from(cli, from)};
    const struct doc *answer = NULL;
    if (artifact_reference(cli, arguments_operand(cli->args, 0), &push.to, err) < 0)
        return -1;
    if (push.to.which != REFERENCE_NEWEST)
        return error_set(err, ERR_INVALID, "a push makes the next version: name none");
    if (push.kind == KIND_MODEL) {
        push.parent = arguments_text(cli->args, "parent");
        push.relation = arguments_text(cli->args, "relation");
    }
    if ((push.parent != NULL) != (push.relation != NULL))
        return error_set(err, ERR_INVALID, "--parent and --relation go together");
    if (create_missing(cli, push.kind, &push.to, err) < 0)
        return -1;
    int rc = artifact_is_url(from) ? push_url(cli, &push, from, &answer, err)
                                   : artifact_push_folder(cli, &push, from, &answer, err);
    if (rc < 0)
        return -1;
    return cli_puts(cli,
        arena_printf(cli->arena, "%s %s%s\n", version_text(cli, push.kind, answer),
            view_text(answer, "digest") ? view_text(answer, "digest") : "",
            doc_get_bool(answer, "unchanged", false) ? " unchanged" : ""),
        err);
}

/* ---- pull, versions, verify, delete -----------------------------------------------------------
 */

int artifact_run_pull(struct cli *cli, struct error *err)
{
    struct reference reference;
    const struct doc *version = NULL;
    cli_catch_interrupts(-1);
    if (artifact_reference(cli, arguments_operand(cli->args, 0), &reference, err) < 0 ||
        artifact_pull_folder(cli, artifact_kind(cli), &reference, arguments_operand(cli->args, 1),
            &version, err) < 0)
        return -1;
    return cli_puts(cli,
        arena_printf(cli->arena, "%s %s\n", version_text(cli, artifact_kind(cli), version),
            view_text(version, "digest")),
        err);
}

int artifact_run_versions(struct cli *cli, struct error *err)
{
    struct reference reference;
    struct strbuf target = {0};
    const struct doc *items = NULL;
    struct api *api = cli_api(cli, err);
    if (!api || artifact_reference(cli, arguments_operand(cli->args, 0), &reference, err) < 0)
        return -1;
    artifact_append_target(&target, artifact_kind(cli), &reference);
    strbuf_puts(&target, "/versions");
    int rc = api_list(api, cli->arena, target.text, &items, err);
    strbuf_finish(&target);
    return rc < 0 ? -1
                  : view_write_items(
                        cli, version_columns, items, arguments_text(cli->args, "output"), err);
}

static int call_version(struct cli *cli, const char *method, const char *suffix,
    struct reference *ret, const struct doc **ret_answer, struct error *err)
{
    struct strbuf target = {0};
    struct api *api = cli_api(cli, err);
    if (!api || artifact_reference(cli, arguments_operand(cli->args, 0), ret, err) < 0)
        return -1;
    artifact_append_version(&target, artifact_kind(cli), ret, suffix);
    int rc = api_send(api, cli->arena, method, target.text, "application/json", NULL, 0,
        6LL * 3600 * 1000, false, ret_answer, err);
    strbuf_finish(&target);
    return rc;
}

int artifact_run_verify(struct cli *cli, struct error *err)
{
    struct reference reference;
    const struct doc *answer = NULL;
    if (call_version(cli, "POST", "/verify", &reference, &answer, err) < 0)
        return -1;
    return cli_puts(cli,
        arena_printf(cli->arena, "every byte is as it was: %s\n", view_text(answer, "digest")),
        err);
}

int artifact_run_delete(struct cli *cli, struct error *err)
{
    struct reference reference;
    char text[REFERENCE_TEXT];
    if (reference_parse(arguments_operand(cli->args, 0), &reference, err) < 0)
        return -1;
    if (reference.which != REFERENCE_VERSION)
        return error_set(err, ERR_INVALID,
            "name the version to delete, as in %s:1; the whole goes with muster delete",
            reference.name);
    if (call_version(cli, "DELETE", "", &reference, NULL, err) < 0)
        return -1;
    reference_format(&reference, text);
    return cli_puts(cli,
        arena_printf(cli->arena, "%s %s deleted\n", kind_singular(artifact_kind(cli)), text), err);
}
