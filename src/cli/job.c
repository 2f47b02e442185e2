/* One job: see job.h.
 *
 * Following goes by attempts. The log of an attempt only grows, so after a broken connection the
 * same log is asked for again and as many bytes are dropped as were written before. */
#include "cli/job.h"

#include "base/memory.h"
#include "cli/api.h"
#include "cli/text.h"
#include "cli/view.h"
#include "wire/url.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    JOB_ID_LENGTH = 14,
    STATUS_START_FAILED = 127, /* as a shell has it for a command it cannot find */
    FOLLOW_PAUSE_MS = 300,
    FOLLOW_PATIENCE = 200, /* pauses in a row without any server: a minute */
};

const char *job_team(const struct cli *cli)
{
    const char *team = arguments_text(cli->args, "team");
    return team ? team : JOB_TEAM_DEFAULT;
}

static bool is_id(const char *text)
{
    return text[0] == 'j' && strlen(text) == JOB_ID_LENGTH &&
           strspn(text, "0123456789abcdefghijklmnopqrstuvwxyz") == JOB_ID_LENGTH;
}

const char *job_reference(const struct cli *cli, const char *job)
{
    const char *slash = strchr(job, '/');
    if (slash)
        return arena_printf(cli->arena, "%.*s:%s", (int)(slash - job), job, slash + 1);
    return is_id(job) ? job : arena_printf(cli->arena, "%s:%s", job_team(cli), job);
}

void job_append_target(
    const struct cli *cli, struct strbuf *target, const char *job, const char *suffix)
{
    strbuf_puts(target, "/v1/jobs");
    view_append_name(target, job_reference(cli, job));
    strbuf_puts(target, suffix);
}

void job_append_view_target(
    const struct cli *cli, struct strbuf *target, const struct view *view, const char *name)
{
    const char *slash = strchr(name, '/');
    strbuf_puts(target, view->target);
    if (!strcmp(view->name, "jobs"))
        name = job_reference(cli, name);
    else if (view->owned && slash)
        name = arena_printf(cli->arena, "%.*s:%s", (int)(slash - name), name, slash + 1);
    else if (view->owned)
        name = arena_printf(cli->arena, "%s:%s", job_team(cli), name);
    view_append_name(target, name);
}

int job_post_each(struct cli *cli, const char *action, const char *done, struct error *err)
{
    struct api *api = cli_api(cli, err);
    if (!api)
        return -1;
    struct strbuf target = {0};
    int failed = 0;
    for (size_t i = 0; !failed && i < arguments_operand_count(cli->args); i++) {
        const char *job = arguments_operand(cli->args, i);
        char key[API_KEY_TEXT];
        api_make_key(key);
        strbuf_clear(&target);
        job_append_target(cli, &target, job, action);
        failed = api_call(api, cli->arena, "POST", target.text, NULL, key, NULL, err);
        if (failed)
            error_prefix(err, "%s", job);
        else
            failed = cli_puts(cli, arena_printf(cli->arena, "job %s %s\n", job, done), err);
    }
    strbuf_finish(&target);
    return failed;
}

static const char *job_state(const struct doc *job)
{
    const char *state = view_text(job, "status.state");
    return state ? state : "";
}

bool job_ended(const struct doc *job)
{
    const char *state = job_state(job);
    return !strcmp(state, "succeeded") || !strcmp(state, "failed") || !strcmp(state, "cancelled");
}

int job_exit_status(const struct doc *job)
{
    const char *reason = view_text(job, "status.reason");
    int64_t status = 0;
    if (!strcmp(job_state(job), "succeeded"))
        return 0;
    if (reason && !strcmp(reason, "start-failed"))
        return STATUS_START_FAILED;
    if (doc_as_int(view_at(job, "status.signal"), &status) && status > 0 && status < 65)
        return 128 + (int)status;
    if (doc_as_int(view_at(job, "status.exitStatus"), &status) && status > 0 && status < 256)
        return (int)status;
    return 1;
}

struct job_log {
    struct cli *cli;
    struct text_filter filter;
    struct strbuf safe;
    uint64_t written; /* bytes of this log that have come so far */
    uint64_t skip;    /* of them, those that came before the connection broke */
    struct error err;
};

struct job_log *job_log_create(struct cli *cli)
{
    struct job_log *log = mem_alloc(1, sizeof *log);
    log->cli = cli;
    return log;
}

void job_log_destroy(struct job_log *log)
{
    if (!log)
        return;
    strbuf_finish(&log->safe);
    free(log);
}

int job_log_sink(const void *bytes, size_t length, void *ctx)
{
    struct job_log *log = ctx;
    const char *text = bytes;
    if (log->skip >= length) {
        log->skip -= length;
        return 0;
    }
    text += log->skip;
    length -= (size_t)log->skip;
    log->skip = 0;
    log->written += length;
    if (!log->cli->terminal)
        return cli_write(log->cli, text, length, &log->err);
    strbuf_clear(&log->safe);
    text_filter_piece(&log->filter, text, length, &log->safe);
    return cli_write(log->cli, strbuf_text(&log->safe), log->safe.length, &log->err);
}

/* The sentence that the engine has for the end of the last attempt, or NULL. */
static const char *end_detail(const struct doc *job)
{
    const struct doc *attempts = view_at(job, "status.attemptList");
    bool some = attempts && attempts->type == DOC_LIST && attempts->last;
    return some ? view_text(attempts->last, "detail") : NULL;
}

/* What has become of the job since the last time, where that is worth a line: that it runs or has
 * succeeded is plain from its log. */
static void note_state(struct cli *cli, const struct doc *job, const char **last)
{
    const char *state = job_state(job);
    if (!strcmp(state, *last))
        return;
    *last = arena_strdup(cli->arena, state);
    if (!strcmp(state, "starting") || !strcmp(state, "running") || !strcmp(state, "succeeded"))
        return;
    const char *reason = view_text(job, "status.reason");
    const char *detail = job_ended(job) ? end_detail(job) : NULL;
    cli_note(cli, "%s is %s%s%s%s%s", view_text(job, "metadata.name|name"), state,
        reason ? ": " : "", reason ? reason : "", detail ? ": " : "", detail ? detail : "");
}

struct follow {
    struct cli *cli;
    struct api *api;
    const char *target;  /* of the job */
    struct job_log *log; /* of the attempt that is being followed */
    int64_t attempt;     /* 0: none yet */
    int failures;        /* in a row */
};

static int stream_attempt(struct follow *follow, int64_t attempt, struct error *err)
{
    struct cli *cli = follow->cli;
    if (attempt != follow->attempt) {
        job_log_destroy(follow->log);
        follow->log = job_log_create(cli);
        follow->attempt = attempt;
    }
    follow->log->skip = follow->log->written;
    const char *target = arena_printf(
        cli->arena, "%s/logs?attempt=%lld&follow=true", follow->target, (long long)attempt);
    cli_catch_interrupts(http_client_fd(api_http(follow->api)));
    int failed = api_stream(follow->api, cli->arena, target, -1, job_log_sink, follow->log, err);
    cli_catch_interrupts(-1);
    return failed;
}

/* Whether the server may be back soon: a restart loses nothing. */
static bool worth_waiting(struct follow *follow, const struct error *err)
{
    if (err->code != ERR_UNAVAILABLE && err->code != ERR_UNKNOWN)
        return false;
    return ++follow->failures <= FOLLOW_PATIENCE;
}

static int follow_loop(struct follow *follow, const struct doc **ret_job, struct error *err)
{
    const char *last = "";
    int64_t streamed = 0; /* the attempt whose log has been written to its end */
    for (;;) {
        struct error trouble = {0};
        const struct doc *job = NULL;
        int64_t attempt = 0;
        int failed = api_get(follow->api, follow->cli->arena, follow->target, &job, &trouble);
        if (!failed) {
            follow->failures = 0;
            *ret_job = job;
            note_state(follow->cli, job, &last);
            if (doc_as_int(view_at(job, "status.attempts"), &attempt) && attempt > streamed) {
                failed = stream_attempt(follow, attempt, &trouble);
                streamed = failed ? streamed : attempt;
            } else if (job_ended(job)) {
                return 0;
            }
        }
        if (cli_interrupted())
            return *ret_job ? 0 : error_set(err, ERR_UNAVAILABLE, "interrupted");
        if (failed && !worth_waiting(follow, &trouble))
            return error_set(err, trouble.code, "%s", trouble.text);
        /* After a log that ended at once the job is asked again without a pause. */
        if (failed || attempt == 0 || streamed != attempt || !job_ended(job))
            cli_pause(FOLLOW_PAUSE_MS);
    }
}

int job_follow(struct cli *cli, const char *job, const struct doc **ret_job, struct error *err)
{
    struct api *api = cli_api(cli, err);
    if (!api)
        return -1;
    struct strbuf target = {0};
    job_append_target(cli, &target, job, "");
    struct follow follow = {.cli = cli, .api = api, .target = target.text};
    cli_catch_interrupts(-1);
    const struct doc *ended = NULL;
    int failed = follow_loop(&follow, &ended, err);
    job_log_destroy(follow.log);
    strbuf_finish(&target);
    if (!failed)
        *ret_job = ended;
    return failed;
}
