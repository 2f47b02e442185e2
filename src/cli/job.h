/* What the verbs about one job share: its name in the API, and following it to its end. */
#pragma once

#include "base/strbuf.h"
#include "cli/cli.h"
#include "cli/view.h"

/* The option that says which team a job without one in its name belongs to. */
#define JOB_TEAM_OPTION                                                                            \
    {                                                                                              \
        "team", 0, OPTION_TEXT, "TEAM", "the team of a job that is named without one", NULL,       \
            "MUSTER_TEAM"                                                                          \
    }
#define JOB_TEAM_DEFAULT "default"

/* The verb's team: --team, else $MUSTER_TEAM, else JOB_TEAM_DEFAULT. */
const char *job_team(const struct cli *cli);
/* A job as the API wants it in paths and queries: "team:name", or an id; in the arena. */
const char *job_reference(const struct cli *cli, const char *job);
/* Appends "/v1/jobs/..." for a job as it is named by people ("team/name", "name", an id), and then
 * suffix ("/logs", ""). */
void job_append_target(
    const struct cli *cli, struct strbuf *target, const char *job, const char *suffix);
/* Appends the path of anything that a view shows, by the name that people give it: a team's things
 * as team/name, or as a name alone (of the verb's team). */
void job_append_view_target(
    const struct cli *cli, struct strbuf *target, const struct view *view, const char *name);
/* The verbs that are one POST: cancel, hold, release. Every operand is a job; says what was done.
 */
MUST_CHECK int job_post_each(
    struct cli *cli, const char *action, const char *done, struct error *err);
/* Whether a job's document says that it has ended. */
bool job_ended(const struct doc *job);
/* What the program exits with after a job: the job's own exit status, 128 and the signal's number,
 * 127 where its command could not be started, or 1 where it ended otherwise. 0 for success. */
int job_exit_status(const struct doc *job);
/* Writes the log of a job, attempt after attempt, until the job has ended, over restarts of the
 * server; notes on standard error what happens to it meanwhile. *ret_job is the job as it ended, or
 * as it was when an interrupt came. */
MUST_CHECK int job_follow(
    struct cli *cli, const char *job, const struct doc **ret_job, struct error *err);
/* Where the pieces of one attempt's log go: to standard output, neutralised for a terminal. */
struct job_log;
/* An empty one; destroyed by the caller. cli is borrowed. */
struct job_log *job_log_create(struct cli *cli);
/* NULL is fine. */
void job_log_destroy(struct job_log *log);
/* The sink for api_stream; ctx is a struct job_log. */
int job_log_sink(const void *bytes, size_t length, void *ctx);
