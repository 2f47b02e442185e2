/* What a version was made of: see source.h. */
#include "server/source.h"

#include "base/memory.h"
#include "server/context.h"
#include "server/names.h"
#include "server/progress.h"
#include "server/status.h"
#include "server/versions.h"
#include "spec/spec.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

/* Of a large array so many elements are looked at for where it ran; the others ran on the same. */
enum { ELEMENTS_LOOKED_AT = 100, ROWS_MAX = 1000 };

void source_add_text(struct arena *arena, struct doc *list, const char *text)
{
    for (const struct doc *item = list->first; text && item; item = item->next) {
        if (item->type == DOC_STRING && strcmp(item->text, text) == 0)
            return;
    }
    if (text)
        doc_append(list, doc_string(arena, text));
}

/* ---- inputs --------------------------------------------------------------------------------- */

static int input_reference(const struct doc *input, enum kind *ret_kind, struct reference *ret)
{
    const char *model = doc_get_string(input, "model");
    const char *text = model ? model : doc_get_string(input, "dataset");
    *ret_kind = model ? KIND_MODEL : KIND_DATASET;
    return text && reference_parse(text, ret, NULL) == 0 && ret->which == REFERENCE_VERSION &&
                   ret->team[0]
               ? 0
               : -1;
}

struct doc *source_input(struct server *server, struct arena *arena, const struct doc *input)
{
    enum kind kind;
    struct reference reference;
    struct version version;
    if (input_reference(input, &kind, &reference) < 0)
        return NULL;
    struct doc *item = doc_map(arena);
    doc_set_string(arena, item, "name", doc_get_string(input, "name"));
    doc_set_string(arena, item, "kind", kind_singular(kind));
    doc_set_string(arena, item, "team", reference.team);
    doc_set_string(arena, item, "artifact", reference.name);
    doc_set_int(arena, item, "version", reference.version);
    if (versions_resolve(server, arena, kind, NULL, &reference, &version, NULL) == 0)
        doc_set_string(arena, item, "digest", version.digest);
    return item;
}

static const struct doc *first_input(const struct doc *manifest)
{
    const struct doc *inputs = doc_get(doc_get(manifest, "spec"), "inputs");
    return inputs ? inputs->first : NULL;
}

static struct doc *inputs_doc(
    struct server *server, struct arena *arena, const struct doc *manifest)
{
    struct doc *list = doc_list(arena);
    for (const struct doc *input = first_input(manifest); input; input = input->next) {
        struct doc *item = source_input(server, arena, input);
        if (item)
            doc_append(list, item);
    }
    return list;
}

struct doc *source_consent(struct server *server, struct arena *arena, const struct doc *manifest)
{
    struct doc *labels = doc_list(arena);
    for (const struct doc *input = first_input(manifest); input; input = input->next) {
        enum kind kind;
        struct reference reference;
        struct version version;
        if (input_reference(input, &kind, &reference) < 0 ||
            versions_resolve(server, arena, kind, NULL, &reference, &version, NULL) < 0)
            continue;
        const struct doc *consent = doc_get(version.doc, "consent");
        for (const struct doc *label = consent ? consent->first : NULL; label; label = label->next)
            source_add_text(arena, labels, label->type == DOC_STRING ? label->text : NULL);
    }
    return labels;
}

const char *source_jurisdiction(
    struct server *server, struct arena *arena, const struct doc *manifest)
{
    for (const struct doc *input = first_input(manifest); input; input = input->next) {
        enum kind kind;
        struct reference reference;
        struct version version;
        if (input_reference(input, &kind, &reference) == 0 &&
            versions_resolve(server, arena, kind, NULL, &reference, &version, NULL) == 0 &&
            version.jurisdiction)
            return version.jurisdiction;
    }
    return NULL;
}

/* ---- where it ran --------------------------------------------------------------------------- */

struct places {
    struct server *server;
    struct arena *arena;
    struct doc *pools, *node_types, *accelerators;
    int64_t attempts;
    int64_t started_ms, ended_ms;
    const struct doc *metrics;
};

static int take_placement(void *context, const void *data, struct error *err)
{
    struct places *places = context;
    const struct placement_row *row = data;
    struct store_reader *reader = places->server->reader;
    struct node_row node;
    struct pool_row pool;
    (void)err;
    if (reader_row(reader, ROW_NODE, row->node, &node, NULL) < 0 ||
        reader_row(reader, ROW_POOL, node.pool, &pool, NULL) < 0)
        return 0;
    source_add_text(places->arena, places->pools, reader_symbol(reader, pool.name));
    if (node.type)
        source_add_text(places->arena, places->node_types, reader_symbol(reader, node.type));
    if (row->devices && node.accelerator)
        source_add_text(
            places->arena, places->accelerators, reader_symbol(reader, node.accelerator));
    return 0;
}

static int take_attempt(void *context, const void *data, struct error *err)
{
    struct places *places = context;
    const struct attempt_row *row = data;
    struct row_condition condition = {"attempt", ROW_EQUAL, (int64_t)row->id};
    struct row_query query = {
        .kind = ROW_PLACEMENT, .conditions = &condition, .condition_count = 1, .limit = ROWS_MAX};
    places->attempts++;
    if (row->started_ms > 0 && (!places->started_ms || row->started_ms < places->started_ms))
        places->started_ms = row->started_ms;
    if (row->ended_ms > places->ended_ms)
        places->ended_ms = row->ended_ms;
    return reader_rows(places->server->reader, &query, take_placement, places, err);
}

static int take_job(void *context, const void *data, struct error *err)
{
    struct places *places = context;
    const struct job_row *row = data;
    struct row_condition condition = {"job", ROW_EQUAL, (int64_t)row->id};
    struct row_query query = {
        .kind = ROW_ATTEMPT, .conditions = &condition, .condition_count = 1, .limit = ROWS_MAX};
    if (!places->metrics || !places->metrics->count)
        places->metrics = source_metrics(places->server, places->arena, row->id);
    return reader_rows(places->server->reader, &query, take_attempt, places, err);
}

static void find_places(struct places *places, uint64_t job)
{
    struct job_row row;
    struct error ignored;
    if (reader_row(places->server->reader, ROW_JOB, job, &row, NULL) < 0)
        return;
    struct row_condition condition = {"array", ROW_EQUAL, (int64_t)job};
    struct row_query query = {.kind = ROW_JOB,
        .conditions = &condition,
        .condition_count = 1,
        .after = job - 1,
        .limit = ELEMENTS_LOOKED_AT};
    int rc = row.array ? reader_rows(places->server->reader, &query, take_job, places, &ignored)
                       : take_job(places, &row, &ignored);
    (void)rc; /* what could not be read is left out */
}

struct doc *source_metrics(struct server *server, struct arena *arena, uint64_t job)
{
    struct doc *metrics = doc_map(arena);
    const struct doc *last = progress_last(server, arena, job);
    const struct doc *data = last ? doc_get(last, "data") : NULL;
    for (const struct doc *field = data ? data->first : NULL; field; field = field->next) {
        if (field->type == DOC_NUMBER)
            doc_set_string(arena, metrics, field->key, field->text);
    }
    return metrics;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static void copy_field(
    struct arena *arena, struct doc *to, const char *name, const struct doc *from, const char *key)
{
    const struct doc *value = from ? doc_get(from, key) : NULL;
    if (value)
        doc_set(arena, to, name, doc_copy(arena, value));
}

struct doc *source_of_job(struct server *server, struct arena *arena, uint64_t job,
    const struct doc *manifest, const struct doc *environment)
{
    char id[JOB_ID_TEXT];
    const struct doc *spec = doc_get(manifest, "spec");
    struct places places = {.server = server,
        .arena = arena,
        .pools = doc_list(arena),
        .node_types = doc_list(arena),
        .accelerators = doc_list(arena)};
    struct doc *source = doc_map(arena);
    find_places(&places, job);
    doc_set_string(arena, source, "kind", "job");
    doc_set_string(arena, source, "job", names_job_id(job, id));
    copy_field(arena, source, "jobName", doc_get(manifest, "metadata"), "name");
    copy_field(arena, source, "class", spec, "class");
    copy_field(arena, source, "command", spec, "command");
    copy_field(arena, source, "score", spec, "score");
    copy_field(arena, source, "workdir", spec, "workdir");
    doc_set(arena, source, "inputs", inputs_doc(server, arena, manifest));
    copy_field(arena, source, "parameters", spec, "parameters");
    if (places.metrics)
        doc_set(arena, source, "metrics", doc_copy(arena, places.metrics));
    struct doc *where = environment ? doc_copy(arena, environment) : doc_map(arena);
    doc_set(arena, where, "pools", places.pools);
    doc_set(arena, where, "nodeTypes", places.node_types);
    doc_set(arena, where, "accelerators", places.accelerators);
    doc_set(arena, source, "environment", where);
    doc_set_int(arena, source, "attempts", places.attempts);
    status_set_time(arena, source, "startedAt", places.started_ms);
    status_set_time(arena, source, "endedAt", places.ended_ms);
    return source;
}
