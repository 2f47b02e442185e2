/* muster help: on the terminal, as manual pages, as Markdown. */
#include "base/file.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "cli/help.h"
#include "cli/verbs.h"

#include <string.h>

static const struct option_spec options[] = {
    {"man", 0, OPTION_TEXT, "DIR", "write the manual pages into this folder"},
    {"markdown", 0, OPTION_FLAG, NULL, "write the whole reference as Markdown"},
    {NULL},
};

static int write_page(
    struct cli *cli, const char *folder, const struct verb *verb, struct error *err)
{
    struct strbuf page = {0};
    if (verb)
        manual_write_verb(verb, &page);
    else
        manual_write_overview(&page);
    const char *path = arena_printf(
        cli->arena, "%s/muster%s%s.1", folder, verb ? "-" : "", verb ? verb->name : "");
    int failed = file_write(path, page.text, page.length, 0644, err);
    strbuf_finish(&page);
    return failed;
}

static int write_manual(struct cli *cli, const char *folder, struct error *err)
{
    if (file_make_dirs(folder, 0755, err) < 0 || write_page(cli, folder, NULL, err) < 0)
        return -1;
    for (size_t i = 0; verbs[i]; i++) {
        if (!verbs[i]->hidden && write_page(cli, folder, verbs[i], err) < 0)
            return -1;
    }
    return 0;
}

static int help_on(const char *name, const char *action, struct strbuf *out, struct error *err)
{
    char *words[] = {(char *)name, (char *)(action ? action : "--help"), "--help"};
    const struct verb *named = verb_find(name);
    if (named && named->hidden)
        return error_set(err, ERR_NOT_FOUND, "%s is a part of the program itself", name);
    SCOPED(arguments_scope) struct arguments *args = arguments_parse(3, words, err);
    if (!args)
        return -1;
    help_write_verb(arguments_verb(args), arguments_path(args), out);
    return 0;
}

static int run(struct cli *cli, struct error *err)
{
    const char *folder = arguments_text(cli->args, "man");
    if (folder)
        return write_manual(cli, folder, err);
    struct strbuf out = {0};
    const char *name = arguments_operand(cli->args, 0);
    int failed = 0;
    if (arguments_flag(cli->args, "markdown"))
        manual_write_markdown(&out);
    else if (name)
        failed = help_on(name, arguments_operand(cli->args, 1), &out, err);
    else
        help_write_overview(&out);
    if (!failed)
        failed = cli_puts(cli, strbuf_text(&out), err);
    strbuf_finish(&out);
    return failed;
}

const struct verb verb_help = {
    .name = "help",
    .operands = "[VERB] [ACTION]",
    .summary = "explain a verb, or write the manual",
    .examples = "muster help run\n"
                "muster help --man /usr/local/share/man/man1",
    .options = options,
    .scope = VERB_ALONE,
    .run = run,
};
