/* Artifacts on their way: see artifacts.h.
 *
 * A layout is one tree on its way into the cache. Its state is the loop's, but for one thing: the
 * trimming of the cache asks on the layouts' thread which trees are in use. That thread lays out
 * too, so that a tree is never laid out while it is being removed; the lock is for the loop, which
 * has to learn that a path it knew is gone before it can hand it to a job. */
#include "server/artifacts.h"

#include "base/log.h"
#include "base/map.h"
#include "base/vec.h"
#include "core/core.h"
#include "registry/registry.h"
#include "server/context.h"
#include "server/status.h"
#include "server/ticker.h"
#include "server/versions.h"
#include "wire/doc.h"

#include <assert.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    RETRY_FIRST_MS = 1000,
    RETRY_MOST_MS = 60000,
    TRIM_PERIOD_S = 600,
    ASKED_LATELY_MS = 600000, /* a path given out so lately may be on its way into a launch */
    ROOM_SHARE = 10,          /* a tenth of the disk stays free of uploads */
    SHORT_WORKERS = 4,        /* a chunk waits for the disk most of its time; others go on then */
    CHUNKS_MAX = 24,          /* 4 MiB each */
    TEAM_CHUNKS_MAX = 16,     /* what one team has of these: it cannot keep the others out */
    CACHE_SHARE = 5,          /* the cache takes a fifth of the disk at most, and no more than */
};
static const int64_t CACHE_BYTES_MAX = 50LL << 30;

static const int bounds_max[ARTIFACTS_BOUNDS] = {
    [ARTIFACTS_CHUNKS] = CHUNKS_MAX,
    [ARTIFACTS_TREES] = 2,    /* 64 MiB each */
    [ARTIFACTS_STREAMS] = 64, /* a chunk or two each */
    [ARTIFACTS_CHECKS] = 2,   /* each reads a whole version on the long thread */
};

enum layout_state { LAYOUT_NONE, LAYOUT_UNDER_WAY, LAYOUT_READY, LAYOUT_FAILED };

struct layout {
    struct artifacts *owner;
    char tree[65];
    enum layout_state state;
    char *path; /* LAYOUT_READY */
    int64_t asked_ms;
    int64_t retry_ms; /* LAYOUT_FAILED: not before */
    int64_t backoff_ms;
    struct error err; /* LAYOUT_FAILED */
    /* of the thread while it is under way */
    char *made;
    struct error made_err;
};

/* A job's attempt that waits for its inputs. */
struct wait {
    uint64_t looks; /* when it was found to wait */
    char text[sizeof((struct error){0}.text)];
};

struct kept_tree {
    char team[64];
    char tree[65];
};

struct team_chunks {
    char team[64];
    int entered; /* 0: the place is free */
};

struct artifacts {
    struct server *server;
    struct registry *registry;
    struct worker *shorts[SHORT_WORKERS];      /* ARTIFACTS_SHORT: the one with the least to do */
    struct worker *threads[ARTIFACTS_THREADS]; /* the others */
    struct event *retry;                       /* when a failed layout may be tried again */
    struct event *trim;
    bool trimming;
    int entered[ARTIFACTS_BOUNDS];
    struct team_chunks teams[CHUNKS_MAX]; /* each has entered, so that there is always a place */
    uint64_t looks;     /* grows whenever a layout may give another answer than before */
    struct idmap waits; /* by job: struct wait */
    VEC(uint64_t) waiting;

    pthread_mutex_t lock; /* of what follows */
    struct strmap by_tree;
    VEC(struct layout *) layouts;
    VEC(struct kept_tree) kept;
};

struct registry *artifacts_registry(struct artifacts *artifacts)
{
    return artifacts->registry;
}

/* Work of the short kind needs no order: a request has one piece of it at a time. NULL after
 * artifacts_stop. */
static struct worker *least_loaded(const struct artifacts *artifacts)
{
    struct worker *best = artifacts->shorts[0];
    for (size_t i = 1; best && i < SHORT_WORKERS && worker_load(best) > 0; i++) {
        if (worker_load(artifacts->shorts[i]) < worker_load(best))
            best = artifacts->shorts[i];
    }
    return best;
}

int artifacts_run(struct artifacts *artifacts, enum artifacts_thread thread, worker_fn *work,
    worker_fn *done, void *context, struct error *err)
{
    struct worker *worker =
        thread == ARTIFACTS_SHORT ? least_loaded(artifacts) : artifacts->threads[thread];
    if (!worker)
        return error_set(err, ERR_UNAVAILABLE, "the server is stopping");
    return worker_run(worker, work, done, context, err);
}

int artifacts_check_room(const struct server *server, struct error *err)
{
    struct statvfs volume;
    if (statvfs(server->config.data_dir, &volume) < 0)
        return error_set_errno(err, "cannot look at the disk of %s", server->config.data_dir);
    if (volume.f_bavail < volume.f_blocks / ROOM_SHARE)
        return error_set(err, ERR_FULL,
            "less than a tenth of the server's disk is free; artifacts are not taken now");
    return 0;
}

int artifacts_enter(struct artifacts *artifacts, enum artifacts_bound bound, struct error *err)
{
    if (artifacts->entered[bound] >= bounds_max[bound])
        return error_set(err, ERR_BUSY,
            "%d transfers of this kind are under way; try again in a "
            "moment",
            bounds_max[bound]);
    artifacts->entered[bound]++;
    return 0;
}

void artifacts_leave(struct artifacts *artifacts, enum artifacts_bound bound)
{
    assert(artifacts->entered[bound] > 0);
    artifacts->entered[bound]--;
}

/* The team's place, or a free one: as many chunks are under way as there are places at most, and
 * this one has not taken its place yet. */
static struct team_chunks *find_team(struct artifacts *artifacts, const char *team)
{
    struct team_chunks *free_place = NULL;
    for (size_t i = 0; i < ARRAY_LEN(artifacts->teams); i++) {
        struct team_chunks *place = &artifacts->teams[i];
        if (place->entered > 0 && strcmp(place->team, team) == 0)
            return place;
        if (place->entered == 0 && !free_place)
            free_place = place;
    }
    if (free_place)
        snprintf(free_place->team, sizeof free_place->team, "%s", team);
    return free_place;
}

int artifacts_enter_chunk(struct artifacts *artifacts, const char *team, struct error *err)
{
    if (artifacts_enter(artifacts, ARTIFACTS_CHUNKS, err) < 0)
        return -1;
    struct team_chunks *place = find_team(artifacts, team);
    assert(place);
    if (place->entered >= TEAM_CHUNKS_MAX) {
        artifacts_leave(artifacts, ARTIFACTS_CHUNKS);
        return error_set(err, ERR_BUSY,
            "%d chunks of the team %s are under way; try again in a moment", TEAM_CHUNKS_MAX, team);
    }
    place->entered++;
    return 0;
}

void artifacts_leave_chunk(struct artifacts *artifacts, const char *team)
{
    struct team_chunks *place = find_team(artifacts, team);
    assert(place && place->entered > 0);
    place->entered--;
    artifacts_leave(artifacts, ARTIFACTS_CHUNKS);
}

/* ---- trees without a version yet ------------------------------------------------------------ */

void artifacts_keep(struct artifacts *artifacts, const char *team, const char *tree)
{
    struct kept_tree kept;
    snprintf(kept.team, sizeof kept.team, "%s", team);
    snprintf(kept.tree, sizeof kept.tree, "%s", tree);
    pthread_mutex_lock(&artifacts->lock);
    vec_push(&artifacts->kept, kept);
    pthread_mutex_unlock(&artifacts->lock);
}

/* One of those that were kept: the same content may be on its way twice. */
void artifacts_release(struct artifacts *artifacts, const char *team, const char *tree)
{
    pthread_mutex_lock(&artifacts->lock);
    for (size_t i = 0; i < artifacts->kept.count; i++) {
        if (strcmp(artifacts->kept.items[i].tree, tree) == 0 &&
            strcmp(artifacts->kept.items[i].team, team) == 0) {
            vec_remove(&artifacts->kept, i);
            break;
        }
    }
    pthread_mutex_unlock(&artifacts->lock);
}

void artifacts_kept(struct artifacts *artifacts,
    void (*visit)(void *context, const char *team, const char *tree), void *context)
{
    pthread_mutex_lock(&artifacts->lock);
    for (size_t i = 0; i < artifacts->kept.count; i++)
        visit(context, artifacts->kept.items[i].team, artifacts->kept.items[i].tree);
    pthread_mutex_unlock(&artifacts->lock);
}

/* ---- layouts -------------------------------------------------------------------------------- */

bool artifacts_may_come(const struct error *err)
{
    return err->code != ERR_CORRUPT && err->code != ERR_NOT_FOUND && err->code != ERR_INVALID &&
           err->code != ERR_TOO_LARGE;
}

static void layout_work(void *context)
{
    struct layout *layout = context;
    layout->made = NULL;
    if (registry_cached(layout->owner->registry, layout->tree, &layout->made, &layout->made_err) <
        0)
        layout->made = NULL;
}

/* The tick looks again at what waits. */
static void poke_at(struct artifacts *artifacts, int64_t ms)
{
    struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    if (!event_pending(artifacts->retry, EV_TIMEOUT, NULL))
        event_add(artifacts->retry, &delay);
}

static void on_retry(evutil_socket_t fd, short what, void *context)
{
    struct artifacts *artifacts = context;
    (void)fd, (void)what;
    artifacts->looks++;
    ticker_poke(artifacts->server->ticker);
}

static void layout_failed(struct layout *layout, const struct error *err)
{
    layout->backoff_ms = layout->backoff_ms ? layout->backoff_ms * 2 : RETRY_FIRST_MS;
    if (layout->backoff_ms > RETRY_MOST_MS)
        layout->backoff_ms = RETRY_MOST_MS;
    layout->retry_ms = server_now_ms() + layout->backoff_ms;
    layout->err = *err;
    layout->state = LAYOUT_FAILED;
    log_warn("the artifact %.16s cannot be laid out: %s", layout->tree, err->text);
    poke_at(layout->owner, layout->backoff_ms + 1);
}

static void layout_done(void *context)
{
    struct layout *layout = context;
    struct artifacts *artifacts = layout->owner;
    pthread_mutex_lock(&artifacts->lock);
    if (layout->made) {
        free(layout->path);
        layout->path = layout->made;
        layout->made = NULL;
        layout->state = LAYOUT_READY;
        layout->backoff_ms = 0;
    } else {
        layout_failed(layout, &layout->made_err);
    }
    pthread_mutex_unlock(&artifacts->lock);
    artifacts->looks++;
    ticker_poke(artifacts->server->ticker);
}

static struct layout *find_layout(struct artifacts *artifacts, const char *tree)
{
    struct layout *layout = strmap_get(&artifacts->by_tree, tree);
    if (layout)
        return layout;
    layout = mem_alloc(1, sizeof *layout);
    layout->owner = artifacts;
    snprintf(layout->tree, sizeof layout->tree, "%s", tree);
    strmap_put(&artifacts->by_tree, tree, layout);
    vec_push(&artifacts->layouts, layout);
    return layout;
}

static void start_layout(struct layout *layout)
{
    struct error err;
    layout->state = LAYOUT_UNDER_WAY;
    if (artifacts_run(layout->owner, ARTIFACTS_LAYOUTS, layout_work, layout_done, layout, &err) < 0)
        layout_failed(layout, &err);
}

static const char *layout_path(struct layout *layout, struct error *err)
{
    int64_t now_ms = server_now_ms();
    layout->asked_ms = now_ms;
    if (layout->state == LAYOUT_READY && access(layout->path, F_OK) == 0)
        return layout->path;
    if (layout->state == LAYOUT_FAILED && now_ms < layout->retry_ms) {
        *err = layout->err;
        return NULL;
    }
    if (layout->state != LAYOUT_UNDER_WAY)
        start_layout(layout);
    if (layout->state == LAYOUT_FAILED)
        *err = layout->err;
    else
        error_set(err, ERR_BUSY, "it is being laid out on the machine");
    return NULL;
}

const char *artifacts_path(struct artifacts *artifacts, const char *tree, struct error *err)
{
    pthread_mutex_lock(&artifacts->lock);
    const char *path = layout_path(find_layout(artifacts, tree), err);
    pthread_mutex_unlock(&artifacts->lock);
    return path;
}

/* ---- what waits ----------------------------------------------------------------------------- */

const char *artifacts_wait(const struct artifacts *artifacts, uint64_t job)
{
    const struct wait *wait = idmap_get(&artifacts->waits, job);
    return wait ? wait->text : NULL;
}

bool artifacts_waits_still(const struct artifacts *artifacts, uint64_t job)
{
    const struct wait *wait = idmap_get(&artifacts->waits, job);
    return wait && wait->looks == artifacts->looks;
}

static void forget_wait(struct artifacts *artifacts, uint64_t job)
{
    struct wait *wait = idmap_remove(&artifacts->waits, job);
    free(wait);
    for (size_t i = 0; wait && i < artifacts->waiting.count; i++) {
        if (artifacts->waiting.items[i] == job) {
            vec_remove(&artifacts->waiting, i);
            break;
        }
    }
}

void artifacts_set_wait(struct artifacts *artifacts, uint64_t job, const char *text)
{
    struct wait *wait = idmap_get(&artifacts->waits, job);
    if (!text) {
        forget_wait(artifacts, job);
        return;
    }
    if (!wait) {
        wait = mem_alloc(1, sizeof *wait);
        idmap_put(&artifacts->waits, job, wait);
        vec_push(&artifacts->waiting, job);
    }
    wait->looks = artifacts->looks;
    snprintf(wait->text, sizeof wait->text, "%s", text);
}

/* ---- the cache's bound ---------------------------------------------------------------------- */

struct trim {
    struct artifacts *artifacts;
    struct strmap used; /* trees that live attempts read */
    int64_t now_ms;
    int64_t bytes_max;
};

static void use_input(struct trim *trim, struct arena *arena, enum kind kind, const char *text)
{
    struct reference reference;
    struct version version;
    if (text && reference_parse(text, &reference, NULL) == 0 &&
        versions_resolve(trim->artifacts->server, arena, kind, NULL, &reference, &version, NULL) ==
            0)
        strmap_put(&trim->used, version.tree, trim);
}

static void take_attempt(
    void *context, const struct attempt_row *attempt, const struct attempt_wish *wish)
{
    struct trim *trim = context;
    struct server *server = trim->artifacts->server;
    const struct job_row *row = core_job(server->core, attempt->job);
    SCOPED(arena_scope) struct arena *arena = arena_create();
    (void)wish;
    const struct doc *manifest =
        row ? status_job_manifest(server, arena, row->array ? row->array : row->id) : NULL;
    const struct doc *inputs = doc_get(doc_get(manifest, "spec"), "inputs");
    for (const struct doc *input = inputs ? inputs->first : NULL; input; input = input->next) {
        use_input(trim, arena, KIND_DATASET, doc_get_string(input, "dataset"));
        use_input(trim, arena, KIND_MODEL, doc_get_string(input, "model"));
    }
}

/* On the layouts' thread. What is not in use is forgotten here first, so that the loop asks for it
 * to be laid out again, which waits for this thread. */
static bool in_use(void *context, const char *tree)
{
    struct trim *trim = context;
    struct artifacts *artifacts = trim->artifacts;
    pthread_mutex_lock(&artifacts->lock);
    struct layout *layout = strmap_get(&artifacts->by_tree, tree);
    bool used = strmap_get(&trim->used, tree) != NULL ||
                (layout && layout->asked_ms > trim->now_ms - ASKED_LATELY_MS);
    if (layout && !used && layout->state == LAYOUT_READY)
        layout->state = LAYOUT_NONE;
    pthread_mutex_unlock(&artifacts->lock);
    return used;
}

static void trim_work(void *context)
{
    struct trim *trim = context;
    struct error err;
    if (registry_cache_trim(trim->artifacts->registry, trim->bytes_max, in_use, trim, &err) < 0)
        log_warn("the cache of artifacts could not be trimmed: %s", err.text);
}

static void trim_done(void *context)
{
    struct trim *trim = context;
    trim->artifacts->trimming = false;
    strmap_finish(&trim->used);
    free(trim);
}

static int64_t cache_bytes_max(const struct server *server)
{
    struct statvfs volume;
    if (statvfs(server->config.data_dir, &volume) < 0)
        return CACHE_BYTES_MAX;
    int64_t share = (int64_t)volume.f_blocks * (int64_t)volume.f_frsize / CACHE_SHARE;
    return share < CACHE_BYTES_MAX ? share : CACHE_BYTES_MAX;
}

static void on_trim(evutil_socket_t fd, short what, void *context)
{
    struct artifacts *artifacts = context;
    struct error err;
    (void)fd, (void)what;
    if (artifacts->trimming || ticker_busy(artifacts->server->ticker))
        return;
    struct trim *trim = mem_alloc(1, sizeof *trim);
    trim->artifacts = artifacts;
    trim->now_ms = server_now_ms();
    trim->bytes_max = cache_bytes_max(artifacts->server);
    core_attempt_each(artifacts->server->core, take_attempt, trim);
    artifacts->trimming = true;
    if (artifacts_run(artifacts, ARTIFACTS_LAYOUTS, trim_work, trim_done, trim, &err) < 0)
        trim_done(trim);
}

/* ---- life ----------------------------------------------------------------------------------- */

static int start_thread(
    struct artifacts *artifacts, const char *name, struct worker **ret, struct error *err)
{
    *ret = worker_create(artifacts->server->base, name, err);
    return *ret ? 0 : -1;
}

static int start_threads(struct artifacts *artifacts, struct error *err)
{
    for (size_t i = 0; i < SHORT_WORKERS; i++) {
        if (start_thread(artifacts, "artifacts", &artifacts->shorts[i], err) < 0)
            return -1;
    }
    if (start_thread(artifacts, "registry", &artifacts->threads[ARTIFACTS_LONG], err) < 0)
        return -1;
    return start_thread(artifacts, "layouts", &artifacts->threads[ARTIFACTS_LAYOUTS], err);
}

struct artifacts *artifacts_create(struct server *server, struct error *err)
{
    struct artifacts *artifacts = mem_alloc(1, sizeof *artifacts);
    struct timeval period = {.tv_sec = TRIM_PERIOD_S};
    artifacts->server = server;
    pthread_mutex_init(&artifacts->lock, NULL);
    artifacts->retry = event_new(server->base, -1, 0, on_retry, artifacts);
    artifacts->trim = event_new(server->base, -1, EV_PERSIST, on_trim, artifacts);
    assert(artifacts->retry && artifacts->trim);
    event_add(artifacts->trim, &period);
    if (registry_open(server->config.data_dir, &artifacts->registry, err) < 0 ||
        start_threads(artifacts, err) < 0) {
        artifacts_destroy(artifacts);
        return NULL;
    }
    return artifacts;
}

static void stop_threads(struct worker **threads, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        worker_destroy(threads[i]);
        threads[i] = NULL;
    }
}

void artifacts_stop(struct artifacts *artifacts)
{
    if (!artifacts)
        return;
    stop_threads(artifacts->shorts, ARRAY_LEN(artifacts->shorts));
    stop_threads(artifacts->threads, ARRAY_LEN(artifacts->threads));
}

bool artifacts_stopped(const struct artifacts *artifacts)
{
    return !artifacts->shorts[0];
}

void artifacts_destroy(struct artifacts *artifacts)
{
    if (!artifacts)
        return;
    artifacts_stop(artifacts);
    registry_close(artifacts->registry);
    event_free(artifacts->retry);
    event_free(artifacts->trim);
    for (size_t i = 0; i < artifacts->layouts.count; i++) {
        free(artifacts->layouts.items[i]->path);
        free(artifacts->layouts.items[i]->made);
        free(artifacts->layouts.items[i]);
    }
    for (size_t i = 0; i < artifacts->waiting.count; i++)
        free(idmap_get(&artifacts->waits, artifacts->waiting.items[i]));
    vec_free(&artifacts->layouts);
    vec_free(&artifacts->waiting);
    vec_free(&artifacts->kept);
    strmap_finish(&artifacts->by_tree);
    idmap_finish(&artifacts->waits);
    pthread_mutex_destroy(&artifacts->lock);
    free(artifacts);
}
