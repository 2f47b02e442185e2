/* muster completion: scripts for shells. */
#include "cli/cli.h"
#include "cli/completion.h"
#include "cli/verbs.h"

#include <string.h>

static int run(struct cli *cli, struct error *err)
{
    const char *shell = arguments_operand(cli->args, 0);
    struct strbuf out = {0};
    if (!strcmp(shell, "bash"))
        completion_write_bash(&out);
    else if (!strcmp(shell, "zsh"))
        completion_write_zsh(&out);
    else
        return error_set(err, ERR_INVALID, "expected bash or zsh, got \"%.40s\"", shell);
    int failed = cli_puts(cli, out.text, err);
    strbuf_finish(&out);
    return failed;
}

const struct verb verb_completion = {
    .name = "completion",
    .operands = "SHELL",
    .summary = "write the completion script of bash or zsh",
    .examples = "source <(muster completion bash)\n"
                "muster completion zsh > ~/.zfunc/_muster",
    .scope = VERB_ALONE,
    .run = run,
};
