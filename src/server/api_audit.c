/* The audit log over the API: reading it, and checking its chain on the chores thread. */
#include "engine/worker.h"
#include "server/context.h"
#include "server/handlers.h"
#include "server/status.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

struct audit_listing {
    struct call *call;
    struct doc *items;
    int64_t last;
};

static int add_record(void *context, const struct audit_record *record, struct error *err)
{
    struct audit_listing *listing = context;
    struct arena *arena = listing->call->arena;
    const struct audit_event *event = &record->event;
    (void)err;
    struct doc *item = doc_append(listing->items, doc_map(arena));
    listing->last = record->sequence;
    doc_set_int(arena, item, "sequence", record->sequence);
    status_set_time(arena, item, "at", event->at_ms);
    doc_set_string(arena, item, "actor", event->actor);
    doc_set_string(arena, item, "action", event->action);
    doc_set_string(arena, item, "kind", event->kind);
    doc_set_string(arena, item, "name", event->name);
    doc_set_string(arena, item, "team", event->team);
    doc_set_string(arena, item, "hash", record->hash);
    struct doc *detail = event->detail ? doc_parse_json(arena, event->detail, strlen(event->detail),
                                             DOC_BYTES_MAX, NULL)
                                       : NULL;
    if (detail)
        doc_set(arena, item, "detail", detail);
    return 0;
}

void api_audit_list(struct call *call)
{
    struct audit_listing listing = {.call = call, .items = doc_list(call->arena)};
    struct error err;
    size_t limit;
    int64_t after;
    if (call_limit(call, &limit, &err) < 0 || call_query_int(call, "after", 0, &after, &err) < 0 ||
        reader_audit(call->server->reader, after, call->team, limit,
            call_query_flag(call, "newest"), add_record, &listing, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    struct doc *body = doc_map(call->arena);
    doc_set(call->arena, body, "items", listing.items);
    if (listing.items->count == limit)
        doc_set(call->arena, body, "next", doc_int(call->arena, listing.last));
    call_answer(call, 200, body);
}

/* A check of the chain, which may read for a while: on the chores thread, with its own reader. */
struct verification {
    struct call *call;
    char *data_dir;
    const char *vfs;
    int64_t count;
    struct error err;
    bool failed;
};

static void verify_work(void *context)
{
    struct verification *work = context;
    struct store_reader *reader;
    struct store_options options = {.vfs = work->vfs};
    if (store_reader_open(work->data_dir, &options, &reader, &work->err) < 0) {
        work->failed = true;
        return;
    }
    work->failed = reader_audit_verify(reader, &work->count, &work->err) < 0;
    store_reader_close(reader);
}

static void verify_done(void *context)
{
    struct verification *work = context;
    struct call *call = work->call;
    if (work->failed && work->err.code != ERR_CORRUPT) {
        call_fail(call, &work->err);
    } else {
        struct doc *body = doc_map(call->arena);
        doc_set_bool(call->arena, body, "ok", !work->failed);
        doc_set_int(call->arena, body, "events", work->count);
        if (work->failed)
            doc_set_string(call->arena, body, "detail", work->err.text);
        call_answer(call, 200, body);
    }
    free(work->data_dir);
    free(work);
}

void api_audit_verify(struct call *call)
{
    struct verification *work = mem_alloc(1, sizeof *work);
    struct error err;
    work->call = call;
    work->data_dir = mem_strdup(call->server->config.data_dir);
    work->vfs = call->server->config.vfs;
    if (worker_run(call->server->chores, verify_work, verify_done, work, &err) < 0) {
        free(work->data_dir);
        free(work);
        call_fail(call, &err);
    }
}
