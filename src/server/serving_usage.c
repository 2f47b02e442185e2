/* Collecting usage: see serving_usage.h.
 *
 * A pass: the chores thread reads the files and lists the series that differ from what is stored;
 * a command of the ticker stores them; after the commit they are remembered as seen. One pass is
 * under way at a time. The table of what was seen belongs to the loop, and nobody changes it while
 * the thread reads it. */
#include "server/serving_usage.h"

#include "base/log.h"
#include "core/core.h"
#include "engine/worker.h"
#include "server/context.h"
#include "server/serving_pass.h"
#include "server/serving_sums.h"
#include "server/ticker.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PERIOD_S = 1,
    PASS_FORGOTTEN = 1000, /* documents of files that are gone */
    PASS_ROLLED = 500,     /* hours that become days */
    REFRESH_MAX_MS = 2000,
    ROLL_UP_MS = 3600 * 1000,
};

struct waiter {
    void (*done)(void *context);
    void *context;
    int64_t since_ms;
};
typedef VEC(struct waiter) waiter_list;

struct serving_usage {
    struct server *server;
    struct event *timer;
    char *folder;
    struct serving_seen seen;
    struct pass *pass;   /* under way, or NULL */
    waiter_list waiting; /* for the pass under way, and those that go on after it */
    waiter_list next;    /* for a pass that has yet to begin */
    size_t skip;         /* series that the pass before came to, when it could not take all */
    int64_t rolled_ms;   /* when there was nothing left to roll up */
    int64_t collected_ms;
    bool stale;           /* a commit failed, or its outcome was unknown: what is stored has to be
                           * looked up before anything is added to it */
    struct error trouble; /* what was logged last, so that it is logged once */
};

_Static_assert((int)ROLLOUT_BUCKETS == (int)ARRAY_LEN(((struct usage_counts *)0)->latency),
    "evidence has the buckets that usage is counted in");

/* ---- storing, within a tick --------------------------------------------------------------------
 */

/* How many documents of a file that is gone go with a pass that takes `before` others. They go from
 * the last place on, so that what remains is again a whole file. */
static size_t forgets(const struct seen_file *file, size_t before)
{
    size_t left = PASS_FORGOTTEN - before;
    return file->places.count < left ? file->places.count : left;
}

static void forget_gone(struct pass *pass, struct tick *tick)
{
    pass->forgotten = 0;
    for (size_t i = 0; i < pass->gone.count; i++) {
        const struct seen_file *file = serving_seen_file(&pass->owner->seen, pass->gone.items[i]);
        size_t count = forgets(file, pass->forgotten);
        serving_seen_delete(tick, file, count);
        pass->forgotten += count;
    }
}

static bool rolls_up(const struct pass *pass)
{
    const struct serving_usage *usage = pass->owner;
    return usage->rolled_ms == 0 || pass->began_ms - usage->rolled_ms >= ROLL_UP_MS ||
           pass->began_ms < usage->rolled_ms;
}

/* What a replica on trial did. An attempt that was made again elsewhere failed here; it has no
 * latency, which counts as the longest. */
static void give_evidence(struct tick *tick, const struct change *change)
{
    const struct usage_counts *grown = &change->grown;
    struct core_evidence evidence = {
        .requests = (int64_t)(grown->requests + grown->retried),
        .errors = (int64_t)(grown->failed + grown->retried),
        .compared = (int64_t)grown->compared,
        .differing = (int64_t)grown->differing,
    };
    for (size_t i = 0; i < ROLLOUT_SCORES; i++)
        evidence.scores[i] = (int64_t)grown->scores[i];
    for (size_t i = 0; i < ROLLOUT_BUCKETS; i++)
        evidence.within[i] = (int64_t)grown->latency[i];
    if (change->series.replica != 0)
        core_rollout_evidence(tick_core(tick), change->series.replica, &evidence);
}

/* May run twice, when another command of its tick fails half done. */
static int run_store(struct tick *tick, void *context, struct error *err)
{
    struct pass *pass = context;
    struct serving_batch *batch = serving_batch_create(tick);
    pass->rolled = 0;
    for (size_t i = 0; i < pass->changes.count; i++)
        serving_batch_add(batch, &pass->changes.items[i].series, &pass->changes.items[i].grown);
    for (size_t i = 0; i < pass->changes.count; i++)
        give_evidence(tick, &pass->changes.items[i]);
    if (rolls_up(pass) && serving_batch_roll_up(batch, PASS_ROLLED, &pass->rolled, err) < 0) {
        serving_batch_drop(batch);
        return -1;
    }
    if (serving_batch_finish(batch, err) < 0)
        return -1;
    for (size_t i = 0; i < pass->changes.count; i++) {
        const struct change *change = &pass->changes.items[i];
        serving_seen_store(tick, change->file, change->place, &change->now);
    }
    forget_gone(pass, tick);
    return 0;
}

/* ---- after the commit --------------------------------------------------------------------------
 */

static void pass_free(struct pass *pass)
{
    if (!pass)
        return;
    vec_free(&pass->changes);
    vec_free(&pass->gone);
    strmap_finish(&pass->read);
    strmap_finish(&pass->moved);
    arena_destroy(pass->arena);
    free(pass);
}

static void say(struct serving_usage *usage, const struct error *err)
{
    if (err && strcmp(err->text, usage->trouble.text) != 0)
        log_warn("usage of services cannot be collected in full: %s", err->text);
    usage->trouble = err ? *err : (struct error){0};
}

static void release(waiter_list *waiters, int64_t before_ms)
{
    waiter_list all = *waiters;
    *waiters = (waiter_list){0};
    for (size_t i = 0; i < all.count; i++) {
        if (all.items[i].since_ms <= before_ms)
            all.items[i].done(all.items[i].context);
        else
            vec_push(waiters, all.items[i]);
    }
    vec_free(&all);
}

static void remember(struct serving_usage *usage, const struct pass *pass)
{
    for (size_t i = 0; i < pass->changes.count; i++) {
        const struct change *change = &pass->changes.items[i];
        serving_seen_set(&usage->seen, change->file, change->place, &change->now);
    }
    size_t forgotten = 0;
    for (size_t i = 0; i < pass->gone.count; i++) {
        struct seen_file *file = serving_seen_file(&usage->seen, pass->gone.items[i]);
        size_t count = forgets(file, forgotten);
        forgotten += count;
        serving_seen_forget(&usage->seen, file, count);
    }
    if (rolls_up(pass) && pass->rolled < PASS_ROLLED)
        usage->rolled_ms = pass->began_ms;
}

static void start_pass(struct serving_usage *usage);

/* err: nothing of the pass was stored. */
static void finish_pass(struct pass *pass, const struct error *err)
{
    struct serving_usage *usage = pass->owner;
    usage->pass = NULL;
    usage->stale = usage->stale || err;
    say(usage, err ? err : pass->broken ? &pass->err : NULL);
    bool again = !err && !pass->broken &&
                 (pass->more || pass->rolled == PASS_ROLLED || pass->forgotten == PASS_FORGOTTEN);
    if (!err && !pass->more && !pass->broken)
        usage->collected_ms = pass->began_ms;
    pass_free(pass);
    if (!again)
        release(&usage->waiting, INT64_MAX);
    if (again || (usage->next.count > 0 && !usage->stale))
        start_pass(usage);
}

static void stored(void *context, const struct error *err)
{
    struct pass *pass = context;
    if (!err)
        remember(pass->owner, pass);
    finish_pass(pass, err);
}

static void read_work(void *context)
{
    serving_read(context);
}

static void read_done(void *context)
{
    struct pass *pass = context;
    struct error err;
    pass->owner->skip = pass->skip_next;
    if (pass->changes.count == 0 && pass->gone.count == 0 && !rolls_up(pass)) {
        finish_pass(pass, NULL);
        return;
    }
    if (ticker_submit(pass->owner->server->ticker, "usage", run_store, stored, pass, &err) < 0)
        finish_pass(pass, &err);
}

/* Whether the table is what is stored. While the store does not say what became of a commit nothing
 * can be; the next second asks again. */
static bool is_sound(struct serving_usage *usage, struct error *err)
{
    const char *trouble = ticker_trouble(usage->server->ticker);
    if (!usage->stale)
        return true;
    if (trouble && strcmp(trouble, "storage-full") != 0) {
        error_set(err, ERR_UNAVAILABLE, "the store does not answer");
        return false;
    }
    usage->stale = serving_seen_load(&usage->seen, usage->server->reader, err) < 0;
    return !usage->stale;
}

static void start_pass(struct serving_usage *usage)
{
    struct error err;
    if (!is_sound(usage, &err)) {
        say(usage, &err);
        return;
    }
    struct pass *pass = mem_alloc(1, sizeof *pass);
    assert(!usage->pass);
    pass->owner = usage;
    pass->folder = usage->folder;
    pass->stored = &usage->seen;
    pass->skip = usage->skip;
    pass->arena = arena_create();
    pass->began_ms = server_now_ms();
    usage->pass = pass;
    for (size_t i = 0; i < usage->next.count; i++)
        vec_push(&usage->waiting, usage->next.items[i]);
    vec_clear(&usage->next);
    if (worker_run(usage->server->chores, read_work, read_done, pass, &err) == 0)
        return;
    usage->pass = NULL;
    pass_free(pass);
    say(usage, &err);
}

/* ---- the life -------------------------------------------------------------------------------- */

static void on_second(evutil_socket_t fd, short what, void *context)
{
    struct serving_usage *usage = context;
    (void)fd, (void)what;
    int64_t before_ms = server_now_ms() - REFRESH_MAX_MS;
    release(&usage->waiting, before_ms);
    release(&usage->next, before_ms);
    if (!usage->pass && !usage->server->stopping)
        start_pass(usage);
}

int serving_usage_create(struct server *server, struct serving_usage **ret, struct error *err)
{
    struct serving_usage *usage = mem_alloc(1, sizeof *usage);
    struct timeval period = {.tv_sec = PERIOD_S};
    char folder[4096];
    usage->server = server;
    snprintf(folder, sizeof folder, "%s/gateway/usage", server->config.data_dir);
    usage->folder = mem_strdup(folder);
    if (serving_seen_load(&usage->seen, server->reader, err) < 0) {
        serving_usage_destroy(usage);
        return -1;
    }
    usage->timer = event_new(server->base, -1, EV_PERSIST, on_second, usage);
    assert(usage->timer);
    event_add(usage->timer, &period);
    start_pass(usage);
    *ret = usage;
    return 0;
}

void serving_usage_destroy(struct serving_usage *usage)
{
    if (!usage)
        return;
    if (usage->timer)
        event_free(usage->timer);
    pass_free(usage->pass);
    serving_seen_finish(&usage->seen);
    vec_free(&usage->waiting);
    vec_free(&usage->next);
    free(usage->folder);
    free(usage);
}

int serving_usage_refresh(
    struct serving_usage *usage, void (*done)(void *context), void *context, struct error *err)
{
    if (!usage || usage->server->stopping)
        return error_set(err, ERR_UNAVAILABLE, "usage is not collected now");
    struct waiter waiter = {done, context, server_now_ms()};
    vec_push(&usage->next, waiter);
    if (!usage->pass)
        start_pass(usage);
    return 0;
}

int64_t serving_usage_collected_ms(const struct serving_usage *usage)
{
    return usage ? usage->collected_ms : 0;
}
