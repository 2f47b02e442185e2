/* muster schema: what manifests may say, for editors, programs and people. */
#include "base/strbuf.h"
#include "cli/cli.h"
#include "cli/verbs.h"
#include "server/server.h"
#include "spec/spec.h"

#include <stdlib.h>
#include <string.h>

static void write_openapi(struct strbuf *out)
{
    char *text = server_openapi();
    strbuf_puts(out, text);
    free(text);
}

static int run(struct cli *cli, struct error *err)
{
    static const struct {
        const char *name;
        void (*write)(struct strbuf *out);
    } forms[] = {{"json", spec_write_json_schema}, {"markdown", spec_write_markdown},
        {"openapi", write_openapi}};
    const char *name = arguments_operand(cli->args, 0);
    name = name ? name : "json";
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (strcmp(name, forms[i].name) != 0)
            continue;
        struct strbuf out = {0};
        forms[i].write(&out);
        int failed = cli_puts(cli, strbuf_text(&out), err);
        strbuf_finish(&out);
        return failed;
    }
    return error_set(err, ERR_INVALID, "expected json, openapi or markdown, got \"%.40s\"", name);
}

const struct verb verb_schema = {
    .name = "schema",
    .operands = "[FORM]",
    .summary = "write what manifests may say: json, openapi or markdown",
    .description =
        "json is a JSON Schema of all kinds, for editors that check as you type; openapi the "
        "description of the HTTP API; markdown the reference of the kinds for people.",
    .examples = "muster schema json > muster.schema.json",
    .scope = VERB_ALONE,
    .run = run,
};
