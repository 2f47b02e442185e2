/* muster test: ask a service's replica, beside its users' requests. */
#include "base/file.h"
#include "base/memory.h"
#include "cli/api.h"
#include "cli/job.h"
#include "cli/text.h"
#include "cli/trial.h"
#include "cli/verbs.h"

#include <inttypes.h>
#include <string.h>

enum { BODY_BYTES_MAX = 3 << 20 };

static const struct option_spec options[] = {
    {"request", 'r', OPTION_TEXT, "FILE", "the body, as a client would send it"},
    {"path", 'p', OPTION_TEXT, "PATH",
        "where it goes, as the replica sees it; by the body's members unless it is given: "
        "inputs, messages, prompt"},
    {"content-type", 0, OPTION_TEXT, "TYPE", "of the body; application/json unless it is given"},
    {"json-length", 0, OPTION_TEXT, "BYTES",
        "where the JSON of a body with binary tensors ends (Inference-Header-Content-Length)"},
    {"version", 'v', OPTION_NUMBER, "VERSION", "only a replica of this version"},
    {"replica", 0, OPTION_TEXT, "NAME", "this replica, as muster describe service names it"},
    {"unready", 0, OPTION_FLAG, NULL, "also a replica that its checks have taken out"},
    {"timeout", 0, OPTION_TEXT, "TIME", "of the whole; 60s, at most 10m"},
    {"note", 0, OPTION_TEXT, "TEXT", "what the audit log is to say about it"},
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to show it", "text|json|yaml"},
    JOB_TEAM_OPTION,
    {NULL},
};

static const char *route_of(
    struct cli *cli, struct api *api, const char *service, struct error *err)
{
    const struct doc *doc = NULL;
    if (trial_describe(cli, api, service, &doc, err) < 0)
        return NULL;
    const char *route = view_text(doc, "status.route");
    return route ? route : view_text(doc, "metadata.name");
}

static int take_path(struct cli *cli, struct api *api, const char *service, struct trial_body *body,
    struct error *err)
{
    body->path = arguments_text(cli->args, "path");
    if (body->path)
        return 0;
    const char *route = route_of(cli, api, service, err);
    if (!route)
        return -1;
    body->path = trial_guess_path(cli->arena, route, body->bytes, body->length);
    if (body->path)
        return 0;
    return error_set(err, ERR_INVALID,
        "the body has neither inputs nor messages nor a prompt: say where it goes with --path");
}

/* The body stands alone, so that it can be piped on; what there is to say about it is a note. */
static int say(struct cli *cli, const struct doc *answer, struct error *err)
{
    const char *failure = view_text(answer, "failure"), *text = view_text(answer, "text");
    int64_t status = doc_get_int(answer, "status", 0);
    cli_note(cli, "%s, version %" PRId64 "%s: %s%s in %.1f ms", view_text(answer, "replica"),
        doc_get_int(answer, "version", 0),
        doc_get_bool(answer, "ready", false) ? "" : ", not ready",
        failure ? failure : arena_printf(cli->arena, "status %" PRId64, status),
        doc_get_bool(answer, "cut", false) ? ", cut after 1 MiB" : "",
        (double)doc_get_int(answer, "totalUs", 0) / 1000);
    if (!text && view_text(answer, "base64"))
        cli_note(cli, "the answer has %" PRId64 " bytes that are no text: -o json has them",
            doc_get_int(answer, "bytes", 0));
    if (!text || !*text)
        return 0;
    SCOPED(strbuf_finish) struct strbuf shown = {0};
    struct text_filter filter = {0};
    if (cli->terminal) {
        text_filter_piece(&filter, text, strlen(text), &shown);
        text_filter_end(&filter, &shown);
    } else {
        strbuf_puts(&shown, text);
    }
    if (shown.length > 0 && shown.text[shown.length - 1] != '\n')
        strbuf_putc(&shown, '\n');
    return cli_write(cli, strbuf_text(&shown), shown.length, err);
}

static int ask(struct cli *cli, const char *bytes, size_t length, struct error *err)
{
    const char *service = trial_service(cli, arguments_operand(cli->args, 0)), *target;
    const char *type = arguments_text(cli->args, "content-type");
    const char *format = arguments_text(cli->args, "output");
    const struct doc *answer = NULL;
    struct trial_body body = {.bytes = bytes,
        .length = length,
        .type = type ? type : "application/json",
        .tensors = arguments_text(cli->args, "json-length"),
        .timeout = arguments_text(cli->args, "timeout")};
    struct api *api = cli_api(cli, err);
    if (!api || take_path(cli, api, service, &body, err) < 0 ||
        trial_start(cli, api, service, arguments_text(cli->args, "note"), &target, err) < 0 ||
        trial_post(api, cli->arena, target, &body, &answer, err) < 0)
        return -1;
    int64_t status = doc_get_int(answer, "status", 0);
    cli->exit_status = view_text(answer, "failure") || status >= 400 ? 1 : 0;
    if (format && strcmp(format, "text") != 0)
        return cli_write_doc(cli, answer, format, err);
    return say(cli, answer, err);
}

static int run(struct cli *cli, struct error *err)
{
    const char *file = arguments_text(cli->args, "request");
    SCOPED(mem_scope) char *bytes = NULL;
    size_t length = 0;
    if (!file)
        return error_set(err, ERR_INVALID, "say what is to be asked: --request FILE");
    if (file_read(file, BODY_BYTES_MAX, &bytes, &length, err) < 0)
        return -1;
    return ask(cli, bytes, length, err);
}

const struct verb verb_test = {
    .name = "test",
    .operands = "SERVICE",
    .summary = "ask a replica of a service, beside its users' requests",
    .description =
        "Sends a request from the server to a replica, around the gateway: no limit, cache, batch, "
        "guard, usage or latency of the service's users sees it, and rollouts and scaling do not "
        "go by it. It takes the role member in the service's team, and is in the audit log. "
        "Metrics count it as muster_trial_requests_total.\n\n"
        "The body of the answer goes to standard output; which replica it was, its status and how "
        "long it took stand on standard error. The exit status is 1 for a status of 400 or more, "
        "and where there was no answer.",
    .examples = "muster test vision/digits --request one.json\n"
                "muster test vision/digits -r one.json --version 7 -o json\n"
                "muster test chat -r ask.json --replica chat-r3-1 --unready",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
