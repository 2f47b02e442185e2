/* What jobs report of themselves: see progress.h. Documents of the collection "job-progress": under
 * <job>/last the newest line with its position, under <job>/<epoch> the newest of an epoch. */
#include "server/progress.h"

#include "base/log.h"
#include "base/map.h"
#include "base/vec.h"
#include "server/context.h"
#include "server/cost.h"
#include "server/names.h"
#include "server/pace.h"
#include "server/status.h"
#include "server/ticker.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES_MAX = 4096, EPOCH_MAX = 999999, EPOCHS_SHOWN = 1000 };

static const char collection[] = "job-progress";

/* The newest line of a job that runs: what is not stored yet, and what was stored last. */
struct track {
    uint64_t job;
    int64_t attempt;
    uint64_t offset;
    struct pace pace;
};

struct progress {
    struct server *server;
    struct idmap by_job;
    VEC(struct track *) tracks;
};

struct progress *progress_create(struct server *server)
{
    struct progress *progress = mem_alloc(1, sizeof *progress);
    progress->server = server;
    return progress;
}

void progress_destroy(struct progress *progress)
{
    if (!progress)
        return;
    for (size_t i = 0; i < progress->tracks.count; i++)
        free(progress->tracks.items[i]);
    vec_free(&progress->tracks);
    idmap_finish(&progress->by_job);
    free(progress);
}

void progress_forget(struct progress *progress, uint64_t job)
{
    struct track *track = idmap_remove(&progress->by_job, job);
    for (size_t i = 0; track && i < progress->tracks.count; i++) {
        if (progress->tracks.items[i] == track) {
            vec_remove(&progress->tracks, i);
            break;
        }
    }
    free(track);
}

static void last_key(uint64_t job, char out[DOCUMENT_KEY_TEXT])
{
    names_document_key(job, "last", out);
}

struct doc *progress_last(struct server *server, struct arena *arena, uint64_t job)
{
    char key[DOCUMENT_KEY_TEXT];
    last_key(job, key);
    SCOPED(mem_scope) char *json = NULL;
    if (reader_document(server->reader, collection, key, &json, NULL, NULL) < 0)
        return NULL;
    return doc_parse_json(arena, json, strlen(json), DOC_BYTES_MAX, NULL);
}

static struct track *find_track(struct progress *progress, uint64_t job)
{
    struct track *track = idmap_get(&progress->by_job, job);
    if (track)
        return track;
    track = mem_alloc(1, sizeof *track);
    track->job = job;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *last = progress_last(progress->server, arena, job);
    if (last) {
        track->attempt = doc_get_int(last, "attempt", 0);
        track->offset = (uint64_t)doc_get_int(last, "offset", 0);
    }
    idmap_put(&progress->by_job, job, track);
    vec_push(&progress->tracks, track);
    return track;
}

/* A line on its way into the store. */
struct line_note {
    uint64_t job;
    int64_t epoch; /* -1: the line names none */
    int64_t at_ms;
    char *json;
    bool told; /* how far and how fast it is, for the core */
    struct core_progress pace;
    struct core_speed *speeds;
};

static void note_free(void *context)
{
    struct line_note *note = context;
    free(note->json);
    free(note->speeds);
    free(note);
}

static int store_line(struct tick *tick, void *context, struct error *err)
{
    const struct line_note *note = context;
    struct server *server = tick_server(tick);
    char key[DOCUMENT_KEY_TEXT], epoch[24];
    (void)err;
    const struct job_row *job = core_job(server->core, note->job);
    if (!job)
        return 0;
    struct error refused;
    if (note->told && core_job_progress(server->core, note->job, &note->pace, &refused) < 0)
        log_debug("progress of job %" PRIu64 ": %s", note->job, refused.text);
    last_key(note->job, key);
    store_txn_put_document(tick_txn(tick), collection, key, "", note->json, note->at_ms);
    if (note->epoch >= 0) {
        snprintf(epoch, sizeof epoch, "%06" PRId64, note->epoch);
        names_document_key(note->job, epoch, key);
        store_txn_put_document(tick_txn(tick), collection, key, "", note->json, note->at_ms);
    }
    return 0;
}

static void count_nodes(void *context, enum row_kind kind, const void *row)
{
    (void)kind;
    (void)row;
    ++*(int32_t *)context;
}

/* Whether the core is to be told how far and how fast the job is. */
static void take_pace(struct server *server, struct track *track, const struct doc *data,
    int64_t at_ms, struct line_note *note)
{
    const struct job_row *job = core_job(server->core, track->job);
    const struct attempt_row *row = job ? core_attempt(server->core, job->attempt) : NULL;
    if (!row || row->number != track->attempt || !doc_get(data, "done"))
        return;
    struct pace_attempt attempt = {
        .number = row->number, .admitted_ms = row->admitted_ms, .ranks = row->size};
    core_placement_each(server->core, row->id, count_nodes, &attempt.nodes);
    note->speeds = mem_alloc(CORE_SPEEDS_MAX, sizeof *note->speeds);
    note->told = pace_take(&track->pace, data, &attempt, at_ms, note->speeds, &note->pace);
}

void progress_line(struct progress *progress, uint64_t job, int64_t attempt_number,
    const char *line, size_t length, uint64_t offset, int64_t at_ms)
{
    struct track *track = find_track(progress, job);
    if (attempt_number < track->attempt ||
        (attempt_number == track->attempt && offset <= track->offset))
        return;
    track->attempt = attempt_number;
    track->offset = offset;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct doc *data = doc_parse_json(arena, line, length, LINE_BYTES_MAX, NULL);
    if (!data || data->type != DOC_MAP)
        return;
    int64_t epoch = doc_get_int(data, "epoch", -1);
    struct doc *stored = doc_map(arena);
    doc_set_int(arena, stored, "attempt", attempt_number);
    doc_set_int(arena, stored, "offset", (int64_t)offset);
    doc_set_int(arena, stored, "at", at_ms);
    doc_set(arena, stored, "data", data);
    struct strbuf json = {0};
    doc_write_json(stored, 0, &json);
    struct line_note *note = mem_alloc(1, sizeof *note);
    *note = (struct line_note){.job = job,
        .epoch = epoch <= EPOCH_MAX ? epoch : -1,
        .at_ms = at_ms,
        .json = strbuf_steal(&json)};
    take_pace(progress->server, track, data, at_ms, note);
    ticker_report(progress->server->ticker, "engine", store_line, note_free, note);
}

/* ---- reading ------------------------------------------------------------------------------- */

struct epoch_walk {
    struct server *server;
    struct arena *arena;
    struct doc *list;
    struct cost_attempts *attempts;
    int64_t attempt;     /* of the epoch before */
    int64_t previous_ms; /* when that ended */
};

static int add_epoch(void *context, const struct document *document, struct error *err)
{
    struct epoch_walk *walk = context;
    struct arena *arena = walk->arena;
    const char *slash = strchr(document->key, '/');
    if (!slash || strcmp(slash, "/last") == 0)
        return 0;
    const struct doc *stored =
        doc_parse_json(arena, document->json, strlen(document->json), DOC_BYTES_MAX, err);
    if (!stored)
        return -1;
    int64_t attempt = doc_get_int(stored, "attempt", 0);
    int64_t at_ms = doc_get_int(stored, "at", 0);
    int64_t began_ms =
        attempt == walk->attempt ? walk->previous_ms : cost_attempt_start(walk->attempts, attempt);
    struct doc *item = doc_append(walk->list, doc_map(arena));
    doc_set_int(arena, item, "epoch", strtoll(slash + 1, NULL, 10));
    doc_set_int(arena, item, "attempt", attempt);
    status_set_time(arena, item, "at", at_ms);
    if (began_ms > 0 && at_ms >= began_ms) {
        doc_set_int(arena, item, "milliseconds", at_ms - began_ms);
        status_set_money(
            arena, item, "cost", cost_attempt_between(walk->attempts, attempt, began_ms, at_ms));
    }
    const struct doc *data = doc_get(stored, "data");
    doc_set(arena, item, "data", data ? doc_copy(arena, data) : doc_map(arena));
    walk->attempt = attempt;
    walk->previous_ms = at_ms;
    return 0;
}

struct doc *progress_epochs(struct server *server, struct arena *arena, uint64_t job)
{
    char prefix[DOCUMENT_KEY_TEXT];
    names_document_key(job, "", prefix);
    struct epoch_walk walk = {.server = server,
        .arena = arena,
        .list = doc_list(arena),
        .attempts = cost_attempts_of(server, arena, job)};
    struct error err;
    if (reader_documents_prefix(
            server->reader, collection, prefix, NULL, EPOCHS_SHOWN, add_epoch, &walk, &err) < 0)
        return doc_list(arena);
    return walk.list;
}
