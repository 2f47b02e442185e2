/* Rows as JSON: see status.h. Everything is read from the store, so it is what is committed. */
#include "server/status.h"

#include "base/quantity.h"
#include "core/core.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/engines.h"
#include "server/names.h"
#include "server/usage.h"
#include "store/store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATUS_ROWS_MAX = 1000, ARRAY_ELEMENTS_MAX = 10000 };

void status_set_time(struct arena *arena, struct doc *map, const char *key, int64_t ms)
{
    char text[QUANTITY_TEXT];
    if (ms > 0)
        doc_set_string(arena, map, key, quantity_time(ms, text));
}

void status_set_money(struct arena *arena, struct doc *map, const char *key, int64_t nano)
{
    char text[QUANTITY_TEXT];
    int64_t half = nano < 0 ? -500 : 500;
    doc_set(arena, map, key, doc_number(arena, quantity_micro((nano + half) / 1000, text)));
}

struct doc *status_job_manifest(struct server *server, struct arena *arena, uint64_t job)
{
    char key[DOCUMENT_KEY_TEXT];
    SCOPED(mem_scope) char *json = NULL;
    names_document_key(job, NULL, key);
    if (reader_document(server->reader, "job-spec", key, &json, NULL, NULL) < 0)
        return NULL;
    return doc_parse_json(arena, json, strlen(json), 4 * DOC_BYTES_MAX, NULL);
}

static void set_reason(struct arena *arena, struct doc *map, int32_t reason, int32_t exit_status)
{
    if (reason == END_NONE)
        return;
    doc_set_string(arena, map, "reason", end_reason_names[reason]);
    if (reason == END_EXIT)
        doc_set_int(arena, map, "exitStatus", exit_status);
    if (reason == END_SIGNAL)
        doc_set_int(arena, map, "signal", exit_status);
}

struct doc *status_job_only(struct server *server, struct arena *arena, const struct job_row *row)
{
    char id[JOB_ID_TEXT];
    struct doc *status = doc_map(arena);
    doc_set_string(arena, status, "id", names_job_id(row->id, id));
    doc_set_string(arena, status, "state", job_state_names[row->state]);
    set_reason(arena, status, row->end_reason, row->exit_status);
    doc_set_int(arena, status, "priority", row->priority);
    doc_set_int(arena, status, "attempts", row->attempts);
    doc_set_int(arena, status, "preemptions", row->preemptions);
    doc_set_int(arena, status, "retriesLeft", row->retries_left);
    doc_set_int(arena, status, "size", row->size_now ? row->size_now : row->size);
    if (row->array_index >= 0 && row->array)
        doc_set_int(arena, status, "arrayIndex", row->array_index);
    status_set_time(arena, status, "submitted", row->submitted_ms);
    if (row->state == JOB_WAITING)
        status_set_time(arena, status, "notBefore", row->not_before_ms);
    status_set_time(arena, status, "deadline", row->deadline_ms);
    status_set_time(arena, status, "checkpoint", row->checkpoint_ms);
    status_set_time(arena, status, "ended", row->ended_ms);
    struct attempt_row attempt;
    if (row->attempt && reader_row(server->reader, ROW_ATTEMPT, row->attempt, &attempt, NULL) == 0)
        status_set_time(arena, status, "started", attempt.started_ms);
    return status;
}

struct doc *status_job(struct server *server, struct arena *arena, const struct job_row *row)
{
    struct doc *doc = status_job_manifest(server, arena, row->array ? row->array : row->id);
    if (!doc) {
        doc = doc_map(arena);
        doc_set_string(arena, doc, "kind", "Job");
    }
    /* An element of an array shares its manifest with the others, but has a name of its own. */
    struct doc *metadata = (struct doc *)doc_get(doc, "metadata");
    if (!metadata)
        metadata = doc_set(arena, doc, "metadata", doc_map(arena));
    doc_set_string(arena, metadata, "name", reader_symbol(server->reader, row->name));
    doc_set_string(arena, metadata, "team", names_team(server, row->team));
    doc_set(arena, doc, "status", status_job_only(server, arena, row));
    return doc;
}

/* ---- arrays -------------------------------------------------------------------------------- */

struct array_count {
    int64_t states[JOB_CANCELLED + 1];
    int64_t elements;
    int64_t submitted_ms;
    int64_t ended_ms;
};

static int count_element(void *context, const void *data, struct error *err)
{
    struct array_count *count = context;
    const struct job_row *row = data;
    (void)err;
    assert(row->state >= 0 && row->state <= JOB_CANCELLED);
    count->states[row->state]++;
    count->elements++;
    if (count->elements == 1)
        count->submitted_ms = row->submitted_ms;
    if (row->ended_ms > count->ended_ms)
        count->ended_ms = row->ended_ms;
    return 0;
}

/* What the array is doing, in the words of a job: the liveliest state that an element has, or the
 * worst when all have ended. */
static const char *array_state(const struct array_count *count)
{
    static const enum job_state order[] = {JOB_RUNNING, JOB_STARTING, JOB_STOPPING, JOB_QUEUED,
        JOB_WAITING, JOB_HELD, JOB_FAILED, JOB_CANCELLED, JOB_SUCCEEDED};
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        if (count->states[order[i]] > 0)
            return job_state_names[order[i]];
    }
    return job_state_names[JOB_SUCCEEDED];
}

static struct doc *element_states(struct arena *arena, const struct array_count *count)
{
    struct doc *states = doc_map(arena);
    for (int32_t state = 0; state <= JOB_CANCELLED; state++) {
        if (count->states[state] > 0)
            doc_set_int(arena, states, job_state_names[state], count->states[state]);
    }
    return states;
}

static bool array_ended(const struct array_count *count)
{
    for (int32_t state = 0; !job_state_ended(state); state++) {
        if (count->states[state] > 0)
            return false;
    }
    return true;
}

struct doc *status_array(struct server *server, struct arena *arena, uint64_t array)
{
    struct array_count count = {0};
    char id[JOB_ID_TEXT];
    struct row_condition conditions[] = {{"array", ROW_EQUAL, (int64_t)array},
        {"id", ROW_LESS, (int64_t)array + ARRAY_ELEMENTS_MAX}};
    struct row_query query = {.kind = ROW_JOB,
        .conditions = conditions,
        .condition_count = ARRAY_LEN(conditions),
        .after = array - 1,
        .limit = ARRAY_ELEMENTS_MAX};
    struct doc *doc = status_job_manifest(server, arena, array);
    if (!doc)
        doc = doc_map(arena);
    if (reader_rows(server->reader, &query, count_element, &count, NULL) < 0)
        return doc;
    struct doc *status = doc_set(arena, doc, "status", doc_map(arena));
    doc_set_string(arena, status, "id", names_job_id(array, id));
    doc_set_string(arena, status, "state", array_state(&count));
    doc_set_int(arena, status, "elements", count.elements);
    doc_set(arena, status, "elementStates", element_states(arena, &count));
    status_set_time(arena, status, "submitted", count.submitted_ms);
    if (array_ended(&count))
        status_set_time(arena, status, "ended", count.ended_ms);
    return doc;
}

/* ---- attempts ------------------------------------------------------------------------------ */

struct listing {
    struct server *server;
    struct arena *arena;
    struct doc *list;
};

static struct doc *device_list(struct arena *arena, uint64_t mask)
{
    struct doc *devices = doc_list(arena);
    for (int i = 0; i < 64; i++) {
        if (mask >> i & 1)
            doc_append(devices, doc_int(arena, i));
    }
    return devices;
}

static int add_placement(void *context, const void *data, struct error *err)
{
    struct listing *listing = context;
    const struct placement_row *row = data;
    struct store_reader *reader = listing->server->reader;
    (void)err;
    struct node_row node;
    struct pool_row pool;
    struct doc *item = doc_append(listing->list, doc_map(listing->arena));
    if (reader_row(reader, ROW_NODE, row->node, &node, NULL) == 0 &&
        reader_row(reader, ROW_POOL, node.pool, &pool, NULL) == 0) {
        doc_set_string(listing->arena, item, "node",
            arena_printf(listing->arena, "%s/%s", reader_symbol(reader, pool.name),
                reader_symbol(reader, node.name)));
    }
    doc_set_int(listing->arena, item, "firstRank", row->first_rank);
    doc_set_int(listing->arena, item, "ranks", row->ranks);
    if (row->devices) {
        char text[QUANTITY_TEXT];
        doc_set(listing->arena, item, "devices", device_list(listing->arena, row->devices));
        doc_set(listing->arena, item, "share",
            doc_number(listing->arena, quantity_milli(row->device_milli, text)));
    }
    return 0;
}

static struct doc *placements_of(struct server *server, struct arena *arena, uint64_t attempt)
{
    struct listing listing = {server, arena, doc_list(arena)};
    struct row_condition condition = {"attempt", ROW_EQUAL, (int64_t)attempt};
    struct row_query query = {.kind = ROW_PLACEMENT,
        .conditions = &condition,
        .condition_count = 1,
        .limit = STATUS_ROWS_MAX};
    if (reader_rows(server->reader, &query, add_placement, &listing, NULL) < 0)
        return doc_list(arena);
    return listing.list;
}

/* What the engine said about the attempt's end, and what it used. */
static void add_stored_detail(
    struct server *server, struct arena *arena, const struct attempt_row *row, struct doc *item)
{
    char key[DOCUMENT_KEY_TEXT], number[16];
    snprintf(number, sizeof number, "%d", (int)row->number);
    names_document_key(row->job, number, key);
    SCOPED(mem_scope) char *json = NULL;
    if (reader_document(server->reader, "job-attempt", key, &json, NULL, NULL) < 0)
        return;
    const struct doc *detail = doc_parse_json(arena, json, strlen(json), DOC_BYTES_MAX, NULL);
    for (const struct doc *field = detail ? detail->first : NULL; field; field = field->next)
        doc_set(arena, item, field->key, doc_copy(arena, field));
}

struct doc *status_site(struct server *server, struct arena *arena, uint64_t attempt)
{
    static const char *const at[] = {[ENGINE_SUBMISSION_ACCEPTED] = "accepted",
        [ENGINE_SUBMISSION_QUEUED] = "queued",
        [ENGINE_SUBMISSION_PLACED] = "placed",
        [ENGINE_SUBMISSION_OVER] = "over"};
    struct engine_where where;
    struct engine *engine = engines_with(server, attempt);
    if (engine == server->engine || engine_where(engine, attempt, &where, NULL) < 0)
        return NULL;
    struct doc *site = doc_map(arena);
    doc_set_string(arena, site, "state", at[where.submission]);
    doc_set_string(arena, site, "id", where.id);
    doc_set_string(arena, site, "nodes", where.nodes);
    doc_set_string(arena, site, "waits", where.text);
    return site;
}

static void add_site(struct server *server, struct arena *arena, uint64_t attempt, struct doc *item)
{
    struct doc *site = status_site(server, arena, attempt);
    if (!site)
        return;
    const char *state = doc_get_string(site, "state"), *id = doc_get_string(site, "id"),
               *waits = doc_get_string(site, "waits");
    doc_set(arena, item, "site", site);
    if (!strcmp(state, "accepted") || !strcmp(state, "queued"))
        doc_set_string(arena, item, "detail",
            arena_printf(arena, "%s%s%s%s", *id ? "site job " : "not at the site yet", id,
                *waits ? ": " : "", waits));
}

static int add_attempt(void *context, const void *data, struct error *err)
{
    struct listing *listing = context;
    const struct attempt_row *row = data;
    struct arena *arena = listing->arena;
    (void)err;
    struct doc *item = doc_append(listing->list, doc_map(arena));
    doc_set_int(arena, item, "number", row->number);
    doc_set_string(arena, item, "state", attempt_state_names[row->state]);
    if (row->state != ATTEMPT_ENDED && row->stop_reason != END_NONE)
        doc_set_string(arena, item, "stopping", end_reason_names[row->stop_reason]);
    set_reason(arena, item, row->end_reason, row->exit_status);
    doc_set_int(arena, item, "size", row->size);
    status_set_time(arena, item, "admitted", row->admitted_ms);
    status_set_time(arena, item, "started", row->started_ms);
    status_set_time(arena, item, "stopAsked", row->stop_ms);
    status_set_time(arena, item, "ended", row->ended_ms);
    status_set_time(arena, item, "checkpoint", row->checkpoint_ms);
    doc_set(arena, item, "placements", placements_of(listing->server, arena, row->id));
    const struct doc *usage = usage_doc(listing->server->usage, arena, row->id);
    if (usage)
        doc_set(arena, item, "usage", doc_copy(arena, usage));
    if (row->state != ATTEMPT_ENDED)
        add_site(listing->server, arena, row->id, item);
    add_stored_detail(listing->server, arena, row, item);
    return 0;
}

struct doc *status_attempts(struct server *server, struct arena *arena, uint64_t job)
{
    struct listing listing = {server, arena, doc_list(arena)};
    struct row_condition condition = {"job", ROW_EQUAL, (int64_t)job};
    struct row_query query = {.kind = ROW_ATTEMPT,
        .conditions = &condition,
        .condition_count = 1,
        .limit = STATUS_ROWS_MAX};
    if (reader_rows(server->reader, &query, add_attempt, &listing, NULL) < 0)
        return doc_list(arena);
    return listing.list;
}

/* ---- nodes, pools, teams ------------------------------------------------------------------- */

/* Sums what placements of live attempts hold on a node. */
struct holding {
    struct server *server;
    int64_t ranks;
    int64_t cpu_milli;
    int64_t memory_bytes;
    int64_t accelerator_milli;
};

static int add_holding(void *context, const void *data, struct error *err)
{
    struct holding *holding = context;
    const struct placement_row *row = data;
    (void)err;
    struct attempt_row attempt;
    struct job_row job;
    struct shape_row shape;
    struct store_reader *reader = holding->server->reader;
    if (reader_row(reader, ROW_ATTEMPT, row->attempt, &attempt, NULL) < 0 ||
        attempt.state == ATTEMPT_ENDED ||
        reader_row(reader, ROW_JOB, attempt.job, &job, NULL) < 0 ||
        reader_row(reader, ROW_SHAPE, job.shape, &shape, NULL) < 0)
        return 0;
    holding->ranks += row->ranks;
    holding->cpu_milli += row->ranks * shape.cpu_milli;
    holding->memory_bytes += row->ranks * shape.memory_bytes;
    holding->accelerator_milli += row->ranks * shape.accelerator_milli;
    return 0;
}

static struct doc *amount_doc(
    struct arena *arena, int64_t cpu_milli, int64_t memory_bytes, int64_t accelerator_milli)
{
    char text[QUANTITY_TEXT];
    struct doc *map = doc_map(arena);
    doc_set(arena, map, "cpu", doc_number(arena, quantity_milli(cpu_milli, text)));
    doc_set_string(arena, map, "memory", quantity_bytes(memory_bytes, text));
    doc_set(arena, map, "accelerators", doc_number(arena, quantity_milli(accelerator_milli, text)));
    return map;
}

struct doc *status_node(struct server *server, struct arena *arena, const struct node_row *row)
{
    struct store_reader *reader = server->reader;
    struct doc *node = doc_map(arena);
    struct pool_row pool;
    if (reader_row(reader, ROW_POOL, row->pool, &pool, NULL) == 0)
        doc_set_string(arena, node, "pool", reader_symbol(reader, pool.name));
    doc_set_string(arena, node, "name", reader_symbol(reader, row->name));
    if (row->type)
        doc_set_string(arena, node, "type", reader_symbol(reader, row->type));
    doc_set_string(arena, node, "state", row->state == NODE_UP ? "up" : "lost");
    doc_set_bool(arena, node, "cordoned", row->cordoned);
    doc_set_bool(arena, node, "draining", row->draining);
    if (row->accelerator)
        doc_set_string(arena, node, "accelerator", reader_symbol(reader, row->accelerator));
    doc_set(arena, node, "capacity",
        amount_doc(arena, row->cpu_milli, row->memory_bytes, row->devices * 1000LL));
    struct holding holding = {.server = server};
    struct row_condition conditions[] = {
        {"node", ROW_EQUAL, (int64_t)row->id}, {"live", ROW_EQUAL, 1}};
    struct row_query query = {.kind = ROW_PLACEMENT,
        .conditions = conditions,
        .condition_count = ARRAY_LEN(conditions),
        .limit = 100000};
    if (reader_rows(reader, &query, add_holding, &holding, NULL) < 0)
        return node;
    doc_set(arena, node, "held",
        amount_doc(arena, holding.cpu_milli, holding.memory_bytes, holding.accelerator_milli));
    doc_set_int(arena, node, "ranks", holding.ranks);
    return node;
}

static int add_node(void *context, const void *row, struct error *err)
{
    struct listing *listing = context;
    (void)err;
    doc_append(listing->list, status_node(listing->server, listing->arena, row));
    return 0;
}

struct doc *status_pool(struct server *server, struct arena *arena, const char *name)
{
    struct doc *status = doc_map(arena);
    uint64_t pool = core_pool_find(server->core, name);
    struct listing listing = {server, arena, doc_list(arena)};
    struct row_condition conditions[] = {
        {"pool", ROW_EQUAL, (int64_t)pool}, {"live", ROW_EQUAL, 1}};
    struct row_query query = {.kind = ROW_NODE,
        .conditions = conditions,
        .condition_count = ARRAY_LEN(conditions),
        .limit = STATUS_ROWS_MAX};
    struct engine_site about;
    if (reader_rows(server->reader, &query, add_node, &listing, NULL) == 0)
        doc_set(arena, status, "nodes", listing.list);
    if (engines_site(server, name, &about)) {
        struct doc *site = doc_set(arena, status, "site", doc_map(arena));
        doc_set_bool(arena, site, "answers", about.answers);
        status_set_time(arena, site, "since", about.since_ms);
        doc_set_string(arena, site, "text", about.text);
    }
    return status;
}

struct doc *status_team(struct server *server, struct arena *arena, const char *name)
{
    struct doc *status = doc_map(arena);
    struct row_condition conditions[] = {
        {"team", ROW_EQUAL, (int64_t)core_team_find(server->core, name)}, {"live", ROW_EQUAL, 1}};
    struct row_query query = {
        .kind = ROW_JOB, .conditions = conditions, .condition_count = ARRAY_LEN(conditions)};
    int64_t live;
    if (reader_count(server->reader, &query, &live, NULL) == 0)
        doc_set_int(arena, status, "liveJobs", live);
    return status;
}
