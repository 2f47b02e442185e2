/* What slurmdbd says of jobs that the controller has forgotten: how they ended and what they used.
 * Asked once for many, and only of jobs that a listing should have had: most ends are known long
 * before. Where there is no slurmdbd, or nothing comes of it, an attempt ends by what it left. */
#include "engine/slurm.h"

#include "base/clock.h"
#include "base/strbuf.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    ONE_BY_ONE = 4, /* as many are asked for by their numbers; more of them by their time */
    TRIES_MOST = 3, /* the controller tells slurmdbd a little later */
    PAUSE_MS = 1000,
    NONE_MS = 10 * 60 * 1000,
    DAY_S = 24 * 3600,
};

static void say_usage(struct slurm_attempt *attempt, const struct slurm_account *account)
{
    struct report what = {.kind = ENGINE_REPORT_SAMPLE,
        .attempt = attempt->launch.attempt,
        .job = attempt->launch.job,
        .at_ms = clock_wall_ms(),
        .sample = {.cpu_ns = account->cpu_us * 1000,
            .memory_peak_bytes = account->memory_peak_bytes,
            .accelerator_milli = -1}};
    attempt->slurm->report(attempt->slurm->context, &what);
}

/* Numbers come again when a controller has lost its state, and another cluster has the same ones.
 */
static bool is_its(const struct slurm_attempt *attempt, const struct slurm_account *account)
{
    const struct slurm *slurm = attempt->slurm;
    uint64_t id;
    if (slurm->site.cluster && strcmp(account->cluster, slurm->site.cluster) != 0)
        return false;
    if (account->mark[0])
        return engine_mark_read(account->mark, slurm->owner, &id) && id == attempt->launch.attempt;
    return strcmp(account->name, attempt->launch.job_name) == 0;
}

static int on_item(
    void *context, const char *list, const char *json, size_t length, struct error *err)
{
    struct slurm *slurm = context;
    struct slurm_account account;
    if (strcmp(list, "jobs") != 0)
        return 0;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *doc = reply_item(arena, list, json, length, err);
    if (!doc)
        return -1;
    struct slurm_attempt *attempt =
        dialect_read_account(doc, &account) ? idmap_get(&slurm->by_number, account.id) : NULL;
    if (!attempt || !attempt->account_wanted || !is_its(attempt, &account) ||
        !slurm_state_over(account.state))
        return 0;
    attempt->account_state = account.state;
    attempt->account_wanted = false;
    attempt->accounted = true;
    say_usage(attempt, &account);
    return 0;
}

static int on_piece(void *context, const char *bytes, size_t length, struct error *err)
{
    struct slurm *slurm = context;
    return reply_feed(&slurm->account_reply, bytes, length, err);
}

/* Those of which nothing was said. */
static void give_up(struct slurm *slurm, bool at_once)
{
    for (size_t i = 0; i < slurm->attempts.count; i++) {
        struct slurm_attempt *attempt = slurm->attempts.items[i];
        if (attempt->account_wanted && (at_once || ++attempt->account_tries >= TRIES_MOST)) {
            attempt->account_wanted = false;
            attempt->accounted = true;
        }
    }
}

static void on_done(void *context, const struct rest_answer *answer)
{
    struct slurm *slurm = context;
    slurm->asking_account = false;
    reply_finish(&slurm->account_reply);
    slurm->hurry = true;
    bool none = answer->outcome == REST_ANSWERED && answer->status == 404 &&
                !strchr(answer->body, '{'); /* slurmrestd knows no such address */
    if (none)
        slurm->no_account_ms = clock_boot_ms() + NONE_MS;
    give_up(slurm, none);
}

/* slurmdbd takes moments in words of its own: a day is one that needs no hours. Its zone may be
 * another than ours: from the day before. */
static void write_day(int64_t at_ms, struct strbuf *out)
{
    time_t at = (time_t)(at_ms / 1000) - DAY_S;
    struct tm day;
    char text[16];
    gmtime_r(&at, &day);
    strftime(text, sizeof text, "%Y-%m-%d", &day);
    strbuf_puts(out, text);
}

void slurm_account_turn(struct slurm *slurm)
{
    SCOPED(strbuf_finish) struct strbuf target = {0};
    const struct slurm_attempt *first = NULL;
    int64_t now_ms = clock_boot_ms(), since_ms = clock_wall_ms();
    size_t wanted = 0;
    if (slurm->asking_account || !slurm->dialect || now_ms - slurm->account_ms < PAUSE_MS)
        return;
    for (size_t i = 0; i < slurm->attempts.count; i++) {
        const struct slurm_attempt *attempt = slurm->attempts.items[i];
        if (!attempt->account_wanted)
            continue;
        first = wanted++ ? first : attempt;
        if (attempt->traces.started_ms && attempt->traces.started_ms < since_ms)
            since_ms = attempt->traces.started_ms;
    }
    if (!first)
        return;
    strbuf_printf(&target, "/slurmdb/%s/", slurm->dialect->version);
    if (wanted <= ONE_BY_ONE) {
        strbuf_printf(&target, "job/%" PRIu64, first->ledger.number);
    } else {
        strbuf_puts(&target, "jobs?start_time=");
        write_day(since_ms, &target);
    }
    slurm->asking_account = true;
    slurm->account_ms = now_ms;
    reply_begin(&slurm->account_reply, on_item, slurm);
    rest_ask(slurm->rest, &(struct rest_question){.method = "GET",
                              .target = target.text,
                              .timeout_ms = 60000,
                              .on_piece = on_piece,
                              .on_done = on_done,
                              .context = slurm});
}

bool slurm_account_wait(struct slurm_attempt *attempt)
{
    struct slurm *slurm = attempt->slurm;
    if (attempt->accounted || clock_boot_ms() < slurm->no_account_ms)
        return false;
    attempt->account_wanted = true;
    slurm_traces_look(
        &slurm->folder, attempt->launch.attempt, attempt->launch.world_size, &attempt->traces);
    slurm_account_turn(slurm);
    return true;
}
