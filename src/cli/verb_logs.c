/* muster logs: what a job wrote, then or as it writes. */
#include "base/memory.h"
#include "cli/api.h"
#include "cli/job.h"
#include "cli/verbs.h"
#include "cli/view.h"
#include "wire/url.h"

#include <stdio.h>

static const struct option_spec options[] = {
    {"follow", 'f', OPTION_FLAG, NULL, "go on until the job ends, over attempts"},
    {"rank", 'r', OPTION_NUMBER, "N", "of this rank only"},
    {"attempt", 'a', OPTION_NUMBER, "N", "of this attempt instead of the newest"},
    {"tail", 'n', OPTION_NUMBER, "LINES", "only the last lines"},
    {"timestamps", 0, OPTION_FLAG, NULL, "begin each line with its time"},
    JOB_TEAM_OPTION,
    {NULL},
};

static void add_number(const struct cli *cli, struct strbuf *target, const char *name)
{
    char text[24];
    if (!arguments_text(cli->args, name))
        return;
    snprintf(text, sizeof text, "%lld", (long long)arguments_number(cli->args, name, 0));
    url_add_query(target, name, text);
}

static int stream(struct cli *cli, const char *job, struct error *err)
{
    struct api *api = cli_api(cli, err);
    if (!api)
        return -1;
    bool follow = arguments_flag(cli->args, "follow");
    struct strbuf target = {0};
    job_append_target(cli, &target, job, "/logs");
    add_number(cli, &target, "rank");
    add_number(cli, &target, "attempt");
    add_number(cli, &target, "tail");
    if (follow)
        url_add_query(&target, "follow", "true");
    if (arguments_flag(cli->args, "timestamps"))
        url_add_query(&target, "timestamps", "true");
    struct job_log *log = job_log_create(cli);
    int failed = api_stream(api, cli->arena, target.text, follow ? -1 : 0, job_log_sink, log, err);
    job_log_destroy(log);
    strbuf_finish(&target);
    return failed;
}

static int run(struct cli *cli, struct error *err)
{
    const char *job = arguments_operand(cli->args, 0);
    bool chosen = arguments_text(cli->args, "rank") || arguments_text(cli->args, "attempt") ||
                  arguments_text(cli->args, "tail") || arguments_flag(cli->args, "timestamps");
    /* The plain case follows the whole job; a part of a log ends with its attempt. */
    if (!arguments_flag(cli->args, "follow") || chosen)
        return stream(cli, job, err);
    const struct doc *ended = NULL;
    return job_follow(cli, job, &ended, err);
}

const struct verb verb_logs = {
    .name = "logs",
    .operands = "JOB",
    .summary = "show what a job wrote",
    .description =
        "The lines of all ranks of the newest attempt, in the order they were written. With -f "
        "alone the log is followed to the end of the job, through preemptions and restarts of the "
        "server; with -f and a choice of lines, to the end of the attempt.\n\n"
        "On a terminal, control characters other than colours are made harmless; into a file or "
        "pipe the bytes go as they are.",
    .examples = "muster logs -f vision/train\n"
                "muster logs --rank 0 --tail 50 vision/train",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
