/* The life of an attempt on Slurm.
 *
 * It runs at most once because of three things. It is written down that a submission is tried
 * before it is sent. One whose outcome is not known is looked up by its mark in a listing that was
 * begun later, before it is sent again. And should two jobs come of it after all, because
 * slurmrestd worked off late what we had given up, then only the one that claims the attempt on the
 * shared storage does anything. The same claim, made by this server, is what makes sure that an
 * attempt of which the cluster knows nothing (any more) will not begin when nobody looks. */
#include "engine/slurm.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "engine/launch.h"
#include "engine/slurm_script.h"
#include "engine/tree.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNLIMITED_MS (INT64_C(365) * 24 * 3600 * 1000)

enum {
    ASK_AGAIN_MS = 2000,
    TRACES_MS = 5000, /* what ranks left may show up a little after the cluster's word */
    CHECKPOINT_MS = 2000,
    CHECKPOINT_ENTRIES = 4096,
    HURRIES_MOST = 16,
    WALLTIME_SLACK_MINUTES = 1,
};

/* ---- making and finding ---------------------------------------------------------------------- */

static size_t place_of(const struct slurm *slurm, uint64_t id)
{
    size_t low = 0, high = slurm->attempts.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slurm->attempts.items[middle]->launch.attempt < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The launch is kept as it is written down: without secrets and snapshot. */
struct slurm_attempt *slurm_attempt_create(struct slurm *slurm, const struct launch *launch)
{
    struct slurm_attempt *attempt = mem_alloc(1, sizeof *attempt);
    SCOPED(strbuf_finish) struct strbuf text = {0};
    struct error err;
    attempt->slurm = slurm;
    attempt->arena = arena_create();
    attempt->ledger.end.rank = -1;
    launch_encode(&text, launch);
    int rc = launch_decode(attempt->arena, text.text, text.length, &attempt->launch, &err);
    assert(rc == 0);
    (void)rc;
    const struct slurm_user *user;
    if (slurm_user_of(slurm, &attempt->launch, &user, &err) == 0 && user)
        attempt->user = arena_strdup(attempt->arena, user->name);
    attempt->settled = slurm->listing;
    for (size_t i = 0; i < attempt->launch.input_count; i++)
        stage_hold(slurm->stage, attempt->launch.inputs[i].folder);
    vec_insert(&slurm->attempts, place_of(slurm, launch->attempt), attempt);
    idmap_put(&slurm->by_id, launch->attempt, attempt);
    return attempt;
}

void slurm_attempt_free(struct slurm_attempt *attempt)
{
    slurm_log_close(attempt->log);
    arena_destroy(attempt->arena);
    free(attempt);
}

struct slurm_attempt *slurm_attempt_find(const struct slurm *slurm, uint64_t id)
{
    return idmap_get(&slurm->by_id, id);
}

void slurm_attempt_remove(struct slurm_attempt *attempt)
{
    struct slurm *slurm = attempt->slurm;
    size_t place = place_of(slurm, attempt->launch.attempt);
    for (size_t i = 0; i < attempt->launch.input_count; i++)
        stage_release(slurm->stage, attempt->launch.inputs[i].folder);
    vec_remove(&slurm->attempts, place);
    idmap_remove(&slurm->by_id, attempt->launch.attempt);
    if (attempt->ledger.number && idmap_get(&slurm->by_number, attempt->ledger.number) == attempt)
        idmap_remove(&slurm->by_number, attempt->ledger.number);
    slurm_attempt_free(attempt);
}

/* ---- reporting ------------------------------------------------------------------------------- */

void slurm_attempt_report(struct slurm_attempt *attempt, struct report *what)
{
    what->attempt = attempt->launch.attempt;
    what->job = attempt->launch.job;
    what->at_ms = clock_wall_ms();
    attempt->slurm->report(attempt->slurm->context, what);
}

/* Everything that was not said yet. Nothing may be done with the attempt after this: the callback
 * may have it forgotten. */
static void report_what_is(struct slurm_attempt *attempt)
{
    uint64_t id = attempt->launch.attempt;
    struct slurm *slurm = attempt->slurm;
    enum engine_submission now = attempt->ledger.ended    ? ENGINE_SUBMISSION_OVER
                                 : attempt->nodes[0]      ? ENGINE_SUBMISSION_PLACED
                                 : attempt->ledger.number ? ENGINE_SUBMISSION_QUEUED
                                                          : ENGINE_SUBMISSION_ACCEPTED;
    if (now != attempt->submission_reported && now != ENGINE_SUBMISSION_OVER) {
        attempt->submission_reported = now;
        slurm_attempt_report(attempt, &(struct report){.kind = ENGINE_REPORT_QUEUED});
        if (slurm_attempt_find(slurm, id) != attempt)
            return;
    }
    if (attempt->started && !attempt->started_reported) {
        attempt->started_reported = true;
        slurm_attempt_report(attempt, &(struct report){.kind = ENGINE_REPORT_STARTED,
                                          .started_ms = attempt->traces.started_ms});
        if (slurm_attempt_find(slurm, id) != attempt)
            return;
    }
    if (attempt->started && !attempt->ledger.ended &&
        attempt->site_end_ms != attempt->site_end_reported) {
        attempt->site_end_reported = attempt->site_end_ms;
        slurm_attempt_report(attempt,
            &(struct report){.kind = ENGINE_REPORT_SITE_END, .site_end_ms = attempt->site_end_ms});
        if (slurm_attempt_find(slurm, id) != attempt)
            return;
    }
    if (attempt->ledger.ended && !attempt->ended_reported) {
        attempt->ended_reported = true;
        slurm_attempt_report(
            attempt, &(struct report){.kind = ENGINE_REPORT_ENDED, .ended = attempt->ledger.end});
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

static struct slurm_facts facts_of(const struct slurm_attempt *attempt)
{
    const struct slurm_traces *traces = &attempt->traces;
    return (struct slurm_facts){.state = attempt->state,
        .preempted = attempt->preempted || attempt->requeued,
        .claimed = attempt->claimed,
        .ranks = attempt->launch.world_size,
        .ended = traces->ended,
        .all_zero = traces->all_zero && traces->ended > 0,
        .failed_rank = traces->failed_rank,
        .failed_status = traces->failed_status,
        .start_errno = traces->start_errno,
        .port_taken = traces->port_taken,
        .port = attempt->launch.serve.port,
        .stop_asked = attempt->ledger.stop_asked,
        .kill_sent = attempt->ledger.kill_sent,
        .complete = traces->complete,
        .time_limit = attempt->launch.time_limit_ms > 0};
}

/* Its log has to be brought over before its end is told. */
static void end_when_copied(struct slurm_attempt *attempt)
{
    attempt->finishing = true;
    if (attempt->claimed && !attempt->log)
        attempt->log = slurm_log_open(attempt);
    if (attempt->log && slurm_log_copy(attempt->log, attempt))
        return;
    if (attempt->log)
        slurm_log_finish(attempt->log);
    slurm_log_close(attempt->log);
    attempt->log = NULL;
    attempt->ledger.ended = true;
    if (slurm_ledger_save(attempt) < 0) {
        attempt->ledger.ended = false;
        return;
    }
    slurm_folder_drop_secrets(&attempt->slurm->folder, attempt->launch.attempt);
}

static void set_end(struct slurm_attempt *attempt)
{
    struct slurm_facts facts = facts_of(attempt);
    struct attempt_end *end = &attempt->ledger.end;
    slurm_end_decide(&facts, end);
    if (attempt->misplaced && !facts.stop_asked) {
        end->reason = ENGINE_END_LOST;
        snprintf(end->text, sizeof end->text, "Slurm gave other nodes than were asked for: %.100s",
            attempt->nodes);
    }
    end->stop_asked = facts.stop_asked;
    end->started_ms = attempt->traces.started_ms;
    end->ended_ms = attempt->traces.ended_ms ? attempt->traces.ended_ms : clock_wall_ms();
    attempt->started |= attempt->traces.started_ms > 0;
    end_when_copied(attempt);
}

/* Without a claim nothing of it ran; with ours nothing of it ever will. False: not now. */
static bool settle_claim(struct slurm_attempt *attempt)
{
    uint64_t number;
    enum slurm_claim claim =
        slurm_folder_claim(&attempt->slurm->folder, attempt->launch.attempt, &number);
    attempt->claimed = claim == CLAIM_THEIRS;
    return claim != CLAIM_UNKNOWN;
}

static void take_number(struct slurm_attempt *attempt, uint64_t number)
{
    struct slurm *slurm = attempt->slurm;
    if (attempt->ledger.number)
        idmap_remove(&slurm->by_number, attempt->ledger.number);
    attempt->ledger.number = number;
    attempt->settled = slurm->listing;
    attempt->state = SLURM_UNKNOWN;
    attempt->nodes[0] = '\0';
    idmap_put(&slurm->by_number, number, attempt);
    if (slurm_ledger_save(attempt) < 0)
        log_warn("job %" PRIu64 " is found by its mark again", number);
}

/* Its job is over: what was it? A job that found another's claim is not the one that ran. */
static void end_of_job(struct slurm_attempt *attempt)
{
    struct slurm *slurm = attempt->slurm;
    int64_t by = slurm_folder_claimed_by(&slurm->folder, attempt->launch.attempt);
    if (by > 0 && (uint64_t)by != attempt->ledger.number) {
        take_number(attempt, (uint64_t)by);
        return;
    }
    if (!settle_claim(attempt))
        return;
    int64_t now_ms = clock_boot_ms();
    if (attempt->over_ms == 0)
        attempt->over_ms = now_ms;
    slurm_folder_look(
        &slurm->folder, attempt->launch.attempt, attempt->launch.world_size, &attempt->traces);
    bool expected = attempt->claimed && attempt->state == SLURM_COMPLETED &&
                    attempt->traces.ended < attempt->launch.world_size &&
                    !attempt->ledger.kill_sent;
    if (!expected || now_ms - attempt->over_ms > TRACES_MS)
        set_end(attempt);
}

static void end_unsubmitted(
    struct slurm_attempt *attempt, enum engine_end_reason reason, int code, const char *text)
{
    if (!settle_claim(attempt))
        return;
    if (attempt->claimed) { /* somebody runs it: a listing will show who */
        attempt->settled = attempt->slurm->listing;
        return;
    }
    struct attempt_end *end = &attempt->ledger.end;
    *end = (struct attempt_end){.reason = reason, .code = code, .rank = -1};
    snprintf(end->text, sizeof end->text, "%s", text);
    end->stop_asked = attempt->ledger.stop_asked;
    end->ended_ms = clock_wall_ms();
    end_when_copied(attempt);
}

/* ---- what the cluster says ------------------------------------------------------------------- */

static bool is_misplaced(const struct slurm_attempt *attempt, const struct slurm_job *job)
{
    return attempt->slurm->site.place == SITE_PLACE_MUSTER && job->state == SLURM_RUNNING &&
           job->node_count > 0 && (uint64_t)job->node_count != attempt->launch.placement_count;
}

/* When the cluster ends it for its walltime: as its clock says, but no later than that after it was
 * seen to run here, should that clock be ahead. A job without a limit is listed with one of a year.
 */
static void see_site_end(struct slurm_attempt *attempt, const struct slurm_job *job)
{
    int64_t whole_ms = job->ended_ms - job->started_ms;
    if (job->state != SLURM_RUNNING)
        return;
    if (attempt->running_ms == 0)
        attempt->running_ms = clock_wall_ms();
    int64_t latest_ms = attempt->running_ms + whole_ms;
    bool bounded = job->started_ms > 0 && whole_ms > 0 && whole_ms < UNLIMITED_MS;
    attempt->site_end_ms = !bounded ? 0 : job->ended_ms < latest_ms ? job->ended_ms : latest_ms;
}

/* Two jobs of one attempt: the one that claims it counts. Until one has, neither may be cancelled:
 * it could be the one that is about to. */
static void seen_second(struct slurm_attempt *attempt, const struct slurm_job *job)
{
    int64_t by = slurm_folder_claimed_by(&attempt->slurm->folder, attempt->launch.attempt);
    if (by > 0 && (uint64_t)by == job->id)
        take_number(attempt, job->id);
    else if (by > 0 && !slurm_state_over(job->state))
        slurm_watch_cancel(attempt->slurm, job->id);
}

void slurm_attempt_seen(struct slurm_attempt *attempt, const struct slurm_job *job)
{
    if (attempt->ledger.ended)
        return;
    if (attempt->ledger.number == 0)
        take_number(attempt, job->id);
    else if (attempt->ledger.number != job->id)
        seen_second(attempt, job);
    if (attempt->ledger.number != job->id)
        return;
    attempt->seen = attempt->slurm->listing;
    attempt->state = job->state;
    attempt->preempted |= job->preempted;
    attempt->requeued |= job->restarts > 0;
    attempt->misplaced |= is_misplaced(attempt, job);
    see_site_end(attempt, job);
    snprintf(attempt->reason, sizeof attempt->reason, "%s",
        job->state == SLURM_PENDING ? job->reason : "");
    if (job->nodes[0])
        snprintf(attempt->nodes, sizeof attempt->nodes, "%s", job->nodes);
}

/* Its script is done and the cluster goes on saying that it runs: a node's word got lost. */
static void unnoticed_end(struct slurm_attempt *attempt)
{
    int64_t now_ms = clock_boot_ms();
    if (attempt->over_ms == 0)
        attempt->over_ms = now_ms;
    if (now_ms - attempt->over_ms <= TRACES_MS)
        return;
    slurm_watch_cancel(attempt->slurm, attempt->ledger.number);
    end_of_job(attempt);
}

/* The cluster does not have its job. */
static void absent(struct slurm_attempt *attempt)
{
    uint64_t id = attempt->launch.attempt;
    int64_t by = slurm_folder_claimed_by(&attempt->slurm->folder, id);
    if (attempt->ledger.number == 0 && by > 0) {
        take_number(attempt, (uint64_t)by); /* it ran, and may be forgotten by now */
    } else if (attempt->ledger.number == 0) {
        attempt->ledger.tried = false; /* it did not get there */
        attempt->settled = attempt->slurm->listing;
    } else if (!slurm_account_wait(attempt)) {
        attempt->state = attempt->account_state;
        end_of_job(attempt);
    }
}

void slurm_attempt_listed(struct slurm_attempt *attempt)
{
    uint64_t listing = attempt->slurm->listing;
    if (attempt->ledger.ended || attempt->asking || attempt->finishing)
        return;
    bool may_be_there = attempt->ledger.tried || attempt->ledger.number;
    if (attempt->seen == listing && slurm_state_over(attempt->state))
        end_of_job(attempt);
    else if (attempt->seen == listing && attempt->traces.finished)
        unnoticed_end(attempt);
    else if (attempt->seen != listing && may_be_there && listing > attempt->settled)
        absent(attempt);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void parse_answer(
    struct arena *arena, const struct rest_answer *answer, const struct doc **ret_doc)
{
    struct error err;
    *ret_doc = answer->outcome == REST_ANSWERED
                   ? doc_parse_json(arena, answer->body, answer->length, REST_BODY_MAX, &err)
                   : NULL;
}

/* An answer without a number is a refusal only when the controller, or the reading of what we sent,
 * refused: all else may have been done behind it. */
static bool is_refusal(const struct doc *doc)
{
    const struct doc *errors = doc_get(doc, "errors");
    for (const struct doc *item = errors && errors->type == DOC_LIST ? errors->first : NULL; item;
         item = item->next) {
        int64_t number = doc_get_int(item, "error_number", doc_get_int(item, "error_code", 0));
        if ((number >= 2000 && number < 5000) || number == 9001)
            return true;
    }
    return false;
}

static void on_submitted(void *context, const struct rest_answer *answer)
{
    struct slurm_attempt *attempt = context;
    struct slurm *slurm = attempt->slurm;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *doc;
    char text[200] = "", why[200];
    attempt->asking = false;
    attempt->settled = slurm->listing;
    attempt->ask_again_ms = clock_boot_ms() + ASK_AGAIN_MS;
    parse_answer(arena, answer, &doc);
    uint64_t number = doc ? dialect_read_submitted(doc, text, sizeof text) : 0;
    if (answer->outcome == REST_ANSWERED)
        slurm_watch_answered(slurm);
    else
        slurm_watch_failed(slurm, answer->text);
    if (attempt->ledger.number)
        return; /* a listing was quicker */
    if (number) {
        take_number(attempt, number);
    } else if (doc && is_refusal(doc)) {
        snprintf(why, sizeof why, "Slurm refused it: %.180s", text);
        end_unsubmitted(attempt, ENGINE_END_START_FAILED, 0, why);
    } else {
        snprintf(attempt->reason, sizeof attempt->reason, "%s", text[0] ? text : answer->text);
    }
    event_active(slurm->now, EV_TIMEOUT, 0);
}

/* The nodes of its placements, each once, in the order of names: so does Slurm order ranks. */
static size_t node_names(const struct slurm_attempt *attempt, const char **names)
{
    const struct launch *launch = &attempt->launch;
    size_t count = 0;
    if (attempt->slurm->site.place != SITE_PLACE_MUSTER)
        return 0;
    for (size_t i = 0; i < launch->placement_count; i++)
        names[count++] = launch->placements[i].node;
    return count;
}

/* What the job would take at most, or what the pool says that the site gives; 0: its default. */
static uint64_t minutes_of(const struct slurm_attempt *attempt)
{
    const struct launch *launch = &attempt->launch;
    uint64_t ms = launch->walltime_ms ? launch->walltime_ms : launch->time_limit_ms;
    uint64_t most = (uint64_t)attempt->slurm->site.walltime_ms / 60000;
    uint64_t minutes = (ms + 59999) / 60000 + (launch->walltime_ms ? WALLTIME_SLACK_MINUTES : 0);
    return most && (!minutes || minutes > most) ? most : minutes;
}

static void write_submission(struct slurm_attempt *attempt, struct strbuf *out)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct slurm *slurm = attempt->slurm;
    const struct launch *launch = &attempt->launch;
    const struct launch_placement *first = &launch->placements[0];
    SCOPED(mem_scope) char *batch = slurm_folder_attempt(&slurm->folder, launch->attempt, "batch");
    SCOPED(mem_scope) char *top = slurm_folder_attempt(&slurm->folder, launch->attempt, NULL);
    SCOPED(strbuf_finish) struct strbuf script = {0};
    const char **names = arena_alloc(arena, launch->placement_count, sizeof *names);
    uint32_t cpus = launch->cpu_milli ? (uint32_t)((launch->cpu_milli + 999) / 1000) : 1;
    uint64_t memory_mb = (launch->memory_bytes + (1 << 20) - 1) >> 20;
    char mark[ENGINE_MARK_TEXT];
    script_write_submitted(batch, &script);
    const struct slurm_submission submission = {.name = launch->job_name,
        .mark = engine_mark(slurm->owner, launch->attempt, mark),
        .script = script.text,
        .folder = top,
        .partition = slurm->site.partition,
        .account = slurm->site.account,
        .qos = slurm->site.qos,
        .constraint = slurm->site.constraint,
        .node_names = names,
        .node_count = node_names(attempt, names),
        .tasks = launch->world_size,
        .cpus_per_task = cpus,
        .memory_per_cpu_mb = (memory_mb + cpus - 1) / cpus,
        .devices_per_task = (uint32_t)(first->device_count / first->ranks),
        .device_type = launch->accelerator_type,
        .minutes = minutes_of(attempt)};
    dialect_write(slurm->dialect, arena, &submission, out);
}

static void submit(struct slurm_attempt *attempt)
{
    struct slurm *slurm = attempt->slurm;
    SCOPED(strbuf_finish) struct strbuf body = {0}, target = {0};
    assert(attempt->stored);
    attempt->ledger.tried = true;
    write_submission(attempt, &body);
    strbuf_printf(&target, "/slurm/%s/job/submit", slurm->dialect->version);
    attempt->asking = true;
    rest_ask(slurm->rest, &(struct rest_question){.method = "POST",
                              .target = target.text,
                              .user = attempt->user,
                              .body = body.text,
                              .length = body.length,
                              .on_done = on_submitted,
                              .context = attempt});
}

/* Whether everything that it reads is at the site; ends it when some of it can never be. */
static bool inputs_are_there(struct slurm_attempt *attempt)
{
    const struct launch *launch = &attempt->launch;
    char text[STAGE_TEXT];
    for (size_t i = 0; i < launch->input_count; i++) {
        enum stage_state state = stage_look(attempt->slurm->stage, launch->inputs[i].folder, text);
        if (state == STAGE_THERE)
            continue;
        snprintf(
            attempt->reason, sizeof attempt->reason, "%s: %.150s", launch->inputs[i].name, text);
        if (state == STAGE_MISSING)
            end_unsubmitted(attempt, ENGINE_END_START_FAILED, ENOENT, attempt->reason);
        return false;
    }
    return true;
}

/* What became of it the next listing says. */
static void on_ended(void *context, const struct rest_answer *answer)
{
    struct slurm_attempt *attempt = context;
    attempt->asking = false;
    if (answer->outcome == REST_ANSWERED)
        slurm_watch_answered(attempt->slurm);
    else
        slurm_watch_failed(attempt->slurm, answer->text);
}

static void end_job(struct slurm_attempt *attempt)
{
    struct slurm *slurm = attempt->slurm;
    SCOPED(strbuf_finish) struct strbuf target = {0};
    int64_t now_ms = clock_boot_ms();
    if (now_ms < attempt->ask_again_ms || !slurm->dialect)
        return;
    attempt->ask_again_ms = now_ms + ASK_AGAIN_MS;
    attempt->asking = true;
    strbuf_printf(
        &target, "/slurm/%s/job/%" PRIu64, slurm->dialect->version, attempt->ledger.number);
    rest_ask(slurm->rest, &(struct rest_question){.method = "DELETE",
                              .target = target.text,
                              .user = attempt->user,
                              .on_done = on_ended,
                              .context = attempt});
}

/* ---- driving --------------------------------------------------------------------------------- */

static void kill_now(struct slurm_attempt *attempt)
{
    if (!attempt->ledger.kill_sent) {
        attempt->ledger.kill_sent = true;
        if (slurm_ledger_save(attempt) < 0) {
            attempt->ledger.kill_sent = false;
            return;
        }
    }
    struct error err;
    if (slurm_folder_stop(&attempt->slurm->folder, attempt->launch.attempt, true, &err) < 0)
        log_warn("%s", err.text);
    end_job(attempt);
}

static void drive_job(struct slurm_attempt *attempt)
{
    const struct slurm_ledger *ledger = &attempt->ledger;
    bool waits = attempt->state == SLURM_PENDING;
    int64_t failing_ms = attempt->failing_ms;
    if (attempt->requeued || attempt->misplaced || (waits && ledger->stop_asked)) {
        end_job(attempt);
    } else if (ledger->stop_asked && clock_wall_ms() >= ledger->stop_until_ms) {
        kill_now(attempt);
    } else if (ledger->stop_asked && !attempt->told) {
        struct error err;
        attempt->told =
            slurm_folder_stop(&attempt->slurm->folder, attempt->launch.attempt, false, &err) == 0;
    } else if (failing_ms && clock_boot_ms() - failing_ms > (int64_t)attempt->launch.grace_ms) {
        kill_now(attempt);
    }
}

void slurm_attempt_drive(struct slurm_attempt *attempt)
{
    struct slurm *slurm = attempt->slurm;
    struct slurm_ledger *ledger = &attempt->ledger;
    if (attempt->finishing && !ledger->ended)
        end_when_copied(attempt);
    if (!ledger->ended && !attempt->finishing && !attempt->asking) {
        if (ledger->number && !slurm_state_over(attempt->state))
            drive_job(attempt);
        else if (!ledger->number && !ledger->tried && ledger->stop_asked)
            end_unsubmitted(
                attempt, ENGINE_END_STOPPED, 0, "it was stopped before it was submitted");
        else if (!ledger->number && !ledger->tried && attempt->stored && slurm->dialect &&
                 slurm->about.answers && clock_boot_ms() >= attempt->ask_again_ms &&
                 inputs_are_there(attempt))
            submit(attempt);
    }
    report_what_is(attempt);
}

/* ---- what ranks leave ------------------------------------------------------------------------ */

static void on_metrics_line(void *context, const char *line, size_t length, uint64_t offset)
{
    struct report what = {.kind = ENGINE_REPORT_METRICS,
        .metrics = {.line = line, .length = length, .offset = offset}};
    slurm_attempt_report(context, &what);
}

static void look_at_metrics(struct slurm_attempt *attempt)
{
    SCOPED(mem_scope)
    char *path =
        slurm_folder_attempt(&attempt->slurm->folder, attempt->launch.attempt, "out/metrics");
    metrics_read(&attempt->metrics, path, attempt->finishing, on_metrics_line, attempt);
}

static void look_at_checkpoint(struct slurm_attempt *attempt)
{
    int64_t now_ms = clock_boot_ms();
    struct tree_measure measure = {0};
    if (now_ms - attempt->checkpoint_look_ms < CHECKPOINT_MS)
        return;
    attempt->checkpoint_look_ms = now_ms;
    SCOPED(mem_scope)
    char *path = slurm_folder_job(&attempt->slurm->folder, attempt->launch.job, "checkpoint");
    SCOPED(fd_scope) int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    tree_measure_add(fd, CHECKPOINT_ENTRIES, &measure);
    if (measure.newest_ms == attempt->checkpoint_ms && measure.bytes == attempt->checkpoint_bytes)
        return;
    attempt->checkpoint_ms = measure.newest_ms;
    attempt->checkpoint_bytes = measure.bytes;
    int64_t wall_ms = clock_wall_ms();
    struct report what = {.kind = ENGINE_REPORT_CHECKPOINT,
        .checkpoint = {.newest_ms = measure.newest_ms < wall_ms ? measure.newest_ms : wall_ms,
            .bytes = measure.bytes}};
    slurm_attempt_report(attempt, &what);
}

bool slurm_attempt_is_active(const struct slurm_attempt *attempt)
{
    return attempt->finishing || attempt->state == SLURM_RUNNING ||
           attempt->state == SLURM_COMPLETING;
}

/* What it left says that the cluster has something new to say of it. Not for ever: a cluster may
 * take its time to clean up behind a job. */
static void hurry(struct slurm_attempt *attempt)
{
    attempt->slurm->hurry |= attempt->hurried++ < HURRIES_MOST;
}

/* A callback may not forget what has not ended, so that it is there afterwards. */
void slurm_attempt_look(struct slurm_attempt *attempt)
{
    struct slurm *slurm = attempt->slurm;
    struct slurm_traces *traces = &attempt->traces;
    if (attempt->ledger.ended || attempt->finishing || !attempt->ledger.number)
        return;
    if (!slurm_attempt_is_active(attempt)) {
        if (slurm_folder_claimed_by(&slurm->folder, attempt->launch.attempt) >= 0)
            hurry(attempt);
        return;
    }
    slurm_folder_look(&slurm->folder, attempt->launch.attempt, attempt->launch.world_size, traces);
    if (traces->finished)
        hurry(attempt);
    if (traces->begun == 0)
        return;
    slurm_serve_look(attempt);
    attempt->started |= traces->begun == attempt->launch.world_size && slurm_serve_placed(attempt);
    if (traces->failed_rank >= 0 && traces->ended < attempt->launch.world_size &&
        attempt->failing_ms == 0)
        attempt->failing_ms = clock_boot_ms();
    if (!attempt->log)
        attempt->log = slurm_log_open(attempt);
    if (attempt->log)
        slurm_log_copy(attempt->log, attempt);
    look_at_metrics(attempt);
    look_at_checkpoint(attempt);
    slurm_usage_look(attempt);
}
