/* Copies over the API: which versions were brought to which sites. Of those one sees what belongs
 * to teams that one may read in. */
#include "base/quantity.h"
#include "core/rows.h"
#include "server/context.h"
#include "server/handlers.h"
#include "server/row_page.h"
#include "server/status.h"
#include "store/store.h"

#include <string.h>

/* "dataset/TEAM/NAME:3" */
static bool may_see(const struct call *call, const char *version)
{
    const char *team = strchr(version, '/'), *end = team ? strchr(team + 1, '/') : NULL;
    if (!end)
        return false;
    const char *name = arena_printf(call->arena, "%.*s", (int)(end - team - 1), team + 1);
    return identity_role(call->server->catalog, &call->identity, name) >= ROLE_VIEWER;
}

static struct doc *copy_doc(struct call *call, const void *data)
{
    const struct copy_row *row = data;
    struct arena *arena = call->arena;
    struct store_reader *reader = call->server->reader;
    const char *version = arena_strdup(arena, reader_symbol(reader, row->version));
    const char *site = arena_strdup(arena, reader_symbol(reader, row->site));
    char text[QUANTITY_TEXT];
    if (!may_see(call, version))
        return NULL;
    struct doc *item = doc_map(arena);
    doc_set_string(arena, item, "name", arena_printf(arena, "%s@%s", version, site));
    doc_set_string(arena, item, "version", version);
    doc_set_string(arena, item, "site", site);
    doc_set_int(arena, item, "bytes", row->bytes);
    status_set_time(arena, item, "since", row->since_ms);
    status_set_time(arena, item, "used", row->used_ms);
    doc_set_string(arena, item, "transfer", quantity_human_duration(row->transfer_ms, text));
    doc_set(arena, item, "egress", doc_number(arena, quantity_micro(row->egress_micro, text)));
    doc_set_string(arena, item, "currency", reader_symbol(reader, row->currency));
    return item;
}

void api_copy_list(struct call *call)
{
    row_page_answer(call, ROW_COPY, copy_doc);
}
