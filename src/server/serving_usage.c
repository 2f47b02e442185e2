/* Collecting usage: see serving_usage.h.
 *
 * A pass: the chores thread reads the files and lists the series that differ from what is stored;
 * a command of the ticker stores them; after the commit they are remembered as seen. One pass is
 * under way at a time. The table of what was seen belongs to the loop, and nobody changes it while
 * the thread reads it.
 *
 * Within a file a series is known by its place: records stay where they are (gateway/usage.h), and
 * a worker adds new ones at the end. Places survive the gateway, so they are keys in the store:
 * collection "usage-seen", key "<file>/<place>", a list of all counters. */
#include "server/serving_usage.h"

#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "core/core.h"
#include "engine/worker.h"
#include "gateway/usage.h"
#include "server/context.h"
#include "server/serving_sums.h"
#include "server/ticker.h"
#include "store/store.h"
#include "wire/doc.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PERIOD_S = 1,
    PASS_SERIES = 1000,    /* stored in one transaction; the next pass goes on at once */
    PASS_FORGOTTEN = 1000, /* documents of files that are gone */
    PASS_ROLLED = 500,     /* hours that become days */
    SEEN_MAX = 1 << 18,    /* series at a time, of all files: what is beyond waits in its file */
    PAGE = 1000,
    REFRESH_MAX_MS = 2000,
    ROLL_UP_MS = 3600 * 1000,
    COUNTERS = sizeof(struct usage_counts) / sizeof(uint64_t),
};

static const char collection[] = "usage-seen";

/* What is stored of a file. */
struct seen_file {
    char *name;
    VEC(struct usage_counts) places;
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
    VEC(struct seen_file *) files;
    struct strmap by_name;
    size_t seen;         /* places of all files */
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

/* A series that differs from what is stored. */
struct change {
    const char *file; /* of the pass */
    size_t place;
    struct usage_series series;
    struct usage_counts now, grown;
};

struct pass {
    struct serving_usage *owner;
    struct arena *arena;
    int64_t began_ms;
    VEC(struct change) changes;
    VEC(const char *) gone; /* files with stored places that are not there any more */
    /* While it reads: */
    const char *file;
    const struct seen_file *seen;
    struct strmap read;  /* names of the files that were read; of those .. */
    struct strmap moved; /* .. the names of those which have something to store */
    size_t place, visited, added;
    size_t skip;
    bool more;   /* something was left for the next pass */
    bool full;   /* .. or for when files of dead gateways are gone: there are too many series */
    bool broken; /* not everything could be read */
    struct error err;
    /* While it commits: */
    size_t rolled, forgotten;
};

_Static_assert((int)ROLLOUT_BUCKETS == (int)ARRAY_LEN(((struct usage_counts *)0)->latency),
    "evidence has the buckets that usage is counted in");

static const char yes[] = "yes";

/* ---- what was seen --------------------------------------------------------------------------- */

static struct seen_file *seen_file(struct serving_usage *usage, const char *name)
{
    struct seen_file *file = strmap_get(&usage->by_name, name);
    if (file)
        return file;
    file = mem_alloc(1, sizeof *file);
    file->name = mem_strdup(name);
    strmap_put(&usage->by_name, name, file);
    vec_push(&usage->files, file);
    return file;
}

static void set_seen(
    struct serving_usage *usage, const char *name, size_t place, const struct usage_counts *counts)
{
    static const struct usage_counts none;
    struct seen_file *file = seen_file(usage, name);
    while (file->places.count <= place) {
        vec_push(&file->places, none);
        usage->seen++;
    }
    file->places.items[place] = *counts;
}

static void drop_file(struct serving_usage *usage, const char *name)
{
    struct seen_file *file = strmap_remove(&usage->by_name, name);
    for (size_t i = 0; i < usage->files.count; i++) {
        if (usage->files.items[i] != file)
            continue;
        vec_remove(&usage->files, i);
        break;
    }
    vec_free(&file->places);
    free(file->name);
    free(file);
}

static char *seen_key(struct arena *arena, const char *file, size_t place)
{
    return arena_printf(arena, "%s/%05zu", file, place);
}

static void write_counts(const struct usage_counts *counts, struct strbuf *out)
{
    const uint64_t *values = (const uint64_t *)counts;
    for (size_t i = 0; i < COUNTERS; i++)
        strbuf_printf(out, "%c%" PRIu64, i ? ',' : '[', values[i]);
    strbuf_putc(out, ']');
}

/* Counters that were added since it was stored are 0. */
static int read_counts(const char *json, struct usage_counts *ret, struct error *err)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *doc = doc_parse_json(arena, json, strlen(json), DOC_BYTES_MAX, err);
    uint64_t *values = (uint64_t *)ret;
    if (!doc)
        return -1;
    memset(ret, 0, sizeof *ret);
    const struct doc *item = doc->type == DOC_LIST ? doc->first : NULL;
    for (size_t i = 0; item && i < COUNTERS; i++, item = item->next)
        values[i] = item->type == DOC_NUMBER ? strtoull(item->text, NULL, 10) : 0;
    return 0;
}

struct loading {
    struct serving_usage *usage;
    char *last;
    size_t of_page;
};

static int load_one(void *context, const struct document *document, struct error *err)
{
    struct loading *loading = context;
    const char *slash = strrchr(document->key, '/');
    struct usage_counts counts;
    loading->of_page++;
    free(loading->last);
    loading->last = mem_strdup(document->key);
    unsigned long place = slash ? strtoul(slash + 1, NULL, 10) : USAGE_SERIES_MAX;
    if (place >= USAGE_SERIES_MAX)
        return error_set(
            err, ERR_CORRUPT, "%s/%s is no place in a usage file", collection, document->key);
    if (read_counts(document->json, &counts, err) < 0)
        return error_prefix(err, "%s/%s", collection, document->key);
    SCOPED(mem_scope) char *name = mem_strdup(document->key);
    name[slash - document->key] = '\0';
    set_seen(loading->usage, name, place, &counts);
    return 0;
}

static int load_seen(struct serving_usage *usage, struct error *err)
{
    struct loading loading = {.usage = usage, .last = mem_strdup("")};
    int rc;
    do {
        SCOPED(mem_scope) char *after = mem_strdup(loading.last);
        loading.of_page = 0;
        rc = reader_documents(
            usage->server->reader, collection, NULL, after, PAGE, load_one, &loading, err);
    } while (rc == 0 && loading.of_page == PAGE);
    free(loading.last);
    return rc;
}

static int load_again(struct serving_usage *usage, struct error *err)
{
    while (usage->files.count > 0)
        drop_file(usage, usage->files.items[usage->files.count - 1]->name);
    usage->seen = 0;
    return load_seen(usage, err);
}

/* ---- reading, on the chores thread -------------------------------------------------------------
 */

static void enter_file(struct pass *pass, const char *file)
{
    if (pass->file && strcmp(pass->file, file) == 0) {
        pass->place++;
        return;
    }
    pass->file = arena_strdup(pass->arena, file);
    pass->seen = strmap_get(&pass->owner->by_name, file);
    pass->place = 0;
    strmap_put(&pass->read, file, (void *)(uintptr_t)yes);
}

/* Whether one more is taken in this pass: a new place needs room in the table for as long as its
 * file is there. */
static bool may_take(struct pass *pass, bool is_new)
{
    if (is_new && pass->owner->seen + pass->added >= SEEN_MAX) {
        pass->full = true;
        return false;
    }
    bool takes = pass->visited > pass->skip && pass->changes.count < PASS_SERIES;
    pass->more = pass->more || !takes;
    return takes;
}

static int visit_series(void *context, const char *file, const struct usage_series *series,
    const struct usage_counts *counts, struct error *err)
{
    static const struct usage_counts none;
    struct pass *pass = context;
    (void)err;
    enter_file(pass, file);
    pass->visited++;
    bool is_new = !pass->seen || pass->place >= pass->seen->places.count;
    const struct usage_counts *before = is_new ? &none : &pass->seen->places.items[pass->place];
    struct change change = {.file = pass->file, .place = pass->place, .now = *counts};
    serving_counts_since(before, counts, &change.grown);
    if (memcmp(&change.grown, &none, sizeof none) == 0)
        return 0;
    strmap_put(&pass->moved, file, (void *)(uintptr_t)yes);
    if (!may_take(pass, is_new))
        return 0;
    /* What shrank is remembered at its highest: only growth beyond that is new. */
    change.now = *before;
    serving_counts_add(&change.now, &change.grown);
    change.series = *series;
    pass->added += is_new;
    vec_push(&pass->changes, change);
    /* The next pass, if there is more, goes on behind the last that was taken. */
    if (pass->changes.count == PASS_SERIES)
        pass->owner->skip = pass->visited;
    return 0;
}

/* Files of gateways that are gone and in which this reading found nothing new: all is stored. */
static void remove_dead(struct pass *pass, char *dead)
{
    char *rest = NULL;
    struct error err;
    for (char *name = strtok_r(dead, "\n", &rest); name; name = strtok_r(NULL, "\n", &rest)) {
        if (strmap_get(&pass->moved, name))
            continue;
        if (usage_file_remove(pass->owner->folder, name, &err) < 0 && !pass->broken) {
            pass->broken = true;
            pass->err = err;
        }
    }
}

/* What was seen of a file may be forgotten when the file is gone for good: were it there again
 * after a stop of the machine, all of it would count anew. */
static void find_gone(struct pass *pass)
{
    const struct serving_usage *usage = pass->owner;
    bool synced = false;
    for (size_t i = 0; i < usage->files.count; i++) {
        const char *name = usage->files.items[i]->name;
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", usage->folder, name);
        if (access(path, F_OK) == 0 || errno != ENOENT)
            continue;
        if (!synced) {
            SCOPED(fd_scope)
            int fd = open(usage->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (fd < 0 ? errno != ENOENT : fsync(fd) < 0)
                return;
            synced = true;
        }
        vec_push(&pass->gone, arena_strdup(pass->arena, name));
    }
}

static void read_work(void *context)
{
    struct pass *pass = context;
    SCOPED(mem_scope) char *dead = NULL;
    pass->skip = pass->owner->skip;
    pass->owner->skip = 0;
    pass->broken = usage_read_all(pass->owner->folder, visit_series, pass, &dead, &pass->err) < 0;
    if (pass->full && !pass->broken) {
        pass->broken = true;
        error_set(&pass->err, ERR_FULL,
            "there are more than %d series: new ones stay in their files for now", SEEN_MAX);
    }
    if (dead)
        remove_dead(pass, dead);
    find_gone(pass);
}

/* ---- storing, within a tick --------------------------------------------------------------------
 */

static void put_seen(struct tick *tick, const struct change *change)
{
    struct strbuf json = {0};
    write_counts(&change->now, &json);
    store_txn_put_document(tick_txn(tick), collection,
        seen_key(tick_arena(tick), change->file, change->place), "", strbuf_text(&json),
        tick_now(tick));
    strbuf_finish(&json);
}

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
        const struct seen_file *file = strmap_get(&pass->owner->by_name, pass->gone.items[i]);
        size_t count = forgets(file, pass->forgotten);
        for (size_t n = 1; n <= count; n++)
            store_txn_delete_document(tick_txn(tick), collection,
                seen_key(tick_arena(tick), file->name, file->places.count - n));
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
    for (size_t i = 0; i < pass->changes.count; i++)
        put_seen(tick, &pass->changes.items[i]);
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
        set_seen(usage, change->file, change->place, &change->now);
    }
    size_t forgotten = 0;
    for (size_t i = 0; i < pass->gone.count; i++) {
        struct seen_file *file = strmap_get(&usage->by_name, pass->gone.items[i]);
        size_t count = forgets(file, forgotten);
        forgotten += count;
        file->places.count -= count;
        usage->seen -= count;
        if (file->places.count == 0)
            drop_file(usage, pass->gone.items[i]);
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

static void read_done(void *context)
{
    struct pass *pass = context;
    struct error err;
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
    usage->stale = load_again(usage, err) < 0;
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
    if (load_seen(usage, err) < 0) {
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
    while (usage->files.count > 0)
        drop_file(usage, usage->files.items[usage->files.count - 1]->name);
    vec_free(&usage->files);
    strmap_finish(&usage->by_name);
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
