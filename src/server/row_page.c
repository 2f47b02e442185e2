/* See row_page.h. Rows are read in the order of their ids, as the store has them. */
#include "server/row_page.h"

#include "server/context.h"
#include "store/store.h"

#include <inttypes.h>

struct page {
    struct call *call;
    row_page_fn *item;
    struct doc *items;
    size_t seen; /* with those that are not shown: the next page begins behind them */
    uint64_t last;
};

static int add_row(void *context, const void *row, struct error *err)
{
    struct page *page = context;
    struct doc *item = page->item(page->call, row);
    (void)err;
    page->last = *(const uint64_t *)row; /* every row's first column */
    page->seen++;
    if (item)
        doc_append(page->items, item);
    return 0;
}

void row_page_answer(struct call *call, enum row_kind kind, row_page_fn *item)
{
    struct error err;
    struct page page = {.call = call, .item = item, .items = doc_list(call->arena)};
    struct row_condition live = {"live", ROW_EQUAL, 1};
    struct row_query query = {.kind = kind, .conditions = &live, .condition_count = 1};
    int64_t after;
    if (call_limit(call, &query.limit, &err) < 0 ||
        call_query_int(call, "after", 0, &after, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    query.after = (uint64_t)after;
    if (reader_rows(call->server->reader, &query, add_row, &page, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    bool more = page.seen == query.limit;
    call_answer_page(
        call, page.items, more ? arena_printf(call->arena, "%" PRIu64, page.last) : NULL);
}
