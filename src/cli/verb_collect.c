/* muster collect: removes from the registry what no version reaches. */
#include "base/memory.h"
#include "cli/api.h"
#include "cli/verbs.h"
#include "cli/view.h"
#include "wire/doc.h"

#include <inttypes.h>
#include <string.h>

static const struct option_spec options[] = {
    {"grace", 'g', OPTION_DURATION, "DURATION",
        "leave what came in the last DURATION, which an upload under way may still need; 1d"},
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to show it", "table|json|yaml"},
    {NULL},
};

static int show(struct cli *cli, const struct doc *answer, struct error *err)
{
    int64_t now_ms = 0; /* no ages are shown */
    const char *freed = view_value(cli->arena, view_at(answer, "bytesFreed"), VIEW_BYTES, now_ms);
    const char *kept = view_value(cli->arena, view_at(answer, "bytesKept"), VIEW_BYTES, now_ms);
    return cli_puts(cli,
        arena_printf(cli->arena,
            "removed: %" PRId64 " versions by retention, %" PRId64 " objects, %s\n"
            "kept: %" PRId64 " objects, %s\n",
            doc_get_int(answer, "versionsRemoved", 0), doc_get_int(answer, "objectsRemoved", 0),
            freed ? freed : "0", doc_get_int(answer, "objectsKept", 0), kept ? kept : "0"),
        err);
}

static int run(struct cli *cli, struct error *err)
{
    struct api *api = cli_api(cli, err);
    const char *format = arguments_text(cli->args, "output");
    const char *target = "/v1/artifacts/collect";
    const struct doc *answer = NULL;
    int64_t grace_ms = arguments_number(cli->args, "grace", -1);
    if (grace_ms >= 0)
        target = arena_printf(cli->arena, "%s?grace=%" PRId64, target, (grace_ms + 999) / 1000);
    if (!api || api_call(api, cli->arena, "POST", target, NULL, NULL, &answer, err) < 0)
        return -1;
    if (format && strcmp(format, "table") != 0)
        return cli_write_doc(cli, answer, format, err);
    return show(cli, answer, err);
}

const struct verb verb_collect = {
    .name = "collect",
    .operands = "",
    .summary = "remove from the disk what no version of a dataset or model reaches",
    .description =
        "The server does this once a day: versions that retention no longer keeps are "
        "deleted, then the content that nothing reaches any more. Takes an administrator "
        "of the team root.",
    .examples = "muster collect\nmuster collect --grace 1h",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
