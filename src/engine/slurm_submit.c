/* Asking the cluster for an attempt's job: a submission, and an end. What comes of an answer that
 * is lost is learnt from a listing: see slurm_attempt.c. */
#include "engine/slurm.h"

#include "base/clock.h"
#include "engine/launch.h"
#include "engine/slurm_script.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>

enum { ASK_AGAIN_MS = 2000, WALLTIME_SLACK_MINUTES = 1 };

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
        slurm_attempt_number(attempt, number);
    } else if (doc && is_refusal(doc)) {
        snprintf(why, sizeof why, "Slurm refused it: %.180s", text);
        slurm_finish_unsubmitted(attempt, ENGINE_END_START_FAILED, 0, why);
    } else {
        snprintf(attempt->reason, sizeof attempt->reason, "%s", text[0] ? text : answer->text);
    }
    slurm_soon(slurm);
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
        .shares = launch_has_share(launch) ? slurm_nodes_shards(slurm, launch) : 0,
        .device_type = launch->accelerator_type,
        .minutes = minutes_of(attempt)};
    dialect_write(slurm->dialect, arena, &submission, out);
}

void slurm_submit(struct slurm_attempt *attempt)
{
    struct slurm *slurm = attempt->slurm;
    SCOPED(strbuf_finish) struct strbuf body = {0}, target = {0};
    assert(attempt->stored);
    attempt->ledger.tried = true;
    if (!attempt->ledger.sent_ms)
        attempt->ledger.sent_ms = clock_wall_ms();
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
bool slurm_submit_is_ready(struct slurm_attempt *attempt)
{
    const struct launch *launch = &attempt->launch;
    char text[STAGE_TEXT];
    if (launch_has_share(launch) && slurm_nodes_shards(attempt->slurm, launch) == 0) {
        snprintf(attempt->reason, sizeof attempt->reason,
            "no node that is known has shares of accelerators (gres/shard)");
        return false; /* a server that has just begun knows none yet */
    }
    for (size_t i = 0; i < launch->input_count; i++) {
        enum stage_state state = stage_look(attempt->slurm->stage, launch->inputs[i].folder, text);
        if (state == STAGE_THERE)
            continue;
        snprintf(
            attempt->reason, sizeof attempt->reason, "%s: %.150s", launch->inputs[i].name, text);
        if (state == STAGE_MISSING)
            slurm_finish_unsubmitted(attempt, ENGINE_END_START_FAILED, ENOENT, attempt->reason);
        return false;
    }
    return true;
}

/* What became of it a later listing says: until one has, it is not asked again. */
static void on_ended(void *context, const struct rest_answer *answer)
{
    struct slurm_attempt *attempt = context;
    attempt->asking = false;
    attempt->ask_again_ms = clock_boot_ms() + ASK_AGAIN_MS;
    if (answer->outcome != REST_ANSWERED) {
        slurm_watch_failed(attempt->slurm, answer->text);
        return;
    }
    slurm_watch_answered(attempt->slurm);
    attempt->cancel_heard = attempt->slurm->listing;
}

void slurm_submit_cancel(struct slurm_attempt *attempt)
{
    struct slurm *slurm = attempt->slurm;
    SCOPED(strbuf_finish) struct strbuf target = {0};
    int64_t now_ms = clock_boot_ms();
    if (now_ms < attempt->ask_again_ms || !slurm->dialect || !slurm_user_take(attempt) ||
        (attempt->cancel_heard && attempt->seen <= attempt->cancel_heard))
        return;
    attempt->asking = true;
    strbuf_printf(
        &target, "/slurm/%s/job/%" PRIu64, slurm->dialect->version, attempt->ledger.number);
    rest_ask(slurm->rest, &(struct rest_question){.method = "DELETE",
                              .target = target.text,
                              .user = attempt->user,
                              .on_done = on_ended,
                              .context = attempt});
}
