/* Copies over the API: which versions were brought to which sites. Of those one sees what belongs
 * to teams that one may read in. */
#include "base/quantity.h"
#include "core/rows.h"
#include "server/context.h"
#include "server/handlers.h"
#include "server/status.h"
#include "store/store.h"

#include <inttypes.h>
#include <string.h>

struct copy_page {
    struct call *call;
    struct doc *items;
    size_t seen;
    uint64_t last;
};

/* "dataset/TEAM/NAME:3" */
static bool may_see(const struct call *call, const char *version)
{
    const char *team = strchr(version, '/'), *end = team ? strchr(team + 1, '/') : NULL;
    if (!end)
        return false;
    const char *name = arena_printf(call->arena, "%.*s", (int)(end - team - 1), team + 1);
    return identity_role(call->server->catalog, &call->identity, name) >= ROLE_VIEWER;
}

static int add_copy(void *context, const void *data, struct error *err)
{
    struct copy_page *page = context;
    const struct copy_row *row = data;
    struct arena *arena = page->call->arena;
    struct store_reader *reader = page->call->server->reader;
    const char *version = arena_strdup(arena, reader_symbol(reader, row->version));
    const char *site = arena_strdup(arena, reader_symbol(reader, row->site));
    char text[QUANTITY_TEXT];
    (void)err;
    page->last = row->id;
    page->seen++;
    if (!may_see(page->call, version))
        return 0;
    struct doc *item = doc_append(page->items, doc_map(arena));
    doc_set_string(arena, item, "name", arena_printf(arena, "%s@%s", version, site));
    doc_set_string(arena, item, "version", version);
    doc_set_string(arena, item, "site", site);
    doc_set_int(arena, item, "bytes", row->bytes);
    status_set_time(arena, item, "since", row->since_ms);
    status_set_time(arena, item, "used", row->used_ms);
    doc_set_string(arena, item, "transfer", quantity_human_duration(row->transfer_ms, text));
    doc_set(arena, item, "egress", doc_number(arena, quantity_micro(row->egress_micro, text)));
    doc_set_string(arena, item, "currency", reader_symbol(reader, row->currency));
    return 0;
}

void api_copy_list(struct call *call)
{
    struct error err;
    struct copy_page page = {.call = call, .items = doc_list(call->arena)};
    struct row_condition live = {"live", ROW_EQUAL, 1};
    struct row_query query = {.kind = ROW_COPY, .conditions = &live, .condition_count = 1};
    int64_t after;
    if (call_limit(call, &query.limit, &err) < 0 ||
        call_query_int(call, "after", 0, &after, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    query.after = (uint64_t)after;
    if (reader_rows(call->server->reader, &query, add_copy, &page, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    bool more = page.seen == query.limit;
    call_answer_page(
        call, page.items, more ? arena_printf(call->arena, "%" PRIu64, page.last) : NULL);
}
