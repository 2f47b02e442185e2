/* muster reproduce: runs the job that made a model version again and says what differs. */
#include "base/memory.h"
#include "cli/api.h"
#include "cli/artifact.h"
#include "cli/job.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "cli/view.h"

#include <string.h>

enum { LOOK_MS = 500, DIFFERENT = 1, METRICS_ONLY = 3 };

static const struct option_spec options[] = {
    ARTIFACT_TEAM_OPTION,
    {"detach", 'd', OPTION_FLAG, NULL, "only submit the job, and print its name"},
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to show it", "table|json|yaml"},
    {NULL},
};

static const struct view_column metric_columns[] = {
    {"METRIC", "name"},
    {"THEN", "expected", .right = true},
    {"NOW", "got", .right = true},
    {"DIFFERENCE", "difference", .right = true},
    {NULL},
};

static const struct view_column file_columns[] = {
    {"FILE", "path"},
    {"THEN", "expected"},
    {"NOW", "got"},
    {NULL},
};

static int submit(struct cli *cli, const char **ret_job, struct error *err)
{
    struct reference reference;
    struct strbuf target = {0};
    const struct doc *answer = NULL;
    struct api *api = cli_api(cli, err);
    if (!api || artifact_reference(cli, arguments_operand(cli->args, 0), &reference, err) < 0)
        return -1;
    artifact_append_version(&target, KIND_MODEL, &reference, "/reproduce");
    int rc = api_call(api, cli->arena, "POST", target.text, NULL, NULL, &answer, err);
    strbuf_finish(&target);
    if (rc == 0)
        *ret_job = view_text(answer, "id");
    if (rc == 0 && !*ret_job)
        rc = error_set(err, ERR_INVALID, "the server's answer names no job");
    return rc;
}

/* The job's outputs once they were compared: status.outputs, which is there after the end. */
static int wait_result(
    struct cli *cli, const char *job, const struct doc **ret_outputs, struct error *err)
{
    struct strbuf target = {0};
    int rc;
    job_append_target(cli, &target, job, "");
    for (;;) {
        const struct doc *answer = NULL;
        rc = api_get(cli->api, cli->arena, target.text, &answer, err);
        if (rc < 0 && err->code != ERR_UNAVAILABLE && err->code != ERR_UNKNOWN)
            break;
        const struct doc *outputs = rc == 0 ? view_at(answer, "status.outputs") : NULL;
        const char *state = doc_get_string(outputs, "state");
        if (state && strcmp(state, "pending") != 0) {
            *ret_outputs = outputs;
            break;
        }
        if (cli_interrupted()) {
            rc = error_set(err, ERR_UNAVAILABLE, "interrupted; the job %s goes on", job);
            break;
        }
        cli_pause(LOOK_MS);
    }
    strbuf_finish(&target);
    return rc;
}

static void write_result(struct cli *cli, const struct doc *result, struct strbuf *out)
{
    const char *expected = view_text(result, "expected"), *got = view_text(result, "got");
    bool equal = doc_get_bool(result, "equal", false);
    strbuf_printf(out, "%s: every byte of ", equal ? "equal" : "different");
    text_append_safe(out, view_text(result, "of") ? view_text(result, "of") : "the version");
    strbuf_puts(out, equal ? " came out again\n" : " was compared\n");
    strbuf_printf(out, "then %s\nnow  %s\n", expected ? expected : "-", got ? got : "-");
    strbuf_printf(out, "files: %s the same, %s different, %s missing, %s added\n\n",
        view_text(result, "files.same"), view_text(result, "files.different"),
        view_text(result, "files.missing"), view_text(result, "files.added"));
    const struct doc *files = view_at(result, "files.list");
    if (files && files->count) {
        view_write_table(cli, file_columns, files, false, out);
        strbuf_putc(out, '\n');
    }
    const struct doc *metrics = doc_get(result, "metrics");
    if (metrics && metrics->count)
        view_write_table(cli, metric_columns, metrics, false, out);
}

static int show(struct cli *cli, const struct doc *outputs, struct error *err)
{
    const struct doc *result = doc_get(outputs, "reproduction");
    const char *format = arguments_text(cli->args, "output");
    const char *why = doc_get_string(outputs, "text");
    if (!result)
        return error_set(err, ERR_CONFLICT, "nothing could be compared: %s",
            why ? why : "the job did not write the output");
    const char *failure = doc_get_string(result, "error");
    if (failure)
        return error_set(err, ERR_CONFLICT, "it could not be compared: %s", failure);
    cli->exit_status = doc_get_bool(result, "equal", false)          ? 0
                       : doc_get_bool(result, "metricsEqual", false) ? METRICS_ONLY
                                                                     : DIFFERENT;
    if (format && strcmp(format, "table") != 0)
        return cli_write_doc(cli, result, format, err);
    struct strbuf out = {0};
    write_result(cli, result, &out);
    int rc = cli_puts(cli, strbuf_text(&out), err);
    strbuf_finish(&out);
    return rc;
}

static int run(struct cli *cli, struct error *err)
{
    const char *job = NULL;
    const struct doc *outputs = NULL;
    if (submit(cli, &job, err) < 0)
        return -1;
    if (arguments_flag(cli->args, "detach"))
        return cli_puts(cli, arena_printf(cli->arena, "%s\n", job), err);
    cli_note(cli, "job %s", job);
    cli_catch_interrupts(-1);
    if (wait_result(cli, job, &outputs, err) < 0)
        return -1;
    return show(cli, outputs, err);
}

const struct verb verb_reproduce = {
    .name = "reproduce",
    .operands = "NAME",
    .summary = "run the job that made a model version again, and compare",
    .description =
        "The job runs with the same manifest and the same exact inputs. What it writes is compared "
        "with the version file by file, and its last metrics side by side; no version is made.\n\n"
        "Exit status: 0 when every byte is the same, 3 when all metrics are the same and bytes "
        "differ, 1 when metrics differ too.",
    .examples = "muster reproduce vision/digits:3",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
