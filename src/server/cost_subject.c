/* What a job was: see cost_subject.h. */
#include "server/cost_subject.h"

#include "base/strbuf.h"
#include "core/rows.h"
#include "server/context.h"
#include "server/cost.h"
#include "server/names.h"
#include "server/status.h"
#include "server/ticker.h"
#include "store/store.h"

#include <string.h>

static const char kept_collection[] = "cost-subject";

/* ---- replicas -------------------------------------------------------------------------------- */

static int take_replica(void *context, const void *row, struct error *err)
{
    struct replica_row *replica = context;
    (void)err;
    *replica = *(const struct replica_row *)row;
    return 0;
}

/* "team/name", or NULL. Rows of replicas and services that ended stay readable. */
static const char *service_of(struct server *server, struct arena *arena, uint64_t job)
{
    struct row_condition condition = {"job", ROW_EQUAL, (int64_t)job};
    struct row_query query = {
        .kind = ROW_REPLICA, .conditions = &condition, .condition_count = 1, .limit = 1};
    struct replica_row replica = {0};
    struct service_row service;
    struct error ignored;
    if (reader_rows(server->reader, &query, take_replica, &replica, &ignored) < 0 ||
        replica.service == 0 ||
        reader_row(server->reader, ROW_SERVICE, replica.service, &service, NULL) < 0)
        return NULL;
    const char *team = arena_strdup(arena, names_team(server, service.team));
    return arena_printf(arena, "%s/%s", team, reader_symbol(server->reader, service.name));
}

/* The one model that a replica's job has among its inputs, as "team/name:version". The job's own
 * manifest says it for good; what its service says may have changed since. */
static const char *model_of(const struct doc *manifest)
{
    const struct doc *inputs = doc_get(doc_get(manifest, "spec"), "inputs");
    const struct doc *input = inputs && inputs->type == DOC_LIST ? inputs->first : NULL;
    for (; input; input = input->next) {
        const char *model = doc_get_string(input, "model");
        if (model)
            return model;
    }
    return NULL;
}

/* ---- of the store, or kept ------------------------------------------------------------------- */

static void find_kept(
    struct server *server, struct arena *arena, uint64_t job, struct cost_subject *subject)
{
    char key[DOCUMENT_KEY_TEXT];
    SCOPED(mem_scope) char *json = NULL;
    names_document_key(job, NULL, key);
    if (reader_document(server->reader, kept_collection, key, &json, NULL, NULL) < 0)
        return;
    const struct doc *doc = doc_parse_json(arena, json, strlen(json), DOC_BYTES_MAX, NULL);
    const char *array = doc_get_string(doc, "array");
    *subject = (struct cost_subject){.name = doc_get_string(doc, "name"),
        .team = doc_get_string(doc, "team"),
        .state = doc_get_string(doc, "state"),
        .class_name = doc_get_string(doc, "class"),
        .labels = doc_get(doc, "labels"),
        .array = array ? names_parse_job_id(array) : 0,
        .service = doc_get_string(doc, "service"),
        .model = doc_get_string(doc, "model")};
}

static void fill(struct server *server, struct arena *arena, const struct job_row *row, bool labels,
    struct cost_subject *ret)
{
    ret->name = arena_strdup(arena, reader_symbol(server->reader, row->name));
    ret->team = arena_strdup(arena, names_team(server, row->team));
    ret->state = job_state_names[row->state];
    ret->class_name = arena_strdup(arena, reader_symbol(server->reader, row->class_name));
    ret->array = row->array;
    if (!labels && !row->service)
        return;
    const struct doc *manifest =
        status_job_manifest(server, arena, row->array ? row->array : row->id);
    ret->labels = doc_get(doc_get(manifest, "metadata"), "labels");
    if (row->service) {
        ret->service = service_of(server, arena, row->id);
        ret->model = ret->service ? model_of(manifest) : NULL;
    }
}

static void find(
    struct server *server, struct arena *arena, uint64_t job, bool labels, struct cost_subject *ret)
{
    struct job_row row;
    *ret = (struct cost_subject){0};
    if (reader_row(server->reader, ROW_JOB, job, &row, NULL) < 0)
        find_kept(server, arena, job, ret);
    else
        fill(server, arena, &row, labels, ret);
}

void cost_subject_find(
    struct server *server, struct arena *arena, uint64_t job, struct cost_subject *ret)
{
    find(server, arena, job, true, ret);
}

void cost_subject_serving(
    struct server *server, struct arena *arena, uint64_t job, struct cost_subject *ret)
{
    find(server, arena, job, false, ret);
}

void cost_keep(struct tick *tick, const struct job_row *row)
{
    struct arena *arena = tick_arena(tick);
    struct cost_subject subject = {0};
    char key[DOCUMENT_KEY_TEXT], array[JOB_ID_TEXT];
    fill(tick_server(tick), arena, row, true, &subject);
    struct doc *doc = doc_map(arena);
    doc_set_string(arena, doc, "name", subject.name);
    doc_set_string(arena, doc, "team", subject.team);
    doc_set_string(arena, doc, "state", subject.state);
    doc_set_string(arena, doc, "class", subject.class_name);
    doc_set_string(arena, doc, "service", subject.service);
    doc_set_string(arena, doc, "model", subject.model);
    if (subject.array)
        doc_set_string(arena, doc, "array", names_job_id(subject.array, array));
    if (subject.labels)
        doc_set(arena, doc, "labels", doc_copy(arena, subject.labels));
    struct strbuf json = {0};
    doc_write_json(doc, 0, &json);
    names_document_key(row->id, NULL, key);
    store_txn_put_document(
        tick_txn(tick), kept_collection, key, "", strbuf_text(&json), tick_now(tick));
    strbuf_finish(&json);
}
