/* muster promotions: what was asked for, and what became of it. */
#include "base/memory.h"
#include "cli/api.h"
#include "cli/promotion.h"
#include "cli/verbs.h"
#include "wire/url.h"

#include <string.h>

static const struct option_spec options[] = {
    {"team", 't', OPTION_TEXT, "TEAM", "of this team's models only"},
    {"model", 0, OPTION_TEXT, "MODEL", "of this model only"},
    {"state", 0, OPTION_CHOICE, "STATE", "only those that are in this state",
        "evaluating|waiting|granted|refused|withdrawn"},
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to write them", "table|wide|json|yaml|csv"},
    {NULL},
};

static int run(struct cli *cli, struct error *err)
{
    static const char *const filters[] = {"team", "model", "state"};
    SCOPED(strbuf_finish) struct strbuf target = {0};
    struct api *api = cli_api(cli, err);
    const struct doc *items = NULL;
    strbuf_puts(&target, "/v1/promotions");
    for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
        const char *value = arguments_text(cli->args, filters[i]);
        if (!value)
            continue;
        url_add_query(&target, filters[i], value);
    }
    if (!api || api_list(api, cli->arena, target.text, &items, err) < 0)
        return -1;
    return view_write_items(
        cli, promotion_columns, items, arguments_text(cli->args, "output"), err);
}

const struct verb verb_promotions = {
    .name = "promotions",
    .operands = "",
    .summary = "list promotions of models, oldest first",
    .examples = "muster promotions --team vision --state waiting",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
