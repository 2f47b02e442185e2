/* Nodes over the API: reading, cordoning, draining, reserving for maintenance. */
#include "base/quantity.h"
#include "core/core.h"
#include "engine/engine.h"
#include "server/context.h"
#include "server/handlers.h"
#include "server/row_page.h"
#include "server/status.h"
#include "store/store.h"

#include <string.h>

enum { NODES_SHOWN_MAX = 10000 };

static struct doc *node_doc(struct call *call, const void *row)
{
    return status_node(call->server, call->arena, row);
}

void api_node_list(struct call *call)
{
    row_page_answer(call, ROW_NODE, node_doc);
}

/* What the sandbox of this machine enforces and what not. */
static struct doc *facts_doc(const struct call *call)
{
    const struct engine_node *machine = engine_node(call->server->engine);
    struct doc *list = doc_list(call->arena);
    for (size_t i = 0; i < machine->fact_count; i++) {
        const struct engine_fact *fact = &machine->facts[i];
        struct doc *item = doc_append(list, doc_map(call->arena));
        doc_set_string(call->arena, item, "name", fact->name);
        doc_set_bool(call->arena, item, "enforced", fact->enforced);
        doc_set_string(call->arena, item, "text", fact->text);
    }
    return list;
}

struct node_search {
    struct call *call;
    struct node_row row;
    bool found;
};

static int match_node(void *context, const void *data, struct error *err)
{
    struct node_search *search = context;
    const struct node_row *row = data;
    struct store_reader *reader = search->call->server->reader;
    struct pool_row pool;
    (void)err;
    if (search->found || reader_row(reader, ROW_POOL, row->pool, &pool, NULL) < 0)
        return 0;
    if (strcmp(reader_symbol(reader, pool.name), search->call->parameters[0]) == 0 &&
        strcmp(reader_symbol(reader, row->name), search->call->parameters[1]) == 0) {
        search->row = *row;
        search->found = true;
    }
    return 0;
}

void api_node_get(struct call *call)
{
    struct error err;
    struct node_search search = {.call = call};
    struct row_condition live = {"live", ROW_EQUAL, 1};
    struct row_query query = {
        .kind = ROW_NODE, .conditions = &live, .condition_count = 1, .limit = NODES_SHOWN_MAX};
    if (reader_rows(call->server->reader, &query, match_node, &search, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    if (!search.found) {
        error_set(&err, ERR_NOT_FOUND, "there is no node %s/%s", call->parameters[0],
            call->parameters[1]);
        call_fail(call, &err);
        return;
    }
    struct doc *node = status_node(call->server, call->arena, &search.row);
    doc_set(call->arena, node, "enforcement", facts_doc(call));
    call_answer(call, 200, node);
}

static int wish(struct tick *tick, struct call *call, enum node_wish wish, struct error *err)
{
    return core_node_wish(tick_core(tick), call->parameters[0], call->parameters[1], wish, err);
}

static int run_cordon(struct tick *tick, void *context, struct error *err)
{
    return wish(tick, context, NODE_CORDON, err);
}

static int run_uncordon(struct tick *tick, void *context, struct error *err)
{
    return wish(tick, context, NODE_UNCORDON, err);
}

static int run_drain(struct tick *tick, void *context, struct error *err)
{
    return wish(tick, context, NODE_DRAIN, err);
}

void api_node_cordon(struct call *call)
{
    call_command(call, run_cordon, call_answer_empty);
}

void api_node_uncordon(struct call *call)
{
    call_command(call, run_uncordon, call_answer_empty);
}

void api_node_drain(struct call *call)
{
    call_command(call, run_drain, call_answer_empty);
}

struct reservation {
    int64_t begin_ms;
    int64_t end_ms;
};

static int run_reserve(struct tick *tick, void *context, struct error *err)
{
    struct call *call = context;
    const struct reservation *reservation = call->data;
    return core_node_reserve(tick_core(tick), call->parameters[0], call->parameters[1],
        reservation->begin_ms, reservation->end_ms, err);
}

static int read_moment(const struct doc *body, const char *key, int64_t *ret_ms, struct error *err)
{
    const char *text = doc_get_string(body, key);
    if (!text)
        return error_set(err, ERR_INVALID, "%s: expected a time such as 2026-01-31T08:30:00Z", key);
    if (quantity_parse_time(text, ret_ms, err) < 0)
        return error_prefix(err, "%s", key);
    return 0;
}

static void on_reserve_body(struct call *call, const struct doc *body)
{
    struct reservation *reservation = arena_alloc(call->arena, 1, sizeof *reservation);
    struct error err;
    call->data = reservation;
    bool clear = doc_get_bool(body, "clear", false);
    if (!clear && (read_moment(body, "begin", &reservation->begin_ms, &err) < 0 ||
                      read_moment(body, "end", &reservation->end_ms, &err) < 0)) {
        call_fail(call, &err);
        return;
    }
    if (!clear && reservation->end_ms <= reservation->begin_ms) {
        error_set(&err, ERR_INVALID, "end: expected a time after begin");
        call_fail(call, &err);
        return;
    }
    call_command(call, run_reserve, call_answer_empty);
}

void api_node_reserve(struct call *call)
{
    call_body(call, 4096, on_reserve_body);
}
