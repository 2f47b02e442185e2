/* The program's entry: picks the verb, runs it, and is the one place that says what went wrong. */
#include "base/memory.h"
#include "cli/api.h"
#include "cli/cli.h"
#include "cli/help.h"
#include "cli/verb.h"

#include <stdio.h>
#include <string.h>

/* What the server or the manifests had to say first, then the error, then what to do. */
static void complain(struct cli *cli, const struct error *err)
{
    struct strbuf details = {0};
    if (cli->problem.length > 0)
        strbuf_append(&details, cli->problem.text, cli->problem.length);
    else if (cli->api && api_problem(cli->api))
        api_problem_write(api_problem(cli->api), &details);
    for (char *line = details.text; line && *line;) {
        char *end = strchr(line, '\n');
        if (end)
            *end = '\0';
        cli_note(cli, "%s", line);
        line = end ? end + 1 : NULL;
    }
    strbuf_finish(&details);
    /* What the server refused is about roles; what this side refused is about trust. */
    bool refused_here = err->code == ERR_DENIED && !(cli->api && api_problem(cli->api));
    const char *advice =
        refused_here ? "see --ca and --token-file (muster help)" : api_advice(err->code);
    cli_note(cli, "%s%s%s", err->text, advice ? "; " : "", advice ? advice : "");
}

static int show_help(const struct arguments *args)
{
    struct strbuf out = {0};
    help_write_verb(arguments_verb(args), arguments_path(args), &out);
    fputs(out.text, stdout);
    strbuf_finish(&out);
    return fflush(stdout) ? 1 : 0;
}

static int run_verb(const struct arguments *args)
{
    struct cli cli;
    struct error err = {0};
    cli_init(&cli, args);
    int status;
    if (arguments_verb(args)->run(&cli, &err) < 0) {
        complain(&cli, &err);
        status = error_exit_status(err.code);
    } else {
        status = cli.exit_status;
    }
    cli_finish(&cli);
    return status;
}

static int show_overview(void)
{
    struct strbuf out = {0};
    help_write_overview(&out);
    fputs(out.text, stdout);
    strbuf_finish(&out);
    return fflush(stdout) ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        return show_overview();
    if (!strcmp(argv[1], "--version"))
        argv[1] = (char *)"version";
    const struct verb *verb = verb_find(argv[1]);
    if (verb && verb->run_raw)
        return verb->run_raw(argc - 1, argv + 1);
    struct error err = {0};
    SCOPED(arguments_scope) struct arguments *args = arguments_parse(argc - 1, argv + 1, &err);
    if (!args) {
        fprintf(stderr, "muster: %s\n", err.text);
        return error_exit_status(err.code);
    }
    if (arguments_help(args))
        return show_help(args);
    return run_verb(args);
}
