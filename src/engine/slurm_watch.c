/* What the cluster says: its version, and its jobs. One request for all of them, whatever their
 * number; the next is sent after the last was read to its end. */
#include "engine/slurm.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HURRY_MS = 200,
    PATIENCE_MOST_MS = 300000,
    BACKOFF_MOST_MS = 10000,
    BACKOFF_STEPS = 6,
};

/* ---- does it answer? ------------------------------------------------------------------------- */

void slurm_watch_report(struct slurm *slurm)
{
    struct report what = {.kind = ENGINE_REPORT_SITE, .at_ms = clock_wall_ms()};
    slurm->report(slurm->context, &what);
}

void slurm_watch_answered(struct slurm *slurm)
{
    struct engine_site *about = &slurm->about;
    slurm->failures = 0;
    if (about->answers)
        return;
    about->answers = true;
    about->since_ms = clock_wall_ms();
    snprintf(about->text, sizeof about->text, "slurmrestd %s",
        slurm->dialect ? slurm->dialect->version : "");
    log_info("pool %s: Slurm answers", slurm->pool);
    slurm_watch_report(slurm);
}

void slurm_watch_failed(struct slurm *slurm, const char *text)
{
    struct engine_site *about = &slurm->about;
    bool answered = about->answers;
    slurm->failures++;
    snprintf(about->text, sizeof about->text, "%s", text);
    if (!answered && slurm->failures > 1)
        return;
    about->answers = false;
    about->since_ms = clock_wall_ms();
    log_warn("pool %s: Slurm does not answer: %s", slurm->pool, text);
    slurm_watch_report(slurm);
}

static const char unknown_text[] =
    "slurmrestd does not take who asks (HTTP status 401): see tokenFile and user of the pool";

static bool is_unknown(const struct rest_answer *answer)
{
    return answer->status == 401 || answer->status == 403;
}

int64_t slurm_watch_pause_ms(const struct slurm *slurm)
{
    unsigned steps = slurm->failures < BACKOFF_STEPS ? slurm->failures : BACKOFF_STEPS;
    int64_t ms = slurm->site.poll_ms << steps;
    int64_t most = slurm->site.poll_ms > BACKOFF_MOST_MS ? slurm->site.poll_ms : BACKOFF_MOST_MS;
    return ms < most ? ms : most;
}

/* ---- the version ----------------------------------------------------------------------------- */

static void on_dialect(void *context, const struct rest_answer *answer)
{
    struct slurm *slurm = context;
    const struct dialect *asked = dialect_at(slurm->dialect_tried);
    SCOPED(arena_scope) struct arena *arena = arena_create();
    char text[200];
    struct error err;
    slurm->asking_dialect = false;
    if (answer->outcome != REST_ANSWERED || is_unknown(answer)) {
        slurm_watch_failed(slurm, answer->outcome == REST_ANSWERED ? unknown_text : answer->text);
        return;
    }
    const struct doc *doc = answer->status == 200 ? doc_parse_json(arena, answer->body,
                                                        answer->length, REST_BODY_MAX, &err)
                                                  : NULL;
    if (doc && doc_get(doc, "meta")) {
        slurm->dialect = asked;
        slurm_watch_answered(slurm);
        slurm_soon(slurm);
        return;
    }
    slurm->dialect_tried++;
    if (dialect_at(slurm->dialect_tried)) {
        slurm_soon(slurm);
        return;
    }
    slurm->dialect_tried = 0;
    snprintf(text, sizeof text,
        "slurmrestd speaks no version that is known here (HTTP status %d): v0.0.38 to v0.0.41",
        answer->status);
    slurm_watch_failed(slurm, text);
}

void slurm_watch_get(struct slurm *slurm, const char *what, int64_t timeout_ms,
    rest_piece_fn *on_piece, rest_done_fn *done)
{
    SCOPED(strbuf_finish) struct strbuf target = {0};
    const struct dialect *dialect =
        slurm->dialect ? slurm->dialect : dialect_at(slurm->dialect_tried);
    strbuf_printf(&target, "/slurm/%s/%s", dialect->version, what);
    rest_ask(slurm->rest, &(struct rest_question){.method = "GET",
                              .target = target.text,
                              .timeout_ms = timeout_ms,
                              .first = true,
                              .on_piece = on_piece,
                              .on_done = done,
                              .context = slurm});
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void on_cancelled(void *context, const struct rest_answer *answer)
{
    (void)context, (void)answer; /* the next listing shows it, and it is tried again */
}

void slurm_watch_cancel(struct slurm *slurm, uint64_t number)
{
    SCOPED(strbuf_finish) struct strbuf target = {0};
    strbuf_printf(&target, "/slurm/%s/job/%" PRIu64, slurm->dialect->version, number);
    rest_ask(slurm->rest,
        &(struct rest_question){
            .method = "DELETE", .target = target.text, .on_done = on_cancelled, .context = slurm});
}

void slurm_watch_left(struct slurm *slurm, uint64_t number)
{
    slurm->left[slurm->left_next] = (struct slurm_left){number, clock_boot_ms()};
    slurm->left_next = (slurm->left_next + 1) % SLURM_LEFT_MAX;
}

static bool has_just_left(const struct slurm *slurm, uint64_t number)
{
    int64_t since_ms = clock_boot_ms() - SLURM_TRACES_MS;
    for (size_t i = 0; i < SLURM_LEFT_MAX; i++) {
        if (slurm->left[i].number == number && slurm->left[i].at_ms > since_ms)
            return true;
    }
    return false;
}

/* Its ranks may have said that they ended and go on, or a node's word was lost. */
void slurm_watch_leftover(struct slurm *slurm, const struct slurm_job *job)
{
    if (!slurm_state_over(job->state) && job->state != SLURM_COMPLETING &&
        !has_just_left(slurm, job->id))
        slurm_watch_cancel(slurm, job->id);
}

/* A job that bears our mark and that nobody here knows was given up, or has ended: should it be
 * waiting still, it finds no script to run. */
static void see_job(struct slurm *slurm, const struct slurm_job *job)
{
    struct slurm_attempt *attempt = idmap_get(&slurm->by_number, job->id);
    uint64_t id;
    if (!attempt && engine_mark_read(job->mark, slurm->owner, &id)) {
        attempt = slurm_attempt_find(slurm, id);
        if (!attempt)
            slurm_watch_leftover(slurm, job);
    }
    if (attempt)
        slurm_attempt_seen(attempt, job);
}

static int on_job(
    void *context, const char *list, const char *json, size_t length, struct error *err)
{
    struct slurm *slurm = context;
    struct slurm_job job;
    if (strcmp(list, "jobs") != 0)
        return 0;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *doc = reply_item(arena, list, json, length, err);
    if (!doc)
        return -1;
    if (!dialect_read_job(doc, &job))
        return 0;
    if (slurm->site.cluster && job.cluster[0] && strcmp(job.cluster, slurm->site.cluster) != 0)
        return error_set(err, ERR_INVALID, "this is the cluster %.60s, not %.60s", job.cluster,
            slurm->site.cluster);
    see_job(slurm, &job);
    return 0;
}

static int on_jobs_piece(void *context, const char *bytes, size_t length, struct error *err)
{
    struct slurm *slurm = context;
    return reply_feed(&slurm->reply, bytes, length, err);
}

/* Visits every attempt; one may be forgotten meanwhile, by a callback. */
static void each_attempt(struct slurm *slurm, void (*visit)(struct slurm_attempt *attempt))
{
    uint64_t next = 0;
    for (size_t i = 0; i < slurm->attempts.count;) {
        struct slurm_attempt *attempt = slurm->attempts.items[i];
        if (attempt->launch.attempt < next) {
            i++;
            continue;
        }
        next = attempt->launch.attempt + 1;
        visit(attempt);
        if (i < slurm->attempts.count && slurm->attempts.items[i]->launch.attempt < next)
            i++;
    }
}

static void say_status(const struct rest_answer *answer, struct error *err)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *doc =
        doc_parse_json(arena, answer->body, answer->length, REST_BODY_MAX, NULL);
    char text[120] = "";
    if (doc)
        dialect_read_error(doc, text, sizeof text);
    error_set(err, ERR_UNAVAILABLE, "slurmrestd answered with HTTP status %d%s%s", answer->status,
        text[0] ? ": " : "", text);
}

bool slurm_watch_is_whole(
    const struct rest_answer *answer, const struct reply *reply, struct error *err)
{
    if (answer->outcome != REST_ANSWERED)
        error_set(err, ERR_UNAVAILABLE, "%s", answer->text);
    else if (is_unknown(answer))
        error_set(err, ERR_UNAUTHENTICATED, "%s", unknown_text);
    else if (answer->status != 200)
        say_status(answer, err);
    else if (reply_end(reply, err) == 0)
        return true;
    return false;
}

static void on_jobs(void *context, const struct rest_answer *answer)
{
    struct slurm *slurm = context;
    struct error err;
    slurm->asking_jobs = false;
    int64_t took = clock_boot_ms() - slurm->listed_ms;
    bool good = slurm_watch_is_whole(answer, &slurm->reply, &err);
    reply_finish(&slurm->reply);
    if (!good) {
        slurm->listing_patience_ms = 2 * took < PATIENCE_MOST_MS ? 2 * took : PATIENCE_MOST_MS;
        slurm_watch_failed(slurm, err.text);
        return;
    }
    slurm->listing_took_ms = took;
    slurm->listing_patience_ms = 4 * took < PATIENCE_MOST_MS ? 4 * took : PATIENCE_MOST_MS;
    slurm_watch_answered(slurm);
    each_attempt(slurm, slurm_attempt_listed);
    each_attempt(slurm, slurm_attempt_drive);
}

static bool any_live(const struct slurm *slurm)
{
    for (size_t i = 0; i < slurm->attempts.count; i++) {
        if (!slurm->attempts.items[i]->ledger.ended)
            return true;
    }
    return false;
}

/* A listing of a large queue is work: the site has to do with it a quarter of the time at most.
 * What left a sign of its own is asked for sooner. */
static int64_t listing_pause_ms(const struct slurm *slurm)
{
    int64_t pause = slurm_watch_pause_ms(slurm), took = slurm->listing_took_ms;
    int64_t calm = pause > 4 * took ? pause : 4 * took;
    int64_t soon = 2 * took > HURRY_MS ? 2 * took : HURRY_MS;
    return slurm->hurry && slurm->failures == 0 && soon < calm ? soon : calm;
}

static void ask_jobs(struct slurm *slurm, int64_t now_ms)
{
    if (slurm->asking_jobs || now_ms - slurm->listed_ms < listing_pause_ms(slurm) ||
        !any_live(slurm))
        return;
    slurm->asking_jobs = true;
    slurm->hurry = false;
    slurm->listed_ms = now_ms;
    slurm->listing++;
    reply_begin(&slurm->reply, on_job, slurm);
    slurm_watch_get(slurm, "jobs", slurm->listing_patience_ms, on_jobs_piece, on_jobs);
}

/* ---- a turn ---------------------------------------------------------------------------------- */

void slurm_watch_ask(struct slurm *slurm)
{
    int64_t now_ms = clock_boot_ms();
    if (slurm->dialect) {
        slurm_nodes_ask(slurm);
        ask_jobs(slurm, now_ms);
    } else if (!slurm->asking_dialect &&
               (slurm->dialect_tried > 0 || slurm->listed_ms == 0 ||
                   now_ms - slurm->listed_ms >= slurm_watch_pause_ms(slurm))) {
        slurm->asking_dialect = true;
        slurm->listed_ms = now_ms;
        slurm_watch_get(slurm, "ping", 0, NULL, on_dialect);
    }
}

void slurm_watch_turn(struct slurm *slurm)
{
    slurm_store_turn(slurm->store);
    slurm_watch_ask(slurm);
    each_attempt(slurm, slurm_attempt_drive);
}
