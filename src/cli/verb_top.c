/* muster top: what runs now and what it uses. */
#include "base/memory.h"
#include "cli/api.h"
#include "cli/verbs.h"
#include "cli/view.h"

#include <string.h>

enum { REFRESH_MS_DEFAULT = 2000, REFRESH_MS_MIN = 200 };

static const struct view_column columns[] = {
    {"TEAM", "team"},
    {"JOB", "name"},
    {"STATE", "state", VIEW_STATE},
    {"ATTEMPT", "attempt", .right = true},
    {"RANKS", "size", .right = true},
    {"RUNS FOR", "started", VIEW_AGE, .right = true},
    {"CPU TIME", "usage.cpuSeconds", VIEW_SECONDS, .right = true},
    {"MEMORY", "usage.memoryBytes", VIEW_BYTES, .right = true},
    {"PEAK", "usage.memoryPeakBytes", VIEW_BYTES, .right = true},
    {"ACCELERATORS", "usage.acceleratorUse", .right = true},
    {"EPOCH", "progress.epoch", .right = true},
    {"LOSS", "progress.loss", .right = true},
    {"AN HOUR", "costPerHour", .right = true},
    {NULL},
};

static const struct option_spec options[] = {
    {"once", '1', OPTION_FLAG, NULL, "show it once, as happens when output is not a terminal"},
    {"interval", 'i', OPTION_DURATION, "DURATION", "how often to refresh; 2s by default"},
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to show it, once", "table|wide|json|yaml|csv"},
    {NULL},
};

/* One screen: cleared and written in one piece, so that it does not flicker. */
static int draw(struct cli *cli, const struct doc *items, struct error *err)
{
    struct strbuf out = {0};
    strbuf_puts(&out, "\033[H\033[J");
    view_write_table(cli, columns, items, false, &out);
    strbuf_printf(&out, "\n%zu running; Ctrl-C ends\n", items->count);
    int failed = cli_puts(cli, out.text, err);
    strbuf_finish(&out);
    return failed;
}

/* The alternate screen and the hidden cursor are given back whatever happens in between. */
static int refresh(struct cli *cli, struct api *api, int64_t interval_ms, struct error *err)
{
    if (cli_puts(cli, "\033[?1049h\033[?25l", err) < 0)
        return -1;
    cli_catch_interrupts(-1);
    int failed = 0;
    while (!failed && !cli_interrupted()) {
        const struct doc *items = NULL;
        struct arena *outer = cli->arena;
        cli->arena = arena_create();
        failed = api_list(api, cli->arena, "/v1/top", &items, err) < 0 || draw(cli, items, err) < 0;
        arena_destroy(cli->arena);
        cli->arena = outer;
        if (!failed && !cli_interrupted())
            cli_pause(interval_ms);
    }
    if (cli_puts(cli, "\033[?25h\033[?1049l", NULL) < 0)
        return -1;
    return failed && !cli_interrupted() ? -1 : 0;
}

static int run(struct cli *cli, struct error *err)
{
    struct api *api = cli_api(cli, err);
    if (!api)
        return -1;
    const char *format = arguments_text(cli->args, "output");
    int64_t interval_ms = arguments_number(cli->args, "interval", REFRESH_MS_DEFAULT);
    if (interval_ms < REFRESH_MS_MIN)
        return error_set(err, ERR_INVALID, "--interval: expected at least %dms", REFRESH_MS_MIN);
    if (cli->terminal && !format && !arguments_flag(cli->args, "once"))
        return refresh(cli, api, interval_ms, err);
    const struct doc *items = NULL;
    if (api_list(api, cli->arena, "/v1/top", &items, err) < 0)
        return -1;
    return view_write_items(cli, columns, items, format, err);
}

const struct verb verb_top = {
    .name = "top",
    .operands = "",
    .summary = "show what runs now, what it uses and how far it is",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
