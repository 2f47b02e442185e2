/* See job_origin.h. Collections that begin with "job-" are removed with their job. */
#include "server/job_origin.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "core/rows.h"
#include "server/context.h"
#include "server/names.h"
#include "server/ticker.h"
#include "store/store.h"
#include "wire/doc.h"
#include "wire/http.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char collection[] = "job-trace";

/* NULL where the field is not there exactly once. */
static const char *only_field(const struct http_request *request, const char *name)
{
    const char *found = NULL;
    struct http_field field;
    for (size_t i = 0; http_request_header_at(request, i, &field); i++) {
        if (strcasecmp(field.name, name) != 0)
            continue;
        if (found)
            return NULL;
        found = field.value;
    }
    return found;
}

bool job_origin_read(const struct http_request *request, struct job_origin *ret)
{
    struct job_origin origin = {0};
    const char *parent = only_field(request, "traceparent");
    const char *state = only_field(request, "tracestate");
    if (!parent || !trace_parent_read(parent, &origin.context))
        return false;
    if (state && trace_state_valid(state))
        snprintf(origin.state, sizeof origin.state, "%s", state);
    *ret = origin;
    return true;
}

void job_origin_put(struct tick *tick, uint64_t job, const struct job_origin *origin)
{
    SCOPED(strbuf_finish) struct strbuf json = {0};
    char key[DOCUMENT_KEY_TEXT], parent[TRACE_PARENT_TEXT];
    struct doc *doc = doc_map(tick_arena(tick));
    trace_parent_write(&origin->context, parent);
    doc_set_string(tick_arena(tick), doc, "parent", parent);
    if (origin->state[0])
        doc_set_string(tick_arena(tick), doc, "state", origin->state);
    doc_write_json(doc, 0, &json);
    store_txn_put_document(tick_txn(tick), collection, names_document_key(job, NULL, key), "",
        strbuf_text(&json), tick_now(tick));
}

bool job_origin_find(const struct server *server, const struct job_row *job, struct job_origin *ret)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(mem_scope) char *json = NULL;
    char key[DOCUMENT_KEY_TEXT];
    names_document_key(job->array ? job->array : job->id, NULL, key);
    if (reader_document(server->reader, collection, key, &json, NULL, NULL) < 0)
        return false;
    const struct doc *doc = doc_parse_json(arena, json, strlen(json), DOC_BYTES_MAX, NULL);
    const char *parent = doc ? doc_get_string(doc, "parent") : NULL;
    const char *state = doc ? doc_get_string(doc, "state") : NULL;
    struct job_origin origin = {0};
    if (!parent || !trace_parent_read(parent, &origin.context))
        return false;
    snprintf(origin.state, sizeof origin.state, "%s", state ? state : "");
    *ret = origin;
    return true;
}
