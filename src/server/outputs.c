/* What jobs write: see outputs.h.
 *
 * A taking is the way of one job's outputs: ready is asked on the loop, the folders are read on the
 * long thread, the versions are added in a tick. It lives in memory only; the stored document says
 * what is still to be done. */
#include "server/outputs.h"

#include "base/log.h"
#include "base/map.h"
#include "base/vec.h"
#include "core/core.h"
#include "engine/engine.h"
#include "registry/registry.h"
#include "server/artifacts.h"
#include "server/compare.h"
#include "server/context.h"
#include "server/engines.h"
#include "server/environment.h"
#include "server/names.h"
#include "server/outputs_taking.h"
#include "server/status.h"
#include "server/ticker.h"
#include "server/versions.h"
#include "spec/spec.h"
#include "store/store.h"
#include "wire/doc.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    RETRY_FIRST_MS = 2000,
    RETRY_MOST_MS = 300000,
    TRIES_MAX = 20, /* of what the system refuses for reasons other than a full disk */
    AT_ONCE_MAX = 4,
    PAGE_PENDING = 1000,
};

struct outputs {
    struct server *server;
    struct event *timer;
    struct idmap expected; /* jobs with a pending document, and perhaps more */
    VEC(struct taking *) takings;
    size_t working;
};

/* ---- stored state --------------------------------------------------------------------------- */

bool outputs_pending(const struct server *server, uint64_t job)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    return idmap_get(&server->outputs->expected, job) && taking_pending(server, arena, job) != NULL;
}

typedef void use_fn(
    struct tick *tick, enum kind kind, const struct reference *version, uint64_t job);

static void change_use(
    struct tick *tick, const char *dataset, const char *model, uint64_t id, use_fn *change)
{
    struct reference reference;
    const char *text = model ? model : dataset;
    if (text && reference_parse(text, &reference, NULL) == 0 &&
        reference.which == REFERENCE_VERSION && reference.team[0])
        change(tick, model ? KIND_MODEL : KIND_DATASET, &reference, id);
}

void outputs_expect(
    struct tick *tick, uint64_t id, const struct job *job, const struct doc *reproduces)
{
    struct outputs *outputs = tick_server(tick)->outputs;
    struct arena *arena = tick_arena(tick);
    for (size_t i = 0; i < job->inputs.count; i++)
        change_use(
            tick, job->inputs.items[i].dataset, job->inputs.items[i].model, id, versions_use);
    if (!job->outputs.count)
        return;
    struct doc *pending = doc_map(arena);
    doc_set_string(arena, pending, "by", tick_actor(tick));
    if (reproduces)
        doc_set(arena, pending, "reproduces", doc_copy(arena, reproduces));
    taking_expect(tick, id, pending);
    idmap_put(&outputs->expected, id, outputs);
}

void outputs_forget(struct tick *tick, const struct job_row *row)
{
    /* The elements of an array share what the first one noted, which goes last. */
    if (row->array && row->array != row->id)
        return;
    const struct doc *manifest = status_job_manifest(tick_server(tick), tick_arena(tick), row->id);
    const struct doc *inputs = doc_get(doc_get(manifest, "spec"), "inputs");
    for (const struct doc *input = inputs ? inputs->first : NULL; input; input = input->next)
        change_use(tick, doc_get_string(input, "dataset"), doc_get_string(input, "model"), row->id,
            versions_unuse);
}

/* ---- takings -------------------------------------------------------------------------------- */

static struct taking *find_taking(const struct outputs *outputs, uint64_t job)
{
    for (size_t i = 0; i < outputs->takings.count; i++) {
        if (outputs->takings.items[i]->job == job)
            return outputs->takings.items[i];
    }
    return NULL;
}

/* Lets go of what a try needed. */
static void end_try(struct taking *taking)
{
    struct artifacts *artifacts = taking->outputs->server->artifacts;
    for (size_t i = 0; i < taking->count; i++) {
        fd_scope(&taking->items[i].fd);
        if (taking->items[i].kept)
            artifacts_release(artifacts, taking->team, taking->items[i].facts.tree);
    }
    compare_free(taking->comparison);
    taking->comparison = NULL;
    arena_destroy(taking->arena);
    taking->arena = NULL;
    taking->pending = taking->manifest = NULL;
    taking->items = NULL;
    taking->count = 0;
    if (taking->state == TAKING_WORKS)
        taking->outputs->working--;
    taking->state = TAKING_WAITS;
}

static void remove_taking(struct taking *taking)
{
    struct outputs *outputs = taking->outputs;
    end_try(taking);
    for (size_t i = 0; i < outputs->takings.count; i++) {
        if (outputs->takings.items[i] == taking) {
            vec_remove(&outputs->takings, i);
            break;
        }
    }
    free(taking);
}

static void look_in(struct outputs *outputs, int64_t ms)
{
    struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    event_add(outputs->timer, &delay);
}

/* The earliest of those that wait; what works comes back by itself. */
static void schedule(struct outputs *outputs)
{
    int64_t now_ms = server_now_ms(), next_ms = INT64_MAX;
    for (size_t i = 0; i < outputs->takings.count; i++) {
        const struct taking *taking = outputs->takings.items[i];
        if (taking->state == TAKING_WAITS && taking->next_ms < next_ms)
            next_ms = taking->next_ms;
    }
    if (next_ms < INT64_MAX && outputs->working < AT_ONCE_MAX)
        look_in(outputs, next_ms > now_ms ? next_ms - now_ms : 0);
}

static void try_again(struct taking *taking, const struct error *err)
{
    end_try(taking);
    if (taking->err.code != err->code)
        log_warn("the outputs of a job cannot be taken in now: %s", err->text);
    taking->err = *err;
    taking->tries++;
    taking->backoff_ms = taking->backoff_ms ? taking->backoff_ms * 2 : RETRY_FIRST_MS;
    if (taking->backoff_ms > RETRY_MOST_MS)
        taking->backoff_ms = RETRY_MOST_MS;
    taking->next_ms = server_now_ms() + taking->backoff_ms;
    schedule(taking->outputs);
}

static bool may_pass(const struct taking *taking, const struct error *err)
{
    if (err->code == ERR_IO)
        return taking->tries < TRIES_MAX;
    return err->code == ERR_FULL || err->code == ERR_BUSY || err->code == ERR_UNAVAILABLE;
}

static void expect_end(struct outputs *outputs, uint64_t job)
{
    if (find_taking(outputs, job))
        return;
    struct taking *taking = mem_alloc(1, sizeof *taking);
    taking->outputs = outputs;
    taking->job = job;
    vec_push(&outputs->takings, taking);
    schedule(outputs);
}

void outputs_job_ended(struct outputs *outputs, const struct job_row *row)
{
    uint64_t job = row->array ? row->array : row->id;
    if (idmap_get(&outputs->expected, job))
        expect_end(outputs, job);
}

/* ---- whether all of it has ended ------------------------------------------------------------- */

static int count_rows(struct server *server, uint64_t job, const char *column, int64_t value,
    int64_t *ret, struct error *err)
{
    struct row_condition conditions[] = {
        {"array", ROW_EQUAL, (int64_t)job}, {column, ROW_EQUAL, value}};
    struct row_query query = {
        .kind = ROW_JOB, .conditions = conditions, .condition_count = column ? 2 : 1};
    return reader_count(server->reader, &query, ret, err);
}

/* 1: it has ended, and skip says why nothing is taken in ("" when it succeeded). 0: not yet. */
static int ended(struct taking *taking, struct error *err)
{
    struct server *server = taking->outputs->server;
    struct job_row row;
    int64_t all = 1, live, succeeded;
    if (reader_row(server->reader, ROW_JOB, taking->job, &row, err) < 0)
        return -1;
    if (row.array) {
        if (count_rows(server, taking->job, NULL, 0, &all, err) < 0 ||
            count_rows(server, taking->job, "live", 1, &live, err) < 0 ||
            count_rows(server, taking->job, "state", JOB_SUCCEEDED, &succeeded, err) < 0)
            return -1;
    } else {
        live = !job_state_ended(row.state);
        succeeded = row.state == JOB_SUCCEEDED;
    }
    if (live > 0)
        return 0;
    taking->skip[0] = '\0';
    if (succeeded < all && row.array)
        snprintf(taking->skip, sizeof taking->skip,
            "%" PRId64 " of its %" PRId64 " elements did not succeed", all - succeeded, all);
    else if (succeeded < all)
        snprintf(taking->skip, sizeof taking->skip, "the job %s", job_state_names[row.state]);
    return 1;
}

/* ---- storing -------------------------------------------------------------------------------- */

/* What became versions is in the registry: the folder would keep it a second time for as long as
 * the job is remembered. Of a reproduction the bytes stay for whoever wants to see what differs,
 * and so does everything when one output could not be taken in. A server that is killed before it
 * gets here leaves the folder until the job is forgotten. */
static void drop_folders(const struct taking *taking)
{
    struct error err;
    if (taking->count == 0 || taking->skip[0] || doc_get(taking->pending, "reproduces"))
        return;
    for (size_t i = 0; i < taking->count; i++) {
        if (taking->items[i].err.code)
            return;
    }
    if (engines_outputs_drop(taking->outputs->server, taking->job, &err) < 0)
        log_warn("the folders of outputs that were taken in stay until the job is forgotten: %s",
            err.text);
}

static void stored(void *context, const struct error *err)
{
    struct taking *taking = context;
    struct outputs *outputs = taking->outputs;
    if (err) {
        try_again(taking, err);
        return;
    }
    for (size_t i = 0; i < taking->count; i++) {
        if (taking->items[i].err.code)
            log_warn("the output %s of a job was not taken in: %s", taking->items[i].name,
                taking->items[i].err.text);
    }
    drop_folders(taking);
    idmap_remove(&outputs->expected, taking->job);
    remove_taking(taking);
    schedule(outputs);
}

static void store(struct taking *taking)
{
    struct error err;
    if (ticker_submit(
            taking->outputs->server->ticker, "muster", taking_store, stored, taking, &err) < 0)
        try_again(taking, &err);
}

/* ---- taking in ------------------------------------------------------------------------------ */

static void take_item(struct taking *taking, struct taken *item)
{
    struct server *server = taking->outputs->server;
    if (item->fd < 0 || artifacts_check_room(server, &item->err) < 0)
        return;
    if (registry_ingest(artifacts_registry(server->artifacts), taking->team, item->fd, 0,
            &item->facts, &item->err) < 0)
        return;
    item->err.code = ERR_NONE;
    item->kept = true;
    artifacts_keep(server->artifacts, taking->team, item->facts.tree);
}

static void take_work(void *context)
{
    struct taking *taking = context;
    struct artifacts *artifacts = taking->outputs->server->artifacts;
    taking->environment = environment_doc(taking->arena);
    for (size_t i = 0; i < taking->count; i++) {
        take_item(taking, &taking->items[i]);
        if (taking->comparison && !taking->items[i].err.code)
            compare_trees(
                taking->comparison, artifacts_registry(artifacts), &taking->items[i].facts);
    }
}

static void take_done(void *context)
{
    struct taking *taking = context;
    for (size_t i = 0; i < taking->count; i++) {
        if (taking->items[i].err.code && may_pass(taking, &taking->items[i].err)) {
            struct error err = taking->items[i].err;
            try_again(taking, &err);
            return;
        }
    }
    store(taking);
}

static void open_item(struct taking *taking, struct taken *item, const struct doc *doc)
{
    const char *model = doc_get_string(doc, "model");
    item->doc = doc;
    item->name = doc_get_string(doc, "name");
    item->kind = model ? KIND_MODEL : KIND_DATASET;
    item->artifact = model ? model : doc_get_string(doc, "dataset");
    item->fd = engines_output_open(taking->outputs->server, taking->job, item->name, &item->err);
    if (item->fd < 0)
        error_prefix(&item->err, "the folder of the output");
    else
        item->err = (struct error){0};
}

/* Of a reproduction only the output that is compared. */
static bool is_wanted(const struct doc *reproduces, const struct doc *output)
{
    const char *only = doc_get_string(reproduces, "output");
    const char *name = doc_get_string(output, "name");
    return name && (!reproduces || (only && strcmp(only, name) == 0)) &&
           (doc_get_string(output, "model") || doc_get_string(output, "dataset"));
}

static void open_items(struct taking *taking)
{
    const struct doc *outputs = doc_get(doc_get(taking->manifest, "spec"), "outputs");
    const struct doc *reproduces = doc_get(taking->pending, "reproduces");
    taking->items =
        arena_alloc(taking->arena, outputs ? outputs->count + 1 : 1, sizeof *taking->items);
    for (const struct doc *output = outputs ? outputs->first : NULL; output;
         output = output->next) {
        if (is_wanted(reproduces, output))
            open_item(taking, &taking->items[taking->count++], output);
    }
    if (reproduces)
        taking->comparison = compare_create(taking->outputs->server, reproduces);
}

static void start(struct taking *taking)
{
    struct server *server = taking->outputs->server;
    struct error err;
    taking->state = TAKING_WORKS;
    taking->outputs->working++;
    taking->manifest = status_job_manifest(server, taking->arena, taking->job);
    taking->team = doc_get_string(doc_get(taking->manifest, "metadata"), "team");
    if (taking->skip[0] || !taking->team) {
        if (!taking->team)
            snprintf(taking->skip, sizeof taking->skip, "its manifest is missing in the store");
        store(taking);
        return;
    }
    open_items(taking);
    if (artifacts_run(server->artifacts, ARTIFACTS_LONG, take_work, take_done, taking, &err) < 0)
        try_again(taking, &err);
}

/* Starts what is due, or forgets it when its end comes again later or nothing is to be done. */
static void look_at(struct taking *taking)
{
    struct outputs *outputs = taking->outputs;
    struct error err;
    taking->arena = arena_create();
    taking->pending = taking_pending(outputs->server, taking->arena, taking->job);
    int rc = taking->pending ? ended(taking, &err) : 0;
    if (rc > 0) {
        start(taking);
    } else if (rc < 0 && err.code != ERR_NOT_FOUND) {
        try_again(taking, &err);
    } else {
        if (!taking->pending)
            idmap_remove(&outputs->expected, taking->job);
        remove_taking(taking);
    }
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct outputs *outputs = context;
    int64_t now_ms = server_now_ms();
    (void)fd, (void)what;
    for (size_t i = outputs->takings.count; i-- > 0 && outputs->working < AT_ONCE_MAX;) {
        struct taking *taking = outputs->takings.items[i];
        if (taking->state == TAKING_WAITS && taking->next_ms <= now_ms)
            look_at(taking);
    }
    schedule(outputs);
}

/* ---- life ----------------------------------------------------------------------------------- */

struct pending_walk {
    struct outputs *outputs;
    char last[DOCUMENT_KEY_TEXT];
    size_t seen;
};

static int take_pending(void *context, const struct document *document, struct error *err)
{
    struct pending_walk *walk = context;
    uint64_t job = strtoull(document->key, NULL, 10);
    (void)err;
    walk->seen++;
    snprintf(walk->last, sizeof walk->last, "%s", document->key);
    if (job) {
        idmap_put(&walk->outputs->expected, job, walk->outputs);
        expect_end(walk->outputs, job);
    }
    return 0;
}

static int load_pending(struct outputs *outputs, struct error *err)
{
    struct pending_walk walk = {.outputs = outputs};
    do {
        char after[DOCUMENT_KEY_TEXT];
        memcpy(after, walk.last, sizeof after);
        walk.seen = 0;
        if (reader_documents(outputs->server->reader, TAKING_PENDING, NULL, after, PAGE_PENDING,
                take_pending, &walk, err) < 0)
            return -1;
    } while (walk.seen == PAGE_PENDING);
    return 0;
}

struct outputs *outputs_create(struct server *server, struct error *err)
{
    struct outputs *outputs = mem_alloc(1, sizeof *outputs);
    outputs->server = server;
    outputs->timer = event_new(server->base, -1, 0, on_timer, outputs);
    assert(outputs->timer);
    if (load_pending(outputs, err) < 0) {
        outputs_destroy(outputs);
        return NULL;
    }
    return outputs;
}

void outputs_destroy(struct outputs *outputs)
{
    if (!outputs)
        return;
    while (outputs->takings.count > 0)
        remove_taking(outputs->takings.items[outputs->takings.count - 1]);
    vec_free(&outputs->takings);
    idmap_finish(&outputs->expected);
    event_free(outputs->timer);
    free(outputs);
}

struct doc *outputs_status(struct server *server, struct arena *arena, uint64_t job)
{
    const struct doc *result = taking_result(server, arena, job);
    if (result)
        return doc_copy(arena, result);
    if (!taking_pending(server, arena, job))
        return NULL;
    const struct taking *taking = find_taking(server->outputs, job);
    struct doc *status = doc_map(arena);
    doc_set_string(arena, status, "state", "pending");
    if (taking && taking->err.code)
        doc_set_string(arena, status, "text", taking->err.text);
    return status;
}
