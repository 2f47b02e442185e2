/* What the gateway recorded of a service, over the API: see docs/gateway-record.md. */
#include "base/quantity.h"
#include "base/strbuf.h"
#include "gateway/record_read.h"
#include "gateway/recorder.h"
#include "server/context.h"
#include "server/handlers.h"

#include <stdio.h>
#include <string.h>

struct recording {
    struct call *call;
    struct doc *items;
    int64_t from_ms, to_ms, unreadable;
};

static int add_record(void *context, const char *json, size_t length, struct error *err)
{
    struct recording *recording = context;
    (void)err;
    struct doc *record =
        doc_parse_json(recording->call->arena, json, length, RECORD_PAGE_BYTES, NULL);
    int64_t ms = doc_get_int(record, "ms", -1);
    if (!record || ms < 0)
        recording->unreadable++;
    else if (ms >= recording->from_ms && ms < recording->to_ms)
        doc_append(recording->items, record);
    return 0;
}

static int take_time(
    const struct call *call, const char *name, int64_t fallback, int64_t *ret, struct error *err)
{
    const char *text = http_request_query(call->request, name);
    *ret = fallback;
    if (text && quantity_parse_time(text, ret, err) < 0)
        return error_prefix(err, "?%s=", name);
    return 0;
}

/* Not more than a few MiB are read: the loop is not kept. */
static void answer_page(struct call *call, const char *shelf)
{
    struct recording recording = {.call = call, .items = doc_list(call->arena)};
    struct record_page page = {.after = http_request_query(call->request, "after")};
    char root[3800], folder[4000];
    struct error err;
    snprintf(root, sizeof root, "%s/gateway/%s", call->server->config.data_dir, shelf);
    if (call_limit(call, &page.limit, &err) < 0 ||
        take_time(call, "from", 0, &recording.from_ms, &err) < 0 ||
        take_time(call, "to", INT64_MAX, &recording.to_ms, &err) < 0 ||
        (!record_folder(root, call->parameters[0], folder, sizeof folder) &&
            error_set(&err, ERR_NOT_FOUND, "there is no service %s", call->parameters[0]) < 0) ||
        record_page_read(folder, &page, add_record, &recording, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    struct doc *body = doc_map(call->arena);
    doc_set(call->arena, body, "items", recording.items);
    if (page.next[0])
        doc_set_string(call->arena, body, "next", page.next);
    doc_set_int(call->arena, body, "torn", page.torn);
    doc_set_int(call->arena, body, "damaged", page.damaged + recording.unreadable);
    call_answer(call, 200, body);
}

void api_recording(struct call *call)
{
    answer_page(call, RECORD_REQUESTS);
}

void api_verdicts(struct call *call)
{
    answer_page(call, RECORD_VERDICTS);
}
