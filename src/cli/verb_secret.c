/* muster secret: values that jobs are given and nobody is shown again. */
#include "base/file.h"
#include "base/memory.h"
#include "cli/api.h"
#include "cli/job.h"
#include "cli/verbs.h"
#include "cli/view.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

enum { SECRET_BYTES_MAX = 64 * 1024 };

static const struct view_column columns[] = {
    {"NAME", "name"},
    {"CHANGED", "changed|updated|at", VIEW_TIME},
    {NULL},
};

static const struct option_spec team_options[] = {
    {"team", 't', OPTION_TEXT, "TEAM", "the team it belongs to", NULL, "MUSTER_TEAM"},
    {NULL},
};

static const struct option_spec set_options[] = {
    {"file", 'f', OPTION_TEXT, "FILE", "read the value from this file, or - for standard input"},
    {"team", 't', OPTION_TEXT, "TEAM", "the team it belongs to", NULL, "MUSTER_TEAM"},
    {NULL},
};

static const char *secret_target(struct cli *cli, const char *name)
{
    struct strbuf target = {0};
    strbuf_puts(&target, "/v1/secrets");
    if (!name || !strchr(name, '/'))
        view_append_name(&target, job_team(cli));
    if (name)
        view_append_name(&target, name);
    const char *copy = arena_strdup(cli->arena, target.text);
    strbuf_finish(&target);
    return copy;
}

/* As team/name, which is also how it may be given. */
static const char *secret_name(struct cli *cli, const char *name)
{
    return strchr(name, '/') ? name : arena_printf(cli->arena, "%s/%s", job_team(cli), name);
}

static int read_standard_input(char **ret_text, size_t *ret_size, struct error *err)
{
    char *text = mem_alloc(SECRET_BYTES_MAX + 2, 1);
    size_t size = 0;
    while (size <= SECRET_BYTES_MAX) {
        ssize_t n = read(STDIN_FILENO, text + size, SECRET_BYTES_MAX + 1 - size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        size += (size_t)n;
    }
    if (size > SECRET_BYTES_MAX) {
        free(text);
        return error_set(err, ERR_TOO_LARGE, "a secret has at most %d bytes", SECRET_BYTES_MAX);
    }
    *ret_text = text;
    *ret_size = size;
    return 0;
}

static int run_set(struct cli *cli, struct error *err)
{
    const char *file = arguments_text(cli->args, "file");
    bool standard = !file || !strcmp(file, "-");
    char *value = NULL;
    size_t size = 0;
    if (standard && isatty(STDIN_FILENO))
        cli_note(cli, "type the value, then Ctrl-D; better: --file, so that nobody looks on");
    if (standard ? read_standard_input(&value, &size, err)
                 : file_read(file, SECRET_BYTES_MAX, &value, &size, err))
        return -1;
    /* The newline that an editor or echo puts at the end is not part of it. */
    if (size > 0 && value[size - 1] == '\n')
        value[--size] = '\0';
    int failed = memchr(value, '\0', size) ? error_set(err, ERR_INVALID,
                                                 "a secret is text: this one has a NUL byte in it")
                                           : 0;
    if (!failed && size == 0)
        failed = error_set(err, ERR_INVALID, "the value is empty");
    struct api *api = failed ? NULL : cli_api(cli, err);
    failed = !api;
    if (!failed) {
        struct doc *request = doc_map(cli->arena);
        doc_set_string(cli->arena, request, "value", value);
        const char *target = secret_target(cli, arguments_operand(cli->args, 0));
        failed = api_call(api, cli->arena, "PUT", target, request, NULL, NULL, err);
    }
    sodium_memzero(value, size);
    free(value);
    if (failed)
        return -1;
    return cli_puts(cli,
        arena_printf(
            cli->arena, "secret %s set\n", secret_name(cli, arguments_operand(cli->args, 0))),
        err);
}

static int run_list(struct cli *cli, struct error *err)
{
    struct api *api = cli_api(cli, err);
    const struct doc *items = NULL;
    if (!api || api_list(api, cli->arena, secret_target(cli, NULL), &items, err) < 0)
        return -1;
    return view_write_items(cli, columns, items, NULL, err);
}

static int run_delete(struct cli *cli, struct error *err)
{
    struct api *api = cli_api(cli, err);
    const char *name = arguments_operand(cli->args, 0);
    if (!api ||
        api_call(api, cli->arena, "DELETE", secret_target(cli, name), NULL, NULL, NULL, err) < 0)
        return -1;
    return cli_puts(
        cli, arena_printf(cli->arena, "secret %s deleted\n", secret_name(cli, name)), err);
}

static const struct verb actions[] = {
    {.name = "set",
        .operands = "NAME",
        .summary = "store a value from a file or standard input",
        .examples = "muster secret set hub-token --team vision --file token.txt",
        .options = set_options,
        .scope = VERB_REMOTE,
        .run = run_set},
    {.name = "list",
        .operands = "",
        .summary = "list a team's secrets, names and times only",
        .options = team_options,
        .scope = VERB_REMOTE,
        .run = run_list},
    {.name = "delete",
        .operands = "NAME",
        .summary = "forget a secret",
        .options = team_options,
        .scope = VERB_REMOTE,
        .run = run_delete},
    {NULL},
};

const struct verb verb_secret = {
    .name = "secret",
    .operands = "ACTION",
    .summary = "keep the passwords and keys that a team's jobs need",
    .description =
        "A job names a secret of its team (secrets: [{name: hub-token, env: HUB_TOKEN}]) and finds "
        "it in a variable or a file. A value is never shown again, and never on a command line.",
    .actions = actions,
    .scope = VERB_REMOTE,
};
